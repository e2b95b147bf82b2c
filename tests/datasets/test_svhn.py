"""SVHN is read by torchvision from two or three .mat files, and labelled with the digits themselves."""

import hashlib

import numpy as np
import pytest
import torchvision
from scipy.io import savemat

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Augmentation
from tnbench.datasets import svhn
from tnbench.datasets._files import Original

READER = torchvision.datasets.SVHN


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A data root with files of SVHN's layout, taken for the originals: picture i is filled with i."""
    originals, splits = {}, {}
    for half, n in (("train", 4), ("test", 2), ("extra", 3)):
        file = tmp_path / f"{half}_32x32.mat"
        pixels = np.broadcast_to(np.arange(n, dtype=np.uint8), (32, 32, 3, n))
        savemat(file, {"X": pixels, "y": np.array([10, 1, 2, 9][:n], dtype=np.uint8)[:, None]})
        originals[file.name] = Original(file.stat().st_size, hashlib.md5(file.read_bytes()).hexdigest())
        splits[half] = ["http://nowhere", file.name, originals[file.name].md5]
    monkeypatch.setattr(svhn, "ORIGINALS", originals)
    monkeypatch.setattr(READER, "split_list", splits)
    return tmp_path


def test_the_originals_are_torchvisions():
    known = {file: md5 for _, file, md5 in READER.split_list.values()}
    assert {name: original.md5 for name, original in svhn.ORIGINALS.items()} == known


def test_ten_stands_for_zero_and_pictures_have_their_channels_first(toy):
    pictures = svhn.load("svhn", svhn.Options(), toy)
    assert pictures.train.shape == (4, 3, 32, 32)
    assert pictures.train[:, 2, 9, 9].tolist() == [0, 1, 2, 3]
    assert pictures.train_labels.tolist() == [0, 1, 2, 9]
    assert pictures.test_labels.tolist() == [0, 1]
    assert pictures.augmentation == Augmentation()


def test_the_extra_pictures_come_behind_and_change_the_digest(toy):
    plain, extra = svhn.Options(), svhn.Options(bare=("extra",))
    assert svhn.load("svhn", extra, toy).train_labels.tolist() == [0, 1, 2, 9, 0, 1, 2]
    assert svhn.digest("svhn", plain, toy) != svhn.digest("svhn", extra, toy)
    (toy / "extra_32x32.mat").unlink()
    svhn.digest("svhn", plain, toy)
    with pytest.raises(UsageError, match=r"1 of 3 files are not under the data root"):
        svhn.digest("svhn", extra, toy)


def test_no_other_bare_option_is_known():
    with pytest.raises(UsageError, match="svhn: got the bare option 'xtra', wanted 'extra' once or none"):
        svhn.Options(bare=("xtra",))
