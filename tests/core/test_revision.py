"""The code that a record was measured with, in words and as a value."""

from __future__ import annotations

import pytest

from tnbench.core.revision import Revision


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"git_commit": "1a2b3c4d" * 5, "git_dirty": False}, "1a2b3c4d"),
        ({"git_commit": "1a2b3c4d" * 5, "git_dirty": True}, "1a2b3c4d with changes"),
        (
            {"git_commit": "1a2b3c4d" * 5, "git_dirty": True, "git_changes": "5e6f7a8b"},
            "1a2b3c4d with changes 5e6f7a8b",
        ),
        ({"git_commit": None, "git_dirty": None, "versions": {"tnbench": "0.1.0"}}, "tnbench 0.1.0 (installed)"),
        ({}, "tnbench unknown (installed)"),
    ],
)
def test_a_revision_in_words(facts: dict[str, object], said: str) -> None:
    assert str(Revision.of(facts)) == said


def test_a_commit_with_changes_is_another_revision() -> None:
    clean, dirty = ({"git_commit": "a", "git_dirty": changed} for changed in (False, True))
    assert Revision.of(clean) != Revision.of(dirty)
    assert Revision.of(clean) == Revision.of(dict(clean))


def test_other_changes_are_another_revision() -> None:
    one, other = ({"git_commit": "a", "git_dirty": True, "git_changes": digest} for digest in ("1", "2"))
    assert Revision.of(one) != Revision.of(other)
    assert Revision.of(one) == Revision.of(dict(one))


def test_a_commit_is_the_same_whatever_version_it_is_installed_as() -> None:
    one, other = ({"git_commit": "a", "git_dirty": False, "versions": {"tnbench": version}} for version in "12")
    assert Revision.of(one) == Revision.of(other)
