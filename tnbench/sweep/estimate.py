"""How long a plan will take, from what the store knows of this machine, and how much of that is a guess."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from tnbench.store.records import Store
from tnbench.sweep.durations import Durations, Group, baseline_group, case_group
from tnbench.sweep.plan import Plan


class Estimate(NamedTuple):
    """Seconds for all that is to run, None where nothing like any of it is known, and what they are made of.

    `own` runs have a last time of their own, `alike` the median of cases that differ in method, rank or seed alone,
    and for `unknown` ones the median of all the others stands in.
    """

    seconds: float | None
    own: int
    alike: int
    unknown: int


def estimate(plan: Plan, store: Store) -> Estimate:
    """The estimate for `plan`; only wall times of the same device model count."""
    durations = Durations(store.records(), store.baselines(), plan.device_model)
    own: list[float] = []
    alike: list[float] = []
    unknown = 0
    for key, group in _runs(plan):
        last, like = durations.own(key), durations.alike(group)
        if last is not None:
            own.append(last)
        elif like is not None:
            alike.append(like)
        else:
            unknown += 1
    known = [*own, *alike]
    guess = unknown * median(known) if known else 0.0
    return Estimate(sum(known) + guess if known or not unknown else None, len(own), len(alike), unknown)


def _runs(plan: Plan) -> Iterator[tuple[str, Group]]:
    """Every baseline to train, and every case as often as it is to run."""
    for node in plan.baselines:
        yield node.key, baseline_group(node.job)
    for entry in plan.entries:
        if entry.job is not None:
            yield from [(entry.key, case_group(entry.job))] * entry.launches
