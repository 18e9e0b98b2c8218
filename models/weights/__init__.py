"""Files of weights: official, bundled and ours."""
