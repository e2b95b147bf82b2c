"""``tnbench export ranks``: the ranks of one case, for others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_records import a_record
from typer.testing import Result

from tnbench.store.rank_tables import read_table
from tnbench.store.records import Store

Tnb = Callable[..., Result]
TUCKER, CP = "tucker2/e0.9/cnn8/digits/none/single#0", "cp/x4/cnn8/digits/none/single#0"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    layers = [{"name": "conv1", "ranks": []}, {"name": "conv2", "ranks": [7, 9]}, {"name": "fc", "ranks": [3]}]
    store.append(dataclasses.replace(a_record(TUCKER), layers=layers))
    store.append(a_record("dense/full/cnn8/digits/none/single#0"))
    store.append(a_record(CP, "failed", "it broke"))
    return store


def test_ranks_become_a_table_that_a_rank_reads(tnb: Tnb, store: Store, tmp_path: Path) -> None:
    done = tnb("export", "ranks", "--case", TUCKER, "--table", "mine")
    assert (done.exit_code, done.stdout) == (
        0,
        f"results/ranks/mine.toml holds the ranks of 2 layers of {TUCKER}; use them as rank table[mine]\n",
    )
    assert read_table(tmp_path / "results", "mine") == {"conv2": (7, 9), "fc": (3,)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--case", TUCKER), "got no --table NAME"),
        (("--table", "mine", "--output", "file"), "or an --output"),
        (("--table", "mine"), "got 2 cases that are ok, wanted one"),
        (("--table", "mine", "--case", CP), "got 0 cases that are ok, wanted one"),
        (("--table", "mine", "--case", "dense/full/cnn8/digits/none/single#0"), "has no layer with ranks"),
        (("--table", "a/b", "--case", TUCKER), "got the name 'a/b'"),
    ],
)
def test_what_is_no_table_is_refused(tnb: Tnb, store: Store, arguments: tuple[str, ...], message: str) -> None:
    done = tnb("export", "ranks", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_a_table_is_for_ranks_alone(tnb: Tnb, store: Store) -> None:
    done = tnb("export", "csv", "--table", "mine")
    assert done.exit_code == 2
    assert "wanted the form ranks" in done.stderr
