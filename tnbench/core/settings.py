"""What may vary beside the six axes. Settings enter a record's key; limits do not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from tnbench.core.case import Case
from tnbench.core.errors import UsageError, unknown

DTYPES = ("float32", "float64")
GAUGES = ("balanced", "orthogonal", "raw")
SCHEDULES = ("one_cycle", "cosine", "step", "constant")
OPTIMISERS = ("sgd", "adamw")
DECAYS = ("factors", "kernel")
_CHOICES = {
    "dtype": DTYPES,
    "gauge": GAUGES,
    "schedule": SCHEDULES,
    "optimiser": OPTIMISERS,
    "decay_on": DECAYS,
}
_LEAST = {"epochs": 0, "baseline_epochs": 0, "batch_size": 1, "limit_train": 1, "tune": 0}
_BELOW = {"momentum": 1.0, "weight_decay": math.inf, "label_smoothing": 1.0, "ema": 1.0, "clip": math.inf}
_CASE_ONLY = ("epochs", "lr", "gauge", "decay_on", "tune", "curve", "batch_per_rank")
_LATER = (
    "schedule",
    "optimiser",
    "label_smoothing",
    "ema",
    "decay_on",
    "clip",
    "amp",
    "channels_last",
    "compile",
    "tune",
    "curve",
    "batch_per_rank",
)
"""Fields that came after the first records. At their defaults they are left out of keys, so that those still count."""


@dataclass(frozen=True)
class Settings:
    """How cases are run. Every field changes what is measured, so every field enters the key.

    `epochs` and `lr` are the case's own; `baseline_epochs` and `baseline_lr` the baseline's. Learning rates are the
    highest of the `schedule`. `device` is ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` stands for a GPU where there is
    one, until the plan settles it. `limit_train` is a number of training pictures (the first of a seeded permutation).
    `gauge` says how factors share a weight's norm before they are trained: the same function, another path of SGD.

    The recipe (docs/recipes.md): `momentum` is Nesterov's of ``sgd`` and the first beta of ``adamw``; `decay_on` says
    whether weight decay pulls at a layer's factors or at the kernel that they stand for; `ema` is the decay of the
    average of weights that is evaluated, `clip` the largest norm of a gradient (each off at 0); `amp` multiplies in
    bfloat16; `tune` is how many learning rates are tried on validation pictures (0: none); `curve` evaluates after
    every epoch; `batch_per_rank` gives each process or stated thread `batch_size` pictures of every step, so that the
    global batch grows with their number (weak scaling) and accuracy changes.
    """

    device: str = "auto"
    dtype: str = "float32"
    tf32: bool = False
    deterministic: bool = True
    epochs: int = 1
    baseline_epochs: int = 10
    batch_size: int = 128
    lr: float = 0.02
    baseline_lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    limit_train: int | None = None
    gauge: str = "balanced"
    schedule: str = "one_cycle"
    optimiser: str = "sgd"
    label_smoothing: float = 0.0
    ema: float = 0.0
    decay_on: str = "factors"
    clip: float = 0.0
    amp: bool = False
    channels_last: bool = False
    compile: bool = False
    tune: int = 0
    curve: bool = False
    batch_per_rank: bool = False

    def __post_init__(self) -> None:
        _check_choices(self)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"settings: got {name} = {value}, wanted a whole number from {least} on")
        for name in ("lr", "baseline_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"settings: got {name} = {getattr(self, name)}, wanted a number above 0")
        for name, below in _BELOW.items():
            if not 0 <= getattr(self, name) < below:
                raise UsageError(f"settings: got {name} = {getattr(self, name)}, wanted at least 0 and below {below:g}")
        _check_together(self)

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """A copy with some fields replaced, checked by name and type. Raises UsageError with the nearest name."""
        hints = get_type_hints(Settings)
        for name, value in values.items():
            if name not in hints:
                raise UsageError(f"settings: {unknown('setting', name, hints)}")
            _check_type(name, value, hints[name])
        # 1 and 1.0 are the same number but not the same JSON, and so would not give the same key
        numbers = {name: float(value) for name, value in values.items() if hints[name] is float}
        return dataclasses.replace(self, **{**values, **numbers})

    def of_baseline(self) -> dict[str, Any]:
        """The fields that a baseline's training depends on, as JSON types."""
        return _without(self.as_json(), _CASE_ONLY)

    def in_key(self) -> dict[str, Any]:
        """The fields that enter a key, as JSON types: all, but for later ones that are at their defaults."""
        return _without(self.as_json(), [name for name in _LATER if getattr(self, name) == getattr(Settings, name)])

    def as_json(self) -> dict[str, Any]:
        """Every field as JSON types; the device as its type, since ``cuda:1`` measures what ``cuda:0`` does."""
        return {**dataclasses.asdict(self), "device": self.device_type}

    @property
    def device_type(self) -> str:
        return self.device.partition(":")[0]


@dataclass(frozen=True)
class Limits:
    """When to give up, and how much of a training an interruption may cost. Raising a limit reruns only what it ended.

    After an epoch that ends `checkpoint_s` seconds or more after the last checkpoint, a training writes one, from
    which a killed case goes on; 0 writes one after every epoch.
    """

    timeout_s: float = 3600.0
    checkpoint_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s < math.inf:
            raise UsageError(f"limits: got timeout_s = {self.timeout_s:g}, wanted seconds above 0")
        if not 0 <= self.checkpoint_s < math.inf:
            raise UsageError(f"limits: got checkpoint_s = {self.checkpoint_s:g}, wanted seconds from 0 on")


def changed_limits(limits: Limits, timeout_s: float | None, checkpoint_s: float | None) -> Limits:
    """`limits` with those that are given in place of its own."""
    given = {"timeout_s": timeout_s, "checkpoint_s": checkpoint_s}
    return dataclasses.replace(limits, **{name: value for name, value in given.items() if value is not None})


def record_key(case: Case, settings: Settings, imported_baseline: str | None = None) -> str:
    """The identity of a record: the case, its settings and, if imported, the baseline's digest. 16 hex digits."""
    return digest_of({"case": case.id, "settings": settings.in_key(), "baseline": imported_baseline})


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an older record, with the later fields at the defaults that it was run with."""
    return {**settings, **{name: getattr(Settings, name) for name in _LATER if name not in settings}}


def baseline_key(model: str, dataset: str, seed: int, settings: Settings) -> str:
    """The identity of a baseline that tnbench trains itself. 16 hex digits."""
    own = _without(settings.in_key(), _CASE_ONLY)
    return digest_of({"model": model, "dataset": dataset, "seed": seed, "settings": own})


def digest_of(value: Any) -> str:
    """16 hex digits of SHA-256 over canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _check_choices(settings: Settings) -> None:
    for name, choices in _CHOICES.items():
        if getattr(settings, name) not in choices:
            raise UsageError(f"settings: {unknown(name, getattr(settings, name), choices)}")


def _check_together(settings: Settings) -> None:
    if settings.tune == 1:
        raise UsageError("settings: got tune = 1, which leaves no choice; wanted 0 (off) or at least 2 learning rates")
    if settings.amp and settings.dtype != "float32":
        raise UsageError(f"settings: got amp with dtype {settings.dtype}; bfloat16 goes with float32")
    if settings.decay_on == "kernel" and settings.optimiser != "sgd":
        raise UsageError(
            f"settings: got decay_on = 'kernel' with optimiser {settings.optimiser}, whose steps rescale a penalty's "
            f"gradient; wanted optimiser sgd, or decay_on = 'factors'"
        )


def _without(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    left_out = set(names)
    return {name: value for name, value in values.items() if name not in left_out}


def _check_type(name: str, value: Any, wanted: Any) -> None:
    allowed: tuple[type, ...] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(
        wanted, (int, type(None))
    )
    if not isinstance(value, allowed) or (isinstance(value, bool) and wanted is not bool):
        kinds = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
        raise UsageError(f"settings: got {name} = {value!r}, wanted {kinds}")
