"""``python -m benchmarks.distributed``: decompositions of one large tensor in several processes beside one process.

Every process has one thread. The arm of one process runs the same algorithm in a group of one, where nothing is sent
and no tensor is copied, and both arms have the same tensor: a sum of rank-one terms, cut into blocks. The arms take
turns; a round's time is that of the slowest rank, from a barrier on. Where other work shares the cores, the ratio of
processor times says what the processes themselves did: that of one process over the most of several.

Where ``tnbench calibrate`` has measured this machine, the cost model's prediction stands beside: the arithmetic at the
rate of the one process, which has the shapes in question, and the calls and copies at the calibration's rates.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

import torch

from tnbench.core.folders import results_folder
from tnbench.core.protocols import Crew
from tnbench.distributed import cp_als, st_hosvd
from tnbench.distributed.collectives import Counted, counting
from tnbench.distributed.cost import communication_seconds
from tnbench.distributed.counter_normal import normal
from tnbench.distributed.grid import Distributed, Grid, block, piece
from tnbench.distributed.mttkrp import khatri_rao
from tnbench.distributed.pool import RankPool
from tnbench.distributed.volume import Volume
from tnbench.measure.environment import device_model, torch_version
from tnbench.measure.statistics import Estimate, median_interval, ratio_interval
from tnbench.store.calibrations import COMMAND, calibration_of

TARGET = 1.6
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Problem(NamedTuple):
    """A cubic tensor and what is asked of it."""

    algorithm: str
    size: int
    rank: int
    sweeps: int
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,) * 3

    def grid(self, ranks: int) -> tuple[int, ...]:
        if self.algorithm == "cp_als":
            return cp_als.best_grid(self.shape, self.rank, ranks)
        return st_hosvd.best_grid(self.shape, (self.rank,) * 3, (0, 1, 2), ranks)

    def cost(self, ranks: int) -> Volume:
        if self.algorithm == "cp_als":
            return cp_als.cp_als_cost(self.shape, self.rank, self.grid(ranks), self.sweeps)
        return st_hosvd.st_hosvd_cost(self.shape, (self.rank,) * 3, (0, 1, 2), self.grid(ranks))


class Run(NamedTuple):
    """One run on one rank: seconds on the wall and of the processor, its calls, and a number that all agree on."""

    wall: float
    processor: float
    counted: Counted
    result: float


_held: dict[tuple[int, str], Distributed] = {}
"""A rank's block, made once."""


def run(crew: Crew, problem: Problem) -> Run:
    """The entry: decompose the tensor that this rank has a block of."""
    given = _block(problem, crew.world)
    solve = partial(_SOLVE[problem.algorithm], given, problem)
    crew.barrier()
    with counting() as counted:
        wall, processor = time.perf_counter(), time.process_time()
        result = solve()
        return Run(time.perf_counter() - wall, time.process_time() - processor, counted, result)


