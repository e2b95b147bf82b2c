import doctest
import math
from itertools import pairwise

import pytest
from matplotlib.figure import Figure
from reporting_factory import measured, record, scaling, spread, sweep, troubled
from scipy import special

from tnbench.core.case import Case
from tnbench.measure import statistics
from tnbench.measure.statistics import mean_interval
from tnbench.reporting import formatting
from tnbench.reporting.context import context_of, titles
from tnbench.reporting.figures import axes, labels
from tnbench.reporting.figures.curves import estimate
from tnbench.reporting.points import by_context, curves, make_points
from tnbench.reporting.rows import make_rows
from tnbench.reporting.scaling import make_scalings
from tnbench.reporting.sentences import accuracy_sentences, speed_sentences

TAIL = "cnn8/digits/finetune/single"


def points_of(records):
    return make_points(make_rows(records))


@pytest.mark.parametrize("module", [statistics, formatting, axes, labels])
def test_examples_in_docstrings_hold(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_points_are_dense_first_then_methods_by_compression():
    labels_ = [point.label for point in points_of(sweep(ranks=(16, 2, 4)))]
    assert labels_ == [
        "dense",
        *(f"{method} x{rank}" for method in ("cp", "svd", "tt", "tucker2") for rank in (2, 4, 16)),
    ]


def test_seeds_are_averaged_with_a_t_interval():
    records = [measured(f"tt/x4/{TAIL}#{seed}", top1=top1) for seed, top1 in enumerate((97.0, 98.0, 99.5))]
    assert points_of(records)[0].over_seeds("top1") == mean_interval([97.0, 98.0, 99.5])


def test_a_seed_measured_twice_counts_once():
    records = [measured(f"tt/x4/{TAIL}#0", top1=top1) for top1 in (90.0, 98.0)]
    point = points_of(records)[0]
    assert (point.over_seeds("top1").n, point.over_seeds("top1").value) == (1, 98.0)


def test_a_failure_never_replaces_what_was_measured():
    ok, failed = measured(f"tt/x4/{TAIL}#0", top1=98.0), record(f"tt/x4/{TAIL}#0", status="failed", reason="broken")
    for records in ([ok, failed], [failed, ok]):
        (point,) = points_of(records)
        assert point.mean("top1") == 98.0


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"device_model": "Another CPU"},
        {"torch": "2.11.0"},
        {"data": "another split"},
        {"baseline": "c" * 64},
        {"plugins": {"model": {"name": "cnn8", "version": 2}}},
    ],
)
def test_a_failure_elsewhere_stands_beside(elsewhere):
    here = measured(f"tt/x4/{TAIL}#0", top1=98.0)
    there = record(f"tt/x4/{TAIL}#0", status="failed", identity=elsewhere)
    found = {point.mean("top1"): point.context for point in points_of([here, there])}
    assert set(found) == {98.0, None}
    assert found[98.0] != found[None]


def test_a_case_that_the_plan_skipped_stands_with_the_ok_ones():
    skipped = record(
        f"tt/x9/{TAIL}#0", status="skipped", reason="no layer can be that small", provenance={"identity": {}}
    )
    assert len(by_context(points_of([measured(f"tt/x4/{TAIL}#0", top1=98.0), skipped]))) == 1


def timed(*launches):
    """One point with one launch per list of samples."""
    records = [measured(f"tt/x4/{TAIL}#{seed}") for seed in range(len(launches))]
    for row, samples in zip(records, launches, strict=True):
        row.samples["forward_ms"] = list(samples)
    return points_of(records)[0].timing("forward_ms")


def test_a_time_over_launches_counts_each_launch_once():
    found = timed([1.0, 2.0, 3.0] * 9, [8.0] * 30, [4.0] * 500)
    spread_ = special.stdtrit(2, 0.975) * math.log(2) / math.sqrt(3)
    assert found == pytest.approx((4.0, 4.0 * math.exp(-spread_), 4.0 * math.exp(spread_), 3))


def test_the_only_launch_has_the_interval_of_its_samples():
    assert timed([5.0, 1.0, 3.0, 2.0, 4.0, 6.0]) == (3.5, 1.0, 6.0, 1)
    assert timed([3.0, 1.0, 2.0]) == (2.0, None, None, 1)


def titled(*asked):
    """Titles of contexts that differ in their parallel part and in its plug-in's version alone."""
    made = [
        context_of(
            record(
                f"svd/x2/cnn8/digits/finetune/{parallel}#0", identity={"plugins": {"parallel": {"version": version}}}
            ),
            Case.parse(f"svd/x2/cnn8/digits/finetune/{parallel}#0"),
        )
        for parallel, version in asked
    ]
    return list(titles(made).values())


