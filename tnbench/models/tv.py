"""Every classifier of torchvision by its name there, such as tv[resnet18] or tv[squeezenet1_0]; for colour pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention

from tnbench.core.errors import NotApplicable, TnbenchError, UsageError, unknown
from tnbench.core.protocols import Published, Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._fits import check_fits

VERSION = 1
PATTERN = ("tv[NAME]", "tv")


@dataclass(frozen=True)
class Options:
    """The one bare option: torchvision's name. Raises UsageError with the nearest."""

    bare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.bare) != 1:
            raise UsageError(f"model tv: got {len(self.bare)} names in brackets, wanted one, such as 'tv[resnet18]'")
        if self.bare[0] not in classifiers():
            raise UsageError(
                f"model tv[{self.bare[0]}]: {unknown('torchvision classifier', *self.bare, classifiers())}"
            )


def classifiers() -> list[str]:
    """torchvision's names of its networks that classify single pictures."""
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def build(name: str, options: Options, in_shape: Shape, classes: int) -> nn.Module:
    """torchvision's network with random weights, for pictures (3, H, W) of at least its own smallest size."""
    shown, (inner,) = f"{name}[{options.bare[0]}]", options.bare
    channels, *sides = in_shape
    if channels != 3:
        raise NotApplicable(f"{shown} takes pictures of 3 channels, got {channels}; cifar10 and imagenet have them")
    least = _least_side(inner)
    if min(sides) < least:
        got = "x".join(map(str, sides))
        raise NotApplicable(f"{shown} takes sides of at least {least} pixels, got {got}; imagenet has them")
    model: nn.Module = _builder(inner)(num_classes=classes)
    check_fits(shown, model, in_shape, classes)
    return model


def keep_dense(model: nn.Module) -> Sequence[str]:
    """First and last layer, and the layers of attention whose weights torchvision reads past their forward."""
    return (*first_and_last(model), *_read_by_their_parents(model))


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict as the network here has it.

    Without the auxiliary classifiers of GoogLeNet and Inception, which only training uses, and with DenseNet's names
    as they are since torchvision 0.3.
    """
    return {
        _DENSENET.sub(r"\1\2", key): value
        for key, value in state.items()
        if not key.startswith(("aux1.", "aux2.", "AuxLogits."))
    }


def fetch_weights(options: Options, weights: str) -> Published:
    """Download the weights called `weights` (``IMAGENET1K_V1``, ``DEFAULT``).

    A file that is in torch's cache already is taken from there. Raises UsageError with the nearest name, and
    TnbenchError that says what to fetch by hand where there is no network.
    """
    (inner,) = options.bare
    known = torchvision.models.get_model_weights(inner)
    if weights not in known.__members__:
        raise UsageError(unknown(f"weights of tv[{inner}]", weights, known.__members__))
    chosen = known[weights]
    seen = chosen.transforms()
    normalisation = "half" if seen.mean[0] == 0.5 else "imagenet"
    return Published(_downloaded(inner, chosen.url), normalisation, side=seen.crop_size[0], short=seen.resize_size[0])


def _downloaded(inner: str, url: str) -> Path:
    file = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2], progress=False)
        except (OSError, RuntimeError) as error:
            raise TnbenchError(
                f"the weights of tv[{inner}] could not be downloaded: {error}\n"
                f"where there is a network, fetch {url} by hand, then give the file: "
                f"tnbench baseline import {file.name} --model 'tv[{inner}]' --dataset NAME"
            ) from error
    return file


_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)")


class _MNASNet(torchvision.models.MNASNet):  # type: ignore[misc]
    """torchvision's refuses weights without a version number, which plain state dicts and safetensors lack."""

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        super()._load_from_state_dict(state, prefix, {"version": self._version, **metadata}, *rest)


def _builder(inner: str) -> Any:
    """What makes the network from `num_classes`: torchvision's own builder, but for three families."""
    if inner.startswith("mnasnet"):
        return partial(_MNASNet, float(inner.removeprefix("mnasnet").replace("_", ".")))
    builder = partial(torchvision.models.get_model_builder(inner), weights=None)
    if inner in ("googlenet", "inception_v3"):
        # Published weights want pictures normalised as ImageNet's, and these two rescale them first.
        return partial(builder, aux_logits=False, init_weights=True, transform_input=True)
    return builder


def _least_side(inner: str) -> int:
    """What torchvision says of any of the published weights."""
    sides: list[int] = [min(weights.meta["min_size"]) for weights in torchvision.models.get_model_weights(inner)]
    return min(sides)


def _read_by_their_parents(model: nn.Module) -> list[str]:
    inside = {nn.MultiheadAttention: ("out_proj",), ShiftedWindowAttention: ("qkv", "proj")}
    return [
        f"{name}.{layer}"
        for name, module in model.named_modules()
        for kind, layers in inside.items()
        if isinstance(module, kind)
        for layer in layers
    ]
