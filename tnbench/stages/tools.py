"""What a training plug-in is given: `tnbench.core.protocols.TrainingTools`, keeping what each call gave."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from tnbench.core.errors import PluginError
from tnbench.core.protocols import Fit, Guide
from tnbench.engine.evaluate import count_correct
from tnbench.engine.recalibrate import recalibrate
from tnbench.stages.decompose import Decomposition, decompose
from tnbench.stages.diagnose import diagnose
from tnbench.stages.in_process import in_process
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
        self.layers: list[dict[str, Any]] = []
        self.notes: list[str] = []
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
        decomposition = decompose(self.prepared, model, rescale=rescale, note=self.notes.append)
        self.decompositions.append(decomposition)
        self.layers = _layers(decomposition, diagnose(self.prepared, model, decomposition))
        return decomposition.model

    def evaluate_before(self, model: nn.Module) -> None:
        """Evaluate `model` as it is before training."""
        self.correct_before = count_test_correct(self.prepared, model)

    def recalibrate(self, model: nn.Module) -> None:
        """New running statistics for BatchNorm, in place."""
        prepared, settings = self.prepared, self.settings
        layers = in_process(
            prepared,
            lambda: recalibrate(
                model,
                prepared.pictures.train,
                prepared.normalisation,
                device=prepared.device,
                dtype=prepared.dtype,
                batch_size=settings.batch_size,
                seed=prepared.job.case.seed,
                augmentation=prepared.pictures.augmentation,
            ),
        )
        if not layers:
            self.notes.append("the network has no BatchNorm, so there was nothing to recalibrate")

    def fit(self, model: nn.Module, *, epochs: int, lr: float, guide: Guide | None = None) -> Fit:
        """Train `model` in place."""
        parallel = self.prepared.plugins["parallel"]
        fitted = fit_model(self.prepared, model, parallel, epochs=epochs, lr=lr, guide=guide)
        self.fits.append(fitted)
        return fitted


def _layers(decomposition: Decomposition, diagnosis: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One plain dict per layer: its summary, and what was found out about it alone."""
    summaries = [dataclasses.asdict(layer) for layer in decomposition.summary.layers]
    plain: list[dict[str, Any]] = json.loads(
        json.dumps([{**summary, "diagnosis": diagnosis.get(summary["name"], {})} for summary in summaries])
    )
    return plain


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
