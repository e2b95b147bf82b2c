"""What each training asks of its tools, in which order and with which numbers."""

import pytest
import torch

from tnbench.core.errors import UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.core.settings import Settings
from tnbench.testing.training import StandInTools
from tnbench.training import finetune, none, recalibrate, scratch

SETTINGS = Settings(epochs=3, lr=0.5, baseline_epochs=7, baseline_lr=0.25)


class RecordingTools(StandInTools):
    def compress(self, model, *, rescale=False):
        self.rescaled = rescale
        return super().compress(model, rescale=rescale)

    def fit(self, model, *, epochs, lr, guide=None):
        self.fitted = (epochs, lr)
        return super().fit(model, epochs=epochs, lr=lr)


def default_options(plugin):
    return plugin.Options() if hasattr(plugin, "Options") else None


@pytest.mark.parametrize(
    ("plugin", "calls", "rescaled", "weight"),
    [
        (none, ["baseline", "compress"], False, 1.0),
        (recalibrate, ["baseline", "compress", "evaluate_before", "recalibrate"], False, 1.0),
        (finetune, ["baseline", "compress", "evaluate_before", "fit"], False, 1.0 + 3 * 0.5),
        (scratch, ["fresh", "compress", "evaluate_before", "fit"], True, 2.0 + 3 * 0.25),
    ],
    ids=["none", "recalibrate", "finetune", "scratch"],
)
def test_calls_in_order(plugin, calls, rescaled, weight):
    tools = RecordingTools(SETTINGS)
    model = plugin.run(tools, default_options(plugin))
    assert tools.calls == calls
    assert tools.rescaled == rescaled
    assert torch.equal(model.weight, torch.full((3, 4), weight))


@pytest.mark.parametrize(
    ("plugin", "fitted"), [(finetune, (3, 0.5)), (scratch, (3, 0.25))], ids=["finetune", "scratch"]
)
def test_epochs_and_rate_are_the_settings(plugin, fitted):
    tools = RecordingTools(SETTINGS)
    plugin.run(tools, default_options(plugin))
    assert tools.fitted == fitted


def test_from_scratch_in_total_takes_the_epochs_of_a_baseline_and_its_fine_tuning():
    tools = RecordingTools(SETTINGS)
    scratch.run(tools, scratch.Options(epochs="total"))
    assert tools.fitted == (7 + 3, 0.25)


def test_the_epochs_of_scratch_are_an_option_of_the_case():
    bound = Registry().bind("training", parse_part("training", "scratch[epochs=total]")[0])
    assert bound.options == scratch.Options(epochs="total")
    with pytest.raises(UsageError, match="the nearest is 'total'"):
        Registry().bind("training", parse_part("training", "scratch[epochs=totl]")[0])
