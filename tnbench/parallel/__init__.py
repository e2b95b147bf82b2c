"""How one case is spread over processes, one idea per file."""
