"""The verbs that read and take back what is stored: show, drop, export, report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_records import a_record
from typer.testing import Result

from tnbench.core.baseline import Baseline
from tnbench.store.records import Store

Tnb = Callable[..., Result]
DENSE = "dense/full/cnn8/digits/none/single#0"
TUCKER = "tucker2/x4/cnn8/digits/none/single#0"

pytestmark = pytest.mark.usefixtures("stored")


# ------------------------------------------------------------------------------------------------------- show


def test_show_prints_every_number_with_its_unit(tnb: Tnb) -> None:
    lines = [" ".join(line.split()) for line in tnb("show", TUCKER).stdout.splitlines()]
    assert lines[:2] == [TUCKER, "ok"]
    assert "params 10,000 parameters of the whole network, after compression" in lines
    assert "top1 97.5 % test pictures classified right after training, at the last epoch" in lines
    assert "decompose_s 0.123457 s time to choose ranks, factorise and swap layers, at every decomposition" in lines
    assert "versions.torch 2.15" in lines
    assert lines[-2] == f"tnbench run --case '{TUCKER}'"


def test_show_gives_status_and_reason_of_a_case_that_failed(tnb: Tnb) -> None:
    assert "\nfailed: it broke\n" in tnb("show", "cp/x4/cnn8/digits/none/single").stdout


def test_show_prints_layers_samples_and_notes(tnb: Tnb, stored: Store) -> None:
    layer = {"name": "conv2", "kind": "conv", "shape": [32, 16, 3, 3], "params_dense": 4608, "note": ""}
    record = a_record("svd/x4/cnn8/digits/none/single#0")
    alone = {"macs": 4000, "bound": "memory", "output_error": 0.125}
    record.layers.append({**layer, "ranks": [8, 4], "params": 1100, "error": 0.25, "diagnosis": alone})
    record.layers.append({**layer, "name": "conv3", "ranks": [], "params": 4608, "error": None, "note": "stays dense"})
    record.samples.update(loss=[2.0, 0.5], forward_ms=[float(n) for n in range(1, 10)], step_ms=[[1.0], [2.0]])
    record.samples.update(top1_by_class=[float(n) for n in range(10)] + [None, 50.0])
    record.samples.update(phases=[["decompose", 0.25], ["train", 3.0]])
    record.samples.update(words_step=[["all_reduce", 270829], ["broadcast", 1376]], words_infer=[])
    record.notes.append("each rank normalised its own share")
    stored.append(record)
    lines = [" ".join(line.split()) for line in tnb("show", record.case).stdout.splitlines()]
    assert "conv2 32x16x3x3 ranks 8, 4 4,608 -> 1,100 error 0.2500" in lines
    assert "conv3 32x16x3x3 dense 4,608 -> 4,608 stays dense" in lines
    assert "macs bound output_error" in lines
    assert "conv2 4,000 memory 0.125" in lines
    assert "loss 2, 0.5" in lines
    assert "forward_ms 9 samples, least 1, median 5, greatest 9" in lines
    assert "step_ms (rank 1) 2" in lines
    assert "phases decompose 0.25 s, train 3 s" in lines
    assert "words_step all_reduce 270,829, broadcast 1,376" in lines
    assert "words_infer none" in lines
    assert "0 0.00 1.00 2.00 3.00 4.00 5.00 6.00 7.00 8.00 9.00" in lines
    assert "10 – 50.00" in lines
    assert "note: each rank normalised its own share" in lines


def test_show_of_an_unknown_case_offers_the_nearest(tnb: Tnb) -> None:
    shown = tnb("show", "tucker2/x4/cnn8/digits/none/single#7")
    assert shown.exit_code == 2
    assert shown.stderr.startswith(
        f"tnbench: no record of tucker2/x4/cnn8/digits/none/single#7 in results; the nearest are {TUCKER}, "
    )


def test_show_without_any_record_says_how_to_start(tnb: Tnb) -> None:
    shown = tnb("show", TUCKER, "--results", "nowhere")
    assert (
        shown.stderr
        == f"tnbench: no record of {TUCKER} in nowhere; nothing is recorded there; start with: tnbench run\n"
    )
    assert not Path("nowhere").exists()


def test_show_of_a_text_that_is_no_case(tnb: Tnb) -> None:
    shown = tnb("show", "tucker2/x4")
    assert shown.exit_code == 2
    assert "case: got 'tucker2/x4' with 2 parts, wanted 6" in shown.stderr


def test_show_log_prints_what_the_case_printed(tnb: Tnb, tmp_path: Path) -> None:
    missing = tnb("show", TUCKER, "--log")
    assert missing.exit_code == 2
    assert missing.stderr == f"tnbench: no log of {TUCKER}: results/logs/a.log; run it again with --fresh\n"
    (tmp_path / "results/logs").mkdir()
    (tmp_path / "results/logs/a.log").write_text("epoch 1\n")
    assert tnb("show", TUCKER, "--log").stdout == "epoch 1\n"


# ------------------------------------------------------------------------------------------------------- drop


def test_drop_takes_back_what_fits_and_says_how_many(tnb: Tnb, tmp_path: Path) -> None:
    dropped = tnb("drop", "--select", "method=cp,tucker2", "--reason", "measured beside another program")
    assert (dropped.exit_code, dropped.stdout) == (0, "2 records taken back\n")
    assert [record.case for record in Store(tmp_path / "results").records()] == [DENSE]
    assert "measured beside another program" in "".join(f.read_text() for f in (tmp_path / "results").rglob("*.jsonl"))


def test_drop_by_rank_leaves_dense_alone(tnb: Tnb, tmp_path: Path) -> None:
    assert tnb("drop", "--select", "rank=x4", "--reason", "why").stdout == "2 records taken back\n"
    assert len(Store(tmp_path / "results").records()) == 1


@pytest.mark.parametrize(
    ("select", "reason", "message"),
    [
        ("method=cp", " ", "drop: got no reason"),
        ("", "why", "--select: got nothing, wanted which records to take back; 'method=*' takes back all"),
        ("method=tt", "why", "--select: no record in results fits 'method=tt', so nothing was taken back"),
        ("metod=cp", "why", "--select: no axis is named 'metod'; the nearest is 'method'"),
    ],
)
def test_drop_refuses(tnb: Tnb, tmp_path: Path, select: str, reason: str, message: str) -> None:
    refused = tnb("drop", "--select", select, "--reason", reason)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert len(Store(tmp_path / "results").records()) == 3


def test_drop_needs_a_reason_and_one_of_its_two_choices(tnb: Tnb) -> None:
    assert tnb("drop", "--select", "method=cp").exit_code == 2
    for choice in ((), ("--select", "method=cp", "--baseline", "cnn8/digits")):
        refused = tnb("drop", "--reason", "why", *choice)
        assert refused.exit_code == 2
        assert "drop: wanted either --select, which takes back records, or --baseline" in refused.stderr


def test_drop_takes_back_the_baselines_of_a_model(tnb: Tnb, stored: Store) -> None:
    refused = tnb("drop", "--baseline", "cnn8/digits", "--reason", "why")
    assert refused.stderr == "tnbench: --baseline: no baseline in results is of 'cnn8/digits'; there is none\n"
    for model in ("cnn8", "resnet20"):
        stored.append_baseline(Baseline(model, "digits", None, "", "d" * 64, "imported", "data"))
    refused = tnb("drop", "--baseline", "cnn8", "--reason", "why")
    assert "is of 'cnn8'; there are: cnn8/digits, resnet20/digits" in refused.stderr
    dropped = tnb("drop", "--baseline", "cnn8/digits", "--reason", "imported by mistake")
    assert (dropped.exit_code, dropped.stdout) == (0, "1 baseline taken back\n")
    assert [baseline.model for baseline in stored.baselines()] == ["resnet20"]
    assert len(stored.records()) == 3


# ----------------------------------------------------------------------------------------------------- export


def test_export_csv_has_one_row_per_record(tnb: Tnb) -> None:
    rows = list(csv.DictReader(io.StringIO(tnb("export", "csv").stdout)))
    assert sorted(row["method"] for row in rows) == ["cp", "dense", "tucker2"]


def test_export_json_to_a_file(tnb: Tnb, tmp_path: Path) -> None:
    exported = tnb("export", "json", "--output", "table.json", "--select", "method=tucker2")
    assert (exported.exit_code, exported.stdout) == (0, "")
    [row] = json.loads((tmp_path / "table.json").read_text())
    assert (row["method"], row["params"]) == ("tucker2", 10_000)


def test_export_to_a_folder_that_is_not_there(tnb: Tnb) -> None:
    refused = tnb("export", "csv", "--output", "no/such/table.csv")
    assert refused.exit_code == 2
    assert refused.stderr.startswith(
        "tnbench: --output: no/such/table.csv cannot be written (No such file or directory)"
    )


@pytest.mark.parametrize("verb", [("export", "csv"), ("report",)])
def test_nothing_that_fits_is_wrong_use(tnb: Tnb, verb: tuple[str, ...]) -> None:
    refused = tnb(*verb, "--select", "method=tt")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("tnbench: no record in results fits")
    assert not Path("reports").exists()


# ----------------------------------------------------------------------------------------------------- report


def test_report_without_a_suite_writes_the_page_of_cases(tnb: Tnb, tmp_path: Path) -> None:
    written = tnb("report")
    assert (written.exit_code, written.stdout) == (0, "reports/cases/index.html\n")
    page = (tmp_path / "reports/cases/index.html").read_text()
    assert TUCKER in page
    assert (tmp_path / "reports/cases/records.csv").is_file()


def test_a_reports_folder_that_cannot_be_written_loses_nothing(tnb: Tnb, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = tnb("report", "--reports", "file")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("tnbench: the page cannot be written to file/cases (Not a directory)")
    assert "tnbench report --reports DIR" in refused.stderr


def test_report_of_named_cases_holds_only_those(tnb: Tnb, tmp_path: Path) -> None:
    tnb("report", "--case", DENSE)
    assert TUCKER not in (tmp_path / "reports/cases/index.html").read_text()
