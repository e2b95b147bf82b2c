"""``tnbench baseline import``: take a published checkpoint as the baseline of its model and data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tnbench.cli.options import DATA_ROOT, RESULTS, DataRoot, Plugins, Results
from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry

app = typer.Typer(no_args_is_help=True, help="Take published checkpoints as baselines.")


@app.callback()
def baselines() -> None:
    """Take published checkpoints as baselines."""


@app.command("import")
def import_(
    model: Annotated[str, typer.Option(metavar="NAME", help="The model that the weights are of.")],
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The data set that it was trained on.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A .safetensors, .pt, .pth or .th file of weights.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Instead of a file: torchvision's own to download, such as IMAGENET1K_V1."),
    ] = None,
    normalisation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What its pictures were normalised by (default: the data set's own, or that of --weights).",
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Where it is evaluated.")] = "cpu",
    data_root: DataRoot = DATA_ROOT,
    results: Results = RESULTS,
    plugin: Plugins = None,
) -> None:
    """Evaluate a checkpoint on the test pictures and store it; it then serves every seed of its model and data set."""
    from tnbench.sweep.device import resolve_device

    if (file is None) == (weights is None):
        raise UsageError("baseline import: give a FILE or --weights NAME, one of them")
    device, registry = resolve_device(device), Registry(plugin or ())
    from tnbench.stages.importing import fetch_published, import_baseline  # after what can be refused without torch
    from tnbench.store.records import Store

    published = None
    if file is None:
        published = fetch_published(model, weights or "", registry)
        file, normalisation = published.file, normalisation or published.normalisation
    earlier = Store(results).imports().get((model, dataset))
    baseline = import_baseline(
        file,
        model=model,
        dataset=dataset,
        normalisation=normalisation,
        published=published,
        data_root=data_root,
        results=results,
        registry=registry,
        device=device,
    )
    correct, pictures = (baseline.metrics[name] for name in ("correct", "test_pictures"))
    typer.echo(
        f"{model} on {dataset}: top-1 {baseline.metrics['top1']:.2f} % ({correct:,.0f} of {pictures:,.0f} right)"
    )
    typer.echo(
        f"stored in {results} as {baseline.digest[:16]}; it serves every case of {model} on {dataset} from now on"
    )
    if earlier is not None and earlier.identity != baseline.identity:
        other = "another normalisation" if earlier.digest == baseline.digest else "other weights"
        typer.echo(f"it takes the place of an import with {other}, and what began from that one runs anew")
