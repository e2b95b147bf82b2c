"""What a decomposition leaves: counted, not timed."""

from __future__ import annotations

from ._cases import Call, PerCase, Workbench, shown


class Network(PerCase):
    """The compressed network, before any training."""

    def lay_out(self, bench: Workbench) -> Call:
        metrics = {**bench.size(), "weight_error": bench.decomposition.summary.weight_error}
        return lambda: metrics

    @shown("Parameters of the network", unit="1")
    def track_params(self, case: str) -> float:
        return self.call()["params"]

    @shown("Multiply-accumulates of a picture's forward pass", unit="1")
    def track_macs(self, case: str) -> float:
        return self.call()["macs"]

    @shown("Relative error of the decomposed weights", unit="1")
    def track_weight_error(self, case: str) -> float:
        return self.call()["weight_error"]
