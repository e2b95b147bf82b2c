import pytest
import torch

from tnbench.parallel import single, threads


def facts(crew):
    return crew.rank, crew.world, crew.device.type, crew.threads, torch.get_num_threads()


def fail(crew):
    raise ValueError("no")


def test_single_is_one_crew_with_the_threads_of_torch():
    now = torch.get_num_threads()
    assert single.launch(facts, None, None, "cpu", ()) == [(0, 1, "cpu", now, now)]


def test_single_refuses_a_count():
    assert single.refuses(None, None, "cuda") is None
    assert single.refuses(2, None, "cpu") == (
        "got single:2, but single is one process; wanted single, threads:2 or ddp:2"
    )


@pytest.mark.parametrize("count", [1, 3])
def test_threads_are_set_for_the_entry_only(count):
    before = torch.get_num_threads()
    assert threads.launch(facts, count, None, "cpu", ()) == [(0, 1, "cpu", count, count)]
    assert torch.get_num_threads() == before


def test_threads_are_put_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="no"):
        threads.launch(fail, before + 2, None, "cpu", ())
    assert torch.get_num_threads() == before


def test_threads_want_a_count_and_a_cpu():
    assert threads.refuses(64, None, "cpu") is None
    assert threads.refuses(None, None, "cpu") == "got threads without a count, wanted how many, such as threads:2"
    assert threads.refuses(2, None, "cuda:0") == (
        "got threads:2 on cuda:0, where the CPU's threads do not share the work; wanted single or ddp"
    )


@pytest.mark.parametrize("module", [single, threads])
def test_models_stay_as_they_are(module):
    model = torch.nn.Linear(1, 1)
    assert module.launch(lambda crew: (crew.wrap(model), crew.barrier()), 1, None, "cpu", ()) == [(model, None)]
