"""Decompositions of weights, one per file."""
