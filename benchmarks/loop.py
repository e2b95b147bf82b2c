"""``python -m benchmarks.loop``: pictures per second of the training loop over those of steps on one ready batch.

Both train the same network in turns, an epoch and as many steps, so that what slows the machine slows both. The steps
get a batch that was cropped, flipped and normalised before: what the loop takes longer is shuffling, augmentation and
keeping count.
"""

from __future__ import annotations

import argparse
import copy
import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tnbench.core.case import Case
from tnbench.core.errors import TnbenchError
from tnbench.core.job import Job
from tnbench.core.protocols import Guide, Recipe
from tnbench.core.settings import Limits, Settings
from tnbench.distributed.crew import alone
from tnbench.engine.batches import Batches, batches
from tnbench.engine.loop import fit
from tnbench.engine.step import step_of
from tnbench.measure.clock import synchronise
from tnbench.measure.environment import device_model
from tnbench.measure.statistics import Estimate, median_interval, ratio_interval
from tnbench.stages.train import recipe_of
from tnbench.stages.workbench import Workbench

CASE = "dense/full/resnet20/cifar10/scratch/threads:1#0"
TARGET = 0.9

Clock = Callable[[], float]
CLOCKS: Mapping[str, Clock] = {"wall": time.perf_counter, "processor": time.process_time}


class Rounds(NamedTuple):
    """Pictures per second, one number a round."""

    loop: list[float]
    steps: list[float]


class Fixed(Batches):
    """Gives the same pictures at every step, made once."""

    def batch(self, indices: Tensor, recipe: Recipe, epoch: int) -> tuple[Tensor, Tensor]:
        if not hasattr(self, "made"):
            self.made = super().batch(indices, recipe, epoch)
        return self.made


class Timed(Guide):
    """Reads a clock at both ends of an epoch."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.seconds = clock, 0.0

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        self.seconds = -self.clock()
        return False

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        self.seconds += self.clock()


def measure(bench: Workbench, rounds: int, clock: Clock) -> Rounds:
    """Play one round that does not count, then `rounds`. Who goes first alternates."""
    sides = [_loop, _steps]
    found: dict[object, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides if number % 2 else sides[::-1]:
            found[side].append(side(bench, clock))
    return Rounds(found[_loop][1:], found[_steps][1:])


def _loop(bench: Workbench, clock: Clock) -> float:
    prepared, pictures, timed = bench.prepared, bench.prepared.pictures, Timed(clock)
    fit(
        copy.deepcopy(bench.decomposition.model),
        pictures.train,
        pictures.train_labels,
        normalisation=prepared.normalisation,
        augmentation=pictures.augmentation,
        recipe=_recipe(bench),
        crew=alone(str(prepared.device)),
        dtype=prepared.dtype,
        guide=timed,
    )
    return len(pictures.train) / timed.seconds


def _steps(bench: Workbench, clock: Clock) -> float:
    prepared, pictures = bench.prepared, bench.prepared.pictures
    device, recipe = prepared.device, _recipe(bench)
    data = Fixed(
        pictures.train.to(device),
        pictures.train_labels.to(device),
        prepared.normalisation,
        pictures.augmentation,
        prepared.dtype,
    )
    take = step_of(copy.deepcopy(bench.decomposition.model).train(), data, recipe, alone(str(device)))
    shares = list(batches(len(data), recipe, epoch=0))
    data.batch(shares[0], recipe, epoch=0)
    synchronise(device)
    start = clock()
    for number, batch in enumerate(shares):
        take(batch, epoch=0, number=number)
        synchronise(device)
    return len(shares) * len(shares[0]) / (clock() - start)


def _recipe(bench: Workbench) -> Recipe:
    return recipe_of(bench.prepared.job, epochs=1, lr=bench.prepared.job.settings.lr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 where the ratio is below the target, 2 for wrong use."""
    asked = _parser().parse_args(arguments)
    try:
        settings = Settings(device=asked.device, limit_train=asked.pictures, batch_size=asked.batch_size)
        job = Job(Case.parse(asked.case), "loop", settings, Limits(), asked.data_root, Path("results"))
        with redirect_stdout(io.StringIO()), Workbench(job) as bench:  # the table of layers is not asked for
            found = measure(bench, asked.rounds, CLOCKS[asked.clock])
    except TnbenchError as error:
        print(error, file=sys.stderr)
        return 2
    ratio = ratio_interval(found.loop, found.steps)
    print(f"{asked.case}, batch {settings.batch_size}, {asked.rounds} rounds in turns, {asked.clock} clock")
    print(f"{device_model(asked.device)}, torch {torch.__version__}")
    print(f"training loop   {_shown(median_interval(found.loop), 0)} pictures/s")
    print(f"steps alone     {_shown(median_interval(found.steps), 0)} pictures/s")
    print(f"ratio           {_shown(ratio, 3)}, wanted {TARGET} or more")
    return int(ratio.value < TARGET)


def _shown(estimate: Estimate, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__)
    parser.add_argument("--case", default=CASE, help=f"its network and pictures (default: {CASE})")
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each side (default: 7)")
    parser.add_argument("--pictures", type=int, default=1280, help="training pictures of an epoch (default: 1280)")
    parser.add_argument("--batch-size", type=int, default=128, help="pictures of a step (default: 128)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the data sets (default: data)")
    parser.add_argument(
        "--clock",
        choices=tuple(CLOCKS),
        default="wall",
        help="processor: time that the processor gave, for one thread on a machine that others use (default: wall)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
