"""Measuring a trained network over the ranks of its case."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import spread_entries
import torch
from spread_entries import BATCH, CLASSES, measured, small_work

from tnbench.core.case import Case
from tnbench.core.errors import NotApplicable
from tnbench.core.job import Job
from tnbench.core.metrics import METRICS
from tnbench.core.record import Record
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.distributed.crew import alone
from tnbench.distributed.pool import RankPool
from tnbench.stages.case import run_case
from tnbench.stages.spread import LEAST_SAMPLES, PHASES, _measured, measure_rank
from tnbench.stages.spread_decomposition import _costs
from tnbench.stages.train import recipe_of

TIMED = ("fixed_step_ms", "infer_ms", *PHASES)


def run(results: Path, case: str, **changed: Any) -> Record:
    settings = Settings(device="cpu", epochs=1, baseline_epochs=1, limit_train=256).changed(changed)
    parsed = Case.parse(case)
    return run_case(Job(parsed, record_key(parsed, settings), settings, Limits(), Path("nowhere"), results))


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run(tmp_path_factory.mktemp("results"), "svd/x2/cnn8/digits/scratch/ddp:2#0")


def test_every_rank_times_steps_with_and_without_communication(spread: Record) -> None:
    for name in (*TIMED, "muted_step_ms"):
        ranks = spread.samples[name]
        assert len(ranks) == 2
        assert len(ranks[0]) == len(ranks[1]) >= LEAST_SAMPLES
        assert spread.metrics[name] == median(map(max, *ranks)) > 0
    assert spread.metrics.keys() <= METRICS.keys()


def test_phases_make_up_a_step(spread: Record) -> None:
    for rank in range(2):
        phases = zip(*(spread.samples[name][rank] for name in PHASES), strict=True)
        for parts, whole in zip(phases, spread.samples["fixed_step_ms"][rank], strict=True):
            assert sum(parts) == pytest.approx(whole, rel=0.05, abs=0.1)


def test_a_rank_gets_at_most_its_core(spread: Record) -> None:
    assert 0 < spread.metrics["core_share"] < 110


def test_words_are_those_of_gradients_and_buffers(spread: Record) -> None:
    words = dict(spread.samples["words_step"])
    assert words["all_reduce"] == spread.metrics["params"]
    assert spread.metrics["words_step"] == sum(words.values())
    assert spread.metrics["words_infer"] == 0, "replicas need nothing of each other to classify"


def test_the_layers_are_decomposed_by_one_rank_and_by_both(spread: Record) -> None:
    assert spread.metrics["decompose_alone_s"] > 0 < spread.metrics["decompose_spread_s"]
    assert len(spread.samples["decompose_spread_s"]) == 2


def test_without_a_calibration_nothing_is_predicted(spread: Record) -> None:
    assert not [name for name in spread.metrics if name.startswith("predicted")]


def test_threads_are_timed_too_and_a_single_process_pays_nothing(tmp_path: Path) -> None:
    threads = run(tmp_path, "svd/x2/cnn8/digits/scratch/threads:1#0")
    assert threads.metrics.keys() >= set(TIMED)
    assert threads.metrics["words_step"] == 0
    assert not {"muted_step_ms", "decompose_spread_s"} & threads.metrics.keys()
    single = run(tmp_path, "svd/x2/cnn8/digits/scratch/single#0")
    assert not {*TIMED, "words_step"} & single.metrics.keys()


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_measuring_moves_no_weight_and_draws_nothing(two_ranks: RankPool, optimiser: str) -> None:
    for rank in two_ranks.run(partial(measured, optimiser=optimiser)):
        assert rank["moved"] == 0
        assert rank["generator_kept"]


def test_words_are_counted_by_kind_whatever_sends_them(two_ranks: RankPool) -> None:
    for rank in two_ranks.run(partial(measured, optimiser="sgd")):
        share = BATCH // 2 * CLASSES
        assert {name: counted.of("all_reduce") for name, counted in rank["found"].words.items()} == {
            "words_step": share,
            "words_infer": share,
        }
        assert len(rank["found"].times["muted_step_ms"]) == len(rank["found"].times["fixed_step_ms"])


def test_one_process_has_nothing_to_mute() -> None:
    found = measure_rank(replace(alone("cpu"), notes=["auto chose this"]), work=small_work())
    assert found.notes == ["auto chose this"]
    assert _measured([found]).notes == ["auto chose this"]
    assert "muted_step_ms" not in found.times
    assert found.words["words_step"].words == 0


def test_decompositions_are_timed_as_often_on_both_ranks(two_ranks: RankPool) -> None:
    first, second = two_ranks.run(spread_entries.decomposed)
    assert len(first.alone) == len(first.spread) == len(second.spread) > 1
    assert min(first.alone) > 0 < min(first.spread)


@pytest.mark.parametrize("rank", [0, 1])
def test_no_rank_waits_for_more_than_a_layer(rank: int) -> None:
    done: list[str] = []

    def work(item: int) -> tuple[torch.Tensor, ...]:
        done.append("work")
        return ()

    seconds = _costs(replace(alone("cpu"), rank=rank, barrier=partial(done.append, "wait")), work, 3)
    assert " ".join(done) == ("wait work wait work wait work wait" if rank == 0 else "wait wait wait wait")
    assert len(seconds) == 3


def test_a_batch_with_a_picture_for_some_ranks_only_is_refused() -> None:
    with pytest.raises(NotApplicable, match=f"a batch of {BATCH} pictures cannot be shared by 9 processes"):
        measure_rank(replace(alone("cpu"), world=9), work=small_work())


def test_the_batch_grows_with_the_ranks_only_where_that_is_asked_for() -> None:
    case = Case.parse("dense/full/cnn8/digits/finetune/ddp:2#0")
    for grows, expected in ((False, 64), (True, 128)):
        settings = Settings(device="cpu", batch_size=64, batch_per_rank=grows)
        job = Job(case, "key", settings, Limits(), Path("nowhere"), Path("nowhere"))
        assert recipe_of(job, epochs=1, lr=0.1, ranks=2).batch_size == expected
        assert recipe_of(job, epochs=1, lr=0.1).batch_size == 64, "a baseline is trained by one process"


def test_a_growing_batch_is_said_in_the_record(tmp_path: Path) -> None:
    weak = run(tmp_path, "svd/x2/cnn8/digits/scratch/threads:1#0", batch_per_rank=True)
    assert any("accuracy is that of another training" in note for note in weak.notes)
    torch.testing.assert_close(weak.metrics["train_loss"], run(tmp_path, weak.case).metrics["train_loss"])
