"""Tensor train through the kernel: 1×1, one convolution per axis, and 1×1; for a linear layer, two linear layers.

TT-SVD (Oseledets 2011) of the modes (I, kH, kW, O), or (I, k, O) and (I, kD, kH, kW, O). A matrix is a train of two
cores, its truncated SVD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.distributed import solvers
from tnbench.layers import chain
from tnbench.linalg import tt, with_tensorly
from tnbench.linalg.low_rank import low_rank
from tnbench.linalg.whitening import root_and_inverse
from tnbench.methods import _matrix

VERSION = 2

refuses = chain.refuses
layer = chain.chain

_SOLVERS = {"gram": tt.tt_svd, "tensorly": with_tensorly.tt_svd, "distributed": solvers.tensor_train}
_TRUNCATE = {"gram": low_rank, "tensorly": with_tensorly.low_rank, "distributed": solvers.low_rank}


@dataclass(frozen=True)
class Options:
    """`solver`: our TT-SVD through Gram matrices, or TensorLy's `tensor_train`.

    `distributed` is ours over the ranks of `tnbench.distributed.solvers.together`; in a case, on one process.
    `aware` weighs errors by the second moment of the layer's input channels.
    """

    solver: Literal["gram", "tensorly", "distributed"] = "gram"
    aware: bool = False


def largest_ranks(shape: Shape) -> Ranks:
    """(r1, r2, r3): at most the shorter side of each unfolding; (R,) for a matrix."""
    return tt.largest_ranks(_sizes(shape))


def useful_ranks(shape: Shape, ranks: Ranks) -> Ranks:
    """`ranks` without what their neighbours leave no use for: r2 is at most r1·kH and r3·kW, and so on."""
    return tt.useful_ranks(_sizes(shape), ranks)


def _sizes(shape: Shape) -> Shape:
    return (*shape[1:], shape[0])


def count(shape: Shape, ranks: Ranks) -> int:
    """I·r1 + r1·r2·kH + r2·r3·kW + r3·O."""
    return macs(shape, ranks, Pixels.ones(shape))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """I·r1·Pi + r1·r2·kH·P1 + (r2·r3·kW + r3·O) P."""
    O, I, *sides = shape
    bonds = useful_ranks(shape, ranks)
    along = sum(bonds[axis] * side * bonds[axis + 1] * pixels[axis + 1] for axis, side in enumerate(sides))
    return I * bonds[0] * pixels.inp + along + bonds[-1] * O * pixels.out


def unfoldings(weight: Tensor) -> tuple[Tensor, ...]:
    """I × (kH·kW·O), (I·kH) × (kW·O) and (I·kH·kW) × O; a matrix itself."""
    return tt.unfoldings(weight.movedim(0, -1))


def needs_stats(options: Options) -> bool:
    """Whether errors are weighed by what reaches the layer."""
    return options.aware


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(r1, I, 1, 1), (r2, r1, kH, 1), (r3, r2, 1, kW) and (O, r3, 1, 1)."""
    moment = _matrix.channel_moment(options.aware, stats)
    if weight.dim() == 2:
        return _matrix.factorise(weight, ranks, _TRUNCATE[options.solver], moment)
    ranks = useful_ranks(tuple(weight.shape), ranks)
    cores = _solve(_matrix.working(weight).movedim(0, -1), ranks, options.solver, moment)
    kernels = (_kernel(core, mode - 1, weight.dim() - 2) for mode, core in enumerate(cores))
    return tuple(kernel.to(weight.dtype).contiguous() for kernel in kernels)


def _solve(tensor: Tensor, ranks: Ranks, solver: str, moment: Tensor | None) -> tuple[Tensor, ...]:
    if moment is None:
        return _SOLVERS[solver](tensor, ranks)
    root, inverse = root_and_inverse(moment)
    whitened = (root @ tensor.double().flatten(1)).reshape(tensor.shape)
    first, *rest = _SOLVERS[solver](whitened, ranks)
    return (inverse @ first[0])[None], *rest


def _kernel(core: Tensor, axis: int, dimensions: int) -> Tensor:
    """A core (r, n, r') as a kernel along a spatial axis (r', r, 1, n, ...); of the first and last as a 1×1 one."""
    before, size, after = core.shape
    if axis < 0:
        return core[0].T.reshape(after, size, *(1 for _ in range(dimensions)))
    if axis == dimensions:
        return core[:, :, 0].T.reshape(size, before, *(1 for _ in range(dimensions)))
    sides = [size if other == axis else 1 for other in range(dimensions)]
    return core.permute(2, 0, 1).reshape(after, before, *sides)


def dense(factors: Factors) -> Tensor:
    """W[o,i,h,w] = Σ_abc inp[a,i] vertical[b,a,h] horizontal[c,b,w] out[o,c]."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    inp, *kernels, out = (factor.flatten(2) for factor in factors)
    cores = [inp.permute(2, 1, 0), *(kernel.permute(1, 2, 0) for kernel in kernels), out.permute(1, 0, 2)]
    return tt.contract(cores).movedim(-1, 0)
