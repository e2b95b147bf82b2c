"""Which baseline serves a case: an imported one, a stored one, or a node of the plan that will train it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.errors import PluginError, UsageError
from tnbench.core.job import Job
from tnbench.core.registry import Registry
from tnbench.core.settings import baseline_key
from tnbench.store.checkpoints import checkpoint_path
from tnbench.store.records import Store
from tnbench.sweep.identity import Facts
from tnbench.sweep.names import DENSE, FULL, SINGLE


@dataclass(frozen=True)
class BaselineNode:
    """A dense network to train before the cases that start from it."""

    key: str
    why: str
    job: Job
    versions: Mapping[str, int]
    data_digest: str | None

    @property
    def label(self) -> str:
        """What progress shows."""
        return f"baseline {self.job.case.model} on {self.job.case.dataset}#{self.job.case.seed}"

    def why_stale(self, stored: Baseline) -> str:
        """Why a stored baseline with the node's key does not do instead; empty if it does."""
        if stored.data_digest != self.data_digest:
            return f"the data's digest differs: {stored.data_digest} → {self.data_digest}"
        if stored.versions != self.versions:
            return f"plug-in versions differ: {stored.versions} → {self.versions}"
        path = checkpoint_path(self.job.results, stored.digest)
        return "" if path.is_file() else f"its checkpoint {path} is gone"


class Baselines:
    """The stored baselines, and `nodes`: those to train, by key, gathered while cases ask."""

    def __init__(self, store: Store, registry: Registry, facts: Facts, results: Path, *, fresh: bool) -> None:
        self.nodes: dict[str, BaselineNode] = {}
        self._registry, self._facts, self._results, self._fresh = registry, facts, results, fresh
        self._imported = store.imports()
        self._trained = {baseline.key: baseline for baseline in store.baselines() if not baseline.imported}
        self._needed: dict[str, bool] = {}

    def imported(self, case: Case) -> Baseline | None:
        """The newest import of the case's model and dataset, if the case's training starts from a baseline."""
        return self._imported.get((case.model, case.dataset)) if self.needed(case) else None

    def needed(self, case: Case) -> bool:
        """Whether the case's training starts from a baseline. A broken plug-in needs none: its cases fail anyway."""
        if case.training not in self._needed:
            try:
                trainings = [self._registry.bind("training", atom) for atom in case.atoms("training")]
                needs = [bound.module.needs_baseline(bound.options) for bound in trainings]
                self._needed[case.training] = any(needs)
            except PluginError:
                self._needed[case.training] = False
        return self._needed[case.training]

    def serve(self, case: Case, job: Job) -> tuple[Baseline | None, str]:
        """The baseline that `case` starts from, or None and the key of the node that will train it (empty: none)."""
        imported = self.imported(case)
        if imported is not None:
            return self._checked(imported), ""
        if not self.needed(case):
            return None, ""
        key = baseline_key(case.model, case.dataset, case.seed, job.settings)
        versions = self._facts.versions(case, ("model", "dataset"))
        digest = self._facts.data_digest(case.dataset)
        node = BaselineNode(key, "no stored baseline yet", _dense_job(case, key, job), versions, digest)
        stored = self._trained.get(key)
        if stored is not None:
            why = "--fresh runs everything again" if self._fresh else node.why_stale(stored)
            if not why:
                return stored, ""
            node = dataclasses.replace(node, why=why)
        self.nodes.setdefault(key, node)
        return None, key

    def _checked(self, imported: Baseline) -> Baseline:
        path = checkpoint_path(self._results, imported.digest)
        if not path.is_file():
            raise UsageError(
                f"the imported baseline of {imported.model} on {imported.dataset} has lost its checkpoint {path}; "
                f"import it again: tnbench baseline import FILE --model {imported.model} --dataset {imported.dataset}"
            )
        return imported


def _dense_job(case: Case, key: str, job: Job) -> Job:
    dense = Case(DENSE, FULL, case.model, case.dataset, "scratch", SINGLE, case.seed)
    return dataclasses.replace(job, case=dense, key=key, baseline=None, attempt=1)
