"""Dry runs: the words of one process that stands for many are those of real ranks, and nothing stays behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from training_runs import CHANNELS, RECIPE, SIDE, bound, network, spread_as

from tnbench.core.case import Case
from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.job import Job
from tnbench.core.protocols import Crew
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.distributed.collectives import Call, Counted, counting
from tnbench.distributed.fake import counted_step
from tnbench.distributed.pool import RankPool
from tnbench.distributed.predict.data import fsdp_calls
from tnbench.distributed.predict.share import words_by_kind
from tnbench.engine.optimiser import optimiser_for
from tnbench.parallel import dryrun
from tnbench.stages.baseline import run_baseline
from tnbench.stages.case import run_case
from tnbench.stages.dry_run import measure_volumes
from tnbench.stages.prepare import prepare

IN_SHAPE, BATCH = (CHANNELS, SIDE, SIDE), 6
IMITATED = (
    "ddp",
    "ddp[bn=sync]",
    "ddp[zero=true]",
    "ddp[compress=powersgd]",
    "fsdp",
    "pipeline",
    "rank_tp",
    "bottleneck_tp",
    "spatial",
)


def imagined(text: str, count: int, batch: int = BATCH) -> Counted:
    plugin = bound(f"{text}:{count}")
    return counted_step(network(True), IN_SHAPE, batch, plugin.module, count, plugin.options)


def real(crew: Crew) -> dict[str, list[Call]]:
    """The calls of the third step of each plug-in."""
    found = {}
    for text in IMITATED:
        own, model = spread_as(text, crew), network(True)
        wrapped = own.wrap(model)
        optimiser = optimiser_for(model, RECIPE, crew=own)
        for _ in range(3):
            optimiser.zero_grad(set_to_none=True)
            with counting() as counted:
                scores = wrapped(torch.ones(BATCH, *IN_SHAPE).tensor_split(own.data_world)[own.data_rank])
                functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long)).backward()
                optimiser.step()
        found[text] = counted.calls
    return found


@pytest.fixture(scope="module")
def calls(two_ranks: RankPool) -> dict[str, list[Call]]:
    return two_ranks.run(real)[0]


@pytest.mark.parametrize("text", IMITATED)
def test_calls_are_those_of_rank_zero_of_two(text: str, calls: dict[str, list[Call]]) -> None:
    assert sorted(imagined(text, 2).calls) == sorted(calls[text])
    assert not dist.is_initialized()


def test_a_thousand_ranks() -> None:
    counted = imagined("fsdp", 1024, batch=1024)
    wanted = words_by_kind(fsdp_calls(network(True), 1024))
    assert {kind: counted.of(kind) for kind in wanted} == wanted
    assert {call.ranks for call in counted.calls} == {1024}


@pytest.mark.parametrize(
    ("text", "count", "says"),
    [
        ("ddp", 7, "a batch of 6 pictures cannot be shared by 7 processes"),
        ("rank_tp", 4, "for 4 ranks"),
        ("pipeline", 1024, "got 1024 stages for a network that can be cut into 4"),
    ],
)
def test_too_many_ranks_are_refused_with_a_reason_and_leave_nothing_behind(text: str, count: int, says: str) -> None:
    before = torch.get_rng_state()
    with pytest.raises(NotApplicable, match=says):
        imagined(text, count)
    assert not dist.is_initialized()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_model_stays_as_it_is() -> None:
    model = network(True).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plugin = bound("fsdp:2")
    counted_step(model, IN_SHAPE, BATCH, plugin.module, 2, plugin.options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert all(type(parameter) is nn.Parameter and parameter.grad is None for parameter in model.parameters())


def within_a_group(crew: Crew) -> None:
    imagined("ddp", 2)


def test_a_process_of_a_group_cannot_imagine_another(two_ranks: RankPool) -> None:
    with pytest.raises(UsageError, match="wanted one that is in none"):
        two_ranks.run(within_a_group)


def test_what_does_not_spread_cannot_be_imitated() -> None:
    with pytest.raises(UsageError, match="threads does not spread its work over processes; wanted a plug-in that does"):
        dryrun.dry_run(network(True), IN_SHAPE, BATCH, 2, dryrun.Options(of="threads"), ())


def test_of_rows_an_inner_ranks_words_are_recorded_who_sends_to_both_sides(tmp_path: Path) -> None:
    prepared, notes = prepare(job(tmp_path, "dense/full/cnn8/digits/none/dryrun[of=spatial]:3#0")), list[str]()
    model = prepared.build()
    found = measure_volumes(prepared, model, notes.append)
    plugin = bound("spatial:3")
    first, inner = (
        counted_step(model, prepared.pictures.in_shape, 128, plugin.module, 3, plugin.options, rank=rank)
        for rank in (0, 1)
    )
    assert found is not None
    assert first.words < inner.words == found.metrics["words_step"]
    assert sum(words for _, words in found.samples["words_step"]) == inner.words
    assert notes[0].startswith("words_step is that of rank 1 of 3, counted in one process")


def job(results: Path, text: str, baseline: Any = None) -> Job:
    settings = Settings(device="cpu", epochs=1, baseline_epochs=1, limit_train=128)
    case = Case.parse(text)
    return Job(case, record_key(case, settings), settings, Limits(), Path("nowhere"), results, baseline=baseline)


def test_a_case_records_words_and_says_what_they_are(tmp_path: Path) -> None:
    baseline = run_baseline(job(tmp_path, "dense/full/cnn8/digits/none/single#0"))
    record = run_case(job(tmp_path, "tucker2/x4/cnn8/digits/none/dryrun[of=bottleneck_tp]:4#0", baseline))
    assert record.status == "ok"
    kinds = dict(record.samples["words_step"])
    assert set(kinds) == {"all_reduce", "all_gather"}
    assert sum(kinds.values()) == record.metrics["words_step"] > 0
    assert any("rank 0 of 4, counted in one process with nothing sent" in note for note in record.notes)
    assert not {"step_ms", "train_s", "infer_ms", "fixed_step_ms"} & record.metrics.keys()
    with pytest.raises(NotApplicable, match="dryrun counts what ddp:8 sends and trains nothing; take training none"):
        run_case(job(tmp_path, "tucker2/x4/cnn8/digits/finetune/dryrun:8#0", baseline))
