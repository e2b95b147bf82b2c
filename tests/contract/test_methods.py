import copy
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tnbench.core.errors import UsageError
from tnbench.core.grammar import Atom, parse_part
from tnbench.core.registry import Bound, Registry
from tnbench.engine.applied import with_options
from tnbench.methods import dense, svd, tt
from tnbench.testing import methods as kit
from tnbench.testing.group_methods import check_group_method
from tnbench.testing.network_methods import check_network_method

REGISTRY = Registry()
ITERATIVE = {
    "cp": "cp[iters=6]",
    "cp3": "cp3[iters=6]",
    "cp_epc": "cp_epc[iters=6,sweeps=20]",
    "tkd_cpd": "tkd_cpd[iters=6,sweeps=20]",
    "tensor_ring": "tensor_ring[sweeps=6]",
    "block_term": "block_term[iters=6]",
}
"""Few sweeps, for those whose solvers take many."""


def _bind(text: str) -> Bound:
    return REGISTRY.bind("method", parse_part("method", text)[0])


KITS = {"layer": kit.check_method, "group": check_group_method, "network": check_network_method}


@pytest.mark.parametrize("name", [listing.name for listing in REGISTRY.listings("method")])
def test_method_keeps_its_contract(name: str) -> None:
    bound = _bind(ITERATIVE.get(name, name))
    KITS[bound.scope](bound.module, bound.options)


TENSORLY = ("svd", "svd_spatial", "cp", "cp3", "tucker2", "tucker", "hierarchical_tucker", "tt", "tt_conv", "tt_linear")


@pytest.mark.parametrize("name", TENSORLY)
def test_method_keeps_its_contract_with_tensorly(name: str) -> None:
    bound = _bind(f"{name}[solver=tensorly]")
    layers = [kit.sample_layer(kit.LAYERS[layer]) for layer in ("3x3", "linear")]
    served = [layer for layer in layers if with_options(bound.module.refuses, bound.options)(layer) is None]
    assert served
    for check, layer in product(kit.GEOMETRY + kit.ALGEBRA, served):
        check(bound.module, bound.options, copy.deepcopy(layer))


@pytest.mark.parametrize("name", ["svd", "tucker2", "tt", "cp"])
def test_depthwise_and_transposed_convolutions_are_refused(name: str) -> None:
    refuses = _bind(name).module.refuses
    assert refuses(torch.nn.Conv2d(6, 6, 3, groups=2)) is None
    assert refuses(torch.nn.Conv2d(6, 6, 3, groups=6)) == (
        "it is a depthwise convolution of 6 channels, which has no channels to mix"
    )
    assert refuses(torch.nn.ConvTranspose2d(6, 6, 3)) == (
        "it is a ConvTranspose2d, wanted a plain Conv1d, Conv2d, Conv3d or Linear"
    )


def _broken(base: Any, **changes: Any) -> Any:
    names = [name for name in dir(base) if not name.startswith("__")]
    return SimpleNamespace(**{name: getattr(base, name) for name in names} | changes)


def _modifying(weight: torch.Tensor, ranks: Any, **given: Any) -> Any:
    factors = svd.factorise(weight, ranks, **given)
    weight.mul_(2.0)
    return factors


def _drawing(weight: torch.Tensor, ranks: Any, **given: Any) -> Any:
    return tuple(factor + 1e-3 * torch.randn_like(factor) for factor in svd.factorise(weight, ranks, **given))


def _in_float64(weight: torch.Tensor, ranks: Any, **given: Any) -> Any:
    return tuple(factor.double() for factor in svd.factorise(weight, ranks, **given))


def _without_bias(factors: Any, like: Any) -> torch.nn.Module:
    layer = svd.layer(factors, like)
    torch.nn.init.zeros_(layer[-1].bias) if like.bias is not None else None
    return layer


