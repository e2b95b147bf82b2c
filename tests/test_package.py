"""What `import tnbench` does and does not do; and that the documents hold together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tnbench

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_importing_the_package_imports_no_torch() -> None:
    script = "import sys, tnbench; print('torch' in sys.modules, tnbench.Case.__name__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False Case False\n"


def test_the_test_above_can_fail() -> None:
    script = "import sys, tnbench; tnbench.compress; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_public_names_are_there_and_none_is_a_sub_package() -> None:
    for name in tnbench.__all__:
        assert getattr(tnbench, name) is not None
    rooms = {folder.name for folder in (ROOT / "tnbench").iterdir() if folder.is_dir()}
    assert not rooms & set(tnbench.__all__)
    with pytest.raises(AttributeError, match="it has Case, Compression, Record"):
        _ = tnbench.kompress


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_named_in_documents_are_there(document: Path) -> None:
    for name in re.findall(r"`((?:tnbench|tests|docs|benchmarks|\.ci)/[\w./-]+)`", document.read_text()):
        assert (ROOT / name).exists() or "NAME" in name, f"{document.name} names {name}"


def test_decisions_and_contributing_stay_short() -> None:
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        assert len(page.read_text().splitlines()) <= 40, page.name
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60
