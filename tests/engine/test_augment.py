"""Augmentation depends on seed, epoch and picture alone, cuts where it says, and flips half of the pictures."""

import pytest
import torch

from tnbench.core.protocols import Augmentation
from tnbench.engine.augment import augment, cut_out

STANDARD = Augmentation(crop=4, flip=True)


def pictures(n, channels=3, side=8):
    generator = torch.Generator().manual_seed(n)
    return torch.randint(1, 256, (n, channels, side, side), dtype=torch.uint8, generator=generator)


def augmented(batch, indices=None, *, seed=0, epoch=0, augmentation=STANDARD):
    indices = torch.arange(len(batch)) if indices is None else indices
    return augment(batch, indices, seed=seed, epoch=epoch, augmentation=augmentation)


def test_nothing_asked_nothing_done():
    batch = pictures(5)
    assert augmented(batch, augmentation=Augmentation()) is batch


def test_a_picture_does_not_depend_on_its_batch():
    batch = pictures(64)
    whole = augmented(batch)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    parts = torch.cat([augmented(batch[part], part) for part in order.split(7)])
    assert torch.equal(parts, whole[order])


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}])
def test_seed_and_epoch_matter(other):
    batch = pictures(16)
    assert not torch.equal(augmented(batch), augmented(batch, **other))


def test_the_global_generator_neither_matters_nor_moves():
    batch = pictures(16)
    torch.manual_seed(1)
    first, state = augmented(batch), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(augmented(batch), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_every_result_is_a_crop_of_the_black_padded_picture():
    batch = pictures(40, channels=2)
    padded = torch.nn.functional.pad(batch, [2] * 4)
    for before, after in zip(padded, augmented(batch, augmentation=Augmentation(crop=2)), strict=True):
        crops = [before[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
        assert sum(torch.equal(crop, after) for crop in crops) == 1


def test_every_place_comes_equally_often():
    spots = torch.zeros(9000, 1, 5, 5, dtype=torch.uint8)
    spots[:, 0, 2, 2] = 1
    counts = augmented(spots, augmentation=Augmentation(crop=1)).long().sum((0, 1))[1:4, 1:4]
    chi_square = float(((counts - 1000) ** 2 / 1000).sum())
    assert int(counts.sum()) == 9000
    assert chi_square < 26.1, "the chance of more, with 8 degrees of freedom, is 1 in 1,000"


def test_half_of_the_pictures_are_mirrored():
    batch = pictures(10_000, channels=1, side=3)
    after = augmented(batch, augmentation=Augmentation(flip=True))
    mirrored = (after == batch.flip(3)).flatten(1).all(1)
    same = (after == batch).flatten(1).all(1)
    assert bool((mirrored | same).all())
    assert abs(int(mirrored.sum()) - 5000) < 165, "3.3 standard deviations"


def test_crop_and_flip_are_independent():
    spots = torch.zeros(8000, 1, 3, 4, dtype=torch.uint8)
    spots[:, 0, 1, 0] = 1
    after = augmented(spots, augmentation=Augmentation(crop=1, flip=True))
    rows = after.sum((1, 3)).argmax(1)
    seen = after.sum((1, 2, 3)) > 0
    right = after[..., 2:].sum((1, 2, 3)) > 0
    for row in range(3):
        share = right[seen & (rows == row)].double().mean()
        assert abs(float(share) - 0.5) < 0.06, f"share of mirrored pictures among those in row {row}"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_same_on_a_gpu():
    batch = pictures(64)
    indices = torch.arange(64)
    assert torch.equal(augmented(batch.cuda(), indices).cpu(), augmented(batch, indices))


def test_a_reflecting_crop_is_one_of_the_mirrored_picture():
    batch = pictures(40, channels=2)
    padded = torch.nn.functional.pad(batch.float(), [3] * 4, mode="reflect").byte()
    for before, after in zip(padded, augmented(batch, augmentation=Augmentation(crop=3, pad="reflect")), strict=True):
        crops = [before[:, y : y + 8, x : x + 8] for y in range(7) for x in range(7)]
        assert any(torch.equal(crop, after) for crop in crops)


def test_black_and_reflecting_crops_are_cut_at_the_same_places():
    batch = pictures(30)
    black, mirrored = (augmented(batch, augmentation=Augmentation(crop=2, flip=True, pad=pad)) for pad in PADS)
    inside = black > 0  # pictures have no black pixel
    assert torch.equal(black[inside], mirrored[inside])
    assert bool((mirrored > 0).all())


PADS = ("zeros", "reflect")


def test_cutout_sets_one_square_to_the_mean_colour():
    batch = torch.ones(500, 2, 12, 10)
    after = cut_out(batch, torch.arange(500), 5, seed=0, epoch=0)
    holes = after == 0
    assert torch.equal(holes[:, 0], holes[:, 1])
    rows, columns = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert torch.equal(holes[:, 0].sum((1, 2)), rows * columns)
    assert set(rows.tolist()) == set(columns.tolist()) == {3, 4, 5}, "smaller where a border cuts it off"
    assert bool((batch == 1).all())


def test_cutout_is_drawn_from_seed_epoch_and_picture():
    batch, indices = torch.ones(64, 1, 8, 8), torch.arange(64)
    whole = cut_out(batch, indices, 4, seed=0, epoch=0)
    assert torch.equal(cut_out(batch[:9], indices[40:49], 4, seed=0, epoch=0), whole[40:49])
    for other in ({"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}):
        assert not torch.equal(cut_out(batch, indices, 4, **other), whole)
    assert cut_out(batch, indices, 0, seed=0, epoch=0) is batch
