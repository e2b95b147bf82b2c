"""What a plan will take, by what has ended on this machine."""

import pytest

from tnbench.cli.plan import time_in_words
from tnbench.core.errors import UsageError
from tnbench.core.record import Record
from tnbench.sweep.durations import Durations
from tnbench.sweep.estimate import Estimate, estimate
from tnbench.sweep.plan import Request, make_plan

TAIL = "cnn8/digits/scratch/single#0"
OTHER = "resnet20/digits/scratch/single#0"


def plan_of(world, *cases, **more):
    request = Request(cases=cases, data_root=world.data, results=world.results, overrides={"device": "cpu"}, **more)
    return make_plan(request, world.registry(), world.store())


def ended(world, case, seconds, *, status="ok", device="A processor", **facts):
    """A record of a plan's case, which took so many seconds on a device."""
    (entry,) = plan_of(world, case, fresh=True).entries
    identity = {**entry.identity, "device_model": device}
    provenance = {"wall_s": seconds, "identity": identity, **facts}
    settings = entry.job.settings.as_json()
    world.store().append(Record(case, entry.key, status, settings=settings, provenance=provenance))


def estimated(world, *cases, **more):
    return estimate(plan_of(world, *cases, **more), world.store())


def test_nothing_known_is_no_number(world):
    assert estimated(world, f"svd/x2/{TAIL}") == Estimate(None, own=0, alike=0, unknown=1)


def test_the_own_last_time_then_the_median_of_its_like_then_of_all(world):
    for rank, seconds in ((2, 10.0), (2, 12.0), (4, 30.0), (8, 50.0)):
        ended(world, f"svd/x{rank}/{TAIL}", seconds)
    again, like, other = f"svd/x2/{TAIL}", f"tt/x2/{TAIL}", f"svd/x2/{OTHER}"
    assert estimated(world, again, fresh=True) == Estimate(12.0, own=1, alike=0, unknown=0)
    assert estimated(world, like) == Estimate(30.0, own=0, alike=1, unknown=0)
    assert estimated(world, again, like, other, fresh=True) == Estimate(12.0 + 30.0 + 21.0, own=1, alike=1, unknown=1)


def test_what_is_done_costs_nothing_and_every_launch_does(world):
    case = f"svd/x2/{TAIL}"
    ended(world, case, 10.0)
    assert estimated(world, case) == Estimate(0, own=0, alike=0, unknown=0)
    assert estimated(world, case, fresh=True, launches=3) == Estimate(30.0, own=3, alike=0, unknown=0)


def test_baselines_count_too(world):
    ended(world, f"svd/x2/{TAIL}", 10.0)
    found = estimated(world, "svd/x2/cnn8/digits/finetune/single#0", f"svd/x2/{TAIL}", fresh=True)
    assert found == Estimate(30.0, own=1, alike=0, unknown=2)


@pytest.mark.parametrize("more", [{"device": "Another processor"}, {"status": "timeout"}, {"resumed": True}])
def test_another_machine_a_bad_end_and_the_end_alone_teach_nothing(world, more):
    ended(world, f"svd/x2/{TAIL}", 10.0, **more)
    assert estimated(world, f"svd/x2/{TAIL}", fresh=True).seconds is None


@pytest.mark.parametrize(("facts", "known"), [({}, 10.0), ({"resumed": True}, None)])
def test_a_run_learns_from_whole_cases_alone(facts, known):
    durations, group = Durations([], []), ("a group",)
    durations.add("key", group, Record(f"svd/x2/{TAIL}", "key", "ok", provenance=facts), 10.0)
    assert (durations.own("key"), durations.alike(group), durations.left(1)) == (known, known, known)


def test_a_number_of_workers_that_is_none_is_told_at_once(world, monkeypatch):
    monkeypatch.setenv("TNBENCH_WORKERS", "many")
    with pytest.raises(UsageError, match="TNBENCH_WORKERS: got 'many', wanted a whole number of processes, or 0 for"):
        plan_of(world, f"svd/x2/{TAIL}")


def test_words():
    assert time_in_words(Estimate(0, 0, 0, 0)) == ""
    assert time_in_words(Estimate(None, 0, 0, 2)) == (
        "how long that takes is unknown: nothing like it has ended on this machine yet"
    )
    found = Estimate(2600.0, own=10, alike=40, unknown=2)
    assert time_in_words(found) == (
        "about 43 min on this machine (52 runs: 10 at their last time, 40 at the median of those that differ in "
        "method, rank or seed alone, 2 never timed here, at the median of the others)"
    )
