"""The peers' side: TensorLy with a backend of this thread alone, and layers of the others that hold our factors."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def backend(name: str) -> Iterator[None]:
    """TensorLy's backend `name` in this thread; the process's own, which tltorch sets on import, stays as it is."""
    from tensorly.backend import BackendManager

    chosen = BackendManager.current_backend()
    BackendManager.set_backend(name, local_threadsafe=True)
    try:
        yield
    finally:
        BackendManager.set_backend(chosen, local_threadsafe=True)


def in_backend(name: str, function: str, *arguments: Any, **options: Any) -> Any:
    """``tensorly.decomposition.<function>`` of the arguments, under the backend `name`."""
    with backend(name), warnings.catch_warnings():
        import tensorly.decomposition

        # Of ranks above a side, in which it is right.
        warnings.filterwarnings("ignore", "Trying to compute SVD with n_eigenvecs")
        return getattr(tensorly.decomposition, function)(*arguments, **options)


def as_tensor(array: Any) -> Tensor:
    """A float64 tensor of an array or tensor."""
    return torch.as_tensor(array).double()


def tltorch_conv(kind: str, factors: Sequence[Tensor], like: nn.Conv2d) -> nn.Module:
    """TensorLy-Torch's FactorizedConv with our factors, `kind` cp, tucker or tt.

    It leaves its weights and bias uninitialised, so every one of them is set here; its own factor per mode is what our
    convolutions hold, and what it has beyond them (CP's weights, Tucker's spatial factors) becomes the identity.
    """
    from tltorch import FactorizedConv

    parts, rank, options = _FORMATS[kind](factors)
    conv = FactorizedConv(
        like.in_channels,
        like.out_channels,
        like.kernel_size,
        stride=like.stride[0],
        padding=like.padding[0],
        bias=True,
        factorization=kind,
        rank=rank,
        implementation="factorized",
        **options,
    )
    return _with_values(conv, parts, like.bias)


def tltorch_linear(cores: Sequence[Tensor], bias: Tensor) -> nn.Module:
    """TensorLy-Torch's FactorizedLinear in its BlockTT format with `cores` (r, out, in, r')."""
    from tltorch import FactorizedLinear

    linear = FactorizedLinear(
        tuple(core.shape[2] for core in cores),
        tuple(core.shape[1] for core in cores),
        factorization="blocktt",
        rank=(*(core.shape[0] for core in cores), 1),
        implementation="factorized",
    )
    return _with_values(linear, {f"factors.{index}": core for index, core in enumerate(cores)}, bias)


def tednet_cp(factors: Sequence[Tensor], like: nn.Conv2d) -> nn.Module:
    """tednet's CPConv2D with our factors: four vectors for each rank-one term, added up in a Python loop."""
    from tednet.tnn.cp import CPConv2D

    inp, vertical, horizontal, out = factors
    with redirect_stdout(io.StringIO()):  # it prints its compression ratio
        conv: nn.Module = CPConv2D(
            like.in_channels, like.out_channels, len(inp), like.kernel_size, stride=like.stride, padding=like.padding
        )
    values = {"bias": _value(like.bias)}
    for term in range(len(inp)):
        values[f"node_in_block{term}"] = inp[term].flatten()
        values[f"node_out_block{term}"] = out[:, term].flatten()
        values[f"node_k0_block{term}"] = vertical[term].flatten()
        values[f"node_k1_block{term}"] = horizontal[term].flatten()
    conv.load_state_dict(values)
    return conv


_Format = tuple[dict[str, Tensor], Any, dict[str, Any]]


def _cp(factors: Sequence[Tensor]) -> _Format:
    inp, vertical, horizontal, out = factors
    R = len(inp)
    columns = (out.flatten(1), inp.flatten(1).T, vertical.flatten(1).T, horizontal.flatten(1).T)
    return {"weights": torch.ones(R)} | _numbered(columns), R, {}


def _tucker(factors: Sequence[Tensor]) -> _Format:
    inp, core, out = factors
    bases = (out.flatten(1), inp.flatten(1).T, torch.eye(core.shape[2]), torch.eye(core.shape[3]))
    return {"core": core} | _numbered(bases), tuple(core.shape), {"fixed_rank_modes": "spatial"}


def _tt(factors: Sequence[Tensor]) -> _Format:
    inp, vertical, horizontal, out = factors
    cores = (
        inp.flatten(1).T[None],
        vertical[..., 0].permute(1, 2, 0),
        horizontal[:, :, 0].permute(1, 2, 0),
        out.flatten(1).T[..., None],
    )
    return _numbered(cores), (*(core.shape[0] for core in cores), 1), {}


_FORMATS: dict[str, Callable[[Sequence[Tensor]], _Format]] = {"cp": _cp, "tucker": _tucker, "tt": _tt}


def _numbered(tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"factors.{index}": tensor for index, tensor in enumerate(tensors)}


def _with_values(layer: nn.Module, parts: dict[str, Tensor], bias: Tensor | None) -> nn.Module:
    """`layer` with every one of its parameters set: a peer's default may be no value at all."""
    values = {"bias": _value(bias)} | {f"weight.{name}": part for name, part in parts.items()}
    parameters = {_plain(name): parameter for name, parameter in layer.named_parameters()}
    assert parameters.keys() == values.keys(), f"got {sorted(values)}, wanted {sorted(parameters)}"
    with torch.no_grad():
        for name, parameter in parameters.items():
            assert parameter.shape == values[name].shape, f"{name}: {values[name].shape} for {parameter.shape}"
            parameter.copy_(values[name])
    return layer


def _plain(name: str) -> str:
    """``weight.factors.factor_0`` as ``weight.factors.0``."""
    return name.replace("factor_", "")


def _value(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "layers are compared with their bias"
    return tensor.detach()
