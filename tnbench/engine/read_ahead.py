"""Batches that are asked for one by one, and read ahead because their order is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from torch import Tensor

from tnbench.core.protocols import StoredPictures
from tnbench.engine.reading import BatchRequest, read


class ReadAhead:
    """Batches of stored `pictures`, read in the sequence of `requests` while earlier ones are worked on."""

    def __init__(
        self, pictures: StoredPictures, requests: Iterable[BatchRequest], *, workers: int, pinned: bool
    ) -> None:
        self._expected: deque[BatchRequest] = deque()
        # A generator over a method would hold this object, and the workers would outlive it until a collection.
        self._batches = read(pictures, _noted(requests, self._expected), workers=workers, pinned=pinned)
        self._last: tuple[BatchRequest, Tensor] | None = None

    def first(self) -> Tensor:
        """The batch of the first request."""
        return self._next()[1]

    def take(self, request: BatchRequest) -> Tensor | None:
        """The batch of `request` where it is the next one, or the last one again; else None, and this is used up."""
        if self._last is not None and self._last[0].same(request):
            return self._last[1]
        try:
            expected, batch = self._next()
        except StopIteration:
            return None
        return batch if expected.same(request) else None

    def _next(self) -> tuple[BatchRequest, Tensor]:
        batch = next(self._batches)
        self._last = self._expected.popleft(), batch
        return self._last


def _noted(requests: Iterable[BatchRequest], expected: deque[BatchRequest]) -> Iterator[BatchRequest]:
    for request in requests:
        expected.append(request)
        yield request
