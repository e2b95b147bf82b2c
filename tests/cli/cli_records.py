"""Records without running anything."""

from __future__ import annotations

from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.core.settings import Settings, record_key


def a_record(case: str, status: str = "ok", reason: str = "", **metrics: float) -> Record:
    settings = Settings(device="cpu")
    return Record(
        Case.parse(case).id,
        record_key(Case.parse(case), settings),
        status,
        reason,
        metrics=metrics,
        settings=settings.as_json(),
        limits={"timeout_s": 60.0},
        provenance={
            "command": f"tnbench run --case '{case}'",
            "log": "logs/a.log",
            "wall_s": 1.04,
            "versions": {"torch": "2.15"},
        },
    )
