"""Numbers of channels of narrower networks."""

from __future__ import annotations


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded, and at least one."""
    return max(1, round(width * channels))
