"""Accuracy (or, without labels, latency) against a cost: one curve per method, over seeds, beside the dense network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tnbench.measure.statistics import Estimate
from tnbench.reporting.figures.axes import LATENCY, TOP1, Quantity, ratio_axis, scale_x, scale_y
from tnbench.reporting.figures.labels import BACKING, Label, put_labels, room_for
from tnbench.reporting.figures.style import DENSE_COLOUR, FRONT_COLOUR, Look, drawing
from tnbench.reporting.figures.svg import inline_svg
from tnbench.reporting.launches import Timing
from tnbench.reporting.points import Point, curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LABELS = 6
_WIDTH, _HEIGHT = 4.7, 3.7
_AXES_WIDTH_PT, _AXES_HEIGHT_PT = 285.0, 195.0


def estimate(point: Point, quantity: Quantity) -> Estimate | Timing | None:
    """A point's value on an axis: over launches for a timing, else over seeds; no interval passes `quantity.most`."""
    if quantity is LATENCY:
        return point.timing(quantity.column)
    found = point.over_seeds(quantity.column)
    if found is None or found.high is None or quantity.most is None:
        return found
    return found._replace(high=min(found.high, quantity.most))


def curve_panel(
    points: Sequence[Point],
    x: Quantity,
    y: Quantity,
    looks: Mapping[str, Look],
    *,
    name: str,
    title: str,
    front: Sequence[Point] = (),
) -> str | None:
    """One panel as SVG; None where no point has both quantities. `name` prefixes the ids of its elements.

    The x axis is logarithmic: a point that is not above 0 there is left out. `front` are those to ring and to join.
    """
    from matplotlib.figure import Figure

    shown = [point for point in points if (cost := estimate(point, x)) and cost.value > 0 and estimate(point, y)]
    if not shown:
        return None
    with drawing(name):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        axes = figure.subplots()
        labels = _labels(shown, x, y, looks)
        _draw(axes, shown, x, y, looks)
        _draw_front(axes, [point for point in shown if any(point is member for member in front)], x, y)
        _frame(axes, shown, x, y, room_for(labels, _AXES_WIDTH_PT))
        put_labels(figure, axes, labels, _AXES_HEIGHT_PT)
        return inline_svg(figure, name=name, description=f"{title}: {y.label} against {x.label}")


def _labels(points: Sequence[Point], x: Quantity, y: Quantity, looks: Mapping[str, Look]) -> list[Label]:
    """Each method's name at its most compressed point; where there are many, the legend must do."""
    ends = {method: found[-1] for method, found in curves(points).items() if method != "dense"}
    if len(ends) > _MOST_LABELS:
        return []
    return [Label(method, looks[method].colour, _value(point, x), _value(point, y)) for method, point in ends.items()]


def _draw(axes: Axes, points: Sequence[Point], x: Quantity, y: Quantity, looks: Mapping[str, Look]) -> None:
    import pandas as pd
    import seaborn

    rivals = [point for point in points if not point.dense]
    methods = list(curves(rivals))
    frame = pd.DataFrame(
        [(point.method, _value(point, x), _value(point, y)) for point in rivals], columns=["method", "x", "y"]
    )
    if methods:
        seaborn.lineplot(
            frame,
            x="x",
            y="y",
            hue="method",
            style="method",
            palette={method: looks[method].colour for method in methods},
            markers={method: looks[method].marker for method in methods},
            dashes=False,
            estimator=None,
            sort=False,
            legend=False,
            markersize=6,
            ax=axes,
        )
    for point in rivals:
        _draw_intervals(axes, point, x, y, looks[point.method].colour)
    for point in points:
        if point.dense:
            _draw_dense(axes, point, x, y, looks["dense"])


def _draw_intervals(axes: Axes, point: Point, x: Quantity, y: Quantity, colour: str) -> None:
    axes.errorbar(
        _value(point, x),
        _value(point, y),
        xerr=_lengths(estimate(point, x)) if x is LATENCY else None,
        yerr=_lengths(estimate(point, y)),
        color=colour,
        elinewidth=1.0,
        capsize=2.5,
        alpha=0.75,
        zorder=1.5,
    )


def _draw_dense(axes: Axes, point: Point, x: Quantity, y: Quantity, look: Look) -> None:
    found = estimate(point, y)
    assert found is not None
    axes.axhline(found.value, color=DENSE_COLOUR, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.2)
    if found.low is not None and found.high is not None:
        axes.axhspan(found.low, found.high, color=DENSE_COLOUR, alpha=0.08, linewidth=0, zorder=1.1)
    axes.plot(_value(point, x), found.value, look.marker, color=look.colour, markersize=11, markeredgecolor="white")
    axes.annotate(
        f"dense {found.value:.1f} %" if y is TOP1 else f"dense {found.value:.3g} ms",
        (0.99, found.value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 6),
        textcoords="offset points",
        color=DENSE_COLOUR,
        fontsize=8.5,
        bbox=BACKING,
        ha="right",
        va="bottom",
    )


def _draw_front(axes: Axes, front: Sequence[Point], x: Quantity, y: Quantity) -> None:
    """Stairs: up to the next member's cost nothing better than this one is known."""
    stairs = sorted((_value(point, x), _value(point, y)) for point in front)
    if not stairs:
        return
    across, upwards = zip(*stairs, strict=True)
    axes.plot(across, upwards, drawstyle="steps-post", color=FRONT_COLOUR, linewidth=5, alpha=0.35, zorder=1.0)
    axes.plot(across, upwards, "o", markersize=13, markerfacecolor="none", markeredgecolor=FRONT_COLOUR, zorder=1.6)


def _frame(axes: Axes, points: Sequence[Point], x: Quantity, y: Quantity, room: float) -> None:
    across = _ends(points, x) if x is LATENCY else []
    scale_y(axes, [_value(point, y) for point in points], _ends(points, y), most=y.most)
    scale_x(axes, [*(_value(point, x) for point in points), *across], room=room)
    axes.set(xlabel=x.label, ylabel=y.label)
    axes.spines[["top", "right"]].set_visible(False)
    dense = [_value(point, x) for point in points if point.dense]
    if x.ratio and dense:
        ratio_axis(axes, dense[0], f"{x.ratio} (dense ÷ compressed)")


def _ends(points: Sequence[Point], quantity: Quantity) -> list[float]:
    """Both ends of every interval."""
    found = [estimate(point, quantity) for point in points]
    return [end for each in found if each for end in each[1:3] if end is not None]


def _value(point: Point, quantity: Quantity) -> float:
    found = estimate(point, quantity)
    assert found is not None
    return found.value


def _lengths(found: Estimate | Timing | None) -> list[list[float]] | None:
    """The two lengths of an error bar, as matplotlib wants them; None where there is no interval."""
    if found is None or found.low is None or found.high is None:
        return None
    return [[found.value - found.low], [found.high - found.value]]
