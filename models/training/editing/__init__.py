"""The training of F and G."""
