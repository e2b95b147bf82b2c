"""Batches come in their order with the same bits whoever reads them, errors name the file, and no worker is left."""

import gc

import psutil
import pytest
import torch
from stored_pictures import write_pictures

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.engine.reading import BatchRequest, RandomParts, read, subset, workers_for

PART = RandomParts(0.3, seed=1, epoch=2)


@pytest.fixture
def files(tmp_path):
    return write_pictures(tmp_path, 40)


def orders_of(n, size=4):
    return [
        BatchRequest(indices, PART if number % 2 else None)
        for number, indices in enumerate(torch.arange(n).split(size))
    ]


def workers():
    """Processes that decode: children of the server that multiprocessing forks them from."""
    ours = psutil.Process().children()
    return [child for server in ours if "forkserver" in " ".join(server.cmdline()) for child in server.children()]


def test_pictures_in_memory_are_indexed():
    pictures = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1)
    assert [batch.flatten().tolist() for batch in read(pictures, orders_of(8))] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_workers_give_what_this_process_reads_and_are_gone_afterwards(files):
    here = list(read(files, orders_of(40)))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for count in (1, 2):
        ahead = read(files, iter(orders_of(40)), workers=count)
        first = next(ahead)
        assert len(workers()) == count
        assert all(torch.equal(one, other) for one, other in zip(here, [first, *ahead], strict=True))
        assert not workers()
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"


def test_workers_go_when_nobody_wants_more_batches(files):
    ahead = read(files, orders_of(40), workers=1)
    next(ahead)
    assert workers()
    del ahead
    gc.collect()
    assert not workers()


def test_a_damaged_file_is_named_by_a_worker_too(files):
    (files.folder / "0009.png").write_bytes(b"")
    ahead = read(files, orders_of(40), workers=1)
    with pytest.raises(TnbenchError, match=r"^\S*0009.png cannot be read as a picture \([^\n]*\); put an un"):
        list(ahead)
    assert not workers()


def test_the_number_of_workers_can_be_given_and_is_none_for_little_work(files, monkeypatch):
    monkeypatch.setattr("tnbench.engine.reading.usable_cores", lambda: 6)
    monkeypatch.delenv("TNBENCH_WORKERS", raising=False)
    assert workers_for(files, 100) == 6
    assert workers_for(files, 100, processes=2) == 3
    assert workers_for(files, 100, processes=9) == 1
    assert workers_for(files, 2) == 0
    assert workers_for(torch.zeros(1), 100) == 0
    monkeypatch.setenv("TNBENCH_WORKERS", "3")
    assert workers_for(files, 100) == 3
    monkeypatch.setenv("TNBENCH_WORKERS", "many")
    with pytest.raises(UsageError, match="TNBENCH_WORKERS: got 'many', wanted a whole number"):
        workers_for(files, 100)


def test_subsets_of_both_kinds(files):
    assert subset(torch.arange(5), torch.tensor([3, 1])).tolist() == [3, 1]
    assert len(subset(files, torch.tensor([3, 1]))) == 2
