"""Every registered model keeps the contract, and the contract can be broken."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import parse_part
from tnbench.core.protocols import Shape
from tnbench.core.registry import Registry
from tnbench.testing.models import CLASSES, IN_SHAPES, check_model

REGISTRY = Registry()


NAMED = {"tv[NAME]": "tv[squeezenet1_1]", "timm[NAME]": "timm[test_resnet]"}
"""One network of each package that has many."""

SMALL: Sequence[Shape] = ((3, 8, 8),)
IN_SHAPES_OF: dict[str, Sequence[Shape]] = {
    **dict.fromkeys(("mobilenetv2", "resnet9", "resnet18", "resnet44", "resnet56", "resnet110"), SMALL),
    "tv[squeezenet1_1]": ((3, 33, 64),),
}
"""Where the usual pictures do not fit, or take long."""


@pytest.mark.parametrize("name", [NAMED.get(listing.name, listing.name) for listing in REGISTRY.listings("model")])
def test_keeps_the_contract(name):
    if name.startswith("timm["):
        pytest.importorskip("timm", reason="timm is not installed: pip install 'tnbench[timm]'")
    bound = REGISTRY.bind("model", parse_part("model", name)[0])
    in_shapes = IN_SHAPES_OF.get(name, IN_SHAPES)
    check_model(bound.module, bound.atom.name, options=bound.options, in_shapes=in_shapes)


class Sound:
    """A sound plug-in, whose parts the broken ones replace."""

    VERSION = 1

    def build(self, name, options, in_shape, classes):
        if in_shape != (1, 8, 8):
            raise NotApplicable("takes 8x8")
        return self.network(classes)

    def network(self, classes):
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(32, classes))

    def keep_dense(self, model):
        return ("0", "3")


class TakesAnything(Sound):
    def build(self, name, options, in_shape, classes):
        return self.network(classes)


class TakesNothing(Sound):
    def build(self, name, options, in_shape, classes):
        raise NotApplicable("no pictures please")


class GivesNoReason(Sound):
    def build(self, name, options, in_shape, classes):
        raise NotApplicable


class DrawsApart(Sound):
    def network(self, classes):
        torch.seed()
        return super().network(classes)


class DrawsOnce(Sound):
    def network(self, classes):
        torch.manual_seed(0)
        return super().network(classes)


class TenClasses(Sound):
    def network(self, classes):
        return super().network(10)


class SinglePrecision(Sound):
    def network(self, classes):
        class Single(nn.Sequential):
            def forward(self, pictures):
                return super().forward(pictures).float()

        return Single(*super().network(classes))


class Infinite(Sound):
    def network(self, classes):
        class Divided(nn.Sequential):
            def forward(self, pictures):
                return super().forward(pictures) / 0

        return Divided(*super().network(classes))


class AlwaysTraining(Sound):
    def network(self, classes):
        return nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), *super().network(classes))

    def keep_dense(self, model):
        return ("1", "4")


class IdleLayer(Sound):
    def network(self, classes):
        network = super().network(classes)
        network.idle = nn.Parameter(torch.zeros(2))
        return network


class KeepsStrangers(Sound):
    def keep_dense(self, model):
        return ("conv1",)


class KeepsAll(Sound):
    def keep_dense(self, model):
        return ("0", "1", "3")


class Narrow(Sound):
    """A sound plug-in that can be built narrower."""

    def build(self, name, options, in_shape, classes):
        return self.narrower(name, options, in_shape, classes, 1.0)

    def narrower(self, name, options, in_shape, classes, width):
        super().build(name, options, in_shape, classes)
        return self.sized(max(1, round(8 * width)), classes)

    def sized(self, channels, classes):
        return nn.Sequential(nn.Conv2d(1, channels, 3), nn.Flatten(), nn.Linear(36 * channels, classes))

    def keep_dense(self, model):
        return ("0",)


class NeverNarrower(Narrow):
    def sized(self, channels, classes):
        return super().sized(8, classes)


class WiderAtOne(Narrow):
    def build(self, name, options, in_shape, classes):
        return self.narrower(name, options, in_shape, classes, 0.5)


class NarrowScores(Narrow):
    def sized(self, channels, classes):
        return super().sized(channels, min(classes, channels))


class ShallowerToo(Narrow):
    def sized(self, channels, classes):
        if channels >= 8:
            return super().sized(channels, classes)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, channels), nn.Linear(channels, classes))


def test_a_sound_plugin_passes():
    check_model(Sound(), "toy")
    check_model(Narrow(), "toy")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (TakesAnything, "took pictures of one pixel, wanted NotApplicable"),
        (TakesNothing, "wanted in_shapes with one that fits"),
        (GivesNoReason, "without a reason"),
        (DrawsApart, "got different weights from one state"),
        (DrawsOnce, "got the same weights from two states"),
        (TenClasses, rf"got shape \(4, 10\), wanted \(4, {CLASSES}\)"),
        (SinglePrecision, "got torch.float32 in a network of torch.float64"),
        (Infinite, "not finite"),
        (AlwaysTraining, "depend on the rest of its batch"),
        (IdleLayer, "gradients: none reaches idle"),
        (KeepsStrangers, r"got \['conv1'\], wanted layers to compress: 0, 1, 3"),
        (KeepsAll, "got every layer"),
        (NeverNarrower, "parameters at falling widths, wanted ever fewer"),
        (WiderAtOne, r"other tensors than build at the width 1: 0.bias, 0.weight, 2.weight"),
        (NarrowScores, r"got shape \(4, 6\)"),
        (ShallowerToo, "got other layers than build"),
    ],
)
def test_a_broken_plugin_is_caught(broken, says):
    with pytest.raises(AssertionError, match=says):
        check_model(broken(), "toy")
