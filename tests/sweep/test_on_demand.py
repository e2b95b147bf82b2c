"""Cases run when their records are asked for, with what a whole run keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_stages
import pytest

from tnbench.core.errors import TnbenchError
from tnbench.core.record import Record
from tnbench.store.checkpoints import checkpoint_path
from tnbench.sweep.executors.inline import InlineExecutor
from tnbench.sweep.on_demand import OnDemand
from tnbench.sweep.plan import Request, make_plan
from tnbench.sweep.runner import Stages

STAGES = Stages(fake_stages.train, fake_stages.run)


class Quiet:
    def planned(self, plan: Any) -> None: ...
    def started(self, label: str, done: int, total: int, eta_s: float | None) -> None: ...
    def finished(self, record: Record) -> None: ...
    def closed(self) -> None: ...


class Counted(InlineExecutor):
    """Counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def case(method: str, rank: str = "x1", training: str = "finetune", seed: int = 0) -> str:
    return f"{method}/{rank}/cnn8/digits/{training}/single#{seed}"


@pytest.fixture
def checkpoint(world: SimpleNamespace) -> Path:
    """The file of every baseline that the fake stages train."""
    path = checkpoint_path(world.results, "f" * 64)
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.fixture
def ask(world: SimpleNamespace) -> Callable[..., OnDemand]:
    def planned(*cases: str, executor: InlineExecutor | None = None) -> OnDemand:
        request = Request(cases=cases, overrides={"device": "cpu"}, data_root=world.data, results=world.results)
        registry, store = world.registry(), world.store()
        return OnDemand(
            make_plan(request, registry, store),
            request,
            store=store,
            registry=registry,
            executor=executor or InlineExecutor(),
            listener=Quiet(),
            stages=STAGES,
        )

    return planned


def trained(world: SimpleNamespace) -> list[str]:
    file = world.results / "trained"
    return file.read_text().split() if file.is_file() else []


def test_nothing_runs_before_it_is_asked_for_and_then_only_that(world, ask) -> None:
    cases = ask(case("svd"), case("tt"))
    assert not world.results.exists()
    record = cases.record(case("tt", "x1"))
    assert (record.case, record.status) == (case("tt"), "ok")
    assert [stored.case for stored in world.store().records()] == [case("tt")]


def test_a_record_is_made_once_and_stands_in_the_next_session(world, ask, checkpoint) -> None:
    cases = ask(case("svd"))
    first = cases.record(case("svd"))
    assert cases.record(case("svd")) is first
    assert ask(case("svd")).record(case("svd")) == first
    assert len(world.store().record_lines()) == 1


def test_a_baseline_is_trained_once_for_all_its_cases(world, ask, checkpoint) -> None:
    cases = ask(case("svd"), case("tt"), case("cp", seed=1))
    for one in (case("svd"), case("tt"), case("cp", seed=1)):
        assert cases.record(one).notes == ["from ffff"]
    assert trained(world) == ["0", "1"]


def test_a_baseline_that_failed_is_not_trained_again_for_the_next_case(world, ask) -> None:
    cases = ask(case("svd", seed=9), case("tt", seed=9))
    assert cases.record(case("svd", seed=9)).status == "diverged"
    with pytest.raises(TnbenchError, match=r"its baseline cnn8 on digits#9 ended as diverged"):
        cases.record(case("tt", seed=9))
    assert trained(world) == ["9"]


def test_bad_ends_are_records_too(ask) -> None:
    record = ask(case("svd", "x3", "scratch")).record(case("svd", "x3", "scratch"))
    assert record.status == "failed"
    assert "no such thing" in record.reason


def test_an_interrupt_is_recorded_and_goes_on_up(world, ask) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(case("svd", "x6", "scratch")).record(case("svd", "x6", "scratch"))
    assert [record.status for record in world.store().records()] == ["interrupted"]


def test_the_executor_stays_open_from_case_to_case(ask) -> None:
    executor = Counted()
    cases = ask(case("svd", training="scratch"), case("tt", training="scratch"), executor=executor)
    for method in ("svd", "tt"):
        cases.record(case(method, training="scratch"))
    assert executor.closed == 0
    cases.close()
    assert executor.closed == 1


def test_what_is_not_to_be_run_says_why(ask) -> None:
    skips = ask(case("svd"), case("dense")).skips
    assert skips[case("svd")] == ""
    assert "dense goes with rank full" in skips[case("dense")]


def test_the_job_of_a_record_has_the_baseline_that_it_started_from(world, ask, checkpoint) -> None:
    cases = ask(case("svd"))
    record = cases.record(case("svd"))
    used = {"digest": "f" * 64, "origin": "trained", "source": ""}
    started = dataclasses.replace(record, provenance={**record.provenance, "baseline": used})
    job = cases.job(started)
    assert (job.case.id, job.key, job.results) == (record.case, record.key, world.results)
    assert job.settings.as_json() == record.settings
    assert job.baseline == world.store().baselines()[0]
    assert cases.job(record).baseline is None

    world.store().drop_baselines("cnn8", "digits", "a mistake")
    with pytest.raises(TnbenchError, match=r"baseline ffffffff, which was taken back since; take the record back too"):
        cases.job(started)
