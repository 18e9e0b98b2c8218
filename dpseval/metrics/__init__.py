"""Metrics of pairs and of sets of photos."""
