"""The pytest plug-in as its users meet it: in a folder of their own, with their own test, suite and method."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tnbench import pytest_plugin
from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.core.settings import Settings, record_key
from tnbench.reporting.samples import TIMINGS  # and numpy, which sessions in this process cannot load a second time
from tnbench.store.records import Store

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "pytest-benchmark.md").read_text()
HEAVY = {"torch", "pandas", "numpy", "sklearn", "rich", "typer", "pytest_benchmark"}

SUITE = """
summary = "Cases that end in each way."
cases = ["dense/full/cnn8/digits/none/threads:1#0", "svd/x999/cnn8/digits/none/threads:1#0"]
[settings]
device = "cpu"
epochs = 1
baseline_epochs = 1
limit_train = 256
[[product]]
method = ["tucker2", "@plugins"]
rank = "x4"
model = "cnn8"
dataset = "digits"
training = "finetune"
parallel = "threads:1"
[[exclude]]
select = "model=cnn8 method=broken"
reason = "left out on purpose"
"""
DENSE, OUT_OF_REACH, TUCKER, OWN, BAD, EXCLUDED = (
    "dense/full/cnn8/digits/none/threads:1#0",
    "svd/x999/cnn8/digits/none/threads:1#0",
    "tucker2/x4/cnn8/digits/finetune/threads:1#0",
    "own/x4/cnn8/digits/finetune/threads:1#0",
    "bad/x4/cnn8/digits/finetune/threads:1#0",
    "broken/x4/cnn8/digits/finetune/threads:1#0",
)
OWN_METHOD = '"""A method of one\'s own."""\nKIND = "method"\nfrom tnbench.methods.svd import *\n'
BAD_METHOD = OWN_METHOD + "\ndef factorise(*arguments, **named):\n    raise ValueError('no such factors')\n"

Session = Callable[..., subprocess.CompletedProcess[str]]


def session(folder: Path) -> Session:
    """Run pytest in `folder`, as at a terminal, with warnings as errors."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-rA", *map(str, arguments))
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return run


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How many tests passed, failed and so on, from the line that sums up."""
    summed_up = re.search(r"^=+ (.+) in [0-9.]+s", done.stdout, re.MULTILINE)
    assert summed_up, done.stdout + done.stderr
    return {what: int(number) for number, what in (count.split() for count in summed_up[1].split(", "))}


PROBE = "import sys\n\ndef pytest_unconfigure():\n    print('imported:', *sys.modules)\n"


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    """What a session with `PROBE` for a conftest.py has imported."""
    return {name.partition(".")[0] for name in done.stdout.partition("imported:")[2].split()}


class Measured(NamedTuple):
    """A user's folder after a session that measured the suite."""

    folder: Path
    done: subprocess.CompletedProcess[str]
    options: tuple[str, ...]

    def benchmarks(self, file: str = "x.json") -> dict[str, dict[str, Any]]:
        """The entries of pytest-benchmark's file, by the id of the case."""
        entries = json.loads((self.folder / file).read_text())["benchmarks"]
        return {entry["params"]["tnbench_case"]: entry for entry in entries}

    def records(self) -> dict[str, Record]:
        return {record.case: record for record in Store(self.folder / "results").records()}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("own")
    (folder / "small.toml").write_text(SUITE)
    shutil.copy(ROOT / "benchmarks" / "test_cases.py", folder)
    for name, text in (("own", OWN_METHOD), ("bad", BAD_METHOD), ("broken", OWN_METHOD)):
        (folder / f"{name}.py").write_text(text)
    options = ("--suite", "small.toml", *(f"--tnbench-plugin={name}.py" for name in ("own", "bad", "broken")))
    return Measured(folder, session(folder)(*options, "--benchmark-json=x.json", "--benchmark-save=first"), options)


# ---------------------------------------------------------------------------------------- measuring


