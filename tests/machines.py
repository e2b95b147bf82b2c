"""Two made-up machines, and records as they would leave them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from launch_records import launch

from tnbench.core.record import Record

SYSTEM = {"os": "Linux-6.1.0-x86_64-with-glibc2.36", "python": "3.12.1", "cpu": "Ordinary CPU @ 2.0GHz", "cores": 4}
GPU = {"gpu": "NVIDIA H200", "cuda": "12.6", "driver": "550.54.15"}

DESK = "desk-Ordinary_CPU_2.0GHz-torch2.15.0"
NODE = "node7-NVIDIA_H200-torch2.15.0-driver550.54.15"


def on_desk(*args: Any, **more: Any) -> Record:
    """`launch`, as the machine DESK leaves it, which has no GPU."""
    return _at(launch(*args, **more), "Ordinary CPU @ 2.0GHz", {"host": "desk", **SYSTEM})


def on_node(*args: Any, **more: Any) -> Record:
    """`launch`, as the machine NODE leaves it; a case that ended badly does not know what torch says of the GPU."""
    settings = {"device": "cuda", **more.pop("settings", {})}
    record = launch(*args, settings=settings, **more)
    known = GPU if record.status == "ok" else {"driver": GPU["driver"]}
    return _at(record, "NVIDIA H200", {"host": "node7", **SYSTEM, **known})


def changed(record: Record, **facts: Any) -> Record:
    """The record with other facts in its provenance."""
    return replace(record, provenance={**record.provenance, **facts})


def _at(record: Record, device_model: str, facts: dict[str, Any]) -> Record:
    identity = {**record.provenance["identity"], "device_model": device_model}
    return changed(record, identity=identity, **facts)
