"""What training sees of its pictures: which are read and how, then augmented and normalised on their device."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tnbench.core.protocols import Augmentation, Normalisation, StoredPictures
from tnbench.engine.augment import augment, cut_out
from tnbench.engine.evaluate import normalise
from tnbench.engine.reading import BatchRequest, RandomParts


def training_request(
    pictures: Tensor | StoredPictures, indices: Tensor, augmentation: Augmentation, *, seed: int, epoch: int
) -> BatchRequest:
    """How the pictures at `indices` (n,) are read: random parts are taken of stored ones before they are resized."""
    if isinstance(pictures, Tensor) or not augmentation.resized:
        return BatchRequest(indices)
    return BatchRequest(indices, RandomParts(augmentation.resized, seed, epoch))


def training_view(
    batch: Tensor,
    request: BatchRequest,
    augmentation: Augmentation,
    normalisation: Normalisation,
    dtype: torch.dtype,
    *,
    seed: int,
    epoch: int,
) -> Tensor:
    """What was read for `request`, (n, C, H, W) in uint8, augmented and normalised, where it is."""
    if request.parts:
        augmentation = replace(augmentation, resized=0.0)
    seen = augment(batch, request.indices, seed=seed, epoch=epoch, augmentation=augmentation)
    normal = normalise(seen, normalisation, dtype)
    return cut_out(normal, request.indices, augmentation.cutout, seed=seed, epoch=epoch)
