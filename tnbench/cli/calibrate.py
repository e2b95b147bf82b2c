"""``tnbench calibrate``: what messages, words and FLOPs cost on this machine, for predictions and for ``auto``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnbench.cli.options import RESULTS, AsJson, Results
from tnbench.cli.terminal import print_json, stdout

if TYPE_CHECKING:
    from rich.console import Console

    from tnbench.distributed.machine import Machine


def calibrate(
    ranks: Annotated[int, typer.Option(min=2, help="Processes that send to each other.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Few small sizes: printed to try it, and not kept.")] = False,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Measure what messages, words and FLOPs cost on this machine, and keep that for predictions: about a minute.

    What was measured while the machine was busy is kept, but counts only where there is nothing else.
    """
    from tnbench.distributed.calibrate import calibrate as measure
    from tnbench.distributed.timed_ranks import FULL, QUICK
    from tnbench.store.calibrations import save_calibration

    machine = measure(ranks, threads, QUICK if quick else FULL)
    path = None if quick else save_calibration(results, machine)
    if as_json:
        print_json([{"summary": machine.name, **machine.to_json()}])
    else:
        _print(machine, path, stdout())


def _print(machine: Machine, path: Path | None, console: Console) -> None:
    from tnbench.store.calibrations import busy

    measured = machine.measured
    console.print(f"{machine.name}; torch {measured['torch']}, {measured['started']}", soft_wrap=True)
    console.print(_collectives(machine))
    console.print(_rates(machine))
    console.print(
        f"alpha {machine.link.alpha_s * 1e6:.4g} µs a message, beta {machine.link.beta_s * 1e9:.4g} ns a word sent, "
        f"delta {machine.delta_s * 1e9:.4g} ns a word moved, {machine.launch_s * 1e6:.4g} µs an operation",
        soft_wrap=True,
    )
    load = busy(machine)
    if load:
        console.print(
            f"the machine was busy before ({load}); run this again when it is idle",
            style="yellow",
            soft_wrap=True,
        )
    counts = "it counts where no calibration of the idle machine is" if load else "the newest counts"
    kept = f"kept as {path}; {counts}" if path else "not kept: what --quick measures is too little to predict by"
    console.print(kept, soft_wrap=True)


def _collectives(machine: Machine) -> Any:
    """Rows of payloads, columns of kinds; milliseconds."""
    from rich.table import Table

    table = Table("words", *machine.curves, title=f"ms of a collective over {machine.ranks} ranks", box=None)
    payloads = [words for words, _ in next(iter(machine.curves.values())).points]
    for words in payloads:
        table.add_row(f"{words:,.0f}", *(f"{curve(words) * 1e3:.3f}" for curve in machine.curves.values()))
    return table


def _rates(machine: Machine) -> Any:
    """One row per kind of layer and channels, one column per number of processes and threads; GFLOP/s."""
    from rich.table import Table

    at_work = sorted({(rate.ranks, rate.threads) for rate in machine.rates})
    heads = [f"{ranks} x {threads}" for ranks, threads in at_work]
    table = Table("layer", "channels", *heads, title="GFLOP/s forward / backward, processes x threads", box=None)
    for kind, channels in dict.fromkeys((rate.kind, rate.channels) for rate in machine.rates):
        found = {
            (rate.ranks, rate.threads): f"{1e-9 / rate.forward_s:.3g} / {1e-9 / rate.backward_s:.3g}"
            for rate in machine.rates
            if (rate.kind, rate.channels) == (kind, channels)
        }
        table.add_row(kind, str(channels), *(found.get(each, "") for each in at_work))
    return table
