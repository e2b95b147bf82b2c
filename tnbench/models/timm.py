"""Every network of the package timm by its name there, such as timm[resnet18]; needs tnbench[timm]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn

from tnbench.core.errors import UsageError, nearest
from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._fits import check_fits
from tnbench.models._sides import check_least

VERSION = 1
PATTERN = ("timm[NAME]", "timm")

LEAST_SIDE = 8


@dataclass(frozen=True)
class Options:
    """The one bare option: timm's name. Raises UsageError with the nearest, or where timm is not installed."""

    bare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.bare) != 1:
            raise UsageError(
                f"model timm: got {len(self.bare)} names in brackets, wanted one, such as 'timm[resnet18]'"
            )
        (inner,), known = self.bare, _timm().list_models()
        if inner not in known:
            hint = f"; the nearest is {near!r}" if (near := nearest(inner, known)) else ""
            raise UsageError(f"model timm[{inner}]: timm has no such network among its {len(known):,}{hint}")


def build(name: str, options: Options, in_shape: Shape, classes: int) -> nn.Module:
    """timm's network with random weights, for pictures of any number of channels and of sizes that it can take."""
    (inner,) = options.bare
    check_least(f"{name}[{inner}]", in_shape, LEAST_SIDE, "is made for photographs")
    model: nn.Module = _timm().create_model(inner, pretrained=False, num_classes=classes, in_chans=in_shape[0])
    check_fits(f"{name}[{inner}]", model, in_shape, classes)
    return model


def keep_dense(model: nn.Module) -> Sequence[str]:
    """First and last layer."""
    return first_and_last(model)


def _timm() -> Any:
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise UsageError("model timm needs the package timm, which is not here: pip install 'tnbench[timm]'") from None
