"""Several guides as one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.protocols import Crew, Guide
from tnbench.distributed.crew import alone
from tnbench.engine import guides as guides_module
from tnbench.engine.guides import Together


class Adds(Guide):
    """Adds a number to the loss after doubling it, and says when it is called."""

    def __init__(self, number: float, swaps: bool, takes: bool = False) -> None:
        self.number, self.swaps, self.takes = number, swaps, takes
        self.calls: list[str] = []

    def begin(self, model: nn.Module, crew: Crew) -> None:
        self.calls.append("begin")

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        self.calls.append("begin_epoch")
        return self.swaps

    def loss(self, model: nn.Module, inputs: Tensor, scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        return 2 * loss + self.number

    def take(self, model: nn.Module, evaluate: Any, rate: float) -> Tensor | None:
        return torch.tensor(self.number) if self.takes else None

    def before_step(self, model: nn.Module) -> None:
        self.calls.append("before_step")

    def after_step(self, model: nn.Module) -> None:
        self.calls.append("after_step")

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        self.calls.append("end_epoch")

    def state(self) -> dict[str, Any]:
        return {"number": self.number}

    def resume(self, model: nn.Module, state: dict[str, Any]) -> None:
        self.number = state["number"]

    def told(self) -> dict[str, Any]:
        return {f"told_{self.number:g}": [1]}


MODEL, NONE = nn.Linear(2, 2), torch.zeros(1)


def test_each_guide_is_called_at_each_moment_in_order() -> None:
    guides = Adds(1.0, swaps=True), Adds(3.0, swaps=False)
    both = Together(guides)
    both.begin(MODEL, alone("cpu"))
    assert both.begin_epoch(MODEL, 0, 1)
    assert float(both.loss(MODEL, NONE, NONE, NONE, torch.tensor(5.0))) == 2 * (2 * 5 + 1) + 3
    both.before_step(MODEL)
    both.after_step(MODEL)
    both.end_epoch(MODEL, 0)
    for guide in guides:
        assert guide.calls == ["begin", "begin_epoch", "before_step", "after_step", "end_epoch"]
    told = both.told()
    assert told.keys() == {"guide_s", "told_1", "told_3"}
    assert len(told["guide_s"]) == 1
    assert told["guide_s"][0] > 0


class Ends(Guide):
    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        self.ended = epoch


def test_a_step_waits_for_the_device_only_where_a_guide_does_something_then(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(guides_module, "synchronise", waited.append)
    for guides, steps in (([Ends()], 0), ([Ends(), Adds(1.0, swaps=False)], 4)):
        both = Together(guides)
        both.begin_epoch(MODEL, 0, 1)
        waited.clear()
        both.before_step(MODEL)
        both.after_step(MODEL)
        assert len(waited) == steps
        both.end_epoch(MODEL, 0)
        assert len(waited) == steps + 2


def test_the_first_that_takes_a_step_takes_it() -> None:
    assert Together([Adds(1.0, False), Adds(2.0, False)]).take(MODEL, None, 0.1) is None
    assert float(Together([Adds(1.0, False), Adds(2.0, False, takes=True)]).take(MODEL, None, 0.1) or 0) == 2


def test_states_go_back_to_their_guides() -> None:
    both, again = (Together([Adds(one, False), Adds(other, False)]) for one, other in ((1.0, 2.0), (0.0, 0.0)))
    both.begin_epoch(MODEL, 0, 1)
    again.resume(MODEL, both.state())
    assert again.told() == both.told()
