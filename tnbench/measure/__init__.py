"""Clocks, counts, memory, environment and statistics."""
