"""``tnbench history``: asv's site, published and served to this machine alone."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from asv_results import asv_project
from machines import on_desk
from typer.testing import Result

from tnbench.store.records import Store

Tnb = Callable[..., Result]

TNBENCH = (sys.executable, "-c", "from tnbench.cli import main; main()")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a project with results, in the current folder."""
    return asv_project(tmp_path, machines=["desk"])


@pytest.fixture
def served(config: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running verb, and the address that it printed."""
    command = [*TNBENCH, "history", "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=config.parent, **pipes) as process:
        yield process, process.stdout.readline().split()[0]
        process.kill()


def change(config: Path, **settings: object) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), **settings}))


def folder_of(config: Path) -> set[str]:
    return {str(file) for file in config.parent.rglob("*") if ".git" not in file.parts}


def test_the_site_is_published_and_works_offline(tnb: Tnb, config: Path) -> None:
    for _ in range(2):
        done = tnb("history", "--no-serve")
        assert (done.exit_code, done.stdout) == (0, f"{config.parent / 'site/index.html'}\n")
        page = (config.parent / "site/index.html").read_text()
        assert 'src="vendor/jquery.min.js"' in page
        assert "https://code.jquery.com" not in page
        assert (config.parent / "site/vendor/jquery.min.js").is_file()


def test_a_configuration_elsewhere_has_its_folders_beside_it(tnb: Tnb, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    asv_project(tmp_path / "inner", machines=["desk"])
    done = tnb("history", "--no-serve", "--config", "inner/asv.conf.json")
    assert done.stdout == f"{tmp_path / 'inner/site/index.html'}\n"
    assert (tmp_path / "inner/site/index.html").is_file()


def test_only_this_machine_is_served(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    port = int(address.rstrip("/").rpartition(":")[2])
    listening = [one.laddr for one in psutil.Process(process.pid).net_connections() if one.status == "LISTEN"]
    assert listening == [("127.0.0.1", port)]
    assert address == f"http://127.0.0.1:{port}/"
    with urllib.request.urlopen(address) as answer:
        assert b"vendor/jquery.min.js" in answer.read()
    with urllib.request.urlopen(f"{address}index.json") as answer:
        assert json.load(answer)["project"] == "tnbench"


def test_an_interrupt_ends_it_well(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "")
    assert "Traceback" not in errors
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(address)


def test_a_port_that_is_taken_is_refused_before_anything_is_written(tnb: Tnb, config: Path) -> None:
    before = folder_of(config)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = tnb("history", "--port", port)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"tnbench: --port: port {port} is in use; give another, or 0 for any that is free\n"
    assert folder_of(config) == before


def test_what_asv_says_when_it_fails_is_shown(tnb: Tnb, config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change(config, branches=["nowhere"])
    failed = tnb("history", "--no-serve")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr == "tnbench: asv publish ended with 1; what it said stands above\n"
    assert "nowhere" in capfd.readouterr().err


def test_without_asv_it_says_how_to_install_it(tnb: Tnb, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asv", None)
    refused = tnb("history")
    assert refused.exit_code == 2
    assert refused.stderr == 'tnbench: asv is not installed; install it with: pip install "tnbench[asv]"\n'


def test_without_a_configuration_it_says_where_to_be(tnb: Tnb, tmp_path: Path) -> None:
    refused = tnb("history")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "tnbench: asv.conf.json is not there, which says where asv keeps its results; run this in its folder, "
        "or name one: --config FILE\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "{}", '{"version": 1}', '{"version": 7, "repo": "."}'])
def test_a_configuration_that_asv_cannot_read(tnb: Tnb, tmp_path: Path, text: str) -> None:
    (tmp_path / "asv.conf.json").write_text(text)
    refused = tnb("history")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("tnbench: asv cannot read asv.conf.json (")


@pytest.mark.parametrize("results", ["asv/desk", "nowhere"])
def test_without_results_it_says_what_to_do_first(tnb: Tnb, config: Path, results: str) -> None:
    change(config, results_dir=results)
    before = folder_of(config)
    refused = tnb("history")
    assert refused.exit_code == 2
    assert f"{config.parent / results} holds no results; measure with asv run, or" in refused.stderr
    assert "tnbench export asv" in refused.stderr
    assert folder_of(config) == before


@pytest.mark.parametrize("html_dir", ["asv", ".", ".."])
def test_a_site_where_the_results_are_is_refused(tnb: Tnb, config: Path, html_dir: str) -> None:
    change(config, html_dir=html_dir)
    before = folder_of(config)
    refused = tnb("history", "--no-serve")
    assert refused.exit_code == 2
    assert "publishing empties html_dir" in refused.stderr
    assert "give html_dir a folder of its own" in refused.stderr
    assert folder_of(config) == before


def test_what_export_asv_wrote_is_published_after_asv_has_run(tnb: Tnb, config: Path) -> None:
    """`asv run` leaves out of benchmarks.json what it did not discover."""
    root, definitions = config.parent, config.parent / "asv/benchmarks.json"
    asv_alone = definitions.read_text()
    head = subprocess.run(("git", "rev-parse", "HEAD"), cwd=root, capture_output=True, text=True, check=True)
    Store(root / "results").append(on_desk(commit=head.stdout.strip(), step_ms=8.0))
    assert tnb("export", "asv").exit_code == 0
    definitions.write_text(asv_alone)
    assert tnb("history", "--no-serve").exit_code == 0
    published = json.loads((root / "site/index.json").read_text())["benchmarks"]
    assert published.keys() > {"records.step_ms"}