def _st_hosvd(given: Distributed, problem: Problem) -> float:
    _, factors = st_hosvd.st_hosvd(given, (problem.rank,) * 3, (0, 1, 2))
    return sum(float((factor @ factor.T).diagonal()[: problem.size // 2].sum()) for factor in factors)


def _cp_als(given: Distributed, problem: Problem) -> float:
    return cp_als.cp_als(given, problem.rank, sweeps=problem.sweeps).errors[-1]


_SOLVE: dict[str, Callable[[Distributed, Problem], float]] = {"st_hosvd": _st_hosvd, "cp_als": _cp_als}


def _block(problem: Problem, ranks: int) -> Distributed:
    """Of the sum of n / 4 terms whose sizes fall; any rank can make its own."""
    sides = problem.grid(ranks)
    key = problem.size, f"{sides} {problem.dtype}"
    if key not in _held:
        _held.clear()
        grid, terms = Grid(sides), problem.size // 4
        index = torch.arange(problem.size * terms).reshape(problem.size, terms)
        factors = [
            piece(normal((17, mode), index), 0, sides[mode], grid.coordinates[mode]).to(DTYPES[problem.dtype])
            for mode in range(3)
        ]
        sizes = torch.linspace(1, 0.1, terms, dtype=factors[0].dtype)
        local = ((factors[0] * sizes) @ khatri_rao(factors[1:])).reshape([block(problem.size, side) for side in sides])
        _held[key] = Distributed(local, problem.shape, grid)
    return _held[key]


class Samples(NamedTuple):
    """Of one arm, a number a round: the slowest rank's."""

    wall: list[float]
    processor: list[float]


def measure(problem: Problem, pools: Sequence[RankPool], rounds: int) -> tuple[list[Samples], Counted]:
    """Samples of each pool after a round that does not count, and the calls of the rank of the last that sent most."""
    arms = [Samples([], []) for _ in pools]
    counted, results = Counted(), set()
    for number in range(rounds + 1):
        for arm, pool in list(zip(arms, pools, strict=True))[:: 1 if number % 2 else -1]:
            runs = pool.run(partial(run, problem=problem))
            results |= {given.result for given in runs}
            if number:
                arm.wall.append(max(given.wall for given in runs))
                arm.processor.append(max(given.processor for given in runs))
            if pool is pools[-1]:
                counted = max((given.counted for given in runs), key=lambda calls: calls.words)
    check_same(problem.algorithm, results)
    return arms, counted


def check_same(algorithm: str, results: Collection[float]) -> None:
    """Raise RuntimeError unless all are finite and agree to a thousandth: rounding differs between grids."""
    if not all(map(math.isfinite, results)) or max(results) - min(results) > 1e-3 * abs(max(results)):
        raise RuntimeError(
            f"{algorithm}: got the results {sorted(results)}, wanted finite ones that are the same on all ranks"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 where a ratio is below the target."""
    asked = _parser().parse_args(arguments)
    print(f"{asked.size}^3 {asked.dtype}, {asked.rounds} rounds in turns, one thread in a process")
    print(f"{device_model('cpu')}, torch {torch.__version__}")
    ratios = []
    with RankPool(1) as one, RankPool(asked.ranks) as several:
        for algorithm in asked.only:
            rank = asked.cp_rank if algorithm == "cp_als" else asked.rank
            problem = Problem(algorithm, asked.size, rank, asked.sweeps, asked.dtype)
            arms, counted = measure(problem, (one, several), asked.rounds)
            ratios.append(_report(problem, arms, counted, asked.ranks))
    return int(min(ratios) < TARGET)


def _report(problem: Problem, arms: Sequence[Samples], counted: Counted, ranks: int) -> float:
    alone, spread = arms
    sweeps = f", {problem.sweeps} sweeps" if problem.algorithm == "cp_als" else ""
    cost = problem.cost(ranks)
    print(f"\n{problem.algorithm}, rank {problem.rank}{sweeps}, grid {'x'.join(map(str, problem.grid(ranks)))}")
    print(f"words of a rank  {counted.words} counted, {cost.words} by the formula")
    for count, arm in ((1, alone), (ranks, spread)):
        rate = problem.cost(count).flops / median_interval(arm.processor).value / 1e9
        print(f"{count} process{'es' if count > 1 else ''}")
        print(f"  on the wall    {_shown(median_interval(arm.wall))} s")
        print(f"  of processor   {_shown(median_interval(arm.processor))} s, {rate:.0f} Gflop/s a rank")
    ratio = ratio_interval(alone.wall, spread.wall)
    print(f"ratio            {_shown(ratio)}, wanted {TARGET} or more")
    print(f"  of processor   {_shown(ratio_interval(alone.processor, spread.processor))}")
    print(f"model            {_predicted(problem, median_interval(alone.wall).value, counted, spread, ranks)}")
    return ratio.value


def _predicted(problem: Problem, alone_s: float, counted: Counted, spread: Samples, ranks: int) -> str:
    machine = calibration_of(results_folder(), cpu=device_model("cpu"), torch=torch_version(), ranks=ranks)
    if machine is None:
        return f"none without a calibration; run '{COMMAND}' first"
    whole, share = problem.cost(1), problem.cost(ranks)
    arithmetic = alone_s * share.flops / whole.flops
    sending = communication_seconds(counted.calls, machine) + 2 * share.packed * machine.delta_s
    measured = median_interval(spread.wall).value / (arithmetic + sending)
    return f"{arithmetic:.3f} s of work and {sending:.3f} s of calls and copies; measured / predicted {measured:.2f}"


def _shown(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distributed", description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="of each of three modes (default: 512)")
    parser.add_argument("--rank", type=int, default=64, help="Tucker rank of each mode (default: 64)")
    parser.add_argument("--cp-rank", type=int, default=32, help="terms of CP (default: 32)")
    parser.add_argument("--sweeps", type=int, default=5, help="of CP-ALS (default: 5)")
    parser.add_argument("--ranks", type=int, default=2, help="processes of the second arm (default: 2)")
    parser.add_argument("--rounds", type=int, default=7, help="of each arm (default: 7)")
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="float32")
    parser.add_argument("--only", nargs="+", choices=tuple(_SOLVE), default=list(_SOLVE), help="algorithms")
    return parser


if __name__ == "__main__":
    sys.exit(main())
