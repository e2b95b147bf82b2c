"""Import a published checkpoint as the baseline of its model and dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.job import Job
from tnbench.core.protocols import Pictures, Published
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings
from tnbench.engine.files import Files
from tnbench.engine.normalisation import named_normalisation
from tnbench.measure.environment import provenance
from tnbench.stages.baseline import accuracy
from tnbench.stages.prepare import Prepared, numerics, prepare
from tnbench.stages.state_file import read_state
from tnbench.stages.tools import count_right
from tnbench.store.checkpoints import save_state
from tnbench.store.records import Store


def import_baseline(
    file: Path,
    *,
    model: str,
    dataset: str,
    normalisation: str | None,
    published: Published | None = None,
    data_root: Path,
    results: Path,
    registry: Registry,
    device: str = "cpu",
) -> Baseline:
    """Read `file`, evaluate it on the test pictures and store it; it serves every seed and setting from then on.

    `normalisation` is a name such as ``imagenet``; None is the data set's own. Raises UsageError for a file that is
    no checkpoint, one that names the first mismatching keys for a checkpoint of another architecture, and one where
    what is `published` is for pictures of another size.
    """
    store = Store(results)
    store.check_writable()
    case = Case("dense", "full", model, dataset, "none", "single")
    job = Job(case, "", Settings(device=device), Limits(), data_root, results, registry.plugin_files)
    state = read_state(file)
    prepared = prepare(job)
    if not prepared.pictures.meaningful:
        raise UsageError(f"checkpoint: {dataset} has made-up labels, on which no checkpoint can be evaluated")
    if published is not None:
        check_sizes(published, prepared.pictures, dataset)
    chosen = prepared.normalisation if normalisation is None else named_normalisation(normalisation)
    baseline = _evaluated(replace(prepared, normalisation=chosen), state, file)
    store.append_baseline(baseline)
    return baseline


def fetch_published(model: str, weights: str, registry: Registry) -> Published:
    """Download what a model's own project publishes.

    `weights` is a name there, such as ``IMAGENET1K_V1``. Raises UsageError where the model has none to fetch, and
    TnbenchError with the file to fetch by hand where there is no network.
    """
    bound = registry.bind("model", parse_part("model", model)[0])
    if not hasattr(bound.module, "fetch_weights"):
        raise UsageError(f"--weights: {model} has none to download; give a FILE, or take a model of tv[NAME]")
    published: Published = bound.module.fetch_weights(bound.options, weights)
    return published


def check_sizes(published: Published, pictures: Pictures, dataset: str) -> None:
    """Raise UsageError where pictures in files are evaluated at other sizes than their authors' are."""
    test = pictures.test
    if isinstance(test, Files) and (test.side, test.short) != (published.side, published.short):
        raise UsageError(
            f"--weights: {published.file.name} is for the centre of {published.side} pixels of pictures whose shorter "
            f"side has {published.short}, and {dataset} is evaluated at {test.side} of {test.short}; give the data set "
            f"the options side={published.side},short={published.short}, or take FILE {published.file} to evaluate it "
            f"as it is"
        )


def check_finite(state: Mapping[str, Tensor], file: Path) -> None:
    """Raise UsageError naming the first tensor that holds a NaN or an infinity."""
    for name, value in state.items():
        if not value.isfinite().all():
            raise UsageError(f"checkpoint {file}: {name} is not finite; its training diverged, so take another one")


def check_keys(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor], file: Path, model: str) -> None:
    """Raise UsageError naming the first keys or shapes of `got` that are not those of the architecture."""
    missing = [name for name in wanted if name not in got and not name.endswith("num_batches_tracked")]
    extra = [name for name in got if name not in wanted]
    shapes = [
        f"{name} is {tuple(got[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in wanted
        if name in got and got[name].shape != wanted[name].shape
    ]
    found = [
        f"{what}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("not wanted", extra), ("of another shape", shapes))
        if names
    ]
    if found:
        raise UsageError(f"checkpoint {file} is no {model}: {'; '.join(found)}; check --model and --dataset")


def _evaluated(prepared: Prepared, state: dict[str, Tensor], file: Path) -> Baseline:
    job, case = prepared.job, prepared.job.case
    network = prepared.build()
    state = _adapted(prepared, state)
    check_keys(network.state_dict(), state, file, case.model)
    check_finite(state, file)
    network.load_state_dict({**network.state_dict(), **state})
    with numerics(job.settings):
        correct = count_right(prepared, network)
    return Baseline(
        model=case.model,
        dataset=case.dataset,
        seed=None,
        key="",
        digest=save_state(job.results, network.state_dict()),
        origin="imported",
        data_digest=prepared.pictures.digest,
        metrics=accuracy(prepared, correct),
        versions={axis: prepared.plugins[axis].listing.version for axis in ("model", "dataset")},
        normalisation={"mean": list(prepared.normalisation.mean), "std": list(prepared.normalisation.std)},
        source=file.name,
        provenance=provenance(job.settings.device),
    )


def _adapted(prepared: Prepared, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in the names of the network, where the model's file has a function for that."""
    module = prepared.plugins["model"].module
    adapted: dict[str, Tensor] = module.from_published(state) if hasattr(module, "from_published") else state
    return adapted
