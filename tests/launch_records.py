"""Launches of cases at commits, without running anything; for tests of the history and of its verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.core.settings import Settings, record_key
from tnbench.store.records import Line, Store

TUCKER = "tucker2/x4/resnet20/cifar10/finetune/single#0"
CP = "cp/x4/resnet20/cifar10/finetune/single#0"
OLD, NEW = "a" * 40, "b" * 40


def launch(
    case: str = TUCKER,
    *,
    commit: str | None = OLD,
    dirty: bool = False,
    status: str = "ok",
    reason: str = "",
    torch: str = "2.15.0",
    settings: dict[str, Any] | None = None,
    **metrics: float,
) -> Record:
    """One record, as a run by the code of `commit` would have left it."""
    parsed, chosen = Case.parse(case), Settings(device="cpu").changed(settings or {})
    plugins = {axis: {"name": axis, "version": 1} for axis in ("model", "dataset", "training", "parallel")}
    return Record(
        parsed.id,
        record_key(parsed, chosen),
        status,
        reason,
        metrics=metrics,
        samples={"step_ms": [[1.0, 2.0, 3.0]]} if status == "ok" else {},
        settings=chosen.as_json(),
        provenance={
            "versions": {"tnbench": "0.1.0", "torch": torch},
            "git_commit": commit,
            "git_dirty": dirty,
            "identity": {"data": "d1g1t5", "plugins": plugins, "device_model": "Ordinary CPU", "torch": torch},
        },
    )


def each(values: Sequence[float], case: str = TUCKER, metric: str = "step_ms", **more: Any) -> list[Record]:
    """One launch for each value of a metric."""
    return [launch(case, **{metric: value}, **more) for value in values]


def lines(records: Sequence[Record]) -> list[Line]:
    """The records as lines of a store, in their order."""
    return [Line("record", f"id{id(records)}-{index}", f"{index:06}", record) for index, record in enumerate(records)]


def keep(store: Store, records: Sequence[Record]) -> None:
    """Append them all."""
    for record in records:
        store.append(record)
