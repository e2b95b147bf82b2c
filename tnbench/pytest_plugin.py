"""The pytest plug-in: tests over the cases of a suite, timed by pytest-benchmark; see docs/pytest-benchmark.md.

pytest imports this in every session once tnbench is installed, so nothing heavy is imported, and nothing is done,
before a test asks for `tnbench_case`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tnbench.core.case import Case
from tnbench.core.errors import NotApplicable, TnbenchError
from tnbench.core.record import Record

if TYPE_CHECKING:
    from tnbench.cli.cases import Cases
    from tnbench.stages.workbench import Workbench

_CASE, _TIMING = "tnbench_case", "tnbench_timing"
_TIMINGS = ("forward", "decompose", "step")  # those of tnbench.reporting.samples, which is heavier than a tuple


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options. All but the first two bear the package's name, for `--replay` and others are other plug-ins'."""
    add = parser.getgroup("tnbench", "tnbench: the cases of a suite under pytest-benchmark").addoption
    add("--suite", metavar="NAME|FILE", help="A suite by name, or a .toml file (default: quick).")
    add("--select", metavar="TEXT", help="Only what fits, such as 'method=tucker2,cp rank=x4' (* and ? are wild).")
    add("--tnbench-timing", action="append", choices=_TIMINGS, help="What is timed; repeatable (default: forward).")
    add("--tnbench-replay", action="store_true", help="Hand out stored samples instead of measuring.")
    add("--tnbench-device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N (default: the suite's).")
    add("--tnbench-results", metavar="DIR", type=Path, help="Folder of records (default: $TNBENCH_RESULTS, results).")
    add("--tnbench-data-root", metavar="DIR", type=Path, help="Folder of the data sets (default: $TNBENCH_DATA, data).")
    add("--tnbench-plugin", metavar="FILE", type=Path, action="append", help="File with a tnbench plug-in; repeatable.")


_CASES = pytest.StashKey["Cases | TnbenchError"]()
_TIMES = pytest.StashKey[list[float]]()


def _cases(config: pytest.Config) -> Cases | TnbenchError:
    """The cases asked for, found when the first test wants one; or what is wrong with the options."""
    if _CASES not in config.stash:
        try:
            config.stash[_CASES] = _find_cases(config)
        except TnbenchError as error:
            config.stash[_CASES] = error
    return config.stash[_CASES]


def _find_cases(config: pytest.Config) -> Cases:
    from tnbench.cli.cases import measured, replayed
    from tnbench.cli.options import DATA_ROOT, Asked
    from tnbench.core.folders import name_results_folder, results_folder

    option = config.getoption
    asked = Asked(suite=option("--suite"), select=option("--select"), device=option("--tnbench-device"))
    results = name_results_folder(option("--tnbench-results") or results_folder())
    plugins = option("--tnbench-plugin") or ()
    if option("--tnbench-replay"):
        return replayed(asked, results=results, plugins=plugins)
    data_root = option("--tnbench-data-root") or Path(os.environ.get("TNBENCH_DATA") or DATA_ROOT)
    cases = measured(asked, data_root=data_root, results=results, plugins=plugins)
    config.add_cleanup(cases.source.close)
    return cases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case for each function that asks for `tnbench_case`."""
    if _CASE in metafunc.fixturenames:
        cases = _cases(metafunc.config)
        skips = {"refused": ""} if isinstance(cases, TnbenchError) else cases.source.skips
        marks = {case: [pytest.mark.skip(reason=why)] if why else [] for case, why in skips.items()}
        metafunc.parametrize(_CASE, [pytest.param(case, id=case, marks=marks[case]) for case in skips], indirect=True)
    if _TIMING in metafunc.fixturenames:
        timings = metafunc.config.getoption("--tnbench-timing") or _TIMINGS[:1]
        metafunc.parametrize(_TIMING, list(dict.fromkeys(timings)), indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse wrong options before anything runs, and tell the other plug-ins what they have to know."""
    ours = [item for item in items if isinstance(item, pytest.Function) and _CASE in item.fixturenames]
    if not ours:
        return
    cases, has = _cases(config), config.pluginmanager.hasplugin
    if isinstance(cases, TnbenchError):
        raise pytest.UsageError(f"tnbench: {_as_named_here(str(cases))}")
    if not has("benchmark") and any("benchmark" in item.fixturenames for item in ours):
        raise pytest.UsageError(
            "tnbench: cases are timed by pytest-benchmark; install it: pip install pytest-benchmark"
        )
    for item in ours:
        if has("benchmark"):
            _tell_benchmark(item, cases)
        if has("timeout") and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(0))  # cases have the limits of their suite


def _as_named_here(sentence: str) -> str:
    """tnbench's sentence, with a word on those of its options that have a prefix under pytest."""
    meant = [
        name for name in ("device", "results", "data-root", "plugin") if re.search(rf"(?<![\w-])--{name}\b", sentence)
    ]
    here = ", ".join(f"--{name} is --tnbench-{name}" for name in meant)
    return f"{sentence} (in pytest {here})" if here else sentence


