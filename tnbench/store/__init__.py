"""Records in append-only segments, checkpoints by content."""
