"""Rank policies, one per file."""