def test_every_case_is_a_test_that_ends_as_the_case_does(measured: Measured) -> None:
    assert measured.done.returncode == 1, measured.done.stdout
    assert outcomes(measured.done) == {"failed": 1, "passed": 3, "skipped": 2}
    for case in (DENSE, TUCKER, OWN):
        assert f"PASSED test_cases.py::test_case[{case}-forward]" in measured.done.stdout
    assert (
        "tnbench: small: 6 cases (5 to run, 0 done, 1 to skip), 1 baseline to train; in results" in measured.done.stdout
    )


def test_what_a_run_says_is_shown_with_its_test(measured: Measured) -> None:
    assert re.search(rf"baseline cnn8 on digits#0\n.*{re.escape(TUCKER)}", measured.done.stdout)


def test_skips_say_why(measured: Measured) -> None:
    assert "left out on purpose" in measured.done.stdout
    assert "x999 cannot be reached" in measured.done.stdout


def test_a_case_that_fails_fails_its_test_with_reason_and_log(measured: Measured) -> None:
    record = measured.records()[BAD]
    assert f"{BAD} failed: {record.reason}" in measured.done.stdout
    assert "no such factors" in record.reason
    assert f"log: results/{record.provenance['log']}" in measured.done.stdout
    assert f"again: {record.provenance['command']}" in measured.done.stdout
    assert "no such factors" in (measured.folder / "results" / record.provenance["log"]).read_text()


def test_the_file_has_one_entry_per_good_case_with_all_that_the_record_has(measured: Measured) -> None:
    entries, records = measured.benchmarks(), measured.records()
    assert list(entries) == [TUCKER, OWN, DENSE]
    for case, entry in entries.items():
        facts, identity = entry["extra_info"], records[case].provenance["identity"]
        assert facts.items() >= records[case].metrics.items()
        assert facts.keys() >= {"params", "macs", "weight_error", "top1"}
        assert (facts["case"], facts["status"], facts["replayed"]) == (case, "ok", False)
        assert (facts["device_model"], facts["torch"]) == (identity["device_model"], identity["torch"])
        assert entry["params"] == {"tnbench_case": case, "tnbench_timing": "forward"}


def test_rounds_are_as_many_as_the_record_s_samples(measured: Measured) -> None:
    records = measured.records()
    for case, entry in measured.benchmarks().items():
        assert entry["stats"]["rounds"] == len(entry["stats"]["data"]) == len(records[case].samples["forward_ms"])
        assert entry["stats"]["iterations"] == 1
        assert min(entry["stats"]["data"]) > 0


def test_only_what_may_be_compared_shares_a_table(measured: Measured) -> None:
    groups = {case: entry["group"] for case, entry in measured.benchmarks().items()}
    assert groups[TUCKER] == groups[OWN] == "cnn8 on digits, finetune, threads:1, forward"
    assert groups[DENSE] == "cnn8 on digits, none, threads:1, forward"


def test_another_session_trains_nothing_and_is_compared_with_the_first(measured: Measured) -> None:
    before = len(Store(measured.folder / "results").record_lines())
    done = session(measured.folder)(
        *measured.options, "--select", "method=tucker2", "--benchmark-compare", "--benchmark-compare-fail=min:100000%"
    )
    assert outcomes(done) == {"passed": 1}, done.stdout + done.stderr
    assert "1 case (0 to run, 1 done, 0 to skip), 0 baselines to train" in done.stdout
    assert "(0001_first)" in done.stdout
    assert "(NOW)" in done.stdout
    assert len(Store(measured.folder / "results").record_lines()) == before


def test_other_parts_and_calls_of_one_s_own_are_timed_too(measured: Measured) -> None:
    (measured.folder / "own_calls.py").write_text(
        """
def test_own_call(tnbench_case, benchmark):
    with tnbench_case.workbench() as bench:
        benchmark.pedantic(bench.forward(2), rounds=3)
"""
    )
    done = session(measured.folder)(
        *("test_cases.py", "own_calls.py", *measured.options, "--select", "method=tucker2,dense"),
        *("--tnbench-timing=decompose", "--tnbench-timing=step", "--benchmark-json=parts.json"),
    )
    assert outcomes(done) == {"passed": 5, "skipped": 1}, done.stdout
    assert f"{DENSE} has no step_ms" in done.stdout
    entries = json.loads((measured.folder / "parts.json").read_text())["benchmarks"]
    assert [entry["name"] for entry in entries] == [
        f"test_case[{TUCKER}-decompose]",
        f"test_case[{TUCKER}-step]",
        f"test_case[{DENSE}-decompose]",
        f"test_own_call[{TUCKER}]",
        f"test_own_call[{DENSE}]",
    ]
    assert [entry["stats"]["rounds"] for entry in entries] == [5, 5, 5, 3, 3]
    assert [entry["extra_info"].get("timing") for entry in entries] == ["decompose", "step", "decompose", None, None]


