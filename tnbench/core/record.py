"""A record: what one run of one case gave. Flat, plain JSON, with a schema number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tnbench.core.errors import TnbenchError, UsageError, unknown
from tnbench.core.settings import completed

SCHEMA = 1

STATUSES = ("ok", "skipped", "failed", "timeout", "oom", "diverged", "crashed", "interrupted")
BAD_STATUSES = ("failed", "timeout", "oom", "diverged", "crashed")


@dataclass(frozen=True)
class Record:
    """One line of the store.

    `metrics` are numbers named in `tnbench.core.metrics`; what does not apply is absent, never invented.
    `samples` are raw lists: ``forward_ms``, ``throughput``, ``epoch_s``, ``loss`` (mean per epoch) and ``step_ms``
    (one list per rank). `layers` holds one plain dict per layer: name, kind, shape, ranks, params_dense, params,
    stored, error, note, norm, compressed and diagnosis (what was found out about the layer alone). `notes` are
    sentences a reader must know, such as how BatchNorm behaved under several ranks.
    """

    case: str
    key: str
    status: str
    reason: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    samples: dict[str, list[Any]] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise UsageError(f"record: {unknown('status', self.status, STATUSES)}")

    def as_json(self) -> dict[str, Any]:
        """The record as JSON types."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Read a record of this or an older schema. Raises TnbenchError for a newer one, by name."""
        schema = int(data.get("schema", 0))
        if schema > SCHEMA:
            raise TnbenchError(
                f"record of {data.get('case')!r}: got schema {schema}, this tnbench reads up to {SCHEMA}; "
                f"a newer tnbench wrote it, so update tnbench to read it"
            )
        known = {f.name for f in dataclasses.fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        if values.get("settings"):
            values["settings"] = completed(values["settings"])
        return cls(**values)
