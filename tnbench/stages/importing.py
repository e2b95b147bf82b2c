"""Import a published checkpoint as the baseline of its model and dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.job import Job
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings
from tnbench.engine.normalisation import named_normalisation
from tnbench.measure.environment import provenance
from tnbench.stages.baseline import accuracy
from tnbench.stages.prepare import Prepared, numerics, prepare
from tnbench.stages.tools import count_test_correct
from tnbench.store.checkpoints import save_state
from tnbench.store.records import Store

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


def import_baseline(
    file: Path,
    *,
    model: str,
    dataset: str,
    normalisation: str | None,
    data_root: Path,
    results: Path,
    registry: Registry,
    device: str = "cpu",
) -> Baseline:
    """Read `file`, evaluate it on the test pictures and store it; it serves every seed and setting from then on.

    `normalisation` is a name such as ``imagenet``; None is the data set's own. Raises UsageError for a file that is
    no checkpoint, and one that names the first mismatching keys for a checkpoint of another architecture.
    """
    store = Store(results)
    store.check_writable()
    case = Case("dense", "full", model, dataset, "none", "single")
    job = Job(case, "", Settings(device=device), Limits(), data_root, results, registry.plugin_files)
    state = read_state(file)
    prepared = prepare(job)
    if not prepared.pictures.meaningful:
        raise UsageError(f"checkpoint: {dataset} has made-up labels, on which no checkpoint can be evaluated")
    chosen = prepared.normalisation if normalisation is None else named_normalisation(normalisation)
    baseline = _evaluated(replace(prepared, normalisation=chosen), state, file)
    store.append_baseline(baseline)
    return baseline


def read_state(file: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors or PyTorch file, without the ``module.`` that DataParallel puts before names.

    PyTorch files are read with ``weights_only=True``. Raises UsageError saying what the file is instead.
    """
    if not file.is_file():
        raise UsageError(f"checkpoint: no file {file}; give the path of a .safetensors, .pt, .pth or .th file")
    try:
        loaded = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # what a file that is no checkpoint makes the readers raise has no common type
        raise UsageError(
            f"checkpoint {file} cannot be read as weights ({type(error).__name__}); wanted a state dict, saved by "
            f"torch.save(model.state_dict(), FILE) or as safetensors"
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UsageError(f"checkpoint {file}: got {_kind(loaded)}, wanted a mapping of names to tensors")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


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
    check_keys(network.state_dict(), state, file, case.model)
    check_finite(state, file)
    network.load_state_dict({**network.state_dict(), **state})
    with numerics(job.settings):
        correct = count_test_correct(prepared, network)
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


def _kind(loaded: Any) -> str:
    return f"a mapping with the keys {list(loaded)[:3]}" if isinstance(loaded, Mapping) else type(loaded).__name__
