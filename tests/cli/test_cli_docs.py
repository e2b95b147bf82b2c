"""Every command in the documents is one that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import Result

from tnbench.cli.app import app
from tnbench.cli.list import SECTIONS
from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.history.gate.tolerance import parse_tolerances

Tnb = Callable[..., Result]

DOCS = Path(__file__).parents[2] / "docs"


READERS = {"--fail-on": parse_tolerances, "bisect": Case.parse, "show": Case.parse, "--case": Case.parse}
"""What reads the word after it, for help does not."""


def commands_of(page: Path) -> list[str]:
    """What follows ``tnbench`` in its console lines, up to a comment; a backslash joins lines as in the shell."""
    lines = re.findall(r"^\$ (tnbench.*)$", page.read_text().replace("\\\n", ""), re.MULTILINE)
    parts = [part for line in lines for part in line.split(" && ")]
    return [shlex.join(shlex.split(part, comments=True)[1:]) for part in parts]


COMMANDS = commands_of(DOCS / "command-line.md")
ELSEWHERE = [
    (page.name, command)
    for page in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))
    if page.name != "command-line.md"
    for command in commands_of(page)
]
ANSWERED_AT_ONCE = [command for command in COMMANDS if command.startswith(("list", "--version", "data status"))]


def refusal(tnb: Tnb, command: str) -> str:
    """Why the program does not take `command`; empty if it does. Asking for help as well runs nothing."""
    words = shlex.split(command)
    done = tnb(*words, "--help")
    try:
        for before, word in pairwise(words):
            if before in READERS:
                READERS[before](word)
    except UsageError as error:
        return str(error)
    return "" if done.exit_code == 0 else done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page_are_taken(tnb: Tnb, command: str) -> None:
    assert not refusal(tnb, command)


@pytest.mark.parametrize(("page", "command"), ELSEWHERE)
def test_commands_of_other_pages_are_taken(tnb: Tnb, page: str, command: str) -> None:
    assert not refusal(tnb, command), page


@pytest.mark.parametrize(
    "command",
    ["run --epoch 3", "plans", "export csv --output", "data stat", "check --fail-on stepms>5%", "bisect nocase"],
)
def test_a_wrong_command_would_be_seen(tnb: Tnb, command: str) -> None:
    assert refusal(tnb, command)


@pytest.mark.parametrize("command", ANSWERED_AT_ONCE)
def test_commands_that_only_look_are_run(tnb: Tnb, command: str) -> None:
    done = tnb(*shlex.split(command))
    assert done.exit_code == 0, done.stderr
    assert done.stdout


def test_the_page_shows_every_verb() -> None:
    verbs = set(get_command(app).commands)
    assert {command.split()[0] for command in COMMANDS if command[:1].isalpha()} == verbs


def test_the_page_names_every_section_of_list() -> None:
    text = (DOCS / "command-line.md").read_text()
    assert all(f"`{section}`" in text for section in SECTIONS)


def test_the_glossary_explains_the_words_of_a_case_in_one_row_each() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert len(words) == len(set(words))
    assert {"method", "rank", "model", "dataset", "training", "parallel", "seed", "executor", "baseline"} <= set(words)
