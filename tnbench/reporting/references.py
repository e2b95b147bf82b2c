"""The records that another one is compared with: its dense twin, one core, one process on the same cores."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.reporting.context import Context, context_of, is_gpu

Entry = tuple[Record, Case]


def oversubscribed(record: Record) -> bool:
    """Whether the record was measured with more threads than cores, so that it is no evidence of speed."""
    return bool(record.provenance.get("oversubscribed"))


def used_cores(record: Record) -> int | None:
    """Cores that a case's training used (processes times threads); on a GPU the number of GPUs."""
    processes, threads = record.metrics.get("processes"), record.metrics.get("threads")
    if processes is None:
        return None
    if is_gpu(record.settings):
        return int(processes)
    return None if threads is None else int(processes * threads)


def is_weak(record: Record) -> bool:
    """Whether the batch of the case grows with its ranks, so that times at different counts are of different work."""
    return bool(record.settings.get("batch_per_rank"))


class References:
    """Finds what to compare with; of several records of one case in one context the last one counts."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._dense: dict[tuple[Context, int], Record] = {}
        self._dense_in_any_training: dict[tuple[Context, int], Record] = {}
        self._spread: dict[tuple[Context, str, str, int, str], Record] = {}
        for record, case in entries:
            if record.status == "ok":
                self._add(record, case)

    def _add(self, record: Record, case: Case) -> None:
        context = context_of(record, case)
        if case.method == "dense":
            self._dense[context, case.seed] = record
            self._dense_in_any_training[context.regardless_of("training"), case.seed] = record
        if not oversubscribed(record):
            self._spread[self._spread_key(context, case, case.parallel)] = record

    def dense(self, record: Record, case: Case) -> Record | None:
        """The dense case with the same extra training: what an accuracy drop refers to."""
        return self._dense.get((context_of(record, case), case.seed))

    def dense_forward(self, record: Record, case: Case) -> Record | None:
        """The dense network's forward pass, which depends on no training; the same training's where there is one."""
        loose = context_of(record, case).regardless_of("training"), case.seed
        found = self.dense(record, case) or self._dense_in_any_training.get(loose)
        return None if found is None or oversubscribed(found) else found

    def dense_step(self, record: Record, case: Case) -> Record | None:
        """The dense network's training step, spread the same way, in the same training."""
        found = self.dense(record, case)
        return None if found is None or oversubscribed(found) else found

    def one_core(self, record: Record, case: Case) -> Record | None:
        """The same case on one core (``threads:1``) or, on a GPU, in one process (``single``)."""
        return self._same_case(record, case, base_parallel(record))

    def same_cores(self, record: Record, case: Case) -> Record | None:
        """The same case in one process on as many cores, for a case of several processes on a CPU."""
        cores = used_cores(record)
        if cores is None or is_gpu(record.settings) or record.metrics["processes"] < 2:
            return None
        return self._same_case(record, case, f"threads:{cores}")

    def _same_case(self, record: Record, case: Case, parallel: str) -> Record | None:
        return self._spread.get(self._spread_key(context_of(record, case), case, parallel))

    @staticmethod
    def _spread_key(context: Context, case: Case, parallel: str) -> tuple[Context, str, str, int, str]:
        return context.regardless_of("parallel"), case.method, case.rank, case.seed, parallel


def base_parallel(record: Record) -> str:
    """The parallel axis of the case that speedups refer to."""
    return "single" if is_gpu(record.settings) else "threads:1"
