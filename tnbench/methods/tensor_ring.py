"""Tensor ring: 1×1 into r0 copies of one k×k convolution, and 1×1 out of all of them.

Zhao, Zhou, Xie, Zhang and Cichocki, "Tensor ring decomposition" (2016), of the modes (I, k, O), the channels whole or
factorised; as layers: Wang, Sun, Eriksson, Wang and Aggarwal, "Wide compression: tensor ring nets" (2018). A linear
layer has no k, and by default two factors of each size: a ring of two modes would be a low-rank matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import plain
from tnbench.layers.tensor_ring import TensorRing
from tnbench.linalg import tensor_ring as ring
from tnbench.linalg import with_tensorly
from tnbench.methods import _factored

VERSION = 1

_LARGEST_CORE = 4096
"""Least squares for one core solves a dense system of this order at most: 128 MiB."""


@dataclass(frozen=True)
class Options:
    """`inp` and `out`: factors of the channels, ``8x8``, both or neither.

    Without them a convolution's channels stay whole and the sizes of a linear layer are split in two. `solver`: at most
    `sweeps` sweeps of alternating least squares from the best of the sequential SVDs, that SVD alone, or TensorLy's
    `tensor_ring` at the ranks of that SVD.
    """

    inp: tuple[int, ...] = ()
    out: tuple[int, ...] = ()
    solver: Literal["als", "svd", "tensorly"] = "als"
    sweeps: int = 50

    def __post_init__(self) -> None:
        _factored.check("tensor_ring", self.inp, self.out, least=1)
        if bool(self.inp) != bool(self.out):
            raise UsageError("method tensor_ring: got one of inp and out, wanted both or neither")
        if self.sweeps < 1:
            raise UsageError(f"method tensor_ring: got sweeps = {self.sweeps}, wanted a whole number from 1 on")


def refuses(layer: nn.Module, *, options: Options) -> str | None:
    """Why no ring stands for `layer`, or why its channels are not the factors asked for."""
    if reason := plain.refuses(layer, grouped=False):
        return reason
    return _factored.misfit(cast(Tensor, layer.weight).shape, options.inp, options.out)


def _modes(shape: Shape, options: Options) -> tuple[Shape, Shape, Shape]:
    """Factors of I, the kernel as one mode (none for a linear layer), and factors of O."""
    O, I, *sides = shape
    if options.inp:
        inp, out = options.inp, options.out
    else:
        inp, out = ((I,), (O,)) if sides else (_factored.balanced(I, 2), _factored.balanced(O, 2))
    return inp, (math.prod(sides),) if sides else (), out


def _sizes(shape: Shape, options: Options) -> Shape:
    inp, kernel, out = _modes(shape, options)
    return (*inp, *kernel, *out)


def largest_ranks(shape: Shape, *, options: Options) -> Ranks:
    """(R, R, ...): the least R at which sequential SVDs reproduce every weight, the first one's rank shared by r0, r1.

    Equal ranks, because each unfolding has the product of two: scaled down together they stay large where one of them
    alone would not.
    """
    return ring.largest_ranks(_sizes(shape, options))


def count(shape: Shape, ranks: Ranks, *, options: Options) -> int:
    """Σ_j r_j·n_j·r_{j+1} around the ring, with the kernel k as one mode."""
    after = (*ranks[1:], ranks[0])
    return sum(math.prod(core) for core in zip(ranks, _sizes(shape, options), after, strict=True))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels, *, options: Options) -> int:
    """I·r0·rm·Pi + r0·k·rm·rm'·P + O·r0·rm'·P, with rm before the kernel and rm' behind it; merging apart."""
    O, I, *_ = shape
    inp, kernel, _ = _modes(shape, options)
    before, after = ranks[len(inp)], ranks[len(inp) + len(kernel)]
    copies = math.prod(kernel) * before * after if kernel else 0
    return ranks[0] * (I * before * pixels.inp + (copies + O * after) * pixels.out)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """Cores (r, i, r') of the inputs, (rm', rm, *k), and cores (r, o, r') of the outputs.

    Raises NotApplicable for `als` with cores of more than 4096 rank pairs.
    """
    shape = tuple(weight.shape)
    inp, kernel, _ = _modes(shape, options)
    tensor = weight.double().movedim(0, -1).reshape(_sizes(shape, options))
    begin = None if start is None else _cores(tuple(factor.double() for factor in start), options)
    cores = list(_solve(tensor, ranks, seed, options, begin))
    if kernel:
        cores[len(inp)] = cores[len(inp)].permute(2, 0, 1).reshape(ranks[len(inp) + 1], -1, *shape[2:])
    return tuple(core.to(weight.dtype).contiguous() for core in cores)


def _solve(tensor: Tensor, ranks: Ranks, seed: int, options: Options, start: ring.Cores | None) -> ring.Cores:
    if options.solver == "tensorly":
        split = ring.best_split(tensor, ranks)
        return ring.padded(with_tensorly.tensor_ring(tensor, (*split, *ranks[2:])), ranks)
    exact = ring.exact_split(tensor.shape, ranks) is not None
    if options.solver == "als" and not exact:
        _check_cores(ranks)
    begins = [ring.ring_best_svd(tensor, ranks)]
    if start is not None and not exact:
        begins.append(ring.widened(start, ranks, seed=seed))
    best = min(begins, key=lambda cores: ring.relative_error(tensor, cores))
    return best if exact or options.solver == "svd" else ring.ring_als(tensor, best, max_sweeps=options.sweeps)


def _check_cores(ranks: Ranks) -> None:
    largest = max(one * other for one, other in zip(ranks, (*ranks[1:], ranks[0]), strict=True))
    if largest > _LARGEST_CORE:
        raise NotApplicable(
            f"alternating least squares for ring ranks {ranks}: got {largest} rank pairs in one core, wanted at most "
            f"{_LARGEST_CORE}; take solver=svd, or more factors by inp= and out="
        )


def _roles(factors: Factors, options: Options) -> tuple[Factors, Tensor | None, Factors]:
    """Cores of the inputs, the kernel, and cores of the outputs."""
    if options.inp:
        convolution = len(factors) > len(options.inp) + len(options.out)
        inp = len(options.inp)
    else:
        convolution = len(factors) == 3
        inp = 1 if convolution else 2
    return factors[:inp], factors[inp] if convolution else None, factors[inp + convolution :]


def _cores(factors: Factors, options: Options) -> ring.Cores:
    inp, kernel, out = _roles(factors, options)
    return (*inp, *(() if kernel is None else (kernel.flatten(2).permute(1, 2, 0),)), *out)


def dense(factors: Factors, *, options: Options) -> Tensor:
    """W[o, i, ...] = the trace of the product of the cores' slices around the ring."""
    inp, kernel, out = _roles(factors, options)
    I, O = (math.prod(core.shape[1] for core in cores) for cores in (inp, out))
    whole = ring.contract(_cores(factors, options)).reshape(I, -1, O).permute(2, 0, 1)
    return whole.reshape(O, I, *(() if kernel is None else kernel.shape[2:]))


def layer(factors: Factors, like: nn.Module, *, options: Options) -> nn.Module:
    """A `TensorRing` of the factors, in place of `like`."""
    inp, kernel, out = _roles(factors, options)
    return TensorRing(inp, kernel, out, like)