def test_an_interrupt_ends_the_session_and_leaves_nothing_running(measured: Measured) -> None:
    command = (sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-s", "test_cases.py")
    with subprocess.Popen(
        (*command, *measured.options, "--select=method=dense", "--tnbench-results=interrupted"),
        cwd=measured.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as started:
        assert started.stdout is not None
        said = iter(started.stdout.readline, "")
        assert any("[1/2] baseline cnn8 on digits#0" in line for line in said)
        while not (workers := psutil.Process(started.pid).children()):
            time.sleep(0.05)
        started.send_signal(signal.SIGINT)
        rest = "".join(said)
    assert started.returncode == pytest.ExitCode.INTERRUPTED, rest
    assert "Warning" not in rest
    psutil.wait_procs(workers)
    assert not any(worker.is_running() for worker in workers)


# ---------------------------------------------------------------------------------------- replaying


@pytest.fixture
def replaying(measured: Measured, tmp_path: Path) -> Measured:
    """The measured folder's files and records in a new one, where a session would tell whether it imported torch."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(measured.folder, folder)
    (folder / "conftest.py").write_text(PROBE)
    return measured._replace(folder=folder)


def test_a_replay_hands_out_the_stored_samples_and_needs_no_torch(replaying: Measured) -> None:
    done = session(replaying.folder)(*replaying.options, "--tnbench-replay", "--benchmark-json=replayed.json")
    assert outcomes(done) == {"failed": 1, "passed": 3, "skipped": 2}, done.stdout + done.stderr
    assert "small.toml replayed: 5 of 6 cases have a record; in results" in done.stdout
    assert "torch" not in imported(done)
    entries, records = replaying.benchmarks("replayed.json"), replaying.records()
    assert entries.keys() == {DENSE, TUCKER, OWN}
    for case, entry in entries.items():
        assert entry["stats"]["data"] == [1e-3 * sample for sample in records[case].samples["forward_ms"]]
        assert entry["extra_info"].items() >= records[case].metrics.items()
        assert entry["extra_info"]["replayed"] is True
        assert entry["options"]["timer"] == "recorded"
        assert entry["group"].endswith(f"{entry['extra_info']['device_model']}, {entry['extra_info']['torch']}")


def test_the_probe_for_torch_would_see_it(replaying: Measured) -> None:
    done = session(replaying.folder)(*replaying.options, "--select", "method=tucker2")
    assert outcomes(done) == {"passed": 1}
    assert "torch" in imported(done)


def test_cases_of_several_processes_are_replayed_and_not_measured(replaying: Measured) -> None:
    """The record is of made-up steps, so that no process has to be launched."""
    case, settings = "tucker2/x4/cnn8/digits/finetune/ddp:2#0", Settings(device="cpu")
    (replaying.folder / "spread.toml").write_text(
        f'summary = "Two ranks."\ncases = ["{case}"]\nsettings.device = "cpu"\n'
    )
    of_one = replaying.records()[TUCKER]
    Store(replaying.folder / "results").append(
        dataclasses.replace(
            of_one,
            case=case,
            key=record_key(Case.parse(case), settings),
            settings=settings.as_json(),
            samples={"step_ms": [[10.0, 20.0], [15.0, 5.0]]},
            provenance={**of_one.provenance, "identity": _of_ddp(of_one.provenance["identity"])},
        )
    )
    run = session(replaying.folder)
    done = run("--suite=spread.toml", "--tnbench-timing=step", "--tnbench-replay", "--benchmark-json=steps.json")
    assert outcomes(done) == {"passed": 1}, done.stdout
    assert replaying.benchmarks("steps.json")[case]["stats"]["data"] == [1e-3 * 15.0, 1e-3 * 20.0]
    done = run("--suite=spread.toml", "--tnbench-timing=step")
    assert outcomes(done) == {"skipped": 1}, done.stdout
    assert "over processes, which one process cannot time" in done.stdout
    assert "see what is recorded with --tnbench-replay" in done.stdout


def _of_ddp(identity: dict[str, Any]) -> dict[str, Any]:
    ddp = {"name": "ddp", "version": 1, "source": ""}
    return {**identity, "plugins": {**identity["plugins"], "parallel": ddp}}


# ---------------------------------------------------------------------------------------- in this process, quickly


@pytest.fixture
def pytester_with_record(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a record of one case of MNIST, whose files are not there, and none of the other."""
    pytester.makefile(
        ".toml",
        small="""
            summary = "MNIST."
            cases = ["dense/full/lenet5/mnist/none/single#0", "svd/x4/lenet5/mnist/none/single#0"]
        """,
    )
    case, settings = "dense/full/lenet5/mnist/none/single#0", Settings(device="cpu")
    Store(pytester.path / "results").append(
        Record(
            case,
            record_key(Case.parse(case), settings),
            "ok",
            metrics={"forward_ms": 0.5, "top1": 99.0},
            samples={"forward_ms": [0.25, 0.5, 0.75]},
            settings=settings.as_json(),
            provenance={"identity": {"device_model": "Old GPU"}},
        )
    )
    pytester.makepyfile(test_own="def test_own(tnbench_case, benchmark):\n    tnbench_case.time(benchmark)\n")
    return pytester


REPLAY = ("--suite=small.toml", "--tnbench-replay", "-rs", "-p", "no:cacheprovider")


def test_a_replay_needs_no_data_and_skips_what_has_no_record(pytester_with_record: pytest.Pytester) -> None:
    done = pytester_with_record.runpytest(*REPLAY)
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(
        [
            "*benchmark 'lenet5 on mnist, none, single, Old GPU': 1 tests*",
            "*no record of it with these settings in results; get one with: tnbench run --suite small.toml --case "
            "'svd/x4/lenet5/mnist/none/single#0' --results results",
        ]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--suite=quik",), "no suite is named 'quik'; the nearest is 'quick'*"),
        (("--suite=small.toml", "--select=method=sdv"), "no method is named 'sdv'; the nearest is 'svd'*"),
        (("--suite=small.toml", "--select=seed=3"), "--select: seed=3 leaves no case; on seed there are: 0"),
        (("--suite=small.toml", "--tnbench-device=gpu"), "device: got 'gpu', wanted auto, cpu*"),
        (("--tnbench-plugin=none.py",), "--plugin: no file * (in pytest --plugin is --tnbench-plugin)"),
        (("--suite=small.toml",), "mnist: *"),
    ],
)
def test_wrong_options_end_the_session_in_tnbench_s_own_words(
    pytester_with_record: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.delenv("TNBENCH_DATA", raising=False)
    pytester_with_record.makepyfile(test_other="def test_other():\n    pass\n")
    done = pytester_with_record.runpytest(*options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: tnbench: {said}"])
    assert "passed" not in done.stdout.str()


def test_every_timing_may_be_asked_for() -> None:
    assert tuple(TIMINGS) == pytest_plugin._TIMINGS


def test_an_unknown_timing_is_refused(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest("--tnbench-timing=backward")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*invalid choice: 'backward' (choose from *forward*"])


def test_options_are_not_looked_at_where_no_test_asks_for_a_case(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_other="def test_other():\n    pass\n")
    pytester.runpytest("--suite=nothing.toml").assert_outcomes(passed=1)


def test_without_pytest_benchmark_it_says_what_to_install(pytester_with_record: pytest.Pytester) -> None:
    done = pytester_with_record.runpytest(*REPLAY, "-p", "no:benchmark")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*install it: pip install pytest-benchmark"])


def test_records_can_be_looked_at_without_pytest_benchmark(pytester_with_record: pytest.Pytester) -> None:
    pytester_with_record.makepyfile(
        test_own="def test_latency(tnbench_case):\n    assert tnbench_case.record.metrics['forward_ms'] == 0.5\n"
    )
    pytester_with_record.runpytest(*REPLAY, "-p", "no:benchmark").assert_outcomes(passed=1, skipped=1)


def test_a_test_s_own_marker_stays_and_cases_keep_the_suite_s_time_limit(pytester_with_record: pytest.Pytester) -> None:
    pytester_with_record.makepyfile(
        test_own="""
            import pytest

            @pytest.mark.benchmark(group="mine", disable_gc=True)
            def test_own(tnbench_case, benchmark, request):
                assert benchmark.group == "mine"
                assert request.node.get_closest_marker("benchmark").kwargs["disable_gc"]
                assert request.node.get_closest_marker("timeout").args == (0,)
                tnbench_case.time(benchmark)
                assert benchmark.stats.stats.data == [0.00025, 0.0005, 0.00075]

            @pytest.mark.timeout(60)
            def test_limited(tnbench_case, request):
                assert request.node.get_closest_marker("timeout").args == (60,)
        """
    )
    pytester_with_record.runpytest(*REPLAY, "--timeout=30").assert_outcomes(passed=2, skipped=2)


def test_a_replay_times_nothing_else(pytester_with_record: pytest.Pytester) -> None:
    pytester_with_record.makepyfile(
        test_own="""
            def test_laid_out(tnbench_case):
                with tnbench_case.workbench():
                    raise AssertionError("not reached")

            def test_own_call(tnbench_case, benchmark):
                benchmark.pedantic(lambda: None)
        """
    )
    done = pytester_with_record.runpytest(*REPLAY, "--select=method=dense")
    done.assert_outcomes(skipped=1, failed=1)
    done.stdout.fnmatch_lines(
        ["*0 samples are recorded, and one more was asked for*", "*is replayed, and laid out for no*"]
    )


def test_beside_other_workers_nothing_is_timed(pytester_with_record: pytest.Pytester) -> None:
    """Worker processes of pytest-xdist are told by this attribute of their configuration."""
    pytester_with_record.makeconftest("def pytest_configure(config):\n    config.workerinput = {}\n")
    done = pytester_with_record.runpytest(*REPLAY, "--select=method=dense")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*cases are timed one after the other; leave out pytest-xdist's -n"])


def test_other_people_s_sessions_import_nothing_for_it(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    (tmp_path / "conftest.py").write_text(PROBE)
    quiet = ("-p", "no:hypothesispytest", "-p", "no:benchmark")
    done = session(tmp_path)(*quiet)
    assert outcomes(done) == {"passed": 1}
    assert "tnbench" in imported(done)
    assert not imported(done) & HEAVY


# ---------------------------------------------------------------------------------------- the page, and asv


def test_the_page_names_every_option(pytester: pytest.Pytester) -> None:
    shown = re.search(r"^tnbench:.*\n((?: .*\n)+)", pytester.runpytest("--help").stdout.str(), re.MULTILINE)
    assert shown is not None
    options = re.findall(r"^  (--[\w-]+)", shown[1], re.MULTILINE)
    named = re.search(r"^The options are ((?:[^.]|\n)+)\.", PAGE, re.MULTILINE)
    assert named is not None
    assert re.findall(r"`(--[\w-]+)`", named[1]) == options


def test_the_page_s_own_test_runs(pytester_with_record: pytest.Pytester) -> None:
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    pytester_with_record.makepyfile(test_own=code)
    pytester_with_record.runpytest(*REPLAY).assert_outcomes(passed=1, skipped=1)


def test_asv_may_import_the_tests_where_there_is_no_pytest() -> None:
    script = "import sys; sys.modules['pytest'] = None; import benchmarks.test_cases as tests; print(tests.test_case)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
