"""Every registered training keeps the contract, and the contract can be broken."""

import copy

import pytest
import torch

from tnbench.core.grammar import Atom
from tnbench.core.registry import Registry
from tnbench.testing.training import check_training

REGISTRY = Registry()


@pytest.mark.parametrize("name", [listing.name for listing in REGISTRY.listings("training")])
def test_keeps_the_contract(name):
    bound = REGISTRY.bind("training", Atom(name))
    check_training(bound.module, options=bound.options)


class Sound:
    """A sound plug-in, whose parts the broken ones replace."""

    VERSION = 1

    def needs_baseline(self, options):
        return True

    def run(self, tools, options):
        model = tools.compress(tools.baseline())
        tools.fit(model, epochs=tools.settings.epochs, lr=0.1)
        return model


class HidesItsBaseline(Sound):
    def needs_baseline(self, options):
        return False


class NeedsNoneButSaysSo(Sound):
    def run(self, tools, options):
        return tools.compress(tools.fresh())


class LeavesItDense(Sound):
    def run(self, tools, options):
        return tools.baseline()


class ReturnsACopy(Sound):
    def run(self, tools, options):
        return copy.deepcopy(super().run(tools, options))


class HasEpochsOfItsOwn(Sound):
    def run(self, tools, options):
        model = super().run(tools, options)
        tools.fit(model, epochs=1, lr=0.1)
        return model


class ExpandsWhatNobodyCompressed(Sound):
    def run(self, tools, options):
        return tools.compress(tools.expand(tools.baseline()))


class TrainsAtRandom(Sound):
    def run(self, tools, options):
        model = super().run(tools, options)
        model.weight.data += torch.rand(3, 4)
        return model


class TrainsEverLonger(Sound):
    runs = 0

    def run(self, tools, options):
        self.runs += 1
        model = tools.compress(tools.baseline())
        for _ in range(self.runs):
            tools.evaluate_before(model)
        return model


class TrainsBackwards(Sound):
    def run(self, tools, options):
        model = tools.compress(tools.baseline())
        tools.fit(model, epochs=-1, lr=0.1)
        return model


class StandsStill(Sound):
    def run(self, tools, options):
        model = tools.compress(tools.baseline())
        tools.fit(model, epochs=1, lr=0.0)
        return model


def test_a_sound_plugin_passes():
    check_training(Sound())


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (HidesItsBaseline, "needs_baseline: got False, and run asked for one"),
        (NeedsNoneButSaysSo, "needs_baseline: got True, and run did not ask for one"),
        (LeavesItDense, "got a network that is not from compress"),
        (ReturnsACopy, "got a network that is not from compress"),
        (HasEpochsOfItsOwn, "got 13 epochs where the settings' are twice those that gave 7, wanted 14"),
        (ExpandsWhatNobodyCompressed, "got a network that compress did not give"),
        (TrainsAtRandom, "got another network when run again"),
        (TrainsEverLonger, "when run again"),
        (TrainsBackwards, "fit: got -1 epochs"),
        (StandsStill, "fit: got a rate of 0.0"),
    ],
)
def test_a_broken_plugin_is_caught(broken, says):
    with pytest.raises(AssertionError, match=says):
        check_training(broken())
