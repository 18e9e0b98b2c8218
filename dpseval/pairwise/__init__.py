"""Scores of one output against its own truth: pixels, structure, and distances between feature maps."""
