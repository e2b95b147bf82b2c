from functools import partial

import pytest
import torch
from torch import nn

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Augmentation, Normalisation, Recipe
from tnbench.distributed import spread
from tnbench.engine.loop import fit
from tnbench.parallel import ddp, single

RECIPE = Recipe(epochs=3, lr=0.1, batch_size=16, momentum=0.9, weight_decay=1e-3, seed=3)
PICTURES = 53  # four global batches of 14, 13, 13 and 13 pictures, so that two ranks have uneven shares


def network(*, batch_norm):
    torch.manual_seed(1)
    middle = nn.BatchNorm2d(4) if batch_norm else nn.Identity()
    return nn.Sequential(nn.Conv2d(2, 4, 3), middle, nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def train(crew, *, model):
    drawn = torch.Generator().manual_seed(2)
    rank = fit(
        model,
        torch.randint(0, 256, (PICTURES, 2, 8, 8), generator=drawn, dtype=torch.uint8),
        torch.randint(0, 3, (PICTURES,), generator=drawn),
        normalisation=Normalisation((0.5, 0.4), (0.2, 0.3)),
        augmentation=Augmentation(crop=1, flip=True),
        recipe=RECIPE,
        crew=crew,
        dtype=torch.float64,
    )
    return rank, list(crew.notes)


def train_both(crew):
    """Both networks in one launch, since launching takes seconds."""
    without, _ = plain = train(crew, model=network(batch_norm=False))
    return {"plain": plain, "batch norm": train(crew, model=network(batch_norm=True)), "losses": without.loss}


@pytest.fixture(scope="module")
def shared():
    return ddp.launch(train_both, 2, ddp.Options(bucket_mb=0.001, threads=1), "cpu", ())


@pytest.fixture(scope="module")
def alone():
    return single.launch(train_both, None, None, "cpu", ())[0]


def test_without_batch_norm_losses_and_weights_equal_those_of_a_single_process(shared, alone):
    (got, notes), (wanted, _) = shared[0]["plain"], alone["plain"]
    assert got.loss == pytest.approx(wanted.loss, rel=1e-10)
    assert got.loss[-1] < got.loss[0], "nothing was learnt, so nothing was compared"
    assert got.state.keys() == wanted.state.keys()
    for name, weights in wanted.state.items():
        torch.testing.assert_close(got.state[name], weights, rtol=1e-10, atol=1e-12)
    assert notes == []


def test_ranks_agree_on_the_losses(shared):
    assert shared[0]["losses"] == shared[1]["losses"]


def test_with_batch_norm_losses_differ_and_a_note_says_why(shared, alone):
    (got, notes), (wanted, notes_of_one) = shared[0]["batch norm"], alone["batch norm"]
    assert abs(got.loss[0] / wanted.loss[0] - 1) > 1e-4
    assert notes == [ddp.BATCH_NORM_NOTE]
    assert "each rank normalises its own share of the batch" in ddp.BATCH_NORM_NOTE
    assert notes_of_one == []


def test_counts_are_wanted():
    assert ddp.refuses(2, ddp.Options(), "cpu") is None
    assert ddp.refuses(None, ddp.Options(), "cpu") == (
        "got ddp without a count, wanted how many processes, such as ddp:2"
    )


@pytest.mark.parametrize(("count", "device", "fits"), [(2, "cuda", True), (3, "cuda", False), (2, "cuda:1", False)])
def test_each_process_wants_a_gpu(count, device, fits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    reason = ddp.refuses(count, ddp.Options(), device)
    assert (reason is None) == fits
    assert fits or reason.startswith(f"got ddp:{count} from {device if ':' in device else 'cuda:0'} on, wanted at most")


@pytest.mark.parametrize(
    ("values", "says"),
    [({"bucket_mb": 0.0}, "got bucket_mb = 0, wanted MiB above 0"), ({"threads": -1}, "got threads = -1, wanted")],
)
def test_options_are_checked(values, says):
    with pytest.raises(UsageError, match=says):
        ddp.Options(**values)


@pytest.mark.parametrize(("cores", "threads", "each"), [(8, 0, 4), (1, 0, 1), (8, 3, 3)])
def test_cores_are_shared_out_evenly_unless_threads_are_given(cores, threads, each, monkeypatch):
    asked = {}
    monkeypatch.setattr(spread, "usable_cores", lambda: cores)
    monkeypatch.setattr(spread, "launch_ranks", lambda entry, world, **rest: asked.update(rest, world=world) or [])
    ddp.launch(partial(train, model=None), 2, ddp.Options(threads=threads), "cpu", ())
    assert (asked["world"], asked["threads"], asked["backend"]) == (2, each, "gloo")
