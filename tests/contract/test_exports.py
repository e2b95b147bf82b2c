"""Layers of every method go through compilers, exporters, other memory formats and dtypes, and copies."""

import pytest

from tnbench.core.grammar import parse_part
from tnbench.core.registry import Bound, Registry
from tnbench.engine.applied import functions_of
from tnbench.testing import method_exports as kit
from tnbench.testing.methods import LAYERS, sample_layer

REGISTRY = Registry()
ITERATIVE = {
    "cp": "cp[iters=4]",
    "cp3": "cp3[iters=4]",
    "cp_epc": "cp_epc[iters=4,sweeps=4]",
    "tkd_cpd": "tkd_cpd[iters=4,sweeps=4]",
    "tensor_ring": "tensor_ring[sweeps=4]",
}
OTHERS = ["tnet[format=cp,iters=4]", "tnet[format=tt]"]


def _bind(name: str) -> Bound:
    return REGISTRY.bind("method", parse_part("method", ITERATIVE.get(name, name))[0])


NAMES = [listing.name for listing in REGISTRY.listings("method")]
METHODS = [name for name in [*NAMES, *OTHERS] if _bind(name).scope != "network"]


def _check(check: kit.Check, name: str, layer: str) -> None:
    method, like = _bind(name), sample_layer(LAYERS[layer])
    if refusal := functions_of(method).refuses(like):
        pytest.skip(f"{name} refuses it: {refusal}")
    check(method.module, method.options, like)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("check", kit.EXPORTS)
def test_convolutions_go_everywhere(check: kit.Check, name: str) -> None:
    _check(check, name, "3x3 stride (2,1)")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("check", kit.EXPORTS)
def test_linear_layers_go_everywhere(check: kit.Check, name: str) -> None:
    _check(check, name, "linear")


@pytest.mark.parametrize("layer", ["3x3 stride (2,1)", "linear"])
def test_layers_of_all_methods_go_through_onnx(layer: str) -> None:
    for package in kit.ONNX:
        pytest.importorskip(package, reason=f"the extra onnx is not installed: no {package}")
    bound = {name: _bind(name) for name in METHODS}
    serving = {name: one for name, one in bound.items() if not functions_of(one).refuses(sample_layer(LAYERS[layer]))}
    kit.check_onnx_of_all(
        {name: (one.module, one.options, sample_layer(LAYERS[layer])) for name, one in serving.items()}
    )
