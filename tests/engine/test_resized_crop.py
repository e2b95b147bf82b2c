"""Random parts are drawn as torchvision draws them, from seed, epoch and picture alone, and resized as torch does."""

import math

import pytest
import torch
from torch.nn import functional

from tnbench.core.protocols import Augmentation
from tnbench.engine.augment import augment
from tnbench.engine.resized_crop import drawn_parts, resize_parts


def parts_of(n, height, width, least=0.08, seed=0, epoch=0):
    sides = torch.full((n,), height), torch.full((n,), width)
    return drawn_parts(torch.arange(n), *sides, least, seed=seed, epoch=epoch)


def test_parts_lie_in_the_picture_with_the_area_and_aspect_asked_for():
    top, left, height, width = parts_of(5000, 375, 500).double().unbind(1)
    assert bool(((top >= 0) & (left >= 0) & (top + height <= 375) & (left + width <= 500)).all())
    share = height * width / (375 * 500)
    assert 0.07 < float(share.min()) < 0.1
    assert float(share.max()) > 0.95
    aspect = width / height
    assert 0.73 < float(aspect.min()) < 0.77
    assert 1.3 < float(aspect.max()) < 1.37


def test_the_distribution_is_torchvisions():
    from torchvision.transforms import RandomResizedCrop

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        picture = torch.zeros(3, 60, 80, dtype=torch.uint8)
        given = [RandomResizedCrop.get_params(picture, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(3000)]
    theirs, ours = torch.tensor(given).double(), parts_of(3000, 60, 80).double()
    error = ((theirs.var(0) + ours.var(0)) / 3000).sqrt()
    assert bool(((theirs.mean(0) - ours.mean(0)).abs() < 4 * error).all())
    assert torch.allclose(theirs.std(0), ours.std(0), rtol=0.06)


def test_a_part_that_cannot_be_had_becomes_the_largest_central_one_of_a_fair_aspect():
    (part,) = parts_of(1, 10, 1000, least=1.0).tolist()
    assert part == [0, (1000 - 13) // 2, 10, 13]
    (part,) = parts_of(1, 1000, 30, least=1.0).tolist()
    assert part == [(1000 - 40) // 2, 0, 40, 30]


def test_a_part_does_not_depend_on_its_batch_but_on_seed_epoch_and_picture():
    whole = parts_of(50, 40, 40)
    sides = torch.full((5,), 40)
    some = drawn_parts(torch.tensor([7, 3, 49, 0, 20]), sides, sides, 0.08, seed=0, epoch=0)
    assert torch.equal(some, whole[[7, 3, 49, 0, 20]])
    for other in ({"seed": 1}, {"epoch": 1}):
        assert not torch.equal(parts_of(50, 40, 40, **other), whole)
    assert len({tuple(part) for part in whole.tolist()}) > 40


def test_parts_are_resized_as_torch_resizes_them():
    """A level apart where torch rounds its intermediate rows to whole levels."""
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (20, 3, 24, 32), dtype=torch.uint8, generator=generator)
    parts = parts_of(20, 24, 32)
    resized = resize_parts(batch, parts)
    assert resized.dtype == torch.uint8
    for picture, (top, left, height, width), got in zip(batch, parts.tolist(), resized, strict=True):
        part = picture[None, :, top : top + height, left : left + width].float()
        wanted = functional.interpolate(part, (24, 32), mode="bilinear", antialias=True)[0]
        assert float((got.float() - wanted).abs().max()) <= 0.501


def test_the_whole_picture_is_left_as_it_is():
    batch = torch.randint(0, 256, (4, 2, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize_parts(batch, torch.tensor([[0, 0, 9, 9]]).repeat(4, 1)), batch)


def test_augmenting_takes_parts_first():
    batch = torch.zeros(400, 1, 16, 16, dtype=torch.uint8)
    batch[..., 8:] = 200
    seen = augment(batch, torch.arange(400), seed=0, epoch=0, augmentation=Augmentation(resized=0.08))
    assert seen.shape == batch.shape
    means = seen.double().mean((1, 2, 3))
    assert float(means.min()) == 0, "a part that lies in the dark half"
    assert float(means.max()) == pytest.approx(200), "one in the bright half"
    assert math.isclose(float(means.mean()), 100, abs_tol=12)
