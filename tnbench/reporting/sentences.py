"""What the records say, in sentences: computed from the points, with intervals, and no more than they allow."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tnbench.measure.statistics import Estimate, mean_interval
from tnbench.reporting import formatting
from tnbench.reporting.launches import Timing
from tnbench.reporting.points import Point
from tnbench.reporting.scaling import Scaling

_SIMILAR_SIZE = 1.25
"""Methods at one rank text are ranked only where the largest network is at most this many times the smallest."""


def accuracy_sentences(points: Sequence[Point]) -> list[Markup]:
    """The dense network, then the best method at each level of compression. `points` are one context's."""
    dense = [_dense_sentence(point) for point in points if point.dense and point.over_seeds("top1")]
    levels: dict[str, list[Point]] = {}
    for point in points:
        if not point.dense and point.over_seeds("top1"):
            levels.setdefault(point.rank, []).append(point)
    ordered = sorted(levels.items(), key=lambda level: min(point.mean("compression") or 0.0 for point in level[1]))
    return dense + [_level_sentence(rank, rivals) for rank, rivals in ordered]


def speed_sentences(scalings: Sequence[Scaling]) -> list[Markup]:
    """One sentence per case that was spread over more than one core."""
    return [_speed_sentence(scaling) for scaling in scalings if not scaling.base]


def _dense_sentence(point: Point) -> Markup:
    top1 = point.over_seeds("top1")
    assert top1 is not None
    return Markup("The <strong>dense</strong> network classifies {} right with {} parameters ({}).").format(
        _percent(top1), formatting.count(point.mean("params")), formatting.counted(top1.n, "seed")
    )


def _level_sentence(rank: str, rivals: Sequence[Point]) -> Markup:
    ranked = sorted(rivals, key=lambda point: point.mean("top1") or 0.0, reverse=True)
    best, sizes = ranked[0], [_smaller(point) for point in rivals]
    size = formatting.times(min(sizes))
    if formatting.times(max(sizes)) != size:
        size = f"{size} to {formatting.times(max(sizes))}"
    opening = Markup("At <strong>{}</strong> ({} smaller) ").format(rank, size)
    if len(ranked) == 1:
        return opening + Markup("<strong>{}</strong> is alone: {}{}.").format(best.method, *_result(best))
    if max(sizes) > _SIMILAR_SIZE * min(sizes):
        verdict = Markup("the sizes differ too much for a ranking: <strong>{}</strong>, {} smaller, has {}{}.")
        return opening + verdict.format(best.method, formatting.times(_smaller(best)), *_result(best))
    verdict = Markup("<strong>{}</strong> is the most accurate: {}{}; ").format(best.method, *_result(best))
    return opening + verdict + _runner_up(best, ranked[1]) + "."


def _smaller(point: Point) -> float:
    """How many times fewer parameters that are not zero than the dense network."""
    dense, own = point.mean("params_dense"), point.mean("params_nonzero")
    return dense / own if dense and own else point.mean("compression") or 1.0


def _result(point: Point) -> tuple[str, str]:
    """Accuracy and drop as text."""
    top1, drop = point.over_seeds("top1"), point.over_seeds("drop")
    assert top1 is not None
    if drop is None:
        return _percent(top1), ", with no dense record to compare it with"
    word = "a drop" if drop.value >= 0 else "a gain"
    return _percent(top1), f", {word} of {_points(drop, abs(drop.value))}"


def _runner_up(best: Point, second: Point) -> Markup:
    """How far the second is behind, over the seeds that both have."""
    own = {row.case.seed: top1 for row in best.ok if (top1 := row.number("top1")) is not None}
    gaps = [
        own[row.case.seed] - top1
        for row in second.ok
        if row.case.seed in own and (top1 := row.number("top1")) is not None
    ]
    if not gaps:
        return Markup("{} has no seed in common with it").format(second.method)
    gap = mean_interval(gaps)
    if gap.low is None:
        return Markup("{} is {:.2f} points behind, on one seed").format(second.method, gap.value)
    apart = "" if gap.low > 0 else f", which {formatting.counted(gap.n, 'seed')} cannot tell from chance"
    return Markup("{} is {:.2f} points behind{}").format(second.method, gap.value, apart)


def _percent(top1: Estimate) -> str:
    return f"{formatting.plus_minus(top1)} %"


def _points(drop: Estimate, size: float) -> str:
    if drop.low is None or drop.high is None:
        return f"{size:.2f} points"
    ends = sorted((drop.low, drop.high)) if drop.value >= 0 else sorted((-drop.low, -drop.high))
    return f"{size:.2f} points (95 % interval {ends[0]:.2f} to {ends[1]:.2f}, n = {drop.n})".replace("-", "−")


def _speed_sentence(scaling: Scaling) -> Markup:
    opening = Markup("<strong>{}</strong> with {}").format(scaling.point.label, scaling.parallel)
    if scaling.weak and scaling.efficiency_of is not None:
        told = ", which may be no loss" if scaling.efficiency_of.undecided else ""
        return opening + Markup(" takes a step of {} times the pictures with an efficiency of {}{}.").format(
            scaling.ranks, formatting.span(scaling.efficiency_of), told
        )
    if scaling.speedup is None:
        return opening + Markup(" says nothing about speed: {}.").format(scaling.note or "no one-core record")
    base = "one GPU" if scaling.point.context.on_gpu else "one core"
    text = opening + Markup(" runs a training step at {} the speed of {}{}").format(
        formatting.span(scaling.speedup), base, _verdict(scaling.speedup)
    )
    if scaling.same_cores is not None:
        text += Markup(", and at {} that of one process on the same {} cores{}").format(
            formatting.span(scaling.same_cores), scaling.cores, _verdict(scaling.same_cores)
        )
    if scaling.busy:
        text += Markup(" (others used the machine, so this says little)")
    return text + "."


def _verdict(ratio: Timing) -> str:
    if ratio.slower:
        return ": slower"
    return ", which may be no difference" if ratio.undecided else ""
