"""A compressed network in one safetensors file, read back without the weights that it was made from.

The file's metadata has one entry, ``tnbench``: JSON with the number of this format, the blueprint (methods, ranks,
shapes of the factors, and why the other layers stayed dense), and which names stand for one tensor. Such a tensor is
stored once, under its first name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.registry import Registry
from tnbench.engine.blueprint import Blueprint, PartBlueprint, build

FORMAT = 1
_ENTRY = "tnbench"


def save_compressed(model: nn.Module, blueprint: Blueprint, file: str | Path) -> None:
    """Write the network that `blueprint` tells of, as it is now: trained further, on any device, in any dtype.

    The file appears under its name only when it is whole.
    """
    from safetensors.torch import save_file

    state = model.state_dict(keep_vars=True)
    ties = _ties(state)
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items() if name not in ties}
    if not isinstance(blueprint, Blueprint):
        raise UsageError(
            f"save_compressed: got a {type(blueprint).__name__} for the blueprint, wanted summary.blueprint, "
            f"of the summary that compress gave"
        )
    if not Path(file).absolute().parent.is_dir():
        raise UsageError(f"{file}: its folder is not there; make it, or name a file in one that is")
    about = {"format": FORMAT, "blueprint": asdict(blueprint), "ties": ties}
    unfinished = Path(f"{file}.{os.getpid()}.tmp")
    try:
        save_file(tensors, unfinished, metadata={_ENTRY: json.dumps(about)})
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def load_compressed(
    file: str | Path,
    into: nn.Module,
    *,
    registry: Registry | None = None,
    rebuild: Callable[[float], nn.Module] | None = None,
) -> nn.Module:
    """The network that `save_compressed` wrote. `into` is a dense network of the same architecture, with any weights.

    It is left as it was, and gives the device and the modes of its modules; dtypes are the file's. See
    `tnbench.engine.blueprint.build` for `rebuild`.

    Raises TnbenchError for a file that is none of tnbench's, or of a newer format, and UsageError where `into` is of
    another architecture.
    """
    about, tensors = _read(Path(file))
    try:
        model = build(_blueprint(about["blueprint"]), into, registry=registry, rebuild=rebuild)
        state = model.state_dict(keep_vars=True)
        _check(state, tensors, about["ties"])
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    for name, tensor in state.items():
        tensor.data = tensor.data.to(tensors[about["ties"].get(name, name)].dtype)
    model.load_state_dict({name: tensors[about["ties"].get(name, name)] for name in state})
    return model


def read_blueprint(file: str | Path) -> Blueprint:
    """What a file of `save_compressed` says of its network. Raises TnbenchError as `load_compressed` does."""
    about, _ = _read(Path(file))
    return _blueprint(about["blueprint"])


def _ties(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Name -> the first name of the same tensor, for all further names."""
    first: dict[int, str] = {}
    return {name: first[id(tensor)] for name, tensor in state.items() if first.setdefault(id(tensor), name) != name}


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            about = json.loads((opened.metadata() or {}).get(_ENTRY, "null"))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except OSError as error:
        raise TnbenchError(f"{file}: cannot read it: {error.strerror or 'there is no such file'}") from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise TnbenchError(f"{file}: not a whole safetensors file ({error}); {_WANTED}") from None
    if not isinstance(about, dict) or type(about.get("format")) is not int:
        raise TnbenchError(f"{file}: a safetensors file without an entry {_ENTRY!r} in its metadata; {_WANTED}")
    if about["format"] > FORMAT:
        raise TnbenchError(f"{file}: of format {about['format']}, newer than this tnbench's {FORMAT}; update tnbench")
    if not {"blueprint", "ties"} <= about.keys():
        raise TnbenchError(f"{file}: its entry {_ENTRY!r} says nothing of the layers; {_WANTED}")
    return about, tensors


_WANTED = "wanted one that tnbench's save_compressed wrote"


def _blueprint(plain: Mapping[str, Any]) -> Blueprint:
    parts = tuple(
        PartBlueprint(
            part["name"],
            part["method"],
            {name: tuple(shape) for name, shape in part["layers"].items()},
            tuple(part["ranks"]),
            tuple(map(tuple, part["factors"])),
        )
        for part in plain["parts"]
    )
    return Blueprint(plain["rank"], parts, plain["notes"])


def _check(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor], ties: Mapping[str, str]) -> None:
    """Raise UsageError unless the network's tensors are the file's."""
    wanted = "wanted the architecture that was compressed"
    stored = tensors.keys() | ties.keys()
    if missing := sorted(state.keys() - stored):
        raise UsageError(f"the network has a tensor {missing[0]!r}, the file has none; {wanted}")
    if missing := sorted(stored - state.keys()):
        raise UsageError(f"the file has a tensor {missing[0]!r}, the network has none; {wanted}")
    for name, tensor in state.items():
        shape = tensors[ties.get(name, name)].shape
        if tensor.shape != shape:
            raise UsageError(f"tensor {name!r}: got {tuple(tensor.shape)}, the file has {tuple(shape)}; {wanted}")
        if tensor.is_meta:
            raise UsageError(f"tensor {name!r} is on the meta device; wanted a network with memory to load into")
    if (own := _ties(state)) != ties:
        name = sorted(own.items() ^ ties.items())[0][0]
        raise UsageError(f"the tensor {name!r} is shared with others in the network or in the file, not both; {wanted}")
