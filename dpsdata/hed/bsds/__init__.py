"""Training and evaluating HED networks on BSDS500."""
