"""Batches that are asked for one by one, and read ahead because their order is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from torch import Tensor

from tnbench.core.protocols import StoredPictures
from tnbench.engine.reading import Order, read


class ReadAhead:
    """Batches of stored `pictures`, read in the sequence of `orders` while earlier ones are worked on."""

    def __init__(self, pictures: StoredPictures, orders: Iterable[Order], *, workers: int, pinned: bool) -> None:
        self._expected: deque[Order] = deque()
        # A generator over a method would hold this object, and the workers would outlive it until a collection.
        self._batches = read(pictures, _noted(orders, self._expected), workers=workers, pinned=pinned)
        self._last: tuple[Order, Tensor] | None = None

    def first(self) -> Tensor:
        """The batch of the first order."""
        return self._next()[1]

    def take(self, order: Order) -> Tensor | None:
        """The batch of `order` where it is the next one, or the last one again; else None, and this is used up."""
        if self._last is not None and self._last[0].same(order):
            return self._last[1]
        try:
            expected, batch = self._next()
        except StopIteration:
            return None
        return batch if expected.same(order) else None

    def _next(self) -> tuple[Order, Tensor]:
        batch = next(self._batches)
        self._last = self._expected.popleft(), batch
        return self._last


def _noted(orders: Iterable[Order], expected: deque[Order]) -> Iterator[Order]:
    for order in orders:
        expected.append(order)
        yield order
