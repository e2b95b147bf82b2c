"""GPipe's schedule (Huang et al. 2019): micro-batches forward through the stages, then backward in reverse.

Every rank calls the pipelined network with the whole batch, gets the scores, and goes backward from the loss: what the
last stage computed is sent to all, and each rank's backward pass runs the reverse schedule of its own stage.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from tnbench.distributed.collectives import Group, broadcast, exchange, rank_in, size
from tnbench.distributed.pipeline.split import Split, split, stage_of


class Pipelined(nn.Module):
    """`model` in as many stages as `group` has ranks. The first call cuts it, for pictures like those.

    From then on a rank holds the weights of its own stage only, and the others are empty tensors. How it was cut is put
    into `made`, an empty list.
    """

    def __init__(self, model: nn.Module, group: Group, microbatches: int, made: list[Split]) -> None:
        super().__init__()
        self.model, self.group, self.microbatches, self.made = model, group, microbatches, made
        self.stage, self.stages = rank_in(group), size(group)
        self._parts: dict[bool, nn.Module] = {}

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) to scores (N, classes), on every rank."""
        if not self.made:
            self.made.append(split(self.model, pictures, self.stages))
            release(self.model, self.made[0], self.stage)
        if not torch.is_grad_enabled():
            return self.through(pictures, [])
        anchor = torch.zeros((), device=pictures.device, requires_grad=True)
        return cast(Tensor, _Schedule.apply(anchor, pictures, self))

    def back(self, gradient: Tensor, kept: list[tuple[Tensor, Tensor]]) -> None:
        """Backward with all micro-batches, the last one first; the weights of this stage get their gradients."""
        gradients = gradient.split([len(out) for _, out in kept])
        for (entered, out), of_scores in zip(reversed(kept), reversed(gradients), strict=True):
            given = of_scores if self._is_last else torch.zeros_like(out)
            if not self._is_last:
                exchange([], [(self.stage + 1, given)], self.group)
            if out.requires_grad:
                torch.autograd.backward(out, given)
            if self.stage > 0:
                exchange([(self.stage - 1, cast(Tensor, entered.grad))], [], self.group)

    @property
    def _is_last(self) -> bool:
        return self.stage == self.stages - 1

    def through(self, pictures: Tensor, kept: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Forward with all micro-batches; what entered and left this stage is `kept` for the way back."""
        part, given = self._part(), []
        for batch in pictures.tensor_split(min(self.microbatches, len(pictures))):
            entered = batch
            if self.stage > 0:
                entered = self.made[0].leaves[self.stage - 1].empty(len(batch), pictures.device)
                exchange([], [(self.stage - 1, entered)], self.group)
                entered.requires_grad_(torch.is_grad_enabled())
            out = part(entered.clone())  # a layer may work in place, which a tensor with a gradient does not bear
            out = out.to(self.made[0].leaves[self.stage].dtype)  # that the next rank waits for, autocast or not
            kept.append((entered, out))
            given.append(out.detach())
            if not self._is_last:
                exchange([(self.stage + 1, out.detach())], [], self.group)
        scores = torch.cat(given) if self._is_last else self.made[0].leaves[-1].empty(len(pictures), pictures.device)
        return broadcast(scores, self.stages - 1, self.group)

    def _part(self) -> nn.Module:
        """This stage's operations in the present mode: training, or not."""
        if self.model.training not in self._parts:
            self._parts[self.model.training] = stage_of(self.model, self.made[0], self.stage)
        return self._parts[self.model.training]


class _Schedule(torch.autograd.Function):
    """The forward schedule, whose backward pass is the reverse one. `anchor` only makes the scores want a gradient."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, pictures: Tensor, pipeline: Pipelined) -> Tensor:
        ctx.pipeline, ctx.kept = pipeline, []
        with torch.enable_grad():
            return pipeline.through(pictures, ctx.kept)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        ctx.pipeline.back(gradients[0], ctx.kept)
        ctx.kept = []
        return None, None, None


def release(model: nn.Module, made: Split, stage: int) -> None:
    """Let go of the weights of other stages, in place; buffers, which are small, stay."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if made.owners[name] != stage:
            parameter.data = parameter.data.new_empty(0)


def collected(model: nn.Module, made: Split, group: Group, device: torch.device) -> dict[str, Tensor]:
    """The state dict of the whole network on the CPU, each tensor from the rank that has it."""
    found = {}
    for name, value in model.state_dict().items():
        kind = made.kinds[name]
        mine = (
            value if made.owners[name] == rank_in(group) else torch.zeros(kind.sides, dtype=kind.dtype, device=device)
        )
        found[name] = broadcast(mine, made.owners[name], group).to("cpu", copy=True)
    return found
