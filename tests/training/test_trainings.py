"""What each training asks of its tools, in which order and with which numbers."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom, parse_part
from tnbench.core.registry import Bound, Registry
from tnbench.core.settings import Settings
from tnbench.testing.training import StandInTools
from tnbench.training import bn, finetune, none, scratch
from tnbench.training._epochs import shared

SETTINGS = Settings(epochs=3, lr=0.5, baseline_epochs=7, baseline_lr=0.25)
TRAININGS = [listing.name for listing in Registry().listings("training")]


class RecordingTools(StandInTools):
    def __init__(self, settings):
        super().__init__(settings)
        self.asked = []

    def compress(self, model, *, rescale=False, ranks=None):
        self.rescaled = rescale
        return super().compress(model, rescale=rescale, ranks=ranks)

    def fit(self, model, *, epochs, lr, guide=None):
        self.asked.append((epochs, lr))
        return super().fit(model, epochs=epochs, lr=lr)


def bound(text: str) -> Bound:
    return Registry().bind("training", parse_part("training", text)[0])


def tools_after(text: str, settings: Settings = SETTINGS) -> RecordingTools:
    tools, training = RecordingTools(settings), bound(text)
    training.module.run(tools, training.options)
    return tools


def default_options(plugin: Any) -> Any:
    return plugin.Options() if hasattr(plugin, "Options") else None


@pytest.mark.parametrize(
    ("plugin", "calls", "rescaled", "weight"),
    [
        (none, ["baseline", "compress"], False, 1.0),
        (bn, ["baseline", "compress", "evaluate_before", "recalibrate"], False, 1.0),
        (finetune, ["baseline", "compress", "evaluate_before", "fit"], False, 1.0 + 3 * 0.5),
        (scratch, ["fresh", "compress", "evaluate_before", "fit"], True, 2.0 + 3 * 0.25),
    ],
    ids=["none", "bn", "finetune", "scratch"],
)
def test_calls_in_order(plugin, calls, rescaled, weight):
    tools = RecordingTools(SETTINGS)
    model = plugin.run(tools, default_options(plugin))
    assert tools.calls == calls
    assert tools.rescaled == rescaled
    assert torch.equal(model.weight, torch.full((3, 4), weight))


@pytest.mark.parametrize(
    ("training", "fits"),
    [
        ("finetune", [(3, 0.5)]),
        ("distill", [(3, 0.5)]),
        ("freeze", [(3, 0.5)]),
        ("riemannian", [(3, 0.5)]),
        ("iterative", [(1, 0.5)] * 3),
        ("iterative[steps=2]", [(1, 0.5), (2, 0.5)]),
        ("iterative[epochs=each,steps=2]", [(3, 0.5)] * 2),
        ("admm", [(2, 0.5), (1, 0.5)]),
        ("admm[share=1]", [(3, 0.5), (0, 0.5)]),
        ("dlrt[start=baseline]", [(3, 0.5)]),
        ("dlrt", [(3, 0.25)]),
        ("dlrt[epochs=total]", [(10, 0.25)]),
        ("scratch", [(3, 0.25)]),
        ("scratch[epochs=total]", [(10, 0.25)]),
        ("warmup-scratch", [(1, 0.25), (2, 0.25)]),
        ("warmup-scratch[epochs=total,share=0.5]", [(5, 0.25), (5, 0.25)]),
    ],
)
def test_epochs_and_rates_are_those_of_the_settings(training, fits):
    assert tools_after(training).asked == fits


@pytest.mark.parametrize("name", TRAININGS)
def test_the_control_trains_for_as_many_epochs(name):
    """Dense under each training: as many epochs as the others have in all, and not a number more or less."""
    tools = tools_after(name, Settings(epochs=4))
    assert tools.epochs == (0 if name in ("none", "bn") else 4)


def test_the_warm_up_is_dense_and_the_rest_is_not():
    assert tools_after("warmup-scratch").calls == ["fresh", "fit", "compress", "evaluate_before", "fit"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scratch[epochs=totl]", "the nearest is 'total'"),
        ("admm[rho=0]", "got rho = 0, wanted a number above 0"),
        ("admm[share=1.5]", "got share = 1.5, wanted a share of the epochs"),
        ("warmup-scratch[share=0]", "training warmup-scratch: got share = 0"),
        ("iterative[steps=0]", "got steps = 0, wanted a whole number from 1 on"),
        ("dlrt[tau=1]", "got tau = 1, wanted 0 <= tau < 1"),
        ("dlrt[epochs=total,start=baseline]", "epochs=total is for start=scratch"),
        ("distill[temperature=0]", "got temperature = 0, wanted a number above 0"),
        ("distill[weight=1.1]", "got weight = 1.1, wanted 0 < weight <= 1"),
        ("freeze[factor=1]", "training freeze takes no options"),
    ],
)
def test_options_that_mean_nothing_are_refused(text, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        bound(text)


def test_more_steps_than_epochs_do_not_go():
    with pytest.raises(NotApplicable, match="3 steps of an epoch or more want 3 epochs in total, got 2; raise --epo"):
        tools_after("iterative", Settings(epochs=2))


@pytest.mark.parametrize("training", ["admm", "warmup-scratch", "warmup-scratch[epochs=total,share=0.95]"])
def test_a_share_that_leaves_no_epoch_for_the_factors_does_not_go(training):
    with pytest.raises(NotApplicable, match=r"of 1 epoch in all, share = \d.\d+ rounded up leaves none to"):
        tools_after(training, Settings(epochs=1, baseline_epochs=0))
    assert tools_after(training, Settings(epochs=0, baseline_epochs=0)).epochs == 0
    assert tools_after("admm[share=1]", Settings(epochs=1)).epochs == 1


@pytest.mark.parametrize("share", [0.07, 0.14, 0.28, 0.29, 0.55, 0.56, 0.57])
def test_a_share_of_a_hundred_epochs_is_its_per_cent(share):
    assert shared(100, share) == (round(100 * share), 100 - round(100 * share))


def test_a_training_that_fits_nothing_says_so():
    for name in TRAININGS:
        assert getattr(bound(name).module, "TRAINS", True) == ("fit" in tools_after(name).calls)


def test_a_baseline_is_asked_for_by_the_options():
    dlrt = bound("dlrt").module
    assert not dlrt.needs_baseline(bound("dlrt").options)
    assert dlrt.needs_baseline(bound("dlrt[start=baseline]").options)


def test_the_name_has_a_hyphen_and_the_file_does_not():
    assert Registry().bind("training", Atom("warmup-scratch")).module.__name__ == "tnbench.training.warmup_scratch"
