"""New running statistics for BatchNorm, for a network whose weights have changed without training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Augmentation, Normalisation, StoredPictures
from tnbench.engine.evaluate import mode_of
from tnbench.engine.reading import read, workers_for
from tnbench.engine.splitmix import key, permutation
from tnbench.engine.streams import RECALIBRATION
from tnbench.engine.training_view import training_request, training_view

NO_AUGMENTATION = Augmentation()
LIMIT = 10_000
"""Pictures that are enough: means and variances of channels over all pixels converge soon."""


def recalibrate(
    model: nn.Module,
    pictures: Tensor | StoredPictures,
    normalisation: Normalisation,
    *,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int,
    seed: int,
    augmentation: Augmentation = NO_AUGMENTATION,
    limit: int = LIMIT,
) -> int:
    """Recompute the running means and variances of `model` in place, and say how many layers have them.

    The new statistics are the mean over batches of `pictures` (N, C, H, W), uint8: of all, or of `limit` drawn from
    `seed`, in ceil(n / batch_size) batches whose sizes differ by at most one: PyTorch's cumulative average (momentum
    None). The pictures are augmented as in training: the statistics of a network that saw shifted pictures with black
    borders are not those of pictures as they are, by which a trained ResNet-20 loses three points on CIFAR-10. As in
    training, each batch is normalised by its own statistics on its way to the next layer; dropout and all else run as
    in eval mode. No gradient is computed; modes and momentum are put back. A network without such layers is left as it
    was, without a pass. `model` is on `device` in `dtype` already.

    Raises NotApplicable where there are no pictures, TnbenchError naming the first file that is no picture.
    """
    layers = [
        module for module in model.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    if not layers:
        return 0
    if not len(pictures):
        raise NotApplicable("BatchNorm is recalibrated on training pictures, of which the data set has none here")
    chosen = permutation(key(seed, 0, RECALIBRATION), len(pictures))[:limit]
    orders = [
        training_request(pictures, batch, augmentation, seed=seed, epoch=0)
        for batch in chosen.tensor_split(math.ceil(len(chosen) / batch_size))
    ]
    workers = workers_for(pictures, len(orders))
    momenta = [layer.momentum for layer in layers]
    with mode_of(model, training=False), torch.no_grad():
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
            layer.training = True
        try:
            for order, batch in zip(orders, read(pictures, orders, workers=workers), strict=True):
                model(training_view(batch.to(device), order, augmentation, normalisation, dtype, seed=seed, epoch=0))
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
    return len(layers)
