"""Validation pictures are split off the training pictures by seed and class, and can be told by a digest."""

import pytest
import torch

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.engine.validation import split_digest, split_off_validation

LABELS = torch.arange(1000) % 7


@pytest.mark.parametrize("given", [LABELS, 1000])
def test_the_parts_are_disjoint_in_order_and_all_there_is(given):
    stay, split_off = split_off_validation(given, seed=0)
    assert (len(stay), len(split_off)) == (900, 100)
    assert torch.equal(torch.cat([stay, split_off]).sort().values, torch.arange(1000))
    assert torch.equal(stay, stay.sort().values)
    assert torch.equal(split_off, split_off.sort().values)


def test_every_class_gives_its_share_to_within_one_picture():
    labels = torch.cat([torch.zeros(500), torch.ones(30), torch.full((470,), 2)]).long()
    _, split_off = split_off_validation(labels, seed=0, share=0.2)
    counts = labels[split_off].bincount()
    assert all(abs(int(got) - wanted) <= 1 for got, wanted in zip(counts, (100, 6, 94), strict=True))


def test_the_seed_decides():
    first, again, other = (split_off_validation(LABELS, seed=seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert split_digest(first) == split_digest(again) != split_digest(other)


def test_the_smallest_data_set_gives_one_picture_to_each_part():
    stay, split_off = split_off_validation(2, seed=0)
    assert (len(stay), len(split_off)) == (1, 1)
    assert [len(part) for part in split_off_validation(2, seed=0, share=0.99)] == [1, 1]


def test_what_cannot_be_split_is_told():
    with pytest.raises(UsageError, match=r"got a share of 1, wanted one between 0 and 1"):
        split_off_validation(10, seed=0, share=1)
    with pytest.raises(NotApplicable, match=r"takes two training pictures at least, got 1; raise limit_train"):
        split_off_validation(1, seed=0)
