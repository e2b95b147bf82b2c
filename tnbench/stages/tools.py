"""What a training plug-in is given: `tnbench.core.protocols.TrainingTools`, keeping what each call gave."""

from __future__ import annotations

from torch import nn

from tnbench.core.errors import PluginError
from tnbench.core.protocols import Fit
from tnbench.engine.evaluate import count_correct
from tnbench.stages.decompose import Decomposition, decompose
from tnbench.stages.prepare import Prepared
from tnbench.stages.train import fit_model
from tnbench.store.checkpoints import load_state


class CaseTools:
    """The tools of one case. The training plug-in decides when and how often to call them."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.settings = prepared.job.settings
        self.decompositions: list[Decomposition] = []
        self.fits: list[Fit] = []
        self.correct_before: int | None = None

    def baseline(self) -> nn.Module:
        """The trained dense network."""
        stored = self.prepared.job.baseline
        if stored is None:
            raise PluginError(
                f"{self.prepared.job.case}: its training asked for a baseline and was given none; "
                f"a plug-in that calls tools.baseline() says so in needs_baseline"
            )
        model = self.prepared.build()
        model.load_state_dict(load_state(self.prepared.job.results, stored.digest))
        return model

    def fresh(self) -> nn.Module:
        """The dense network as it was drawn at random."""
        return self.prepared.build()

    def compress(self, model: nn.Module, *, rescale: bool = False) -> nn.Module:
        """A compressed copy of `model`."""
        decomposition = decompose(self.prepared, model, rescale=rescale)
        self.decompositions.append(decomposition)
        return decomposition.model

    def evaluate_before(self, model: nn.Module) -> None:
        """Evaluate `model` as it is before training."""
        self.correct_before = count_test_correct(self.prepared, model)

    def fit(self, model: nn.Module, *, epochs: int, lr: float) -> Fit:
        """Train `model` in place."""
        fitted = fit_model(self.prepared, model, self.prepared.plugins["parallel"], epochs=epochs, lr=lr)
        self.fits.append(fitted)
        return fitted


def count_test_correct(prepared: Prepared, model: nn.Module) -> int | None:
    """Test pictures that `model` classifies right; None where labels mean nothing."""
    pictures = prepared.pictures
    if not pictures.meaningful:
        return None
    return count_correct(
        model,
        pictures.test,
        pictures.test_labels,
        prepared.normalisation,
        device=prepared.device,
        dtype=prepared.dtype,
    )
