"""CIFAR-10 is read by torchvision, from files that are checked first."""

import hashlib
import pickle
import shutil
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.datasets import cifar10
from tnbench.datasets._files import Original


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A data root with files of CIFAR-10's layout that hold four pictures each, taken for the originals."""
    folder = tmp_path / cifar10.FOLDER
    folder.mkdir()
    for number, name in enumerate(cifar10.ORIGINALS):
        pixels = np.full((4, 3072), number, dtype=np.uint8)
        pixels[:, :1024] = 100
        batch = {"data": pixels, "labels": [0, 1, 2, number]}
        (folder / name).write_bytes(pickle.dumps({"label_names": list("abcdefghij")} if "meta" in name else batch))
    toys = {name: fingerprint(folder / name) for name in cifar10.ORIGINALS}
    monkeypatch.setattr(cifar10, "ORIGINALS", toys)
    reader = torchvision.datasets.CIFAR10
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(reader, part, [[name, toys[name].md5] for name, _ in getattr(reader, part)])
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": toys["batches.meta"].md5})
    return tmp_path


def fingerprint(file):
    return Original(file.stat().st_size, hashlib.md5(file.read_bytes()).hexdigest())


def test_the_originals_are_torchvisions():
    reader = torchvision.datasets.CIFAR10
    known = dict([*reader.train_list, *reader.test_list, [reader.meta["filename"], reader.meta["md5"]]])
    assert {name: original.md5 for name, original in cifar10.ORIGINALS.items()} == known
    assert reader.base_folder == cifar10.FOLDER


def test_pictures_come_in_order_with_their_channels_first(toy):
    pictures = cifar10.load("cifar10", cifar10.Options(), toy)
    assert pictures.train.shape == (20, 3, 32, 32)
    assert pictures.train.is_contiguous()
    assert (pictures.train[:, 0] == 100).all()
    assert pictures.train[:, 1:].amin((1, 2, 3)).tolist() == [number for number in range(5) for _ in range(4)]
    assert pictures.train_labels[3::4].tolist() == [0, 1, 2, 3, 4]
    assert pictures.test_labels.tolist() == [0, 1, 2, 5]
    assert pictures.digest == cifar10.digest("cifar10", None, toy)


def test_a_truncated_file_is_named_by_the_digest_already(toy):
    file = toy / cifar10.FOLDER / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-1])
    for call in (cifar10.digest, cifar10.load):
        with pytest.raises(UsageError, match=f"{file} is truncated or damaged"):
            call("cifar10", None, toy)


def test_without_a_network_fetching_says_what_failed(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", offline)
    with pytest.raises(TnbenchError, match=r"cifar10 could not be fetched into .*no network"):
        cifar10.fetch("cifar10", None, tmp_path)


def test_fetching_what_is_there_checks_it(toy):
    cifar10.fetch("cifar10", None, toy)


def test_a_damaged_download_is_told(toy, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", lambda *args, **kwargs: None)
    file = toy / cifar10.FOLDER / "test_batch"
    file.write_bytes(b"")
    with pytest.raises((UsageError, TnbenchError), match="cifar10"):
        cifar10.fetch("cifar10", None, toy)


def test_real_pictures(cifar10):
    from tnbench.datasets import cifar10 as plugin

    pictures = plugin.load("cifar10", plugin.Options(), cifar10)
    assert (len(pictures.train), len(pictures.test)) == (50_000, 10_000)
    scaled = pictures.train[:10_000].double() / 255
    assert torch.allclose(scaled.mean((0, 2, 3)), torch.tensor(pictures.normalisation.mean).double(), atol=5e-3)
    assert torch.allclose(scaled.std((0, 2, 3)), torch.tensor(pictures.normalisation.std).double(), atol=5e-3)


def test_a_real_file_cut_short(cifar10, tmp_path):
    from tnbench.datasets import cifar10 as plugin

    shutil.copytree(cifar10 / plugin.FOLDER, tmp_path / plugin.FOLDER, copy_function=shutil.os.symlink)
    file = tmp_path / plugin.FOLDER / "data_batch_1"
    content = file.read_bytes()[:1_000_000]
    file.unlink()
    file.write_bytes(content)
    with pytest.raises(UsageError, match="got 1,000,000 bytes, wanted 31,035,704"):
        plugin.digest("cifar10", None, tmp_path)
