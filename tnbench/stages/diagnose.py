"""Each compressed layer on its own: what it costs, how far its output is off, and what bounds its speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.engine.evaluate import mode_of
from tnbench.engine.layer_time import forward_ms
from tnbench.engine.summary import Summary
from tnbench.measure.counts import layer_macs, layer_sizes
from tnbench.measure.roofline import Work, measure_machine
from tnbench.stages.conditions import calibration_pictures
from tnbench.stages.in_process import in_process
from tnbench.stages.prepare import Prepared

_PICTURES, _BATCH = 256, 128
_LEAST_S = 0.002

Found = dict[str, dict[str, Any]]


def diagnose(prepared: Prepared, dense: nn.Module, compressed: nn.Module, summary: Summary) -> Found:
    """Name of each compressed layer -> its numbers, in one process, with the threads of the case.

    `dense` and `compressed` are the network right before and right after its compression. Of a layer that is called
    once: ``macs`` and ``macs_dense`` for one picture, ``time_ms`` and ``time_ms_dense`` (median forward time at batch
    1), ``peak_share`` (its FLOPs per second over those of a matrix product here), ``intensity`` (FLOPs per byte of
    weights, inputs and outputs of its parts), ``bound`` (compute, memory or launches), ``output_error``
    (||y - y~|| / ||y|| over calibration pictures, each layer on what reaches it in the dense network), and what the
    method's own `diagnose` gave.
    """
    return in_process(prepared, lambda: _diagnose(prepared, dense, compressed, summary))


def _diagnose(prepared: Prepared, dense: nn.Module, compressed: nn.Module, summary: Summary) -> Found:
    names = [layer.name for layer in summary.compressed if layer.error is not None]
    sizes = layer_sizes(dense, prepared.pictures.in_shape)
    errors = _output_errors(prepared, dense, compressed, names)
    own = {layer.name: layer.diagnosis for layer in summary.layers}
    with torch.inference_mode(), mode_of(dense, training=False), mode_of(compressed, training=False):
        return {
            name: {
                **_costs(prepared, dense.get_submodule(name), compressed.get_submodule(name), sizes.get(name, [])),
                **({"output_error": errors[name]} if name in errors else {}),
                **own[name],
            }
            for name in names
        }


def _costs(prepared: Prepared, dense: nn.Module, layer: nn.Module, sizes: list[tuple[torch.Size, torch.Size]]) -> Any:
    if len(sizes) != 1:
        return {}
    ((inp, out),) = sizes
    inputs = torch.ones(inp, dtype=prepared.dtype, device=prepared.device)
    time_ms = forward_ms(layer, inputs, least_s=_LEAST_S)
    work = _work(layer, inputs)
    machine = measure_machine(prepared.device, prepared.dtype)
    return {
        "macs": work.flops // 2,
        "macs_dense": layer_macs(dense, inp, out),
        "time_ms": time_ms,
        "time_ms_dense": forward_ms(dense, inputs, least_s=_LEAST_S),
        "peak_share": work.flops / (time_ms / 1e3) / machine.flops_per_s,
        "intensity": work.intensity,
        "bound": work.bound(machine),
    }


def _work(layer: nn.Module, inputs: Tensor) -> Work:
    """FLOPs, bytes and launches of one forward pass, summed over the layer's parts."""
    parts = [part for part in layer.modules() if not list(part.children())] or [layer]
    if callable(getattr(layer, "macs", None)):
        parts = [layer]
    seen: list[tuple[int, int]] = []

    def keep(part: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        held = sum(parameter.numel() for parameter in part.parameters())
        numbers = held + given[0].numel() + out.numel()
        counted = hasattr(part, "weight") or part is layer
        seen.append((2 * layer_macs(part, given[0].shape, out.shape) if counted else 0, numbers * out.element_size()))

    handles = [part.register_forward_hook(keep) for part in parts]
    layer(inputs)
    for handle in handles:
        handle.remove()
    return Work(sum(flops for flops, _ in seen), sum(size for _, size in seen), len(seen))


def _output_errors(
    prepared: Prepared, dense: nn.Module, compressed: nn.Module, names: list[str]
) -> Mapping[str, float]:
    """Name -> ||y - y~|| / ||y||; nothing where there are too few training pictures."""
    try:
        pictures = calibration_pictures(prepared, _PICTURES).pictures
    except NotApplicable:
        return {}
    apart, whole = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)

    def hook(name: str) -> Any:
        def compare(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            near = compressed.get_submodule(name)(given[0])
            apart[name] += float((out - near).double().square().sum())
            whole[name] += float(out.double().square().sum())

        return compare

    handles = [dense.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        with mode_of(dense, training=False), mode_of(compressed, training=False), torch.inference_mode():
            for batch in pictures.split(_BATCH):
                dense(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (apart[name] / whole[name]) ** 0.5 for name in names if whole[name] > 0}
