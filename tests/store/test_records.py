import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnbench.core.baseline import Baseline
from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.record import BAD_STATUSES, SCHEMA, Record
from tnbench.store.records import Store, _parse

CASE = "svd/x4/cnn8/digits/finetune/single#0"


def make(status="ok", key="k", device="A", torch="2", data="d1", version=1, **more):
    plugins = {"method": {"name": "svd", "version": version, "source": "s"}}
    identity = {"device_model": device, "torch": torch, "data": data, "plugins": plugins}
    return Record(CASE, key, status, provenance={"identity": identity}, **more)


def segments(root):
    return sorted((root / "segments").glob("*.jsonl"))


def test_a_store_that_is_not_there_reads_as_empty(tmp_path):
    store = Store(tmp_path / "none")
    assert (store.records(), store.baselines(), store.drops(), store.damaged(), store.attempts()) == (
        [],
        [],
        [],
        [],
        {},
    )
    assert not (tmp_path / "none").exists()


def test_records_and_baselines_come_back_as_they_were(tmp_path):
    record = make(metrics={"top1": 97.5}, samples={"step_ms": [[1.0, 2.0]]}, reason="π ≠ 3")
    baseline = Baseline("cnn8", "digits", 0, "b", "d" * 64, "trained", "data", {"top1": 99.0}, {"model": 1})
    store = Store(tmp_path)
    store.append(record)
    store.append_baseline(baseline)
    assert Store(tmp_path).records() == [record]
    assert Store(tmp_path).baselines() == [baseline]


def test_every_process_writes_a_segment_of_its_own(tmp_path):
    script = (
        "import sys; from pathlib import Path; from tnbench.store.records import Store; "
        "from tnbench.core.record import Record; Store(Path(sys.argv[1])).append(Record('a', sys.argv[2], 'ok'))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(n)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(segments(tmp_path)) == 3
    assert {record.key for record in Store(tmp_path).records()} == {"0", "1", "2"}


def test_the_newest_record_of_an_identity_counts_across_segments(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    second.append(make("failed", reason="old"))
    first.append(make("ok"))
    assert [record.status for record in second.records()] == ["ok"]
    assert first.attempts()["k"] == 2
    assert first.attempts()["other"] == 0


def test_records_from_elsewhere_stand_beside(tmp_path):
    store = Store(tmp_path)
    for record in (make(device="A"), make(device="B"), make(torch="3"), make(data="d2"), make(version=2)):
        store.append(record)
    assert len(store.records()) == 5


def test_an_interrupted_run_hides_no_record(tmp_path):
    store = Store(tmp_path)
    store.append(make("interrupted", key="other"))
    store.append(make("ok"))
    store.append(make("interrupted"))
    assert [(record.key, record.status) for record in store.records()] == [("other", "interrupted"), ("k", "ok")]


@pytest.mark.parametrize("bad", BAD_STATUSES)
def test_a_bad_end_hides_no_good_record_but_a_skip_and_another_bad_end(tmp_path, bad):
    store = Store(tmp_path)
    for key, earlier in (("good", "ok"), ("skip", "skipped"), ("bad", "oom"), ("cut", "interrupted")):
        store.append(make(earlier, key=key))
        store.append(make(bad, key=key))
    assert {record.key: record.status for record in store.records()} == {
        "good": "ok",
        "skip": bad,
        "bad": bad,
        "cut": bad,
    }
    store.append(make("ok", key="good", reason="newer"))
    assert store.records()[-1].reason == "newer"


def test_taking_baselines_back_is_a_further_line(tmp_path):
    store = Store(tmp_path)
    for model, origin in (("cnn8", "trained"), ("cnn8", "imported"), ("resnet20", "trained")):
        store.append_baseline(Baseline(model, "digits", 0, "b", "d" * 64, origin, "data"))
    assert store.drop_baselines("cnn8", "cifar10", "none there") == 0
    assert store.drop_baselines("cnn8", "digits", "imported by mistake") == 2
    assert [baseline.model for baseline in Store(tmp_path).baselines()] == ["resnet20"]
    assert [line.value["reason"] for line in store.drops()] == ["imported by mistake"]
    with pytest.raises(UsageError, match="drop: got no reason"):
        store.drop_baselines("resnet20", "digits", "")


def test_taking_back_is_a_further_line(tmp_path):
    store = Store(tmp_path)
    store.append(make("failed"))
    store.append(make("ok"))
    store.append(make("ok", key="kept"))
    before = segments(tmp_path)[0].read_bytes()
    assert store.drop([make("ok")], "a disturbed machine") == 2
    assert segments(tmp_path)[0].read_bytes().startswith(before)
    assert [record.key for record in Store(tmp_path).records()] == ["kept"]
    assert store.attempts()["k"] == 2
    assert [line.value["reason"] for line in store.drops()] == ["a disturbed machine"]
    store.append(make("ok"))
    assert [record.key for record in store.records()] == ["kept", "k"]


def test_taking_back_wants_a_reason_and_nothing_is_no_line(tmp_path):
    store = Store(tmp_path)
    store.append(make())
    with pytest.raises(UsageError, match="drop: got no reason"):
        store.drop([make()], " ")
    assert store.drop([make(key="absent")], "why not") == 0
    assert store.drops() == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), Path("a")])
