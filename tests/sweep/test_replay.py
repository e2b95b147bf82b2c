"""Which stored record is replayed for a case."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tnbench.core.case import Case
from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.record import Record
from tnbench.core.registry import Registry
from tnbench.core.settings import Settings, record_key
from tnbench.store.records import Store
from tnbench.sweep.plan import Request
from tnbench.sweep.replay import Replay

SUITE = """
summary = "MNIST, whose files are not here."
[settings]
epochs = 2
[[product]]
method = ["dense", "svd", "tt"]
rank = "x4"
model = "lenet5"
dataset = "mnist"
training = "finetune"
[[exclude]]
select = "method=tt"
reason = "covered elsewhere"
"""
DENSE, SVD, TT = (f"{method}/lenet5/mnist/finetune/single#0" for method in ("dense/full", "svd/x4", "tt/x4"))


@pytest.fixture
def suite(tmp_path: Path) -> str:
    (tmp_path / "mine.toml").write_text(SUITE)
    return str(tmp_path / "mine.toml")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "results").mkdir()
    return Store(tmp_path / "results")


def a_record(case: str, status: str = "ok", *, machine: str = "A", **settings: Any) -> Record:
    chosen = Settings(device="cpu", epochs=2).changed(settings)
    parsed = Case.parse(case)
    provenance = {"identity": {"device_model": machine}}
    return Record(case, record_key(parsed, chosen), status, "why", settings=chosen.as_json(), provenance=provenance)


def replay(suite: str, store: Store, **asked: Any) -> Replay:
    return Replay(Request(suite=suite, results=store.root, **asked), Registry(), store)


def test_a_folder_that_is_not_there_is_refused(suite: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no folder .*elsewhere to replay from"):
        replay(suite, Store(tmp_path / "elsewhere"))


def test_records_are_found_without_data_and_in_the_suite_s_order(suite: str, store: Store) -> None:
    for case in (SVD, DENSE):
        store.append(a_record(case))
    found = replay(suite, store)
    assert dict(found.skips) == {DENSE: "", SVD: "", TT: "covered elsewhere"}
    assert list(found.skips) == [DENSE, SVD, TT]
    assert found.record(SVD).case == SVD


def test_a_case_without_one_says_how_to_get_it(suite: str, store: Store) -> None:
    store.append(a_record(SVD, epochs=3))
    why = replay(suite, store, overrides={"device": "cpu"}).skips[SVD]
    command = f"tnbench run --suite {suite} --case '{SVD}' --device cpu --results {store.root}"
    assert why == f"no record of it with these settings in {store.root}; get one with: {command}"


def test_the_newest_counts_wherever_it_is_from_but_no_bad_end_hides_a_good_one(suite: str, store: Store) -> None:
    for machine, status in (("A", "ok"), ("B", "ok"), ("C", "failed")):
        store.append(a_record(SVD, status, machine=machine))
    assert replay(suite, store).record(SVD).provenance["identity"]["device_model"] == "B"


def test_a_record_taken_back_is_gone(suite: str, store: Store) -> None:
    store.append(a_record(SVD))
    store.drop([a_record(SVD)], "a mistake")
    assert replay(suite, store).skips[SVD].startswith("no record of it")


def test_any_device_will_do_unless_one_is_asked_for(suite: str, store: Store) -> None:
    on_gpu = a_record(SVD)
    store.append(dataclasses.replace(on_gpu, settings={**on_gpu.settings, "device": "cuda"}))
    assert not replay(suite, store).skips[SVD]
    assert not replay(suite, store, overrides={"device": "cuda:1"}).skips[SVD]
    assert replay(suite, store, overrides={"device": "cpu"}).skips[SVD]


def test_a_selection_narrows_it(suite: str, store: Store) -> None:
    assert list(replay(suite, store, select="method=svd").skips) == [SVD]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"select": "method=svd2"}, "the nearest is 'svd'"),
        ({"select": "seed=7"}, "seed=7 leaves no case"),
        ({"overrides": {"device": "gpu"}}, "device: got 'gpu'"),
        ({"overrides": {"epochs": -1}}, "epochs = -1"),
    ],
)
def test_a_wrong_request_is_refused(suite: str, store: Store, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replay(suite, store, **asked)


def test_it_wants_a_suite(store: Store) -> None:
    with pytest.raises(UsageError, match="give --suite"):
        Replay(Request(cases=(SVD,)), Registry(), store)


def test_nothing_is_laid_out(suite: str, store: Store) -> None:
    store.append(a_record(SVD))
    found = replay(suite, store)
    with pytest.raises(NotApplicable, match="is replayed"):
        found.job(found.record(SVD))
