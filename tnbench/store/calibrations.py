"""Calibrations of machines for the cost model: JSON files in the folder `calibrations` of the results.

Each calibration is a file of its own, named by when it was taken, and none is ever rewritten; the newest counts, one of
an idle machine before any of a busy one.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from tnbench.core.errors import TnbenchError
from tnbench.distributed.machine import Machine

COMMAND = "tnbench calibrate"
BUSY = 0.5
"""Load before the measurement, per core, above which the numbers are not the machine's own."""


def save_calibration(results: Path, machine: Machine) -> Path:
    """Write a calibration durably and return its path; the file appears under its name only when it is whole."""
    folder = _folder(results)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = re.sub(r"[^0-9T.]", "", machine.measured["started"].partition("+")[0])
    path = folder / f"{stamp}-{os.getpid()}.json"
    handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(machine.to_json(), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    return path


def calibrations(results: Path) -> list[Machine]:
    """All that are there, oldest first. Raises TnbenchError for a file that is none."""
    return sorted(map(_read, sorted(_folder(results).glob("*.json"))), key=lambda machine: machine.measured["started"])


def calibration_of(results: Path, *, cpu: str, torch: str, ranks: int | None = None) -> Machine | None:
    """The newest calibration of processor `cpu` with `torch`'s version; one over `ranks` ranks before any other.

    One that was taken while the machine was busy counts only where there is no other. None where there is none: what
    was measured on another processor or with another torch says nothing here.
    """
    own = [m for m in calibrations(results) if (m.measured.get("cpu"), m.measured.get("torch")) == (cpu, torch)]
    return max(own, key=lambda m: (not busy(m), m.ranks == ranks, m.measured["started"]), default=None)


def busy(machine: Machine) -> str:
    """How busy the machine was before it was measured, where that was too much; else empty."""
    load, cores = machine.measured.get("load", 0.0), machine.measured.get("cores", 1)
    return f"load {load:.1f} on {cores} cores" if load > BUSY * cores else ""


def _folder(results: Path) -> Path:
    return results / "calibrations"


def _read(path: Path) -> Machine:
    try:
        machine = Machine.from_json(json.loads(path.read_text(encoding="utf-8")))
        if not isinstance(machine.measured.get("started"), str):
            raise ValueError("it does not say when it was measured")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise TnbenchError(
            f"calibration {path}: {what}; wanted what '{COMMAND}' writes; move the file away, or remove it and run that"
        ) from None
    return machine
