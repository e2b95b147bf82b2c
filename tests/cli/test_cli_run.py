"""`tnbench run` on a suite of seconds, in this process."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_records import a_record
from typer.testing import Result

from tnbench.cli.run import exit_code, print_summary
from tnbench.cli.terminal import stdout
from tnbench.core.record import STATUSES
from tnbench.store.records import Store
from tnbench.sweep.runner import Outcome

Tnb = Callable[..., Result]

SUITE = """
summary = "a dense and a compressed network"

[settings]
epochs = 1
baseline_epochs = 1
limit_train = 256

[[product]]
method = ["dense", "svd", "@plugins"]
rank = "x2"
model = "cnn8"
dataset = "digits"
training = "finetune"
parallel = "single"
seeds = 1
"""

EXCLUDE = """
[[exclude]]
select = "model=cnn8"
reason = "left out"
"""

BREAKS = '''"""Always breaks."""
KIND = "method"
VERSION = 1


def refuses(layer):
    return None


def largest_ranks(shape):
    return (min(shape[:2]),)


def count(*arguments, **options):
    raise RuntimeError("this method breaks")


macs = factorise = dense = layer = count
'''

INLINE = ("--executor", "inline")


@pytest.fixture
def small(tmp_path: Path) -> str:
    (tmp_path / "small.toml").write_text(SUITE)
    return "small.toml"


def test_a_run_records_summarises_and_writes_the_page_once(tnb: Tnb, small: str, tmp_path: Path) -> None:
    ran = tnb("run", "--suite", small, *INLINE)
    assert (ran.exit_code, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0] == "small: 2 cases (2 to run, 0 done, 0 to skip), 1 baseline to train"
    assert sum(line.startswith("ok ") and " top-1 " in line for line in lines) == 2
    assert lines[-1] == "reports/small/index.html"
    assert "\x1b" not in ran.stdout
    assert "svd/x2/cnn8/digits/finetune/single#0" in (tmp_path / lines[-1]).read_text()

    again = tnb("run", "--suite", small, *INLINE)
    assert again.exit_code == 0
    assert again.stdout.startswith("small: 2 cases (0 to run, 2 done, 0 to skip), 0 baselines to train\n")
    assert len(Store(tmp_path / "results").record_lines()) == 2

    reported = tnb("report", "--suite", small, "--reports", "elsewhere")
    assert reported.stdout == "elsewhere/small/index.html\n"

    planned = json.loads(tnb("plan", "--suite", small, "--json").stdout)
    assert [row["action"] for row in planned] == ["done", "done"]


def test_a_selection_leaves_the_rest_of_the_suite_on_its_page(tnb: Tnb, small: str, tmp_path: Path) -> None:
    tnb("run", "--suite", small, *INLINE)
    for part in (("--select", "method=svd"), ("--case", "svd/x2/cnn8/digits/finetune/single#0")):
        ran = tnb("run", "--suite", small, *part, *INLINE)
        assert "dense" not in ran.stdout
        assert "dense" in (tmp_path / ran.stdout.splitlines()[-1]).with_name("records.csv").read_text()


def test_a_page_of_a_part_of_a_suite_says_what_was_not_run(tnb: Tnb, small: str, tmp_path: Path) -> None:
    ran = tnb("run", "--suite", small, "--select", "method=dense", *INLINE)
    assert "<b>1</b> not run yet" in (tmp_path / ran.stdout.splitlines()[-1]).read_text()


def test_the_recorded_command_asks_for_the_same_record(tnb: Tnb, small: str, tmp_path: Path) -> None:
    import shlex

    tnb("run", "--suite", small, "--select", "method=dense", *INLINE)
    [record] = Store(tmp_path / "results").records()
    _, verb, *arguments = shlex.split(record.provenance["command"])
    assert verb == "run"
    [row] = json.loads(tnb("plan", *arguments, "--json").stdout)
    assert (row["key"], row["action"], row["summary"]) == (record.key, "run", "--fresh runs everything again")
    assert tnb("show", record.case, "--log").exit_code == 0


def test_what_the_time_ended_is_told_from_what_it_left(capsys: pytest.CaptureFixture[str]) -> None:
    records = [a_record("dense/full/cnn8/digits/none/single#0", "interrupted", "by --max-time")]
    print_summary(Outcome(records, left=2, cut=("baseline cnn8 on digits#0",)), stdout())
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "baseline cnn8 on digits#0 was ended by --max-time; nothing of it is kept, and the next run begins it anew",
        "2 cases left for want of time; the same command goes on there",
    ]


def test_run_and_plan_and_report_say_once_which_lines_are_lost(tnb: Tnb, small: str, stored: Store) -> None:
    [segment] = (stored.root / "segments").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + b'{"kind": "rec')
    damaged = f"results/segments/{segment.name}, line 4 is torn"
    (stored.root.parent / "skips.toml").write_text(SUITE + EXCLUDE)
    for arguments in (("run", "--suite", "skips.toml"), ("plan",), ("report",)):
        done = tnb(*arguments)
        assert (done.exit_code, done.stderr.count(damaged), done.stderr.count("\n")) == (0, 1, 1)


def test_report_of_a_suite_shows_what_it_skips_as_run_does(tnb: Tnb, tmp_path: Path) -> None:
    (tmp_path / "skips.toml").write_text(SUITE + EXCLUDE)
    case = "svd/x2/cnn8/digits/finetune/single"
    Store(tmp_path / "results").append(a_record(f"{case}#0"))
    Store(tmp_path / "results").append(a_record(f"{case}#1"))
    assert tnb("report", "--suite", "skips.toml").exit_code == 0
    with (tmp_path / "reports/skips/records.csv").open() as file:
        rows = [(row["method"], row["seed"], row["status"], row["reason"]) for row in csv.DictReader(file)]
    skipped = [(method, "0", "skipped", "left out") for method in ("dense", "svd")]
    assert sorted(rows) == sorted([*skipped, ("svd", "1", "ok", "")])
    tnb("report", "--suite", "skips.toml", "--select", "method=svd", "--case", f"{case}#1")
    assert "left out" not in (tmp_path / "reports/skips/records.csv").read_text()


def test_a_rank_out_of_reach_is_skipped_and_no_fault(tnb: Tnb) -> None:
    ran = tnb("run", "--case", "svd/x1000000/cnn8/digits/none/single#0", "--baseline-epochs", "1", *INLINE)
    assert ran.exit_code == 0
    assert "\nskipped " in ran.stdout
    assert ran.stdout.splitlines()[-1] == "reports/cases/index.html"


def test_a_method_that_breaks_fails_its_case_alone_and_quiet_says_only_that(
    tnb: Tnb, small: str, tmp_path: Path
) -> None:
    (tmp_path / "breaks.py").write_text(BREAKS)
    arguments = ("run", "--suite", small, "--plugin", "breaks.py", *INLINE)
    ran = tnb(*arguments, "--quiet")
    assert ran.exit_code == 1
    assert ran.stdout == "reports/small/index.html\n"
    [line] = ran.stderr.splitlines()
    assert line.startswith("failed ")
    assert "this method breaks" in line
    assert sorted(record.status for record in Store(tmp_path / "results").records()) == ["failed", "ok", "ok"]
    again = tnb(*arguments)
    assert again.exit_code == 1, "a failed record that stands counts too"
    assert "\n1 case ended badly in an earlier run; --rerun failed runs what did again\n" in again.stdout


@pytest.mark.parametrize("status", STATUSES)
def test_exit_codes(status: str) -> None:
    records = [a_record("dense/full/cnn8/digits/none/single#0", each, "why") for each in ("ok", status)]
    wanted = 0 if status in ("ok", "skipped", "interrupted") else 1
    assert exit_code(SimpleNamespace(records=records, interrupted=False)) == wanted
    assert exit_code(SimpleNamespace(records=records, interrupted=True)) == 130
