"""BatchNorm of images whose rows the ranks share: statistics and gradients are those of the whole image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from tnbench.distributed.collectives import Group
from tnbench.distributed.functions import copy_all_to_ranks
from tnbench.distributed.sync_batchnorm import normalised_over


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
            return self._by_running_statistics(x, norm.running_mean, norm.running_var)
        return normalised_over(self.group, x, norm, whole_gradients=True)

    def _by_running_statistics(self, x: Tensor, mean: Tensor, var: Tensor | None) -> Tensor:
        affine = [parameter for parameter in (self.norm.weight, self.norm.bias) if parameter is not None]
        copied = iter(copy_all_to_ranks(affine, self.group) if affine else ())
        weight = None if self.norm.weight is None else next(copied)
        bias = None if self.norm.bias is None else next(copied)
        return functional.batch_norm(x, mean, var, weight, bias, eps=self.norm.eps)
