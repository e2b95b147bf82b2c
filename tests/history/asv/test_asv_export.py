"""Launches of the store as results of asv: what the files say, and what asv makes of them."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.results import Results
from asv_results import COMMITS, STEP, asv_project
from launch_records import CP, TUCKER
from machines import DESK, NODE, changed, on_desk, on_node

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.metrics import METRICS
from tnbench.core.record import Record
from tnbench.history.asv.benchmarks import BENCHMARKS
from tnbench.history.asv.launches import Found, found_in, in_order
from tnbench.history.asv.results import Exported, export, restore
from tnbench.history.commits import Repository
from tnbench.store.records import Line

Make = Callable[..., Record]

SVD, DENSE = (f"{method}/resnet20/cifar10/finetune/single#0" for method in ("svd/x4", "dense/full"))
FILE = "*-records-py3.12.json"


_numbers = itertools.count()


def lines(records: Sequence[Record]) -> list[Line]:
    """The records as lines of a store, in their order; no two lines of a test run have the same id."""
    return [
        Line("record", f"id{number}", f"{number:06}", record) for record, number in zip(records, _numbers, strict=False)
    ]


class Project:
    """A git repository with a configuration of asv, and results of asv's own of the machine `desk`."""

    def __init__(self, root: Path) -> None:
        self.root, self.config, self.results = root, root / "asv.conf.json", root / "asv"
        self.repository = Repository.around(root)
        self.commits = self.repository.git("rev-list", "--reverse", "HEAD").split()

    def found(self, found: Sequence[Line], unnamed: str | None = None) -> Found:
        return found_in(found, self.repository, unnamed)

    def export(self, *records: Record, dropped: Sequence[str] = ()) -> Exported:
        return self.export_lines(lines(records), dropped)

    def export_lines(self, some: Sequence[Line], dropped: Sequence[str] = ()) -> Exported:
        return export(self.found(some), dropped, self.repository, self.results)

    def values(self, commit: str, benchmark: str, machine: str = DESK) -> dict[str, float | None]:
        """What asv reads of a benchmark at a commit, by the name of the case."""
        results = self.read(commit, machine)
        [names] = results.get_result_params(benchmark)
        return dict(zip(map(eval, names), results.get_result_value(benchmark, [names]), strict=True))

    def read(self, commit: str, machine: str = DESK) -> Results:
        return Results.load(str(self.results / machine / f"{commit[:8]}-records-py3.12.json"), machine)

    def benchmarks(self) -> dict[str, dict[str, object]]:
        config = Config.load(str(self.config))
        config.results_dir = str(self.results)
        return dict(Benchmarks.load(config))

    def asv(self, *arguments: str) -> str:
        command = (sys.executable, "-m", "asv", *arguments, "--config", str(self.config))
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def state(self) -> dict[Path, tuple[int, bytes]]:
        return {
            file: (file.stat().st_mtime_ns, file.read_bytes()) for file in self.results.rglob("*") if file.is_file()
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a project, to be copied."""
    return asv_project(tmp_path_factory.mktemp("made"), machines=["desk"]).parent


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Project:
    return Project(shutil.copytree(made, tmp_path / "project"))


# ------------------------------------------------------------------------------------------------- what asv makes


@pytest.fixture(scope="module")
def published(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Every commit on two machines, six launches each: from the middle on Tucker-2 decomposes in twice the time.

    SVD was measured at the first commit alone, and CP fails at the second.
    """
    project, records = Project(shutil.copytree(made, tmp_path_factory.mktemp("published") / "project")), []
    for number, commit in enumerate(project.commits):
        for make, size in ((on_desk, 1.0), (on_node, 0.1)):
            for launch in range(6):
                noise = 1 + 0.002 * ((7 * number + launch) % 5)
                slower = 2 if number >= COMMITS // 2 else 1
                records.append(make(TUCKER, commit=commit, decompose_s=size * slower * noise, params=900, top1=91.7))
                if number == 1:
                    records.append(make(CP, commit=commit, status="failed", reason="it broke"))
                else:
                    records.append(make(CP, commit=commit, decompose_s=3 * size * noise, params=800, top1=90.0))
                if number == 0:
                    records.append(make(SVD, commit=commit, decompose_s=0.2 * size * noise, params=850, top1=90.9))
    assert project.export(*records) == Exported(commits=COMMITS, machines=2, benchmarks=3, cases=3)
    project.asv("publish")
    return project


def test_asv_finds_the_commit_that_made_a_case_slower_on_each_machine(published: Project) -> None:
    found = json.loads((published.root / "site/regressions.json").read_text())["regressions"]
    ours = [each for each in found if each[0].startswith("records.")]
    assert {(name, params["machine"]) for name, _, params, *_ in ours} == {
        (f"records.decompose_s('{TUCKER}')", machine) for machine in (DESK, NODE)
    }
    for *_, [[before, first, old, new]] in ours:
        assert (before, first) == (None, COMMITS // 2)
        assert new / old == pytest.approx(2, rel=0.01)


def test_machines_gpus_and_versions_select_on_the_site(published: Project) -> None:
    index = json.loads((published.root / "site/index.json").read_text())
    assert set(index["params"]["machine"]) == {"desk", DESK, NODE}
    assert index["params"]["gpu"] == ["GPU of desk", "NVIDIA H200", None]
    assert index["params"]["torch"] == ["2.15.0", None]
    assert index["params"]["driver"] == ["550.54.15", None]
    assert index["machines"][NODE]["cuda"] == "12.6"
    assert set(index["benchmarks"]) == {
        STEP,
        "accuracy.track_error",
        *(f"records.{name}" for name in ("decompose_s", "params", "top1_error")),
    }


def test_the_curves_have_gaps_where_nothing_was_measured(published: Project) -> None:
    [curve] = (
        json.loads(file.read_text())
        for file in (published.root / "site/graphs").rglob("records.top1_error.json")
        if f"machine-{NODE}" in file.parts
    )
    cp, svd, tucker = (list(column) for column in zip(*(values for _, values in curve), strict=True))
    assert [revision for revision, _ in curve] == list(range(COMMITS))
    assert svd == [9.1] + [None] * (COMMITS - 1)
    assert cp == [10.0, None] + [10.0] * (COMMITS - 2)
    assert tucker == [8.3] * COMMITS


def test_asv_show_prints_numbers_gaps_and_failures(published: Project) -> None:
    shown = published.asv("show", published.commits[1], "--machine", NODE, "--bench", "decompose")
    assert f"records.decompose_s [{NODE}/records-py3.12]" in shown
    rows = {line.split()[0]: line.split()[1] for line in shown.splitlines() if "cifar10" in line}
    assert rows == {CP: "failed", SVD: "n/a", TUCKER: "100±0.1ms"}


def test_asv_compare_tells_a_change_from_noise_and_sees_failures(published: Project) -> None:
    first, second, last = (published.commits[at] for at in (0, 1, -1))
    compared = published.asv("compare", first, last, "--machine", DESK)
    marks = {line.split("|")[-2].strip(): line.split("|")[1].strip() for line in compared.splitlines() if "#0" in line}
    assert marks[f"records.decompose_s('{TUCKER}')"] == "+"
    assert marks[f"records.decompose_s('{CP}')"] == ""
    assert marks[f"records.top1_error('{SVD}')"] == ""
    broken = published.asv("compare", first, second, "--machine", DESK)
    assert [line.split("|")[-2].strip() for line in broken.splitlines() if line.startswith("| !")] == [
        f"records.{name}('{CP}')" for name in ("decompose_s", "params", "top1_error")
    ]


# ------------------------------------------------------------------------------------------------------- numbers


def test_several_launches_give_their_median_and_how_far_they_scatter(project: Project) -> None:
    commit, seconds = project.commits[0], [0.9, 1.0, 1.4]
    project.export(*(on_desk(commit=commit, decompose_s=value, top1=90.0, params=7) for value in seconds))
    assert project.values(commit, "records.decompose_s") == {TUCKER: 1.0}
    results, params = project.read(commit), [[repr(TUCKER)]]
    [stats] = results.get_result_stats("records.decompose_s", params)
    assert (stats["repeat"], stats["number"], stats["q_25"], stats["q_75"]) == (3, 1, 0.95, 1.2)
    assert stats["ci_99_a"] < 0.9 < 1.4 < stats["ci_99_b"]
    assert repr(project.values(commit, "records.params")) == repr({TUCKER: 7})  # asv would print 7.0 as it is
    for name in ("records.top1_error", "records.params"):  # the same again from every launch of a seed
        assert results.get_result_stats(name, params) == [None]


def test_each_value_is_in_the_unit_that_asv_knows_and_less_of_it_is_better(project: Project) -> None:
    commit = project.commits[0]
    numbers = {"step_ms": 12.5, "forward_peak_bytes": 2048, "top1": 91.7, "top1_before": 40.1, "throughput": 5000.0}
    project.export(on_desk(commit=commit, train_loss=0.25, correct=917, baseline_s=3.0, **numbers))
    known = {name: each for name, each in project.benchmarks().items() if name.startswith("records.")}
    found = {
        name.removeprefix("records."): (*project.values(commit, name).values(), each["unit"], each["type"])
        for name, each in known.items()
    }
    assert found == {
        "step_ms": (0.0125, "seconds", "time"),
        "forward_peak_bytes": (2048, "bytes", "track"),
        "top1_error": (8.3, "%", "track"),
        "top1_before_error": (59.9, "%", "track"),
        "picture_s": (0.0002, "seconds", "time"),
        "train_loss": (0.25, "nat", "track"),
    }


def test_of_every_stored_metric_it_was_decided_how_asv_reads_it() -> None:
    stored = {metric.name for metric in METRICS.values() if not metric.derived and metric.better != "neither"}
    assert stored - {benchmark.metric.name for benchmark in BENCHMARKS} == {"correct"}
    for benchmark in BENCHMARKS:
        rises = benchmark.of(80) > benchmark.of(40)
        assert rises is (benchmark.metric.better == "lower")


@pytest.mark.parametrize("status", ["failed", "timeout", "oom", "crashed", "diverged"])
def test_a_bad_end_is_null_unless_another_launch_ended_well(project: Project, status: str) -> None:
    first, second, third = project.commits[:3]
    project.export(
        on_desk(commit=first, decompose_s=1.0),
        on_desk(commit=second, status=status),
        on_desk(commit=third, status=status),
        on_desk(commit=third, decompose_s=2.0),
    )
    values = [project.values(commit, "records.decompose_s")[TUCKER] for commit in (first, second, third)]
    assert values == [1.0, None, 2.0]


@pytest.mark.parametrize("status", ["skipped", "interrupted"])
def test_what_was_not_launched_is_no_failure(project: Project, status: str) -> None:
    commit = project.commits[0]
    project.export(on_desk(CP, commit=commit, decompose_s=1.0), on_desk(commit=commit, status=status))
    assert project.values(commit, "records.decompose_s") == {CP: 1.0}


def test_a_case_is_listed_where_it_has_a_number_somewhere_or_never_ended_well(project: Project) -> None:
    first, second = project.commits[:2]
    project.export(
        on_desk(TUCKER, commit=first, params=900, step_ms=5.0),
        on_desk(DENSE, commit=first, params=1000),
        on_node(SVD, commit=second, status="failed"),
        on_node(DENSE, commit=second, params=1000),
    )
    assert project.values(first, "records.step_ms") == pytest.approx({SVD: math.nan, TUCKER: 0.005}, nan_ok=True)
    assert project.values(second, "records.step_ms", NODE) == pytest.approx({SVD: None, TUCKER: math.nan}, nan_ok=True)
    assert list(project.values(second, "records.params", NODE)) == [DENSE, SVD, TUCKER]


def test_files_written_before_list_the_cases_that_came_later(project: Project) -> None:
    first, second = project.commits[:2]
    project.export(on_desk(commit=first, params=900))
    project.export(on_desk(CP, commit=second, params=800))
    assert project.values(first, "records.params") == pytest.approx({CP: math.nan, TUCKER: 900}, nan_ok=True)
    assert project.values(second, "records.params") == pytest.approx({CP: 800, TUCKER: math.nan}, nan_ok=True)


def test_cases_are_listed_as_people_sort_them() -> None:
    assert in_order(["svd/x16", "svd/x4", "cp/x4", "svd/x4"]) == ["cp/x4", "svd/x4", "svd/x16"]


# ------------------------------------------------------------------------------------- what is one series, one machine


def test_other_settings_are_another_series_and_the_device_is_not(project: Project) -> None:
    commit = project.commits[0]
    project.export(on_desk(commit=commit, params=900), on_node(commit=commit, params=900))
    assert project.values(commit, "records.params", NODE) == {TUCKER: 900}
    project.export(on_node(commit=commit, params=901, settings={"epochs": 9}))
    one, nine = f"{TUCKER} with epochs=1", f"{TUCKER} with epochs=9"
    assert project.values(commit, "records.params", NODE) == {one: 900, nine: 901}
    assert project.values(commit, "records.params") == pytest.approx({one: 900, nine: math.nan}, nan_ok=True)


def test_a_case_whose_data_set_broke_fails_in_its_own_series(project: Project) -> None:
    first, second = project.commits[:2]
    broken = on_desk(commit=second, status="failed")
    broken = changed(broken, identity={**broken.provenance["identity"], "data": None})
    project.export(on_desk(commit=first, params=900), broken)
    assert project.values(second, "records.params") == {TUCKER: None}


def test_a_machine_is_a_host_with_a_device_a_torch_and_a_driver(project: Project) -> None:
    commit = project.commits[0]
    project.export(
        on_node(commit=commit, params=1),
        changed(on_node(commit=commit, params=2), driver="560.1"),
        on_node(commit=commit, params=3, torch="2.16.0+cu130"),
        changed(on_node(commit=commit, params=4), host="node8"),
    )
    assert {file.parent.name for file in project.results.glob(f"*/{FILE}")} == {
        NODE,
        "node7-NVIDIA_H200-torch2.15.0-driver560.1",
        "node7-NVIDIA_H200-torch2.16.0+cu130-driver550.54.15",
        "node8-NVIDIA_H200-torch2.15.0-driver550.54.15",
    }


def test_all_files_of_a_machine_name_the_same_facts(project: Project) -> None:
    first, second, third = project.commits[:3]
    project.export(
        on_node(commit=first, status="failed"),
        on_node(commit=second, params=900),
        changed(on_node(commit=third, params=900), os="Linux-6.9"),
    )
    facts = {
        "machine": NODE,
        "os": "Linux-6.9",
        "arch": "",
        "cpu": "Ordinary CPU @ 2.0GHz",
        "num_cpu": "4",
        "ram": "",
        "torch": "2.15.0",
        "gpu": "NVIDIA H200",
        "driver": "550.54.15",
        "cuda": "12.6",
    }
    assert json.loads((project.results / NODE / "machine.json").read_text()) == {**facts, "version": 1}
    for commit in (first, second, third):
        assert project.read(commit, NODE).params == {**facts, "python": "3.12"}


def test_what_somebody_filled_in_of_a_machine_stays(project: Project) -> None:
    first, second = project.commits[:2]
    project.export(on_desk(commit=first, params=900))
    file = project.results / DESK / "machine.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "ram": "64GB"}))
    project.export(on_desk(commit=second, params=900))
    assert json.loads(file.read_text())["ram"] == "64GB"
    assert {project.read(commit).params["ram"] for commit in (first, second)} == {"64GB"}


# -------------------------------------------------------------------------------------------- which files are written


def test_a_result_file_names_the_commit_with_the_date_that_asv_has_of_it(project: Project) -> None:
    environment = {**os.environ, "GIT_AUTHOR_DATE": "1600000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}
    command = ("git", "-C", project.root, "commit", "--allow-empty", "-qm", "rebased")
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(command, check=True, env={**environment, **names})
    commit = project.repository.resolve("HEAD")
    project.export(on_desk(commit=commit, params=900))
    results = project.read(commit)
    assert (results.commit_hash, results.date, results.env_name) == (commit, 1_600_000_000_000, "records-py3.12")


def test_exporting_again_changes_no_file(project: Project) -> None:
    found = lines([make(commit=commit, step_ms=5.0) for commit in project.commits for make in (on_desk, on_node)])
    first = project.export_lines(found)
    before = project.state()
    assert project.export_lines(found) == first
    restore(project.results)
    assert project.state() == before


def test_what_asv_ran_itself_is_left_alone_and_its_benchmarks_stay(project: Project) -> None:
    before = project.state()
    assert sum("-same" in file.name for file in before) == COMMITS
    theirs = project.benchmarks()
    project.export(*(on_desk(commit=commit, step_ms=5.0) for commit in project.commits))
    after = project.state()
    definitions = project.results / "benchmarks.json"
    assert {file: after[file] for file in before if file != definitions} == {
        file: content for file, content in before.items() if file != definitions
    }
    assert project.benchmarks() == {**theirs, "records.step_ms": project.benchmarks()["records.step_ms"]}


def test_benchmarks_are_restored_after_asv_has_written_its_own_alone(project: Project) -> None:
    definitions = project.results / "benchmarks.json"
    theirs = definitions.read_bytes()
    restore(project.results)
    assert definitions.read_bytes() == theirs
    project.export(on_desk(commit=project.commits[0], step_ms=5.0))
    ours = definitions.read_bytes()
    definitions.write_bytes(theirs)
    restore(project.results)
    assert definitions.read_bytes() == ours
    definitions.unlink()
    restore(project.results)
    assert set(project.benchmarks()) == {"records.step_ms"}


def test_launches_of_several_stores_come_together_and_taken_back_ones_go(project: Project) -> None:
    first, second = project.commits[:2]
    here = lines([on_desk(commit=first, step_ms=4000.0), on_desk(commit=second, step_ms=4000.0)])
    there = [
        Line("record", f"there{at}", "9", on_desk(commit=first, step_ms=value)) for at, value in enumerate((5e3, 9e3))
    ]
    project.export_lines(here)
    project.export_lines(there)
    assert project.values(first, "records.step_ms") == {TUCKER: 5.0}
    project.export_lines(there, dropped=[line.id for line in here])
    assert project.values(first, "records.step_ms") == {TUCKER: 7.0}
    assert [file.name[:8] for file in (project.results / DESK).glob(FILE)] == [first[:8]]


def test_a_launch_that_was_called_by_the_wrong_commit_moves(project: Project) -> None:
    wrong, right = project.commits[:2]
    unnamed = lines([on_desk(commit=None, step_ms=5.0)])
    for commit in (wrong, right):
        export(project.found(unnamed, commit), (), project.repository, project.results)
        assert [file.name[:8] for file in (project.results / DESK).glob(FILE)] == [commit[:8]]


# --------------------------------------------------------------------------------------------------- what is left out


def test_what_belongs_to_no_commit_is_left_out_and_said(project: Project) -> None:
    commit = project.commits[0]
    records = [
        on_desk(commit=commit, step_ms=5.0),
        on_desk(commit=commit, dirty=True, step_ms=6.0),
        on_desk(commit=None, step_ms=7.0),
        *(on_desk(commit=digit * 40, step_ms=8.0) for digit in "abcdd"),
        changed(on_desk(commit=commit, step_ms=9.0), host=None),
    ]
    found = project.found(lines(records))
    assert [launch.metrics for launch in found.launches] == [{"step_ms": 5.0}]
    assert found.notes == [
        f"left out 1 record of changed code ({commit[:8]} with changes), which no commit has; "
        "commit it and measure again",
        "left out 1 record without a commit (tnbench 0.1.0 (installed)); say which it is with --commit REV",
        f"left out 5 records at commits that {project.root} does not have "
        "(aaaaaaaa, bbbbbbbb, cccccccc and 1 more); fetch them there",
        f"left out 1 record without a host ({commit[:8]}), by an older tnbench; measure their cases again",
    ]


def test_a_named_commit_is_that_of_the_unnamed_alone(project: Project) -> None:
    first, second = project.commits[:2]
    records = [on_desk(commit=None), on_desk(commit=first), on_desk(commit=first, dirty=True)]
    found = project.found(lines(records), unnamed=second)
    assert [launch.place.commit for launch in found.launches] == [second, first]


def test_failures_alone_are_refused(project: Project) -> None:
    before = project.state()
    with pytest.raises(UsageError, match="no launch ended well, and asv shows a failure only beside numbers"):
        project.export(on_desk(commit=project.commits[0], status="failed"))
    assert project.state() == before


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("benchmarks.json", "{", "benchmarks.json cannot be read"),
        ("benchmarks.json", "[]", "benchmarks.json holds no JSON object"),
        ("benchmarks.json", '{"version": 1}', "got benchmarks of version 1, wanted 2.*asv update"),
        (f"{DESK}/machine.json", "{", "machine.json cannot be read"),
        (f"{DESK}/{FILE}", "{", "records-py3.12.json cannot be read"),
        (
            f"{DESK}/{FILE}",
            '{"tnbench": {"schema": 1}}',
            "is not as tnbench export asv writes it.*delete it, and export",
        ),
        (f"{DESK}/{FILE}", '{"tnbench": {"schema": 2}}', "got launches of schema 2, this tnbench reads 1"),
    ],
)
def test_files_that_cannot_be_read_are_refused_before_anything_is_written(
    project: Project, file: str, text: str, message: str
) -> None:
    project.export(on_desk(commit=project.commits[0], step_ms=5.0))
    [damaged] = project.results.glob(file)
    damaged.write_text(text)
    before = project.state()
    for attempt in (
        lambda: project.export(on_node(commit=project.commits[1], step_ms=5.0)),
        lambda: restore(project.results),
    ):
        with pytest.raises(TnbenchError, match=message):
            attempt()
    assert project.state() == before
