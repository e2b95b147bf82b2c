"""tnbench check from end to end on stored records, export records, and the example of a workflow."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from launch_records import CP, NEW, OLD, TUCKER, each, keep, launch
from made_commits import commit, new_repository
from typer.testing import Result

from tnbench.store.records import Line, Store, lines_of

Tnb = Callable[..., Result]
STEADY = (1.00, 1.01, 1.02, 1.03, 1.04, 1.05)
TWICE = tuple(2 * value for value in STEADY)
DOCS = Path(__file__).parents[2] / "docs"
WORKFLOW = DOCS / "ci/github-gate.yml"
CASE = TUCKER.removesuffix("#0")


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """A reference with two cases."""
    store = Store(tmp_path / "old")
    keep(store, [*each(STEADY), *each(STEADY, CP)])
    return store


@pytest.fixture
def new(tmp_path: Path) -> Store:
    """Results of another commit, empty as yet."""
    return Store(tmp_path / "results")


def check(tnb: Tnb, *more: object, fail_on: str = "step_ms>5%") -> Result:
    return tnb("check", "--against", "old", "--fail-on", fail_on, *more)


# --------------------------------------------------------------------------------------------------- exit codes


def test_nothing_regressed_ends_with_0(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, [*each(STEADY, commit=NEW), *each(STEADY, CP, commit=NEW)])
    done = check(tnb)
    assert done.exit_code == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[:2] == ["reference: aaaaaaaa in old", "now: bbbbbbbb in results"]
    assert any(line.startswith(f"{CASE} step_ms>5% 1.025 1.025 +0.0 % ≥ -") for line in lines)
    assert lines[-1] == "2 passed"


def test_a_regression_ends_with_1_and_comes_first(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, [*each(STEADY, commit=NEW), *each(TWICE, CP, commit=NEW)])
    done = check(tnb)
    assert done.exit_code == 1
    rows = [line.split() for line in done.stdout.splitlines() if "step_ms>5%" in line]
    assert [(row[0], row[-1]) for row in rows] == [(CP.removesuffix("#0"), "regressed"), (CASE, "passed")]
    assert done.stdout.splitlines()[-1] == "1 regressed, 1 passed"


def test_a_case_that_crashes_now_is_a_regression_with_its_reason(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, [*each(STEADY, commit=NEW), launch(CP, commit=NEW, status="crashed", reason="ended by signal 9")])
    done = check(tnb)
    assert done.exit_code == 1
    reason = "it ended as crashed (ended by signal 9), and was ok in the reference"
    assert done.stdout.splitlines()[-1] == f"regressed: {reason}: {CP.removesuffix('#0')}"


def test_too_few_launches_end_with_2_and_the_fix(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, each(TWICE[:3], commit=NEW))
    done = check(tnb)
    assert done.exit_code == 2
    assert "undecided: launches: 6 in the reference and 3 now, 6 of each wanted" in done.stdout
    assert f"not measured now: {CP.removesuffix('#0')}" in done.stdout
    assert done.stderr.startswith(
        "tnbench: check: nothing could be judged by step_ms>5%, so it could not have failed; "
    )
    assert "tnbench run --launches 6" in done.stderr


def test_one_clause_that_cannot_fail_is_enough_for_2(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, [*each(STEADY, commit=NEW), *each(STEADY, CP, commit=NEW)])
    done = check(tnb, fail_on="step_ms>5%,top1<-0.5")
    assert done.exit_code == 2
    assert "nothing could be judged by top1<-0.5, " in done.stderr


def test_some_regression_outweighs_a_clause_that_cannot_fail(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, each(TWICE, commit=NEW))
    done = check(tnb, fail_on="step_ms>5%,top1<-0.5")
    assert done.exit_code == 1
    assert done.stderr.startswith("tnbench: check: nothing could be judged by top1<-0.5, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "old", "--fail-on", "stepms>5%"), "--fail-on: no metric is named 'stepms'; the nearest"),
        (("--against", "nowhere", "--fail-on", "step_ms>5%"), "--against: got 'nowhere', which is neither a path"),
        (("--against", "old", "--fail-on", "step_ms>5%"), "check: there is no folder results; name"),
        (("--against", "old", "--fail-on", "step_ms>5%", "--results", "old"), "check: old holds no record beside"),
        (("--against", "old"), "Missing option '--fail-on'"),
    ],
)
def test_wrong_use_ends_with_2(tnb: Tnb, old: Store, arguments: tuple[str, ...], message: str) -> None:
    done = tnb("check", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not Path("results").exists()


# ------------------------------------------------------------------------------------------------ what is compared


def test_a_selection_narrows_both_sides(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, [*each(STEADY, commit=NEW), *each(TWICE, CP, commit=NEW)])
    assert check(tnb, "--select", "method=tucker2").exit_code == 0
    assert check(tnb, "--select", "method=cp").exit_code == 1
    assert "leave no record of either side; see what is there with" in check(tnb, "--select", "method=svd").stderr


def test_another_torch_is_not_compared_and_so_cannot_pass(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, each(STEADY, commit=NEW, torch="2.16.0"))
    done = check(tnb, "--case", TUCKER)
    assert done.exit_code == 2
    assert f"not compared: torch=2.15.0 in the reference, torch=2.16.0 now: {CASE}\n" in done.stdout


def test_commits_of_one_results_folder(tnb: Tnb, tmp_path: Path, new: Store) -> None:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    for name in ("one", "two"):
        subprocess.run(("git", "init", "--quiet"), check=True)
        subprocess.run(("git", *who, "commit", "--quiet", "--allow-empty", "--message", name), check=True)
    two, one = subprocess.run(("git", "rev-list", "HEAD"), capture_output=True, text=True, check=True).stdout.split()
    keep(new, [*each(STEADY, commit=one), *each(TWICE, commit=two)])
    done = tnb("check", "--against", "HEAD~1", "--fail-on", "step_ms>5%")
    assert done.exit_code == 1, done.stderr
    assert f"reference: {one[:8]} in results\nnow:       {two[:8]} in results\n" in done.stdout
    back = tnb("check", "--against", "HEAD", "--at", "HEAD~1", "--fail-on", "step_ms>5%")
    assert (back.exit_code, "-50.0 %" in back.stdout) == (0, True)


def test_what_a_shallow_clone_contains_is_not_guessed(
    tnb: Tnb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = new_repository(tmp_path / "whole")
    for name in ("one", "two"):
        commit(whole, name)
    shallow = tmp_path / "shallow"
    subprocess.run(("git", "clone", "--quiet", "--depth", "1", whole.root.as_uri(), str(shallow)), check=True)
    monkeypatch.chdir(shallow)
    keep(Store(Path("results")), [launch(commit=whole.resolve("HEAD"))])
    refused = tnb("check", "--against", "HEAD", "--fail-on", "step_ms>5%")
    assert refused.exit_code == 2
    assert f"{shallow} is a shallow clone, which does not know what HEAD contains" in refused.stderr
    assert "git fetch --unshallow" in refused.stderr


def test_damaged_lines_are_told_and_the_others_count(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, [*each(STEADY, commit=NEW), *each(STEADY, CP, commit=NEW)])
    [segment] = (old.root / "segments").iterdir()
    with segment.open("a") as file:
        file.write("{}\n")
    done = check(tnb)
    assert done.exit_code == 0
    assert f"tnbench: {segment.relative_to(Path.cwd())}, line 13 cannot be read" in done.stderr


# --------------------------------------------------------------------------------------------------------- forms


def test_markdown_is_appended(tnb: Tnb, old: Store, new: Store, tmp_path: Path) -> None:
    keep(new, [*each(STEADY, commit=NEW), *each(TWICE, CP, commit=NEW)])
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    check(tnb, "--markdown", summary)
    before, heading, *rest = [line for line in summary.read_text().splitlines() if line]
    assert (before, heading) == ("before", "### tnbench check: 1 regressed")
    assert rest[0] == "bbbbbbbb in results against aaaaaaaa in old, fails on `step_ms>5%`"
    assert rest[3].startswith(
        "| cp/x4/resnet20/cifar10/finetune/single | step\\_ms\\>5% | 1.025 | 2.050 | +100.0 % | ≥ +"
    )
    assert rest[4:] == ["1 regressed, 1 passed"]
    assert check(tnb, "--markdown", summary, "--select", "method=tucker2").exit_code == 0
    assert summary.read_text().count("### tnbench check: ") == 2
    assert (
        summary.read_text()
        .rstrip()
        .endswith(
            "### tnbench check: passed\n\nbbbbbbbb in results against "
            "aaaaaaaa in old, fails on `step_ms>5%`\n\n1 passed"
        )
    )


def test_markdown_says_what_could_not_be_judged(tnb: Tnb, old: Store, new: Store, tmp_path: Path) -> None:
    keep(new, each(STEADY[:1], commit=NEW))
    check(tnb, "--markdown", tmp_path / "summary.md", "--case", TUCKER)
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("### tnbench check: nothing to judge step_ms>5% by\n")
    assert "- undecided: launches: 6 in the reference and 1 now, 6 of each wanted: " in text


def test_markdown_that_cannot_be_written_is_refused(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, each(STEADY, commit=NEW))
    done = check(tnb, "--markdown", "no/such/folder.md")
    assert done.exit_code == 2
    assert "--markdown: no/such/folder.md cannot be written (No such file or directory)" in done.stderr


def test_json_holds_every_number(tnb: Tnb, old: Store, new: Store) -> None:
    keep(new, each(TWICE, commit=NEW))
    done = check(tnb, "--json")
    assert done.exit_code == 1
    missing, found = json.loads(done.stdout)
    assert (missing["name"], missing["summary"], missing["change"]) == (
        CP.removesuffix("#0"),
        "not measured now",
        None,
    )
    assert (found["name"], found["verdict"], found["tolerance"]) == (CASE, "regressed", "step_ms>5%")
    assert found["change"]["counts"] == [6, 6]
    assert found["change"]["p"] < 0.05


# ------------------------------------------------------------------------------------------------- export records


def test_exported_records_are_every_live_line_unchanged(tnb: Tnb, old: Store, tmp_path: Path) -> None:
    old.drop([launch(CP)], "why")
    done = tnb("export", "records", "--results", "old", "--output", "reference.jsonl")
    assert done.exit_code == 0, done.stderr
    lines = list(lines_of(tmp_path / "reference.jsonl"))
    assert lines == old.record_lines()
    assert len(lines) == 6
    assert all(isinstance(line, Line) and line.value.samples == {"step_ms": [[1.0, 2.0, 3.0]]} for line in lines)
    [segment] = (old.root / "segments").iterdir()
    assert (tmp_path / "reference.jsonl").read_text() in segment.read_text()


def test_exported_records_can_be_selected(tnb: Tnb, old: Store) -> None:
    done = tnb("export", "records", "--results", "old", "--select", "method=cp")
    assert [json.loads(line)["case"] for line in done.stdout.splitlines()] == [CP] * 6
    assert "no record in old fits" in tnb("export", "records", "--results", "old", "--select", "method=svd").stderr


def test_an_exported_file_is_a_reference_for_the_same_folder(tnb: Tnb, new: Store) -> None:
    keep(new, each(STEADY, commit=OLD))
    tnb("export", "records", "--output", "old")
    assert "results holds no record beside the reference's" in check(tnb).stderr
    keep(new, each(TWICE, commit=NEW))
    assert check(tnb).exit_code == 1


# ------------------------------------------------------------------------------------- the page and the workflow


@pytest.fixture
def commands(tmp_path: Path) -> list[list[str]]:
    """What the workflow's steps call tnbench with, PYTHONPATH first, run by bash in a repository of two commits."""
    checkout, programs = tmp_path / "checkout", tmp_path / "programs"
    checkout.mkdir()
    programs.mkdir()
    (programs / "tnbench").write_text(
        '#!/bin/sh\nprintf "%s\\t" "$PYTHONPATH" "$@" >> "$LOG"\necho >> "$LOG"\nexit 1\n'
    )
    (programs / "tnbench").chmod(0o755)
    git = "git -c user.name=T -c user.email=t@example.org"
    prepare = f"git init --quiet; for name in one two; do {git} commit --quiet --allow-empty -m $name; done"
    steps = [step["run"] for step in yaml.safe_load(WORKFLOW.read_text())["jobs"]["gate"]["steps"] if "run" in step]
    place = {
        "LOG": str(tmp_path / "log"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "a summary.md"),
        "RUNNER_TEMP": str(tmp_path),
    }
    place |= {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ends = [
        subprocess.run(("bash", "-e", "-c", script), cwd=checkout, env=place, check=False).returncode
        for script in (prepare, *(script for script in steps if not script.startswith("pip")))
    ]
    assert ends == [0] * (len(ends) - 1) + [1], "the last one's exit code is the gate's"
    return [line.rstrip("\t").split("\t") for line in (tmp_path / "log").read_text().splitlines()]


def test_the_workflow_measures_both_sides_in_turn_and_checks(commands: list[list[str]], tmp_path: Path) -> None:
    *runs, (_, *last) = commands
    sides = [(Path(place).resolve().name, more[-1]) for place, *more in runs]
    assert sides == [("base", "base-results"), ("checkout", "head-results")] * 6
    assert [more[more.index("--launches") + 1] for _, *more in runs] == [str(n) for n in range(1, 7) for _ in "ab"]
    assert (tmp_path / "base").is_dir()
    assert last[:5] == ["check", "--against", "base-results", "--results", "head-results"]
    assert last[-1] == str(tmp_path / "a summary.md")


def test_the_program_takes_every_command_of_the_workflow(
    commands: list[list[str]], tnb: Tnb, old: Store, tmp_path: Path
) -> None:
    for _, *command in commands[:2]:
        planned = tnb("plan", *command[1:], "--json")
        assert planned.exit_code == 0, planned.stderr
        assert json.loads(planned.stdout)
    metrics = {"step_ms": 1.0, "forward_ms": 1.0, "decompose_s": 1.0, "params": 5}
    for side, measured in (("base-results", OLD), ("head-results", NEW)):
        keep(Store(tmp_path / side), [launch(commit=measured, **metrics) for _ in range(6)])
    done = tnb(*commands[-1][1:])
    assert done.exit_code == 0, done.stderr
    assert "4 passed" in (tmp_path / "a summary.md").read_text()
