from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tnbench.cli.list import SECTIONS
from tnbench.core.metrics import METRICS

Tnb = Callable[..., Result]

PLUGIN = '''"""Keeps every second channel."""
KIND = "method"
'''


def test_every_section_is_listed_without_an_argument(tnb: Tnb) -> None:
    listed = tnb("list")
    assert listed.exit_code == 0
    assert [line for line in listed.stdout.splitlines() if line and not line.startswith(" ")] == list(SECTIONS)


def test_a_listing_is_golden(tnb: Tnb) -> None:
    lines = tnb("list", "metrics").stdout.splitlines()
    width = max(map(len, METRICS))
    assert lines[0] == "metrics"
    assert (
        lines[1]
        == f"  {'params':<{width}}  parameters of the whole network, after compression (no unit, lower is better)"
    )
    assert f"  {'params_dense':<{width}}  parameters of the whole dense network (no unit)" in lines
    assert f"  {'top1_baseline':<{width}}  test pictures that the baseline classifies right (%)" in lines
    assert len(lines) == len(METRICS) + 1


@pytest.mark.parametrize("section", SECTIONS)
def test_every_listing_is_json_with_names_and_summaries(tnb: Tnb, section: str) -> None:
    rows = json.loads(tnb("list", section, "--json").stdout)
    assert rows
    assert all(row["name"] and row["summary"] for row in rows)


def test_json_of_everything_is_one_list(tnb: Tnb) -> None:
    kinds = {row["kind"] for row in json.loads(tnb("list", "--json").stdout)}
    assert kinds == {"method", "rank", "model", "dataset", "training", "parallel", "suite", "metric"}


def test_a_misspelt_section_gets_the_nearest(tnb: Tnb) -> None:
    listed = tnb("list", "method")
    assert (listed.exit_code, listed.stdout) == (2, "")
    assert listed.stderr == (
        "tnbench: no listing is named 'method'; the nearest is 'methods' "
        "(known: datasets, methods, metrics, models, parallel, ranks, suites, trainings)\n"
    )


def test_a_plugin_file_is_listed_and_a_broken_one_says_so(tnb: Tnb, tmp_path: Path) -> None:
    (tmp_path / "every_second.py").write_text(PLUGIN)
    listed = tnb("list", "methods", "--plugin", "every_second.py").stdout
    assert "Keeps every second channel." in listed
    assert "every_second" in listed


def test_a_plugin_that_is_not_there(tnb: Tnb) -> None:
    listed = tnb("list", "--plugin", "nowhere.py")
    assert listed.exit_code == 2
    assert "nowhere.py; give the path of a Python file" in listed.stderr
