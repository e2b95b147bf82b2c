"""A case run by the code of a commit, with a tnbench of the repository's own that only notes what it is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_commits import SMALL_TNBENCH, commit, new_repository, traces

from tnbench.core.case import Case
from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.record import Record
from tnbench.core.settings import Settings
from tnbench.history.bisect.at_commit import Trial, scratch
from tnbench.history.bisect.side_by_side import Unmeasured
from tnbench.history.commits import Repository
from tnbench.store.records import Store

CASE = Case.parse("svd/x4/cnn8/digits/none/single#0")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "clone")


@pytest.fixture
def trial(repository: Repository, tmp_path: Path) -> Callable[..., Trial]:
    """A trial in the repository, with some of its fields as given."""

    def make(**fields: Any) -> Trial:
        own = {"settings": Settings(), "options": (), "data_root": tmp_path / "data", "plugins": ()}
        return Trial(repository, CASE, folder=tmp_path / "scratch", **{**own, **fields})

    return make


def recorded(repository: Repository, subject: str = "a commit", **found: Any) -> str:
    """A commit whose runs leave a record with what is given."""
    return commit(repository, subject, **SMALL_TNBENCH, **{"record.json": json.dumps(found)})


def launch(trial: Trial, revision: str) -> Record:
    with trial.repository.worktree(revision) as tree:
        record = trial.launch(tree)
        assert trial.repository.git("status", "--porcelain", "--ignored", at=tree) == "", "nothing is written there"
    return record


def after(words: list[str], option: str) -> list[str]:
    return [words[index + 1] for index, word in enumerate(words) if word == option]


def test_every_commit_is_run_by_its_own_code_into_a_folder_of_its_own(
    repository: Repository, trial: Callable[..., Trial], tmp_path: Path
) -> None:
    commits = [recorded(repository, metrics={"step_ms": value}) for value in (1.0, 2.0)]
    (repository.root / "record.json").write_text('{"metrics": {"step_ms": 3.0}}')
    measured = [launch(trial(), revision) for revision in (*commits, commits[0])]
    assert [record.metrics["step_ms"] for record in measured] == [1.0, 2.0, 1.0]
    results = {revision: Store(tmp_path / "scratch/results" / revision) for revision in commits}
    assert [len(store.record_lines()) for store in results.values()] == [2, 1]


def test_the_words_of_the_run(repository: Repository, trial: Callable[..., Trial], tmp_path: Path) -> None:
    head = recorded(repository)
    words = launch(trial(options=("--epochs", "3", "--no-tf32")), head).provenance["words"]
    assert words[:9] == ["run", "--case", CASE.id, "--quiet", "--rerun", "ok", "--epochs", "3", "--no-tf32"]
    assert after(words, "--data-root") == [str(tmp_path / "data")]
    assert after(words, "--results") == [str(tmp_path / "scratch/results" / head)]
    assert after(words, "--reports") == [str(tmp_path / "scratch/pages")]
    assert launch(trial(fresh=True), head).provenance["words"][3:5] == ["--quiet", "--fresh"]


def test_a_plugin_of_the_repository_is_the_commits_and_any_other_stays(
    repository: Repository, trial: Callable[..., Trial], tmp_path: Path
) -> None:
    recorded(repository)
    head = commit(repository, "a plug-in", **{"deep/method.py": "KIND = 'method'"})
    outside = tmp_path / "other.py"
    with repository.worktree(head) as tree:
        words = trial(plugins=(repository.root / "deep/method.py", outside)).launch(tree).provenance["words"]
        assert after(words, "--plugin") == [str(tree / "deep/method.py"), str(outside)]


def test_modules_come_from_the_commit_wherever_the_repository_is_on_the_path(
    repository: Repository, trial: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(repository)
    head = commit(repository, "modules", **{"src/helper.py": ""})
    (repository.root / ".venv").mkdir()
    for entry in ("src", ".venv"):
        monkeypatch.syspath_prepend(repository.root / entry)
    monkeypatch.setenv("PYTHONPATH", f"{repository.root / 'src'}:{tmp_path / 'mine'}:{repository.root / '.venv'}")
    with repository.worktree(head) as tree:
        facts = trial().launch(tree).provenance
        assert facts["cwd"] == str(tree)
        assert facts["path"][:4] == [
            str(tree),
            str(tree / "src"),
            str(tmp_path / "mine"),
            str(repository.root / ".venv"),
        ]
        assert str(repository.root / "src") not in facts["path"]


def test_a_record_of_other_code_is_an_error(repository: Repository, trial: Callable[..., Trial]) -> None:
    other = recorded(repository, provenance={"git_commit": "f" * 40})
    dirty = recorded(repository, provenance={"git_dirty": True})
    installed = recorded(repository, provenance={"git_commit": None, "versions": {"tnbench": "0.1.0"}})
    for revision, said in ((other, "f" * 8), (dirty, f"{dirty[:8]} with changes"), (installed, "tnbench 0.1.0")):
        with pytest.raises(
            TnbenchError, match=f"{revision[:8]} was to be measured, but the record says {said}"
        ) as error:
            launch(trial(), revision)
        assert not isinstance(error.value, Unmeasured), "it is no fault of the commit"


def test_a_run_that_leaves_no_record_says_its_last_words(repository: Repository, trial: Callable[..., Trial]) -> None:
    head = recorded(repository, refuse="a box\n│ No such option: --tf32 │\n╰────╯\n")
    with pytest.raises(Unmeasured, match=r"tnbench ended with 1 and left no record: No such option: --tf32$"):
        launch(trial(), head)
    torn = commit(repository, "torn", **{"tnbench/cli.py": "import nowhere"})
    with repository.worktree(torn) as tree:
        assert trial().why_broken(tree).endswith("left no record: ModuleNotFoundError: No module named 'nowhere'")


def test_a_number_and_why_there_is_none(repository: Repository, trial: Callable[..., Trial], tmp_path: Path) -> None:
    def number(revision: str, **fields: Any) -> float:
        with repository.worktree(revision) as tree:
            return trial(**fields).number(tree, "step_ms")

    fine = recorded(repository, metrics={"step_ms": 1.5, "params": 7}, settings={"epochs": 1, "later": 1})
    failed = recorded(repository, status="failed", reason="ValueError: no\nmore", provenance={"log": "logs/a.log"})
    assert number(fine) == 1.5
    with pytest.raises(Unmeasured, match=r"its record has no step_ms; it has params$"):
        number(recorded(repository, metrics={"params": 7}))
    with pytest.raises(Unmeasured, match=r"the case ended as failed: ValueError: no \(--keep DIR keeps its log\)$"):
        number(failed)
    with pytest.raises(Unmeasured, match=r"failed: ValueError: no \(its log: kept/logs/a.log\)$"):
        number(failed, keep=Path("kept"))
    with pytest.raises(Unmeasured, match="other settings, epochs 1 instead of 2; give them as options"):
        number(fine, settings=Settings(epochs=2))


def test_a_device_left_open_may_be_any(repository: Repository, trial: Callable[..., Trial]) -> None:
    head = recorded(repository, metrics={"step_ms": 1.0}, settings={"device": "cuda"})
    with repository.worktree(head) as tree:
        assert trial().number(tree, "step_ms") == 1.0
        assert trial(settings=Settings(device="cuda:1")).number(tree, "step_ms") == 1.0
        with pytest.raises(Unmeasured, match="device cuda instead of cpu"):
            trial(settings=Settings(device="cpu")).number(tree, "step_ms")


def test_why_a_case_is_broken(repository: Repository, trial: Callable[..., Trial]) -> None:
    for found, why in (({}, ""), ({"status": "oom", "reason": "too big"}, "the case ended as oom: too big")):
        with repository.worktree(recorded(repository, **found)) as tree:
            assert trial().why_broken(tree) == why


def test_a_plugin_that_a_commit_lacks_is_refused(repository: Repository, trial: Callable[..., Trial]) -> None:
    without = commit(repository, "nothing yet")
    head = commit(repository, "a plug-in", **{"method.py": ""})
    inside = trial(plugins=(repository.root / "method.py",))
    inside.check(head)
    with pytest.raises(UsageError, match=f"there is no method.py in {without[:8]} nothing yet; bisect between"):
        inside.check(without, head)


def test_a_repository_that_nothing_comes_from_is_refused(
    repository: Repository, trial: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = commit(repository, "words", **{"README.md": "words", "src/helper.py": ""})
    with pytest.raises(UsageError, match=r"nothing that is run comes from .*run this inside a clone of tnbench"):
        trial(plugins=(tmp_path / "outside.py",)).check(head)
    monkeypatch.syspath_prepend(repository.root / "src")
    trial().check(head)
    monkeypatch.setattr(sys, "path", [])
    trial().check(recorded(repository))


def test_what_is_kept_is_one_folder_of_results_even_of_an_interrupted_search(tmp_path: Path) -> None:
    def search(keep: Path | None) -> None:
        with scratch(keep) as folder:
            for name in ("one", "two"):
                (folder / "results" / name / "segments").mkdir(parents=True)
                (folder / "results" / name / "segments" / f"{name}.jsonl").write_text(name)
            folders.append(folder)
            raise KeyboardInterrupt

    folders: list[Path] = []
    for keep in (tmp_path / "kept", None):
        with pytest.raises(KeyboardInterrupt):
            search(keep)
    assert not any(folder.exists() for folder in folders)
    kept = {path.name: path.read_text() for path in (tmp_path / "kept/segments").iterdir()}
    assert kept == {"one.jsonl": "one", "two.jsonl": "two"}


def test_a_folder_in_use_is_not_added_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with scratch(tmp_path / "kept"):
        pass
    (tmp_path / "kept/a").touch()
    for used in (tmp_path / "kept", tmp_path / "kept/a"):
        with pytest.raises(UsageError, match=r"--keep: .* is there already; give a new folder"), scratch(used):
            pytest.fail("nothing may be run")


def test_launching_leaves_the_checkout_as_it_is(repository: Repository, trial: Callable[..., Trial]) -> None:
    head = recorded(repository)
    traced = traces(repository)
    launch(trial(), head)
    assert traces(repository) == traced
