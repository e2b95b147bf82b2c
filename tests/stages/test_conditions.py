"""What a case's compression may use: calibration and validation pictures, narrower networks, rank tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tnbench.core.case import Case
from tnbench.core.errors import NotApplicable
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings
from tnbench.measure.counts import count_params
from tnbench.stages.conditions import calibration_pictures, conditions_of
from tnbench.stages.prepare import Prepared, prepare
from tnbench.store.rank_tables import write_table


def prepared_for(case: str, results: Path, **settings: object) -> Prepared:
    given = Settings(device="cpu").changed(settings)
    return prepare(Job(Case.parse(case), "", given, Limits(), Path("nowhere"), results))


def test_calibration_pictures_are_drawn_by_the_seed_and_bear_a_digest(tmp_path: Path) -> None:
    one, again, other = (
        calibration_pictures(prepared_for(f"svd/x4/cnn8/digits/none/single#{seed}", tmp_path)) for seed in (0, 0, 1)
    )
    assert one.pictures.shape == (1024, 1, 8, 8)
    assert torch.equal(one.pictures, again.pictures)
    assert one.digest == again.digest != other.digest
    assert len({tuple(picture.flatten().tolist()) for picture in one.pictures}) > 1000  # none is taken twice


def test_too_few_training_pictures_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="calibration takes 1,024 training pictures, got 256; raise limit_train"):
        calibration_pictures(prepared_for("svd/x4/cnn8/digits/none/single#0", tmp_path, limit_train=256))


def test_pictures_are_read_only_for_who_asks(tmp_path: Path) -> None:
    plain, aware = (
        prepared_for(f"{method}/x4/cnn8/digits/none/single#0", tmp_path) for method in ("svd", "svd[aware=true]")
    )
    model = plain.build()
    assert conditions_of(plain, model, scratch=False, note=print).calibration is None
    assert conditions_of(aware, model, scratch=False, note=print).calibration is not None
    assert conditions_of(aware, model, scratch=True, note=print).calibration is None


def test_validation_is_a_tenth_of_the_training_pictures_and_noted(tmp_path: Path) -> None:
    prepared = prepared_for("svd/acc-d1/cnn8/digits/none/single#0", tmp_path)
    notes: list[str] = []
    validate = conditions_of(prepared, prepared.build(), scratch=False, note=notes.append).validate
    assert validate is not None
    assert 0 <= validate(prepared.build()) <= 100
    (note,) = notes
    assert note.startswith("ranks were chosen by the accuracy on 143 training pictures, which the baseline has seen")


def test_scratch_and_made_up_labels_have_no_validation(tmp_path: Path) -> None:
    digits = prepared_for("svd/x4/cnn8/digits/scratch/single#0", tmp_path)
    assert conditions_of(digits, digits.build(), scratch=True, note=print).validate is None
    noise = prepared_for("svd/x4/cnn8/synthetic[train=64,test=32,shape=1x8x8,classes=10]/none/single#0", tmp_path)
    assert conditions_of(noise, noise.build(), scratch=False, note=print).validate is None


def test_only_scratch_may_build_a_narrower_network(tmp_path: Path) -> None:
    prepared = prepared_for("thin/x4/cnn8/digits/scratch/single#0", tmp_path)
    model = prepared.build()
    assert conditions_of(prepared, model, scratch=False, note=print).rebuild is None
    rebuild = conditions_of(prepared, model, scratch=True, note=print).rebuild
    assert rebuild is not None
    assert count_params(rebuild(0.5)) < count_params(model) / 3
    assert count_params(rebuild(1.0)) == count_params(model)


def test_rank_tables_are_those_of_the_results(tmp_path: Path) -> None:
    write_table(tmp_path, "mine", {"conv2": (3, 3)})
    prepared = prepared_for("tucker2/table[mine]/cnn8/digits/none/single#0", tmp_path)
    table = conditions_of(prepared, prepared.build(), scratch=False, note=print).table
    assert table is not None
    assert table("mine") == {"conv2": (3, 3)}
