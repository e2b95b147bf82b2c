"""MNIST: 60,000 + 10,000 handwritten digits of 28x28 pixels (LeCun, Cortes, Burges)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tnbench.core.protocols import Pictures, Wanted
from tnbench.core.settings import digest_of
from tnbench.datasets._files import Original, check, download, look_for, open_plain
from tnbench.engine.normalisation import NORMALISATIONS

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1

FOLDER = Path("MNIST") / "raw"

ORIGINALS = {
    "train-images-idx3-ubyte": Original(47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": Original(60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": Original(7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": Original(10_008, "27ae3e4e09519cfbb04c329615203637"),
}
"""The idx files, in torchvision's layout, each of them plain or gzipped."""


def load(name: str, options: Any, root: Path) -> Pictures:
    """All pictures, uint8 (N, 1, 28, 28). No augmentation."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    files = check(name, root, wanted(name, options, root), ORIGINALS)
    return Pictures(
        train=_read(read_image_file, files["train-images-idx3-ubyte"]).unsqueeze(1),
        train_labels=_read(read_label_file, files["train-labels-idx1-ubyte"]),
        test=_read(read_image_file, files["t10k-images-idx3-ubyte"]).unsqueeze(1),
        test_labels=_read(read_label_file, files["t10k-labels-idx1-ubyte"]),
        classes=10,
        digest=_digest(name),
        normalisation=NORMALISATIONS["mnist"],
    )


def digest(name: str, options: Any, root: Path) -> str:
    """The digest of the originals, the same for plain and gzipped files, once each file's content is checked."""
    check(name, root, wanted(name, options, root), ORIGINALS)
    return _digest(name)


def wanted(name: str, options: Any, root: Path) -> Sequence[Wanted]:
    """The four files of ``MNIST/raw/``."""
    return look_for(root / FOLDER, list(ORIGINALS), gzipped=True)


def fetch(name: str, options: Any, root: Path) -> None:
    """Download and unpack the files with torchvision unless all are there, then check each."""
    from torchvision.datasets import MNIST

    if any(file.found is None for file in wanted(name, options, root)):
        download(name, root, f"the files of {MNIST.mirrors[0]}", lambda: MNIST(root, download=True))
    check(name, root, wanted(name, options, root), ORIGINALS)


def _digest(name: str) -> str:
    return digest_of({name: ORIGINALS})


def _read(reader: Callable[[str], Tensor], path: Path) -> Tensor:
    """Read an idx file with torchvision's `reader`, which takes plain files only: a gzipped one is unpacked aside."""
    if path.suffix != ".gz":
        return reader(str(path))
    with TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        with open_plain(path) as packed, plain.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        return reader(str(plain))
