"""asv's machines: what has to be equal for numbers to lie on one line of its site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from tnbench.core.record import Record
from tnbench.reporting.context import is_gpu

Facts = dict[str, str]

_DEMANDED = ("machine", "os", "arch", "cpu", "num_cpu", "ram")
"""What asv has of every machine; empty where a record does not say."""


class Machine(NamedTuple):
    """A host with one device, one torch and one driver. Its name serves as a folder; every fact selects on the site."""

    name: str
    facts: Facts


def machine_of(record: Record) -> Machine | None:
    """Where a record was measured, or None where it does not name a host."""
    known = record.provenance
    identity, versions = known.get("identity") or {}, known.get("versions") or {}
    host, cpu = _text(known.get("host")), _text(known.get("cpu"))
    if not host:
        return None
    on_gpu = is_gpu(record.settings)
    device = _text(identity.get("device_model")) or (_text(known.get("gpu")) if on_gpu else cpu)
    torch = _text(identity.get("torch")) or _text(versions.get("torch"))
    driver = _text(known.get("driver")) if on_gpu else ""
    name = _name(host, device, torch and f"torch{torch}", driver and f"driver{driver}")
    facts = {"machine": name, "os": _text(known.get("os")), "cpu": cpu, "num_cpu": _text(known.get("cores"))}
    further = {"gpu": device, "driver": driver, "cuda": _text(known.get("cuda"))} if on_gpu else {}
    return Machine(name, completed({**facts, "torch": torch, **further}))


def completed(facts: Mapping[str, str], later: Mapping[str, str] | None = None) -> Facts:
    """Facts with those known `later` in their places, asv's own all there, and no further one that is empty."""
    known = {**facts, **{name: value for name, value in (later or {}).items() if value}}
    further = {name: value for name, value in known.items() if value and name not in _DEMANDED}
    return {name: known.get(name, "") for name in _DEMANDED} | further


def _name(*parts: str) -> str:
    """Each in the characters that folders, addresses and shells leave alone."""
    return "-".join(filter(None, (re.sub(r"[^A-Za-z0-9.+-]+", "_", part).strip("_.") for part in parts)))


def _text(value: object) -> str:
    return "" if value is None else str(value)