def test_what_json_cannot_hold_is_refused_and_nothing_written(tmp_path, bad):
    store = Store(tmp_path)
    with pytest.raises(TnbenchError, match=f"record of {CASE}: .*; a record holds finite numbers and plain JSON types"):
        store.append(make(metrics={"top1": bad}))
    assert segments(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_last_line_is_reported_and_costs_itself_only(tmp_path, cut):
    store = Store(tmp_path)
    store.append(make(key="whole"))
    store.append(make(key="torn"))
    segment = segments(tmp_path)[0]
    segment.write_bytes(segment.read_bytes()[: -cut - 1])
    assert [record.key for record in Store(tmp_path).records()] == ["whole"]
    assert Store(tmp_path).damaged() == [
        f"{segment}, line 2 is torn: its writer ended in the middle of it; that line is lost, all others count"
    ]


def test_a_line_that_only_lost_its_end_of_line_counts(tmp_path):
    store = Store(tmp_path)
    store.append(make())
    segment = segments(tmp_path)[0]
    segment.write_bytes(segment.read_bytes().rstrip(b"\n"))
    assert len(Store(tmp_path).records()) == 1
    assert Store(tmp_path).damaged() == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "cannot be read (JSONDecodeError"),
        ("[1]", "cannot be read (TypeError"),
        ("3", "cannot be read (AttributeError"),
        ('{"kind": "record", "id": "1", "at": "0"}', "cannot be read (TypeError"),
        ('{"kind": "drop", "id": "1", "at": "0"}', "cannot be read (KeyError"),
        ('{"kind": "wish", "id": "1", "at": "0"}', "got a line of kind 'wish', this tnbench reads record, baseline"),
        (json.dumps({"kind": "record", "id": "1", "at": "0", **make().as_json(), "status": "fine"}), "no status is"),
        (
            json.dumps({"kind": "record", "id": "1", "at": "0", **make().as_json(), "schema": SCHEMA + 1}),
            f"got schema {SCHEMA + 1}, this tnbench reads up to {SCHEMA}",
        ),
    ],
)
def test_an_unreadable_line_in_the_middle_is_reported_and_blocks_nothing(tmp_path, line, said):
    store = Store(tmp_path)
    store.append(make(key="before"))
    segment = segments(tmp_path)[0]
    whole = segment.read_text()
    segment.write_text(whole + line + "\n" + whole.replace('"before"', '"after"').replace('"id": "', '"id": "2'))
    read = Store(tmp_path)
    assert {record.key for record in read.records()} == {"before", "after"}
    (complaint,) = read.damaged()
    assert f"{segment}, line 2" in complaint
    assert said in complaint


def test_reading_sees_what_others_append(tmp_path):
    reader, writer = Store(tmp_path), Store(tmp_path)
    assert reader.records() == []
    writer.append(make())
    assert len(reader.records()) == 1
    writer.append(make(key="second"))
    assert len(reader.records()) == 2


def test_each_line_is_on_disk_when_append_returns(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def watched(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    store = Store(tmp_path)
    store.append(make())
    store.append(make())
    (segment,) = segments(tmp_path)
    assert synced == [str(segment.parent), str(segment), str(segment)]


def test_after_a_failed_write_a_new_segment_begins(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.append(make(key="first"))

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.append(make(key="second"))
    store.append(make(key="third"))
    assert len(segments(tmp_path)) == 2
    assert {"first", "third"} <= {record.key for record in Store(tmp_path).records()}


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "results", Path("/proc/results")):
        with pytest.raises(UsageError, match=f"cannot write to {root}: .*; give another folder with --results"):
            Store(root).check_writable()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_can_be_written_stays_as_it_is(tmp_path):
    Store(tmp_path / "a" / "b").check_writable()
    assert list(tmp_path.iterdir()) == []


def test_logs_have_names_that_people_can_read_and_no_other_log_has(tmp_path):
    store = Store(tmp_path)
    names = {store.new_log("cp[solver=als]/x4/cnn8/digits/finetune/ddp:2#0", "k", 1).name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("cp_solver=als_x4_cnn8_digits_finetune_ddp_2_0-k-1-") for name in names)


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.integers()), st.text())
def test_any_finite_record_survives_its_line(metrics, reason):
    record = Record(CASE, "k", "ok", reason, metrics)
    line = json.dumps({"kind": "record", "id": "1", "at": "0", **record.as_json()}, allow_nan=False).encode()
    assert b"\n" not in line
    assert _parse(line).value == record
