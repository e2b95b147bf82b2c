"""What git says about commits, from real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from made_commits import commit, merge, new_repository, traces

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.git import NoGit, outside_hooks
from tnbench.history.commits import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Two commits: *first* has the file ``a``, *second* has ``b`` as well."""
    made = new_repository(tmp_path / "clone")
    commit(made, "first", a="1")
    commit(made, "second, ünïcode", b="2\n3\n")
    return made


def test_the_repository_around_any_of_its_folders(repository: Repository) -> None:
    (repository.root / "deep/er").mkdir(parents=True)
    assert Repository.around(repository.root / "deep/er") == repository


def test_no_repository_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lies in no git repository.*run this inside a clone"):
        Repository.around(tmp_path)


def test_any_name_of_a_commit_becomes_its_full_hash(repository: Repository) -> None:
    full = repository.git("rev-parse", "HEAD")
    repository.git("-c", "user.name=a", "-c", "user.email=a@b", "tag", "--annotate", "--message", "m", "v1")
    assert len(full) == 40
    assert {repository.resolve(name) for name in ("HEAD", "main", full[:8], "v1", "main@{0}")} == {full}
    assert repository.knows("HEAD~1")


@pytest.mark.parametrize("name", ["nothing", "HEAD~2", "HEAD:a", "--all", "", "0" * 40])
def test_what_names_no_commit_is_wrong_use(repository: Repository, name: str) -> None:
    assert not repository.knows(name)
    with pytest.raises(UsageError, match=r"names no commit of .*; see what is there with: git log"):
        repository.resolve(name)


def test_a_commit_in_words(repository: Repository) -> None:
    head = repository.resolve("HEAD")
    assert repository.subject(head) == "second, ünïcode"
    assert repository.in_short(head) == f"{head[:8]} second, ünïcode"
    assert repository.date(head) == int(repository.git("log", "-1", "--format=%at"))
    repository.git("config", "color.ui", "always")
    described = repository.description(head)
    assert described.startswith(f"commit {head}\nAuthor: Ada <ada@example.org>\nDate: ")
    assert described.endswith(" b | 2 ++\n 1 file changed, 2 insertions(+)")


def test_a_merge_is_described_by_what_it_brought(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    commit(repository, "aside", c="3")
    repository.git("checkout", "--quiet", "main")
    assert " c | 1 +" in repository.description(merge(repository, "side"))


def test_which_commit_precedes_which(repository: Repository) -> None:
    first, second = repository.resolve("HEAD~1"), repository.resolve("HEAD")
    repository.git("checkout", "--quiet", "-b", "side", first)
    aside = commit(repository, "aside")
    assert repository.precedes(first, second)
    assert not repository.precedes(second, first)
    assert not repository.precedes(aside, second)


def test_what_a_commit_holds(repository: Repository) -> None:
    first, second = repository.resolve("HEAD~1"), repository.resolve("HEAD")
    (repository.root / "untracked").touch()
    assert repository.holds(first, Path("a"))
    assert not repository.holds(first, Path("b"))
    assert repository.holds(second, Path("b"))
    assert not repository.holds(second, Path("untracked"))
    assert repository.holds(second, Path())


def test_a_worktree_has_the_commit_and_the_checkout_keeps_its_changes(repository: Repository) -> None:
    (repository.root / "b").write_text("changed")
    before = traces(repository)
    with repository.worktree("HEAD~1") as tree:
        assert sorted(path.name for path in tree.iterdir()) == [".git", "a"]
        assert repository.git("rev-parse", "HEAD", at=tree) == repository.resolve("HEAD~1")
        (tree / "a").write_text("changed there")
        (tree / "new").touch()
    assert not tree.parent.exists()
    assert traces(repository) == before
    assert (repository.root / "b").read_text() == "changed"


@pytest.mark.parametrize("problem", [TnbenchError, KeyboardInterrupt])
def test_a_worktree_goes_whatever_happens(repository: Repository, problem: type[BaseException]) -> None:
    before = traces(repository)
    with pytest.raises(problem), repository.worktree("HEAD") as tree:
        raise problem
    assert not tree.parent.exists()
    assert traces(repository) == before


def test_an_interrupt_just_after_git_has_added_the_worktree_leaves_none(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, run = traces(repository), subprocess.run

    def interrupted(command: tuple[str, ...], **options: object) -> object:
        done = run(command, **options)  # type: ignore[call-overload]
        if "add" in command:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt), repository.worktree("HEAD"):
        pytest.fail("it was interrupted before")
    monkeypatch.undo()
    assert traces(repository) == before


def test_hooks_of_the_repository_do_not_run(repository: Repository) -> None:
    hook = repository.root / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with repository.worktree("HEAD") as tree:
        assert (tree / "b").is_file()


def test_a_worktree_of_nothing_says_why(repository: Repository) -> None:
    before = traces(repository)
    with pytest.raises(TnbenchError, match="git worktree: invalid reference: nothing"), repository.worktree("nothing"):
        pytest.fail("there is no such commit")
    assert traces(repository) == before


def test_a_hook_of_another_repository_changes_nothing(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_repository(tmp_path / "other")
    commit(other, "elsewhere")
    head = repository.resolve("HEAD")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.root / ".git/index"))
    monkeypatch.setenv("GIT_PAGER", "cat")
    assert Repository.around(repository.root).resolve("HEAD") == head
    with repository.worktree(head) as tree:
        assert (tree / "b").is_file()
    assert not {"GIT_DIR", "GIT_INDEX_FILE"} & outside_hooks().keys()
    assert outside_hooks()["GIT_PAGER"] == "cat"


def test_without_git_the_error_says_so(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoGit, match="git is not installed"):
        repository.git("status")
    with pytest.raises(NoGit):
        Repository.around(repository.root)
