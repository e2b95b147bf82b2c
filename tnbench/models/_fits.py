"""Whether pictures go through a network of somebody else's, found out without computing anything."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape


def check_fits(name: str, model: nn.Module, in_shape: Shape, classes: int) -> None:
    """Raise NotApplicable unless `model` gives scores (1, classes) for one picture of `in_shape` (C, H, W).

    The forward pass runs on the meta device, in eval mode: shapes only, and `model` stays as it is.
    """
    shown = "x".join(map(str, in_shape))
    try:
        scores = _on_meta(model, in_shape)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise NotApplicable(f"{name} does not take pictures of {shown}: {reason}") from None
    got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if got != (1, classes):
        raise NotApplicable(f"{name} is no classifier of {shown}: got {got} for one picture, wanted {(1, classes)}")


def _on_meta(model: nn.Module, in_shape: Shape) -> object:
    tensors = {key: tensor.to("meta") for key, tensor in chain(model.named_parameters(), model.named_buffers())}
    training = model.training
    try:
        with torch.no_grad():
            scores: object = torch.func.functional_call(model.eval(), tensors, torch.empty(1, *in_shape, device="meta"))
        return scores
    finally:
        model.train(training)
