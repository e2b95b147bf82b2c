"""What a training plug-in is given: `tnbench.core.protocols.TrainingTools`, keeping what each call gave."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from tnbench.core.errors import PluginError
from tnbench.core.protocols import Fit, Guide, Ranks, Shape
from tnbench.engine.evaluate import count_correct
from tnbench.engine.guides import Together
from tnbench.engine.parts import WeightPart, check_factors, expanded, parts_of
from tnbench.engine.recalibrate import recalibrate
from tnbench.engine.summary import Summary
from tnbench.measure.clock import stopwatch
from tnbench.measure.energy import Energy, energy_of
from tnbench.stages.decompose import Decomposition, decompose
from tnbench.stages.diagnose import diagnose
from tnbench.stages.in_process import in_process
from tnbench.stages.prepare import Prepared
from tnbench.stages.train import fit_model
from tnbench.store.checkpoints import load_state


class CaseTools:
    """The tools of one case. The training plug-in decides when and how often to call them.

    `phases` are the decompositions, fits and recalibrations in their order, each as its kind and its seconds.
    `from_random` says that the last decomposition was of random weights, rescaled.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.settings = prepared.job.settings
        self.decompositions: list[Decomposition] = []
        self.fits: list[Fit] = []
        self.energies: list[Energy] = []
        self.notes: list[str] = []
        self.correct_before: int | None = None
        self.recalibrate_s: float | None = None
        self.from_random = False
        self.phases: list[list[Any]] = []
        self._compressed: tuple[nn.Module, nn.Module] | None = None

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

    def compress(
        self, model: nn.Module, *, rescale: bool = False, ranks: Mapping[str, Ranks] | None = None
    ) -> nn.Module:
        """A compressed copy of `model`."""
        decomposition = decompose(self.prepared, model, rescale=rescale, ranks=ranks, note=self.notes.append)
        self.decompositions.append(decomposition)
        self.phases.append(["decompose", decomposition.seconds])
        self.from_random = rescale
        # Both are trained on from here; which decomposition is the last one, and worth a diagnosis, shows in the end.
        self._compressed = copy.deepcopy(model).cpu(), copy.deepcopy(decomposition.model).cpu()
        return decomposition.model

    def layers(self) -> list[dict[str, Any]]:
        """What the last decomposition did to each layer, and what is found out about the layer alone."""
        if self._compressed is None:
            return []
        dense, compressed = (model.to(self.prepared.device) for model in self._compressed)
        summary = self.decompositions[-1].summary
        return _layers(summary, diagnose(self.prepared, dense, compressed, summary))

    def parts(self, model: nn.Module) -> Sequence[WeightPart]:
        """What was factorised in `model`."""
        return parts_of(self._origin(model).swapped, self.prepared.job.case.seed)

    def factors(self, model: nn.Module) -> Mapping[str, tuple[str, ...]]:
        """Layer -> names of its factors in `model`."""
        made = self._made(model)
        if made is None:
            return {}
        check_factors(made.swapped, made.names)
        return made.names

    def expand(self, model: nn.Module) -> nn.Module:
        """The dense network that computes what `model` does now."""
        made = self._origin(model)
        return expanded(made.swapped, made.names)

    def _made(self, model: nn.Module) -> Decomposition | None:
        """The decomposition that gave `model`; None for a network that is dense."""
        return next((made for made in self.decompositions if made.model is model), None)

    def _origin(self, model: nn.Module) -> Decomposition:
        made = self._made(model)
        if made is None:
            raise PluginError(
                f"{self.prepared.job.case}: got a network that compress did not give, wanted one that it did"
            )
        return made

    @property
    def rank_path(self) -> list[dict[str, list[int]]]:
        """The ranks of each part, decomposition by decomposition."""
        return [{name: list(ranks) for name, ranks in made.swapped.ranks.items()} for made in self.decompositions]

    def evaluate_before(self, model: nn.Module) -> None:
        """Evaluate `model` as it is before training."""
        self.correct_before = count_right(self.prepared, model)

    def recalibrate(self, model: nn.Module) -> None:
        """New running statistics for BatchNorm, in place."""
        prepared, settings = self.prepared, self.settings
        with stopwatch(prepared.device) as elapsed:
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
        self.recalibrate_s = (self.recalibrate_s or 0.0) + elapsed.seconds
        self.phases.append(["recalibrate", elapsed.seconds])
        if not layers:
            self.notes.append("the network has no BatchNorm, so there was nothing to recalibrate")

    def fit(self, model: nn.Module, *, epochs: int, lr: float, guide: Guide | None = None) -> Fit:
        """Train `model` in place."""
        parallel = self.prepared.plugins["parallel"]
        with energy_of(self._devices()) as used:
            fitted = fit_model(
                self.prepared,
                model,
                parallel,
                epochs=epochs,
                lr=lr,
                guide=self._together(model, guide),
                kernels=self._kernels(model),
                number=len(self.fits) + 1,
            )
        self.energies.append(used)
        self.fits.append(fitted)
        self.phases.append(["train", sum(fitted.epoch_s)])
        return fitted

    def _kernels(self, model: nn.Module) -> Mapping[str, Shape]:
        """Of the layers that were compressed in `model`; none in a network that is dense."""
        made = self._made(model)
        return {} if made is None else made.kernels

    def _together(self, model: nn.Module, own: Guide | None) -> Guide | None:
        """The guides of a mixture's other trainings, then the driving one's, whose penalties they leave alone."""
        others = [bound.module.guide(self, model, bound.options) for bound in self.prepared.companions]
        guides = [*others, *([] if own is None else [own])]
        return Together(guides) if guides else None

    def _devices(self) -> list[str]:
        """Those that a fit is spread over: a GPU for each process, counted from the one that is named."""
        device, parallel = self.prepared.device, self.prepared.plugins["parallel"]
        if device.type != "cuda":
            return [str(device)]
        processes = 1 if parallel.module.IN_PROCESS else parallel.atom.count or 1
        return [f"cuda:{(device.index or 0) + rank}" for rank in range(processes)]


def _layers(summary: Summary, diagnosis: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One plain dict per layer: its summary, and what was found out about it alone."""
    summaries = [dataclasses.asdict(layer) for layer in summary.layers]
    plain: list[dict[str, Any]] = json.loads(
        json.dumps([{**layer, "diagnosis": diagnosis.get(layer["name"], {})} for layer in summaries])
    )
    return plain


def count_right(prepared: Prepared, model: nn.Module) -> int | None:
    """How many of the pictures to evaluate on `model` classifies right; None where labels mean nothing.

    They are the test pictures, or in a trial of tuning the validation pictures in their place.
    """
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
