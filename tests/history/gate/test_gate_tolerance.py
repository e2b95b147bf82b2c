"""What --fail-on takes, and what it says to the rest."""

from __future__ import annotations

import pytest

from tnbench.core.errors import UsageError
from tnbench.core.metrics import METRICS
from tnbench.history.gate.tolerance import parse_tolerances


def test_clauses_are_read_with_their_side_and_unit() -> None:
    step, top1, params = parse_tolerances(" step_ms > 5 %, top1<-0.50 ,params>0")
    assert (step.metric, step.rising, step.amount, step.relative) == (METRICS["step_ms"], True, 5.0, True)
    assert (top1.metric, top1.rising, top1.amount, top1.relative) == (METRICS["top1"], False, -0.5, False)
    assert list(map(str, (step, top1, params))) == ["step_ms>5%", "top1<-0.5", "params>0"]


def test_a_change_is_beyond_only_past_the_limit() -> None:
    step, top1 = parse_tolerances("step_ms>5%,top1<-0.5")
    assert (step.limit, top1.limit) == (0.05, -0.5)
    assert [step.beyond(change) for change in (0.051, 0.05, -0.2)] == [True, False, False]
    assert [top1.beyond(change) for change in (-0.51, -0.5, 3.0)] == [True, False, False]


def test_a_metric_without_a_better_side_may_be_held_on_both() -> None:
    up, down = parse_tolerances("threads>0,threads<0")
    assert (up.rising, down.rising) == (True, False)
    assert str(down) == "threads<0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step_ms", "got 'step_ms', wanted METRIC>TOLERANCE or METRIC<-TOLERANCE, in quotes, such as"),
        ("", "got an empty clause (a comma too many?), wanted METRIC>TOLERANCE"),
        ("step_ms>5%,", "got an empty clause (a comma too many?), wanted METRIC>TOLERANCE"),
        ("step_ms>5ms", "got the tolerance '5ms' in 'step_ms>5ms', wanted"),
        ("step_ms>=5%", "got the tolerance '=5' in 'step_ms>=5%', wanted"),
        ("step_ms>", "got the tolerance '' in 'step_ms>', wanted"),
        ("step_ms>nan", "got the tolerance 'nan' in 'step_ms>nan', wanted"),
        ("step_ms>inf%", "got the tolerance 'inf' in 'step_ms>inf%', wanted"),
        ("stepms>5%", "no metric is named 'stepms'; the nearest is 'step_ms' (known: "),
        ("drop>1", "drop is derived (top1 of dense with the same extra training, minus top1) and never stored; "),
        ("compression<-5%", "judge what it comes from: params_dense, params"),
        ("step_ms<-5%", "got 'step_ms<-5%', but lower step_ms is better; wanted step_ms>5%"),
        ("top1>5%", "got 'top1>5%', but higher top1 is better; wanted top1<-5%"),
        ("top1<0.5", "got 'top1<0.5', wanted top1<-0.5: a fall is written with its sign"),
        ("step_ms>-5%", "got 'step_ms>-5%', wanted step_ms>5%: a rise is written without a sign"),
        ("step_ms>5%,step_ms>2", "got step_ms>5% and step_ms>2, wanted one of them"),
    ],
)
def test_anything_else_is_refused_with_what_was_wanted(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_tolerances(text)
    assert str(caught.value).startswith("--fail-on: ")
    assert message in str(caught.value)


def test_derived_metrics_come_from_stored_ones() -> None:
    for metric in METRICS.values():
        assert all(not METRICS[source].derived for source in metric.sources)
