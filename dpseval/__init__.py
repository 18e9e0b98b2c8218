"""Scores over refinement levels and methods, and their report."""

__version__ = "0.1.0"
