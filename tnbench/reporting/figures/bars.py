"""Parallel speedups as bars with their intervals; where an interval ends short of one, the bar says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tnbench.reporting import formatting
from tnbench.reporting.figures.style import GREY, INK, SLOWER_COLOUR, Look, drawing
from tnbench.reporting.figures.svg import inline_svg
from tnbench.reporting.scaling import Scaling

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def speedup_bars(scalings: Sequence[Scaling], looks: Mapping[str, Look], *, name: str, title: str) -> str | None:
    """Bars of speedup against one core, with a tick where the cores would take it; None where nothing is valid."""
    from matplotlib.figure import Figure

    shown = [scaling for scaling in scalings if scaling.speedup is not None and not scaling.base]
    if not shown:
        return None
    with drawing(name):
        figure = Figure(figsize=(7.6, 1.1 + 0.42 * len(shown)), layout="constrained")
        axes = figure.subplots()
        most = max(max(scaling.speedup.value, float(scaling.cores or 1)) for scaling in shown if scaling.speedup)
        for place, scaling in enumerate(shown):
            _draw_bar(axes, place, scaling, looks)
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_yticks(range(len(shown)), [f"{scaling.point.label}, {scaling.parallel}" for scaling in shown])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 2.2 * most)
        axes.grid(visible=False, axis="y")
        base = "one GPU" if shown[0].point.context.on_gpu else "one core"
        axes.set_xlabel(f"speedup of a training step against {base}   ( | : as many times as there are cores)")
        axes.spines[["top", "right", "left"]].set_visible(False)
        return inline_svg(figure, name=name, description=f"{title}: speedup of a training step against {base}")


def _draw_bar(axes: Axes, place: int, scaling: Scaling, looks: Mapping[str, Look]) -> None:
    assert scaling.speedup is not None
    value, low, high, _ = scaling.speedup
    slower = scaling.speedup.slower
    colour = looks[scaling.point.method].colour
    axes.barh(place, value, height=0.55, color=colour, alpha=0.35 if slower else 0.8, hatch="////" if slower else None)
    if low is not None and high is not None:
        axes.errorbar(value, place, xerr=[[value - low], [high - value]], color=INK, capsize=3, elinewidth=1.2)
    if scaling.cores:
        axes.plot(scaling.cores, place, "|", color=GREY, markersize=14, markeredgewidth=1.6)
    end = max(value, high or value, float(scaling.cores or 0))
    axes.annotate(
        formatting.span(scaling.speedup) + ("  slower" if slower else ""),
        (end, place),
        xytext=(8, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=8.5,
        color=SLOWER_COLOUR if slower else INK,
    )
