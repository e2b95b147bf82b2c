"""Training stage of a case: its training plug-in, with those that take part in its fits."""

from __future__ import annotations

from typing import cast

from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.stages.prepare import Prepared
from tnbench.stages.tools import CaseTools


def run_training(tools: CaseTools) -> nn.Module:
    """The compressed, trained network. Raises NotApplicable for companions of a training that trains nothing."""
    training = tools.prepared.plugins["training"]
    model = cast(nn.Module, training.module.run(tools, training.options))
    if tools.prepared.companions and not tools.fits:
        raise NotApplicable(
            f"training {tools.prepared.job.case.training}: {training.atom.name} has no epochs for another training to "
            f"take part in; name one first that trains, such as finetune"
        )
    return model


def needs_baseline(prepared: Prepared) -> bool:
    """Whether any training of the case's asks for a trained dense network."""
    trainings = (prepared.plugins["training"], *prepared.companions)
    return any(bound.module.needs_baseline(bound.options) for bound in trainings)