def _tell_benchmark(item: pytest.Function, cases: Cases) -> None:
    """Which times belong into one table, and the timer; what a test's own marker says goes before, but in a replay."""
    from tnbench.measure.timers import recorded_timer, waiting_timer

    own = item.get_closest_marker("benchmark")
    chosen: dict[str, Any] = {"group": _group(item, cases)}
    if cases.device != "cpu":
        chosen["timer"] = waiting_timer(cases.device)
    chosen |= own.kwargs if own else {}
    if item.config.getoption("--tnbench-replay"):
        times = item.stash[_TIMES] = []
        chosen["timer"] = recorded_timer(times)
    item.add_marker(pytest.mark.benchmark(**chosen), append=False)
    # A case that fails has no time, of which pytest-benchmark would warn.
    item.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"))


def _group(item: pytest.Function, cases: Cases) -> str:
    from tnbench.reporting.samples import machine_of

    id, timing = str(item.callspec.params[_CASE]), str(item.callspec.params.get(_TIMING, ""))
    case = Case.parse(id)
    shared = [f"{case.model} on {case.dataset}", case.training, case.parallel, timing]
    if item.config.getoption("--tnbench-replay") and not cases.source.skips[id]:
        shared += machine_of(cases.source.record(id)).values()
    return ", ".join(filter(None, shared))


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """One line on what is going to be run."""
    cases = config.stash.get(_CASES, None)
    return [] if cases is None or isinstance(cases, TnbenchError) else [f"tnbench: {cases.words}; in {cases.results}"]


class TimedCase:
    """One case of the suite, by its `id`."""

    def __init__(self, id: str, cases: Cases, request: pytest.FixtureRequest) -> None:
        self.id, self._cases = id, cases
        self._times = request.node.stash.get(_TIMES, None)
        self._least_rounds: int = request.config.getoption("--benchmark-min-rounds", 1)

    @property
    def record(self) -> Record:
        """What tnbench's own clocks gave: the record that stands, else that of a run now.

        Without a good one the test ends here: skipped as the case is, or failed with the record's reason.
        """
        with _ending_the_test():
            record = self._cases.source.record(self.id)
        if record.status == "skipped":
            pytest.skip(record.reason)
        if record.status != "ok":
            log, command = self._cases.results / record.provenance["log"], record.provenance["command"]
            pytest.fail(f"{self.id} {record.status}: {record.reason}\nlog: {log}\nagain: {command}", pytrace=False)
        return record

    @contextmanager
    def workbench(self) -> Iterator[Workbench]:
        """The case laid out in this process, for clocks of your own: a `tnbench.stages.workbench.Workbench`."""
        with _ending_the_test():
            job = self._cases.source.job(self.record)
        from tnbench.stages.workbench import Workbench

        with _ending_the_test("; see what is recorded with --tnbench-replay"):
            bench = Workbench(job)
        with bench:
            yield bench

    def time(self, benchmark: Any, timing: str = "forward") -> None:
        """Time a part of the case by pytest-benchmark, or replay what is recorded of it.

        There are as many rounds as the record has samples (of one decomposition: --benchmark-min-rounds). The record's
        metrics go to `benchmark.extra_info`.
        """
        from tnbench.reporting.samples import facts_of, seconds_of

        try:
            record = self.record
        except KeyboardInterrupt:
            benchmark.skipped = True  # or pytest-benchmark warns of a test without a time, past all filters
            raise
        with _ending_the_test():
            recorded = seconds_of(record, timing)
        benchmark.extra_info.update(facts_of(record), timing=timing, replayed=self._times is not None)
        if self._times is None:
            self._measure(benchmark, timing, max(len(recorded), self._least_rounds))
        else:
            self._times.extend(recorded)
            benchmark.pedantic(_nothing, rounds=len(recorded))

    def _measure(self, benchmark: Any, timing: str, rounds: int) -> None:
        from tnbench.stages.timings import LAY_OUT

        with self.workbench() as bench:
            call, warm_up = LAY_OUT[timing](bench)
            benchmark.pedantic(call, rounds=rounds, warmup_rounds=warm_up)


def _nothing() -> None:
    """What a replay calls."""


@contextmanager
def _ending_the_test(hint: str = "") -> Iterator[None]:
    """A case that makes no sense is skipped; other errors that tnbench raises on purpose fail the test in one line."""
    try:
        yield
    except NotApplicable as error:
        pytest.skip(f"{error}{hint}")
    except TnbenchError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def tnbench_case(request: pytest.FixtureRequest) -> TimedCase:
    """One case of --suite and --select: its `record`, and `time(benchmark)`."""
    if hasattr(request.config, "workerinput"):
        pytest.skip("cases are timed one after the other; leave out pytest-xdist's -n")
    cases = _cases(request.config)
    assert not isinstance(cases, TnbenchError), "wrong options were refused before"
    if not hasattr(request, "param"):
        pytest.fail("tnbench_case got no case; let the test take it as an argument", pytrace=False)
    return TimedCase(request.param, cases, request)


@pytest.fixture
def tnbench_timing(request: pytest.FixtureRequest) -> str:
    """What is to be timed, as --tnbench-timing says: forward, decompose or step."""
    return str(request.param)
