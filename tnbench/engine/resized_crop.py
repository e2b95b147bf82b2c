"""Random parts of pictures, resized to one size: "random resized crops" (Szegedy et al., Going deeper, CVPR 2015).

A part depends on (seed, epoch, index of the picture) and on its size alone, whoever reads the picture and where.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tnbench.engine.splitmix import draw, key
from tnbench.engine.streams import AREA, ASPECT, LEFT, TOP

LEAST_ASPECT, MOST_ASPECT = 3 / 4, 4 / 3
TRIES = 10
"""Draws of area and aspect until a part fits into its picture; then the largest central part of a fair aspect does."""

_FINENESS = 1 << 31


def drawn_parts(indices: Tensor, heights: Tensor, widths: Tensor, least: float, *, seed: int, epoch: int) -> Tensor:
    """(top, left, height, width) of a part of each picture: int64 (N, 4), on the CPU.

    `heights` and `widths` (N,) are the pictures' sides. A part's share of the area is uniform in [`least`, 1], its
    aspect's logarithm uniform between those of 3:4 and 4:3, its place uniform, as torchvision draws them.
    """
    whole = torch.stack([heights, widths], 1)
    sides, found = _central(heights, widths), torch.zeros_like(heights, dtype=torch.bool)
    for number in range(TRIES):
        tried = _tried(indices, whole, least, (seed, epoch, number))
        fits = ((tried > 0) & (tried <= whole)).all(1) & ~found
        sides[fits] = tried[fits]
        found |= fits
    free = whole - sides
    drawn = torch.stack([_uniform(stream, indices, seed, epoch) for stream in (TOP, LEFT)], 1)
    corner = torch.where(found[:, None], (drawn * (free + 1)).long(), free // 2)
    return torch.cat([corner, sides], 1)


def resize_parts(batch: Tensor, parts: Tensor) -> Tensor:
    """The `parts` (N, 4) of a batch (N, C, H, W), uint8, each resized to H x W, as uint8 on the batch's device.

    Bilinear with antialiasing: each axis is a product with a matrix of triangular weights, all pictures at once.
    """
    tops, lefts, heights, widths = (column.to(batch.device) for column in parts.unbind(1))
    rows, columns = _weights(tops, heights, batch.shape[-2]), _weights(lefts, widths, batch.shape[-1])
    resized = rows[:, None] @ batch.float() @ columns[:, None].mT
    return resized.round_().clamp_(0, 255).byte()


def _weights(starts: Tensor, lengths: Tensor, side: int) -> Tensor:
    """The matrices (N, side, side) that resample [start, start + length[ of a side to the whole side."""
    places = torch.arange(side, device=starts.device)
    scale = (lengths.float() / side)[:, None, None]
    centres = starts[:, None, None] + (places[:, None] + 0.5) * scale
    triangle = (1 - (places + 0.5 - centres).abs() / scale.clamp(min=1)).clamp(min=0)
    inside = (places >= starts[:, None]) & (places < (starts + lengths)[:, None])
    weights = triangle * inside[:, None, :]
    return weights / weights.sum(2, keepdim=True)


def _tried(indices: Tensor, whole: Tensor, least: float, words: tuple[int, int, int]) -> Tensor:
    """(height, width) of one draw, which may be larger than the `whole` picture: int64 (N, 2)."""
    areas = whole.prod(1) * (least + (1 - least) * _uniform(AREA, indices, *words))
    low, high = math.log(LEAST_ASPECT), math.log(MOST_ASPECT)
    aspects = torch.exp(low + (high - low) * _uniform(ASPECT, indices, *words))
    return torch.stack([(areas / aspects).sqrt(), (areas * aspects).sqrt()], 1).round().long()


def _central(heights: Tensor, widths: Tensor) -> Tensor:
    """(height, width) of the largest part of a fair aspect, (N, 2)."""
    lowered = heights.minimum((widths / LEAST_ASPECT).round().long())
    narrowed = widths.minimum((heights * MOST_ASPECT).round().long())
    return torch.stack([lowered, narrowed], 1)


def _uniform(stream: int, indices: Tensor, *words: int) -> Tensor:
    """A number in [0, 1[ for each index, float64."""
    return draw(key(*words, stream), indices, _FINENESS).double() / _FINENESS
