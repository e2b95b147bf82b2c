"""Launches of a subject at each revision, from lines as the store gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_records import CP, NEW, OLD, TUCKER, each, keep, launch, lines

from tnbench.core.record import STATUSES, Record
from tnbench.core.revision import Revision
from tnbench.history.launches import launches, subject_of
from tnbench.store.records import Store


def numbers(records: list[Record], revision: str) -> list[float]:
    """The values of `step_ms` of the only subject at one revision."""
    [revisions] = launches(lines(records)).values()
    return [record.metrics["step_ms"] for at, found in revisions.items() if str(at) == revision for record in found]


def test_a_cell_is_a_case_at_any_seed_and_named_without_it() -> None:
    subject = subject_of(launch(TUCKER))
    assert subject == subject_of(launch(TUCKER.replace("#0", "#7")))
    assert str(subject) == TUCKER.removesuffix("#0")


@pytest.mark.parametrize(
    "other",
    [
        launch(CP),
        launch(TUCKER.replace("x4", "x8")),
        launch(TUCKER.replace("single", "threads:1")),
        launch(settings={"epochs": 3}),
        launch(torch="2.16.0"),
    ],
    ids=["method", "rank", "parallel", "settings", "torch"],
)
def test_what_may_not_be_compared_is_another_cell(other: Record) -> None:
    assert subject_of(other) != subject_of(launch())
    assert len(launches(lines([launch(), other]))) == 2


def test_the_commit_makes_no_other_cell_but_another_revision() -> None:
    [revisions] = launches(lines([launch(commit=OLD), launch(commit=NEW), launch(commit=NEW, dirty=True)])).values()
    assert [str(revision) for revision in revisions] == ["a" * 8, "b" * 8, f"{'b' * 8} with changes"]
    assert all(len(found) == 1 for found in revisions.values())


def test_all_launches_of_a_revision_count_whatever_their_seed_and_order() -> None:
    records = [*each([1, 2], commit=OLD), *each([3], commit=NEW), *each([4], TUCKER.replace("#0", "#1"), commit=OLD)]
    assert numbers(records, "a" * 8) == [1, 2, 4]
    assert numbers(records, "b" * 8) == [3]


def test_the_revision_that_was_measured_last_comes_last() -> None:
    [revisions] = launches(lines([launch(commit=OLD), launch(commit=NEW), launch(commit=OLD)])).values()
    assert [revision.commit for revision in revisions] == [NEW, OLD]


def test_an_installed_package_is_a_revision_by_its_version() -> None:
    [revisions] = launches(lines([launch(commit=None)])).values()
    assert list(revisions) == [Revision(None, "", "0.1.0")]
    assert str(*revisions) == "tnbench 0.1.0 (installed)"


@pytest.mark.parametrize("status", STATUSES)
def test_every_end_is_a_launch_but_an_interruption(status: str) -> None:
    found = launches(lines([launch(status=status, reason="why")]))
    assert len(found) == (status != "interrupted")


def test_of_a_store_the_launches_that_others_superseded_count_and_those_taken_back_do_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keep(store, each([1, 2, 3]))
    keep(store, each([4], CP))
    assert len(store.records()) == 2
    store.drop([launch(CP)], "a test")
    [revisions] = launches(store.record_lines()).values()
    assert [[record.metrics["step_ms"] for record in found] for found in revisions.values()] == [[1, 2, 3]]


def test_nothing_recorded_gives_nothing() -> None:
    assert launches([]) == {}
