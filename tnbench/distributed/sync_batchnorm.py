"""BatchNorm whose statistics are over the pictures of all ranks, on any device; torch's own refuses the CPU."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tnbench.distributed.collectives import Group, all_reduce, is_muted, size


def has_batch_norm(model: nn.Module) -> bool:
    """Whether some layer of `model` normalises by the pictures of its own rank."""
    return any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for layer in model.modules())


def synchronise_batch_norm(model: nn.Module, group: Group) -> None:
    """Let the BatchNorm layers of `model` take their statistics over the ranks of `group`, in place.

    The layers stay the same objects with the same parameters and buffers, so a state dict has the names it had. Ranks
    may have shares of different sizes. The running statistics are the same on all ranks, and those of one process.
    """
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            changed = cast(Any, layer)
            changed.__class__, changed.group = _uncompiled(), group


class GroupBatchNorm(_BatchNorm):
    """As torch's BatchNorm, the statistics in training being those of the whole batch of a group.

    Forward is one all-reduce of 2C + 1 words (sums, sums of squares, number of values), backward one of 2C. In eval
    mode nothing is sent, whatever the layer normalises by: one rank may classify while the others do something else.
    """

    group: Group = None

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...), the same shape back."""
        if not self.training:
            return super().forward(input)
        return normalised_over(self.group, input, self, whole_gradients=False)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of sides will do."""


@cache
def _uncompiled() -> type[GroupBatchNorm]:
    """The layer at which a compiled network breaks; made when wanted, since that imports torch's compiler (150 MB)."""
    return type("GroupBatchNorm", (GroupBatchNorm,), {"forward": torch.compiler.disable(GroupBatchNorm.forward)})


def normalised_over(group: Group, x: Tensor, norm: _BatchNorm, *, whole_gradients: bool) -> Tensor:
    """`x` (N, C, ...) by its statistics over the ranks of `group`, and by the weight and bias of `norm`.

    In training the running statistics of `norm` follow. The gradients of its weight and bias are those of this rank's
    own values, or of all ranks' with `whole_gradients`. Raises ValueError, as torch does, where a channel has but one
    value in all: nothing is left of it, and it has no variance.
    """
    out, mean, var, n = _Normalise.apply(x, norm.weight, norm.bias, norm.eps, group, whole_gradients)
    if norm.training and norm.running_mean is not None:
        _follow(norm, mean, var * (n / (n - 1).clamp(min=1)))  # when muted a rank may see one value, of variance 0
    return cast(Tensor, out)


@torch.no_grad()
def _follow(norm: _BatchNorm, mean: Tensor, var: Tensor) -> None:
    """Move the running statistics towards those of a batch, as torch does."""
    running_mean, running_var, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert running_mean is not None
    assert running_var is not None
    assert batches is not None
    batches.add_(1)
    rate = 1 / batches.to(mean) if norm.momentum is None else norm.momentum
    running_mean.copy_(running_mean + rate * (mean - running_mean))
    running_var.copy_(running_var + rate * (var - running_var))


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, with what the running statistics need beside it, in float64."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Group, whole: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, var, n = group_statistics(x, group)
        computed = torch.promote_types(x.dtype, torch.float32)
        scale = (var + eps).rsqrt().to(computed)
        standardised = (x.to(computed) - along_channels(mean.to(computed), x)) * along_channels(scale, x)
        ctx.save_for_backward(standardised, scale, weight, bias, n)
        ctx.group, ctx.whole = group, whole
        out = standardised if weight is None else standardised * along_channels(weight, x)
        ctx.mark_non_differentiable(mean, var, n)
        return (out if bias is None else out + along_channels(bias, x)).to(x.dtype), mean, var, n

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        standardised, scale, weight, bias, n = ctx.saved_tensors
        gradient = gradients[0]
        sides = _sides(gradient)
        wide = gradient.to(standardised.dtype)
        own = torch.cat([wide.sum(sides), (wide * standardised).sum(sides)])
        total = all_reduce(own, ctx.group)
        mean, slope = (total / n.to(total)).chunk(2)
        inner = wide - along_channels(mean, wide) - standardised * along_channels(slope, wide)
        back = inner * along_channels(scale if weight is None else scale * weight, wide)
        of_bias, of_weight = (total if ctx.whole else own).chunk(2)
        affine = (None if weight is None else of_weight.to(weight), None if bias is None else of_bias.to(bias))
        return back.to(gradient.dtype), *affine, None, None, None


def group_statistics(x: Tensor, group: Group) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), variance (C,) and number of values of each channel over the group, float64.

    Each rank centres its own share first; what is left to cancel between ranks is done in float64. Raises ValueError
    where that number is 1.
    """
    var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), _sides(x), correction=0)
    var, mean = var.double(), mean.double()
    n = torch.tensor([x.numel() // x.shape[1]], dtype=torch.float64, device=x.device)
    total = all_reduce(torch.cat([n * mean, n * (var + mean**2), n]), group)
    sums, squares, n = total.split([len(mean), len(mean), 1])
    if x.numel() < 2 * x.shape[1]:  # else there are two here already, and a GPU need not be waited for
        _check_several(n, x, group)
    mean = sums / n
    return mean, (squares / n - mean**2).clamp(min=0), n


def _check_several(n: Tensor, x: Tensor, group: Group) -> None:
    if n.item() < 2 and not is_muted():  # muted, the number is this rank's own
        raise ValueError(
            f"got one value per channel over {size(group)} ranks (input {tuple(x.shape)} here), expected more than 1 "
            f"value per channel when training; raise batch_size"
        )


def _sides(x: Tensor) -> list[int]:
    """All but that of the channels."""
    return [0, *range(2, x.ndim)]


def along_channels(values: Tensor, x: Tensor) -> Tensor:
    """(C,) so that it goes along the channels of `x`."""
    return values.view(-1, *[1] * (x.ndim - 2))
