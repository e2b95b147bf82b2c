"""Several guides as one, and the time that they take beside the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tnbench.core.protocols import Crew, Guide
from tnbench.measure.clock import synchronise


class Together(Guide):
    """Each guide at each moment, in order; the first one that takes a step takes it.

    It tells what they tell, and `guide_s`: for each epoch the seconds of what they do apart from their losses and from
    steps of their own, which belong to the steps' times.
    """

    def __init__(self, guides: Sequence[Guide]) -> None:
        self._guides = tuple(guides)
        self._device = torch.device("cpu")
        self._seconds: list[float] = []

    @property
    def shardable(self) -> bool:
        return all(guide.shardable for guide in self._guides)

    @property
    def on_manifold(self) -> bool:
        return any(guide.on_manifold for guide in self._guides)

    def begin(self, model: nn.Module, crew: Crew) -> None:
        self._device = crew.device
        for guide in self._guides:
            guide.begin(model, crew)

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        self._seconds.append(0.0)
        with self._clock():
            changed = [guide.begin_epoch(model, epoch, epochs) for guide in self._guides]
        return any(changed)

    def loss(self, model: nn.Module, inputs: Tensor, scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        for guide in self._guides:
            loss = guide.loss(model, inputs, scores, labels, loss)
        return loss

    def take(self, model: nn.Module, evaluate: Callable[[], Tensor], rate: float) -> Tensor | None:
        taken = (guide.take(model, evaluate, rate) for guide in self._guides)
        return next((loss for loss in taken if loss is not None), None)

    def before_step(self, model: nn.Module) -> None:
        if guides := self._with_their_own("before_step"):
            with self._clock():
                for guide in guides:
                    guide.before_step(model)

    def after_step(self, model: nn.Module) -> None:
        if guides := self._with_their_own("after_step"):
            with self._clock():
                for guide in guides:
                    guide.after_step(model)

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        with self._clock():
            for guide in self._guides:
                guide.end_epoch(model, epoch)

    def state(self) -> dict[str, Any]:
        return {"guides": [guide.state() for guide in self._guides], "seconds": list(self._seconds)}

    def resume(self, model: nn.Module, state: dict[str, Any]) -> None:
        self._seconds = list(state["seconds"])
        for guide, own in zip(self._guides, state["guides"], strict=True):
            guide.resume(model, own)

    def told(self) -> dict[str, Any]:
        told = {"guide_s": self._seconds}
        for guide in self._guides:
            told |= guide.told()
        return told

    def _with_their_own(self, moment: str) -> list[Guide]:
        """Those that do something at a moment of each step. Where none does, no step waits for the device."""
        return [guide for guide in self._guides if getattr(type(guide), moment) is not getattr(Guide, moment)]

    @contextmanager
    def _clock(self) -> Iterator[None]:
        synchronise(self._device)
        start = time.perf_counter()
        yield
        synchronise(self._device)
        self._seconds[-1] += time.perf_counter() - start
