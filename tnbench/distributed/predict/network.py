"""A network as the cost model sees it: its operations in order, each with its sizes for one picture.

Sizes come from one picture on the meta device, so nothing is computed and no weight is copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from operator import or_
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from tnbench.core.protocols import Shape
from tnbench.distributed.halo import Window
from tnbench.distributed.mixed_cuts import graph_of
from tnbench.distributed.sharding.chains import chains_of
from tnbench.distributed.sharding.rows import pool_window, rows_window
from tnbench.measure.counts import layer_macs


@dataclass(frozen=True)
class Op:
    """One operation for one picture: MACs, and words of its weights and of what enters and leaves it.

    `kind` is one of `machine.LAYERS`, or ``memory`` for what only moves words (normalisation, activations, pooling).
    `channels` are the smaller of a group's two sides, those of all groups where each has one channel.
    """

    name: str
    kind: str
    channels: int
    macs: float
    weights: int
    inp: Shape
    out: Shape
    trained: int = 0
    """Words of `weights` that are trained: frozen ones have no gradients to sum, and the optimiser leaves them."""
    bias: int = 0
    """Words of `weights` that are a bias."""
    window: Window | None = None
    """How a kernel slides over the rows, in convolutions and poolings."""
    chain: str = ""
    """Name of the `nn.Sequential` of factors that it belongs to; empty where it is a layer of its own."""

    @property
    def words(self) -> int:
        """What enters and what leaves."""
        return math.prod(self.inp) + math.prod(self.out)


@dataclass(frozen=True)
class Network:
    """The operations in the order of the forward pass, and the words of the buffers."""

    ops: tuple[Op, ...]
    in_shape: Shape
    buffers: int = 0
    norms: tuple[str, ...] = ()
    """Names of the BatchNorm layers."""
    chains: Mapping[str, nn.Sequential] = field(default_factory=dict, compare=False)
    """Name -> layer, of those that are chains of factors."""
    model: nn.Module = field(default_factory=nn.Identity, compare=False, repr=False)

    @cached_property
    def graph(self) -> fx.Graph:
        """As `mixed_cuts.graph_of` gives it, traced once. Raises NotApplicable where the network cannot be traced."""
        return graph_of(self.model, self.in_shape)

    @cached_property
    def entering(self) -> tuple[bool, ...]:
        """Of each operation, whether what enters it wants a gradient: some operation before it has weights to train."""
        return tuple(accumulate((op.trained > 0 for op in self.ops[:-1]), or_, initial=False))

    @property
    def weights(self) -> int:
        """Words of all parameters."""
        return sum(op.weights for op in self.ops)


def network_of(model: nn.Module, in_shape: Shape) -> Network:
    """The operations of `model` for a picture of `in_shape` (C, H, W); `model` stays as it is.

    Functions that are called without a module (an addition of two branches, say) are not seen.
    """
    chains = chains_of(model)
    trained = {name for name, value in model.named_parameters(remove_duplicate=False) if value.requires_grad}
    tracer = _Tracer({id(factor): name for name, chain in chains.items() for factor in chain}, trained)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    dtype = next((value.dtype for value in model.parameters()), torch.float32)
    modes = {module: module.training for module in model.modules()}
    hooks = [module.register_forward_hook(tracer.hook(name)) for name, module in _leaves(model)]
    try:
        with torch.no_grad():
            model.eval()
            functional_call(
                model,
                {name: value.to("meta") for name, value in state.items()},
                torch.empty(1, *in_shape, dtype=dtype, device="meta"),
            )
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    norms = tuple(name for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    buffers = sum(buffer.numel() for buffer in model.buffers())
    return Network(tuple(tracer.ops), in_shape, buffers, norms, chains, model)


@dataclass
class _Tracer:
    chain_of: Mapping[int, str]
    trained: Collection[str]
    ops: list[Op] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(module: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            self.ops.append(self.op(name, module, inputs[0], out))

        return note

    def op(self, name: str, module: nn.Module, inp: Tensor, out: Tensor) -> Op:
        counts = isinstance(module, (_ConvNd, nn.Linear)) or _counts_itself(module)
        # In a call with weights on the meta device only the names still tell which of them are trained.
        own = {} if id(module) in self.seen else {n: each.numel() for n, each in module.named_parameters(prefix=name)}
        weights = sum(own.values())
        self.seen.add(id(module))
        kind, channels = _kind(module, inp, out)
        return Op(
            name,
            kind,
            channels,
            layer_macs(module, inp.shape, out.shape) if counts else 0,
            weights,
            tuple(inp.shape[1:]),
            tuple(out.shape[1:]),
            sum(words for n, words in own.items() if n in self.trained),
            _bias(module) if weights else 0,
            _window(module),
            self.chain_of.get(id(module), ""),
        )


def _kind(module: nn.Module, inp: Tensor, out: Tensor) -> tuple[str, int]:
    if isinstance(module, _ConvNd):
        inner, outer = module.in_channels // module.groups, module.out_channels // module.groups
        if inner == 1 and module.groups > 1:
            return "depthwise", module.groups
        return "conv1x1" if set(module.kernel_size) == {1} else "conv", min(inner, outer)
    if isinstance(module, nn.Linear):
        return "linear", min(module.in_features, module.out_features)
    if _counts_itself(module):
        return "linear", min(inp.shape[1], out.shape[1])
    return "memory", 0


def _bias(module: nn.Module) -> int:
    bias = getattr(module, "bias", None)
    return bias.numel() if isinstance(bias, Tensor) else 0


def _window(module: nn.Module) -> Window | None:
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return rows_window(module)
    return pool_window(module) if isinstance(module, nn.MaxPool2d | nn.AvgPool2d) else None


def _leaves(model: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Modules that are looked at as a whole: those without children, and those that count their own MACs."""
    children = list(model.named_children())
    if not children or _counts_itself(model):
        return [(prefix, model)]
    return [leaf for name, child in children for leaf in _leaves(child, f"{prefix}.{name}" if prefix else name)]


def _counts_itself(module: nn.Module) -> bool:
    return callable(getattr(module, "macs", None))
