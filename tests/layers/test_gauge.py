"""Other factors, the same function: balanced channels, orthonormal sides, equal norms."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tnbench.core.grammar import parse_part
from tnbench.core.registry import Bound, Registry
from tnbench.engine.applied import OnLayer, functions_of
from tnbench.layers import gauge
from tnbench.layers.chain import chain
from tnbench.testing import methods as kit

Shapes = list[tuple[int, ...]]

CHAINS: dict[str, tuple[Shapes, nn.Module]] = {
    "linear": ([(5, 12), (4, 5), (9, 4)], nn.Linear(12, 9)),
    "svd": ([(4, 6, 3, 3), (8, 4, 1, 1)], nn.Conv2d(6, 8, 3)),
    "tucker": ([(4, 6, 1, 1), (5, 4, 3, 3), (8, 5, 1, 1)], nn.Conv2d(6, 8, 3)),
    "train": ([(4, 6, 1, 1), (9, 4, 3, 1), (5, 9, 1, 3), (8, 5, 1, 1)], nn.Conv2d(6, 8, 3)),
    "cp": ([(7, 6, 1, 1), (7, 1, 3, 1), (7, 1, 1, 3), (8, 7, 1, 1)], nn.Conv2d(6, 8, 3)),
    "cp in 3d": (
        [(7, 6, 1, 1, 1), (7, 1, 3, 1, 1), (7, 1, 1, 2, 1), (7, 1, 1, 1, 3), (8, 7, 1, 1, 1)],
        nn.Conv3d(6, 8, (3, 2, 3)),
    ),
    "tucker of cp": ([(4, 6, 1), (7, 4, 1), (7, 1, 3), (5, 7, 1), (8, 5, 1)], nn.Conv1d(6, 8, 3)),
    "blocks": ([(6, 6, 1, 1), (4, 3, 3, 3), (8, 4, 1, 1)], nn.Conv2d(6, 8, 3)),
    "blocks of two sizes": ([(12, 6, 1, 1), (12, 2, 3, 3), (8, 3, 1, 1), (8, 8, 1, 1)], nn.Conv2d(6, 8, 3)),
    "more channels than entries": ([(20, 6, 1, 1), (8, 20, 3, 3)], nn.Conv2d(6, 8, 3)),
    "one channel": ([(1, 6, 1, 1), (8, 1, 3, 3)], nn.Conv2d(6, 8, 3)),
}
GAUGES: tuple[gauge.Kind, ...] = ("balanced", "orthogonal", "raw")


def _drawn(shapes: Shapes, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    # Channels of very different sizes, as CP's cancelling terms have them.
    return tuple(f * 10 ** torch.randn(len(f), *[1] * (f.dim() - 1), generator=generator).double() for f in drawn)


def _output(factors: tuple[Tensor, ...], like: nn.Module) -> Tensor:
    sides = len(getattr(like, "kernel_size", ()))
    shape = (3, 12) if sides == 0 else (3, 6, *(5 + side for side in range(sides)))
    picture = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    output: Tensor = chain(factors, like.double())(picture).detach()
    return output


@pytest.mark.parametrize("kind", GAUGES)
@pytest.mark.parametrize(("shapes", "like"), CHAINS.values(), ids=CHAINS)
def test_a_gauge_changes_factors_but_not_what_they_compute(kind: gauge.Kind, shapes: Shapes, like: nn.Module) -> None:
    factors = _drawn(shapes)
    changed = gauge.regauge(factors, kind)
    assert [factor.shape for factor in changed] == [factor.shape for factor in factors]
    before, after = _output(factors, like), _output(changed, like)
    assert torch.dist(before, after) < 1e-12 * before.norm()
    moved = not all(torch.allclose(one, two) for one, two in zip(factors, changed, strict=True))
    assert moved == (kind != "raw")


@pytest.mark.parametrize(("shapes", "like"), CHAINS.values(), ids=CHAINS)
def test_both_sides_of_a_balanced_channel_have_one_norm(shapes: Shapes, like: nn.Module) -> None:
    for before, after in pairwise(gauge.regauge(_drawn(shapes), "balanced")):
        leading_to, leading_away = _norms(before, after)
        assert torch.allclose(leading_to, leading_away, rtol=1e-8)


def _norms(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    groups = len(before) // after.shape[1]
    columns = after.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return before.flatten(1).norm(dim=1), columns.flatten(1).norm(dim=1)


def test_terms_of_cp_have_equal_columns_in_all_modes() -> None:
    inp, vertical, horizontal, out = gauge.regauge(_drawn(CHAINS["cp"][0]), "balanced")
    norms = [inp.flatten(1).norm(dim=1), vertical.flatten(1).norm(dim=1), horizontal.flatten(1).norm(dim=1)]
    assert all(torch.allclose(norm, out[:, :, 0, 0].norm(dim=0), rtol=1e-8) for norm in norms)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(CHAINS)))
def test_no_scaling_of_channels_makes_balanced_factors_smaller(seed: int, name: str) -> None:
    factors = _drawn(CHAINS[name][0], seed)
    balanced = gauge.regauge(factors, "balanced")
    assert _energy(balanced) <= _energy(factors) * (1 + 1e-9)
    scale = torch.rand(len(factors[0]), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5
    first, second, *rest = balanced
    groups = len(first) // second.shape[1]
    columns = second.unflatten(0, (groups, -1)) / scale.reshape(groups, 1, -1, *[1] * (second.dim() - 2))
    other = (first * scale.reshape(-1, *[1] * (first.dim() - 1)), columns.flatten(0, 1), *rest)
    assert _energy(balanced) <= _energy(other) * (1 + 1e-9)


def _energy(factors: tuple[Tensor, ...]) -> float:
    return sum(float(factor.square().sum()) for factor in factors)


def test_a_train_is_orthonormal_on_both_sides_of_its_centre() -> None:
    inp, vertical, horizontal, out = gauge.regauge(_drawn(CHAINS["train"][0]), "orthogonal")
    for rows in (inp.flatten(1), vertical.flatten(1), out.flatten(1).T):
        assert torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=rows.dtype), atol=1e-12)
    assert not torch.allclose(horizontal.norm(), torch.tensor(5.0, dtype=torch.float64).sqrt())


def test_tuckers_core_keeps_what_is_not_orthonormal() -> None:
    inp, core, out = gauge.regauge(_drawn(CHAINS["tucker"][0]), "orthogonal")
    for rows in (inp.flatten(1), out.flatten(1).T):
        assert torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=rows.dtype), atol=1e-12)
    assert torch.allclose(core.norm(), _weight(CHAINS["tucker"]).norm())


def _weight(entry: tuple[Shapes, nn.Module]) -> Tensor:
    inp, core, out = _drawn(entry[0])
    return torch.einsum("ai,bahw,ob->oihw", inp[:, :, 0, 0], core, out[:, :, 0, 0])


def test_depthwise_factors_get_columns_of_unit_norm() -> None:
    inp, vertical, horizontal, out = gauge.regauge(_drawn(CHAINS["cp"][0]), "orthogonal")
    for columns in (inp.flatten(1), vertical.flatten(1), out.flatten(1).T):
        assert torch.allclose(columns.norm(dim=1), torch.ones(7, dtype=torch.float64))
    assert float(horizontal.norm()) > 0


def test_blocks_are_orthonormal_one_by_one() -> None:
    inp, _, out = gauge.regauge(_drawn(CHAINS["blocks"][0]), "orthogonal")
    grams = torch.stack([block @ block.T for block in inp.flatten(1).chunk(2)])
    assert torch.allclose(grams, torch.eye(3, dtype=torch.float64).expand(2, 3, 3), atol=1e-12)
    assert abs(float((inp.flatten(1)[:3] @ inp.flatten(1)[3:].T).norm())) > 1e-3
    grams = torch.stack([block.T @ block for block in out.flatten(1).chunk(2, dim=1)])
    assert torch.allclose(grams, torch.eye(2, dtype=torch.float64).expand(2, 2, 2), atol=1e-12)


def test_a_first_factor_of_several_groups_needs_the_channels_that_arrive() -> None:
    like = nn.Conv2d(6, 8, 3).double()
    factors = _drawn([(6, 1, 3, 3), (8, 6, 1, 1)])
    for kind in GAUGES:
        changed = gauge.regauge(factors, kind, channels=6)
        assert torch.allclose(_output(changed, like), _output(factors, like))
    assert not torch.allclose(_output(gauge.regauge(factors, "orthogonal"), like), _output(factors, like))


@pytest.mark.parametrize("kind", GAUGES)
@pytest.mark.parametrize("dead", [0, 1, 2])
def test_channels_of_zeros_stay_finite(kind: gauge.Kind, dead: int) -> None:
    shapes, like = CHAINS["tucker"]
    factors = _drawn(shapes)
    factors[dead][1].zero_()
    changed = gauge.regauge(factors, kind)
    assert all(bool(factor.isfinite().all()) for factor in changed)
    assert torch.allclose(_output(changed, like), _output(factors, like), rtol=1e-10)


@pytest.mark.parametrize("kind", GAUGES)
def test_zeros_alone_stay_zeros(kind: gauge.Kind) -> None:
    shapes, like = CHAINS["cp"]
    zeros = tuple(torch.zeros(shape, dtype=torch.float64) for shape in shapes)
    changed = gauge.regauge(zeros, kind)
    assert all(bool(factor.isfinite().all()) for factor in changed)
    assert torch.equal(_output(changed, like), _output(zeros, like))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_are_kept(dtype: torch.dtype) -> None:
    for kind in GAUGES:
        changed = gauge.regauge([factor.to(dtype) for factor in _drawn(CHAINS["train"][0])], kind)
        assert {factor.dtype for factor in changed} == {dtype}


def test_a_single_factor_has_one_gauge() -> None:
    factor = torch.randn(4, 3)
    assert all(torch.equal(gauge.regauge([factor], kind)[0], factor) for kind in GAUGES)


def _chains() -> dict[str, Bound]:
    """Every method whose layers are chains."""
    registry = Registry()
    names = [listing.name for listing in registry.listings("method")]
    bound = {name: registry.bind("method", parse_part("method", name)[0]) for name in names}
    return {name: one for name, one in bound.items() if getattr(one.module, "layer", None) is chain}


@pytest.mark.parametrize("layer", ["3x3", "linear"])
@pytest.mark.parametrize("name", _chains())
def test_every_method_of_chains_keeps_its_weight(name: str, layer: str) -> None:
    like = kit.sample_layer(kit.LAYERS[layer]).double()
    functions = functions_of(_chains()[name])
    if functions.refuses(like) is not None:
        pytest.skip(f"{name} does not serve the layer {layer}")
    applied = OnLayer(functions, "it", like)
    factors = applied.factorise(tuple(max(1, rank // 2) for rank in applied.largest), seed=0)
    wanted = applied.dense(factors)
    for kind in GAUGES:
        changed = applied.regauged(factors, kind)
        assert torch.allclose(applied.dense(changed), wanted, rtol=1e-10, atol=1e-12 * float(wanted.norm()))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=1, max_size=6))
def test_spread_factors_have_one_norm_and_the_same_product(exponents: list[float]) -> None:
    factors = [torch.full((3,), 10.0**exponent, dtype=torch.float64) for exponent in exponents]
    even = gauge.spread(factors)
    norms = torch.stack([factor.norm() for factor in even])
    assert torch.allclose(norms, norms[:1].expand_as(norms), rtol=1e-12)
    assert torch.allclose(torch.stack(even).log().sum(0), torch.stack(factors).log().sum(0), atol=1e-10)


def test_spread_leaves_zeros_alone() -> None:
    factors = (torch.zeros(3), torch.ones(2))
    assert all(torch.equal(one, two) for one, two in zip(gauge.spread(factors), factors, strict=True))
