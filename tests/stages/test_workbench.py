"""A case laid out for other clocks is prepared as `run_case` prepares it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tnbench.core.case import Case
from tnbench.core.errors import NotApplicable
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings
from tnbench.stages.baseline import run_baseline
from tnbench.stages.case import run_case
from tnbench.stages.workbench import Workbench

SETTINGS = Settings(device="cpu", epochs=1, baseline_epochs=1, limit_train=256)
TUCKER = "tucker2/x4/cnn8/digits/none/threads:1#0"


def job_of(results: Path, case: str = TUCKER) -> Job:
    return Job(Case.parse(case), "key", SETTINGS, Limits(), Path("nowhere"), results)


def with_baseline(results: Path) -> Job:
    job = job_of(results)
    return Job(**{**vars(job), "baseline": run_baseline(job)})


def test_sizes_and_error_are_those_of_the_record(tmp_path: Path) -> None:
    job = with_baseline(tmp_path)
    record = run_case(job)
    with Workbench(job) as bench:
        size, error = bench.size(), bench.decomposition.summary.weight_error
    assert {name: record.metrics[name] for name in size} == size
    assert error == record.metrics["weight_error"]


def test_without_a_baseline_it_is_the_network_drawn_from_the_seed(tmp_path: Path) -> None:
    with Workbench(job_of(tmp_path)) as bench:
        drawn = bench.prepared.build().state_dict()
        assert all(torch.equal(value, drawn[name]) for name, value in bench.dense.state_dict().items())


def test_its_calls_do_what_they_say(tmp_path: Path) -> None:
    with Workbench(job_of(tmp_path)) as bench:
        swapped = bench.decompose()()
        assert swapped.ranks.keys() == {layer.name for layer in bench.decomposition.summary.layers if layer.ranks}
        before = {name: value.clone() for name, value in bench.decomposition.model.state_dict().items()}
        bench.forward(4)()
        bench.layers_forward(4)()
        for _ in range(2):
            bench.layers_backward(4)()
        step = bench.step()
        first, last = step(), [step() for _ in range(8)][-1]
        assert float(last) < float(first)  # the same batch again and again is learnt
        after = bench.decomposition.model.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_layer_s_input_is_what_reaches_it_in_the_dense_network(tmp_path: Path) -> None:
    with Workbench(job_of(tmp_path)) as bench:
        calls: list[tuple[int, ...]] = []
        for layer in bench.decomposition.summary.layers:
            if layer.ranks:
                module = bench.decomposition.model.get_submodule(layer.name)
                module.register_forward_hook(lambda module, given, out: calls.append(tuple(given[0].shape)))
        whole = bench.forward(4)
        bench.layers_forward(4)()
        alone, calls[:] = list(calls), []
        whole()
        assert alone == calls
        assert len(calls) == 3


def test_threads_and_numerics_return_afterwards(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Workbench(job_of(tmp_path)):
            assert torch.get_num_threads() == 1
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)


def test_numerics_return_where_the_ranks_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Workbench(job_of(tmp_path))
    monkeypatch.setattr(bench.prepared.plugins["parallel"].module, "launch", lambda *given: [][0])
    with pytest.raises(IndexError), bench:
        pytest.fail("there was no crew")
    assert not torch.are_deterministic_algorithms_enabled()


def test_several_processes_are_refused_with_the_way_round(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match=r"ddp:2 spreads a step over processes.*tnbench run"):
        Workbench(job_of(tmp_path, "tucker2/x4/cnn8/digits/none/ddp:2#0"))
