"""Augmentation of a batch on its device: the standard random crop and flip of CIFAR training (He et al. 2015).

A picture's crop and flip depend on (seed, epoch, index of the picture in the training set) and on nothing else, so
they are the same whatever the batch size, the number of processes and the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tnbench.core.protocols import Augmentation
from tnbench.engine.splitmix import draw, key

_ROW, _COLUMN, _FLIP = 0, 1, 2


def augment(batch: Tensor, indices: Tensor, *, seed: int, epoch: int, augmentation: Augmentation) -> Tensor:
    """Crop and flip `batch` (N, C, H, W), uint8, whose pictures are number `indices` (N,) of the training set.

    A crop of c pads each side with c black pixels (0, before normalisation) and cuts H x W out at one of the
    (2c + 1)^2 places; a flip mirrors left and right with probability 1/2.
    """
    if not augmentation.crop and not augmentation.flip:
        return batch
    height, width = batch.shape[-2:]
    indices = indices.to(batch.device)
    rows = _starts(_ROW, indices, seed, epoch, augmentation.crop) + _places(height, batch)
    columns = _starts(_COLUMN, indices, seed, epoch, augmentation.crop) + _places(width, batch)
    if augmentation.flip:
        mirrored = draw(key(seed, epoch, _FLIP), indices, 2).bool()
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = functional.pad(batch, [augmentation.crop] * 4)
    pictures = torch.arange(len(batch), device=batch.device)[:, None, None, None]
    channels = torch.arange(batch.shape[1], device=batch.device)[None, :, None, None]
    return padded[pictures, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _starts(axis: int, indices: Tensor, seed: int, epoch: int, crop: int) -> Tensor:
    """Where each picture's cut begins in the padded picture, (N, 1)."""
    return draw(key(seed, epoch, axis), indices, 2 * crop + 1)[:, None]


def _places(side: int, batch: Tensor) -> Tensor:
    return torch.arange(side, device=batch.device)[None, :]
