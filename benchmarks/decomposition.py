"""Decomposing the network."""

from __future__ import annotations

from ._cases import Call, PerCase, Workbench, shown


class Decomposition(PerCase):
    """Choosing ranks, factorising and swapping the layers, as the metric decompose_s times it."""

    def lay_out(self, bench: Workbench) -> Call:
        return bench.decompose()

    @shown("Time to decompose the network")
    def time_decompose(self, case: str) -> None:
        self.call()
