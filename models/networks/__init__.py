"""G, F and D, their sizes and signs."""
