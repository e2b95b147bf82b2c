"""What the gate says of two sides: regressions, and why something could not be judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from launch_records import CP, NEW, OLD, TUCKER, each, launch, lines

from tnbench.core.record import Record
from tnbench.history.gate.findings import Finding, Verdict, unjudged
from tnbench.history.gate.judge import judge
from tnbench.history.gate.reference import newest
from tnbench.history.gate.significance import Comparison, decide
from tnbench.history.gate.tolerance import parse_tolerances
from tnbench.history.gate.wording import bound_in_words, counts, labels, remarks, row
from tnbench.history.launches import subject_of

STEADY = (1.00, 1.01, 1.02, 1.03, 1.04, 1.05)
TWICE = tuple(2 * value for value in STEADY)


def judged(then: Sequence[Record], now: Sequence[Record], fail_on: str = "step_ms>5%") -> list[Finding]:
    sides = newest(Path("old"), lines(then)), newest(Path("new"), lines(now))
    return judge(*sides, parse_tolerances(fail_on))


def only(findings: Sequence[Finding]) -> Finding:
    [finding] = findings
    return finding


# ------------------------------------------------------------------------------------------------- what is measured


def test_twice_the_time_is_a_regression_with_its_bound() -> None:
    found = only(judged(each(STEADY), each(TWICE)))
    assert found.verdict is Verdict.regressed
    assert found.change is not None
    assert (found.change.reference, found.change.now) == pytest.approx((1.025, 2.05))
    assert found.change.change == pytest.approx(1.0)
    assert found.change.counts == (6, 6)
    assert 0.9 < (found.change.bound or 0) < 1.0
    assert (found.change.p or 1) < 0.001


def test_the_same_and_the_quicker_pass() -> None:
    assert only(judged(each(STEADY), each(STEADY))).verdict is Verdict.passed
    assert only(judged(each(TWICE), each(STEADY))).verdict is Verdict.passed


def test_a_wide_tolerance_lets_a_small_rise_pass() -> None:
    slower = each([1.2 * value for value in STEADY])
    assert only(judged(each(STEADY), slower)).verdict is Verdict.regressed
    assert only(judged(each(STEADY), slower, "step_ms>30%")).verdict is Verdict.passed


def test_what_is_better_when_higher_regresses_by_falling() -> None:
    then, now = each((100.0,) * 6, metric="throughput"), each((50.0,) * 6, metric="throughput")
    assert only(judged(then, now, "throughput<-2%")).verdict is Verdict.regressed
    assert only(judged(now, then, "throughput<-2%")).verdict is Verdict.passed


def test_what_is_beyond_alone_may_be_chance_among_many() -> None:
    cases = [CP.replace("x4", f"x{rank}") for rank in range(2, 22)]
    then = [record for case in cases for record in each(STEADY, case)]
    now = [*each([value + 0.08 for value in STEADY], cases[0]), *(r for case in cases[1:] for r in each(STEADY, case))]
    assert only(judged(each(STEADY, cases[0]), now[:6])).verdict is Verdict.regressed
    first, *rest = judged(then, now)
    assert (first.verdict, first.reason) == (Verdict.passed, "beyond, but may be chance among so many tests")
    assert first.change is not None
    assert (first.change.bound or 0) > 0.05
    assert (first.change.p or 0) > 0.05
    assert {finding.reason for finding in rest} == {""}


def test_five_launches_decide_nothing() -> None:
    for then, now in ((STEADY[:5], TWICE), (STEADY, TWICE[:5])):
        found = only(judged(each(then), each(now)))
        assert (found.verdict, found.change) == (Verdict.undecided, None)
        assert found.reason == f"launches: {len(then)} in the reference and {len(now)} now, 6 of each wanted"


def test_other_seeds_are_launches_too() -> None:
    now = [launch(TUCKER.replace("#0", f"#{seed}"), step_ms=value) for seed, value in enumerate(TWICE)]
    assert only(judged(each(STEADY), now)).verdict is Verdict.regressed


def test_accuracies_are_counted_by_seed_and_not_by_launch() -> None:
    again = each((90.0,) * 6, metric="top1"), each((80.0,) * 6, metric="top1")
    assert only(judged(*again, "top1<-0.5")).reason == "seeds: 1 in the reference and 1 now, 6 of each wanted"
    seeds = [TUCKER.replace("#0", f"#{seed}") for seed in range(6)]
    then, now = ([launch(case, top1=top1 + 0.1 * i) for i, case in enumerate(seeds)] for top1 in (90.0, 80.0))
    found = only(judged([*then, then[0]], now, "top1<-0.5"))
    assert found.verdict is Verdict.regressed
    assert found.change is not None
    assert found.change.counts == (6, 6)


def test_what_is_counted_needs_one_launch() -> None:
    then, now = [launch(params=1000)], [launch(params=1001)]
    found = only(judged(then, now, "params>0"))
    assert found.verdict is Verdict.regressed
    assert found.change is not None
    assert (found.change.change, found.change.bound, found.change.p) == (1.0, None, None)
    assert only(judged(then, now, "params>1%")).verdict is Verdict.passed
    assert only(judged(then, [launch(params=1010)], "params>1%")).verdict is Verdict.passed


def test_counts_that_differ_from_launch_to_launch_are_judged_as_measured() -> None:
    found = only(judged([launch(params=1000)], [launch(params=1001), launch(params=1200)], "params>0"))
    assert found.verdict is Verdict.undecided


def test_a_share_of_nothing_is_not_taken() -> None:
    then, now = each((0.0, *STEADY), metric="train_peak_bytes"), each(STEADY, metric="train_peak_bytes")
    found = only(judged(then, now, "train_peak_bytes>10%"))
    assert found.reason == "the reference has train_peak_bytes = 0; give a tolerance without %"
    assert only(judged(then, now, "train_peak_bytes>10")).verdict is Verdict.passed


def test_a_metric_that_neither_side_has_is_no_test() -> None:
    then, now = each(STEADY), each(STEADY)
    findings = judged(then, now, "step_ms>5%,top1<-0.5")
    assert [str(finding.tolerance) for finding in findings] == ["step_ms>5%"]
    assert [str(clause) for clause in unjudged(findings, parse_tolerances("step_ms>5%,top1<-0.5"))] == ["top1<-0.5"]


def test_a_metric_of_one_side_only_is_named() -> None:
    assert only(judged(each(STEADY), [launch(params=1)], "step_ms>5%")).verdict is Verdict.not_measured
    assert only(judged([launch(params=1)], each(STEADY), "step_ms>5%")).verdict is Verdict.new


# --------------------------------------------------------------------------------------------------- whole subjects


@pytest.mark.parametrize("status", ["failed", "crashed", "timeout", "oom", "diverged"])
def test_a_case_that_only_ends_badly_now_regressed(status: str) -> None:
    found = only(judged(each(STEADY), [launch(status=status, reason="it broke\nhere")]))
    assert (found.verdict, found.tolerance) == (Verdict.regressed, None)
    assert found.reason == f"it ended as {status} (it broke), and was ok in the reference"


def test_it_regressed_as_well_where_its_context_changed() -> None:
    found = only(judged(each(STEADY), [launch(status="crashed", torch="2.16.0")]))
    assert found.verdict is Verdict.regressed
    assert "torch=2.15.0 in the reference, torch=2.16.0 now" in found.reason


def test_what_was_never_ok_cannot_regress_in_another_context_either() -> None:
    found = only(judged([launch(status="oom")], [launch(status="oom", torch="2.16.0")]))
    assert found.verdict is Verdict.not_compared


def test_some_bad_ends_among_good_ones_are_told_and_the_rest_is_judged() -> None:
    findings = judged(each(STEADY), [*each(TWICE), launch(status="crashed", reason="signal 9")])
    assert [finding.verdict for finding in findings] == [Verdict.undecided, Verdict.regressed]
    assert findings[0].reason == "1 of 7 launches now ended as crashed (signal 9)"


def test_a_case_that_was_never_ok_is_not_compared() -> None:
    found = only(judged([launch(status="oom")], each(STEADY)))
    assert (found.verdict, found.reason) == (Verdict.not_compared, "in the reference it ended as oom")


def test_cases_of_one_side_only_are_named() -> None:
    findings = judged([*each(STEADY), *each(STEADY, CP)], each(STEADY))
    assert {(str(finding.subject)[:2], finding.verdict) for finding in findings} == {
        ("tu", Verdict.passed),
        ("cp", Verdict.not_measured),
    }
    new = judged(each(STEADY), [*each(STEADY), *each(STEADY, CP)])
    assert (str(new[0].subject)[:2], new[0].verdict) == ("cp", Verdict.new)


def test_another_context_is_not_compared_and_says_how_it_differs() -> None:
    found = only(judged(each(STEADY), each(TWICE, torch="2.16.0")))
    assert found.verdict is Verdict.not_compared
    assert found.reason == "torch=2.15.0 in the reference, torch=2.16.0 now"
    settings = only(judged(each(STEADY), each(TWICE, settings={"batch_size": 64})))
    assert settings.reason == "batch size=128 in the reference, batch size=64 now"


def test_a_context_that_was_left_out_now_is_not_measured() -> None:
    then = [*each(STEADY), *each(STEADY, settings={"epochs": 2})]
    findings = judged(then, each(STEADY))
    assert [finding.verdict for finding in findings] == [Verdict.not_measured, Verdict.passed]


def test_the_newest_revision_of_each_cell_is_meant() -> None:
    then = [*each(TWICE, commit=NEW), *each(STEADY, commit=OLD), *each(STEADY, CP, commit=NEW)]
    side = newest(Path("results"), lines(then))
    assert str(side) == "aaaaaaaa, bbbbbbbb in results"
    assert [record.metrics["step_ms"] for record in side.launches[subject_of(launch())]] == list(STEADY)


def test_an_interrupted_case_is_no_launch() -> None:
    assert only(judged(each(STEADY), [launch(status="interrupted")])).verdict is Verdict.not_measured


def test_a_case_that_is_refused_now_regressed_whatever_was_measured_before() -> None:
    before = each(STEADY, commit=OLD)
    now = newest(Path("results"), lines([*before, launch(commit=NEW, status="skipped", reason="grouped")]))
    found = only(judge(newest(Path("base"), lines(before)), now, parse_tolerances("step_ms>5%")))
    assert found.verdict is Verdict.regressed
    assert found.reason == "it ended as skipped (grouped), and was ok in the reference"


def test_crashes_that_only_another_context_has_are_told() -> None:
    findings = judged(each(STEADY), [*each(STEADY), launch(torch="2.16.0", status="crashed", reason="killed")])
    new = [finding for finding in findings if finding.verdict is Verdict.new]
    assert [finding.reason for finding in new] == ["it ended as crashed (killed)"]


# ---------------------------------------------------------------------------------------------------- in words


def test_rows_tell_numbers_bounds_and_launches() -> None:
    found = only(judged(each(STEADY), each(TWICE)))
    case, clause, then, now, change, bound, launches, verdict = row(found, "a case")
    assert (case, clause, then, now, change) == ("a case", "step_ms>5%", "1.025", "2.050", "+100.0 %")
    assert bound.startswith("≥ +9")
    assert (launches, verdict) == ("6 v 6", "regressed")
    seeds = [TUCKER.replace("#0", f"#{seed}") for seed in range(6)]
    then_, now_ = ([launch(case, top1=top1) for case in seeds] for top1 in (90.0, 88.5))
    fallen = only(judged(then_, now_, "top1<-0.5"))
    assert row(fallen, "")[2:6] == ("90", "88.50", "-1.5", "≤ -1.5")
    assert fallen.tolerance is not None
    exact = only(judged([launch(params=1000)], [launch(params=1500)], "params>0"))
    assert exact.change is not None
    assert exact.tolerance is not None
    assert bound_in_words(exact.change, exact.tolerance) == "exact"


def test_labels_tell_contexts_of_one_case_apart() -> None:
    here, there = subject_of(launch()), subject_of(launch(settings={"epochs": 2}))
    case = TUCKER.removesuffix("#0")
    assert labels([here]) == {here: case}
    assert labels([here, there]) == {here: f"{case} (epochs=1)", there: f"{case} (epochs=2)"}


def test_remarks_say_a_reason_once() -> None:
    cases = [CP.replace("x4", f"x{rank}") for rank in range(2, 6)]
    findings = judged([r for case in cases for r in each(STEADY[:2], case)], [launch(case) for case in cases])
    findings = [*findings, *judged(each(STEADY), [launch(status="oom")])]
    said = remarks(findings, labels(finding.subject for finding in findings))
    tail = "resnet20/cifar10/finetune/single"
    assert said == [
        f"regressed: it ended as oom, and was ok in the reference: tucker2/x4/{tail}",
        f"not measured now: cp/x2/{tail} step_ms, cp/x3/{tail} step_ms and 2 more",
    ]
    assert counts(findings) == "1 regressed, 4 not measured now"


# ---------------------------------------------------------------------------------------------------- by chance


def gates(slower: Sequence[float], launches: int, tolerance: int, cases: int, times: int) -> list[list[bool]]:
    """Simulated checks: which of so many cases regressed, each slowed by a factor under lognormal noise of 4 %."""
    generator = np.random.default_rng(0)
    [clause], subject = parse_tolerances(f"step_ms>{tolerance}%"), subject_of(launch())

    def times_of(factor: float) -> list[float]:
        return [float(value) for value in factor * np.exp(0.04 * generator.standard_normal(launches))]

    return [
        [
            found.verdict is Verdict.regressed
            for found in decide(
                [Comparison(subject, clause, times_of(1.0), times_of(slower[i % len(slower)])) for i in range(cases)]
            )
        ]
        for _ in range(times)
    ]


def share(outcomes: Sequence[Sequence[bool]], of: Callable[[Sequence[bool]], float], said: str) -> float:
    found = sum(map(of, outcomes)) / len(outcomes)
    print(f"{said}: {100 * found:.1f} %")
    return found


def mean(outcome: Sequence[bool]) -> float:
    return sum(outcome) / len(outcome)


def test_chance_without_any_change_fails_hardly_a_check() -> None:
    outcomes = gates([1.0], launches=6, tolerance=5, cases=20, times=200)
    assert share(outcomes, any, "no change, 20 cases, tolerance 5 %, 6 v 6: checks that fail") <= 0.02


@pytest.mark.parametrize(("launches", "cases", "most"), [(6, 20, 0.12), (12, 20, 0.08), (6, 50, 0.2)])
def test_chance_at_the_tolerance_itself_fails_few_checks(launches: int, cases: int, most: float) -> None:
    outcomes = gates([1.05], launches, tolerance=5, cases=cases, times=200)
    said = f"all {cases} cases slower by just the tolerance of 5 %, {launches} v {launches}: checks that fail"
    assert share(outcomes, any, said) <= most


@pytest.mark.parametrize("cases", [20, 50])
def test_chance_hides_no_case_that_takes_twice_as_long(cases: int) -> None:
    for said, slower in (("all", [2.0]), ("one", [2.0, *[1.0] * (cases - 1)])):
        outcomes = gates(slower, launches=6, tolerance=30, cases=cases, times=10)
        found = share(outcomes, lambda row: row[0], f"twice the time, {said} of {cases}, tolerance 30 %, 6 v 6: found")
        assert found == 1.0


def test_chance_leaves_more_to_be_found_the_more_launches_there_are() -> None:
    found = {
        (rise, launches): share(
            gates([1 + rise / 100], launches, tolerance=5, cases=20, times=10),
            mean,
            f"slower by {rise} %, 20 cases, tolerance 5 %, {launches} v {launches}: cases found",
        )
        for rise in (10, 15, 20)
        for launches in (6, 12)
    }
    assert found[10, 6] < found[15, 6] < found[20, 6]
    assert found[15, 6] < found[15, 12]
    assert found[20, 6] > 0.8
