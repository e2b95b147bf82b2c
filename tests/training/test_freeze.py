"""Sequential freezing: in each epoch one factor moves and the others do not."""

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Augmentation, Crew, Normalisation, Recipe
from tnbench.distributed.crew import alone
from tnbench.engine.loop import fit
from tnbench.training.freeze import Freeze

FACTORS = {"1": ("1.0.weight", "1.1.weight")}


class Watching(Freeze):
    """Keeps the weights at the end of each epoch."""

    def begin(self, model: nn.Module, crew: Crew) -> None:
        self.ends = [weights_of(model)]

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        super().end_epoch(model, epoch)
        self.ends.append(weights_of(model))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def trained(guide: Watching) -> list[set[str]]:
    """The names that moved, epoch by epoch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Flatten(), nn.Sequential(nn.Linear(16, 4, bias=False), nn.Linear(4, 6)), nn.Linear(6, 2)
        )
    generator = torch.Generator().manual_seed(1)
    run = fit(
        model,
        torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8, generator=generator),
        torch.arange(20) % 2,
        normalisation=Normalisation((0.5,), (0.5,)),
        augmentation=Augmentation(),
        recipe=Recipe(epochs=3, lr=0.1, batch_size=10, momentum=0.9, weight_decay=5e-4, seed=3),
        crew=alone("cpu"),
        dtype=torch.float32,
        guide=guide,
    )
    assert run.told == guide.told()
    assert all(parameter.requires_grad for parameter in model.parameters())
    pairs = zip(guide.ends, guide.ends[1:], strict=False)
    return [{name for name in after if not torch.equal(before[name], after[name])} for before, after in pairs]


def test_the_frozen_factor_does_not_move_and_the_other_does():
    guide, others = Watching(FACTORS), {"1.1.bias", "2.weight", "2.bias"}
    assert trained(guide) == [{"1.0.weight", *others}, {"1.1.weight", *others}, {"1.0.weight", *others}]
    assert guide.told() == {"trains": [["1.0.weight"], ["1.1.weight"], ["1.0.weight"]]}


def test_a_network_without_factors_is_trained_as_ever():
    guide = Watching({"2": ("2.weight",)})
    assert all(len(moved) == 5 for moved in trained(guide))


def test_the_factors_of_a_case_take_turns(digits):
    _, tools = digits.run("tucker2[only=conv2]", "freeze", epochs=4)
    assert tools.fits[0].told["trains"] == [[f"conv2.{place}.weight"] for place in (0, 1, 2, 0)]
    with pytest.raises(NotApplicable, match="has 3: got 2 epochs for them, wanted at least 3; raise --epochs"):
        digits.run("tucker2[only=conv2]", "freeze", epochs=2)
    _, tied = digits.run("dense", "freeze")
    _, plain = digits.run("dense", "finetune")
    assert tied.fits[0].loss == plain.fits[0].loss
