"""A whole split of a built folder by any method."""
