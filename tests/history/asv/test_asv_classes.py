"""asv's configuration, its benchmarks, and the environments that they run in."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from asv import environment, repo, util
from asv.benchmarks import Benchmarks
from asv.config import Config

from tnbench.core.metrics import METRICS
from tnbench.history.asv import shared_virtualenv
from tnbench.history.asv.benchmarks import BENCHMARKS

ROOT = Path(__file__).parents[3]
CASES = tomllib.loads((ROOT / "tnbench/suites/asv.toml").read_text(encoding="utf-8"))["cases"]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def config() -> Any:
    return Config.load(str(ROOT / "asv.conf.json"))


@pytest.fixture(scope="module")
def benchmarks(config: Any) -> Any:
    """What asv finds, told as `asv check -E existing` tells it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        here = list(environment.get_environments(config, ["existing"]))
        return Benchmarks.discover(config, repo.NoRepository(), here, [], check=True)


def test_asv_finds_every_benchmark_and_nothing_else(benchmarks: Any) -> None:
    assert set(benchmarks) == {
        "decomposition.Decomposition.time_decompose",
        "forward.Layers.time_forward",
        "forward.Network.time_forward",
        "size.Network.track_macs",
        "size.Network.track_params",
        "size.Network.track_weight_error",
        "training.Layers.time_backward",
        "training.Step.time_step",
        "training.Step.track_peak_memory",
    }


def test_the_one_parameter_is_the_case_and_its_values_those_of_suite_asv(benchmarks: Any) -> None:
    for benchmark in benchmarks.values():
        assert benchmark["param_names"] == ["case"]
        assert benchmark["params"] == [[repr(case) for case in CASES]]


def test_names_units_and_versions_are_said_and_not_guessed(benchmarks: Any) -> None:
    names = [benchmark["pretty_name"] for benchmark in benchmarks.values()]
    assert len(set(names)) == len(names)
    for name, benchmark in benchmarks.items():
        assert benchmark["version"] == "1", name
        assert benchmark["unit"] in ({"seconds"} if ".time_" in name else {"bytes", "1"}), name


def test_larger_is_worse_in_all_that_is_tracked(benchmarks: Any) -> None:
    tracked = {name.partition(".track_")[2] for name in benchmarks if ".track_" in name}
    assert {name for name in tracked if name in METRICS} == {"macs", "params", "weight_error"}
    assert {METRICS[name].better for name in tracked if name in METRICS} == {"lower"}


def test_every_benchmark_has_its_threshold_and_every_threshold_its_benchmarks(config: Any, benchmarks: Any) -> None:
    names = [*benchmarks, *(benchmark.name for benchmark in BENCHMARKS)]
    entries = [f"{name}({case!r})" for name in names for case in CASES]
    served = {entry: [regex for regex in config.regressions_thresholds if re.match(regex, entry)] for entry in entries}
    assert {len(regexes) for regexes in served.values()} == {1}
    assert {regex for regexes in served.values() for regex in regexes} == set(config.regressions_thresholds)


def test_a_case_that_the_commit_does_not_know_is_not_available(cases: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"does not run soap/x4/.*no method is named 'soap'"):
        cases.workbench(CASES[1].replace("svd", "soap"))


def test_a_commit_without_workbench_is_not_available(cases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "Workbench", None)
    with pytest.raises(NotImplementedError, match=r"no tnbench\.stages\.workbench"):
        cases.workbench(CASES[0])


def test_another_tnbench_than_the_commit_s_is_refused(
    cases: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASV_ENV_DIR", str(tmp_path))
    with pytest.raises(RuntimeError, match=rf"got the tnbench of .*, wanted the commit's, .* under {tmp_path}"):
        cases.workbench(CASES[0])


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks._cases")


@pytest.fixture(scope="module")
def shared(config: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real environment, with nothing installed in it."""
    config.env_dir = str(tmp_path_factory.mktemp("asv") / "env")
    (made,) = environment.get_environments(config, None)
    made.create()
    return made


def python_in(shared: Any, code: str) -> str:
    return str(shared.run(["-c", code], cwd=shared._path)).strip()


def test_it_has_all_that_asv_s_python_has_but_tnbench(shared: Any) -> None:
    assert shared.tool_name == "shared-virtualenv"
    found = "import importlib.util as i; print(*(getattr(i.find_spec(n), 'origin', None) for n in {!r}))"
    assert python_in(shared, found.format(["torch", "hatchling", "asv_runner"])).split() == [
        importlib.util.find_spec(name).origin for name in ("torch", "hatchling", "asv_runner")
    ]
    assert python_in(shared, "import sys; print(sys.version, sys.prefix)") == f"{sys.version} {shared._path}"


def test_it_is_made_again_where_asv_s_python_is_another(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared.check_presence()
    monkeypatch.setattr(shared_virtualenv, "_shared", lambda: "/elsewhere\n")
    assert not shared.check_presence()


def test_a_commit_s_package_is_what_it_imports_and_the_outer_one_is_never_removed(
    config: Any, shared: Any, tmp_path: Path
) -> None:
    (tmp_path / "tnbench").mkdir()
    (tmp_path / "tnbench/__init__.py").write_text('__version__ = "0.0.1"\nOF = "the commit"\n')
    (tmp_path / "README.md").touch()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for words in ("init -q -b main", "add .", "-c user.name=a -c user.email=a@b commit -qm first"):
        subprocess.run(("git", "-C", str(tmp_path), *words.split()), check=True)
    git = repo.get_repo(Config.from_json({"repo": str(tmp_path), "project": "tnbench"}))

    shared.install_project(config, git, git.get_hash_from_name("main"))
    where = "import tnbench; print(tnbench.OF, 'in', tnbench.__file__)"
    assert python_in(shared, where).startswith(f"the commit in {shared._path}")

    outer = Path(sys.modules["tnbench"].__file__ or "")
    for _ in range(2):  # the second time only the outer one is left for pip to find
        shared._uninstall_project()
    assert outer.is_file()
    assert importlib.metadata.distribution("tnbench").locate_file("")
    assert python_in(shared, "import importlib.util as i; print(i.find_spec('tnbench'))") == "None"


def test_another_version_of_python_is_refused(config: Any) -> None:
    with pytest.raises(environment.EnvironmentUnavailable, match=rf"got Python 2\.7, wanted {re.escape(PYTHON)}"):
        shared_virtualenv.SharedVirtualenv(config, "2.7", {}, {})


def test_an_asv_that_works_otherwise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(environment.Environment, "_setup")
    with pytest.raises(util.UserError, match=r"has no Environment\._setup.*pip install \"tnbench\[asv\]\""):
        importlib.reload(shared_virtualenv)
