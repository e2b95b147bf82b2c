"""A method at work on grouped convolutions, and functions that ask for their options."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Stats
from tnbench.engine.applied import Functions, OnLayer, with_options
from tnbench.engine.applied import _stats_of as stats_of
from tnbench.methods import svd


@pytest.fixture
def grouped() -> OnLayer:
    torch.manual_seed(0)
    return OnLayer(Functions(svd, svd.Options()), "conv", nn.Conv2d(8, 12, 3, groups=4, padding=1))


def test_a_grouped_convolution_has_the_ranks_of_one_group(grouped: OnLayer) -> None:
    assert grouped.shape == (3, 2, 3, 3)
    assert grouped.largest == (3,)
    assert grouped.count((2,)) == 4 * 2 * (18 + 3)


def test_its_factors_are_those_of_each_group(grouped: OnLayer) -> None:
    factors = grouped.factorise((2,), seed=0)
    for group, weight in enumerate(grouped.weight.chunk(4)):
        own = svd.factorise(weight, (2,), seed=0, options=svd.Options())
        assert all(torch.equal(factor.chunk(4)[group], mine) for factor, mine in zip(factors, own, strict=True))
    error = torch.dist(grouped.dense(factors), grouped.weight).square()
    tails = grouped.spectra()[0][2:].square().sum()
    assert float(error) == pytest.approx(float(tails), rel=1e-4)


def test_its_layers_are_grouped_convolutions(grouped: OnLayer) -> None:
    (module,) = grouped.modules(grouped.factorise((3,), seed=0)).values()
    assert [part.groups for part in module] == [4, 4]
    x = torch.randn(2, 8, 5, 5)
    assert torch.allclose(module(x), grouped.layer(x), atol=1e-5)


def test_each_group_sees_the_moments_of_its_own_channels() -> None:
    moment = torch.arange(36.0, dtype=torch.float64).view(6, 6)
    own = stats_of(Stats(moment, channels=6, ridge=0.1, digest="d"), 1, 3)
    assert torch.equal(own.patches, moment[2:4, 2:4])
    assert (own.channels, own.digest) == (2, "d")


def test_a_method_without_unfoldings_has_no_spectra() -> None:
    target = OnLayer(Functions(SimpleNamespace(__name__="a.cp"), None), "conv", nn.Conv2d(2, 2, 3))
    with pytest.raises(NotApplicable, match=r"cp's ranks cut no unfolding, .* take a rank such as x4"):
        target.spectra()


def test_the_orthogonal_gauge_is_for_chains_alone() -> None:
    target = OnLayer(Functions(SimpleNamespace(layer=lambda factors, like: like), None), "conv", nn.Conv2d(2, 2, 3))
    factors = (torch.ones(2, 2), 4 * torch.ones(2, 2))
    with pytest.raises(NotApplicable, match="the orthogonal gauge is that of a chain of plain layers"):
        target.regauged(factors, "orthogonal")
    assert target.regauged(factors, "raw") is factors
    one, two = target.regauged(factors, "balanced")
    assert torch.allclose(one.norm(), two.norm())


def test_options_go_to_whoever_asks() -> None:
    assert with_options(lambda shape: shape, 7)(1) == 1
    assert with_options(lambda shape, options: (shape, options), 7)(1) == (1, 7)
    assert with_options(lambda shape, **more: more, 7)(1) == {"options": 7}
