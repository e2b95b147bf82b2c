"""What a case's compression may use: its gauge, calibration and validation pictures, narrower networks, rank tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.engine.applied import needs_stats
from tnbench.engine.calibration import LEAST_PICTURES, Calibration
from tnbench.engine.conditions import Conditions
from tnbench.engine.evaluate import count_correct, normalise
from tnbench.engine.reading import subset
from tnbench.engine.splitmix import key, permutation
from tnbench.engine.streams import CALIBRATION
from tnbench.engine.validation import SHARE, split_digest, split_off_validation
from tnbench.stages.prepare import Prepared
from tnbench.store.rank_tables import read_table


def conditions_of(prepared: Prepared, model: nn.Module, *, scratch: bool, note: Callable[[str], None]) -> Conditions:
    """The conditions of a compression of `model`. `note` takes sentences for the record, when something is used."""
    job = prepared.job
    wants_pictures = any(needs_stats(method) for method in prepared.methods)
    return Conditions(
        keep=prepared.plugins["model"].module.keep_dense(model),
        seed=job.case.seed,
        gauge=job.settings.gauge,  # type: ignore[arg-type]
        scratch=scratch,
        in_shape=prepared.pictures.in_shape,
        calibration=calibration_pictures(prepared) if wants_pictures and not scratch else None,
        validate=None if scratch or not prepared.pictures.meaningful else _validation(prepared, note),
        rebuild=prepared.narrower if scratch else None,
        table=lambda name: read_table(job.results, name),
    )


def calibration_pictures(prepared: Prepared, most: int = LEAST_PICTURES) -> Calibration:
    """`most` training pictures, drawn by the case's seed, unaugmented and normalised.

    Raises NotApplicable where there are fewer.
    """
    pictures = prepared.pictures.train
    if len(pictures) < most:
        raise NotApplicable(
            f"calibration takes {most:,} training pictures, got {len(pictures):,}; raise limit_train or leave it out"
        )
    chosen = pictures[permutation(key(prepared.job.case.seed, 0, CALIBRATION), len(pictures))[:most]]
    digest = hashlib.sha256(chosen.numpy().tobytes()).hexdigest()[:16]
    return Calibration(_normalised(prepared, chosen), digest)


def _normalised(prepared: Prepared, pictures: Tensor) -> Tensor:
    return normalise(pictures.to(prepared.device), prepared.normalisation, prepared.dtype)


def _validation(prepared: Prepared, note: Callable[[str], None]) -> Callable[[nn.Module], float]:
    """The top-1, in percent, on a tenth of the training pictures that the case's seed draws, class by class."""

    def validate(model: nn.Module) -> float:
        pictures = prepared.pictures
        _, chosen = split_off_validation(pictures.train_labels, prepared.job.case.seed)
        note(
            f"ranks were chosen by the accuracy on {len(chosen):,} training pictures, which the baseline has seen in "
            f"its own training ({SHARE:.0%} of them, split {split_digest(chosen)})"
        )
        correct = count_correct(
            model,
            subset(pictures.train, chosen),
            pictures.train_labels[chosen],
            prepared.normalisation,
            device=prepared.device,
            dtype=prepared.dtype,
        )
        return 100 * correct / len(chosen)

    return validate
