"""Batches of stored pictures are those of pictures in memory, read ahead in the order of the epochs."""

import pytest
import torch
from stored_pictures import write_pictures

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Augmentation, Normalisation, Recipe
from tnbench.engine.batches import Batches, batches, batches_per_epoch
from tnbench.engine.evaluate import count_correct, predict
from tnbench.engine.recalibrate import recalibrate

N = 30
RECIPE = Recipe(epochs=2, lr=0.1, batch_size=4, momentum=0.9, weight_decay=0.0, seed=5)
NORMAL = Normalisation((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
CPU = torch.device("cpu")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("TNBENCH_WORKERS", "0")
    return write_pictures(tmp_path, N)


def data_of(pictures, augmentation=Augmentation(crop=1, flip=True, cutout=2), **share):  # noqa: B008
    return Batches(pictures, torch.arange(N), NORMAL, augmentation, torch.float32, **share)


def all_batches(data, world=1, rank=0):
    shares = [(batch.tensor_split(world)[rank], epoch) for epoch in range(2) for batch in batches(N, RECIPE, epoch)]
    return [data.batch(share, RECIPE, epoch) for share, epoch in shares]


def same(some, others):
    return all(
        torch.equal(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_stored_pictures_give_the_batches_of_pictures_in_memory(files):
    whole = files[torch.arange(N)]
    assert same(all_batches(data_of(files)), all_batches(data_of(whole)))
    shares = (all_batches(data_of(pictures, rank=1, world=2), world=2, rank=1) for pictures in (files, whole))
    assert same(*shares)


def test_random_parts_are_taken_and_do_not_depend_on_who_reads(files, monkeypatch):
    augmentation = Augmentation(resized=0.2)
    here = all_batches(data_of(files, augmentation))
    assert not same(here, all_batches(data_of(files, Augmentation())))
    monkeypatch.setenv("TNBENCH_WORKERS", "2")
    data = data_of(files, augmentation)
    assert same(here, all_batches(data))
    assert data.wait_s > 0


def test_pictures_are_read_once_each_and_ahead(files):
    read = []

    class Counting(type(files)):
        def __getitem__(self, indices):
            read.append(indices.tolist())
            return super().__getitem__(indices)

    counting = Counting(files.folder, files.names, files.side, files.short)
    data = data_of(counting)
    all_batches(data)
    wanted = [batch.tolist() for epoch in range(2) for batch in batches(N, RECIPE, epoch)]
    assert read == wanted


def test_the_same_batch_again_and_others_out_of_turn_are_served(files):
    data, whole = data_of(files), data_of(files[torch.arange(N)])
    first, second, third, *_ = batches(N, RECIPE, 1)
    for asked in (first, first, second, first, third, torch.tensor([7, 3]), torch.tensor([7, 3]), second):
        assert same([data.batch(asked, RECIPE, 1)], [whole.batch(asked, RECIPE, 1)])


def test_pictures_in_memory_are_not_waited_for(files):
    data = data_of(files[torch.arange(N)])
    all_batches(data)
    assert data.wait_s == 0


def test_without_pictures_nothing_can_be_trained(files):
    with pytest.raises(NotApplicable, match="no training pictures here, so nothing can be trained; take training none"):
        batches_per_epoch(0, RECIPE)
    model = torch.nn.BatchNorm2d(3)
    none = files.subset(torch.arange(0))
    with pytest.raises(NotApplicable, match="training pictures, of which the data set has none here"):
        recalibrate(model, none, NORMAL, device=CPU, dtype=torch.float32, batch_size=4, seed=0)


def test_evaluation_and_recalibration_take_stored_pictures(files):
    whole = files[torch.arange(N)]
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(192, 4))
    given = {"device": CPU, "dtype": torch.float32, "batch_size": 7}
    scores = [predict(model, pictures, NORMAL, **given) for pictures in (files, whole)]
    assert torch.equal(*scores)
    labels = scores[0].argmax(1)
    assert count_correct(model, files, labels, NORMAL, **given) == N
    statistics = []
    for pictures in (files, whole):
        recalibrate(model, pictures, NORMAL, seed=1, augmentation=Augmentation(crop=1), **given)
        statistics.append(model[0].running_mean.clone())
    assert torch.equal(*statistics)
