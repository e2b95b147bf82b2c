"""The options that verbs share, each described once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tnbench.cli.duration import seconds
from tnbench.core.folders import RESULTS_VARIABLE, name_results_folder

_setting = functools.partial(
    typer.Option, rich_help_panel="Settings (they enter the record's key; default: the suite's)"
)
_limit = functools.partial(typer.Option, rich_help_panel="Limits and repeats")

Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="Python file with a further plug-in; repeatable.")
]
Results = Annotated[
    Path,
    typer.Option(
        "--results",
        metavar="DIR",
        envvar=RESULTS_VARIABLE,
        callback=name_results_folder,
        help="Folder of the records, logs and checkpoints.",
    ),
]
MaxTime = Annotated[
    float | None,
    _limit(parser=seconds, metavar="TIME", help="Start no case that would end later: seconds, or 30m, 2h."),
]
Reports = Annotated[Path, typer.Option("--reports", metavar="DIR", help="Folder of the written pages.")]
DataRoot = Annotated[
    Path, typer.Option("--data-root", metavar="DIR", envvar="TNBENCH_DATA", help="Folder of the data sets.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects with at least name and summary.")]

RESULTS = Path("results")
REPORTS = Path("reports")
DATA_ROOT = Path("data")


class ExecutorName(StrEnum):
    """What runs and isolates cases."""

    local = "local"
    inline = "inline"


@dataclass(frozen=True)
class Chosen:
    """Which cases a verb is about."""

    suite: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="A suite by name, or a .toml file.")] = None
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A case id, as plan prints them, in a suite or not; repeatable."),
    ] = None
    select: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only what fits, such as 'method=tucker2,cp rank=x4' (* and ? are wild)."),
    ] = None


@dataclass(frozen=True)
class Tuned:
    """How cases are run. The settings bear the names of `tnbench.core.settings.Settings`."""

    device: Annotated[str | None, _setting(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")] = None
    dtype: Annotated[str | None, _setting(metavar="TYPE", help="float32 or float64.")] = None
    tf32: Annotated[bool | None, _setting(help="Let the GPU multiply in TF32.")] = None
    deterministic: Annotated[bool | None, _setting(help="Use only deterministic algorithms.")] = None
    epochs: Annotated[int | None, _setting(help="Epochs of a case's own training.")] = None
    baseline_epochs: Annotated[int | None, _setting(help="Epochs of a baseline's training.")] = None
    batch_size: Annotated[int | None, _setting(help="Pictures in a step, over all processes.")] = None
    lr: Annotated[float | None, _setting(help="Highest learning rate of a case's training.")] = None
    baseline_lr: Annotated[float | None, _setting(help="Highest learning rate of a baseline's training.")] = None
    momentum: Annotated[float | None, _setting(help="Nesterov momentum of SGD; AdamW's first beta.")] = None
    weight_decay: Annotated[float | None, _setting(help="Weight decay.")] = None
    limit_train: Annotated[int | None, _setting(help="Training pictures to use.")] = None
    gauge: Annotated[str | None, _setting(metavar="GAUGE", help="Of the factors: balanced, orthogonal or raw.")] = None
    schedule: Annotated[
        str | None, _setting(metavar="NAME", help="Of the learning rate: one_cycle, cosine, step or constant.")
    ] = None
    optimiser: Annotated[str | None, _setting(metavar="NAME", help="sgd or adamw.")] = None
    label_smoothing: Annotated[float | None, _setting(help="Share of each label that all classes share.")] = None
    ema: Annotated[float | None, _setting(help="Decay of the average of weights that is evaluated; 0: none.")] = None
    decay_on: Annotated[
        str | None, _setting(metavar="WHAT", help="What weight decay pulls at: factors, or the kernel they stand for.")
    ] = None
    clip: Annotated[float | None, _setting(help="Largest norm of a gradient; 0: any.")] = None
    amp: Annotated[bool | None, _setting(help="Train with multiplications in bfloat16.")] = None
    channels_last: Annotated[bool | None, _setting(help="Train with channels innermost in memory.")] = None
    compile: Annotated[bool | None, _setting(help="Train through torch.compile; on a GPU with CUDA graphs.")] = None
    tune: Annotated[
        int | None, _setting(metavar="N", help="Learning rates to try on validation pictures, for every method alike.")
    ] = None
    curve: Annotated[bool | None, _setting(help="Evaluate after every epoch, off the clock.")] = None
    batch_per_rank: Annotated[
        bool | None, _setting(help="Let the batch grow with the processes or threads: weak scaling.")
    ] = None
    timeout: Annotated[
        float | None, _limit(parser=seconds, metavar="TIME", help="Longest time of one case: seconds, or 30m, 2h.")
    ] = None
    checkpoint_every: Annotated[
        float | None,
        _limit(metavar="SECONDS", help="Least time between checkpoints of a training; 0: one after every epoch."),
    ] = None


@dataclass(frozen=True)
class Asked(Tuned, Chosen):
    """Everything that decides what a plan holds."""

    seeds: Annotated[int | None, typer.Option(help="How many seeds, from 0 on (default: the suite's).")] = None
    launches: Annotated[
        int | None, _limit(help="Run each case until it has so many good runs by this revision of the code.")
    ] = None
    fresh: Annotated[bool, _limit("--fresh", help="Run every case again.")] = False
    rerun: Annotated[
        str | None, _limit(metavar="STATUS,...", help="Run again the cases that ended so, such as failed,timeout.")
    ] = None
