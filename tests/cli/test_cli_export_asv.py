"""``tnbench export asv``: from the store to the files that asv reads."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from asv_results import asv_project
from launch_records import CP, TUCKER, keep
from machines import DESK, NODE, on_desk, on_node
from typer.testing import Result

from tnbench.history.commits import Repository
from tnbench.store.records import Store

Tnb = Callable[..., Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose asv.conf.json says that results are in ``asv``."""
    return asv_project(tmp_path_factory.mktemp("made"), machines=[]).parent


@pytest.fixture
def commits(made: Path, tmp_path: Path) -> list[str]:
    """Those of a copy of it, which is the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Repository.around(tmp_path).git("rev-list", "--reverse", "HEAD").split()


@pytest.fixture
def store(commits: list[str], tmp_path: Path) -> Store:
    """Launches at two commits on two machines; of one the code was changed."""
    store = Store(tmp_path / "results")
    for commit in commits[:2]:
        for value in (4.0, 5.0, 9.0):
            keep(store, [make(TUCKER, commit=commit, step_ms=value) for make in (on_desk, on_node)])
        keep(store, [on_desk(CP, commit=commit, step_ms=8.0)])
    keep(store, [on_desk(commit=commits[0], dirty=True, step_ms=1.0)])
    return store


def written(folder: Path) -> dict[str, object]:
    """The values of step_ms, by file; without the names of cases."""
    return {
        f"{file.parent.name}/{file.name}": json.loads(file.read_text())["results"]["records.step_ms"][0]
        for file in sorted(folder.glob("*/*-records-py*.json"))
    }


def test_launches_enter_the_results_that_the_configuration_names(
    tnb: Tnb, store: Store, commits: list[str], tmp_path: Path
) -> None:
    done = tnb("export", "asv")
    assert (done.exit_code, done.stdout) == (
        0,
        f"{tmp_path / 'asv'} holds 1 benchmark of 2 cases at 2 commits on 2 machines; "
        "look at them with: tnbench history\n",
    )
    assert done.stderr == (
        f"tnbench: left out 1 record of changed code ({commits[0][:8]} with changes), which no commit has; "
        "commit it and measure again\n"
    )
    found = written(tmp_path / "asv")
    for commit in commits[:2]:
        assert found.pop(f"{DESK}/{commit[:8]}-records-py3.12.json") == [0.008, 0.005]
        on_node_alone = found.pop(f"{NODE}/{commit[:8]}-records-py3.12.json")
        assert str(on_node_alone) == "[nan, 0.005]"
    assert found == {}


def test_a_selection_restricts_what_is_added(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    assert "of 1 case at 2 commits on 1 machine;" in tnb("export", "asv", "--select", "method=cp").stdout
    assert set(map(str, written(tmp_path / "asv").values())) == {"[0.008]"}
    assert "of 2 cases at 2 commits on 2 machines;" in tnb("export", "asv", "--case", TUCKER).stdout
    assert set(map(str, written(tmp_path / "asv").values())) == {"[0.008, 0.005]", "[nan, 0.005]"}


def test_another_folder_may_be_named(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    (tmp_path / "asv.conf.json").unlink()
    done = tnb("export", "asv", "--output", "elsewhere/asv")
    assert done.stdout.startswith("elsewhere/asv holds 1 benchmark of 2 cases ")
    assert len(written(tmp_path / "elsewhere/asv")) == 4


def test_records_that_name_no_commit_are_of_the_one_that_is_given(tnb: Tnb, commits: list[str], tmp_path: Path) -> None:
    keep(Store(tmp_path / "results"), [on_node(commit=None, step_ms=5.0)])
    refused = tnb("export", "asv")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "tnbench: export asv: no record in results is a launch at a commit: left out 1 record without a commit "
        "(tnbench 0.1.0 (installed)); say which it is with --commit REV\n"
    )
    done = tnb("export", "asv", "--commit", "main~1")
    assert (done.exit_code, done.stderr) == (0, "")
    assert written(tmp_path / "asv") == {f"{NODE}/{commits[-2][:8]}-records-py3.12.json": [0.005]}


def test_what_was_taken_back_leaves_the_history(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    tnb("export", "asv")
    assert tnb("drop", "--select", "method=tucker2", "--reason", "another program ran").exit_code == 0
    assert "of 1 case at 2 commits on 1 machine;" in tnb("export", "asv").stdout
    assert set(map(str, written(tmp_path / "asv").values())) == {"[0.008]"}


def test_lines_of_the_store_that_cannot_be_read_are_said(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    [segment] = (tmp_path / "results/segments").glob("*.jsonl")
    segment.write_text(segment.read_text() + "{}\n")
    done = tnb("export", "asv")
    assert done.exit_code == 0
    assert f"{segment.name}, line 16 cannot be read" in done.stderr


def refused(tnb: Tnb, folder: Path, *arguments: str) -> str:
    """What is said when `export asv` with these arguments is wrong use, and nothing was written."""
    before = set(folder.rglob("*"))
    done = tnb("export", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert set(folder.rglob("*")) == before
    return done.stderr


def test_without_a_configuration_the_folder_has_to_be_named(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    (tmp_path / "asv.conf.json").unlink()
    assert refused(tnb, tmp_path, "asv") == (
        "tnbench: asv.conf.json is not there, which says where asv keeps its results; run this in its folder, "
        "or name the folder of asv's results: --output DIR\n"
    )


@pytest.mark.parametrize("text", ["{", "{}", '{"version": 7, "repo": "."}'])
def test_a_configuration_that_asv_cannot_read(tnb: Tnb, store: Store, tmp_path: Path, text: str) -> None:
    (tmp_path / "asv.conf.json").write_text(text)
    said = refused(tnb, tmp_path, "asv")
    assert said.startswith("tnbench: asv cannot read asv.conf.json (")
    assert said.endswith("); correct it there, or name the folder of asv's results: --output DIR\n")


def test_outside_a_repository_no_commit_is_known(tnb: Tnb, tmp_path: Path) -> None:
    keep(Store(tmp_path / "results"), [on_desk(step_ms=5.0)])
    assert "lies in no git repository" in refused(tnb, tmp_path, "asv", "--output", "asv")


def test_without_asv_it_says_how_to_install_it(
    tnb: Tnb, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asv", None)
    said = 'tnbench: asv is not installed; install it with: pip install "tnbench[asv]"\n'
    assert refused(tnb, tmp_path, "asv") == said


def test_a_commit_that_is_not_there(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    assert "'nowhere' names no commit of" in refused(tnb, tmp_path, "asv", "--commit", "nowhere")


def test_a_commit_means_nothing_to_a_table(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    assert refused(tnb, tmp_path, "csv", "--commit", "main") == (
        "tnbench: --commit: got 'main' with the form csv, wanted the form asv; leave it out\n"
    )


def test_a_file_is_no_folder(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    assert refused(tnb, tmp_path, "asv", "--output", "asv.conf.json").endswith(
        "--output: asv.conf.json cannot be written (Not a directory); give a folder of yours\n"
    )
