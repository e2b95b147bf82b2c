"""Augmentation of a batch on its device: random crop, flip, cutout and resized crop, picture by picture.

What happens to a picture depends on (seed, epoch, index of the picture in the training set) and on nothing else, so it
is the same whatever the batch size, the number of processes and the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tnbench.core.protocols import Augmentation
from tnbench.engine.resized_crop import drawn_parts, resize_parts
from tnbench.engine.splitmix import draw, key
from tnbench.engine.streams import COLUMN, CUT_COLUMN, CUT_ROW, FLIP, ROW


def augment(batch: Tensor, indices: Tensor, *, seed: int, epoch: int, augmentation: Augmentation) -> Tensor:
    """`batch` (N, C, H, W), uint8, whose pictures are number `indices` (N,) of the training set: all but cutout.

    A crop of c pads each side with c pixels, black (0, before normalisation) or mirrored at the border, and cuts H x W
    out at one of the (2c + 1)^2 places; a flip mirrors left and right with probability 1/2.
    """
    indices = indices.to(batch.device)
    if augmentation.resized:
        heights, widths = (torch.full((len(batch),), side) for side in batch.shape[-2:])
        parts = drawn_parts(indices.cpu(), heights, widths, augmentation.resized, seed=seed, epoch=epoch)
        batch = resize_parts(batch, parts)
    if not augmentation.crop and not augmentation.flip:
        return batch
    return _cropped(batch, indices, seed, epoch, augmentation)


def cut_out(batch: Tensor, indices: Tensor, side: int, *, seed: int, epoch: int) -> Tensor:
    """Normalised pictures (N, C, H, W) with a square of `side` pixels set to 0, which is the mean colour, in each.

    Its centre is any pixel, so it may be cut off at the borders (DeVries and Taylor, arXiv:1708.04552).
    """
    if not side:
        return batch
    indices = indices.to(batch.device)
    rows, columns = (
        _covered(draw(key(seed, epoch, axis), indices, length), length, side)
        for axis, length in zip((CUT_ROW, CUT_COLUMN), batch.shape[-2:], strict=True)
    )
    return batch.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)


def _cropped(batch: Tensor, indices: Tensor, seed: int, epoch: int, augmentation: Augmentation) -> Tensor:
    crop, (height, width) = augmentation.crop, batch.shape[-2:]
    rows = _starts(ROW, indices, seed, epoch, crop) + _places(height, batch)
    columns = _starts(COLUMN, indices, seed, epoch, crop) + _places(width, batch)
    if augmentation.flip:
        mirrored = draw(key(seed, epoch, FLIP), indices, 2).bool()
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    if augmentation.pad == "reflect":
        rows, columns = _reflected(rows - crop, height), _reflected(columns - crop, width)
    else:
        batch = functional.pad(batch, [crop] * 4)
    pictures = torch.arange(len(batch), device=batch.device)[:, None, None, None]
    channels = torch.arange(batch.shape[1], device=batch.device)[None, :, None, None]
    return batch[pictures, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _starts(axis: int, indices: Tensor, seed: int, epoch: int, crop: int) -> Tensor:
    """Where each picture's cut begins in the padded picture, (N, 1)."""
    return draw(key(seed, epoch, axis), indices, 2 * crop + 1)[:, None]


def _places(side: int, batch: Tensor) -> Tensor:
    return torch.arange(side, device=batch.device)[None, :]


def _reflected(places: Tensor, side: int) -> Tensor:
    """Places beyond a border mirrored at it, without repeating the pixel there."""
    inside = places.abs()
    return torch.where(inside >= side, 2 * (side - 1) - inside, inside)


def _covered(centres: Tensor, length: int, side: int) -> Tensor:
    """Which of `length` places a stretch of `side` around each of `centres` (N,) covers: bool (N, length)."""
    offsets = torch.arange(length, device=centres.device)[None, :] - (centres[:, None] - side // 2)
    return (offsets >= 0) & (offsets < side)
