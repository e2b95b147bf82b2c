"""Meshes: which parts go together, their groups, and trainings over four ranks that equal one process."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from training_runs import Trained, bound, check_same, network, spread_as, train

from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew
from tnbench.core.registry import Registry
from tnbench.distributed.collectives import all_reduce
from tnbench.distributed.crew import alone
from tnbench.distributed.mesh import Options, lines, spread, subgroups
from tnbench.distributed.pool import RankPool
from tnbench.distributed.share import shared_out
from tnbench.parallel import ddp
from tnbench.stages.prepare import bind_case
from tnbench.sweep.identity import Facts

MESHES = ("ddp[bn=sync]:2*rank_tp:2", "ddp[bn=sync]:2*bottleneck_tp:2", "ddp[bn=sync,zero=true]:2*rank_tp:2")
PLACES = {"ddp:2*rank_tp:2": [(0, 2), (0, 2), (1, 2), (1, 2)], "rank_tp:2*ddp:2": [(0, 2), (1, 2), (0, 2), (1, 2)]}


def trained(crew: Crew) -> tuple[dict[str, Trained], dict[str, tuple[int, int] | None]]:
    runs = {text: train(spread_as(text, crew), network(True)) for text in MESHES}
    return runs, {text: spread_as(text, crew).share for text in PLACES}


@pytest.fixture(scope="module")
def shared(four_ranks: RankPool) -> list[Any]:
    return four_ranks.run(trained)


@pytest.mark.parametrize("text", MESHES)
def test_losses_and_weights_equal_those_of_one_process(text: str, shared: list[Any]) -> None:
    runs = [rank[0][text] for rank in shared]
    check_same(runs[0], train(alone("cpu"), network(True)))
    assert all(run.loss == runs[0].loss for run in runs)
    own, whole = runs[0].own_state, runs[0].state
    assert any(own[name].numel() < whole[name].numel() for name in own if name in whole), "nothing was cut"


@pytest.mark.parametrize("text", PLACES)
def test_the_last_part_has_neighbouring_ranks(text: str, shared: list[Any]) -> None:
    assert [rank[1][text] for rank in shared] == PLACES[text]


def sums(crew: Crew) -> list[float]:
    """The sum of the ranks' numbers in this rank's groups of a 2 x 2 mesh."""
    return [all_reduce(torch.tensor(float(crew.rank)), group).item() for group in subgroups((2, 2))]


def test_groups_of_four_ranks(four_ranks: RankPool) -> None:
    assert four_ranks.run(sums) == [[2.0, 1.0], [4.0, 1.0], [2.0, 5.0], [4.0, 5.0]]


@pytest.mark.parametrize("counts", [(2, 3, 4), (5,), (1, 2)])
def test_every_rank_is_in_one_group_along_each_axis(counts: tuple[int, ...]) -> None:
    for axis, count in enumerate(counts):
        groups = lines(counts, axis)
        assert sorted(rank for group in groups for rank in group) == list(range(math.prod(counts)))
        assert {len(group) for group in groups} == {count}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ddp:2*single", "got single in the mesh ddp:2[*]single, where every part spreads its work over processes"),
        ("threads:2*rank_tp:2", "got threads in the mesh"),
        ("ddp:2*pipeline:2", "got pipeline in the mesh ddp:2[*]pipeline:2: its micro-batches .*; name it alone"),
        ("fsdp:2*rank_tp:2", "got fsdp in the mesh .*in parts of its own.*; name it alone"),
        ("ddp:2*dryrun:2", "got dryrun in the mesh"),
        ("ddp:2*ddp:2", "of 2 parts, of which 2 share out the batch; wanted one that does and one that shares"),
        ("rank_tp:2*bottleneck_tp:2", "of 2 parts, of which 0 share out the batch"),
        ("ddp:2*rank_tp", "got rank_tp without a count"),
        ("ddp[threads=1]:2*rank_tp[threads=2]:2", "with 1 and 2 threads, wanted one number for all"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_with_a_reason(text: str, says: str) -> None:
    mesh = bound(text)
    reason = mesh.module.refuses(mesh.atom.count, mesh.options, "cpu")
    assert reason is not None
    assert re.search(says, reason), reason


def test_a_mesh_wants_a_gpu_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    mesh = bound("ddp:2*rank_tp:2")
    assert mesh.module.refuses(mesh.atom.count, mesh.options, "cuda") == (
        "got ddp:2*rank_tp:2 from cuda:0 on, wanted at most the 3 GPUs that are there"
    )
    assert mesh.module.refuses(mesh.atom.count, mesh.options, "cpu") is None


def test_a_case_binds_a_mesh_as_one_plug_in() -> None:
    case = Case.parse("tucker2/x4/cnn8/digits/none/ddp[threads=1]:2*rank_tp:3#0")
    _, plugins = bind_case(case, Registry())
    mesh = plugins["parallel"]
    assert mesh.atom.count == 6
    assert mesh.options.threads == 1
    assert mesh.listing.name == "ddp[threads=1]:2*rank_tp:3"
    assert not mesh.module.IN_PROCESS


@pytest.mark.parametrize(
    ("parallel", "names"),
    [
        ("ddp:2*rank_tp:3", {"parallel": "ddp", "parallel+2": "rank_tp"}),
        ("dryrun[of=fsdp]:64", {"parallel": "dryrun", "parallel+2": "fsdp"}),
        ("ddp:2", {"parallel": "ddp"}),
    ],
)
def test_a_record_depends_on_the_version_of_every_part(parallel: str, names: dict[str, str], tmp_path: Path) -> None:
    case = Case.parse(f"tucker2/x4/cnn8/digits/none/{parallel}#0")
    plugins = Facts(Registry(), tmp_path, tmp_path, "cpu").identity(case, None)["plugins"]
    assert {axis: plugin["name"] for axis, plugin in plugins.items() if axis.startswith("parallel")} == names
    assert all(plugin["version"] >= 1 for plugin in plugins.values())


def launched(crew: Crew) -> tuple[int, int, tuple[int, int] | None]:
    return crew.rank, crew.world, crew.share


def test_a_mesh_is_launched_as_any_plug_in() -> None:
    mesh = bound("ddp[threads=1]:2*rank_tp:1")
    assert mesh.module.launch(launched, mesh.atom.count, mesh.options, "cpu", ()) == [(0, 2, (0, 2)), (1, 2, (1, 2))]
    assert not dist.is_initialized()


def test_counts_must_make_up_the_ranks() -> None:
    with pytest.raises(UsageError, match=r"got the counts \[2, 2\] for 1 ranks, wanted that as their product"):
        spread(alone("cpu"), None, Options(1, bound("ddp:2*rank_tp:2").options.axes))


def shares(crew: Crew) -> list[tuple[int, int]]:
    first = ddp.spread(crew, None, ddp.Options())
    return [shared_out(crew, None), shared_out(first, None)]


def test_shares_multiply(two_ranks: RankPool) -> None:
    assert two_ranks.run(shares) == [[(0, 2), (0, 4)], [(1, 2), (3, 4)]]
