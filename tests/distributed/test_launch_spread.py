"""What plug-ins of several processes share: refused counts, and how their ranks are launched."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew
from tnbench.distributed import spread
from tnbench.distributed.collectives import Group
from tnbench.distributed.crew import alone


@dataclass(frozen=True)
class Options:
    threads: int = 0


def with_share(crew: Crew, group: Group, options: Options) -> Crew:
    assert group is None
    return dataclasses.replace(crew, share=(0, 7))


def share_of(crew: Crew) -> Any:
    return crew.share


def test_counts_are_wanted() -> None:
    assert spread.refuses_ranks("name", 2, "cpu") is None
    assert spread.refuses_ranks("name", None, "cpu") == (
        "got name without a count, wanted how many processes, such as name:2"
    )


def test_a_core_has_a_few_processes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "usable_cores", lambda: 2)
    assert spread.refuses_ranks("ddp", 8, "cpu") is None
    assert spread.refuses_ranks("ddp", 9, "cpu") == (
        "got ddp:9 with 2 usable cores, wanted at most 8 processes, since more wait for each other; for words at any "
        "number of them take a dry run, such as dryrun[of=ddp]:9"
    )


@pytest.mark.parametrize(("count", "device", "fits"), [(2, "cuda", True), (3, "cuda", False), (2, "cuda:1", False)])
def test_each_process_wants_a_gpu(count: int, device: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    reason = spread.refuses_ranks("name", count, device)
    first = device if ":" in device else "cuda:0"
    there = 1 if ":" in device else 2
    wanted = f"got name:{count} from {first} on, wanted at most the {there} GPUs that are there"
    assert reason == (None if fits else wanted)


def test_threads_are_counted() -> None:
    spread.check_threads("name", 0)
    with pytest.raises(UsageError, match="parallel name: got threads = -1, wanted a whole number from 0 on"):
        spread.check_threads("name", -1)


@pytest.mark.parametrize(
    ("cores", "threads", "each", "device", "backend"),
    [(8, 0, 4, "cpu", "gloo"), (1, 0, 1, "cpu", "gloo"), (8, 3, 3, "cuda:1", "nccl")],
)
def test_ranks_are_launched_with_their_share_of_cores(
    cores: int, threads: int, each: int, device: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def launch_ranks(entry: Any, world: int, **rest: Any) -> list[Any]:
        asked.update(rest, world=world)
        return [entry(alone("cpu"))]

    monkeypatch.setattr(spread, "usable_cores", lambda: cores)
    monkeypatch.setattr(spread, "launch_ranks", launch_ranks)
    assert spread.launch_spread(share_of, with_share, 2, Options(threads), device, ()) == [(0, 7)]
    assert (asked["world"], asked["threads"], asked["backend"]) == (2, each, backend)
