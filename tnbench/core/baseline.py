"""A baseline: the dense network that compressed cases start from, trained by tnbench or imported."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Baseline:
    """One line of the store beside the records.

    `digest` is the SHA-256 of its checkpoint file. A trained baseline serves the cases whose baseline key equals
    `key` and whose data digest and plug-in versions agree; an imported one (`seed` None, `key` empty) serves every
    seed and setting of its model and dataset, and brings the normalisation that its pictures need.
    """

    model: str
    dataset: str
    seed: int | None
    key: str
    digest: str
    origin: str
    data_digest: str
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    normalisation: dict[str, list[float]] | None = None
    source: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The baseline as JSON types."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Baseline:
        """Read what `as_json` wrote."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})

    @property
    def identity(self) -> str:
        """What tells an import from another: its weights' digest, and eight digits of its normalisation's."""
        normalisation = json.dumps(self.normalisation, sort_keys=True).encode()
        return f"{self.digest}/{hashlib.sha256(normalisation).hexdigest()[:8]}"

    @property
    def imported(self) -> bool:
        return self.origin == "imported"
