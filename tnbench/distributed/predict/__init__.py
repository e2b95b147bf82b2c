"""Predicted seconds and words of training steps, per parallel backend."""
