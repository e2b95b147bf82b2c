import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import fake_stages
import psutil
import pytest

from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.job import Job
from tnbench.core.record import Record
from tnbench.core.settings import Limits, Settings
from tnbench.store.checkpoints import checkpoint_path
from tnbench.sweep.command import reproducing_command
from tnbench.sweep.executors import Result
from tnbench.sweep.executors.inline import InlineExecutor
from tnbench.sweep.executors.local import LocalExecutor
from tnbench.sweep.plan import Request, make_plan
from tnbench.sweep.runner import Stages, run_plan

STAGES = Stages(fake_stages.train, fake_stages.run)


class Listener:
    """Remembers what it heard."""

    def __init__(self):
        self.heard = []

    def planned(self, plan):
        self.heard.append(("planned", plan.name))

    def started(self, label, done, total, eta_s):
        self.heard.append(("started", label, done, total, eta_s))

    def finished(self, record):
        self.heard.append(("finished", record.case, record.status))

    def closed(self):
        self.heard.append(("closed",))


class Recording:
    """An executor that runs nothing: it remembers the limits, and ends all as it was told."""

    def __init__(self, *results):
        self.results = list(results)
        self.limits = []
        self.closed = False

    def execute(self, call, *, log, timeout_s):
        self.limits.append(timeout_s)
        return self.results.pop(0)

    def close(self):
        self.closed = True


def finetune(rank, seed=0):
    return f"svd/{rank}/cnn8/digits/finetune/single#{seed}"


def scratch(rank, seed=0):
    return f"svd/{rank}/cnn8/digits/scratch/single#{seed}"


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def run(world, listener):
    """Plan and run single cases through an executor, by default in this process."""

    def go(*cases, executor=None, max_time_s=None, **more):
        registry, store = world.registry(), world.store()
        request = Request(cases=cases, data_root=world.data, results=world.results, **more)
        return run_plan(
            make_plan(request, registry, store),
            store=store,
            registry=registry,
            executor=executor or InlineExecutor(),
            listener=listener,
            max_time_s=max_time_s,
            stages=STAGES,
        )

    return go


def stored(world):
    return {record.case: record for record in world.store().records()}


def trained_seeds(world):
    return (world.results / "trained").read_text().split()


def test_records_say_where_they_come_from(world, run):
    outcome = run(scratch("x1"), overrides={"epochs": 3, "tf32": True}, timeout_s=50.0)
    (record,) = outcome.records
    assert (outcome.interrupted, outcome.left, record.status) == (False, 0, "ok")
    assert stored(world)[scratch("x1")] == record
    provenance = record.provenance
    assert provenance["host"] == "here"
    assert (provenance["suite"], provenance["attempt"]) == ("cases", 1)
    assert provenance["identity"]["data"] == "d1"
    assert provenance["identity"]["device_model"] == "A processor"
    assert provenance["identity"]["plugins"]["rank"]["name"] == "xR"
    assert provenance["wall_s"] >= 0
    log = world.results / provenance["log"]
    assert log.read_text() == f"running {scratch('x1')}\n"
    used = [world.plugins / f"{name}.py" for name in ("ratio", "digits", "scratch")]
    plugins = " ".join(f"--plugin {file}" for file in used)
    assert provenance["command"] == (
        f"tnbench run --case '{scratch('x1')}' --device cpu --tf32 --epochs 3 --timeout 50"
        f" --data-root {world.data} --results {world.results} {plugins} --fresh"
    )


def test_the_command_leaves_the_default_folders_out(world):
    job = Job(Case.parse(scratch("x1")), "k", Settings(), Limits(), Request.data_root, Request.results)
    command = reproducing_command(job, world.registry())
    assert [word for word in command.split() if word.startswith("--")] == ["--case", *["--plugin"] * 3, "--fresh"]


def test_every_end_is_a_typed_record(world, run):
    outcome = run(*map(scratch, ("x1", "x2", "x3", "x4", "x5", "x7")), executor=LocalExecutor(), timeout_s=3.0)
    ends = {record.case.split("/")[1]: (record.status, record.reason) for record in outcome.records}
    assert ends["x1"] == ("ok", "")
    assert ends["x2"] == ("skipped", "x2 cannot be reached")
    assert ends["x3"][0] == "failed"
    assert ends["x3"][1].startswith("ValueError: no such thing (fake_stages.py:")
    assert ends["x4"][0] == "crashed"
    assert "SIGKILL" in ends["x4"][1]
    assert ends["x5"] == ("timeout", "ended after 3 s")
    assert ends["x7"][0] == "failed"
    assert "a record holds finite numbers" in ends["x7"][1]
    for record in outcome.records:
        assert record.settings["epochs"] == 1
        assert record.limits["timeout_s"] == 3.0
        assert record.status == "ok" or {"git_commit", "git_dirty", "versions", "cpu"} <= set(record.provenance)
        assert (world.results / record.provenance["log"]).is_file()
    assert stored(world).keys() == {record.case for record in outcome.records}


