"""The methods with a stable CP: `cp_epc` and `tkd_cpd`."""

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Pixels
from tnbench.measure.counts import count_macs, pixels_of
from tnbench.methods import cp3, cp_epc, tkd_cpd

QUICK = {"iters": 20, "sweeps": 60}


def kernel(*shape: int, seed: int = 0) -> Tensor:
    """A kernel with decaying spectra."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
    decay = [1 / torch.arange(1, side + 1, dtype=torch.float64) for side in shape[:2]]
    return drawn * decay[0].reshape(-1, *(1 for _ in shape[1:])) * decay[1].reshape(-1, *(1 for _ in shape[2:]))


def error(method: ModuleType, factors: tuple[Tensor, ...], weight: Tensor) -> float:
    return float(torch.dist(method.dense(factors), weight) / weight.norm())


def test_the_terms_are_less_sensitive_than_least_squares_ones_and_as_near() -> None:
    weight, ranks = kernel(16, 12, 3, 3), (14,)
    plain = cp3.factorise(weight, ranks, seed=0, options=cp3.Options())
    stable = cp_epc.factorise(weight, ranks, seed=0, options=cp_epc.Options(slack=0.01, sweeps=300))
    assert [factor.shape for factor in stable] == [factor.shape for factor in plain]
    assert error(cp_epc, stable, weight) <= 1.01 * error(cp3, plain, weight) * (1 + 1e-9)
    before, after = cp3.diagnose(plain), cp_epc.diagnose(stable)
    assert after["sensitivity"] < 0.6 * before["sensitivity"]
    assert after["cancellation"] < before["cancellation"]


def test_slack_is_how_much_the_error_may_rise() -> None:
    weight, ranks = kernel(10, 8, 3, 3), (8,)
    base = error(cp3, cp3.factorise(weight, ranks, seed=0, options=cp3.Options(iters=20)), weight)
    for slack in (0.0, 0.05, 0.2):
        options = cp_epc.Options(slack=slack, **QUICK)
        reached = error(cp_epc, cp_epc.factorise(weight, ranks, seed=0, options=options), weight)
        assert reached <= base * (1 + slack) * (1 + 1e-9)
    assert reached > base


@pytest.mark.parametrize("method", [cp_epc, tkd_cpd])
@pytest.mark.parametrize("shape", [(7, 6, 5), (6, 5, 3, 2), (5, 4, 2, 3, 2), (6, 1, 3, 3), (1, 6, 3, 3), (7, 5, 1, 1)])
def test_kernels_in_one_to_three_dimensions(method: ModuleType, shape: tuple[int, ...]) -> None:
    weight = kernel(*shape)
    largest = method.largest_ranks(shape)
    last = 1.0
    for part in (1, 2, 3):
        ranks = tuple(max(1, rank * part // 3) for rank in largest)
        factors = method.factorise(weight, ranks, seed=0, options=method.Options(**QUICK))
        assert sum(factor.numel() for factor in factors) == method.count(shape, ranks)
        reached = error(method, factors, weight)
        assert reached <= 1.01 * last
        last = reached
    assert last < 1e-9


@pytest.mark.parametrize(
    ("ranks", "sides"),
    [
        ((8, 6, 20), [(8, 32), (20, 8), (20, 1), (6, 20), (24, 6)]),
        ((20, 6, 20), [(20, 32), (20, 1), (6, 20), (24, 6)]),
        ((8, 20, 20), [(8, 32), (20, 8), (20, 1), (24, 20)]),
        ((20, 20, 20), [(20, 32), (20, 1), (24, 20)]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pointwise_convolutions_are_merged_where_that_has_no_more_weights(
    ranks: tuple[int, int, int], sides: list[tuple[int, int]], dtype: torch.dtype
) -> None:
    conv = nn.Conv2d(32, 24, 3, stride=2, padding=1, dtype=dtype)
    weight = kernel(24, 32, 3, 3).to(dtype)
    factors = tkd_cpd.factorise(weight, ranks, seed=0, options=tkd_cpd.Options(**QUICK))
    assert [tuple(factor.shape[:2]) for factor in factors] == sides
    assert {factor.dtype for factor in factors} == {dtype}
    shape = tuple(weight.shape)
    assert tkd_cpd.count(shape, ranks) == sum(factor.numel() for factor in factors)
    module = tkd_cpd.layer(factors, conv)
    picture = torch.randn(2, 32, 9, 10, dtype=dtype, generator=torch.Generator().manual_seed(0))
    pixels = pixels_of(conv, (9, 10))
    assert tkd_cpd.macs(shape, ranks, pixels) == count_macs(module, tuple(picture.shape[1:]))
    conv.weight.data.copy_(tkd_cpd.dense(factors))
    torch.testing.assert_close(module(picture), conv(picture), rtol=1e-4, atol=1e-5)


def test_counts_of_the_catalogue() -> None:
    O, I, k, R1, R2, R = 256, 128, 9, 16, 24, 60
    shape = (O, I, 3, 3)
    assert cp_epc.count(shape, (R,)) == R * (I + k + O)
    assert tkd_cpd.count(shape, (R1, R2, R)) == I * R1 + R * (R1 + k + R2) + R2 * O
    assert tkd_cpd.count(shape, (I, O, R)) == R * (I + k + O)
    inp, out = 100, 25
    pixels = Pixels(inp, 50, out)
    assert cp_epc.macs(shape, (R,), pixels) == R * (I * inp + k * out + O * out)
    assert tkd_cpd.macs(shape, (R1, R2, R), pixels) == (I * R1 + R * R1) * inp + (R * k + R * R2 + R2 * O) * out


def test_a_core_has_no_use_for_more_terms_than_make_it_exact() -> None:
    shape = (24, 32, 3, 3)
    assert tkd_cpd.useful_ranks(shape, (4, 5, 100)) == (4, 5, 20)
    assert tkd_cpd.useful_ranks(shape, (32, 2, 100)) == (18, 2, 18)
    assert tkd_cpd.useful_ranks((24, 32), (7,)) == (7,)


def test_more_terms_of_one_core_come_nearer_to_its_tucker_error() -> None:
    weight, tucker = kernel(16, 12, 3, 3), (5, 6)
    few, many, exact = (
        error(tkd_cpd, tkd_cpd.factorise(weight, (*tucker, R), seed=0, options=tkd_cpd.Options(**QUICK)), weight)
        for R in (4, 20, 30)
    )
    assert few > many > exact > 0


def test_linear_layers_get_their_truncated_svd() -> None:
    weight = kernel(9, 7)
    wanted = float(torch.linalg.svdvals(weight)[3:].norm() / weight.norm())
    for method in (cp_epc, tkd_cpd):
        factors = method.factorise(weight, (3,), seed=0, options=method.Options())
        assert error(method, factors, weight) == pytest.approx(wanted)
        assert method.diagnose(factors)["congruence"] < 1e-12


@pytest.mark.parametrize("method", [cp_epc, tkd_cpd])
def test_options_that_mean_nothing_are_refused(method: ModuleType) -> None:
    name = method.__name__.rpartition(".")[2]
    for field in ("iters", "sweeps", "starts"):
        with pytest.raises(UsageError, match=f"method {name}: got {field} = 0, wanted a whole number from 1 on"):
            method.Options(**{field: 0})
    for slack in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=f"got slack = {slack:g}, wanted a number from 0 on, such as 0.001"):
            method.Options(slack=slack)