def test_a_title_tells_versions_of_one_plug_in_and_not_that_others_have_others():
    assert titled(("ddp:2", 1), ("threads:2", 2)) == [
        "cnn8 on digits, finetune (ddp:2)",
        "cnn8 on digits, finetune (threads:2)",
    ]
    assert titled(("ddp:2", 1), ("ddp:2", 2)) == [
        "cnn8 on digits, finetune (parallel version=1)",
        "cnn8 on digits, finetune (parallel version=2)",
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"settings": {"lr": 0.5}},
        {"identity": {"device_model": "Another CPU"}},
        {"model": "lenet5"},
        {"dataset": "mnist"},
        {"training": "scratch"},
    ],
)
def test_one_curve_never_mixes(more):
    contexts = by_context(points_of([*sweep(seeds=1), *sweep(seeds=1, **more)]))
    assert len(contexts) == 2
    assert len(set(titles(contexts).values())) == 2
    for found in contexts.values():
        assert all(len(point.rows) == 1 for point in found)
        assert len(curves(found)) == 5


def test_options_of_a_method_make_a_curve_of_their_own():
    records = [measured(f"{method}/x4/{TAIL}#0", top1=90.0) for method in ("cp", "cp[solver=tensorly]")]
    assert list(curves(points_of(records))) == ["cp", "cp[solver=tensorly]"]


def sentences(records):
    return [str(sentence.striptags()) for sentence in accuracy_sentences(points_of(records))]


def test_the_best_method_is_named_with_its_drop_and_its_runner_up():
    tops = {"dense/full": (99.0, 99.2, 99.4), "tt/x4": (98.0, 98.3, 98.3), "cp/x4": (96.0, 96.2, 96.5)}
    records = [
        measured(f"{name}/{TAIL}#{seed}", top1=top1, compression=1 if name == "dense/full" else 4)
        for name, found in tops.items()
        for seed, top1 in enumerate(found)
    ]
    first, second = sentences(records)
    assert first == "The dense network classifies 99.20 ± 0.50 % right with 40.0k parameters (3 seeds)."
    assert second == (
        "At x4 (4.00× smaller) tt is the most accurate: 98.20 ± 0.43 %, a drop of 1.00 points (95 % interval 0.75 to "
        "1.25, n = 3); cp is 1.97 points behind."
    )


def test_a_lead_that_seeds_do_not_settle_is_called_so():
    tops = {"tt/x4": (98.0, 95.0, 98.3), "cp/x4": (96.0, 97.2, 96.5)}
    records = [
        measured(f"{name}/{TAIL}#{seed}", top1=top1, compression=4)
        for name, found in tops.items()
        for seed, top1 in enumerate(found)
    ]
    (only,) = sentences(records)
    assert "with no dense record to compare it with" in only
    assert only.endswith("which 3 seeds cannot tell from chance.")


def test_one_seed_gives_no_interval_and_a_gain_is_a_gain():
    records = [
        measured(f"dense/full/{TAIL}#0", top1=98.0),
        measured(f"tt/x2/{TAIL}#0", top1=98.5, compression=2),
        measured(f"cp/x2/{TAIL}#0", top1=98.0, compression=2),
    ]
    assert sentences(records)[1] == (
        "At x2 (2.00× smaller) tt is the most accurate: 98.50 %, a gain of 0.50 points; cp is 0.50 points behind, on "
        "one seed."
    )


def test_networks_of_unlike_sizes_are_not_ranked():
    records = [
        measured(f"tt/k8/{TAIL}#0", top1=98.0, compression=2),
        measured(f"cp/k8/{TAIL}#0", top1=90.0, compression=9),
    ]
    assert "sizes differ too much for a ranking: tt, 2.00× smaller" in sentences(records)[0]


def test_failures_alone_give_no_sentence():
    assert sentences(troubled()) == []


def test_speed_sentences_tell_slowdowns():
    found = [str(sentence.striptags()) for sentence in speed_sentences(make_scalings(points_of(scaling())))]
    assert len(found) == 4
    assert "tucker2 x4 with ddp:2 runs a training step at 0.905×" in found[3]
    assert "the speed of one core: slower" in found[3]
    assert "of one process on the same 2 cores: slower." in found[3]


def test_an_invalid_speed_is_named_and_has_no_number():
    records = scaling()[:2]
    records.append(
        spread("dense/full/resnet20/cifar10/finetune/ddp:8#0", 500.0, processes=8, provenance={"oversubscribed": True})
    )
    last = make_scalings(points_of(records))[-1]
    assert (last.speedup, last.efficiency, last.same_cores) == (None, None, None)
    assert "more threads than cores" in str(speed_sentences([last])[0])


