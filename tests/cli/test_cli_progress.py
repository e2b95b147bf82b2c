from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from cli_records import a_record
from rich.console import Console

from tnbench.cli.duration import duration
from tnbench.cli.progress import Bar, Lines, Quiet, finished_line, listener_for

OK = a_record("dense/full/cnn8/digits/none/single#0", top1=99.4444)
BAD = a_record("cp/x4/cnn8/digits/none/single#0", "failed", "it broke")
SKIPPED = a_record("cp/x9/cnn8/digits/none/single#0", "skipped", "out of reach")


def go_through(listener: Any) -> None:
    entries = [SimpleNamespace(action=action, launches=1) for action in ("run", "run", "run", "done")]
    listener.planned(SimpleNamespace(name="small", entries=entries, baselines=[None]))
    for done, record in enumerate((OK, BAD, SKIPPED)):
        listener.started(record.case, done, 3, None if done == 0 else 100.0)
        listener.finished(record)
    listener.closed()


def console(**options: Any) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=120, markup=False, highlight=False, **options), written


def test_plain_lines_are_golden() -> None:
    out, written = console()
    go_through(Lines(out))
    assert written.getvalue().splitlines() == [
        "small: 4 cases (3 to run, 1 done, 0 to skip), 1 baseline to train",
        "[1/3] dense/full/cnn8/digits/none/single#0",
        "ok          dense/full/cnn8/digits/none/single#0  1.0 s  top-1 99.44 %",
        "[2/3] cp/x4/cnn8/digits/none/single#0  2 min left",
        "failed      cp/x4/cnn8/digits/none/single#0  1.0 s  it broke",
        "[3/3] cp/x9/cnn8/digits/none/single#0  2 min left",
        "skipped     cp/x9/cnn8/digits/none/single#0  1.0 s  out of reach",
    ]


def test_quiet_tells_only_what_ended_badly() -> None:
    err, written = console()
    go_through(Quiet(err))
    assert [line.split()[0] for line in written.getvalue().splitlines()] == ["failed"]


def test_the_bar_shows_case_count_and_time_left() -> None:
    out, written = console(force_terminal=True)
    go_through(Bar(out))
    text = written.getvalue()
    assert "2/3" in text
    assert "2 min left" in text
    assert "\x1b[" in text


def test_the_bar_shows_the_options_of_a_running_case() -> None:
    out, written = console(force_terminal=True)
    bar = Bar(out)
    bar.planned(SimpleNamespace(name="small", entries=[], baselines=[]))
    bar.started("cp[solver=als]/x4/cnn8/digits/none/single#0", 0, 1, None)
    bar.closed()
    assert "cp[solver=als]/x4" in written.getvalue()


def test_the_listener_suits_where_the_output_goes() -> None:
    file, _ = console()
    terminal, _ = console(force_terminal=True)
    assert type(listener_for(file, file, quiet=False)) is Lines
    assert type(listener_for(terminal, file, quiet=False)) is Bar
    assert type(listener_for(terminal, file, quiet=True)) is Quiet


def test_an_ok_case_without_accuracy_says_no_more() -> None:
    record = a_record("dense/full/cnn8/synthetic/none/single#0")
    assert finished_line(record) == "ok          dense/full/cnn8/synthetic/none/single#0  1.0 s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89.4, "89 s"), (100, "2 min"), (5000, "83 min"), (12_000, "3 h 20 min")]
)
def test_times_left_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
