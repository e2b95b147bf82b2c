"""Training pictures as a fit takes them: each epoch's order, cut into batches, augmented and normalised."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Augmentation, Normalisation, Recipe, StoredPictures
from tnbench.engine.read_ahead import ReadAhead
from tnbench.engine.reading import BatchRequest, workers_for
from tnbench.engine.splitmix import key, permutation
from tnbench.engine.streams import ORDER
from tnbench.engine.training_view import training_request, training_view


@dataclass
class Batches:
    """Training pictures (N, C, H, W), uint8, and labels (N,) on the device, and how a batch is made of them.

    Pictures in memory are on the labels' device. Others are read ahead, in the order in which process `rank` of
    `world` takes its shares of the epochs' batches. `wait_s` grows by the seconds that pictures are waited for.
    """

    pictures: Tensor | StoredPictures
    labels: Tensor
    normalisation: Normalisation
    augmentation: Augmentation
    dtype: torch.dtype
    rank: int = 0
    world: int = 1
    wait_s: float = field(default=0.0, init=False)
    _ahead: ReadAhead | None = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor, recipe: Recipe, epoch: int) -> tuple[Tensor, Tensor]:
        """The augmented, normalised pictures at `indices`, and their labels.

        Raises TnbenchError naming the first file that is no picture.
        """
        indices = indices.to(self.labels.device)
        request = self._request(indices, recipe, epoch)
        if isinstance(self.pictures, Tensor):
            read = self.pictures[indices]
        else:
            start = time.perf_counter()
            read = self._stored(self.pictures, request, recipe, epoch).to(indices.device, non_blocking=True)
            self.wait_s += time.perf_counter() - start
        seen = training_view(
            read, request, self.augmentation, self.normalisation, self.dtype, seed=recipe.seed, epoch=epoch
        )
        return seen, self.labels[indices]

    def _stored(self, pictures: StoredPictures, request: BatchRequest, recipe: Recipe, epoch: int) -> Tensor:
        read = self._ahead.take(request) if self._ahead else None
        if read is not None:
            return read
        requests, count = self._requests_from(request, recipe, epoch)
        workers = workers_for(pictures, count, self.world)
        self._ahead = ReadAhead(pictures, requests, workers=workers, pinned=self.labels.is_cuda)
        return self._ahead.first()

    def _requests_from(self, first: BatchRequest, recipe: Recipe, epoch: int) -> tuple[Iterator[BatchRequest], int]:
        """What this process reads from `first` on to the end of the last epoch, and in how many batches.

        That is `first` alone where it is not one of its shares.
        """
        shares = list(self._requests(recipe, epoch))
        place = next((number for number, request in enumerate(shares) if request.same(first)), None)
        if place is None:
            return iter([first]), 1
        later = chain.from_iterable(self._requests(recipe, number) for number in range(epoch + 1, recipe.epochs))
        return chain(shares[place:], later), len(shares) * (recipe.epochs - epoch) - place

    def _requests(self, recipe: Recipe, epoch: int) -> Iterator[BatchRequest]:
        for batch in batches(len(self), recipe, epoch):
            yield self._request(batch.tensor_split(self.world)[self.rank], recipe, epoch)

    def _request(self, indices: Tensor, recipe: Recipe, epoch: int) -> BatchRequest:
        return training_request(self.pictures, indices, self.augmentation, seed=recipe.seed, epoch=epoch)


def batches(n: int, recipe: Recipe, epoch: int) -> Iterator[Tensor]:
    """The epoch's global batches: indices (int64) of ceil(n / batch_size) parts of nearly equal size."""
    order = permutation(key(recipe.seed, epoch, ORDER), n)
    yield from order.tensor_split(batches_per_epoch(n, recipe))


def batches_per_epoch(n: int, recipe: Recipe) -> int:
    """How many batches `n` pictures make. Raises NotApplicable where there are none."""
    if not n:
        raise NotApplicable(
            "the data set has no training pictures here, so nothing can be trained; take training none with a network "
            "from tnbench baseline import"
        )
    return math.ceil(n / recipe.batch_size)
