"""Filter pruning: convolutions lose the filters of least L1 norm, and the next layers the channels that these made.

Li, Kadav, Durdanovic, Samet and Graf, "Pruning filters for efficient ConvNets" (2017), at once and with one fraction
for all layers. Norms are over all input channels, whichever of them go too (the paper's independent pruning). Channels
that meet others in a sum, the trunk of a residual network, all stay, as there. Units of linear layers that feed linear
layers are pruned likewise, where the paper prunes convolutions only: they hold most weights of AlexNet, VGG and LeNet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.engine.channels import Group, channel_groups, keep_channels
from tnbench.methods import _width

VERSION = 1
SCOPE = "network"

widths = _width.widths


def refuses_network(model: nn.Module) -> str | None:
    """Why no channel can be removed; None where some can."""
    try:
        groups = channel_groups(model)
    except NotApplicable as refusal:
        return str(refusal)
    return None if groups else "none of its layers makes channels that can be removed without touching a sum or a join"


def narrowed(
    model: nn.Module,
    width: int,
    *,
    seed: int,
    options: Any,
    rebuild: Callable[[float], nn.Module] | None,
) -> nn.Module:
    """A copy with `width` / 256 of the filters of each layer, at least one.

    Raises NotApplicable where torch.fx cannot trace the network.
    """
    groups = channel_groups(model)
    return keep_channels(model, [(group, _largest(model, group, width)) for group in groups])


def _largest(model: nn.Module, group: Group, width: int) -> Tensor:
    """The channels that stay, in their order: those whose filters have the largest L1 norm, the first of equal ones."""
    weight = cast(Tensor, model.get_submodule(group.producer).weight).detach()
    norms = weight.double().flatten(1).abs().sum(1)
    kept = max(1, round(width * group.channels / _width.STEPS))
    return norms.argsort(descending=True, stable=True)[:kept].sort().values
