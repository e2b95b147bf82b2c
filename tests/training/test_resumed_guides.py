"""What a guide keeps is enough: a training that was killed ends with the bits of an undisturbed one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tnbench.core.grammar import Atom
from tnbench.core.protocols import Augmentation, Guide, Normalisation, Part, Recipe
from tnbench.core.registry import Registry
from tnbench.distributed.crew import alone
from tnbench.engine.checkpoint import Checkpoint
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.guides import Together
from tnbench.engine.loop import RankFit, fit
from tnbench.engine.parts import parts_of
from tnbench.training._manifolds import OnManifolds
from tnbench.training.admm import Admm
from tnbench.training.dlrt import adaptive
from tnbench.training.freeze import Freeze
from tnbench.training.riemannian import along


class KilledError(Exception):
    """In the place of a signal."""


class Dies(Guide):
    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        if epoch == 2:
            raise KilledError
        return False


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))


def parts(method: str = "svd") -> list[Part]:
    bound = Registry().bind("method", Atom(method)), Registry().bind("rank", Atom("k4"))
    return list(parts_of(swap_layers(network(), [bound[0]], bound[1], Conditions(only=("1",))), seed=0))


def trained(guides: list[Guide], checkpoint: Checkpoint | None) -> RankFit:
    generator = torch.Generator().manual_seed(1)
    return fit(
        network(),
        torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8, generator=generator),
        torch.arange(20) % 2,
        normalisation=Normalisation((0.5,), (0.5,)),
        augmentation=Augmentation(),
        recipe=Recipe(epochs=4, lr=0.1, batch_size=10, momentum=0.9, weight_decay=5e-4, seed=3),
        crew=alone("cpu"),
        dtype=torch.float32,
        guide=Together(guides),
        checkpoint=checkpoint,
    )


@pytest.mark.parametrize(
    "made",
    [
        lambda: Admm(parts(), 0.1),
        lambda: OnManifolds(parts(), along),
        lambda: OnManifolds(parts("tt"), along),
        lambda: OnManifolds(parts("tucker2"), partial(adaptive, tau=0.2)),
        lambda: Freeze({"1": ("1.weight", "1.bias")}),
    ],
    ids=["admm", "riemannian", "riemannian-tt", "dlrt", "freeze"],
)
def test_a_killed_training_goes_on_to_the_same_bits(made: Callable[[], Guide], tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "key-1.pt", "start")
    whole = trained([Guide(), made()], None)
    with pytest.raises(KilledError):
        trained([Dies(), made()], checkpoint)
    again = trained([Guide(), made()], checkpoint)
    assert again.loss == whole.loss
    assert all(torch.equal(value, again.state[name]) for name, value in whole.state.items())
    told, wanted = again.told, whole.told
    assert {name: told[name] for name in told if name != "guide_s"} == {
        name: wanted[name] for name in wanted if name != "guide_s"
    }
    assert len(told["guide_s"]) == 4
