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


class BatchRequest(NamedTuple):
    """One batch: the pictures at `indices` (n,), as evaluated or a random part of each."""

    indices: Tensor
    parts: RandomParts | None = None

    def same(self, other: BatchRequest) -> bool:
        """Whether both are for the same batch."""
        return self.parts == other.parts and torch.equal(self.indices.cpu(), other.indices.cpu())


def read(
    pictures: Tensor | StoredPictures, requests: Iterable[BatchRequest], *, workers: int = 0, pinned: bool = False
) -> Iterator[Tensor]:
    """A batch (n, C, H, W), uint8, for each of `requests`, in their order, whatever the number of workers.

    Pictures in memory are indexed where they are. Others are decoded by `workers` processes, or here if there are
    none; `pinned` puts them into page-locked memory, from which a GPU copies while it computes. The workers end with
    the iterator: when it is exhausted, closed or forgotten, and with the process that reads, however that one ends.

    Raises TnbenchError naming the first file that is no picture.
    """
    if isinstance(pictures, Tensor):
        return (pictures[request.indices.to(pictures.device)] for request in requests)
    if not workers:
        return (_decode(pictures, request) for request in requests)
    return _read_ahead(pictures, requests, workers, pinned)


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


def _read_ahead(
    pictures: StoredPictures, requests: Iterable[BatchRequest], workers: int, pinned: bool
) -> Iterator[Tensor]:
    # A fork of this process would inherit its threads' locks. A server that has the imports done forks in no time; it
    # ends with this process.
    multiprocessing.set_forkserver_preload(["__main__", "tnbench.engine.files"])
    loader = DataLoader(
        _Decoder(pictures),
        batch_size=None,
        sampler=((request.indices.tolist(), request.parts) for request in requests),
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
    """What a worker does with a request. An error is handed over, since the loader would add the worker's traceback."""

    def __init__(self, pictures: StoredPictures) -> None:
        self._pictures = pictures

    def __getitem__(self, request: tuple[list[int], RandomParts | None]) -> Tensor | TnbenchError:
        indices, parts = request
        try:
            return _decode(self._pictures, BatchRequest(torch.tensor(indices), parts))
        except TnbenchError as error:
            return error


def _decode(pictures: StoredPictures, request: BatchRequest) -> Tensor:
    if request.parts is None:
        return pictures[request.indices]
    least, seed, epoch = request.parts
    return pictures.read_parts(request.indices, least, seed=seed, epoch=epoch)
