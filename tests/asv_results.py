"""A git repository with asv results of a few of its commits, written by hand as asv 0.6 writes them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

CASES = (
    "dense/full/resnet20/synthetic/scratch/threads:1#0",
    "svd/x4/resnet20/synthetic/scratch/threads:1#0",
    "tucker2/x4/resnet20/synthetic/scratch/threads:1#0",
    "cp[iters=200,solver=tensorly]/x4/resnet20/synthetic/scratch/threads:1#0",
    "tt/x4/resnet20/synthetic/scratch/threads:1#0",
)
SLOWER = CASES[2]
COMMITS = 12
STEP = "training.time_step"
_FIRST, _DAY = 1_700_000_000, 86_400


def asv_project(folder: Path, *, cases: Sequence[str] = CASES, machines: Sequence[str] = ("desk", "node")) -> Path:
    """A project in `folder` with results of every commit; its asv.conf.json. From the middle on, `SLOWER` is slower."""
    commits = [_commit(folder, number) for number in range(COMMITS)]
    config = folder / "asv.conf.json"
    settings = {"html_dir": "site", "results_dir": "asv", "repo": ".", "branches": ["main"]}
    _write(config, {"version": 1, "project": "tnbench", "show_commit_url": "#", **settings})
    for machine in machines:
        facts = {"machine": machine, "cpu": "a processor", "ram": "16 GB", "gpu": f"GPU of {machine}"}
        _write(folder / "asv" / machine / "machine.json", {**facts, "version": 1})
        for number, commit in enumerate(commits):
            _write(folder / f"asv/{machine}/{commit[:8]}-same.json", _results(facts, commit, number, cases))
    names = {STEP: ("time", "seconds"), "accuracy.track_error": ("track", "%")}
    benchmarks = {name: _benchmark(name, *kind, cases) for name, kind in names.items()}
    _write(folder / "asv/benchmarks.json", {**benchmarks, "version": 2})
    return config


def _commit(folder: Path, number: int) -> str:
    if number == 0:
        subprocess.run(("git", "init", "-q", "-b", "main", folder), check=True)
    (folder / "code.txt").write_text(f"{number}\n")
    when = f"{_FIRST + number * _DAY} +0000"
    names = dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "a@b")
    environment = {**os.environ, **names, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    for words in (("add", "code.txt"), ("commit", "-q", "-m", f"change {number}")):
        subprocess.run(("git", "-C", folder, *words), check=True, env=environment)
    head = subprocess.run(("git", "-C", folder, "rev-parse", "HEAD"), check=True, capture_output=True, text=True)
    return head.stdout.strip()


def _results(facts: dict[str, str], commit: str, number: int, cases: Sequence[str]) -> dict[str, object]:
    late = number >= COMMITS // 2
    seconds = [(0.02 + 0.01 * at) * (2 if late and case == SLOWER else 1) for at, case in enumerate(cases)]
    params = [[repr(case) for case in cases]]
    return {
        "commit_hash": commit,
        "env_name": "same",
        "date": (_FIRST + number * _DAY) * 1000,
        "params": {**facts, "python": "3.11"},
        "python": "3.11",
        "requirements": {},
        "env_vars": {},
        "result_columns": ["result", "params", "version"],
        "results": {
            STEP: [seconds, params, "1"],
            "accuracy.track_error": [[10.0 + at for at in range(len(cases))], params, "1"],
        },
        "durations": {},
        "version": 2,
    }


def _benchmark(name: str, kind: str, unit: str, cases: Sequence[str]) -> dict[str, object]:
    params = {"param_names": ["case"], "params": [[repr(case) for case in cases]]}
    return {"name": name, "type": kind, "unit": unit, "code": f"def {name}(case)", "version": "1", **params}


def _write(file: Path, content: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
