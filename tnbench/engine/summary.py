"""What compression did to each layer, as data and as a table to print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tnbench.core.protocols import Ranks, Shape
from tnbench.engine.blueprint import Blueprint


@dataclass(frozen=True)
class LayerSummary:
    """One convolution or linear layer; numbers of weights are bias apart.

    `kind` is ``conv`` or ``linear``; `norm` the Frobenius norm of the dense weight and `error` the reconstruction's
    distance from it, relative to that norm. `params` are the weights that count and `stored` those that take memory:
    they differ where weights were set to zero one by one. `part` names what was factorised at a time: the layer, or a
    group that it is in. A layer that was not `compressed` has no ranks, no error and
    a `note` that says why; one that was narrowed has no error either. `diagnosis` holds the method's own numbers.
    """

    name: str
    kind: str
    shape: Shape
    ranks: Ranks
    params_dense: int
    params: int
    stored: int
    error: float | None
    note: str
    norm: float
    compressed: bool
    part: str
    diagnosis: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """All layers, and the parameters of the whole network (bias, normalisation and all) before and after.

    `nonzero` leaves out weights that were set to zero one by one. With the `blueprint` the compressed network can be
    saved and read back without the dense one (`tnbench.engine.saved`).
    """

    layers: tuple[LayerSummary, ...]
    network_dense: int
    network: int
    nonzero: int
    blueprint: Blueprint

    @property
    def compressed(self) -> tuple[LayerSummary, ...]:
        """The layers that were factorised or narrowed (by the dense method: copied)."""
        return tuple(layer for layer in self.layers if layer.compressed)

    @property
    def params_layers_dense(self) -> int:
        """Weights of the compressed layers when dense; of a narrowed network all parameters."""
        if self._narrowed:
            return self.network_dense
        return sum(layer.params_dense for layer in self.compressed)

    @property
    def params_layers(self) -> int:
        """Weights of the compressed layers; of a narrowed network all parameters."""
        if self._narrowed:
            return self.network
        return sum(layer.params for layer in self.compressed)

    @property
    def weight_error(self) -> float | None:
        """||W - W~|| / ||W|| over all compressed layers together; None where layers have other sizes now."""
        if self._narrowed:
            return None
        norm = math.hypot(*(layer.norm for layer in self.compressed))
        return math.hypot(*(layer.norm * (layer.error or 0.0) for layer in self.compressed)) / (norm or 1.0)

    @property
    def _narrowed(self) -> bool:
        return any(layer.error is None for layer in self.compressed)

    def __str__(self) -> str:
        rows = [("layer", "kind", "weight", "rank", "dense", "weights", "ratio", "error", "")]
        return "\n".join([*_aligned([*rows, *map(_row, self.layers)]), _totals(self)])


def _row(layer: LayerSummary) -> tuple[str, ...]:
    shape = "x".join(map(str, layer.shape))
    dense = (layer.name or "(itself)", layer.kind, shape)
    if not layer.compressed:
        return (*dense, "dense", f"{layer.params_dense:,}", f"{layer.params:,}", "", "", layer.note)
    ranks = ",".join(map(str, layer.ranks)) or ("full" if layer.error is not None else "")
    ratio = f"x{layer.params_dense / layer.params:.2f}"
    error = "" if layer.error is None else f"{layer.error:.4f}"
    return (*dense, ranks, f"{layer.params_dense:,}", f"{layer.params:,}", ratio, error, layer.note)


_LEFT = (0, 1, 2, 8)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index in _LEFT else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _totals(summary: Summary) -> str:
    network = summary.network_dense / max(summary.nonzero, 1)
    layers = summary.params_layers_dense / max(summary.params_layers, 1)
    stored = "" if summary.nonzero == summary.network else f" that are not zero ({summary.network:,} stored)"
    error = "" if summary.weight_error is None else f", weight error {summary.weight_error:.4f}"
    return (
        f"network: {summary.network_dense:,} -> {summary.nonzero:,} parameters{stored}, x{network:.2f}; "
        f"the {len(summary.compressed)} compressed layers: x{layers:.2f}{error}"
    )
