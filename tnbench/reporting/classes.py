"""Accuracy class by class: which classes compression takes from, where the mean hides it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from tnbench.reporting.points import Point

MOST = 12
"""Classes that a table shows; of more, those that lose most."""


class Cell(NamedTuple):
    """Per cent right of a class (mean over seeds), and the points lost against the dense network; None if unknown."""

    top1: float | None
    lost: float | None


class Classes(NamedTuple):
    """The numbers of the classes shown, how many there are, and each point's cells."""

    shown: list[int]
    there: int
    lines: list[tuple[Point, list[Cell]]]


def make_classes(points: Sequence[Point]) -> Classes | None:
    """One context's classes; None where no point has any."""
    found = {index: means for index, point in enumerate(points) if (means := _means(point))}
    if not found:
        return None
    dense = next(
        (means for index, means in found.items() if points[index].dense), [None] * len(next(iter(found.values())))
    )
    cells = {
        index: [_cell(mine, its) for mine, its in zip(means, dense, strict=True)] for index, means in found.items()
    }
    shown = _hardest(list(cells.values()))
    lines = [(points[index], [line[place] for place in shown]) for index, line in cells.items()]
    return Classes(shown, len(dense), lines)


def _means(point: Point) -> list[float | None]:
    seeds = [samples for row in point.ok if (samples := row.record.samples.get("top1_by_class"))]
    return [_mean(values) for values in zip(*seeds, strict=True)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _cell(mine: float | None, its: float | None) -> Cell:
    return Cell(mine, None if mine is None or its is None else its - mine)


def _hardest(lines: Sequence[Sequence[Cell]]) -> list[int]:
    """Every class where they are few; else those that lose most on average, or have least where none is dense."""

    def badness(place: int) -> float:
        losses = [line[place].lost for line in lines]
        loss, mean = _mean(losses), _mean([line[place].top1 for line in lines])
        return loss if loss is not None else -mean if mean is not None else -100.0

    places = range(len(lines[0]))
    return sorted(sorted(places, key=badness, reverse=True)[:MOST])
