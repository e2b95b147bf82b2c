from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_commits import commit, new_repository

from tnbench.measure.environment import _cgroup_quota, _digest, device_model, provenance, torch_version, usable_cores


def test_provenance_is_plain_json_and_names_what_matters() -> None:
    facts = provenance("cpu")
    assert json.loads(json.dumps(facts)) == facts
    assert {"started", "host", "cpu", "cores", "threads", "versions", "git_commit", "git_dirty"} <= set(facts)
    assert facts["versions"]["torch"] == torch_version() != "absent"
    assert facts["cpu"] == device_model("cpu") != ""


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_cgroups_quota_is_read(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _cgroup_quota(tmp_path) == cores


def test_usable_cores_follow_the_affinity() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {0}); from tnbench.measure.environment import usable_cores as u; print(u())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert usable_cores() >= 1


def test_what_planning_needs_imports_no_torch() -> None:
    script = (
        "import sys; from tnbench.measure.environment import *; torch_version(), device_model('cpu'), usable_cores();"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_is_changed_has_a_digest_of_names_and_contents(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "clone")
    commit(repository, "first", **{"package/a.py": "1", ".gitignore": "*.log"})
    package = repository.root / "package"
    seen = [_digest(package)]
    for name, text in (("a.py", "2"), ("a.py", "3"), ("b.py", "")):
        (package / name).write_text(text)
        seen.append(_digest(package))
    assert len(set(seen)) == 4
    for unseen in (package / "c.log", repository.root / "notes.md"):
        unseen.write_text("nothing of the code")
    assert _digest(package) == seen[-1]


def test_the_commit_is_that_of_the_code_inside_a_hook_of_another_repository(tmp_path: Path) -> None:
    other = new_repository(tmp_path / "other")
    commit(other, "elsewhere")
    script = "import json; from tnbench.measure.environment import surroundings as s; print(json.dumps(s('cpu')))"
    said = []
    for hook in ({}, {"GIT_DIR": str(other.root / ".git"), "GIT_INDEX_FILE": str(other.root / ".git/index")}):
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **hook}, capture_output=True, text=True, check=True
        )
        said.append({name: value for name, value in json.loads(done.stdout).items() if name.startswith("git_")})
    assert said[0] == said[1]
