"""``tnbench bisect``: find the commit that changed a metric, or broke a case, by running the case at commits."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tnbench.cli.options import DATA_ROOT, DataRoot, Plugins, Tuned
from tnbench.cli.request import overrides
from tnbench.cli.taking import taking
from tnbench.cli.terminal import stdout
from tnbench.core.case import Case
from tnbench.core.errors import UsageError, unknown
from tnbench.core.metrics import METRICS, Metric
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings, changed_limits

if TYPE_CHECKING:
    from tnbench.history.bisect.at_commit import Trial
    from tnbench.history.bisect.search import Ends, Say

STATUS = "status"
"""Said instead of a metric: whether the case ends ok."""

_OF_BASELINE = ("baseline_s", "end_to_end_s")
"""They time the baseline's training too, which is therefore repeated with every launch."""


@taking(Tuned)
def bisect(
    tuned: Tuned,
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case id; seed 0 where it names none.")],
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="A recorded metric; or status, to find what broke the case.")
    ],
    good: Annotated[str, typer.Option(metavar="COMMIT", help="An earlier commit, without the change.")],
    bad: Annotated[str, typer.Option(metavar="COMMIT", help="A later commit, with the change.")] = "HEAD",
    launches: Annotated[
        int, typer.Option(help="Launches of a commit where numbers vary: 4 or more, or 1 to take them at their word.")
    ] = 4,
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Run under this suite's settings and limits, as they are now."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the records and logs in this new folder.")
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    plugin: Plugins = None,
) -> None:
    """Find the commit that changed a metric of a case, for better or worse. Run it inside a clone; that stays as it is.

    Exit code: 0 found, 1 nothing to bisect or nothing that can be named, 2 wrong use, 130 interrupted.
    """
    from tnbench.history.bisect.at_commit import Trial, scratch
    from tnbench.history.bisect.search import Ends
    from tnbench.history.commits import Repository
    from tnbench.sweep.command import option

    known, parsed, files = _metric(metric), _case(case), tuple(file.resolve() for file in plugin or ())
    settings, options = _how(tuned, suite, files)
    ends, out = Ends.of(Repository.around(Path.cwd()), good, bad), stdout()
    with scratch(keep) as folder:
        places, fresh = (data_root.resolve(), files, folder, keep), metric in _OF_BASELINE
        trial = Trial(ends.repository, parsed, settings, options, *places, fresh)
        trial.check(ends.good, ends.bad)
        commit, what = _find(ends, trial, known, launches, lambda line: out.print(line, soft_wrap=True))
    root = option("data_root", data_root) if data_root != DATA_ROOT else []
    more = [*options, *root, *(word for file in files for word in option("plugin", file))]
    near = ["--good", f"{commit[:12]}^", "--bad", commit[:12], "--launches", str(launches)]
    again = shlex.join(["tnbench", "bisect", parsed.id, "--metric", metric, *near, *more])
    described = ends.repository.description(commit)
    out.print(f"\n{what}\n\n{described}\n\ncompare it with its parent again:\n{again}", soft_wrap=True)


def _find(ends: Ends, trial: Trial, metric: Metric | None, launches: int, say: Say) -> tuple[str, str]:
    """The commit, and what it did."""
    from tnbench.history.bisect.find import Quantity, find_break, find_change, in_words

    good, bad = (ends.repository.in_short(commit) for commit in (ends.good, ends.bad))
    quantity = None if metric is None else Quantity(metric, lambda tree: trial.number(tree, metric.name), launches)
    say(f"good  {good}\nbad   {bad}")
    if quantity is None:
        return find_break(ends, trial.why_broken, say), "the first commit at which the case does not end ok:"
    found = find_change(ends, quantity, say)
    return found.commit, f"the first commit that changed it: {in_words(found.launches, quantity.metric)}"


def _case(text: str) -> Case:
    """Raises UsageError also for a case that no code would run."""
    from tnbench.sweep.names import why_meaningless

    case = Case.parse(text)
    if reason := why_meaningless(case):
        raise UsageError(reason)
    return case


def _metric(name: str) -> Metric | None:
    """The recorded metric of that name; None for the status. Raises UsageError for any other."""
    if name == STATUS:
        return None
    recorded = [metric.name for metric in METRICS.values() if not metric.derived]
    if name not in METRICS:
        raise UsageError(f"--metric: {unknown('metric', name, [STATUS, *recorded])}")
    if METRICS[name].derived:
        raise UsageError(
            f"--metric: {name} is computed from records and never in one; bisect what it is computed from: "
            f"{', '.join(METRICS[name].sources)}"
        )
    return METRICS[name]


def _how(tuned: Tuned, suite: str | None, plugins: tuple[Path, ...]) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and the options of ``tnbench run`` that bring them and the limits about at any commit.

    What was given is handed on even where it is the default, which another commit may have otherwise.
    """
    from tnbench.sweep.command import limits_given, option
    from tnbench.sweep.suite import load_suite

    settings, limits = Settings(), Limits()
    if suite is not None:
        loaded = load_suite(suite, Registry(plugins))
        settings, limits = loaded.settings, loaded.limits
    settings = settings.changed(overrides(tuned))
    limits = changed_limits(limits, tuned.timeout, tuned.checkpoint_every)
    changed = {f.name: getattr(settings, f.name) for f in dataclasses.fields(Settings)}
    pinned = {name: value for name, value in changed.items() if value != getattr(Settings, name)} | overrides(tuned)
    pinned |= limits_given(limits)
    return settings, tuple(word for name, value in pinned.items() for word in option(name, value))
