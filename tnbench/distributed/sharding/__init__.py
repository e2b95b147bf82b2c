"""Layers of which each rank has a part, and the pass over a network's graph that puts them in."""
