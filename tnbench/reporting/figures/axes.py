"""Axes that read well: which quantity, how it is called, where its ticks are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tnbench.reporting import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Quantity:
    """A column on an axis. `ratio` names dense ÷ compressed where that has a name; `most` is what cannot be passed."""

    column: str
    label: str
    ratio: str = ""
    most: float | None = None


PARAMS = Quantity("params", "parameters", "compression")
MACS = Quantity("macs", "MACs of one picture's forward pass", "MAC reduction")
LATENCY = Quantity("forward_ms", "latency at batch 1 (ms)")
TOP1 = Quantity("top1", "top-1 accuracy (%)", most=100.0)

_FEW_TICKS, _MANY_TICKS = 3, 7


def round_ticks(low: float, high: float) -> list[float]:
    """Ticks for a logarithmic axis: 1-2-5 steps, fewer where these are many, even steps where these are too few.

    >>> round_ticks(900, 12_000)
    [1000.0, 2000.0, 5000.0, 10000.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= _MANY_TICKS:
            break
    return inside if len(inside) >= _FEW_TICKS else even_ticks(low, high)


def even_ticks(low: float, high: float) -> list[float]:
    """A few ticks at even distances, within the limits.

    >>> even_ticks(0.42, 0.79)
    [0.48, 0.56, 0.64, 0.72]
    """
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=5).tick_values(low, high)
    return [round(float(tick), 12) for tick in ticks if low <= tick <= high]


def binary_ticks(low: float, high: float) -> list[float]:
    """Powers of two within the limits, every second or fourth where they are many."""
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    stride = -(-len(powers) // _MANY_TICKS) if len(powers) else 1
    return [2.0**power for power in powers if power % stride == 0]


def scale_x(axes: Axes, values: Sequence[float], *, room: float) -> None:
    """A logarithmic x axis around `values` with `room` (a fraction of its width) left free at the left."""
    low, high = min(values), max(values)
    width = max(math.log(high / low), 0.25)
    left, right = low * math.exp(-width * (0.06 + room / (1 - room))), high * math.exp(width * 0.08)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    set_ticks(axes, round_ticks(left, right) or [low])


def set_ticks(axes: Axes, ticks: Sequence[float]) -> None:
    """Exactly these ticks on the x axis, written as counts (12k) or small numbers (0.5)."""
    axes.set_xticks(ticks, [tick_label(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


def ratio_axis(axes: Axes, dense: float, label: str) -> None:
    """A second x axis on top that reads dense ÷ x in powers of two."""
    top = axes.secondary_xaxis("top")
    left, right = axes.get_xlim()
    ratios = binary_ticks(dense / right, dense / left)
    top.set_xticks([dense / ratio for ratio in ratios], [f"{ratio:g}×" for ratio in ratios])
    top.set_xticks([], minor=True)
    top.set_xlabel(label)


def scale_y(axes: Axes, values: Sequence[float], ends: Sequence[float], *, most: float | None) -> None:
    """A linear y axis around `values` and the `ends` of their intervals, bounded by `most`.

    An end farther off than the values lie apart (and than a tenth of the highest) is cut: its interval would take
    more than half of the axis.
    """
    low, high = min(values), max(values)
    width, reach = max(high - low, 0.02 * abs(high), 1e-9), max(high - low, 0.1 * abs(high))
    bottom, top = max(min([low, *ends]), low - reach, 0.0), min(max([high, *ends]), high + reach)
    top = top if most is None else min(top, most)
    room = max(top - bottom, width)
    axes.set_ylim(bottom - 0.05 * room, top + 0.12 * room)
    if most is not None:
        lowest, highest = axes.get_ylim()
        axes.set_yticks([tick for tick in axes.get_yticks() if lowest <= tick <= min(highest, most)])


def tick_label(tick: float) -> str:
    """A tick as text: 0.5, 20, 10k."""
    return f"{tick:g}" if tick < 1000 else formatting.count(tick).replace(".00", "").replace(".0", "")
