"""CNN architectures, one family per file."""
