"""Batches of pictures in an order known beforehand: taken from memory, or decoded ahead by worker processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tnbench.core.errors import TnbenchError
from tnbench.core.protocols import StoredPictures
from tnbench.measure.environment import usable_cores
from tnbench.measure.workers import workers_asked

MOST_WORKERS = 16
AHEAD = 2
"""Batches that each worker is ahead."""


class RandomParts(NamedTuple):
    """The random parts that training takes of pictures: at least the share `least`, drawn from (seed, epoch)."""

    least: float
    seed: int
    epoch: int


class Order(NamedTuple):
    """One batch: the pictures at `indices` (n,), as evaluated or a random part of each."""

    indices: Tensor
    parts: RandomParts | None = None

    def same(self, other: Order) -> bool:
        """Whether both are for the same batch."""
        return self.parts == other.parts and torch.equal(self.indices.cpu(), other.indices.cpu())


def read(
    pictures: Tensor | StoredPictures, orders: Iterable[Order], *, workers: int = 0, pinned: bool = False
) -> Iterator[Tensor]:
    """A batch (n, C, H, W), uint8, for each of `orders`, in their order, whatever the number of workers.

    Pictures in memory are indexed where they are. Others are decoded by `workers` processes, or here if there are
    none; `pinned` puts them into page-locked memory, from which a GPU copies while it computes. The workers end with
    the iterator: when it is exhausted, closed or forgotten, and with the process that reads, however that one ends.

    Raises TnbenchError naming the first file that is no picture.
    """
    if isinstance(pictures, Tensor):
        return (pictures[order.indices.to(pictures.device)] for order in orders)
    if not workers:
        return (_decode(pictures, order) for order in orders)
    return _read_ahead(pictures, orders, workers, pinned)


def subset(pictures: Tensor | StoredPictures, indices: Tensor) -> Tensor | StoredPictures:
    """The pictures at `indices` (n,); of stored ones none is read."""
    return pictures[indices] if isinstance(pictures, Tensor) else pictures.subset(indices)


def workers_for(pictures: Tensor | StoredPictures, batches: int, processes: int = 1) -> int:
    """Processes that decode `batches` batches of `pictures` for one of `processes` that read at the same time.

    None for pictures in memory or for few batches, which are read sooner than workers start.
    """
    if isinstance(pictures, Tensor) or batches < 2 * AHEAD:
        return 0
    asked = workers_asked()
    return min(MOST_WORKERS, max(1, usable_cores() // processes)) if asked is None else asked


def _read_ahead(pictures: StoredPictures, orders: Iterable[Order], workers: int, pinned: bool) -> Iterator[Tensor]:
    # A fork of this process would inherit its threads' locks. A server that has the imports done forks in no time; it
    # ends with this process.
    multiprocessing.set_forkserver_preload(["__main__", "tnbench.engine.files"])
    loader = DataLoader(
        _Decoder(pictures),
        batch_size=None,
        sampler=((order.indices.tolist(), order.parts) for order in orders),
        num_workers=workers,
        prefetch_factor=AHEAD,
        pin_memory=pinned,
        multiprocessing_context="forkserver",
        generator=torch.Generator(),  # else it draws from torch's global one
    )
    for batch in loader:
        if isinstance(batch, TnbenchError):
            raise batch
        yield batch


class _Decoder(Dataset[Tensor | TnbenchError]):
    """What a worker does with an order. An error is handed over, since the loader would add the worker's traceback."""

    def __init__(self, pictures: StoredPictures) -> None:
        self._pictures = pictures

    def __getitem__(self, order: tuple[list[int], RandomParts | None]) -> Tensor | TnbenchError:
        indices, parts = order
        try:
            return _decode(self._pictures, Order(torch.tensor(indices), parts))
        except TnbenchError as error:
            return error


def _decode(pictures: StoredPictures, order: Order) -> Tensor:
    if order.parts is None:
        return pictures[order.indices]
    least, seed, epoch = order.parts
    return pictures.read_parts(order.indices, least, seed=seed, epoch=epoch)
