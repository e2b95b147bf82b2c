"""Speedups over cores, serial shares, communication, weak scaling and the twelve rules, from made-up records."""

import math

import pandas as pd
import pytest
from reporting_factory import over_ranks, record, spread, strong, weak

from tnbench.reporting import formatting
from tnbench.reporting.amdahl import amdahl, fitted_serial_share, karp_flatt
from tnbench.reporting.checklist import KEPT, NOT_APPLICABLE, NOT_KEPT, make_checklist
from tnbench.reporting.figures.speedup_curves import speedup_curves
from tnbench.reporting.figures.style import looks
from tnbench.reporting.points import make_points
from tnbench.reporting.rows import make_rows
from tnbench.reporting.scaling import make_scalings
from tnbench.reporting.sentences import speed_sentences
from tnbench.reporting.series import make_series, way_of
from tnbench.reporting.table import tidy

TAIL = "resnet20/cifar10/finetune"


def scalings_of(records):
    return make_scalings(make_points(make_rows(records)))


def by_parallel(records):
    return {(scaling.point.label, scaling.parallel): scaling for scaling in scalings_of(records)}


def rules_of(records):
    rows = make_rows(records)
    return {judged.number: judged for judged in make_checklist(rows, make_scalings(make_points(rows)))}


# ------------------------------------------------------------------------------------------------- serial shares


@pytest.mark.parametrize(("speedup", "cores", "share"), [(2.0, 2, 0.0), (1.0, 4, 1.0), (0.5, 2, 3.0), (1.6, 2, 0.25)])
def test_karp_and_flatts_share(speedup, cores, share):
    assert karp_flatt(speedup, cores) == pytest.approx(share)
    if share <= 1:
        assert amdahl(share, cores) == pytest.approx(speedup)


def test_on_one_core_no_share_can_be_told():
    assert karp_flatt(1.0, 1) is None


@pytest.mark.parametrize("share", [0.0, 0.07, 0.5, 1.0])
def test_a_fit_finds_the_share_that_speedups_were_made_from(share):
    assert fitted_serial_share({cores: amdahl(share, cores) for cores in (1, 2, 4, 8)}) == pytest.approx(share)


def test_a_fit_takes_three_numbers_of_cores_and_stays_a_share():
    assert fitted_serial_share({1: 1.0, 2: 1.5}) is None
    assert fitted_serial_share({1: 1.0, 2: 3.0, 4: 9.0}) == 0.0
    assert fitted_serial_share({1: 1.0, 2: 0.5, 4: 0.3}) == 1.0


# ------------------------------------------------------------------------------------------------- columns by hand


def test_speedups_of_inference_and_decomposition_and_the_share_of_communication():
    one = over_ranks(f"tucker2/x4/{TAIL}/threads:1#0", 100.0)
    two = over_ranks(f"tucker2/x4/{TAIL}/ddp:2#0", 80.0, processes=2, share=0.25)
    found = tidy([one, two]).set_index("parallel").loc["ddp:2"]
    assert found["infer_speedup"] == pytest.approx(1.25, rel=0.05)
    assert found["decompose_speedup"] == 1.6
    assert found["karp_flatt"] == karp_flatt(found["speedup"], 2)
    assert found["comm_share"] == pytest.approx(25.0)
    assert found["comm_share_low"] <= found["comm_share"] <= found["comm_share_high"]
    assert found["measured_over_predicted"] == pytest.approx(1.25, rel=0.05)


def test_a_share_below_nothing_is_not_clipped():
    muted = over_ranks(f"dense/full/{TAIL}/ddp:2#0", 80.0, processes=2, share=-0.1)
    assert tidy([muted]).iloc[0]["comm_share"] == pytest.approx(-10.0)


def test_without_predictions_there_is_no_ratio():
    bare = over_ranks(f"dense/full/{TAIL}/ddp:2#0", 80.0, processes=2)
    del bare.metrics["predicted_step_ms"]
    assert pd.isna(tidy([bare]).iloc[0]["measured_over_predicted"])


def test_the_algorithms_speedup_of_a_step_is_against_dense_spread_the_same_way():
    frame = tidy(strong(seeds=1)).set_index(["method", "parallel"])
    for parallel in ("threads:1", "ddp:2"):
        assert frame.loc[("tucker2", parallel), "algorithmic_step_speedup"] == pytest.approx(4.0, rel=0.08)


