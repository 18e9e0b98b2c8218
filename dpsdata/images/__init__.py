"""Photos, edge maps and masks as files and as arrays."""
