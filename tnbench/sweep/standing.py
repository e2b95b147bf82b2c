"""Whether an earlier record stands for a case, and in words why it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

from tnbench.core.record import Record
from tnbench.core.settings import Limits
from tnbench.store.succession import supersedes
from tnbench.sweep.identity import Identity, changed_sources, differences


@dataclass(frozen=True)
class Wanted:
    """A case as it would be run now."""

    key: str
    settings: Mapping[str, Any]
    identity: Identity
    limits: Limits
    fresh: bool = False
    rerun: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """The record that stands, or None, and why."""

    record: Record | None
    why: str


def alike(earlier: Sequence[Record], wanted: Wanted) -> list[Record]:
    """Those of the earlier records of one case that are of what is wanted: same settings, data, plug-ins, machine."""
    return [record for record in earlier if not _disagreements(record, wanted)]


def judge(earlier: Sequence[Record], wanted: Wanted) -> Verdict:
    """Look through the earlier records of one case, oldest first, for one that stands.

    Of several it is the newest, but neither a bad end nor an interrupted run hides a good record.
    """
    if wanted.fresh:
        return Verdict(None, "--fresh runs everything again")
    same = alike(earlier, wanted)
    if not same:
        return Verdict(None, _why_none(earlier, wanted))
    counting = reduce(lambda old, new: new if supersedes(new, old) else old, same)
    if counting.status == "interrupted":
        return Verdict(None, "the last run was interrupted")
    return _judge_finished(counting, wanted)


def _judge_finished(record: Record, wanted: Wanted) -> Verdict:
    if record.status in wanted.rerun:
        return Verdict(None, f"--rerun {record.status}: {record.reason}".removesuffix(": "))
    limit = float(record.limits.get("timeout_s", 0))
    if record.status == "timeout" and limit < wanted.limits.timeout_s:
        return Verdict(None, f"it was ended at {limit:g} s; the limit is {wanted.limits.timeout_s:g} s now")
    reason = f"{record.status}: {record.reason}".removesuffix(": ")
    changed = changed_sources(_identity(record), wanted.identity)
    if changed and record.status in ("failed", "crashed"):
        return Verdict(None, f"{reason}; the source of plug-in {', '.join(changed)} changed since")
    notes = [f"the source of plug-in {name} changed since, its version did not" for name in changed]
    return Verdict(record, "; ".join([reason, *notes]))


def _why_none(earlier: Sequence[Record], wanted: Wanted) -> str:
    """The differences from the record that differs least; of those that differ equally, from the newest."""
    if not earlier:
        return "no record yet"
    least = min([_disagreements(record, wanted) for record in reversed(earlier)], key=len)
    return ", ".join(least)


def _disagreements(record: Record, wanted: Wanted) -> list[str]:
    """One phrase for each difference; none if the record is of what is wanted."""
    elsewhere = differences(_identity(record), wanted.identity)
    if record.key == wanted.key:
        return elsewhere
    changed = [
        f"{name} {record.settings.get(name)} → {value}"
        for name, value in wanted.settings.items()
        if record.settings.get(name) != value
    ]
    if changed:
        changed[0] = f"settings differ: {changed[0]}"
    then, now = _identity(record).get("baseline"), wanted.identity["baseline"]
    if then != now:
        changed.append(f"the baseline differs: {_baseline(then)} → {_baseline(now)}")
    return [*(changed or ["its key differs"]), *elsewhere]


def _baseline(identity: str | None) -> str:
    if identity is None:
        return "trained by tnbench"
    digest, _, normalisation = identity.partition("/")
    return f"imported {digest[:8]} with normalisation {normalisation}"


def _identity(record: Record) -> Mapping[str, Any]:
    return record.provenance.get("identity") or {}