def test_more_threads_than_cores_leave_no_parallel_number_but_the_times():
    over = over_ranks(f"dense/full/{TAIL}/ddp:2#0", 80.0, processes=2, provenance={"oversubscribed": True})
    found = tidy([over_ranks(f"dense/full/{TAIL}/threads:1#0", 100.0), over]).set_index("parallel").loc["ddp:2"]
    names = ["speedup", "efficiency", "karp_flatt", "infer_speedup", "decompose_speedup", "algorithmic_step_speedup"]
    assert found[names].isna().all()
    assert found["infer_ms"] > 0


# ------------------------------------------------------------------------------------------------------ weak scaling


def test_a_growing_batch_has_an_efficiency_and_no_speedup():
    frame = tidy(weak(seeds=1)).set_index("parallel")
    found = frame.loc["ddp:2"]
    assert found["efficiency"] == pytest.approx(100 / 110, rel=0.05)
    assert found[["speedup", "karp_flatt", "infer_speedup"]].isna().all()
    assert found["same_cores_ratio"] == pytest.approx(105 / 110, rel=0.05)
    assert frame.loc["threads:1", "efficiency"] == 1.0


def test_weak_and_strong_are_never_compared():
    found = by_parallel([*strong(seeds=1), *weak(seeds=1)])
    assert len({scaling.family for scaling in found.values()}) == 3
    assert all(scaling.weak == (scaling.speedup is None) for scaling in scalings_of([*strong(seeds=1), *weak(seeds=1)]))


def test_a_sentence_on_weak_scaling_names_the_pictures():
    (threads, ddp) = (str(said.striptags()) for said in speed_sentences(scalings_of(weak())))
    assert threads.startswith("dense with threads:2 takes a step of 2 times the pictures with an efficiency of 0.9")
    assert ddp.endswith("n = 3).")


# ------------------------------------------------------------------------------------------------------------ series


def test_ways_are_parallel_parts_without_counts():
    assert way_of("ddp:4") == way_of("ddp:2") != way_of("ddp[bucket_mb=1]:2")


def test_a_series_has_every_number_of_cores_and_its_base():
    threads, ddp = [series for series in make_series(scalings_of(strong())) if series.label == "dense"]
    assert (threads.way, ddp.way) == ("threads", "ddp")
    assert list(threads.measured) == list(ddp.measured) == [1, 2, 4]
    assert threads.measured[1].value == 1.0
    assert threads.source == ddp.source == "fitted"
    assert ddp.modelled[4] == pytest.approx(ddp.measured[4].value, rel=0.05)


def test_with_two_numbers_of_cores_only_replicas_have_a_known_serial_share():
    threads, ddp = [series for series in make_series(scalings_of(strong(most=2))) if series.label == "dense"]
    assert (threads.serial, threads.source, threads.is_trend) == (None, "", False)
    assert ddp.source == "the optimiser's share"
    assert ddp.serial == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(("most", "lines"), [(2, 1 + 2), (4, 1 + 4 + 4)])
def test_only_three_numbers_of_cores_are_joined_by_a_line(monkeypatch, most, lines):
    """The ideal, a bound for each series that has one, and lines through what was measured at three or more."""
    from matplotlib.axes import Axes

    drawn = []

    def plot(axes, across, *rest, **more):
        drawn.append(len(list(across)))
        return original(axes, across, *rest, **more)

    original = Axes.plot
    monkeypatch.setattr(Axes, "plot", plot)
    series = make_series(scalings_of(strong(most=most)))
    for one in series:
        one.modelled.clear()
    speedup_curves(series, looks(["dense", "tucker2"]), name="f", title="t", base="one core")
    assert len([length for length in drawn if length > 1]) == lines


def test_nothing_to_draw_is_no_figure():
    assert speedup_curves([], {}, name="f", title="t", base="one core") is None


# --------------------------------------------------------------------------------------------------------- checklist


def test_the_rules_are_twelve_and_all_kept_where_all_is_recorded():
    rules = rules_of(strong(seeds=6))
    assert list(rules) == list(range(1, 13))
    assert {number for number, rule in rules.items() if rule.verdict == NOT_KEPT} == set()
    assert "dense 24" in rules[1].by


