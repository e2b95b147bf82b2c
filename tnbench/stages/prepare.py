"""First stage: bind the case's six names to plug-ins, read the pictures, build the network, fix the numerics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tnbench.core.case import Case
from tnbench.core.conformance import check_complete
from tnbench.core.errors import NotApplicable, PluginError
from tnbench.core.grammar import AXES, Atom, parse_part
from tnbench.core.job import Job
from tnbench.core.protocols import Normalisation, Pictures
from tnbench.core.registry import Bound, Registry
from tnbench.core.settings import Settings
from tnbench.distributed.mesh import bind_mesh
from tnbench.engine.reading import subset


@dataclass(frozen=True)
class Prepared:
    """A job with everything bound and in memory. `pictures` are normalised by `normalisation`.

    `plugins` has one plug-in for each axis but the method's, `methods` those of the mixture that the case names.
    `companions` are the trainings of a mixture beside the first one, which is in `plugins`.
    """

    job: Job
    methods: tuple[Bound, ...]
    plugins: dict[str, Bound]
    pictures: Pictures
    normalisation: Normalisation
    companions: tuple[Bound, ...] = ()

    @property
    def device(self) -> torch.device:
        return torch.device(self.job.settings.device)

    @property
    def dtype(self) -> torch.dtype:
        return dtype_of(self.job.settings)

    def build(self) -> nn.Module:
        """The dense network, drawn from the case's seed; torch's global generator is left as it was."""
        return self._drawn(self.plugins["model"].module.build)

    def narrower(self, width: float) -> nn.Module:
        """As `build`, with every inner width times `width`. Raises NotApplicable where the model has no widths."""
        model = self.plugins["model"]
        if not hasattr(model.module, "narrower"):
            raise NotApplicable(f"model {model.atom.name} cannot be built narrower: its file has no function narrower")
        return self._drawn(model.module.narrower, width)

    def _drawn(self, build: Callable[..., nn.Module], *width: float) -> nn.Module:
        model = self.plugins["model"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.job.case.seed)
            network = build(model.atom.name, model.options, self.pictures.in_shape, self.pictures.classes, *width)
        return network.to(self.device, self.dtype)


def prepare(job: Job) -> Prepared:
    """Bind and load. Raises NotApplicable, UsageError or PluginError before any time is spent."""
    registry = Registry(job.plugin_files)
    methods, plugins = bind_case(job.case, registry)
    companions = bind_companions(job.case, registry)
    parallel = plugins["parallel"]
    reason = parallel.module.refuses(parallel.atom.count, parallel.options, job.settings.device)
    if reason is not None:
        raise NotApplicable(reason)
    pictures = _load_pictures(job.case.dataset, job.data_root, job.plugin_files)
    limit = limited(pictures, job.settings.limit_train, job.case.seed)
    return Prepared(job, methods, plugins, limit, _normalisation(job, pictures), companions)


def bind_case(case: Case, registry: Registry) -> tuple[tuple[Bound, ...], dict[str, Bound]]:
    """The methods, and one plug-in per other axis, each complete: of trainings the first, which runs.

    A mesh of parallel plug-ins is bound as one. Raises NotApplicable for a mixture on another axis, which none serves.
    """
    methods = tuple(registry.bind("method", atom) for atom in case.atoms("method"))
    spreads = tuple(registry.bind("parallel", atom) for atom in case.atoms("parallel"))
    bound = {axis: registry.bind(axis, _single_atom(case, axis)) for axis in AXES if axis not in ("method", "parallel")}
    for plugin in (*methods, *spreads, *bound.values()):
        check_complete(plugin.listing, plugin.module)
    return methods, bound | {"parallel": spreads[0] if len(spreads) == 1 else bind_mesh(spreads)}


def bind_companions(case: Case, registry: Registry) -> tuple[Bound, ...]:
    """The trainings of a mixture that take part in the fits of the first one.

    Raises NotApplicable for one that has nothing to add to another's fits.
    """
    companions = tuple(registry.bind("training", atom) for atom in case.atoms("training")[1:])
    for companion in companions:
        check_complete(companion.listing, companion.module)
        if not hasattr(companion.module, "guide"):
            raise NotApplicable(
                f"training {case.training}: {companion.atom.name} has no part in another training's epochs (its file "
                f"has no function guide); name it first, or alone"
            )
    return companions


def limited(pictures: Pictures, limit: int | None, seed: int) -> Pictures:
    """The first `limit` training pictures of a permutation drawn from `seed`; all of them without a limit."""
    if limit is None or limit >= len(pictures.train):
        return pictures
    order = torch.randperm(len(pictures.train), generator=torch.Generator().manual_seed(seed))[:limit]
    return replace(pictures, train=subset(pictures.train, order), train_labels=pictures.train_labels[order])


def dtype_of(settings: Settings) -> torch.dtype:
    """The torch dtype that `settings` names."""
    dtype: torch.dtype = getattr(torch, settings.dtype)
    return dtype


@contextmanager
def numerics(settings: Settings) -> Iterator[None]:
    """Determinism and TF32 as the settings say, for the length of a block; the process's own state returns after."""
    deterministic, matmul = torch.are_deterministic_algorithms_enabled(), torch.backends.cuda.matmul.allow_tf32
    cudnn = (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark)
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    if settings.deterministic and settings.device_type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic)
    # Filling fresh tensors with NaN finds reads of memory that nobody wrote; it costs a tenth of a step.
    memory.fill_uninitialized_memory = False
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.tf32
    torch.backends.cudnn.benchmark = not settings.deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = filled
        torch.backends.cuda.matmul.allow_tf32 = matmul
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = cudnn


def _single_atom(case: Case, axis: str) -> Atom:
    atoms = case.atoms(axis)
    if len(atoms) > 1 and axis != "training":
        raise NotApplicable(f"{axis} {case.part(axis)}: no plug-in serves mixtures yet; name one of them alone")
    return atoms[0]


def _normalisation(job: Job, pictures: Pictures) -> Normalisation:
    if job.baseline is None or job.baseline.normalisation is None:
        return pictures.normalisation
    own = job.baseline.normalisation
    return Normalisation(tuple(own["mean"]), tuple(own["std"]))


@lru_cache(maxsize=2)
def _load_pictures(dataset: str, root: Path, plugin_files: tuple[Path, ...]) -> Pictures:
    bound = Registry(plugin_files).bind("dataset", parse_part("dataset", dataset)[0])
    pictures: Pictures = bound.module.load(bound.atom.name, bound.options, root)
    for half, labels in (("training", pictures.train_labels), ("test", pictures.test_labels)):
        _check_labels(dataset, half, labels, pictures.classes)
    return pictures


def _check_labels(dataset: str, half: str, labels: Tensor, classes: int) -> None:
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise PluginError(
            f"dataset {dataset}: got the label {int(outside[0])} among the {half} pictures' and {classes} classes, "
            f"wanted labels from 0 to {classes - 1}; mend its files or its plug-in"
        )
