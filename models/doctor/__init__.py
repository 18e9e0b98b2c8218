"""What this installation can do, and what it lacks."""
