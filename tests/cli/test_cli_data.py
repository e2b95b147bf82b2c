from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Tnb = Callable[..., Result]

TOY = '''"""Two pictures."""
KIND = "dataset"
VERSION = 1
from tnbench.core.protocols import Wanted


def wanted(name, options, root):
    file = root / "toy" / "pictures.bin"
    return [Wanted("pictures.bin", (file,), file if file.is_file() else None)]


def fetch(name, options, root):
    (root / "toy").mkdir(parents=True)
    (root / "toy" / "pictures.bin").write_bytes(b"two")
'''


@pytest.fixture
def toy(tmp_path: Path) -> str:
    (tmp_path / "toy.py").write_text(TOY)
    return "toy.py"


def test_an_embedded_data_set_is_ready(tnb: Tnb) -> None:
    assert tnb("data", "status", "digits").stdout.split(maxsplit=1) == ["digits", "ready (needs no files)\n"]


def test_missing_files_are_named_with_their_places(tnb: Tnb, toy: str) -> None:
    lines = tnb("data", "status", "toy", "--plugin", toy, "--data-root", "pics").stdout.splitlines()
    assert [line.strip() for line in lines] == [
        "toy          1 of 1 file missing under pics",
        "pictures.bin: wanted at pics/toy/pictures.bin",
    ]


def test_fetching_makes_it_ready_and_happens_once(tnb: Tnb, toy: str, tmp_path: Path) -> None:
    fetched = tnb("data", "fetch", "toy", "--plugin", toy)
    assert fetched.stdout.splitlines() == ["toy: fetching into data", "toy: fetched"]
    assert (tmp_path / "data/toy/pictures.bin").read_bytes() == b"two"
    assert tnb("data", "fetch", "toy", "--plugin", toy).stdout == "toy: everything is there\n"
    assert "ready (1 file under data)" in tnb("data", "status", "toy", "--plugin", toy).stdout


def test_the_data_root_may_come_from_the_environment(
    tnb: Tnb, toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TNBENCH_DATA", str(tmp_path / "elsewhere"))
    assert f"{tmp_path}/elsewhere" in tnb("data", "status", "toy", "--plugin", toy).stdout


def test_status_lists_every_data_set_as_json(tnb: Tnb) -> None:
    rows = {row["name"]: row for row in json.loads(tnb("data", "status", "--json").stdout)}
    assert {"digits", "mnist", "cifar10"} <= set(rows)
    assert rows["digits"]["there"]
    assert rows["cifar10"]["missing"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar1O", "no dataset is named 'cifar1O'; the nearest is 'cifar10'"),
        ("mnist+digits", "dataset: got the mixture 'mnist+digits', wanted one data set"),
    ],
)
def test_wrong_names_are_refused(tnb: Tnb, name: str, message: str) -> None:
    refused = tnb("data", "status", name)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_a_broken_data_set_is_a_line_of_its_own(tnb: Tnb, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text('"""Bad."""\nKIND = "dataset"\n1 / 0\n')
    done = tnb("data", "status", "--plugin", "bad.py")
    assert done.exit_code == 0
    assert "ZeroDivisionError" in done.stdout
    assert "digits" in done.stdout


def test_what_has_to_be_got_by_hand_is_told_and_passed_over_among_all(
    tnb: Tnb, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tnb("data", "fetch", "imagenet")
    assert alone.exit_code == 1
    assert "registered researchers only" in alone.stderr
    monkeypatch.setattr("tnbench.cli.data._names", lambda dataset, registry: ["imagenet", "digits"])
    everything = tnb("data", "fetch")
    assert everything.exit_code == 0
    assert "registered researchers only" in everything.stdout
    assert everything.stdout.endswith("digits: everything is there\n")


def test_folders_are_counted_as_such(tnb: Tnb) -> None:
    lines = tnb("data", "status", "imagefolder[birds]", "--data-root", "pics").stdout.splitlines()
    assert lines[0].endswith("2 of 2 folders missing under pics")
    assert "val/: wanted at pics/birds/val or pics/birds/test" in lines[2]
