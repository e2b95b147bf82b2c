"""What may vary beside the six axes. Settings enter a record's key; limits do not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from tnbench.core.case import Case
from tnbench.core.errors import UsageError, unknown

DTYPES = ("float32", "float64")
GAUGES = ("balanced", "orthogonal", "raw")
_CASE_ONLY = ("epochs", "lr", "gauge")


@dataclass(frozen=True)
class Settings:
    """How cases are run. Every field changes what is measured, so every field enters the key.

    `epochs` and `lr` are the case's own; `baseline_epochs` and `baseline_lr` the baseline's. Learning rates are the
    peak of a one-cycle schedule. `device` is ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` stands for a GPU where there is
    one, until the plan settles it. `limit_train` is a number of training pictures (the first of a seeded permutation).
    `gauge` says how factors share a weight's norm before they are trained: the same function, another path of SGD.
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

    def __post_init__(self) -> None:
        _check_choices(self)
        for name, least in (("epochs", 0), ("baseline_epochs", 0), ("batch_size", 1), ("limit_train", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"settings: got {name} = {value}, wanted a whole number from {least} on")
        for name in ("lr", "baseline_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"settings: got {name} = {getattr(self, name)}, wanted a number above 0")
        for name, below in (("momentum", 1.0), ("weight_decay", math.inf)):
            if not 0 <= getattr(self, name) < below:
                raise UsageError(f"settings: got {name} = {getattr(self, name)}, wanted at least 0 and below {below:g}")

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
        return {name: value for name, value in self.as_json().items() if name not in _CASE_ONLY}

    def as_json(self) -> dict[str, Any]:
        """Every field as JSON types; the device as its type, since ``cuda:1`` measures what ``cuda:0`` does."""
        return {**dataclasses.asdict(self), "device": self.device_type}

    @property
    def device_type(self) -> str:
        return self.device.partition(":")[0]


@dataclass(frozen=True)
class Limits:
    """When to give up. Raising a limit reruns only what it ended."""

    timeout_s: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s < math.inf:
            raise UsageError(f"limits: got timeout_s = {self.timeout_s:g}, wanted seconds above 0")


def record_key(case: Case, settings: Settings, imported_baseline: str | None = None) -> str:
    """The identity of a record: the case, its settings and, if imported, the baseline's digest. 16 hex digits."""
    return digest_of({"case": case.id, "settings": settings.as_json(), "baseline": imported_baseline})


def baseline_key(model: str, dataset: str, seed: int, settings: Settings) -> str:
    """The identity of a baseline that tnbench trains itself. 16 hex digits."""
    return digest_of({"model": model, "dataset": dataset, "seed": seed, "settings": settings.of_baseline()})


def digest_of(value: Any) -> str:
    """16 hex digits of SHA-256 over canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _check_choices(settings: Settings) -> None:
    for name, choices in (("dtype", DTYPES), ("gauge", GAUGES)):
        if getattr(settings, name) not in choices:
            raise UsageError(f"settings: {unknown(name, getattr(settings, name), choices)}")


def _check_type(name: str, value: Any, wanted: Any) -> None:
    allowed: tuple[type, ...] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(
        wanted, (int, type(None))
    )
    if not isinstance(value, allowed) or (isinstance(value, bool) and wanted is not bool):
        kinds = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
        raise UsageError(f"settings: got {name} = {value!r}, wanted {kinds}")
