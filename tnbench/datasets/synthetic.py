"""Random pictures and labels of any shape, for timing only: accuracies on them mean nothing and are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Pictures, Wanted
from tnbench.core.settings import digest_of
from tnbench.engine.normalisation import NORMALISATIONS

VERSION = 1


@dataclass(frozen=True)
class Options:
    """`shape` is (C, H, W); `train` and `test` are numbers of pictures."""

    shape: tuple[int, ...] = (3, 32, 32)
    classes: int = 10
    train: int = 2048
    test: int = 512

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            sides = "x".join(map(str, self.shape))
            raise UsageError(f"synthetic: got shape={sides}, wanted channels, height and width such as 3x32x32")
        for option in ("classes", "train", "test"):
            if getattr(self, option) < 1:
                raise UsageError(f"synthetic: got {option}={getattr(self, option)}, wanted a whole number from 1 on")


def load(name: str, options: Options, root: Path) -> Pictures:
    """Uniformly random pixels and labels, always the same ones for the same options."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def pictures(n: int) -> torch.Tensor:
        return torch.randint(256, (n, *options.shape), dtype=torch.uint8, generator=generator)

    def labels(n: int) -> torch.Tensor:
        return torch.randint(options.classes, (n,), generator=generator)

    return Pictures(
        train=pictures(options.train),
        train_labels=labels(options.train),
        test=pictures(options.test),
        test_labels=labels(options.test),
        classes=options.classes,
        digest=digest(name, options, root),
        normalisation=NORMALISATIONS["half"],
        meaningful=False,
    )


def digest(name: str, options: Options, root: Path) -> str:
    """The digest of the options, which determine every pixel."""
    return digest_of({name: asdict(options)})


def wanted(name: str, options: Options, root: Path) -> Sequence[Wanted]:
    """None: the pictures are made up."""
    return ()


def fetch(name: str, options: Options, root: Path) -> None:
    """Nothing to do."""
