"""The forward pass, of the whole network and of the layers that decomposition changes."""

from __future__ import annotations

from ._cases import BATCH, Call, PerCase, Workbench, shown


class Network(PerCase):
    """One picture through the compressed network."""

    def lay_out(self, bench: Workbench) -> Call:
        return bench.forward(1)

    @shown("Forward pass of the network, batch 1")
    def time_forward(self, case: str) -> None:
        self.call()


class Layers(PerCase):
    """A batch through each compressed layer alone."""

    def lay_out(self, bench: Workbench) -> Call:
        return bench.layers_forward(BATCH)

    @shown(f"Forward pass of the compressed layers, batch {BATCH}")
    def time_forward(self, case: str) -> None:
        self.call()
