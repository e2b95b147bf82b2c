"""How many processes are to decode pictures, as whoever runs tnbench asks for in the environment."""

from __future__ import annotations

import os

from tnbench.core.errors import UsageError

WORKERS_VARIABLE = "TNBENCH_WORKERS"
"""How many processes decode pictures. It changes nothing but the time, so it is no setting and in no key."""


def workers_asked() -> int | None:
    """The number asked for, None where nobody asks. Raises UsageError where it is none."""
    asked = os.environ.get(WORKERS_VARIABLE)
    if asked is None:
        return None
    if not (asked.isascii() and asked.isdecimal()):
        raise UsageError(f"{WORKERS_VARIABLE}: got {asked!r}, wanted a whole number of processes, or 0 for none")
    return int(asked)
