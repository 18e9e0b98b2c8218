"""The training loop: batches, checkpoints, resuming, reports; it knows no algorithm."""
