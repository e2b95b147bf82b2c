"""The options that verbs share, each described once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import typer

from tnbench.cli.duration import seconds

_SETTINGS = "How cases are run (every one of them enters the record's key; default: the suite's)"
_LIMITS = "Limits and repeats"

Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="Python file with a further plug-in; repeatable.")
]
Results = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Folder of the records, logs and checkpoints.")
]
Reports = Annotated[Path, typer.Option("--reports", metavar="DIR", help="Folder of the written pages.")]
DataRoot = Annotated[
    Path, typer.Option("--data-root", metavar="DIR", envvar="TNBENCH_DATA", help="Folder of the data sets.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects with at least name and summary.")]

RESULTS = Path("results")
REPORTS = Path("reports")
DATA_ROOT = Path("data")


class ExecutorName(str, Enum):
    """What runs and isolates cases."""

    local = "local"
    inline = "inline"


@dataclass(frozen=True)
class Chosen:
    """Which cases a verb is about."""

    suite: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.toml", help="A suite by name, or a suite file.")
    ] = None
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A case, such as tucker2/x4/resnet20/cifar10/finetune/single#0; repeatable."),
    ] = None
    select: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only cases that fit, such as 'method=tucker2,cp rank=x4' (* and ? are wild)."),
    ] = None


@dataclass(frozen=True)
class Asked(Chosen):
    """Everything that decides what a plan holds."""

    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds, from 0 on (default: the suite's).")] = None
    device: Annotated[
        str | None, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Where tensors live.", rich_help_panel=_SETTINGS)
    ] = None
    dtype: Annotated[
        str | None, typer.Option(metavar="float32|float64", help="Type of the numbers.", rich_help_panel=_SETTINGS)
    ] = None
    tf32: Annotated[
        bool | None, typer.Option(help="Let the GPU multiply in TF32.", rich_help_panel=_SETTINGS)
    ] = None
    deterministic: Annotated[
        bool | None, typer.Option(help="Use only deterministic algorithms.", rich_help_panel=_SETTINGS)
    ] = None
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a case's own training.", rich_help_panel=_SETTINGS)
    ] = None
    baseline_epochs: Annotated[
        int | None, typer.Option(help="Epochs of a baseline's training.", rich_help_panel=_SETTINGS)
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(help="Pictures in a step, over all processes.", rich_help_panel=_SETTINGS)
    ] = None
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate of a case's training.", rich_help_panel=_SETTINGS)
    ] = None
    baseline_lr: Annotated[
        float | None, typer.Option(help="Peak learning rate of a baseline's training.", rich_help_panel=_SETTINGS)
    ] = None
    momentum: Annotated[float | None, typer.Option(help="Nesterov momentum of SGD.", rich_help_panel=_SETTINGS)] = None
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay of SGD.", rich_help_panel=_SETTINGS)] = None
    limit_train: Annotated[
        int | None, typer.Option(help="Training pictures to use (default: all).", rich_help_panel=_SETTINGS)
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=seconds, metavar="TIME", rich_help_panel=_LIMITS,
            help="Longest time of one case: seconds, or 30m, 2h (default: the suite's).",
        ),
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run every case again.", rich_help_panel=_LIMITS)
    ] = False
    rerun: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS,...", rich_help_panel=_LIMITS,
            help="Run again the cases that ended so, such as failed,timeout.",
        ),
    ] = None


Group = TypeVar("Group")
Own = ParamSpec("Own")
Given = TypeVar("Given")


def taking(group: type[Group]) -> Callable[[Callable[Concatenate[Group, Own], Given]], Callable[..., Given]]:
    """Let a verb take the fields of the dataclass `group` as options, and get them as one value, its first argument."""
    hints = get_type_hints(group, include_extras=True)
    fields = dataclasses.fields(group)  # type: ignore[arg-type]

    def decorate(verb: Callable[Concatenate[Group, Own], Given]) -> Callable[..., Given]:
        @functools.wraps(verb)
        def call(**values: Any) -> Given:
            chosen = group(**{field.name: values.pop(field.name) for field in fields})
            return verb(chosen, **values)  # type: ignore[call-arg]

        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [inspect.Parameter(f.name, keyword, default=f.default, annotation=hints[f.name]) for f in fields]
        _, *own = inspect.signature(verb, eval_str=True).parameters.values()
        parameters = [*shared, *(parameter.replace(kind=keyword) for parameter in own)]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return call

    return decorate
