"""Which output belongs to which truth."""
