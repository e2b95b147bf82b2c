"""Formulas by hand, splits, refusals and forms of plain layers of `kronecker` and `monarch`."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tnbench.core.errors import UsageError
from tnbench.core.grammar import Atom
from tnbench.core.protocols import Pixels
from tnbench.core.registry import Registry
from tnbench.layers.kronecker import mixes_first
from tnbench.methods import kronecker, monarch

KRONECKER, MONARCH = kronecker.Options(), monarch.Options()


def drawn(build: Any, dtype: torch.dtype = torch.float64) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().to(dtype)


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def module_of(method: Any, options: Any, like: nn.Module, rank: int) -> Any:
    return method.layer(method.factorise(like.weight.detach(), (rank,), seed=0, options=options), like)


def test_counts_of_kronecker_by_hand() -> None:
    """8 = 4·2 and 6 = 3·2, so A is 4×3 and B 2×2×3×5: each term takes 6 (30 + 4), or 8 (3·Pi + 30·P) with A first."""
    shape = (8, 6, 3, 5)
    assert kronecker.largest_ranks(shape, options=KRONECKER) == (12,)
    assert kronecker.count(shape, (2,), options=KRONECKER) == 2 * (12 + 60)
    assert kronecker.macs(shape, (2,), Pixels(100, 50, 20), options=KRONECKER) == 2 * 3 * 2 * (2 * 15 + 4) * 20
    wide = kronecker.Options(out=2, inp=6)
    assert kronecker.count(shape, (2,), options=wide) == 2 * (12 + 60)
    assert kronecker.macs(shape, (2,), Pixels(100, 50, 20), options=wide) == 2 * 2 * (6 * 100 + 4 * 15 * 20)


def test_counts_of_monarch_by_hand() -> None:
    """64 → 16 channels: 4 blocks of 16 inputs, 2 of 8 outputs."""
    assert monarch.largest_ranks((16, 64), options=MONARCH) == (8,)
    assert monarch.count((16, 64), (3,), options=MONARCH) == 3 * (2 * 64 + 4 * 16)
    assert monarch.macs((16, 64, 1, 1), (3,), Pixels(100, 50, 20), options=MONARCH) == 3 * (2 * 64 + 4 * 16) * 20
    assert monarch.count((64, 64), (1,), options=monarch.Options(blocks=8)) == 2 * 64**1.5


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Conv2d(6, 8, 3, padding=1, stride=(2, 1)),
        lambda: nn.Conv2d(8, 2, 3, padding=2, padding_mode="circular", bias=False),
        lambda: nn.Conv2d(4, 6, (3, 1), stride=2, padding=1),
        lambda: nn.Conv2d(7, 5, 3, dilation=2),
        lambda: nn.Conv2d(1, 8, 3),
        lambda: nn.Conv2d(8, 1, 3),
        lambda: nn.Conv1d(6, 4, 3, stride=2),
        lambda: nn.Conv3d(4, 4, 2),
        lambda: nn.Conv2d(12, 10, 1, stride=2, padding=1),
        lambda: nn.Linear(12, 9),
        lambda: nn.Linear(9, 12, bias=False),
    ],
)
@pytest.mark.parametrize("options", [KRONECKER, kronecker.Options(out=1), kronecker.Options(inp=1)])
def test_kronecker_modules_and_their_plain_forms_compute_the_reconstructed_layer(
    build: Any, options: kronecker.Options
) -> None:
    like = drawn(build)
    channels = like.weight.shape[1]
    x = normal(3, channels, *(7 for _ in like.weight.shape[2:]))
    terms = 2 if math.prod(like.weight.shape) > 200 else 1
    module, twin = module_of(kronecker, options, like, terms), copy.deepcopy(like)
    factors = kronecker.factorise(like.weight.detach(), (terms,), seed=0, options=options)
    twin.weight.data = kronecker.dense(factors)
    assert torch.allclose(module(x), twin(x))
    plain = module.to_sequential()
    assert torch.allclose(plain(x), twin(x))
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        plain(x)
    assert module.macs(x.shape, module(x).shape) == flops.get_total_flops() / 2


def test_both_orders_occur_and_the_cheaper_one_is_taken() -> None:
    assert mixes_first((1, 2, 6), (1, 4, 1, 3, 5))
    assert not mixes_first((1, 4, 3), (1, 2, 2, 3, 5))
    assert not mixes_first((1, 2, 6), (1, 4, 1, 3, 1))


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Conv2d(6, 8, 1),
        lambda: nn.Conv2d(16, 6, 1, stride=2, padding=1, padding_mode="circular"),
        lambda: nn.Conv1d(9, 10, 1, bias=False),
        lambda: nn.Conv3d(4, 4, 1),
        lambda: nn.Linear(12, 9),
        lambda: nn.Linear(84, 10, bias=False),
    ],
)
def test_monarch_layers_and_their_plain_forms_compute_the_reconstructed_layer(build: Any) -> None:
    like = drawn(build)
    x = normal(3, like.weight.shape[1], *(7 for _ in like.weight.shape[2:]))
    factors = monarch.factorise(like.weight.detach(), (2,), seed=0, options=MONARCH)
    module: Any = monarch.layer(factors, like)
    twin = copy.deepcopy(like)
    twin.weight.data = monarch.dense(factors)
    assert torch.allclose(module(x), twin(x))
    if isinstance(like, nn.Linear):
        assert torch.allclose(module.to_sequential()(x), twin(x))
        assert torch.allclose(module(x[None, :, None]), twin(x[None, :, None]))
    else:
        assert {type(layer) for layer in module} == {type(like), nn.ChannelShuffle}


@settings(deadline=None, max_examples=30)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 14), st.integers(1, 14)),
        st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(1, 3), st.integers(1, 3)),
    ),
    seed=st.integers(0, 9),
)
def test_kronecker_is_exact_at_its_largest_rank_and_its_error_the_tail_of_its_unfolding(
    shape: tuple[int, ...], seed: int
) -> None:
    """Primes and single channels too, whose split is all or nothing."""
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    (most,) = kronecker.largest_ranks(shape, options=KRONECKER)
    (matrix,) = kronecker.unfoldings(weight, options=KRONECKER)
    values = torch.linalg.svdvals(matrix)
    assert len(values) == most
    for rank in {1, most // 2 or 1, most}:
        factors = kronecker.factorise(weight, (rank,), seed=0, options=KRONECKER)
        apart = float((weight - kronecker.dense(factors)).norm())
        assert apart == pytest.approx(float(values[rank:].norm()), abs=1e-9)
        assert sum(factor.numel() for factor in factors) == kronecker.count(shape, (rank,), options=KRONECKER)


@settings(deadline=None, max_examples=30)
@given(
    sides=st.tuples(st.sampled_from([4, 6, 8, 9, 10, 16, 25]), st.sampled_from([4, 6, 8, 9, 10, 16, 25])),
    seed=st.integers(0, 9),
)
def test_monarch_is_exact_at_its_largest_rank_and_its_error_the_tail_of_its_unfolding(
    sides: tuple[int, int], seed: int
) -> None:
    weight = torch.randn(*sides, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    (most,) = monarch.largest_ranks(sides, options=MONARCH)
    (matrix,) = monarch.unfoldings(weight, options=MONARCH)
    values = torch.linalg.svdvals(matrix)
    for rank in range(1, most + 1):
        factors = monarch.factorise(weight, (rank,), seed=0, options=MONARCH)
        apart = float((weight - monarch.dense(factors)).norm())
        assert apart == pytest.approx(float(values[rank:].norm()), abs=1e-9)
        assert sum(factor.numel() for factor in factors) == monarch.count(sides, (rank,), options=MONARCH)


@pytest.mark.parametrize(
    ("layer", "options", "reason"),
    [
        (nn.Conv2d(6, 8, 3), MONARCH, "its kernel is 3×3, wanted a 1×1 convolution or a linear layer"),
        (nn.Linear(7, 12), MONARCH, "its 7 input channels do not divide into blocks"),
        (nn.Linear(12, 1), MONARCH, "its 1 output channels do not divide into blocks"),
        (nn.Linear(12, 10), monarch.Options(blocks=4), "its 10 output channels do not divide into 4 blocks of several"),
        (nn.Linear(4, 8), monarch.Options(blocks=4), "its 4 input channels do not divide into 4 blocks of several"),
        (nn.Conv2d(8, 8, 1, groups=2), MONARCH, "it is a convolution of 2 groups, wanted one group"),
        (nn.Conv2d(6, 8, 3), kronecker.Options(out=3), "its 8 output channels are no multiple of out = 3"),
        (nn.Conv2d(6, 8, 3), kronecker.Options(inp=4), "its 6 input channels are no multiple of inp = 4"),
        (nn.Conv2d(8, 8, 3, groups=2), KRONECKER, "it is a convolution of 2 groups, wanted one group"),
    ],
)
def test_refusals_say_why(layer: nn.Module, options: Any, reason: str) -> None:
    method = monarch if isinstance(options, monarch.Options) else kronecker
    assert method.refuses(layer, options=options) == reason


def test_options_are_read_and_checked() -> None:
    bound = Registry().bind("method", Atom("kronecker", options=(("inp", "2"), ("out", "4"))))
    assert bound.options == kronecker.Options(out=4, inp=2)
    with pytest.raises(UsageError, match="method kronecker: got out = -1 and inp = 0, wanted divisors"):
        kronecker.Options(out=-1)
    with pytest.raises(UsageError, match="method monarch: got blocks = 1, wanted a divisor of both sides from 2 on"):
        monarch.Options(blocks=1)


@pytest.mark.parametrize("method", [kronecker, monarch])
def test_bf16_goes_in_and_comes_out(method: Any) -> None:
    like = drawn(lambda: nn.Conv2d(16, 16, 1), torch.bfloat16)
    module = module_of(method, method.Options(), like, 1)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}
    x = normal(2, 16, 5, 5, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    assert module(x).dtype == torch.bfloat16
    assert module(x).shape == (2, 16, 5, 5)
