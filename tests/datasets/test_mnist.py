"""MNIST is read by torchvision's readers, plain or gzipped, without writing into the data root."""

import gzip
import hashlib
import struct
from urllib.error import URLError

import pytest
import torch
import torchvision

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.datasets import mnist as plugin
from tnbench.datasets._files import Original

SIZES = {"train": 6, "t10k": 2}


def idx(name):
    """An idx file's bytes: pictures of which number i is filled with i, labelled i."""
    n = SIZES[name.partition("-")[0]]
    if "labels" in name:
        return struct.pack(">ii", 2049, n) + bytes(range(n))
    return struct.pack(">iiii", 2051, n, 28, 28) + b"".join(bytes([number]) * 784 for number in range(n))


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A function that writes a data root with files of MNIST's layout, taken for the originals."""
    texts = {name: idx(name) for name in plugin.ORIGINALS}
    originals = {name: Original(len(text), hashlib.md5(text).hexdigest()) for name, text in texts.items()}
    monkeypatch.setattr(plugin, "ORIGINALS", originals)

    def write(label, packed):
        folder = tmp_path / label / plugin.FOLDER
        folder.mkdir(parents=True)
        for name, text in texts.items():
            file = folder / (f"{name}.gz" if packed else name)
            file.write_bytes(gzip.compress(text) if packed else text)
        return tmp_path / label

    return write


def test_plain_and_gzipped_files_give_the_same(toy):
    plain, packed = toy("plain", packed=False), toy("packed", packed=True)
    first, second = (plugin.load("mnist", None, root) for root in (plain, packed))
    assert first.digest == second.digest == plugin.digest("mnist", None, packed)
    assert first.train.shape == (6, 1, 28, 28)
    assert torch.equal(first.train, second.train)
    assert second.train[:, 0, 5, 5].tolist() == second.train_labels.tolist() == list(range(6))
    assert second.test[:, 0, 5, 5].tolist() == second.test_labels.tolist() == [0, 1]


def test_reading_gzipped_files_writes_nothing_into_the_data_root(toy):
    root = toy("packed", packed=True)
    before = sorted(root.rglob("*"))
    plugin.load("mnist", None, root)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_file_is_named_by_the_digest_already(toy, packed):
    root = toy("root", packed)
    file = root / plugin.FOLDER / f"t10k-images-idx3-ubyte{'.gz' if packed else ''}"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(UsageError, match=f"{file} is truncated or damaged"):
        plugin.digest("mnist", None, root)


def test_without_a_network_fetching_says_what_failed(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", offline)
    with pytest.raises(TnbenchError, match=r"(?s)mnist could not be fetched into .*no network"):
        plugin.fetch("mnist", None, tmp_path)


def test_fetching_what_is_there_downloads_nothing(toy, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", None)
    plugin.fetch("mnist", None, toy("packed", packed=True))


def test_real_pictures(mnist):
    pictures = plugin.load("mnist", None, mnist)
    assert (len(pictures.train), len(pictures.test)) == (60_000, 10_000)
    scaled = pictures.train[:20_000].double() / 255
    assert float(scaled.mean()) == pytest.approx(pictures.normalisation.mean[0], abs=2e-3)
    assert float(scaled.std()) == pytest.approx(pictures.normalisation.std[0], abs=2e-3)
