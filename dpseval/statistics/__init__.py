"""Intervals, tests and tables."""
