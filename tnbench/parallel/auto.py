"""The parallel way with the shortest predicted step, for the network as a whole or layer by layer.

The cost model (`tnbench.distributed.predict`) goes by this machine's newest calibration, which `tnbench calibrate`
takes. What was chosen, and what was predicted of all ways, stands in the record's notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tnbench.core.folders import results_folder
from tnbench.core.grammar import parse_part
from tnbench.core.protocols import Crew, Payload, RankEntry, Task
from tnbench.core.registry import Registry
from tnbench.distributed.collectives import Group
from tnbench.distributed.machine import Machine
from tnbench.distributed.mixed_cuts import Cuts, shard_mixed
from tnbench.distributed.predict.calibrated import CALIBRATED, uncalibrated
from tnbench.distributed.predict.choice import LAYERS, Asked, Choice, choose
from tnbench.distributed.predict.step import WHOLE
from tnbench.distributed.sharding.crew import sharded_crew
from tnbench.distributed.sharding.roles import Cut
from tnbench.distributed.spread import check_threads, launch_spread, refuses_ranks
from tnbench.measure.environment import device_model, torch_version, usable_cores
from tnbench.store.calibrations import COMMAND, busy, calibration_of

VERSION = 1
IN_PROCESS = False

NOTHING_KNOWN = "auto was told nothing of the network and its pictures, so nothing was predicted and ddp was taken"


@dataclass(frozen=True)
class Options:
    """`threads`: per rank; 0 shares the cores out evenly.

    `exact=true` leaves out ways that train otherwise than a single process: BatchNorm's statistics are then those of
    the whole batch.
    """

    threads: int = 0
    exact: bool = False

    def __post_init__(self) -> None:
        check_threads("auto", self.threads)


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted, of the CPU, and of a machine that was calibrated."""
    reason = refuses_ranks("auto", count, device)
    if reason is not None:
        return reason
    if torch.device(device).type != "cpu":
        return f"got auto:{count} on {device}, wanted the CPU, of which calibrations are; take ddp:{count}"
    if _machine(count) is None:
        return (
            f"got auto:{count} without a calibration of {device_model('cpu')} with torch {torch_version()} in "
            f"{results_folder()}, wanted one; run '{COMMAND} --results {results_folder()}'"
        )
    return None


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Choose for the network that `entry` has, and call `entry` as the chosen way does."""
    machine = _machine(count)
    assert count is not None, "`refuses` was not asked"
    assert machine is not None, "`refuses` was not asked"
    task = _task_of(entry)
    text, cuts, note = f"ddp:{count}", dict[str, Cut](), NOTHING_KNOWN
    if task is not None:
        chosen = _chosen(task, machine, count, options)
        text, cuts, note = chosen.text, dict(chosen.cuts), _note(task, machine, chosen)
    noted = partial(_noted, entry=entry, note=note)
    if text == LAYERS:
        return launch_spread(noted, partial(_spread, cuts=cuts), count, options, device, plugin_files)
    (atom,) = parse_part("parallel", text)
    if options.threads and atom.name not in WHOLE:
        atom = replace(atom, options=tuple(sorted((*atom.options, ("threads", str(options.threads))))))
    bound = Registry(plugin_files).bind("parallel", atom)
    results: list[Any] = bound.module.launch(noted, atom.count, bound.options, device, plugin_files)
    return results


def _task_of(entry: RankEntry) -> Task | None:
    """What the payload of a partial entry says of it; None where it has none."""
    given = getattr(entry, "keywords", {}).values()
    return next((each.task() for each in given if isinstance(each, Payload)), None)


def _chosen(task: Task, machine: Machine, count: int, options: Options) -> Choice:
    alone, each = torch.get_num_threads(), options.threads or max(1, usable_cores() // count)
    asked = Asked(task.in_shape, task.batch, count, each, alone, options.exact, task.whole_weights, task.recipe.compile)
    return choose(task.model, asked, machine)


def _note(task: Task, machine: Machine, chosen: Choice) -> str:
    """What was chosen by which calibration, and how far that is from what is run."""
    load, other = busy(machine), uncalibrated(task.recipe, task.dtype)
    taken = f", of a busy machine ({load}), for there is no other" if load else ""
    apart = f"; the calibration is of {CALIBRATED}, and this has {other}, of which nothing is known" if other else ""
    return (
        f"auto, by the calibration of {machine.measured['started']} ({machine.name}){taken}: {chosen.sentence()}{apart}"
    )


def _machine(count: int | None) -> Machine | None:
    return calibration_of(results_folder(), cpu=device_model("cpu"), torch=torch_version(), ranks=count)


def _noted(crew: Crew, *, entry: RankEntry, note: str) -> Any:
    crew.notes.append(note)
    return entry(crew)


def _spread(crew: Crew, group: Group, options: Options, *, cuts: Cuts) -> Crew:
    return sharded_crew(crew, group, partial(shard_mixed, cuts=cuts, group=group))
