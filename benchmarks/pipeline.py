"""Training pictures per second: tnbench's pipeline on the device beside torchvision's DataLoader, in turns, in one run.

    python -m benchmarks.pipeline [--data-root DIR] [--rounds 7] [--batches 100] [--workers 2] [--device cpu]

CIFAR-10 at batch 128 with crops of 4 pixels' padding, flips and the normalisation, up to float32 batches on the device.
Without a data root the pictures are random ones of the same shape. The DataLoader has `--workers` processes, which live
on from round to round, and torchvision.transforms.v2 on each picture, as its tutorials do. One round takes the same
number of batches from either side; the first round does not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from tnbench.core.protocols import Augmentation, Normalisation, Recipe
from tnbench.engine.batches import Batches, batches
from tnbench.engine.normalisation import NORMALISATIONS
from tnbench.measure.clock import synchronise
from tnbench.measure.statistics import Estimate, median_interval, ratio_interval

BATCH = 128
NORMAL = NORMALISATIONS["cifar10"]


class Pictured(Dataset[tuple[Tensor, Tensor]]):
    """Pictures (N, 3, 32, 32), uint8, transformed one by one as a worker comes to them."""

    def __init__(self, pictures: Tensor, labels: Tensor, normal: Normalisation) -> None:
        self.pictures, self.labels = pictures, labels
        self.transform = v2.Compose(
            [
                v2.RandomCrop(32, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(normal.mean, normal.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.pictures[index]), self.labels[index]


def main() -> None:
    asked = _arguments()
    device = torch.device(asked.device)
    pictures, labels, what = _pictures(asked.data_root)
    sides = {
        "tnbench": _ours(pictures, labels, device),
        f"DataLoader, {asked.workers} workers": _theirs(pictures, labels, device, asked.workers),
    }
    print(f"{what}, batch {BATCH}, {asked.batches} batches a round, {asked.rounds} rounds, {_where(device)}")
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(asked.rounds + 1):
        for name, stream in list(sides.items())[:: 1 if number % 2 else -1]:
            seconds = _timed(lambda stream=stream: [next(stream) for _ in range(asked.batches)], device)
            if number:
                rates[name].append(asked.batches * BATCH / seconds)
    for name, samples in rates.items():
        print(f"{name:<24} {_shown(median_interval(samples), ',.0f')} pictures/s")
    print(f"{'ratio':<24} {_shown(ratio_interval(*rates.values()), '.2f')}")


def _ours(pictures: Tensor, labels: Tensor, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    augmentation = Augmentation(crop=4, flip=True)
    data = Batches(pictures.to(device), labels.to(device), NORMAL, augmentation, torch.float32)
    recipe = Recipe(epochs=1_000_000, lr=0.1, batch_size=BATCH, momentum=0.9, weight_decay=0.0, seed=0)
    for epoch in range(recipe.epochs):
        for indices in batches(len(data), recipe, epoch):
            yield data.batch(indices, recipe, epoch)


def _theirs(pictures: Tensor, labels: Tensor, device: torch.device, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    loader = DataLoader(
        Pictured(pictures, labels, NORMAL),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    while True:
        for batch, wanted in loader:
            yield batch.to(device, non_blocking=True), wanted.to(device, non_blocking=True)


def _timed(call: Callable[[], object], device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    call()
    synchronise(device)
    return time.perf_counter() - start


def _pictures(root: Path | None) -> tuple[Tensor, Tensor, str]:
    if root is None:
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randint(256, (50_000, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return pictures, torch.zeros(50_000, dtype=torch.int64), "random pictures of CIFAR-10's shape"
    from tnbench.datasets import cifar10

    loaded = cifar10.load("cifar10", cifar10.Options(), root)
    assert isinstance(loaded.train, Tensor)
    return loaded.train, loaded.train_labels, "CIFAR-10"


def _where(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads on the CPU"


def _shown(estimate: Estimate, form: str) -> str:
    value, low, high, _ = estimate
    interval = "" if low is None or high is None else f" [{low:{form}}, {high:{form}}]"
    return f"{value:>10{form}}{interval}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, help="torchvision's data root with CIFAR-10")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
