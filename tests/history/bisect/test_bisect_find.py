"""The search for the commit that changed a number, in real repositories; what is measured is read from a file."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from made_commits import commit, merge, new_repository, traces

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.metrics import METRICS
from tnbench.history.bisect.find import Found, Quantity, find_break, find_change
from tnbench.history.bisect.search import Ends
from tnbench.history.bisect.side_by_side import EndedBadly, Refused, Unmeasured
from tnbench.history.commits import Repository

BROKEN = "broken"


def history(folder: Path, values: list[object]) -> tuple[Repository, list[str]]:
    """One commit for each value of the file ``value``, after one another."""
    repository = new_repository(folder / "clone")
    return repository, [commit(repository, f"commit {n}", value=str(value)) for n, value in enumerate(values)]


def read(tree: Path) -> float:
    text = (tree / "value").read_text()
    if text == BROKEN:
        raise EndedBadly("the case ended as failed: no luck")
    return float(text)


class Machine:
    """Reads values as a machine measures them: with noise, ever slower, and counting what it is asked for."""

    def __init__(self, noise: float = 0.0, drift: float = 0.0, seed: int = 0) -> None:
        self.noise, self.drift, self.random, self.calls = noise, drift, random.Random(seed), 0

    def __call__(self, tree: Path) -> float:
        self.calls += 1
        return read(tree) * (1 + self.drift) ** self.calls * self.random.lognormvariate(0, self.noise)


def search(
    repository: Repository,
    good: str,
    bad: str,
    measure: Callable[[Path], float] = read,
    launches: int = 4,
    said: list[str] | None = None,
) -> Found:
    lines: list[str] = [] if said is None else said
    return find_change(Ends.of(repository, good, bad), Quantity(METRICS["step_ms"], measure, launches), lines.append)


@pytest.mark.parametrize("first", [1, 4, 7])
@pytest.mark.parametrize(("before", "after"), [(100, 101), (101, 100), (0, 0.5), (-1, 3), (2, 0)])
def test_the_first_commit_with_another_number_is_named(tmp_path: Path, first: int, before: float, after: float) -> None:
    repository, commits = history(tmp_path, [before] * first + [after] * (8 - first))
    traced, machine = traces(repository), Machine()
    found = search(repository, "HEAD~7", "HEAD", machine)
    assert found.commit == commits[first]
    assert (found.launches.before, found.launches.after) == ((before,), (after,))
    assert machine.calls <= 2 * 2 + 3, "two launches of each end, and one for each step"
    assert traces(repository) == traced


def test_what_is_said_on_the_way(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [4, 4, BROKEN, 8, 8])
    said: list[str] = []
    with pytest.raises(TnbenchError, match="only skipped commits are left"):
        search(repository, commits[0], commits[-1], said=said)
    assert said[:2] == [
        "from end to end: step_ms 4 ms -> 8 ms (2.00×)",
        "4 commits to search: about 2 steps of 1 launch",
    ]
    assert sorted(said[2:]) == [
        f"bad   {commits[3][:8]} commit 3: step_ms 4 ms -> 8 ms (2.00×)",
        f"good  {commits[1][:8]} commit 1: step_ms 4 ms -> 4 ms (1.00×)",
        f"skip  {commits[2][:8]} commit 2: the case ended as failed: no luck",
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_noise_of_a_fifth_does_not_hide_a_factor_of_two(tmp_path: Path, factor: float, seed: int) -> None:
    repository, commits = history(tmp_path, [10.0] * 4 + [10 * factor] * 5)
    found = search(repository, commits[0], commits[-1], Machine(noise=0.1, seed=seed))
    assert found.commit == commits[4]
    assert len(found.launches.before) >= 4


def test_a_machine_that_slows_down_does_not_make_the_last_commits_slow(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [10.0] * 8 + [15.0])
    machine = Machine(noise=0.01, drift=0.02)
    assert search(repository, commits[0], commits[-1], machine).commit == commits[8]
    assert 1.02**machine.calls > 15 / 10, "the machine itself has slowed down by more than the change"


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_nothing_to_bisect(tmp_path: Path, seed: int) -> None:
    repository, commits = history(tmp_path, [10.0] * 4)
    traced = traces(repository)
    with pytest.raises(TnbenchError, match="nothing to bisect") as refused:
        search(repository, commits[0], commits[-1], Machine(noise=0.2, seed=seed))
    assert "; before: " in str(refused.value), "all that was measured is shown"
    assert "; after: " in str(refused.value)
    assert traces(repository) == traced


def test_equal_exact_numbers_are_nothing_to_bisect(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [3, 4, 3])
    with pytest.raises(TnbenchError, match=r"^nothing to bisect: step_ms is 3 ms at both ends$"):
        search(repository, commits[0], commits[-1])


def test_neighbours_leave_nothing_to_search_but_are_measured_again(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [10.0, 20.0])
    machine = Machine(noise=0.05)
    assert search(repository, commits[0], commits[1], machine).commit == commits[1]
    assert machine.calls == 2 * 2 * 4


def test_a_difference_that_is_not_seen_again_is_not_told(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [10.0, 20.0, 20.0])
    machine = Machine(noise=0.05)

    def settles_down(tree: Path) -> float:
        number = machine(tree)
        return number if machine.calls <= 2 * 4 + 2 * 4 else number / read(tree)

    with pytest.raises(TnbenchError, match="nothing to bisect that is told from chance: the search led to") as refused:
        search(repository, commits[0], commits[-1], settles_down)
    assert commits[1][:8] in str(refused.value)


def test_a_single_launch_takes_numbers_at_their_word(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [10.0] * 3 + [20.0] * 2)
    machine = Machine(noise=0.01)
    assert search(repository, commits[0], commits[-1], machine, launches=1).commit == commits[3]
    assert machine.calls <= 2 + 2


@pytest.mark.parametrize("launches", [-1, 0, 2, 3])
def test_numbers_of_launches_that_tell_nothing_are_refused(launches: int) -> None:
    with pytest.raises(UsageError, match=f"--launches: got {launches}, wanted 4 or more, .*or 1"):
        Quantity(METRICS["step_ms"], read, launches)


def test_the_commit_of_a_branch_is_named_and_not_its_merge(tmp_path: Path) -> None:
    repository, _ = history(tmp_path, [1, 1])
    repository.git("checkout", "--quiet", "-b", "side")
    commit(repository, "side 1", other="x")
    wanted = commit(repository, "side 2", value="5")
    commit(repository, "side 3", other="y")
    repository.git("checkout", "--quiet", "main")
    good = commit(repository, "main 2", third="z")
    merge(repository, "side")
    commit(repository, "main 3", third="zz")
    assert search(repository, f"{good}~1", "HEAD").commit == wanted


def test_the_root_of_a_merged_history_is_named_though_it_has_no_parent(tmp_path: Path) -> None:
    repository, _ = history(tmp_path, [1, 1])
    repository.git("checkout", "--quiet", "--orphan", "other")
    root = commit(repository, "another beginning", value="5")
    repository.git("checkout", "--quiet", "main")
    merge(repository, "other", "--allow-unrelated-histories", "-X", "theirs")
    with pytest.raises(TnbenchError, match=f"the search led to {root[:8]} another beginning, the root of a history"):
        search(repository, "main~1", "main")


def test_when_only_skipped_commits_are_left_they_are_named(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [1, 1, BROKEN, BROKEN, 2, 2])
    traced = traces(repository)
    with pytest.raises(TnbenchError, match="only skipped commits are left") as refused:
        search(repository, commits[0], commits[-1])
    named = {line.strip() for line in str(refused.value).splitlines()[1:]}
    assert named == {f"{commits[n][:8]} commit {n}" for n in (2, 3, 4)}
    assert traces(repository) == traced


def test_an_end_that_cannot_be_measured_is_an_error_with_its_reason(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [BROKEN, 1, 2, BROKEN])
    with pytest.raises(TnbenchError, match=r"the good commit .* commit 0 gives no step_ms: .* failed: no luck$"):
        search(repository, commits[0], commits[2])
    with pytest.raises(TnbenchError, match=r"the bad commit .* commit 3 gives no step_ms: .*--metric status$"):
        search(repository, commits[1], commits[3])


def test_what_no_commit_takes_is_wrong_use_and_what_a_record_lacks_is_not_broken(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [1, 1])
    for error, kind in ((Refused("no method is named 'tuker2'"), UsageError), (Unmeasured("no step_ms"), TnbenchError)):

        def refuse(tree: Path, error: Unmeasured = error) -> float:
            raise error

        with pytest.raises(TnbenchError, match=f"commit 1 gives no step_ms: {error}$") as raised:
            search(repository, commits[0], commits[1], refuse)
        assert type(raised.value) is kind


def test_a_good_commit_that_fails_later_on_is_no_fault_of_the_others(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [10.0, 10.0, 20.0, 20.0])
    machine = Machine(noise=0.01)

    def fails_at_last(tree: Path) -> float:
        if machine.calls >= 10 and read(tree) == 10.0:
            raise Unmeasured("the case ended as timeout")
        return machine(tree)

    with pytest.raises(TnbenchError, match=r"the good commit .* commit 0 gives no step_ms: the case ended as timeout"):
        search(repository, commits[0], commits[-1], fails_at_last)


def test_an_interrupt_leaves_nothing_behind_and_a_search_of_the_users_own_alone(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [1, 1, 1, 2, 2])
    repository.git("bisect", "start", commits[-1], commits[0])
    traced, log, machine = traces(repository), repository.git("bisect", "log"), Machine()

    def interrupted(tree: Path) -> float:
        if machine.calls == 5:
            raise KeyboardInterrupt
        return machine(tree)

    assert search(repository, commits[0], commits[-1]).commit == commits[3]
    with pytest.raises(KeyboardInterrupt):
        search(repository, commits[0], commits[-1], interrupted)
    assert (traces(repository), repository.git("bisect", "log")) == (traced, log)
    assert any(trace.startswith("BISECT") for trace in traced)


def why_broken(tree: Path) -> str:
    return "failed: no luck" if (tree / "value").read_text() == BROKEN else ""


@pytest.mark.parametrize("first", range(1, 5))
def test_the_commit_that_broke_a_case_is_named(tmp_path: Path, first: int) -> None:
    repository, commits = history(tmp_path, ["fine"] * first + [BROKEN] * (5 - first))
    traced, said = traces(repository), []
    assert find_break(Ends.of(repository, "HEAD~4", "HEAD"), why_broken, said.append) == commits[first]
    assert said[0] == "from end to end: ok -> failed: no luck"
    assert traces(repository) == traced


def test_a_case_that_is_broken_at_the_good_end_or_fine_at_the_bad_one(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [BROKEN, "fine", "fine"])
    with pytest.raises(TnbenchError, match=r"broken at the good commit .* commit 0 already: failed: no luck"):
        find_break(Ends.of(repository, commits[0], commits[1]), why_broken, print)
    with pytest.raises(TnbenchError, match=r"nothing to bisect: it ends ok at the bad commit .* commit 2 too"):
        find_break(Ends.of(repository, commits[1], commits[2]), why_broken, print)


def test_ends_are_checked(tmp_path: Path) -> None:
    repository, commits = history(tmp_path, [1, 2, 3])
    assert Ends.of(repository, "HEAD~2", "main") == (repository, commits[0], commits[2])
    with pytest.raises(UsageError, match="'nowhere' names no commit"):
        Ends.of(repository, "nowhere", "HEAD")
    with pytest.raises(UsageError, match=f"--good main and --bad HEAD: both are {commits[2]}"):
        Ends.of(repository, "main", "HEAD")
    with pytest.raises(UsageError, match="--good HEAD: it is no ancestor of --bad HEAD~1; swap them"):
        Ends.of(repository, "HEAD", "HEAD~1")
    repository.git("checkout", "--quiet", "-b", "side", commits[0])
    commit(repository, "aside", value="9")
    with pytest.raises(UsageError, match=r"--good main: it is no ancestor of --bad side; .*git merge-base"):
        Ends.of(repository, "main", "side")
