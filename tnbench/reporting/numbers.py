"""One context's points in numbers: a table whose columns are those in which the points differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from tnbench.measure.statistics import mean_interval
from tnbench.reporting import formatting
from tnbench.reporting.launches import Timing
from tnbench.reporting.learning import after, equal_time
from tnbench.reporting.pareto import COSTS, Fronts
from tnbench.reporting.points import Point


class Column(NamedTuple):
    """A heading under its group's, what it means, and the text of each point's cell."""

    group: str
    head: str
    hint: str
    text: Callable[[Point], str]


class Numbers(NamedTuple):
    """The columns; headings with how many of them stand below; and each point with its cells."""

    columns: list[Column]
    groups: list[tuple[str, int]]
    lines: list[tuple[Point, list[str]]]


def make_numbers(points: Sequence[Point], fronts: Fronts) -> Numbers:
    """Of the columns that can be had those whose cells are not all the same."""
    shown = [point for point in points if point.ok]
    candidates = [*_ACCURACY, *_COST, *_fronts(fronts), *_training(shown)]
    columns = [column for column in candidates if len({column.text(point) for point in shown}) > 1]
    groups = list(dict.fromkeys(column.group for column in columns))
    return Numbers(
        columns,
        [(group, sum(column.group == group for column in columns)) for group in groups],
        [(point, [column.text(point) for column in columns]) for point in shown],
    )


def _mean(column: str, say: Callable[[float | None], str]) -> Callable[[Point], str]:
    return lambda point: say(point.mean(column))


def _time(column: str) -> Callable[[Point], str]:
    return lambda point: formatting.significant(_value(point.timing(column)))


def _value(timing: Timing | None) -> float | None:
    return timing.value if timing else None


def _whole(value: float | None) -> str:
    return formatting.MISSING if value is None else f"{value:,.0f}"


_ACCURACY = (
    Column("accuracy", "top-1 %", "mean over seeds", lambda point: formatting.plus_minus(point.over_seeds("top1"))),
    Column("accuracy", "drop", "points below dense with the same training", _mean("drop", formatting.points)),
    Column("accuracy", "top-5 %", "label among the five best", _mean("top5", formatting.points)),
    Column("accuracy", "ECE", "expected calibration error in points, 15 bins", _mean("ece", formatting.points)),
    Column("accuracy", "NLL", "negative log-likelihood in nats", _mean("test_nll", formatting.significant)),
    Column(
        "accuracy",
        "train − test",
        "top-1 on training minus on test pictures",
        _mean("generalisation_gap", formatting.points),
    ),
)
_COST = (
    Column("cost", "compression", "dense parameters / parameters", _mean("compression", formatting.times)),
    Column("cost", "MACs ÷", "dense MACs / MACs", _mean("mac_reduction", formatting.times)),
    Column("cost", "latency ms", "median at batch 1", _time("forward_ms")),
    Column(
        "cost",
        "pictures/s",
        "throughput of the forward pass at batch 128",
        lambda point: _whole(_value(point.timing("throughput"))),
    ),
)


def _training(points: Sequence[Point]) -> list[Column]:
    columns = [
        Column(
            "training",
            "pictures/s",
            "of all ranks together",
            lambda point: _whole(_value(point.timing("train_pictures_per_s"))),
        ),
        Column(
            "training", "waiting %", "share of the time waited for pictures", _mean("wait_share", formatting.points)
        ),
        Column("training", "energy J", "GPUs or processor packages, start to end", _time("train_energy_j")),
        Column(
            "training", "s to dense − 1", "until within a point of the dense network's top-1", _time("time_to_acc_s")
        ),
    ]
    seconds = equal_time([row.record for point in points for row in point.ok])
    return columns if seconds is None else [*columns, _after(seconds)]


def _after(seconds: float) -> Column:
    """Accuracy at equal training time: the longest that all of the points reached."""

    def text(point: Point) -> str:
        found = [top1 for row in point.ok if (top1 := after(row.record, seconds)) is not None]
        return formatting.plus_minus(mean_interval(found) if found else None)

    head = f"top-1 % after {formatting.significant(seconds)} s"
    return Column("training", head, "the last epoch that ended within the time that all of them trained", text)


def _fronts(fronts: Fronts) -> list[Column]:
    hint = "no other is as accurate and as cheap and better in one of the two"

    def mark(cost: str, point: Point) -> str:
        return "✓" if fronts.has(cost, point) else ""

    return [Column("on the front of", name, hint, partial(mark, cost)) for cost, name in COSTS.items()]
