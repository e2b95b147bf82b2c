"""What MNIST and Fashion-MNIST share: four idx files, plain or gzipped, read by torchvision's readers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tnbench.core.protocols import Pictures, Wanted
from tnbench.core.settings import digest_of
from tnbench.datasets._files import Original, check, download, look_for, open_plain
from tnbench.engine.normalisation import NORMALISATIONS

if TYPE_CHECKING:
    from torch import Tensor

Originals = Mapping[str, Original]


def load(name: str, root: Path, folder: Path, originals: Originals) -> Pictures:
    """All pictures, uint8 (N, 1, 28, 28). No augmentation."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    files = check(name, root, wanted(root, folder, originals), originals)
    return Pictures(
        train=_read(read_image_file, files["train-images-idx3-ubyte"]).unsqueeze(1),
        train_labels=_read(read_label_file, files["train-labels-idx1-ubyte"]),
        test=_read(read_image_file, files["t10k-images-idx3-ubyte"]).unsqueeze(1),
        test_labels=_read(read_label_file, files["t10k-labels-idx1-ubyte"]),
        classes=10,
        digest=digest_of({name: originals}),
        normalisation=NORMALISATIONS[name],
    )


def digest(name: str, root: Path, folder: Path, originals: Originals) -> str:
    """The digest of the originals, the same for plain and gzipped files, once each file's content is checked."""
    check(name, root, wanted(root, folder, originals), originals)
    return digest_of({name: originals})


def wanted(root: Path, folder: Path, originals: Originals) -> Sequence[Wanted]:
    """Each of the files, as it is or with ``.gz``."""
    return look_for(root / folder, list(originals), gzipped=True)


def fetch(name: str, root: Path, reader: Any, folder: Path, originals: Originals) -> None:
    """Download and unpack the files with torchvision's `reader` unless all are there, then check each."""
    if any(file.found is None for file in wanted(root, folder, originals)):
        download(name, root, f"the files of {reader.mirrors[0]}", lambda: reader(root, download=True))
    check(name, root, wanted(root, folder, originals), originals)


def _read(reader: Callable[[str], Tensor], path: Path) -> Tensor:
    """Read an idx file with torchvision's `reader`, which takes plain files only: a gzipped one is unpacked aside."""
    if path.suffix != ".gz":
        return reader(str(path))
    with TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        with open_plain(path) as packed, plain.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        return reader(str(plain))
