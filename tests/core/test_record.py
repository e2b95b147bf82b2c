import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnbench.core.baseline import Baseline
from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.record import BAD_STATUSES, SCHEMA, STATUSES, Record

CASE = "svd/x4/cnn8/digits/finetune/single#0"


@settings(deadline=None)
@given(
    st.sampled_from(STATUSES),
    st.text(),
    st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    st.lists(st.text()),
)
def test_a_record_survives_json(status, reason, metrics, notes):
    record = Record(CASE, "k", status, reason, metrics, notes=notes)
    assert Record.from_json(json.loads(json.dumps(record.as_json()))) == record


def test_an_older_schema_stays_readable():
    old = {"case": CASE, "key": "k", "status": "ok", "forgotten": 1}
    assert Record.from_json(old) == Record(CASE, "k", "ok")
    assert Record.from_json({**old, "schema": SCHEMA - 1}).metrics == {}


def test_a_newer_schema_is_refused_by_name():
    newer = {**Record(CASE, "k", "ok").as_json(), "schema": SCHEMA + 1}
    with pytest.raises(TnbenchError) as error:
        Record.from_json(newer)
    assert str(error.value) == (
        f"record of '{CASE}': got schema {SCHEMA + 1}, this tnbench reads up to {SCHEMA}; "
        f"a newer tnbench wrote it, so update tnbench to read it"
    )


def test_an_unknown_status():
    with pytest.raises(UsageError, match="record: no status is named 'fine'"):
        Record(CASE, "k", "fine")
    with pytest.raises(UsageError, match="the nearest is 'timeout'"):
        Record(CASE, "k", "timeuot")


def test_what_counts_as_bad():
    assert set(STATUSES) - set(BAD_STATUSES) == {"ok", "skipped", "interrupted"}


@pytest.mark.parametrize(("origin", "imported"), [("trained", False), ("imported", True)])
def test_a_baseline_survives_json(origin, imported):
    normalisation = {"mean": [0.5], "std": [0.25]} if imported else None
    baseline = Baseline("cnn8", "digits", None, "", "d", origin, "data", {"top1": 99.0}, {"model": 1}, normalisation)
    assert Baseline.from_json({**json.loads(json.dumps(baseline.as_json())), "of a later version": 1}) == baseline
    assert baseline.imported is imported
