"""The contract of a model plug-in, as one check that its author can call.

>>> from tnbench.models import lenet5
>>> check_model(lenet5, "lenet5")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Model, Shape
from tnbench.engine.candidates import compressible_layers
from tnbench.measure.counts import count_params

IN_SHAPES: Sequence[Shape] = ((1, 8, 8), (1, 28, 28), (3, 32, 32))
"""Pictures of digits, mnist and cifar10."""

CLASSES = 7


def check_model(plugin: Model, name: str, *, options: Any = None, in_shapes: Sequence[Shape] = IN_SHAPES) -> None:
    """Build the network called `name` for each of `in_shapes`; AssertionError says what the plug-in does not keep.

    It takes at least one of the shapes, and refuses pictures of one pixel and whatever else does not fit with
    NotApplicable and a reason; the state of torch's generator, and nothing else, decides the weights; there is one
    score per class, in the network's own dtype, and in eval mode a picture's scores do not depend on the rest of its
    batch; a gradient reaches every parameter; `keep_dense` names layers to compress and leaves some. If there is a
    function `narrower`, it is `build` at the width 1, and has fewer parameters and the same scores at smaller ones.
    """
    assert _build(plugin, name, options, (1, 1, 1)) is None, "build: took pictures of one pixel, wanted NotApplicable"
    taken = [in_shape for in_shape in in_shapes if _build(plugin, name, options, in_shape) is not None]
    assert taken, f"build: refused each of {list(in_shapes)}, wanted in_shapes with one that fits"
    for in_shape in taken:
        check_draws(*(_state(plugin, name, options, in_shape, seed) for seed in (1, 1, 2)))
        model = _build(plugin, name, options, in_shape)
        assert model is not None, f"build: refused pictures of {in_shape} at the second call"
        pictures = torch.randn(4, *in_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        check_scores(model.double(), pictures)
        check_gradients(model, pictures)
        check_narrower(plugin, name, options, in_shape)
        check_keep_dense(compressible_layers(model), plugin.keep_dense(model))


def check_draws(first: dict[str, Tensor], again: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """State dicts of three builds: two from the same state of torch's generator, one from another."""
    same = first.keys() == again.keys() and all(torch.equal(first[key], again[key]) for key in first)
    assert same, "build: got different weights from one state of torch's generator, wanted the same"
    differ = any(not torch.equal(first[key], other[key]) for key in first)
    assert differ, "build: got the same weights from two states of torch's generator, wanted a random draw"


def check_scores(model: nn.Module, pictures: Tensor) -> None:
    """Scores of `pictures` (N, C, H, W), float64, from `model` in eval mode."""
    model.eval()
    with torch.no_grad():
        scores, alone = model(pictures), model(pictures[:1])
    wanted = (len(pictures), CLASSES)
    assert tuple(scores.shape) == wanted, f"scores: got shape {tuple(scores.shape)}, wanted {wanted}"
    assert scores.dtype == pictures.dtype, f"scores: got {scores.dtype} in a network of {pictures.dtype}"
    assert bool(scores.isfinite().all()), "scores: got numbers that are not finite"
    assert torch.allclose(scores[:1], alone), "scores: in eval mode a picture's depend on the rest of its batch"


def check_gradients(model: nn.Module, pictures: Tensor) -> None:
    """One backward pass in train mode."""
    model.train()
    functional.cross_entropy(model(pictures), torch.arange(len(pictures)) % CLASSES).backward()
    idle = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert not idle, f"gradients: none reaches {', '.join(idle)}"


def check_narrower(plugin: Model, name: str, options: Any, in_shape: Shape) -> None:
    """The optional ``narrower(name, options, in_shape, classes, width)``: all inner channels times `width`."""
    if not hasattr(plugin, "narrower"):
        return
    full, *narrow = (
        _drawn(0, plugin.narrower, name, options, in_shape, CLASSES, width) for width in (1.0, 0.75, 0.5, 0.25, 1e-3)
    )
    wanted, got = (_shapes(network) for network in (_drawn(0, plugin.build, name, options, in_shape, CLASSES), full))
    differ = sorted(key for key in wanted.keys() | got.keys() if wanted.get(key) != got.get(key))
    assert not differ, f"narrower: got other tensors than build at the width 1: {', '.join(differ)}"
    counts = [count_params(network) for network in (full, *narrow)]
    falling = all(more > less for more, less in pairwise(counts))
    assert falling, f"narrower: got {counts} parameters at falling widths, wanted ever fewer"
    for network in narrow:
        pictures = torch.randn(4, *in_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        check_scores(network.double(), pictures)
        assert _shapes(network).keys() == wanted.keys(), "narrower: got other layers than build, wanted narrower ones"


def check_keep_dense(layers: dict[str, nn.Module], kept: Sequence[str]) -> None:
    """`layers` are those that can be compressed, `kept` those that stay dense by default."""
    strange = sorted(set(kept) - set(layers))
    assert not strange, f"keep_dense: got {strange}, wanted layers to compress: {', '.join(layers)}"
    assert set(kept) < set(layers), "keep_dense: got every layer, wanted some left to compress"


def _build(plugin: Model, name: str, options: Any, in_shape: Shape, seed: int = 0) -> nn.Module | None:
    """The network, or None where the plug-in refuses the pictures with a reason."""
    try:
        return _drawn(seed, plugin.build, name, options, in_shape, CLASSES)
    except NotApplicable as refusal:
        reason = str(refusal)
    assert reason, f"build: refused pictures of {in_shape} without a reason"
    return None


def _drawn(seed: int, build: Callable[..., nn.Module], *given: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*given)


def _shapes(network: nn.Module) -> dict[str, Shape]:
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def _state(plugin: Model, name: str, options: Any, in_shape: Shape, seed: int) -> dict[str, Tensor]:
    model = _build(plugin, name, options, in_shape, seed)
    return {} if model is None else model.state_dict()
