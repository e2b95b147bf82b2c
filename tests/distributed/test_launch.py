import os
import signal
import socket
import tempfile
import threading
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist

from tnbench.core.registry import Registry
from tnbench.distributed.collectives import TIMEOUT
from tnbench.distributed.launch import launch_ranks
from tnbench.testing.parallel import nothing_left_behind

PLUGIN = '''"""A network that only this file knows."""

from torch import nn

KIND = "model"


class Strange(nn.Linear):
    pass
'''
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def look(crew, *, model):
    total = torch.full((2,), crew.rank + 1.0)
    dist.all_reduce(total)
    crew.barrier()
    model.weight.data += crew.rank
    return {
        "rank": crew.rank,
        "world": crew.world,
        "threads": (crew.threads, torch.get_num_threads()),
        "total": total,
        "large": torch.full((3_000_000,), crew.rank, dtype=torch.uint8),
        "model": model,
        "wrapped": crew.wrap(model) is model,
        "pid": os.getpid(),
        "timeout": dist.group.WORLD._get_backend(crew.device).options._timeout,
    }


def listening(process: psutil.Process) -> set[str]:
    """Addresses on which `process` and its children accept connections."""
    addresses: set[str] = set()
    for one in [process, *process.children(recursive=True)]:
        try:
            connections = one.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        addresses |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return addresses


@dataclass
class Watch:
    """Collects `listening` of this process again and again, in a thread of its own."""

    seen: set[str]
    done: threading.Event

    def run(self) -> None:
        while not self.done.wait(0.02):
            self.seen |= listening(psutil.Process())


@dataclass
class Run:
    ranks: list[dict[str, Any]]
    listened: set[str]
    temporary: Path
    handlers_kept: bool


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One launch of two ranks that most tests of this file look at."""
    folder, temporary = tmp_path_factory.mktemp("plugin"), tmp_path_factory.mktemp("temporary")
    file = folder / "strange.py"
    file.write_text(PLUGIN)
    registry = Registry([file])
    strange = registry.load(registry.find("model", "strange"))
    watch = Watch(set(), threading.Event())
    thread = threading.Thread(target=watch.run)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)]
    with nothing_left_behind(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(tempfile, "tempdir", str(temporary))
        thread.start()
        try:
            entry = partial(look, model=strange.Strange(2, 3))
            ranks = launch_ranks(entry, 2, threads=3, device="cpu", plugin_files=[file], backend="gloo")
        finally:
            watch.done.set()
            thread.join()
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)]
    return Run(ranks, watch.seen, temporary, handlers == after)


def test_results_come_in_the_order_of_ranks(run):
    assert [(rank["rank"], rank["world"]) for rank in run.ranks] == [(0, 2), (1, 2)]


def test_each_rank_is_a_process_of_its_own(run):
    assert len({os.getpid(), *(rank["pid"] for rank in run.ranks)}) == 3


def test_the_ranks_form_one_group(run):
    assert [rank["total"].tolist() for rank in run.ranks] == [[3.0, 3.0]] * 2


def test_each_rank_has_the_threads_asked_for_whatever_the_environment_says(run):
    assert [rank["threads"] for rank in run.ranks] == [(3, 3), (3, 3)]


def test_no_wait_for_honest_work_is_cut_short(run):
    assert all(rank["timeout"] == TIMEOUT > timedelta(days=1) for rank in run.ranks)


def test_large_tensors_come_back(run):
    assert [(rank["large"].shape[0], int(rank["large"].max())) for rank in run.ranks] == [
        (3_000_000, 0),
        (3_000_000, 1),
    ]


def test_classes_of_given_plugins_cross_both_ways(run):
    weights = [rank["model"].weight for rank in run.ranks]
    assert [type(rank["model"]).__name__ for rank in run.ranks] == ["Strange", "Strange"]
    assert torch.equal(weights[0] + 1, weights[1])


def test_the_bare_crew_leaves_models_as_they_are(run):
    assert all(rank["wrapped"] for rank in run.ranks)


def test_nothing_listens_beyond_loopback(run):
    assert run.listened, "gloo connects its ranks over sockets, so some must have been seen"
    assert run.listened <= LOOPBACK


def test_a_socket_open_to_the_network_would_be_seen():
    with socket.create_server(("0.0.0.0", 0)):
        assert "0.0.0.0" in listening(psutil.Process())


def test_no_temporary_file_is_left(run):
    assert list(run.temporary.iterdir()) == []


def test_signal_handlers_are_put_back(run):
    assert run.handlers_kept
