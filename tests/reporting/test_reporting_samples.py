"""A record's timings and facts as other harnesses take them."""

from __future__ import annotations

import json

import pytest
from reporting_factory import record

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.reporting.samples import TIMINGS, facts_of, seconds_of
from tnbench.stages.timings import LAY_OUT

CASE = "tucker2/x4/cnn8/digits/finetune/ddp:2#0"
RECORD = record(
    CASE,
    metrics={"forward_ms": 0.25, "decompose_s": 0.5, "step_ms": 25.0, "params": 100, "top1": 98.5},
    samples={"forward_ms": [0.25, 0.5], "step_ms": [[10.0, 20.0], [15.0, 5.0]]},
)


def test_samples_come_in_seconds() -> None:
    assert seconds_of(RECORD, "forward") == [1e-3 * 0.25, 1e-3 * 0.5]
    assert seconds_of(RECORD, "decompose") == [0.5]


def test_a_step_takes_as_long_as_its_slowest_rank() -> None:
    assert seconds_of(RECORD, "step") == [1e-3 * 15.0, 1e-3 * 20.0]


def test_what_a_case_has_not_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match=r"ddp:2#0 has no step_ms"):
        seconds_of(record(CASE, metrics={"forward_ms": 1.0}), "step")


def test_an_unknown_timing_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="the nearest is 'forward'"):
        seconds_of(RECORD, "forwards")


def test_facts_are_plain_and_hold_every_metric() -> None:
    facts = facts_of(RECORD)
    assert json.loads(json.dumps(facts)) == facts
    assert facts.items() >= RECORD.metrics.items()
    assert facts["case"] == CASE
    assert (facts["device_model"], facts["torch"]) == ("Ordinary CPU @ 2.0GHz", "2.12.0")


def test_all_that_has_samples_can_be_laid_out() -> None:
    assert list(LAY_OUT) == list(TIMINGS)
