"""`tnbench bisect` inside repositories of a few commits."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from made_commits import SMALL_TNBENCH, commit, new_repository, traces
from typer.testing import Result

from tnbench.core.revision import Revision
from tnbench.history.commits import Repository
from tnbench.store.records import Store

Tnb = Callable[..., Result]

CASE = "svd/x4/cnn8/digits/none/single#0"
PAGE = Path(__file__).parents[2] / "docs" / "adding-a-method.md"


@pytest.fixture
def repository(tnb: Tnb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty one, inside which the program is called."""
    made = new_repository(tmp_path / "clone")
    monkeypatch.chdir(made.root)
    return made


def records(repository: Repository, *found: dict[str, Any]) -> list[str]:
    """A commit for each record that a run leaves there."""
    return [
        commit(repository, f"commit {n}", **SMALL_TNBENCH, **{"record.json": json.dumps(record)})
        for n, record in enumerate(found)
    ]


def params(*values: int) -> list[dict[str, Any]]:
    return [{"metrics": {"params": value}} for value in values]


def test_the_commit_is_found_described_and_can_be_compared_again(
    tnb: Tnb, repository: Repository, tmp_path: Path
) -> None:
    commits = records(repository, *params(100, 100, 100, 50, 50))
    traced, keep = traces(repository), tmp_path / "kept"
    found = tnb("bisect", CASE, "--metric", "params", "--good", "HEAD~4", "--keep", keep)
    assert (found.exit_code, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert lines[:4] == [
        f"good  {commits[0][:8]} commit 0",
        f"bad   {commits[4][:8]} commit 4",
        "from end to end: params 100 -> 50 (0.500×)",
        "4 commits to search: about 2 steps of 1 launch",
    ]
    assert "the first commit that changed it: params 100 -> 50 (0.500×)" in lines
    assert f"commit {commits[3]}" in lines
    assert "Author: Ada <ada@example.org>" in lines
    assert " record.json | 2 +-" in lines
    assert traces(repository) == traced
    measured = [Revision.of(line.value.provenance).commit for line in Store(keep).record_lines()]
    assert {commits[0], commits[2], commits[3], commits[4]} <= set(measured)

    _, *again = shlex.split(lines[-1])
    assert again[:4] == ["bisect", CASE, "--metric", "params"]
    repeated = tnb(*again)
    assert repeated.exit_code == 0, repeated.stderr
    assert f"commit {commits[3]}" in repeated.stdout


def test_the_commit_that_broke_the_case(tnb: Tnb, repository: Repository) -> None:
    commits = records(repository, {}, {}, {"status": "failed", "reason": "ValueError: no"}, {"refuse": "tnbench: torn"})
    found = tnb("bisect", CASE, "--metric", "status", "--good", commits[0], "--bad", commits[3])
    assert found.exit_code == 0, found.stderr
    assert "from end to end: ok -> tnbench ended with 1 and left no record: tnbench: torn" in found.stdout
    assert f"the first commit at which the case does not end ok:\n\ncommit {commits[2]}\n" in found.stdout
    measured = tnb("bisect", CASE, "--metric", "params", "--good", commits[0], "--bad", commits[3])
    assert measured.exit_code == 1


def test_nothing_to_bisect(tnb: Tnb, repository: Repository) -> None:
    records(repository, *params(7, 8, 7))
    refused = tnb("bisect", CASE, "--metric", "params", "--good", "HEAD~2")
    assert (refused.exit_code, refused.stderr) == (1, "tnbench: nothing to bisect: params is 7 at both ends\n")


def test_settings_limits_and_folders_are_handed_on(tnb: Tnb, repository: Repository, tmp_path: Path) -> None:
    records(repository, *params(7, 8))
    (repository.root / "mine.toml").write_text(
        f'summary = "mine"\ncases = ["{CASE}"]\n[settings]\nepochs = 3\nlr = 0.5\n[limits]\ntimeout_s = 90'
    )
    keep = tmp_path / "kept"
    given = ("--suite", "mine.toml", "--epochs", "1", "--no-tf32", "--data-root", "here", "--launches", "1")
    found = tnb("bisect", CASE, "--metric", "params", "--good", "HEAD~1", *given, "--keep", keep)
    assert found.exit_code == 0, found.stderr
    [*_, last] = Store(keep).record_lines()
    words = shlex.join(last.value.provenance["words"])
    assert "--epochs 1" in words, "even the default, as it was given"
    assert "--lr 0.5" in words
    assert "--no-tf32" in words
    assert "--timeout 90" in words
    assert f"--data-root {repository.root / 'here'}" in words
    assert "--batch-size" not in words
    assert found.stdout.splitlines()[-1].endswith(
        "--launches 1 --lr 0.5 --no-tf32 --epochs 1 --timeout 90 --data-root here"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--metric", "param"), "--metric: no metric is named 'param'; the nearest is 'params'"),
        (("--metric", "speedup"), "--metric: speedup is computed from records and never in one; .* from: step_ms$"),
        (("--good", "nowhere"), "'nowhere' names no commit of .*; see what is there with: git log --oneline"),
        (("--good", "HEAD"), "--good HEAD and --bad HEAD: both are"),
        (("--good", "HEAD", "--bad", "HEAD~1"), "--good HEAD: it is no ancestor of --bad HEAD~1; swap them"),
        (("--launches", "3"), "--launches: got 3, wanted 4 or more"),
        (("--keep", "."), "--keep: . is there already; give a new folder"),
        (("--plugin", "clone.py"), "--plugin: there is no clone.py in .* commit 0"),
        (("--suite", "quik"), "the nearest is 'quick'"),
        (("--epochs", "-1"), "got epochs = -1, wanted a whole number from 0 on"),
        (("--timeout", "0"), "timeout"),
    ],
)
def test_wrong_use(tnb: Tnb, repository: Repository, arguments: tuple[str, ...], said: str) -> None:
    records(repository, *params(1, 2))
    traced = traces(repository)
    refused = tnb("bisect", CASE, "--metric", "params", "--good", "HEAD~1", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert re.search(said, refused.stderr, re.MULTILINE), refused.stderr
    assert traces(repository) == traced


@pytest.mark.parametrize("case", ["svd/x4", "svd/x4/cnn8/digits/none/single/single#0"])
def test_a_case_that_is_none(tnb: Tnb, repository: Repository, case: str) -> None:
    records(repository, *params(1, 2))
    refused = tnb("bisect", case, "--metric", "params", "--good", "HEAD~1")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "wanted 6 (method/rank/model/dataset/training/parallel#seed)" in refused.stderr


def test_a_case_that_no_commit_can_run(tnb: Tnb, repository: Repository) -> None:
    records(repository, *params(1, 2))
    refused = tnb("bisect", CASE.replace("svd", "dense"), "--metric", "params", "--good", "HEAD~1")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "dense goes with rank full" in refused.stderr


@pytest.mark.parametrize(("metric", "word"), [("end_to_end_s", "--fresh"), ("baseline_s", "--fresh"), ("params", "ok")])
def test_what_times_the_baseline_trains_it_with_every_launch(
    tnb: Tnb, repository: Repository, tmp_path: Path, metric: str, word: str
) -> None:
    records(repository, {"metrics": {metric: 1.0}}, {"metrics": {metric: 2.0}})
    found = tnb("bisect", CASE, "--metric", metric, "--good", "HEAD~1", "--keep", tmp_path / "kept")
    assert found.exit_code == 0, found.stderr
    assert all(word in line.value.provenance["words"] for line in Store(tmp_path / "kept").record_lines())


def test_outside_of_a_repository_and_in_one_that_nothing_comes_from(
    tnb: Tnb, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, "words")
    commit(repository, "more words")
    refused = tnb("bisect", CASE, "--metric", "params", "--good", "HEAD~1")
    assert refused.exit_code == 2
    assert "nothing that is run comes from" in refused.stderr
    monkeypatch.chdir(tmp_path)
    refused = tnb("bisect", CASE, "--metric", "params", "--good", "HEAD~1")
    assert refused.exit_code == 2
    assert "lies in no git repository" in refused.stderr


@pytest.mark.parametrize("stop", ["Ctrl-C", "SIGTERM"])
def test_an_interrupt_ends_what_runs_and_leaves_nothing(repository: Repository, tmp_path: Path, stop: str) -> None:
    scratch, running = tmp_path / "scratch", tmp_path / "running"
    scratch.mkdir()
    records(repository, *[{"sleep": str(running)}] * 2)
    traced = traces(repository)
    command = [sys.executable, "-P", "-c", "from tnbench.cli import main; main()", "bisect", CASE]
    command += ["--metric", "params", "--good", "HEAD~1", "--bad", "HEAD"]
    with subprocess.Popen(
        command,
        cwd=repository.root,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        launched = _told_by(process, running)
        if stop == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "tnbench: interrupted\n")
    assert not psutil.pid_exists(launched)
    assert traces(repository) == traced
    assert list(scratch.iterdir()) == []


def _told_by(process: subprocess.Popen[str], file: Path) -> int:
    """The process id that a launch writes into a file."""
    while not (file.exists() and file.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return int(file.read_text())


@pytest.mark.slow
def test_a_change_of_ones_own_method_in_ones_own_repository(tnb: Tnb, repository: Repository) -> None:
    (method, *_) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    worse = method.replace("weight.double().permute", "weight.double().abs().permute")
    assert worse != method
    commit(repository, "a method", **{"methods/spatial_svd.py": method})
    wanted = commit(repository, "forget the signs", **{"methods/spatial_svd.py": worse})
    commit(repository, "words", **{"README.md": "words"})
    (repository.root / "methods/spatial_svd.py").write_text("this is no Python, and not committed")
    traced = traces(repository)
    case = "spatial_svd/x2/cnn8/digits/warmup-scratch/single#0"
    small = ("--limit-train", "64", "--epochs", "0", "--device", "cpu", "--launches", "1")
    plugin = ("--plugin", "methods/spatial_svd.py")
    found = tnb("bisect", case, "--metric", "weight_error", "--good", "HEAD~2", *plugin, *small)
    assert found.exit_code == 0, found.stdout + found.stderr
    assert f"commit {wanted}" in found.stdout
    assert " methods/spatial_svd.py | 2 +-" in found.stdout
    assert traces(repository) == traced
