"""T-Net: kernels of one shape, of a stage or of the network, stacked into one tensor and decomposed together.

Kossaifi, Bulat, Tzimiropoulos and Pantic, "T-Net: Parametrizing fully convolutional nets with a single high-order
tensor" (CVPR 2019). Layers of L kernels share all factors but their own row of the factor that tells layers apart; each
runs as the format's chain of plain convolutions with one factor mixed by that row. A group of one layer is that layer's
own decomposition, with a row that is of no use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape
from tnbench.layers import plain
from tnbench.layers.shared_chain import SharedChain
from tnbench.linalg.cp import cp_als, cp_exact
from tnbench.linalg.tt import tt_svd
from tnbench.linalg.tucker import hooi

VERSION = 1
SCOPE = "group"


@dataclass(frozen=True)
class Options:
    """`format` of the stacked tensor (L, O, I, *k), and `scope`: kernels of a stage or of the whole network.

    A stage is what names share before their first dot (``layer1``). CP takes at most `iters` sweeps.
    """

    format: Literal["tucker", "cp", "tt"] = "tucker"
    scope: Literal["stage", "network"] = "network"
    iters: int = 100

    def __post_init__(self) -> None:
        if self.iters < 1:
            raise UsageError(f"method tnet: got iters = {self.iters}, wanted a whole number from 1 on")


def refuses(layer: nn.Module) -> str | None:
    """Why the layer's weight joins no stack; None for a plain convolution of one group and for a plain Linear."""
    return plain.refuses(layer, grouped=False)


