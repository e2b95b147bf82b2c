"""The gate: which cases got worse than they were in a reference."""
