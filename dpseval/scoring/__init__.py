"""From folders of outputs to scores."""