def groups(layers: Mapping[str, nn.Module], *, options: Options) -> dict[str, tuple[str, ...]]:
    """``stage:OxIxk`` or ``network:OxIxk`` -> names of the layers with weights of that shape, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for name, layer in layers.items():
        scope = "network" if options.scope == "network" else name.partition(".")[0]
        group = f"{scope}:{'x'.join(map(str, cast(Tensor, layer.weight).shape))}"
        found[group] = (*found.get(group, ()), name)
    return found


def largest_ranks(shape: Shape, *, options: Options) -> Ranks:
    """(R_L, R_O, R_I) of Tucker, (R,) of CP, and a train's ranks on the right of L, I and each side of the kernel."""
    if options.format == "cp":
        return (math.prod(shape) // max(shape),)
    if options.format == "tucker":
        return tuple(min(side, math.prod(shape) // side) for side in shape[:3])
    return useful_ranks(shape, tuple(math.prod(shape) for _ in shape[1:]), options=options)


def useful_ranks(shape: Shape, ranks: Ranks, *, options: Options) -> Ranks:
    """`ranks` without what their neighbours leave no use for."""
    if options.format == "cp":
        return ranks
    if options.format == "tucker":
        k = math.prod(shape[3:])
        return tuple(min(rank, k * math.prod(ranks) // rank) for rank in ranks)
    _, *left = _along_train(shape)
    forward = _capped(ranks, _along_train(shape)[:-1])
    return _capped(forward[::-1], left[::-1])[::-1]


def _along_train(shape: Shape) -> tuple[int, ...]:
    """The modes in the order of the train: L, I, the kernel's sides, O."""
    L, O, I, *sides = shape
    return L, I, *sides, O


def _capped(ranks: Ranks, sides: Sequence[int]) -> Ranks:
    capped = [1]
    for rank, side in zip(ranks, sides, strict=True):
        capped.append(min(rank, capped[-1] * side))
    return tuple(capped[1:])


def count(shape: Shape, ranks: Ranks, *, options: Options) -> int:
    """Tucker: L·R_L + I·R_I + R_L·R_O·R_I·k + R_O·O. CP: R (L + I + Σk + O). TT: Σ r·n·r' over L, I, sides and O."""
    L, O, I, *sides = shape
    if options.format == "cp":
        return ranks[0] * (L + I + sum(sides) + O)
    ranks = useful_ranks(shape, ranks, options=options)
    if options.format == "tucker":
        R_L, R_O, R_I = ranks
        return L * R_L + I * R_I + R_L * R_O * R_I * math.prod(sides) + R_O * O
    return sum(a * side * b for a, side, b in zip((1, *ranks), _along_train(shape), (*ranks, 1), strict=True))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels, *, options: Options) -> int:
    """Of one layer of the group, whose factor is mixed already.

    Tucker: I·R_I·Pi + (R_O·R_I·k + R_O·O) P. CP: R (I·Pi + Σ_j k_j·P_j + O·P). TT: I·r_1·Pi + Σ_j r_j·k_j·r_{j+1}·P_j +
    r·O·P. P_j are the positions after the kernel's first j sides.
    """
    _, O, I, *sides = shape
    places = (pixels[0], *pixels[1 : len(sides) + 1], pixels[-1])
    if options.format == "cp":
        return ranks[0] * sum(side * place for side, place in zip((I, *sides, O), places, strict=True))
    ranks = useful_ranks(shape, ranks, options=options)
    if options.format == "tucker":
        _, R_O, R_I = ranks
        return I * R_I * pixels[0] + R_O * (R_I * math.prod(sides) + O) * pixels[-1]
    inner = zip((1, *ranks[1:]), (I, *sides, O), (*ranks[1:], 1), places, strict=True)
    return sum(a * side * b * place for a, side, b, place in inner)


def unfoldings(weight: Tensor, *, options: Options) -> tuple[Tensor, ...]:
    """Of Tucker the modes L, O and I; of a train its left parts. Raises NotApplicable for CP, whose rank cuts none."""
    if options.format == "cp":
        raise NotApplicable("tnet[format=cp]: its rank cuts no unfolding; take the format tucker or tt")
    if options.format == "tucker":
        return tuple(weight.movedim(mode, 0).flatten(1) for mode in range(3))
    train = _as_train(weight)
    return tuple(train.flatten(0, bond).flatten(1) for bond in range(train.dim() - 1))


def _as_train(weight: Tensor) -> Tensor:
    return weight.movedim(1, -1)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Any = None,
    start: Factors | None = None,
) -> Factors:
    """The rows (L, ·), then the chain's factors, of which Tucker's core and a train's first are stacks.

    - Tucker: (L, R_L), (R_I, I, 1, 1), (R_L, R_O, R_I, *k) and (O, R_O, 1, 1).
    - CP: (L, R), (R, I, 1, 1), (R, 1, kH, 1), (R, 1, 1, kW) and (O, R, 1, 1).
    - TT: (L, r_1), (r_1, r_2, I, 1, 1), (r_3, r_2, kH, 1), (r_4, r_3, 1, kW) and (O, r_4, 1, 1).
    """
    wide, ranks = weight.double(), useful_ranks(tuple(weight.shape), ranks, options=options)
    if options.format == "cp":
        begin = _columns(tuple(factor.double() for factor in start)) if start else None
        factors = _from_columns(_cp(wide, ranks[0], seed, options, begin))
    elif options.format == "tucker":
        factors = _tucker(wide, ranks)
    else:
        factors = _train(wide, ranks)
    return tuple(factor.to(weight.dtype).contiguous() for factor in factors)


def _tucker(weight: Tensor, ranks: Ranks) -> Factors:
    core, (rows, out, inp) = hooi(weight, ranks, (0, 1, 2))
    ones = [1] * (weight.dim() - 3)
    return rows, inp.T.reshape(-1, len(inp), *ones), core, out.reshape(*out.shape, *ones)


def _cp(weight: Tensor, R: int, seed: int, options: Options, start: Factors | None) -> Factors:
    if largest_ranks(tuple(weight.shape), options=options) <= (R,):
        return cp_exact(weight, R)
    return cp_als(weight, R, seed=seed, start=start, max_sweeps=options.iters)


def _from_columns(columns: Factors) -> Factors:
    """The factors of columns for L, O, I and the sides of the kernel."""
    rows, out, inp, *kernel = columns
    ones = [1] * len(kernel)
    sides = (_depthwise(matrix, axis, len(kernel)) for axis, matrix in enumerate(kernel))
    return rows, inp.T.reshape(-1, len(inp), *ones), *sides, out.reshape(*out.shape, *ones)


def _depthwise(matrix: Tensor, axis: int, axes: int) -> Tensor:
    """(R, 1, *k) with the kernel's side along one axis, from columns (k, R)."""
    return matrix.T.reshape(-1, 1, *(matrix.shape[0] if axis == own else 1 for own in range(axes)))


def _columns(factors: Factors) -> Factors:
    rows, inp, *sides, out = factors
    return rows, out.flatten(1), inp.flatten(1).T, *(side.flatten(1).T for side in sides)


def _train(weight: Tensor, ranks: Ranks) -> Factors:
    first, inp, *sides, out = tt_svd(_as_train(weight), ranks)
    ones = [1] * len(sides)
    kernel = (_full(core, axis, len(sides)) for axis, core in enumerate(sides))
    stack = inp.transpose(1, 2)
    return first[0], stack.reshape(*stack.shape, *ones), *kernel, out[:, :, 0].T.reshape(-1, len(out), *ones)


def _full(core: Tensor, axis: int, axes: int) -> Tensor:
    """(r', r, *k) with the kernel's side along one axis, from a core (r, k, r')."""
    return core.permute(2, 0, 1).reshape(
        core.shape[2], core.shape[0], *(core.shape[1] if axis == own else 1 for own in range(axes))
    )


def dense(factors: Factors, *, options: Options) -> Tensor:
    """The stacked weights (L, O, I, *k)."""
    if options.format == "cp":
        return _sum_of_terms(_columns(factors))
    rows, inp, *rest = factors
    if options.format == "tucker":
        core, out = rest
        return torch.einsum(
            "la,ab...,ob->lo...", rows, torch.einsum("abc...,ci->abi...", core, inp.flatten(1)), out.flatten(1)
        )
    *sides, out = rest
    product = torch.einsum("la,abi->lib", rows, inp.flatten(2))
    for side in sides:
        product = torch.einsum("l...a,bak->l...kb", product, side.flatten(2))
    return torch.einsum("l...a,oa->lo...", product, out.flatten(1))


def _sum_of_terms(columns: Factors) -> Tensor:
    """The tensor of `columns`, one matrix (side, R) per mode."""
    rows, out, *others = columns
    left, right = _khatri_rao([rows, out]), _khatri_rao(others)
    return (left @ right.T).reshape([len(matrix) for matrix in columns])


def _khatri_rao(columns: Sequence[Tensor]) -> Tensor:
    product, *further = columns
    for matrix in further:
        product = (product[:, None] * matrix).flatten(0, 1)
    return product


def layers(factors: Factors, likes: Sequence[nn.Module], *, options: Options) -> list[nn.Module]:
    """One module per layer, in order, which share all Parameters but their rows and biases."""
    rows, *chain = factors
    mixed = {"tucker": 1, "cp": len(chain) - 1, "tt": 0}[options.format]
    shape = None if options.format == "cp" else tuple(chain[mixed].shape[1:])
    if shape is not None:
        # Flat: with a dimension more than a kernel it could not be moved to channels-last memory with the network.
        chain[mixed] = chain[mixed].flatten(1)
    trained = any(cast(Tensor, like.weight).requires_grad for like in likes)
    shared = [nn.Parameter(factor.detach().clone(), requires_grad=trained) for factor in chain]
    return [SharedChain(shared, row, mixed, like, shape=shape) for row, like in zip(rows, likes, strict=True)]
