"""Which methods' weights of fixed ranks form a manifold, and the guide that keeps weights on it while they train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch

from tnbench.core.errors import Diverged, NotApplicable
from tnbench.core.protocols import Crew, Guide, Part
from tnbench.linalg.tt_manifold import TrainPoint, nearby_train, point_of_cores
from tnbench.linalg.tucker_manifold import TuckerPoint, nearby_point

if TYPE_CHECKING:
    from torch import Tensor, nn

Point = TuckerPoint | TrainPoint
Move = Callable[[Part, Point, "Tensor"], Point]
"""A part, where its weight is, and the optimiser's step from there (in the tensor's shape), to where it goes."""

TUCKER, TRAIN = ("svd", "tucker2", "tucker"), ("tt",)


def check_manifolds(training: str, parts: Sequence[Part], methods: Sequence[str]) -> None:
    """Raise NotApplicable, with the reason, for a part whose method is not among `methods` (or the dense one)."""
    for part in parts:
        if part.ranks and part.method not in methods:
            raise NotApplicable(
                f"training {training} keeps weights on a manifold, which is known for {', '.join(methods)}, not for "
                f"{part.method} (layer {part.name!r}); take one of these, or a training such as finetune"
            )
        if part.groups > 1:
            raise NotApplicable(
                f"training {training}: layer {part.name!r} is a convolution of {part.groups} groups, each of which has "
                f"factors of its own; skip the layer, or take a training such as finetune"
            )


class OnManifolds(Guide):
    """Puts each weight back on its manifold after the optimiser's step.

    The dense network is trained; the optimiser's step D from a weight W on the manifold, momentum and weight decay
    included, is what `move` turns into the next weight on the manifold. Everything else moves as the optimiser says.
    It tells `ranks`: for each epoch the ranks of each layer at its end.
    """

    def __init__(self, parts: Sequence[Part], move: Move) -> None:
        self._parts, self._move = {part.layers[0]: part for part in parts if part.ranks}, move
        self.points: dict[str, Point] = {}
        self._before: dict[str, Tensor] = {}
        self._ranks: list[dict[str, list[int]]] = []

    @property
    def on_manifold(self) -> bool:
        return True

    def begin(self, model: nn.Module, crew: Crew) -> None:
        for name, part in self._parts.items():
            self._put(model, name, _nearby(part, _tensor(part, _weight(model, name))))

    def after_step(self, model: nn.Module) -> None:
        for name, part in self._parts.items():
            step = _tensor(part, _weight(model, name) - self._before[name])
            if not step.isfinite().all():
                raise Diverged(
                    f"a step of layer {name} is not finite in epoch {len(self._ranks) + 1}; take a lower rate"
                )
            self._put(model, name, self._move(part, self.points[name], step.double()))

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        self._ranks.append({name: _ranks(self._parts[name], point) for name, point in self.points.items()})

    def state(self) -> dict[str, Any]:
        return {"points": {name: list(_tensors(point)) for name, point in self.points.items()}, "ranks": self._ranks}

    def resume(self, model: nn.Module, state: dict[str, Any]) -> None:
        self._ranks = list(state["ranks"])
        for name, tensors in state["points"].items():
            on_device = [tensor.to(_weight(model, name).device) for tensor in tensors]
            self._put(model, name, _point(self.points[name], on_device))

    def told(self) -> dict[str, Any]:
        return {"ranks": self._ranks}

    def _put(self, model: nn.Module, name: str, point: Point) -> None:
        weight = _weight(model, name)
        weight.copy_(_back(self._parts[name], point.tensor, weight))
        self.points[name], self._before[name] = point, weight.clone()


def _weight(model: nn.Module, name: str) -> Tensor:
    return cast("Tensor", model.get_submodule(name).weight).detach()


def _is_train(part: Part, weight: Tensor) -> bool:
    return part.method in TRAIN and weight.dim() > 2


def _tensor(part: Part, weight: Tensor) -> Tensor:
    """The weight as the tensor that its method decomposes: a matrix, (I, *k, O) for a train, or as it is."""
    if part.method == "svd":
        return weight.flatten(1)
    return weight.movedim(0, -1) if _is_train(part, weight) else weight


def _back(part: Part, tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.movedim(-1, 0) if _is_train(part, like) else tensor.reshape(like.shape)


def _nearby(part: Part, tensor: Tensor) -> Point:
    if tensor.dim() == 2:
        return nearby_point(tensor, part.ranks * 2, (0, 1))
    if part.method in TRAIN:
        return nearby_train(tensor, part.ranks)
    # Channels of the input first, as in the ranks of Tucker methods.
    return nearby_point(tensor, part.ranks, (1, 0, *range(2, len(part.ranks))))


def _ranks(part: Part, point: Point) -> list[int]:
    """The point's ranks as the method counts them: one for a matrix."""
    return list(point.ranks[: len(part.ranks)])


def _tensors(point: Point) -> tuple[torch.Tensor, ...]:
    return point.left if isinstance(point, TrainPoint) else (point.core, *point.bases)


def _point(like: Point, tensors: Sequence[Tensor]) -> Point:
    if isinstance(like, TrainPoint):
        return point_of_cores(tuple(tensors))
    core, *bases = tensors
    return TuckerPoint(core, tuple(bases), like.modes)
