"""Which nodes of a graph can work on some rows of an image, and what each of them becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional

from tnbench.distributed.collectives import Group, size
from tnbench.distributed.halo import ROWS, Window
from tnbench.distributed.sharding.chains import chains_of, factors
from tnbench.distributed.sharding.pointwise import (
    argument,
    calls,
    is_every_nth,
    is_pointwise,
    mean_over_sides,
    padding_of,
)
from tnbench.distributed.sharding.rewrite import Decision, State, same
from tnbench.distributed.sharding.row_norm import RowNorm
from tnbench.distributed.sharding.rows import (
    Place,
    RowConvolutions,
    RowMean,
    RowPool,
    RowSlice,
    pool_window,
    rows_window,
)
from tnbench.distributed.sharding.shapes import padding
from tnbench.distributed.sharding.tracing import shape_of
from tnbench.layers.geometry import Geometry
from tnbench.layers.plain import CONVOLUTIONS

Pool = nn.MaxPool2d | nn.AvgPool2d
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_GLOBAL_MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


class RowRules:
    """Decides for each node of a graph of `model` that has shapes. `cut` gets the names of the layers that are shared.

    A convolution splits what enters it; all else works on rows only where it is given rows.
    """

    def __init__(self, model: nn.Module, group: Group) -> None:
        self.model, self.group, self.ranks = model, group, size(group)
        self.cut: list[str] = []
        self._chains = set(chains_of(model))

    def __call__(self, node: fx.Node, given: list[State]) -> Decision:
        """As `rewrite.Decide`."""
        name = str(node.target)
        module = self.model.get_submodule(name) if node.op == "call_module" else None
        shape = shape_of(node.all_input_nodes[0]) if node.all_input_nodes else None
        if module is None or not (name in self._chains or type(module) in CONVOLUTIONS):
            return Decision() if same(given) is None else self._given_rows(node, module, given)
        windows = [rows_window(layer) for layer in factors(module)] if is_shareable(module) else []
        decision = self._windowed(windows, shape, lambda place: RowConvolutions(module, place))
        if decision.module is not None:
            self.cut.append(name)
        return decision

    def _given_rows(self, node: fx.Node, module: nn.Module | None, given: list[State]) -> Decision:
        rows, shape = same(given), shape_of(node.all_input_nodes[0])
        assert rows is not None
        place = Place(rows, self.group)
        if type(module) in _NORMS:
            return Decision(rows, rows, RowNorm(cast(nn.BatchNorm2d, module), self.group))
        if (pool := _pool_of(node, module)) is not None:
            return self._windowed([pool_window(pool)], shape, lambda at: RowPool(pool, at))
        if (steps := is_every_nth(node)) is not None:
            return self._windowed([Window(stride=steps[0])] if steps else [], shape, lambda at: RowSlice(steps, at))
        if (keeps := _mean_of(node, module)) is not None:
            return Decision(rows, None, RowMean(keeps, place))
        return Decision(rows, rows) if self._keeps_rows(node, module, rows) else Decision()

    def _windowed(
        self, windows: list[Window], shape: torch.Size | None, make: Callable[[Place], nn.Module]
    ) -> Decision:
        """`make`'s module where each rank has a row at least of what enters and of what each window gives."""
        if not windows or shape is None or len(shape) <= ROWS:
            return Decision()
        heights = [shape[ROWS]]
        for window in windows:
            heights.append(window.outputs(heights[-1]))
        if min(heights) < self.ranks:
            return Decision()
        return Decision(heights[0], heights[-1], make(Place(heights[0], self.group)))

    def _keeps_rows(self, node: fx.Node, module: nn.Module | None, rows: int) -> bool:
        shapes = [shape for source in node.all_input_nodes if (shape := shape_of(source)) is not None]
        if any(len(shape) <= ROWS or shape[ROWS] != rows for shape in shapes):
            return False  # something that is broadcast along the rows
        if calls(node, frozenset({torch.cat})):
            return argument(node, 1, "dim", 0) == 1
        if (pad := padding_of(node)) is not None:
            sides = len(shapes[0]) - ROWS
            return len(pad) <= 2 * (sides + 1) and not any(pad[2 * (sides - 1) : 2 * sides])
        return is_pointwise(node, module)


def is_shareable(chain: nn.Module) -> bool:
    """Whether rows of a chain's output, or of a convolution's, are convolutions of rows with zeros around."""
    layers = factors(chain)
    return all(type(layer) in CONVOLUTIONS and _pads_evenly(cast(nn.Conv2d, layer)) for layer in layers)


def _pads_evenly(layer: nn.Conv2d) -> bool:
    geometry = Geometry.of(layer)
    others = [padding(geometry, axis) for axis in range(1, len(geometry.sides))]
    return geometry.padding_mode == "zeros" and all(before == after for before, after in others)


def _mean_of(node: fx.Node, module: nn.Module | None) -> bool | None:
    """Whether sides are kept where `node` is a mean over all of them; None if it is not."""
    shape = shape_of(node.all_input_nodes[0])
    assert shape is not None, "only a tensor is split"
    dims = len(shape) - ROWS
    if node.op == "call_module":
        wanted = getattr(module, "output_size", None)
    elif calls(node, frozenset({functional.adaptive_avg_pool2d})):
        wanted = argument(node, 1, "output_size", None)
    else:
        return mean_over_sides(node, dims)
    is_mean = not isinstance(module, nn.Module) or type(module) in _GLOBAL_MEANS
    return True if is_mean and wanted in (1, (1,) * dims, [1] * dims) else None


def _pool_of(node: fx.Node, module: nn.Module | None) -> Pool | None:
    """The plain pooling that `node` is; None if it is none."""
    pool = module if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)) else _pool_function(node)
    if pool is None or pool.ceil_mode:
        return None
    if isinstance(pool, nn.MaxPool2d):
        return None if pool.return_indices else pool
    plain = pool.divisor_override is None and (pool.count_include_pad or pool.padding in (0, (0, 0)))
    return pool if plain else None


_MAX_NAMES = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG_NAMES = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")


def _pool_function(node: fx.Node) -> Pool | None:
    if len(node.all_input_nodes) != 1:  # a window whose size is computed is known to no plan
        return None
    if calls(node, frozenset({functional.max_pool2d})):
        return nn.MaxPool2d(**_named(node, _MAX_NAMES))
    if calls(node, frozenset({functional.avg_pool2d})):
        return nn.AvgPool2d(**_named(node, _AVG_NAMES))
    return None


def _named(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    """What a call is given behind its input, by name."""
    placed = dict(zip(names, node.args[1:], strict=False))
    return placed | {name: value for name, value in node.kwargs.items() if name != "input"}
