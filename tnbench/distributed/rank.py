"""What runs in a launched process: it joins the group, calls the entry, and leaves a result or an error in a folder.

Entry, results and errors travel through files, so their size is limited by the disk and not by shared memory, and
an error reaches the caller as the exception that it was.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tnbench.core.protocols import Crew, RankEntry
from tnbench.core.registry import KINDS, Registry
from tnbench.distributed.collectives import TIMEOUT, barrier
from tnbench.distributed.crew import unchanged

_GRACE_S = 1.0


@dataclass(frozen=True)
class Assignment:
    """What every rank is told, and the files by which they and the launcher exchange things."""

    folder: Path
    backend: str
    device: str
    threads: int
    plugin_files: tuple[Path, ...]
    launcher: int
    """The launching process's id."""

    @property
    def entry(self) -> Path:
        return self.folder / "entry"

    @property
    def group(self) -> Path:
        return self.folder / "group"

    def result(self, rank: int) -> Path:
        return self.folder / f"result-{rank}"

    def error(self, rank: int) -> Path:
        return self.folder / f"error-{rank}"


def run_rank(assignment: Assignment) -> None:
    """Be one rank, from the first line of the process to its last."""
    # From here on a launcher that dies sends SIGINT; Python's own handler would wait for a collective that never ends.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getppid() != assignment.launcher:
        sys.exit("the launcher is gone")
    torch.set_num_threads(assignment.threads)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        put(assignment.result(rank), _work(assignment, rank, world))
    except Exception as error:
        story = f"rank {rank} of {world} raised:\n{traceback.format_exc()}"
        print(story, file=sys.stderr, flush=True)
        error.add_note(story)
        put(assignment.error(rank), (time.time_ns(), _portable(error)))
        # When another rank was killed, this error is an echo: the launcher must find the dead one first.
        time.sleep(_GRACE_S)
        sys.exit(1)


def put(file: Path, value: Any) -> None:
    """Write `value` so that whoever sees `file` sees all of it."""
    part = file.with_suffix(".part")
    torch.save(value, part)
    part.rename(file)


def take(file: Path) -> Any:
    """Read what `put` wrote, tensors on the CPU. The file is this launch's own, so any class may be in it."""
    return torch.load(file, map_location="cpu", weights_only=False)


def _work(assignment: Assignment, rank: int, world: int) -> Any:
    device = _device_of(assignment.device, rank)
    dist.init_process_group(
        assignment.backend,
        init_method=f"file://{assignment.group}",
        rank=rank,
        world_size=world,
        timeout=TIMEOUT,
        device_id=device if device.type == "cuda" else None,
    )
    entry = _entry(assignment, rank)
    result = entry(Crew(rank, world, device, torch.get_num_threads(), unchanged, barrier))
    barrier()
    dist.destroy_process_group()
    return result


def _entry(assignment: Assignment, rank: int) -> RankEntry:
    """Read the entry, whose file goes at once: it has the pictures in it, and a killed launcher clears nothing away."""
    _load_given_plugins(assignment.plugin_files)
    entry: RankEntry = take(assignment.entry)
    barrier()
    if rank == 0:
        assignment.entry.unlink()
    return entry


def _load_given_plugins(files: tuple[Path, ...]) -> None:
    """Import the plug-ins of `files` under their registered names, so that the entry's classes are found."""
    registry = Registry(files)
    for kind in KINDS:
        given = registry.given(kind)
        for listing in registry.listings(kind):
            if listing.name in given:
                registry.load(listing)


def _device_of(text: str, rank: int) -> torch.device:
    """``cpu`` for all; GPUs are counted from the one that is named: rank 1 of ``cuda:1`` has ``cuda:2``."""
    named = torch.device(text)
    if named.type != "cuda":
        return named
    device = torch.device("cuda", (named.index or 0) + rank)
    torch.cuda.set_device(device)
    return device


def _portable(error: Exception) -> Exception:
    """`error` itself if it survives pickling, else a RuntimeError with its name, text and notes."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.__notes__ = error.__notes__
        return plain
    return error
