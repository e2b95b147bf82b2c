"""CIFAR-100 shares CIFAR-10's reader: its originals are torchvision's, and the labels are the fine ones."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
import torchvision

from tnbench.core.errors import UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.protocols import Augmentation
from tnbench.core.registry import Registry
from tnbench.datasets import cifar100
from tnbench.datasets._files import Original

READER = torchvision.datasets.CIFAR100


def test_the_originals_are_torchvisions():
    known = dict([*READER.train_list, *READER.test_list, [READER.meta["filename"], READER.meta["md5"]]])
    assert {name: original.md5 for name, original in cifar100.ORIGINALS.items()} == known
    assert READER.base_folder == cifar100.FOLDER


def test_labels_are_fine_and_options_augment(tmp_path, monkeypatch):
    folder = tmp_path / cifar100.FOLDER
    folder.mkdir()
    batch = {"data": np.zeros((3, 3072), dtype=np.uint8), "fine_labels": [99, 0, 7], "coarse_labels": [1, 2, 3]}
    for name in cifar100.ORIGINALS:
        (folder / name).write_bytes(pickle.dumps({"fine_label_names": ["a"]} if name == "meta" else batch))
    toys = {
        name: Original((folder / name).stat().st_size, hashlib.md5((folder / name).read_bytes()).hexdigest())
        for name in cifar100.ORIGINALS
    }
    monkeypatch.setattr(cifar100, "ORIGINALS", toys)
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(READER, part, [[name, toys[name].md5] for name, _ in getattr(READER, part)])
    monkeypatch.setattr(READER, "meta", READER.meta | {"md5": toys["meta"].md5})
    bound = Registry().bind("dataset", parse_part("dataset", "cifar100[crop=2,pad=reflect,cutout=8]")[0])
    pictures = cifar100.load("cifar100", bound.options, tmp_path)
    assert pictures.train_labels.tolist() == [99, 0, 7]
    assert pictures.classes == 100
    assert pictures.augmentation == Augmentation(crop=2, flip=True, pad="reflect", cutout=8)
    assert cifar100.load("cifar100", cifar100.Options(), tmp_path).augmentation == Augmentation(crop=4, flip=True)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("crop=-1", "cifar100: got crop=-1, wanted pixels from 0 on"),
        ("crop=32", "cifar100: got crop=32, wanted less than the 32 pixels of a side: a crop may leave"),
        ("crop=40,pad=reflect", "got crop=40, wanted less than the 32 pixels"),
        ("cutout=64", "got cutout=64, wanted less than 64 pixels: such a square covers all of the picture"),
        ("pad=reflekt", "no value is named 'reflekt'; the nearest is 'reflect'"),
    ],
)
def test_options_that_make_no_sense_are_refused(option, says):
    with pytest.raises(UsageError, match=says):
        Registry().bind("dataset", parse_part("dataset", f"cifar100[{option}]")[0])


def test_real_pictures(cifar100):
    from tnbench.datasets import cifar100 as plugin

    pictures = plugin.load("cifar100", plugin.Options(), cifar100)
    assert pictures.train_labels.bincount().tolist() == [500] * 100
    assert pictures.test_labels.bincount().tolist() == [100] * 100
    scaled = pictures.train[:10_000].double() / 255
    assert torch.allclose(scaled.mean((0, 2, 3)), torch.tensor(pictures.normalisation.mean).double(), atol=5e-3)
