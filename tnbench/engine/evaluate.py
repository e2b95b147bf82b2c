"""What a network sees of pictures, and how many of them it classifies right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tnbench.core.errors import Diverged, UsageError
from tnbench.core.protocols import Normalisation


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


def count_correct(
    model: nn.Module,
    pictures: Tensor,
    labels: Tensor,
    normalisation: Normalisation,
    *,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int = 500,
) -> int:
    """How many of `pictures` (N, C, H, W), uint8, get the highest score at their label (N,).

    `model` is on `device` in `dtype` already; it runs in eval mode and its modules' modes are put back. Raises
    Diverged where a score is not finite.
    """
    correct = torch.zeros((), dtype=torch.int64, device=device)
    with mode_of(model, training=False), torch.inference_mode():
        for batch, wanted in zip(pictures.split(batch_size), labels.split(batch_size), strict=True):
            scores = model(normalise(batch.to(device), normalisation, dtype))
            if not scores.isfinite().all():
                raise Diverged("the network's scores are not finite; a lower rate may help")
            correct += (scores.argmax(1) == wanted.to(device)).sum()
    return int(correct.item())


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
