"""What a network sees of pictures, its scores for them, and how many of them it classifies right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tnbench.core.errors import Diverged, UsageError
from tnbench.core.protocols import Normalisation, StoredPictures
from tnbench.engine.reading import BatchRequest, read, workers_for

MOST_PICTURES, MOST_ON_CPU, MOST_PIXELS = 500, 64, 1 << 24
"""Pictures of one batch in an evaluation, and their pixels times channels: 111 pictures of ImageNet's size.

On a processor what a layer gives for 64 small pictures is still in its caches when the next layer reads it.
"""


def normalise(batch: Tensor, normalisation: Normalisation, dtype: torch.dtype) -> Tensor:
    """Pixels (N, C, H, W), uint8, as numbers of `dtype`: (pixel / 255 - mean) / std, channel by channel.

    Raises UsageError where `normalisation` is for another number of channels (one for every channel always fits).
    """
    channels = batch.shape[1]
    if len(normalisation.mean) not in (1, channels):
        raise UsageError(
            f"normalisation: got {len(normalisation.mean)} channels for pictures with {channels}; "
            f"give one mean and standard deviation per channel, or one for all"
        )
    mean, std = (
        torch.tensor(values, dtype=dtype, device=batch.device).view(1, -1, 1, 1)
        for values in (normalisation.mean, normalisation.std)
    )
    return batch.to(dtype).div_(255).sub_(mean).div_(std)


def predict(
    model: nn.Module,
    pictures: Tensor | StoredPictures,
    normalisation: Normalisation,
    *,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int | None = None,
) -> Tensor:
    """The scores of `model` for `pictures` (N, C, H, W), uint8: float32 (N, classes) on the CPU.

    Every picture once, in its order, in batches of at most 500 (64 on the CPU) that are smaller for large pictures
    unless their size is given. `model` is on `device` in `dtype` already; it runs in eval mode and its modules' modes
    are put back. Raises Diverged where a score is not finite, TnbenchError naming the first file that is no picture.
    """
    scores = []
    batches = torch.arange(len(pictures)).split(batch_size or _fitting(pictures.shape[1:], device))
    workers, pinned = workers_for(pictures, len(batches)), device.type == "cuda"
    with mode_of(model, training=False), torch.inference_mode():
        for batch in read(pictures, map(BatchRequest, batches), workers=workers, pinned=pinned):
            scores.append(model(normalise(batch.to(device), normalisation, dtype)).float())
            if not scores[-1].isfinite().all():
                raise Diverged("the network's scores are not finite; where it was trained, a lower rate may help")
    return torch.cat(scores).cpu()


def count_correct(
    model: nn.Module,
    pictures: Tensor | StoredPictures,
    labels: Tensor,
    normalisation: Normalisation,
    *,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int | None = None,
) -> int:
    """How many of `pictures` get their highest score at their label (N,), int64; else as `predict`."""
    scores = predict(model, pictures, normalisation, device=device, dtype=dtype, batch_size=batch_size)
    return int((scores.argmax(1) == labels.cpu()).sum())


def _fitting(shape: tuple[int, ...], device: torch.device) -> int:
    most = MOST_ON_CPU if device.type == "cpu" else MOST_PICTURES
    return max(1, min(most, MOST_PIXELS // math.prod(shape)))


@contextmanager
def mode_of(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put every module into train or eval mode for a block; afterwards each has its own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