def test_timed_steps_without_a_one_core_case_are_no_speedup():
    assert make_scalings(points_of([spread(f"tt/x4/{TAIL}#0", 5.0)])) == []


def test_a_one_core_case_alone_is_no_speedup():
    assert make_scalings(points_of(scaling()[:1])) == []


def launched(one_core, two_threads):
    """Records with 20 equal steps each; one launch per number, by seed."""
    return [
        record(
            f"tt/x4/resnet20/cifar10/finetune/threads:{threads}#{seed}",
            metrics={"processes": 1, "threads": threads},
            samples={"step_ms": [[milliseconds] * 20]},
        )
        for threads, launches in ((1, one_core), (2, two_threads))
        for seed, milliseconds in enumerate(launches)
    ]


def speed_of(records):
    return make_scalings(points_of(records))[-1]


def test_speedups_are_paired_by_seed_and_every_launch_counts_once():
    speedup = speed_of(launched((8.0, 18.0), (4.0, 2.0, 500.0))).speedup
    half = special.stdtrit(1, 0.975) * math.log(9 / 2) / 2
    assert speedup == pytest.approx((math.sqrt(18), math.sqrt(18) * math.exp(-half), math.sqrt(18) * math.exp(half), 2))


def test_launches_that_disagree_settle_nothing_however_many_steps_they_have():
    found = speed_of(launched((10.0, 10.0, 10.0), (9.0, 11.0, 13.0)))
    assert (found.speedup.slower, found.speedup.undecided) == (False, True)
    (said,) = (str(sentence.striptags()) for sentence in speed_sentences([found]))
    assert said.endswith(", n = 3) the speed of one core, which may be no difference.")


def test_one_launch_speaks_for_itself_alone():
    records = launched((10.0,), (12.0,))
    found, row = speed_of(records), make_rows(records)[-1]
    assert found.speedup == (row["speedup"], row["speedup_low"], row["speedup_high"], 1)
    (said,) = (str(sentence.striptags()) for sentence in speed_sentences([found]))
    assert said.endswith("0.833× (0.833 to 0.833 within one launch) the speed of one core: slower.")


def test_the_one_core_case_is_once_as_fast_as_itself():
    base = make_scalings(points_of(launched((10.0, 11.0), (5.0, 6.0))))[0]
    assert base.speedup == (1.0, None, None, 2)


def test_steps_that_took_no_time_have_no_ratio():
    assert make_rows(launched((10.0,), (0.0,)))[-1]["speedup"] is None


def y_limits(values, ends, most=100.0):
    drawn = Figure().subplots()
    axes.scale_y(drawn, values, ends, most=most)
    return drawn.get_ylim()


def test_the_axis_holds_moderate_intervals_and_cuts_absurd_ones():
    bottom, top = y_limits([92.0, 92.5, 93.0], [90.0, 95.0])
    assert bottom < 89.8
    assert top > 95.2
    assert y_limits([92.0, 92.5, 93.0], [50.0])[0] > 80.0
    assert y_limits([98.0, 99.5], [96.0, 104.0])[1] < 100.5


def test_no_interval_passes_what_is_possible():
    records = [measured(f"tt/x4/{TAIL}#{seed}", top1=top1) for seed, top1 in enumerate((97.0, 99.9))]
    assert estimate(points_of(records)[0], axes.TOP1).high == 100.0


@pytest.mark.parametrize(
    ("wanted", "limits"),
    [([0.5, 0.5, 0.5], (0, 1)), ([0.0, 0.01, 0.99, 1.0], (0, 1)), ([0.95, 0.9, 0.97, 0.2], (0, 1)), ([0.3], (0, 1))],
)
def test_labels_keep_apart_in_order_and_inside(wanted, limits):
    found = labels.spread_apart(wanted, 0.1, *limits)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = [found[index] for index in order]
    assert all(after - before >= 0.1 - 1e-9 for before, after in pairwise(places))
    assert min(places) >= limits[0] - 1e-9
    assert max(places) <= limits[1] + 1e-9


@pytest.mark.parametrize(("low", "high"), [(900, 12e3), (1, 1e9), (0.42, 0.79), (9_500, 10_400), (3e4, 3.1e4)])
def test_ticks_are_few_and_inside(low, high):
    ticks = axes.round_ticks(low, high)
    assert 2 <= len(ticks) <= 10
    assert low <= min(ticks)
    assert max(ticks) <= high
