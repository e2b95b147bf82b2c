"""How much of the saving in multiply-accumulates is saved time: every method on one convolution, beside the dense one.

Forward passes in eval mode without gradients. Both have a bias and no BatchNorm: folded for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .contest import Contest, Duel, NotHere

if TYPE_CHECKING:
    from torch import Tensor, nn

_CHANNELS, _SIDE, _PICTURES = 256, 14, 16
_ROUNDS = 60
_TARGETS = {"tucker2": 0.6, "svd": 0.6}


def realised_contests() -> list[Contest]:
    """One contest per registered method, with one thread and with two."""
    from tnbench.core.registry import Registry

    return [
        Contest(
            f"realised/{listing.name}/{threads}",
            f"realised speedup ÷ MAC reduction: {listing.name} at x4, {_CHANNELS}→{_CHANNELS} 3×3, {_SIDE}×{_SIDE}, "
            f"batch {_PICTURES}, {threads} thread{'s' if threads > 1 else ''}",
            partial(_realised, listing.name),
            target=_TARGETS.get(listing.name),
            rounds=_ROUNDS,
            threads=threads,
        )
        for listing in Registry().listings("method")
        if listing.name != "dense"
        for threads in (1, 2)
    ]


def _realised(method: str) -> Duel:
    import torch
    from torch import nn

    import tnbench
    from tnbench.core.errors import TnbenchError
    from tnbench.measure.counts import count_macs

    from .kernels import seeded
    from .layout import faster

    with seeded():
        dense = nn.Sequential(nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)).eval()
        pictures = torch.randn(_PICTURES, _CHANNELS, _SIDE, _SIDE)
    try:
        compressed = tnbench.compress(dense, method, "x4", only="0").model
    except TnbenchError as refusal:
        raise NotHere(f"{method} does not serve this layer: {refusal}") from None
    reduction = count_macs(dense, pictures.shape[1:]) / count_macs(compressed, pictures.shape[1:])
    ours, my_layout = faster(compressed, [pictures], _forward)
    theirs, their_layout = faster(dense, [pictures], _forward)
    return Duel(
        ours=lambda _: ours(),
        theirs=lambda _: theirs(),
        scale=1 / reduction,
        note=f"MACs ÷ {reduction:.2f}; {my_layout} beside the dense layer's {their_layout}",
    )


def _forward(layer: nn.Module, tensors: Sequence[Tensor]) -> Callable[[], Tensor]:
    import torch

    def call() -> Tensor:
        with torch.no_grad():
            out: Tensor = layer(*tensors)
        return out

    return call