def test_cases_of_the_suite_that_were_not_run_are_a_subset_without_a_reason():
    rows = make_rows(strong(seeds=2))
    subsets = [make_checklist(rows, make_scalings(make_points(rows)), len(rows) + more)[1] for more in (0, 3)]
    assert [judged.verdict for judged in subsets] == [KEPT, NOT_KEPT]
    assert "; 3 not run; " in subsets[1].by


def test_nothing_that_scales_has_no_checklist():
    assert rules_of([spread(f"dense/full/{TAIL}/single#0", 5.0)]) == {}


def test_one_launch_is_no_interval_over_launches():
    rules = rules_of(strong(seeds=1))
    assert rules[5].verdict == NOT_KEPT
    assert rules[6].verdict == NOT_APPLICABLE


@pytest.mark.parametrize(
    ("rule", "more", "said"),
    [
        (2, {"settings": {"limit_train": 600}}, "limit_train: 600"),
        (9, {"provenance": {"git_dirty": True}}, "uncommitted code"),
        (9, {"provenance": {"host": ""}}, "missing: host"),
    ],
)
def test_what_is_not_kept_says_why(rule, more, said):
    judged = rules_of(strong(seeds=2, **more))[rule]
    assert judged.verdict == NOT_KEPT
    assert said in judged.by


def test_a_busy_machine_is_seen_by_the_cores_that_a_rank_did_not_get():
    records = strong(seeds=2)
    records[1].metrics["core_share"] = 40.0
    judged = rules_of(records)[9]
    assert judged.verdict == NOT_KEPT
    assert "others used the machine in 1 of 10 rows" in judged.by
    busy = [scaling for scaling in scalings_of(records) if scaling.busy]
    assert [scaling.core_share for scaling in busy] == [40.0]
    assert str(speed_sentences(busy)[0].striptags()).endswith("(others used the machine, so this says little).")


def test_a_failure_without_a_reason_is_a_subset_without_one():
    lost = record(f"tt/x4/{TAIL}/ddp:2#0", status="failed")
    assert rules_of([*strong(seeds=2), lost])[2].verdict == NOT_KEPT
    told = record(f"tt/x4/{TAIL}/ddp:2#0", status="failed", reason="out of luck")
    assert rules_of([*strong(seeds=2), told])[2].verdict == KEPT


def test_launches_without_a_partner_make_averaged_ratios():
    assert rules_of(strong(seeds=3))[4].verdict == KEPT
    alone = [one for one in strong(seeds=3) if not (one.case.endswith("threads:1#2") and one.case.startswith("dense"))]
    assert rules_of(alone)[4].verdict == NOT_KEPT


def test_a_launch_far_off_is_seen_not_to_be_normal():
    records = strong(seeds=8, most=2)
    odd = next(one for one in records if one.case == f"dense/full/{TAIL}/ddp:2#0")
    odd.samples["step_ms"] = [[100 * step for step in rank] for rank in odd.samples["step_ms"]]
    assert rules_of(records)[6].verdict == NOT_KEPT


def test_few_steps_have_no_percentile():
    short = strong(seeds=2)
    for one in short:
        one.samples["step_ms"] = [rank[:8] for rank in one.samples["step_ms"]]
    assert rules_of(short)[8].verdict == NOT_KEPT


def test_every_ranks_samples_must_be_there():
    records = strong(seeds=2)
    two = next(one for one in records if "ddp:2" in one.case)
    two.samples["step_ms"] = two.samples["step_ms"][:1]
    assert rules_of(records)[10].verdict == NOT_KEPT


# ---------------------------------------------------------------------------------------------------------- numbers


def test_shares_over_launches_have_a_t_interval():
    found = by_parallel(strong())["dense", "ddp:2"].comm_share
    assert (found.launches, found.value) == (3, pytest.approx(25.0))
    assert math.isclose(found.low, 25.0)
    assert formatting.share(found) == "25.0 (25.0 to 25.0, n = 3)"
    assert formatting.share(None) == formatting.MISSING


def test_the_share_of_one_launch_says_so():
    found = by_parallel(strong(seeds=1))["dense", "ddp:2"].comm_share
    assert formatting.share(found).endswith("within one launch)")
