"""How long cases take, learnt from those that ended on this machine: to plan, for the time left, and for --max-time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.job import Job
from tnbench.core.record import Record
from tnbench.core.settings import digest_of

Group = tuple[str, ...]


def case_group(job: Job) -> Group:
    """What cases that take about equally long have in common: all but method, rank and seed."""
    return _group(job.case, digest_of(job.settings.as_json()))


def baseline_group(job: Job) -> Group:
    """What baselines that take about equally long have in common: all but the seed."""
    return ("baseline", job.case.model, job.case.dataset, digest_of(job.settings.of_baseline()))


class Durations:
    """Seconds of wall time by key and by group, and those of this run.

    What was run on another device than `device_model` does not count, where either says which, and neither does what
    went on from where an earlier run was killed, whose time is that of its end alone.
    """

    def __init__(
        self, records: Iterable[Record], baselines: Iterable[Baseline], device_model: str | None = None
    ) -> None:
        self._by_key: dict[str, float] = {}
        self._by_group: dict[Group, list[float]] = defaultdict(list)
        self._now: list[float] = []
        for record in records:
            if record.status == "ok" and _counts(record.provenance, device_model):
                group = _group(Case.parse(record.case), digest_of(record.settings))
                self._keep(record.key, group, record.provenance["wall_s"])
        for baseline in baselines:
            if _counts(baseline.provenance, device_model):
                group = ("baseline", baseline.model, baseline.dataset, digest_of(baseline.settings))
                self._keep(baseline.key, group, baseline.provenance["wall_s"])

    def add(self, key: str, group: Group, ended: Record | Baseline, seconds: float) -> None:
        """Learn from one that has just ended well."""
        if not ended.provenance.get("resumed"):
            self._keep(key, group, seconds)
            self._now.append(seconds)

    def expected(self, key: str, group: Group) -> float | None:
        """What it took the last time, else the longest of its group; None where nothing is known."""
        if key in self._by_key:
            return self._by_key[key]
        return max(self._by_group[group]) if group in self._by_group else None

    def own(self, key: str) -> float | None:
        """What it took the last time."""
        return self._by_key.get(key)

    def alike(self, group: Group) -> float | None:
        """The median of its group."""
        return median(self._by_group[group]) if group in self._by_group else None

    def left(self, number: int) -> float | None:
        """Seconds that `number` more will take, by the median of this run's; None before the first has ended."""
        return median(self._now) * number if self._now else None

    def _keep(self, key: str, group: Group, seconds: float) -> None:
        self._by_key[key] = seconds
        self._by_group[group].append(seconds)


def _counts(provenance: Mapping[str, Any], device_model: str | None) -> bool:
    identity = provenance.get("identity") or {}
    there = identity.get("device_model") or provenance.get("gpu") or provenance.get("cpu")
    whole = "wall_s" in provenance and not provenance.get("resumed")
    return whole and (None in (there, device_model) or there == device_model)


def _group(case: Case, settings: str) -> Group:
    return (case.model, case.dataset, case.training, case.parallel, settings)
