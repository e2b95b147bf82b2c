"""A layer whose zero weights stay zero in training."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tnbench.measure.counts import layer_macs


class Masked(nn.Module):
    """What `layer` computes, a convolution or linear layer, kept from filling the zeros of its weight.

    The mask is the weight's own pattern of zeros, so it goes where the state dict goes and needs no memory: no
    gradient reaches a weight that is zero, and then weight decay and momentum leave it there. (The hooks of
    ``torch.nn.utils.prune`` leave a tensor that deepcopy refuses once it was computed with gradients, and
    ``torch.nn.utils.parametrize`` makes modules that cannot be pickled, and so not be sent to ranks.)
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """As `layer`."""
        if not torch.is_grad_enabled():  # nothing has to be kept away from the zeros
            return cast(Tensor, self.layer(x))
        weight = self.layer.get_parameter("weight")
        return cast(Tensor, functional_call(self.layer, {"weight": weight * (weight.detach() != 0)}, (x,)))

    def macs(self, inp: torch.Size, out: torch.Size) -> int:
        """Executed multiply-accumulates: the dense layer's, since zeros are multiplied like other numbers."""
        return layer_macs(self.layer, inp, out)

    def to_sequential(self) -> nn.Sequential:
        """The plain layer with these weights. Training it fills the zeros."""
        return nn.Sequential(copy.deepcopy(self.layer)).train(self.training)
