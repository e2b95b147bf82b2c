"""The error-preserving correction of CP against alternating least squares, layer by layer, on trained networks.

    python -m benchmarks.epc CHECKPOINT... [--ratios 2 4] [--als plain|stabilised] [--als-sweeps N] [--epc-sweeps N]

Each convolution with a kernel becomes the tensor (O, I, kH·kW) at R = floor(weights / ratio / (O + I + kH·kW)). Both
decompositions have R terms and are compared at the scaling in which each is least sensitive; the error may grow by
`--slack`, 0.1 %. Plain least squares has neither penalty nor jumps; `stabilised` is `tnbench.linalg.cp.cp_als`, whose
penalty on large terms already makes it less sensitive.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.linalg.cp import Columns, cp_als
from tnbench.linalg.cp_diagnostics import cancellation, sensitivity
from tnbench.linalg.cp_epc import cp_epc, relative_error


class Row(NamedTuple):
    """One layer at one ratio; sensitivities are at the best scaling, seconds of one run."""

    layer: str
    shape: tuple[int, ...]
    rank: int
    als_error: float
    epc_error: float
    als_sensitivity: float
    epc_sensitivity: float
    als_cancellation: float
    epc_cancellation: float
    sweeps: int
    als_s: float
    epc_s: float

    @property
    def ratio(self) -> float:
        return self.epc_sensitivity / self.als_sensitivity


def main() -> None:
    """Print a table for every checkpoint and ratio, and the geometric mean and worst ratio of each and of all."""
    asked = _arguments()
    torch.set_num_threads(1)
    print(f"als={asked.als}, at most {asked.als_sweeps} sweeps; epc: at most {asked.epc_sweeps} sweeps; 1 thread")
    everything: list[Row] = []
    for checkpoint in asked.checkpoints:
        kernels = list(_kernels(checkpoint))[0 if asked.first else 1 :]
        for ratio in asked.ratios:
            print(f"\n{checkpoint.name}, x{ratio:g}\n{_HEAD}")
            rows = [_row(name, kernel, ratio, asked) for name, kernel in kernels]
            print(_summary(rows))
            everything += rows
    print("\nall: " + _summary(everything))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epc", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, help="state dicts, read with weights_only")
    parser.add_argument("--ratios", nargs="+", type=float, default=[2.0, 4.0])
    parser.add_argument("--als", choices=["plain", "stabilised"], default="plain")
    parser.add_argument("--als-sweeps", type=int, default=300)
    parser.add_argument("--epc-sweeps", type=int, default=800)
    parser.add_argument("--slack", type=float, default=1e-3)
    parser.add_argument("--first", action="store_true", help="also the first layer, which networks keep dense")
    return parser.parse_args()


def _kernels(checkpoint: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor (O, I, kH·kW) of each convolution with a kernel."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for name, value in state.get("state_dict", state).items():
        if value.dim() == 4 and value[0, 0].numel() > 1:
            yield name.removeprefix("module.").removesuffix(".weight"), value.double().flatten(2)


def _row(name: str, kernel: Tensor, ratio: float, asked: argparse.Namespace) -> Row:
    rank = max(1, int(kernel.numel() / ratio / sum(kernel.shape)))
    begun = time.perf_counter()
    if asked.als == "plain":
        als = plain_als(kernel, rank, seed=0, sweeps=asked.als_sweeps)
    else:
        als = cp_als(kernel, rank, seed=0, max_sweeps=asked.als_sweeps)
    between, error = time.perf_counter(), relative_error(kernel, als)
    epc, sweeps = cp_epc(kernel, als, bound=error * (1 + asked.slack), max_sweeps=asked.epc_sweeps)
    ended, norm = time.perf_counter(), kernel.norm()
    row = Row(
        layer=name,
        shape=tuple(kernel.shape),
        rank=rank,
        als_error=error,
        epc_error=relative_error(kernel, epc),
        als_sensitivity=sensitivity(als),
        epc_sensitivity=sensitivity(epc),
        als_cancellation=cancellation(als, norm),
        epc_cancellation=cancellation(epc, norm),
        sweeps=sweeps,
        als_s=between - begun,
        epc_s=ended - between,
    )
    print(_line(row), flush=True)
    return row


def plain_als(tensor: Tensor, rank: int, *, seed: int, sweeps: int) -> Columns:
    """Textbook alternating least squares of a float64 tensor: no penalty, no jumps, and all `sweeps`.

    It begins from the singular vectors of the unfoldings and random columns beyond them, as TensorLy's does.
    """
    generator = torch.Generator().manual_seed(seed)
    columns: list[Tensor] = []
    for mode, side in enumerate(tensor.shape):
        known = torch.linalg.svd(tensor.movedim(mode, 0).flatten(1), full_matrices=False).U[:, :rank]
        drawn = torch.randn(side, rank - known.shape[1], generator=generator, dtype=tensor.dtype)
        columns.append(torch.cat([known, drawn], dim=1))
    for _ in range(sweeps):
        for mode in range(tensor.dim()):
            columns[mode] = _least_squares(tensor, columns, mode)
            if mode + 1 < tensor.dim():
                columns[mode] = columns[mode] / columns[mode].norm(dim=0)
    return tuple(columns)


def _least_squares(tensor: Tensor, columns: list[Tensor], mode: int) -> Tensor:
    """The columns of `mode` of least error, the others fixed; 1e-12 keeps a singular system solvable."""
    first, *others = columns[:mode] + columns[mode + 1 :]
    rows, gram = first, first.T @ first
    for matrix in others:
        rows, gram = (rows[:, None] * matrix).flatten(0, 1), gram * (matrix.T @ matrix)
    products = tensor.movedim(mode, 0).flatten(1) @ rows
    solvable = gram + torch.diag(1e-12 * gram.diagonal())
    solution: Tensor = torch.linalg.solve(solvable, products.T).T
    return solution


_HEAD = (
    f"{'layer':<18}{'shape':>15}{'R':>5}{'ALS error':>11}{'EPC/ALS':>10}{'ALS sens.':>12}{'EPC sens.':>12}"
    f"{'ratio':>8}{'cancellation':>16}{'sweeps':>8}{'ALS s':>7}{'EPC s':>7}"
)


def _line(row: Row) -> str:
    shape = "x".join(map(str, row.shape))
    cancels = f"{row.als_cancellation:.1f} -> {row.epc_cancellation:.1f}"
    return (
        f"{row.layer:<18}{shape:>15}{row.rank:>5}{row.als_error:>11.4f}{row.epc_error / row.als_error:>10.6f}"
        f"{row.als_sensitivity:>12.4g}{row.epc_sensitivity:>12.4g}{row.ratio:>8.4f}{cancels:>16}"
        f"{row.sweeps:>8}{row.als_s:>7.2f}{row.epc_s:>7.2f}"
    )


def _summary(rows: list[Row]) -> str:
    mean = math.exp(sum(math.log(row.ratio) for row in rows) / len(rows))
    worst = max(rows, key=lambda row: row.ratio)
    error = max(row.epc_error / row.als_error for row in rows)
    sweeps, seconds = [row.sweeps for row in rows], [row.epc_s for row in rows]
    return (
        f"{len(rows)} layers: sensitivity EPC / ALS: geometric mean {mean:.4f}, worst {worst.ratio:.4f} "
        f"({worst.layer}); error at most {error:.6f} times; sweeps: median {statistics.median(sweeps):g}, most "
        f"{max(sweeps)}; seconds: median {statistics.median(seconds):.2f}, most {max(seconds):.2f}"
    )


if __name__ == "__main__":
    main()
