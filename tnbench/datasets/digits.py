"""Handwritten digits of 8x8 pixels: the 1,797 that scikit-learn carries, 360 of them held out. No download."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnbench.core.errors import TnbenchError
from tnbench.core.protocols import Pictures, Wanted
from tnbench.core.settings import digest_of
from tnbench.engine.normalisation import NORMALISATIONS

if TYPE_CHECKING:
    import numpy as np

VERSION = 1

CLASSES = 10
HELD_OUT_PER_CLASS = 36
INK = 16


def load(name: str, options: Any, root: Path) -> Pictures:
    """1,437 pictures to train on and 360 held out, uint8 (N, 1, 8, 8).

    Test part of "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak 1998). Ink from 0 to 16 becomes a pixel
    from 0 to 255, rounded. Held out are 36 pictures of each class, evenly spaced in the file's order.
    """
    import numpy as np
    import torch

    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)
    pixels = ((table[:, :-1] * 255 + INK // 2) // INK).astype(np.uint8).reshape(-1, 1, 8, 8)
    pictures, labels = torch.from_numpy(pixels), torch.from_numpy(table[:, -1].copy())
    held_out = torch.from_numpy(_held_out(table[:, -1]))
    return Pictures(
        train=pictures[~held_out],
        train_labels=labels[~held_out],
        test=pictures[held_out],
        test_labels=labels[held_out],
        classes=CLASSES,
        digest=digest(name, options, root),
        normalisation=NORMALISATIONS["digits"],
    )


def digest(name: str, options: Any, root: Path) -> str:
    """The digest of the file's text and of the split."""
    text = gzip.decompress(_file().read_bytes())
    return digest_of({name: hashlib.sha256(text).hexdigest(), "held out per class": HELD_OUT_PER_CLASS})


def wanted(name: str, options: Any, root: Path) -> Sequence[Wanted]:
    """None: the pictures come with scikit-learn."""
    return ()


def fetch(name: str, options: Any, root: Path) -> None:
    """Nothing to do."""


def _file() -> Path:
    """Where scikit-learn keeps the pictures; found without importing it, which would take a second."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise TnbenchError(
            "digits: scikit-learn, which carries the pictures, is not installed; pip install scikit-learn"
        )
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"


def _held_out(labels: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    import numpy as np

    mask = np.zeros(len(labels), dtype=bool)
    for label in range(CLASSES):
        places = np.flatnonzero(labels == label)
        spaced = (2 * np.arange(HELD_OUT_PER_CLASS) + 1) * len(places) // (2 * HELD_OUT_PER_CLASS)
        mask[places[spaced]] = True
    return mask
