"""Decompositions and their helpers: pure functions on tensors."""