def test_a_second_run_starts_nothing_and_gives_the_same_records(world, run):
    first = run(scratch("x1"), scratch("x2"), scratch("x3"))
    executor = Recording()
    again = run(scratch("x1"), scratch("x2"), scratch("x3"), executor=executor)
    assert again.records == first.records
    assert executor.limits == []
    assert executor.closed


def test_skips_of_the_plan_are_records_that_are_not_stored(world, run):
    outcome = run("svd/x4/cnn8/digits+mnist/scratch/single", scratch("x1"))
    assert [record.status for record in outcome.records] == ["skipped", "ok"]
    assert list(stored(world)) == [scratch("x1")]


def test_a_baseline_is_trained_once_and_kept(world, run, listener):
    path = checkpoint_path(world.results, "f" * 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    outcome = run(finetune("x1"), finetune("x9"), finetune("x1", 1), finetune("x9", 1))
    assert [record.notes for record in outcome.records] == [["from ffff"]] * 4
    assert trained_seeds(world) == ["0", "1"]
    baseline = world.store().baselines()[0]
    assert baseline.versions == {"model": 1, "dataset": 1}
    assert baseline.provenance["wall_s"] >= 0
    assert (world.results / baseline.provenance["log"]).is_file()
    run(finetune("x11"))
    assert trained_seeds(world) == ["0", "1"]
    labels = [heard[1:4] for heard in listener.heard if heard[0] == "started"]
    assert labels[:4] == [
        ("baseline cnn8 on digits#0", 0, 6),
        (finetune("x1"), 1, 6),
        (finetune("x9"), 2, 6),
        ("baseline cnn8 on digits#1", 3, 6),
    ]


def test_a_failed_baseline_ends_its_cases_as_it_ended_and_no_others(world, run):
    outcome = run(finetune("x1", 9), finetune("x9", 9), finetune("x1", 8), finetune("x1"), timeout_s=0.5)
    assert [record.status for record in outcome.records] == ["diverged", "diverged", "timeout", "ok"]
    assert outcome.records[0].reason == "its baseline cnn8 on digits#9 ended as diverged: epoch 1: the loss is nan"
    assert trained_seeds(world) == ["9", "8", "0"]
    assert run(finetune("x1", 9), timeout_s=0.6).records == outcome.records[:1]
    run(finetune("x1", 8), timeout_s=0.6)
    assert trained_seeds(world) == ["9", "8", "0", "8"]


def test_a_baseline_that_json_cannot_hold_fails_its_cases(world, run):
    (record,) = run(finetune("x1", 7)).records
    assert record.status == "failed"
    assert "a record holds finite numbers" in record.reason
    assert world.store().baselines() == []


def test_the_listener_hears_all_in_order(run, listener):
    run(scratch("x8"), scratch("x2"), scratch("x1"))
    assert [heard[0] for heard in listener.heard] == ["planned", *["started", "finished"] * 3, "closed"]
    (_, _, _, _, none), *later = (heard for heard in listener.heard if heard[0] == "started")
    assert none is None
    assert later[0][4] > later[1][4] > 0


def test_an_interrupt_keeps_what_is_done_and_says_what_was_running(world, run, listener):
    outcome = run(scratch("x1"), scratch("x6"), scratch("x9"))
    assert outcome.interrupted
    assert [record.status for record in outcome.records] == ["ok", "interrupted"]
    kept = stored(world)[scratch("x6")]
    assert kept.provenance["wall_s"] > 0
    assert kept.reason == "by the keyboard or SIGTERM"
    assert listener.heard[-1] == ("closed",)
    again = run(scratch("x1"), scratch("x9"))
    assert [record.status for record in again.records] == ["ok", "ok"]


# ---------------------------------------------------------------------------------------------------- max-time


def test_what_took_too_long_last_time_is_not_started(run):
    run(scratch("x8"))
    outcome = run(scratch("x8"), max_time_s=0.2, fresh=True)
    assert (outcome.left, [record.status for record in outcome.records]) == (1, [])


def test_the_longest_alike_tells_of_a_case_that_never_ran(run):
    run(scratch("x8"), scratch("x1"))
    assert run(scratch("x9"), max_time_s=0.2).left == 1
    assert run(scratch("x9"), max_time_s=60).left == 0


def test_a_case_of_unknown_length_is_started_and_ended_in_time(world, run):
    outcome = run(scratch("x5"), scratch("x1"), max_time_s=0.5)
    assert (outcome.left, outcome.cut) == (2, (scratch("x5"),))
    assert not outcome.interrupted
    (record,) = outcome.records
    assert record.status == "interrupted"
    assert record.reason.startswith("by --max-time after 0.")
    assert run(scratch("x5"), max_time_s=0.5).left == 1


def test_a_limit_below_the_time_left_is_a_timeout(run):
    outcome = run(scratch("x5"), timeout_s=0.2, max_time_s=60)
    assert (outcome.left, outcome.records[0].status) == (0, "timeout")


def test_cases_of_a_baseline_without_time_are_left(world, run):
    outcome = run(finetune("x1", 8), finetune("x9", 8), max_time_s=0.5)
    assert (outcome.left, outcome.records) == (2, [])
    assert outcome.cut == ("baseline cnn8 on digits#8",)


def test_executions_get_the_limit_or_the_time_left(run):
    executor = Recording(*[Result("failed", "a")] * 2)
    run(scratch("x1"), executor=executor, timeout_s=10.0)
    run(scratch("x9"), executor=executor, timeout_s=10.0, max_time_s=4.0)
    assert executor.limits[0] == 10.0
    assert 3.0 < executor.limits[1] <= 4.0


# ------------------------------------------------------------------------------------- several on one results folder


class Meanwhile(InlineExecutor):
    """Before its first call, `another` run records what it likes."""

    def __init__(self, another):
        self.another, self.calls = another, 0

    def execute(self, call, *, log, timeout_s):
        self.calls += 1
        if self.calls == 1:
            self.another()
        return super().execute(call, log=log, timeout_s=timeout_s)


def keep_weights(world):
    path = checkpoint_path(world.results, "f" * 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")


@pytest.mark.parametrize("fresh", [False, True])
def test_what_another_run_recorded_meanwhile_is_taken_as_done(world, run, listener, fresh):
    cases = [scratch(rank) for rank in ("x1", "x3", "x9")]
    run(*cases)
    more = {"fresh": fresh, "overrides": {"epochs": 1 if fresh else 2}}
    executor = Meanwhile(lambda: run(*cases[1:], **more))
    outcome = run(*cases, executor=executor, **more)
    assert executor.calls == 1
    assert [record.status for record in outcome.records] == ["ok", "failed", "ok"]
    assert listener.heard[-3:] == [("finished", cases[1], "failed"), ("finished", cases[2], "ok"), ("closed",)]
    assert len(world.store().record_lines()) == 6


def test_a_record_of_other_settings_or_an_interrupted_one_is_not_taken(world, run):
    executor = Meanwhile(lambda: (run(scratch("x9"), overrides={"epochs": 2}), run(scratch("x5"), max_time_s=0.1)))
    run(scratch("x1"), scratch("x9"), scratch("x5"), executor=executor, timeout_s=0.3)
    assert executor.calls == 3


def test_a_baseline_that_another_run_trained_meanwhile_serves(world, run):
    keep_weights(world)
    outcome = run(scratch("x1"), finetune("x9"), executor=Meanwhile(lambda: run(finetune("x1"))))
    assert [record.status for record in outcome.records] == ["ok", "ok"]
    assert outcome.records[1].notes == ["from ffff"]
    assert trained_seeds(world) == ["0"]


def test_a_baseline_without_its_checkpoint_is_trained_all_the_same(world, run):
    run(scratch("x1"), finetune("x9"), executor=Meanwhile(lambda: run(finetune("x1"))))
    assert trained_seeds(world) == ["0", "0"]


def test_a_case_that_another_run_recorded_while_its_baseline_was_trained_is_taken(world, run):
    keep_weights(world)
    executor = Meanwhile(lambda: run(finetune("x1")))
    run(finetune("x1"), executor=executor)
    assert executor.calls == 1


# ------------------------------------------------------------------------------------------------------ safety


def test_an_unwritable_folder_is_refused_before_anything_runs(world, run, listener):
    world.results.write_text("a file")
    with pytest.raises(UsageError, match="results: cannot write to"):
        run(scratch("x1"), executor=Recording())
    assert listener.heard == []
    assert world.results.read_text() == "a file"


SUITE_SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import fake_stages
from test_runner import Listener
from tnbench.core.registry import Registry
from tnbench.store.records import Store
from tnbench.sweep.executors.local import LocalExecutor
from tnbench.sweep.plan import Request, make_plan
from tnbench.sweep.runner import Stages, run_plan

if __name__ == "__main__":
    root = Path({root!r})
    registry, store = Registry(sorted((root / "plugins").glob("stand_in_*.py"))), Store(root / "results")
    request = Request(cases=tuple(sys.argv[1:]), data_root=root, results=root / "results")
    plan = make_plan(request, registry, store)
    stages = Stages(fake_stages.train, fake_stages.run)
    run_plan(plan, store=store, registry=registry, executor=LocalExecutor(), listener=Listener(), stages=stages)
"""


def test_kill_9_in_the_middle_loses_the_case_in_flight_only(world, tmp_path):
    kinds = {
        "method": "",
        "model": "",
        "dataset": "def digest(name, options, root): return 'd1'",
        "training": "def needs_baseline(options): return False",
    }
    for kind, body in kinds.items():
        file = world.plugins / f"stand_in_{kind}.py"
        file.write_text(f'"Stand-in."\nKIND = "{kind}"\n{body}\n')
    stand_ins = "stand_in_model/stand_in_dataset/stand_in_training/single#0"
    cases = [f"stand_in_method/{rank}/{stand_ins}" for rank in ("x1", "x9", "x5", "x10")]
    script = tmp_path / "suite.py"
    script.write_text(SUITE_SCRIPT.format(here=str(Path(__file__).parent), root=str(world.root)))
    with subprocess.Popen([sys.executable, str(script), *cases]) as suite:
        deadline = time.monotonic() + 120
        while len(list((world.results / "logs").glob("*"))) < 3:
            assert time.monotonic() < deadline, "the third case never started"
            assert suite.poll() is None, "the suite ended too early"
            time.sleep(0.05)
        family = psutil.Process(suite.pid).children(recursive=True)
        suite.kill()
    assert psutil.wait_procs(family, timeout=30)[1] == []
    store = world.store()
    assert [(record.case, record.status) for record in store.records()] == [(case, "ok") for case in cases[:2]]
    assert store.damaged() == []


def test_the_default_stages_are_those_that_run_cases(world, listener, monkeypatch):
    case, baseline = SimpleNamespace(run_case=fake_stages.run), SimpleNamespace(run_baseline=fake_stages.train)
    monkeypatch.setitem(sys.modules, "tnbench.stages.case", case)
    monkeypatch.setitem(sys.modules, "tnbench.stages.baseline", baseline)
    registry, store = world.registry(), world.store()
    request = Request(cases=(finetune("x1"),), data_root=world.data, results=world.results)
    plan = make_plan(request, registry, store)
    outcome = run_plan(plan, store=store, registry=registry, executor=InlineExecutor(), listener=listener)
    assert [record.status for record in outcome.records] == ["ok"]


def test_records_are_what_the_store_gives_back(world, run):
    outcome = run(scratch("x1"), scratch("x2"))
    assert all(isinstance(record, Record) for record in outcome.records)
    assert list(stored(world).values()) == outcome.records


# ---------------------------------------------------------------------------------------------------- launches


@pytest.fixture
def revision(monkeypatch):
    """The code that plans believe in; the pretended records of these tests name none."""
    facts = {}
    monkeypatch.setattr("tnbench.sweep.plan.surroundings", lambda device: facts)
    return facts


def test_launches_run_round_by_round_until_each_case_has_so_many(world, run, listener, revision):
    run(scratch("x1"))
    run(scratch("x1"), scratch("x9"), launches=3)
    cases = [line.value.case for line in world.store().record_lines()]
    one, nine = scratch("x1"), scratch("x9")
    assert cases == [one, one, nine, one, nine, nine]
    attempts = [line.value.provenance["attempt"] for line in world.store().record_lines()]
    assert attempts == [1, 2, 1, 3, 2, 3]
    assert run(one, nine, launches=3).records == world.store().records()
    assert len(world.store().record_lines()) == 6


def test_launches_are_counted_by_the_revision_of_the_code(world, run, revision):
    run(scratch("x1"), launches=2)
    revision["git_commit"] = "b" * 40
    registry, store = world.registry(), world.store()
    request = Request(cases=(scratch("x1"),), data_root=world.data, results=world.results, launches=2)
    (entry,) = make_plan(request, registry, store).entries
    assert (entry.action, entry.launches, entry.why) == ("run", 2, "0 of 2 launches at bbbbbbbb")


def test_every_launch_of_a_case_is_in_a_process_of_its_own(world, run, revision):
    class Counting(InlineExecutor):
        closed = 0

        def close(self):
            Counting.closed += 1
            super().close()

    run(scratch("x1"), scratch("x9"), launches=3, executor=Counting())
    assert Counting.closed == 3  # between the rounds, and at the end


def test_a_launch_that_ends_badly_is_not_repeated(world, run, listener, revision):
    outcome = run(scratch("x3"), scratch("x1"), launches=3)
    assert [record.status for record in outcome.records] == ["failed", "ok"]
    cases = [line.value.case for line in world.store().record_lines()]
    assert (cases.count(scratch("x3")), cases.count(scratch("x1"))) == (1, 3)


def test_fresh_launches_do_not_count_earlier_ones(world, run, revision):
    run(scratch("x1"), launches=2)
    run(scratch("x1"), launches=2, fresh=True)
    assert len(world.store().record_lines()) == 4


def test_no_launch_at_all_is_refused(run):
    with pytest.raises(UsageError, match="--launches: got 0, wanted a number from 1 on"):
        run(scratch("x1"), launches=0)
