"""From a compressed network back to a dense one, and what a training knows of its parts."""

import pickle

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import Atom
from tnbench.core.registry import Registry
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.parts import check_factors, expanded, factor_names, parts_of
from tnbench.engine.swapped import Swapped

REGISTRY = Registry()
LAYER_METHODS = [
    listing.name
    for listing in REGISTRY.listings("method")
    if REGISTRY.bind("method", Atom(listing.name)).scope == "layer"
]


def network(groups: int = 1) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=groups),
            nn.Conv2d(12, 16, 1),
            nn.BatchNorm2d(16),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 16),
        ).eval()


def swapped_by(method: str, rank: str = "x2", model: nn.Module | None = None, **conditions: object) -> Swapped:
    rank = "full" if method == "dense" else rank
    bound = REGISTRY.bind("method", Atom(method)), REGISTRY.bind("rank", Atom(rank))
    return swap_layers(model or network(), [bound[0]], bound[1], Conditions(**conditions))


def moved(model: nn.Module) -> nn.Module:
    """As if training had moved all numbers."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * parameter.abs().mean() * torch.randn(parameter.shape, generator=generator)
    return model


def pictures() -> Tensor:
    return torch.randn(3, 8, 6, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_the_dense_network_computes_what_the_trained_factors_do(method):
    swapped = swapped_by(method)
    names = factor_names(swapped)
    if method == "tensor_ring" and not names:
        pytest.skip("its parameters are not its factors")
    moved(swapped.model)
    dense = expanded(swapped, names)
    assert [type(layer) for layer in dense] == [type(layer) for layer in network()]
    assert torch.allclose(dense(pictures()), swapped.model(pictures()), atol=1e-4)


def test_groups_of_a_convolution_go_back_too():
    swapped = swapped_by("svd", "k1", network(groups=2))
    names = factor_names(swapped)
    dense = expanded(swapped, names)
    assert dense[0].groups == 2
    assert torch.allclose(dense(pictures()), swapped.model(pictures()), atol=1e-4)


def test_a_network_that_is_one_layer_is_its_own_part():
    swapped = swapped_by("svd", model=nn.Linear(16, 16))
    (part,) = parts_of(swapped, seed=0)
    assert (part.name, part.layers, factor_names(swapped)) == ("", ("",), {"": ("0.weight", "1.weight")})
    assert isinstance(expanded(swapped, factor_names(swapped)), nn.Linear)


@pytest.mark.parametrize("method", ["svd", "tucker2", "tt"])
def test_a_projection_is_what_the_decomposition_gives_and_survives_pickling(method):
    swapped = swapped_by(method)
    for part in parts_of(swapped, seed=0):
        weight = swapped.targets[part.name].weight
        (near,) = pickle.loads(pickle.dumps(part)).project([weight])
        assert torch.allclose(near, swapped.targets[part.name].dense(swapped.factors[part.name]), atol=1e-5)
        assert part.count(part.ranks) < part.dense == weight.numel()


def test_layers_that_share_factors_are_projected_together_and_not_told_apart():
    model = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)))
    swapped = swapped_by("tnet", model=model)
    (part,) = parts_of(swapped, seed=0)
    weights = [layer.weight.detach() for layer in model]
    assert len(part.layers) == len(part.project(weights)) == 3
    with pytest.raises(NotApplicable, match="tnet shares factors between layers"):
        check_factors(swapped, factor_names(swapped))


def test_ranks_that_are_given_take_the_place_of_the_policys():
    swapped = swapped_by("svd", ranks={"0": (3,), "5": (2,)})
    assert swapped.ranks == {"0": (3,), "5": (2,)}
    assert swapped.notes == {"1": "it stayed dense when the ranks were chosen"}
    assert isinstance(swapped.model[1], nn.Conv2d)
