"""What --against and --at may name, on real repositories, stores and files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from launch_records import each, keep, launch

from tnbench.core.errors import UsageError
from tnbench.history.gate.reference import Side, lines_now, newest, read_reference
from tnbench.history.launches import subject_of
from tnbench.store.records import Store, text_of


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    done = subprocess.run(("git", "-C", str(folder), *who, *arguments), capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with the commits one, two and three, tagged so."""
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for name in ("one", "two", "three"):
        git(folder, "commit", "--quiet", "--allow-empty", "--message", name)
        git(folder, "tag", name)
    return folder


@pytest.fixture
def store(clone: Path) -> Store:
    """A launch of step_ms 1, 2 and 3 at each commit, in its order."""
    store = Store(clone / "results")
    for value, name in enumerate(("one", "two", "three"), 1):
        keep(store, each([value], commit=git(clone, "rev-parse", name)))
    return store


def times(side: Side) -> list[float]:
    return [record.metrics["step_ms"] for record in side.launches.get(subject_of(launch()), [])]


def now(store: Store, against: str, clone: Path, at: str | None = None) -> list[float]:
    return times(newest(store.root, lines_now(store, read_reference(against, store, clone), at, clone)))


def test_a_folder_is_read_at_its_newest_revision(store: Store, tmp_path: Path) -> None:
    side = newest(store.root, read_reference(str(store.root), Store(tmp_path / "other"), tmp_path).lines)
    assert times(side) == [3.0]


def test_a_file_of_records_is_read_as_its_store_is(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "reference.jsonl"
    file.write_text("".join(map(text_of, store.record_lines())))
    assert read_reference(str(file), Store(tmp_path / "other"), tmp_path).lines == store.record_lines()


def test_a_file_may_have_damaged_lines_but_not_only_those(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "reference.jsonl"
    file.write_text("case,top1\n" + text_of(store.record_lines()[0]))
    reference = read_reference(str(file), store, tmp_path)
    assert len(reference.lines) == 1
    assert reference.damaged[0].startswith(f"{file}, line 1 cannot be read")
    file.write_text("case,top1\n1,2\n")
    with pytest.raises(UsageError, match=r"holds no record .*line 1 cannot be read.*wanted a results folder, a file"):
        read_reference(str(file), store, tmp_path)


def test_lines_that_a_file_takes_back_do_not_count(store: Store, tmp_path: Path) -> None:
    store.drop([store.records()[-1]], "measured beside another program")
    keep(store, each([9.0], commit=None))
    [segment] = (store.root / "segments").iterdir()
    assert len(read_reference(str(segment), store, tmp_path).lines) == 1


def test_a_commit_by_any_name_is_what_was_measured_at_it(store: Store, clone: Path) -> None:
    for name in ("two", "HEAD~1", git(clone, "rev-parse", "--short", "two")):
        assert times(newest(store.root, read_reference(name, store, clone).lines)) == [2.0]


def test_what_was_measured_with_changes_is_not_of_the_commit(store: Store, clone: Path) -> None:
    keep(store, each([9.0], commit=git(clone, "rev-parse", "two"), dirty=True))
    assert times(newest(store.root, read_reference("two", store, clone).lines)) == [2.0]


def test_now_is_neither_the_reference_nor_what_it_contains(store: Store, clone: Path) -> None:
    assert now(store, "two", clone) == [3.0]
    assert now(store, "three", clone) == []
    keep(store, each([9.0], commit=git(clone, "rev-parse", "three"), dirty=True))
    assert now(store, "three", clone) == [9.0]


def test_measuring_the_reference_last_does_not_make_it_the_newest(store: Store, clone: Path) -> None:
    keep(store, each([2.5], commit=git(clone, "rev-parse", "two")))
    assert now(store, "two", clone) == [3.0]
    assert times(newest(store.root, read_reference("two", store, clone).lines)) == [2.0, 2.5]


def test_lines_of_the_reference_are_not_held_against_themselves(store: Store, clone: Path) -> None:
    assert now(store, str(store.root), clone) == []


def test_at_names_another_commit_than_the_newest(store: Store, clone: Path) -> None:
    assert now(store, "three", clone, at="one") == [1.0]


def test_an_existing_path_wins_over_a_commit(store: Store, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    Path("two").mkdir()
    with pytest.raises(UsageError, match=r"^--against: two holds no record; wanted a results folder, a file"):
        read_reference("two", store, clone)


def test_a_commit_without_records_says_what_there_is(store: Store, clone: Path) -> None:
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "four")
    measured = ", ".join(git(clone, "rev-parse", name)[:8] for name in ("one", "two", "three"))
    with pytest.raises(UsageError, match=f"measured at commit .*there are records of: {measured}.*--launches 6"):
        read_reference("HEAD", store, clone)
    with pytest.raises(UsageError, match=r"^--at: no record in .* was measured at commit"):
        now(store, "two", clone, at="HEAD")


@pytest.mark.parametrize("inside", [True, False])
def test_neither_path_nor_commit_names_all_three(inside: bool, store: Store, clone: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_reference("v9", store, clone if inside else tmp_path)
    where = clone if inside else f"{tmp_path}, which lies in no git repository"
    assert str(caught.value) == (
        f"--against: got 'v9', which is neither a path nor a commit of {where}; wanted a results folder, "
        "a file that tnbench export records --output FILE wrote, or a git commit"
    )
