"""Training: the backward pass of the layers that decomposition changes, and a whole step."""

from __future__ import annotations

from statistics import median

from tnbench.measure.memory import PeakMemory

from ._cases import BATCH, Call, PerCase, Workbench, shown


class Layers(PerCase):
    """A batch back through each compressed layer alone."""

    def lay_out(self, bench: Workbench) -> Call:
        return bench.layers_backward(BATCH)

    @shown(f"Backward pass of the compressed layers, batch {BATCH}")
    def time_backward(self, case: str) -> None:
        self.call()


class Step(PerCase):
    """One training step of the compressed network."""

    def lay_out(self, bench: Workbench) -> Call:
        return bench.step()

    @shown("Training step")
    def time_step(self, case: str) -> None:
        self.call()

    @shown("Peak memory of a training step", unit="bytes")
    def track_peak_memory(self, case: str) -> float:
        self.call()  # the first step pays for buffers that the optimiser and the libraries keep
        peaks = []
        for _ in range(3):
            with PeakMemory("cpu") as peak:
                self.call()
            peaks.append(peak.bytes)
        return median(peaks)
