"""Refusals of pictures that are too small or of another size."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape


def check_least(name: str, in_shape: Shape, least: int, why: str) -> None:
    """Raise NotApplicable unless both sides of pictures (C, H, W) have `least` pixels; `why` follows the name."""
    if min(in_shape[1:]) < least:
        raise NotApplicable(f"{name} {why} and takes sides of at least {least} pixels, got {_shown(in_shape)}")


def check_square(name: str, in_shape: Shape, sides: Sequence[int], which: str) -> None:
    """Raise NotApplicable unless pictures (C, H, W) are square with one of `sides`; `which` says what has them."""
    height, width = in_shape[1:]
    if height != width or height not in sides:
        wanted = " or ".join(f"{side}x{side}" for side in sides)
        raise NotApplicable(f"{name} takes pictures of {wanted} pixels, got {_shown(in_shape)}; {which}")


def _shown(in_shape: Shape) -> str:
    return "x".join(map(str, in_shape[1:]))
