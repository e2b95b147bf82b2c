"""Direct labels at the ends of curves, moved apart where they would overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BACKING = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
"""What keeps a text legible where it crosses lines."""

_SIZE = 8.5
_DISTANCE_PT = 8.0
_MOST_LETTERS = 18


@dataclass(frozen=True)
class Label:
    """A text in `colour` that belongs to the data point (x, y)."""

    text: str
    colour: str
    x: float
    y: float

    @property
    def short(self) -> str:
        return self.text if len(self.text) <= _MOST_LETTERS else self.text[: _MOST_LETTERS - 1] + "…"


def room_for(labels: Sequence[Label], width_pt: float) -> float:
    """The fraction of an axis of `width_pt` points that the longest label takes."""
    letters = max((len(label.short) for label in labels), default=0)
    return min(0.45, (letters * 0.62 * _SIZE + _DISTANCE_PT + 6) / width_pt)


def spread_apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions close to the `wanted` ones, in their order, at least `gap` apart and, if there is room, in limits.

    >>> spread_apart([0.5, 0.5, 0.9], 0.1, 0.0, 1.0)
    [0.45, 0.55, 0.9]
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    groups: list[tuple[list[int], float]] = []
    for index in order:
        group = [index], wanted[index]
        while groups and _start(group, gap) < _end(groups[-1], gap) + gap:
            members, centre = groups.pop()
            total = len(members) + len(group[0])
            group = members + group[0], (centre * len(members) + group[1] * len(group[0])) / total
        groups.append(group)
    found = [0.0] * len(wanted)
    for members, centre in groups:
        for place, index in enumerate(members):
            found[index] = round(centre + (place - (len(members) - 1) / 2) * gap, 12)
    return _within(found, gap, low, high, order)


def put_labels(figure: Figure, axes: Axes, labels: Sequence[Label], height_pt: float) -> None:
    """Write the labels left of their points; a thin line leads to a point whose label had to move."""
    from matplotlib.transforms import offset_copy

    bottom, top = axes.get_ylim()
    gap = 1.3 * _SIZE / height_pt
    beside = offset_copy(axes.transData, figure, x=-_DISTANCE_PT, units="points")
    wanted = [(label.y - bottom) / (top - bottom) for label in labels]
    for label, place, own in zip(labels, spread_apart(wanted, gap, gap / 2, 1 - gap / 2), wanted, strict=True):
        moved = abs(place - own) > gap / 3
        axes.annotate(
            label.short,
            (label.x, label.y),
            xytext=(label.x, bottom + place * (top - bottom)),
            textcoords=beside,
            ha="right",
            va="center_baseline",
            color=label.colour,
            fontsize=_SIZE,
            fontweight="bold",
            bbox=BACKING,
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
            if moved
            else None,
            annotation_clip=False,
        )


def _start(group: tuple[list[int], float], gap: float) -> float:
    return group[1] - (len(group[0]) - 1) / 2 * gap


def _end(group: tuple[list[int], float], gap: float) -> float:
    return group[1] + (len(group[0]) - 1) / 2 * gap


def _within(found: list[float], gap: float, low: float, high: float, order: Sequence[int]) -> list[float]:
    limit = low
    for index in order:
        found[index] = max(found[index], limit)
        limit = found[index] + gap
    limit = high
    for index in reversed(order):
        found[index] = min(found[index], limit)
        limit = found[index] - gap
    return found
