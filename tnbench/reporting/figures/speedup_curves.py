"""Speedup over cores, with ideal, model and bound; only three numbers of cores or more are joined by a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from tnbench.reporting.amdahl import amdahl
from tnbench.reporting.figures.style import GREY, INK, Look, drawing
from tnbench.reporting.figures.svg import inline_svg
from tnbench.reporting.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h", "p")
_APART, _WIDEST = 0.035, 0.3
"""How far series at one number of cores are drawn from each other, and the first from the last, as shares of it."""


def speedup_curves(
    series: Sequence[Series], looks: Mapping[str, Look], *, name: str, title: str, base: str
) -> str | None:
    """One figure as SVG; None without series. A colour is a method, a marker a way to spread it.

    Filled markers are measured, with their intervals; hollow ones are the cost model's; dotted curves are Amdahl's law.
    """
    from matplotlib.figure import Figure

    if not series:
        return None
    markers = dict(zip(dict.fromkeys(one.way for one in series), cycle(_MARKERS), strict=False))
    with drawing(name):
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axes = figure.subplots()
        most = max(one.most for one in series)
        axes.plot([1, most * 1.15], [1, most * 1.15], color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="ideal")
        apart = min(_APART, _WIDEST / len(series))
        for place, one in enumerate(series):
            shift = 1 + apart * (place - (len(series) - 1) / 2)
            _draw(axes, one, looks[one.method].colour, markers[one.way], shift)
        _frame(axes, most, base)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8.5)
        return inline_svg(figure, name=name, description=f"{title}: speedup of a training step over cores")


def _draw(axes: Axes, one: Series, colour: str, marker: str, shift: float) -> None:
    """Where no line is drawn, series stand apart so that their intervals can be told from each other."""
    cores = sorted(cores for cores in one.measured if cores > 1)
    across = np.array(cores) * (1.0 if one.is_trend else shift)
    heights = np.array([one.measured[number].value for number in cores])
    axes.errorbar(
        across,
        heights,
        yerr=_lengths(one, cores),
        fmt=marker,
        color=colour,
        capsize=3,
        elinewidth=1.2,
        label=f"{one.label}, {one.way}",
    )
    if one.is_trend:
        axes.plot([1, *cores], [1.0, *heights], color=colour)
    modelled = [(at, one.modelled[number]) for at, number in zip(across, cores, strict=True) if number in one.modelled]
    if modelled:
        axes.plot(*zip(*modelled, strict=True), marker, color=colour, markerfacecolor="none", markersize=9, alpha=0.8)
    if one.serial is not None:
        reach = np.linspace(1, one.most * 1.15, 60)
        axes.plot(reach, [amdahl(one.serial, at) for at in reach], color=colour, linewidth=1, linestyle=":")


def _lengths(one: Series, cores: Sequence[int]) -> np.ndarray:
    """The two lengths of every error bar; zero where there is no interval."""
    found = [one.measured[number] for number in cores]
    below = [0.0 if timing.low is None else timing.value - timing.low for timing in found]
    above = [0.0 if timing.high is None else timing.high - timing.value for timing in found]
    return np.array([below, above])


def _frame(axes: Axes, most: int, base: str) -> None:
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.set_xticks(range(1, most + 1) if most <= 8 else [2**power for power in range(most.bit_length())])
    axes.set_xlim(0.9, most * 1.2)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="cores" if base == "one core" else "GPUs", ylabel=f"speedup against {base}")
    axes.spines[["top", "right"]].set_visible(False)
