"""BatchNorm of images whose rows the ranks share: statistics and gradients are those of the whole image."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from tnbench.distributed.collectives import Group, all_reduce
from tnbench.distributed.functions import copy_all_to_ranks
from tnbench.distributed.sync_batchnorm import along_channels, group_statistics


class RowNorm(nn.Module):
    """`norm` on a rank's rows. Its parameters, buffers and mode stay the layer's own, and get whole gradients.

    Training: forward one all-reduce of 2C + 1 words (sums, sums of squares, number of values), backward one of 2C,
    which has the gradients of weight and bias too. Eval mode exchanges nothing but these gradients.
    """

    def __init__(self, norm: _BatchNorm, group: Group) -> None:
        super().__init__()
        self.norm, self.group = norm, group

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H', ...), the same shape back."""
        norm = self.norm
        if not norm.training and norm.running_mean is not None:
            return self._by_runninggroup_statistics(x, norm.running_mean, norm.running_var)
        normalised, mean, var, n = _Normalise.apply(x, norm.weight, norm.bias, norm.eps, self.group)
        if norm.training and norm.running_mean is not None:
            _follow(norm, mean, var * (n / (n - 1)))
        return cast(Tensor, normalised)

    def _by_runninggroup_statistics(self, x: Tensor, mean: Tensor, var: Tensor | None) -> Tensor:
        weight: Tensor | None = self.norm.weight
        bias: Tensor | None = self.norm.bias
        if weight is not None and bias is not None:
            weight, bias = copy_all_to_ranks([weight, bias], self.group)
        return functional.batch_norm(x, mean, var, weight, bias, eps=self.norm.eps)


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
    """(x - mean) / sqrt(var + eps) * weight + bias, and beside it mean, variance and number of values in float64."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Group
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, var, n = group_statistics(x, group)
        computed = torch.promote_types(x.dtype, torch.float32)
        scale = (var + eps).rsqrt().to(computed)
        standard = (x.to(computed) - along_channels(mean.to(computed), x)) * along_channels(scale, x)
        ctx.save_for_backward(standard, scale, weight, n)
        ctx.group = group
        ctx.mark_non_differentiable(mean, var, n)
        out = (
            standard
            if weight is None or bias is None
            else standard * along_channels(weight, x) + along_channels(bias, x)
        )
        return out.to(x.dtype), mean, var, n

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        standard, scale, weight, n = ctx.saved_tensors
        wide = gradients[0].to(standard.dtype)
        sides = [0, *range(2, wide.dim())]
        total = all_reduce(torch.cat([wide.sum(sides), (wide * standard).sum(sides)]), ctx.group)
        of_bias, of_weight = total.chunk(2)
        centred = (
            wide
            - along_channels(of_bias / n.to(total), wide)
            - standard * along_channels(of_weight / n.to(total), wide)
        )
        back = centred * along_channels(scale if weight is None else scale * weight, wide)
        affine = (None, None) if weight is None else (of_weight.to(weight), of_bias.to(weight))
        return back.to(gradients[0].dtype), *affine, None, None