def _undilated(factors: Any, like: Any) -> torch.nn.Module:
    layer = tt.layer(factors, like)
    for part in layer:
        part.dilation = (1, 1)
    return layer


def _sharing(factors: Any, like: Any) -> torch.nn.Module:
    layer = svd.layer(factors, like)
    layer[-1].bias = like.bias
    return layer


BROKEN = {
    "check_count": _broken(svd, count=lambda shape, ranks: svd.count(shape, ranks) + 1),
    "check_macs": _broken(svd, macs=lambda shape, ranks, pixels: svd.count(shape, ranks) * pixels.inp),
    "check_output, layer 3x3:": _broken(svd, layer=_without_bias),
    "check_macs, layer 3x3 dilation 2": _broken(tt, layer=_undilated),
    "check_largest_ranks": _broken(svd, largest_ranks=lambda shape: (svd.largest_ranks(shape)[0] // 2,)),
    "check_input_unmodified": _broken(svd, layer=_sharing),
    "check_output, layer 3x3: KeyError": _broken(svd, dense=lambda factors: {}["factors"]),
    "refuses: got a refusal": _broken(svd, refuses=lambda layer: "never"),
    "refuses: got ''": _broken(svd, refuses=lambda layer: ""),
}


@pytest.mark.parametrize(("message", "method"), BROKEN.items(), ids=BROKEN)
def test_kit_fails_a_broken_method(message: str, method: Any) -> None:
    with pytest.raises(AssertionError, match=message.replace("'", ".")):
        kit.check_method(method, svd.Options())


@pytest.mark.parametrize(
    ("check", "changes", "message"),
    [
        (kit.check_input_unmodified, {"factorise": _modifying}, "the layer's weight changed"),
        (kit.check_deterministic, {"factorise": _drawing}, "global generator moved"),
        (kit.check_dtype, {"factorise": _in_float64}, "from a weight of torch.float32"),
        (kit.check_monotone, {"dense": lambda factors: svd.dense(factors) * len(factors[0])}, "error at ranks"),
        (kit.check_zero_weight, {"dense": lambda factors: svd.dense(factors) + 1e-6}, "weight of zeros"),
    ],
)
def test_check_fails_a_broken_function(check: kit.Check, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(_broken(svd, **changes), svd.Options(), kit.sample_layer(kit.LAYERS["3x3"]))


def test_check_fails_a_layer_that_lives_in_training_mode() -> None:
    method = _broken(svd, layer=lambda factors, like: svd.layer(factors, like).train())
    with pytest.raises(AssertionError, match="the new layer is in training mode"):
        kit.check_state_dict(method, svd.Options(), kit.sample_layer(kit.LAYERS["linear"]))


def test_check_fails_a_linear_layer_of_flat_inputs_only() -> None:
    class Flat(torch.nn.Sequential):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs.flatten(0, -2))

    method = _broken(svd, layer=lambda factors, like: Flat(*svd.layer(factors, like)))
    with pytest.raises(AssertionError, match=r"output's shape: got \(6, 9\)"):
        kit.check_leading_dimensions(method, svd.Options(), kit.sample_layer(kit.LAYERS["linear"]))


def test_check_fails_factors_that_are_not_finite() -> None:
    method = _broken(svd, factorise=lambda *a, **k: tuple(f / 0 for f in svd.factorise(*a, **k)))
    with pytest.raises(AssertionError, match="not finite"):
        kit.check_deficient_weight(method, svd.Options(), kit.sample_layer(kit.LAYERS["1x1"]))


def test_a_method_that_serves_groups_is_held_to_them() -> None:
    names = {name for _, name, _ in kit.each_check(dense)}
    assert set(kit.REFUSABLE) <= names
    assert set(kit.REFUSABLE) & {name for _, name, _ in kit.each_check(svd, svd.Options())} == {"grouped"}


def test_an_unknown_solver_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="the nearest is 'gram'"):
        REGISTRY.bind("method", Atom("svd", options=(("solver", "gramm"),)))
