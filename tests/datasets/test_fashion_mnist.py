"""Fashion-MNIST has MNIST's files in a folder of its own; what is packed is held against what torchvision knows."""

import gzip
import hashlib
import struct

import pytest
from torchvision.datasets import FashionMNIST

from tnbench.core.errors import UsageError
from tnbench.datasets import fashion_mnist, mnist
from tnbench.datasets._files import Original


def test_the_files_are_torchvisions_in_its_folder():
    assert {f"{name}.gz" for name in fashion_mnist.ORIGINALS} == {name for name, _ in FashionMNIST.resources}
    assert fashion_mnist.FOLDER.parts == (FashionMNIST.__name__, "raw")


def test_it_is_no_mnist():
    md5s = [{original.md5 for original in plugin.ORIGINALS.values()} for plugin in (mnist, fashion_mnist)]
    assert not md5s[0] & md5s[1]
    sizes = [[original.size for original in plugin.ORIGINALS.values()] for plugin in (mnist, fashion_mnist)]
    assert sizes[0] == sizes[1]


def test_packed_files_are_read_and_damaged_ones_named(tmp_path, monkeypatch):
    folder = tmp_path / fashion_mnist.FOLDER
    folder.mkdir(parents=True)
    originals = {}
    for name in fashion_mnist.ORIGINALS:
        n = 3 if "train" in name else 2
        head = struct.pack(">ii", 2049, n) if "labels" in name else struct.pack(">iiii", 2051, n, 28, 28)
        text = head + bytes(range(n)) * (1 if "labels" in name else 784)
        originals[name] = Original(len(text), hashlib.md5(text).hexdigest())
        (folder / f"{name}.gz").write_bytes(gzip.compress(text))
    monkeypatch.setattr(fashion_mnist, "ORIGINALS", originals)
    pictures = fashion_mnist.load("fashion_mnist", None, tmp_path)
    assert pictures.train.shape == (3, 1, 28, 28)
    assert pictures.test_labels.tolist() == [0, 1]
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"fashion_mnist: .*t10k-labels-idx1-ubyte.gz is truncated or damaged"):
        fashion_mnist.digest("fashion_mnist", None, tmp_path)
