"""Which modules a verb brings in: listing, help and planning on the CPU must answer without torch and pandas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "torchvision", "pandas", "sklearn", "scipy", "seaborn", "plotly", "tensorly"}

_PROBE = """
import json, sys
from tnbench.cli.app import app
try:
    app(sys.argv[1:])
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def imported(folder: Path, *arguments: str, first: str = "") -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", first + _PROBE, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--json"),
        ("--help",),
        ("run", "--help"),
        ("--version",),
        ("plan", "--device", "cpu"),
        ("data", "status"),
    ],
)
def test_nothing_heavy_is_imported(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert not imported(tmp_path, *arguments) & HEAVY


def test_the_probe_would_see_torch(tmp_path: Path) -> None:
    assert "torch" in imported(tmp_path, "list", first="import torch")


def test_importing_tnbench_imports_none_of_it(tmp_path: Path) -> None:
    code = "import sys, tnbench, tnbench.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY
