from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tnbench.core.baseline import Baseline
from tnbench.core.protocols import Published
from tnbench.store.records import Store

Tnb = Callable[..., Result]

IMPORT = ("baseline", "import", "net.th", "--model", "resnet20", "--dataset", "cifar10")
METRICS = {"top1": 91.73, "correct": 9173.0, "test_pictures": 10_000.0}


def test_what_was_asked_reaches_the_stage_and_its_accuracy_is_told(tnb: Tnb, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def import_baseline(file: Path, **given: Any) -> Baseline:
        asked.update(given, file=file)
        return Baseline("resnet20", "cifar10", None, "", "12fca82f" * 8, "imported", "data", METRICS)

    monkeypatch.setattr("tnbench.stages.importing.import_baseline", import_baseline)
    done = tnb(*IMPORT, "--normalisation", "imagenet", "--data-root", "pics", "--results", "there")
    assert done.stdout.splitlines() == [
        "resnet20 on cifar10: top-1 91.73 % (9,173 of 10,000 right)",
        "stored in there as 12fca82f12fca82f; it serves every case of resnet20 on cifar10 from now on",
    ]
    del asked["registry"]
    assert asked == {
        "file": Path("net.th"),
        "model": "resnet20",
        "dataset": "cifar10",
        "normalisation": "imagenet",
        "published": None,
        "data_root": Path("pics"),
        "results": Path("there"),
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("changed", "what"),
    [({"normalisation": {"mean": [0.5]}}, "another normalisation"), ({"digest": "e" * 64}, "other weights")],
)
def test_an_import_in_the_place_of_another_says_so(
    tnb: Tnb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], what: str
) -> None:
    first = Baseline("resnet20", "cifar10", None, "", "12fca82f" * 8, "imported", "data", METRICS)
    Store(tmp_path / "results").append_baseline(first)
    for found in (first, dataclasses.replace(first, **changed)):
        monkeypatch.setattr("tnbench.stages.importing.import_baseline", lambda file, found=found, **given: found)
        told = tnb(*IMPORT).stdout.splitlines()[2:]
        said = f"it takes the place of an import with {what}, and what began from that one runs anew"
        assert told == ([] if found is first else [said])


def test_a_file_that_is_not_there_is_wrong_use_and_nothing_is_written(tnb: Tnb, tmp_path: Path) -> None:
    refused = tnb(*IMPORT)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("tnbench: checkpoint: no file net.th")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["--model", "--dataset"])
def test_model_and_data_set_must_be_named(tnb: Tnb, missing: str) -> None:
    arguments = list(IMPORT)
    at = arguments.index(missing)
    del arguments[at : at + 2]
    assert tnb(*arguments).exit_code == 2


def test_weights_are_downloaded_instead_of_a_file(tnb: Tnb, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def import_baseline(file: Path, **given: Any) -> Baseline:
        asked.update(given, file=file)
        return Baseline("tv[resnet18]", "cifar10", None, "", "12fca82f" * 8, "imported", "data", METRICS)

    monkeypatch.setattr("tnbench.stages.importing.import_baseline", import_baseline)
    published = Published(Path("tv[resnet18]/DEFAULT"), "imagenet", 224, 256)
    monkeypatch.setattr("tnbench.stages.importing.fetch_published", lambda *given: published)
    weights = ("baseline", "import", "--model", "tv[resnet18]", "--dataset", "cifar10", "--weights", "DEFAULT")
    assert tnb(*weights).exit_code == 0
    assert (asked["file"], asked["normalisation"]) == (Path("tv[resnet18]/DEFAULT"), "imagenet")
    assert asked["published"] is published
    tnb(*weights, "--normalisation", "half")
    assert asked["normalisation"] == "half"


@pytest.mark.parametrize("given", [("net.th", "--weights", "DEFAULT"), ()])
def test_either_a_file_or_weights_are_wanted(tnb: Tnb, given: tuple[str, ...]) -> None:
    refused = tnb("baseline", "import", *given, "--model", "tv[resnet18]", "--dataset", "cifar10")
    assert refused.exit_code == 2
    assert refused.stderr == "tnbench: baseline import: give a FILE or --weights NAME, one of them\n"
