"""The worker's side of the local executor: one call after the other until its parent hangs up, or dies."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from tnbench.sweep.executors.family import end_family, found_family
from tnbench.sweep.executors.logs import captured
from tnbench.sweep.executors.result import Result, outcome_of

TAKEN = b"taken"
"""Says that a call has reached the worker: if that dies before, the call did not kill it."""


def serve(calls: Connection) -> None:
    """Take pickled calls with their logs from `calls`; send back `TAKEN` at once, then one pickled Result."""
    found_family()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    faulthandler.enable()
    while True:
        try:
            call, log = calls.recv()
        except EOFError:
            return
        calls.send_bytes(TAKEN)
        calls.send_bytes(_run(call, log))


def _run(call: bytes, log: Path) -> bytes:
    """The call is unpickled here, so that what fails on the way goes to the log and becomes a Result as well."""
    with captured(log):
        result = outcome_of(lambda: pickle.loads(call)())
        sent = outcome_of(lambda: pickle.dumps(result))
        return sent.value if sent.status == "ok" else pickle.dumps(Result("failed", sent.reason))


def _end_with_parent() -> None:
    """A parent killed outright cannot end its worker, so the worker watches for that."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        end_family(os.getpid())
