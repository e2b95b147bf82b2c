"""Factorised layers, forward and backward, beside TensorLy-Torch's and tednet's with the same factors in them.

All have a bias and no BatchNorm beside them: what a network is whose BatchNorm was folded, on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .contest import Contest, Duel, Errors

if TYPE_CHECKING:
    from torch import Tensor, nn

_ROUNDING = 1e-4
"""Relative errors of float32 outputs and gradients, against float64."""

_CONVOLUTIONS = {"64": (64, 56, 8), "256": (256, 14, 16), "512": (512, 7, 16)}
"""Name -> channels, sides of the pictures, and how many."""

_METHODS = {"cp": "cp", "tucker": "tucker2", "tt": "tt"}
"""TensorLy-Torch's name of a format -> ours."""

_TTM_RANK, _TTM_BATCH = 8, 64
_ROUNDS = 60


def layer_contests() -> list[Contest]:
    """CP, Tucker-2 and TT convolutions in three sizes, tednet's CP, and the TT-matrix layer."""
    return [*_tltorch_contests(), _tednet_contest(), _linear_contest()]


def _tltorch_contests() -> list[Contest]:
    return [
        Contest(
            f"layer/{kind}/{size}",
            f"{_METHODS[kind]} layer at x4, {size}→{size} 3×3, forward + backward, beside FactorizedConv (factorized)",
            partial(_convolution, kind, size),
            target=1.2,
            rounds=_ROUNDS,
            needs=("tltorch",),
        )
        for kind in _METHODS
        for size in _CONVOLUTIONS
    ]


def _tednet_contest() -> Contest:
    return Contest(
        "layer/cp/256/tednet",
        "cp layer at x4, 256→256 3×3, forward + backward, beside tednet's CPConv2D",
        partial(_convolution, "tednet", "256"),
        target=10.0,
        rounds=20,
        needs=("tednet",),
    )


def _linear_contest() -> Contest:
    return Contest(
        "layer/tt_linear/4096",
        f"TT-matrix layer 4096→4096 of six cores of rank {_TTM_RANK}, {_TTM_BATCH} inputs, forward + backward, beside "
        "FactorizedLinear (blocktt, factorized)",
        _linear,
        target=1.2,
        rounds=_ROUNDS,
        needs=("tltorch",),
    )


def _linear() -> Duel:
    import torch
    from torch import nn

    from tnbench.layers.tt_linear import TTLinear, pack
    from tnbench.linalg.tt_matrix import contract

    from . import theirs
    from .kernels import seeded

    ranks = (1, *[_TTM_RANK] * 5, 1)
    with seeded():
        cores = [torch.randn(before, 4, 4, after) for before, after in pairwise(ranks)]
        like, inputs = nn.Linear(4**6, 4**6), torch.randn(_TTM_BATCH, 4**6)
    exact = nn.Linear(4**6, 4**6)
    exact.load_state_dict({"weight": contract(cores), "bias": like.bias})
    ours = TTLinear([pack(core) for core in cores], like)
    return forward_and_backward(ours, theirs.tltorch_linear(cores, like.bias), exact.double(), inputs, "")


def _convolution(kind: str, size: str) -> Duel:
    import torch
    from torch import nn

    from . import theirs
    from .kernels import seeded
    from .ours import dense, on_layer, ranks_at

    channels, side, count = _CONVOLUTIONS[size]
    with seeded():
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        pictures = torch.randn(count, channels, side, side)
    target = on_layer("cp[iters=3]" if kind in ("cp", "tednet") else _METHODS[kind], conv)  # times hang on no value
    ranks = ranks_at("x4", target)
    factors = target.factorise(ranks, seed=0)
    peer = theirs.tednet_cp(factors, conv) if kind == "tednet" else theirs.tltorch_conv(kind, factors, conv)
    twin = nn.Conv2d(channels, channels, 3, padding=1)
    twin.load_state_dict({"weight": dense(target, factors), "bias": conv.bias})
    (mine,) = target.modules(factors).values()
    return forward_and_backward(mine, peer, twin.double(), pictures, f"ranks {', '.join(map(str, ranks))}")


def forward_and_backward(ours: nn.Module, theirs: nn.Module, exact: nn.Module, inputs: Tensor, note: str) -> Duel:
    """A forward and a backward pass of both, each in the memory layout in which it is faster.

    The gradients are those of the input and of all parameters. `exact` computes in float64 what both should: outputs
    and the input's gradient are held against it.
    """
    import torch

    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        like = exact(inputs.double())
        ahead = torch.randn(like.shape, generator=generator)
    wanted = _pass(exact, inputs.double(), ahead.double())()
    mine, my_layout = _fastest(ours, inputs, ahead)
    peer, their_layout = _fastest(theirs, inputs, ahead)
    return Duel(
        ours=lambda _: mine(),
        theirs=lambda _: peer(),
        errors=lambda mine, peer: Errors(_apart(mine, wanted), _apart(peer, wanted), _ROUNDING),
        note="; ".join(filter(None, (note, f"{my_layout} beside {their_layout}"))),
    )


def _pass(layer: nn.Module, inputs: Tensor, ahead: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    """A call that gives the output and the gradients of the input and of all parameters."""
    import torch

    layer.train()
    inputs = inputs.clone().requires_grad_()
    sources = [inputs, *layer.parameters()]

    def call() -> tuple[Tensor, ...]:
        out = layer(inputs)
        return out.detach(), *torch.autograd.grad(out, sources, ahead)

    return call


def _fastest(layer: nn.Module, inputs: Tensor, ahead: Tensor) -> tuple[Callable[[], tuple[Tensor, ...]], str]:
    from .layout import faster

    return faster(layer, (inputs, ahead), lambda layer, tensors: _pass(layer, *tensors))


def _apart(got: Any, wanted: Any) -> list[float]:
    from .ours import relative_error

    return [relative_error(mine, exact) for mine, exact in zip(got[:2], wanted[:2], strict=True)]
