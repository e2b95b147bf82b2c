"""A machine of round numbers, by which predictions are worked out by hand."""

from __future__ import annotations

from typing import Any

from tnbench.distributed.machine import LAYERS, Link, Machine, Rate

GAMMA, BACKWARD = 1e-9, 2e-9
"""Seconds per FLOP forward and backward, whatever the layer."""


def machine(**changes: Any) -> Machine:
    """α = 1 ms, β = 1 µs, δ = 10 ns, 1 µs an operation; two ranks of one thread."""
    fields: dict[str, Any] = {
        "name": "synthetic",
        "ranks": 2,
        "threads": 1,
        "link": Link(1e-3, 1e-6),
        "rates": tuple(Rate(kind, 16, 1, 1, GAMMA, BACKWARD) for kind in LAYERS),
        "delta_s": 1e-8,
        "launch_s": 1e-6,
    }
    return Machine(**fields | changes)
