"""Several methods in one network: which layer goes to which."""

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.registry import Registry
from tnbench.engine.compress import compress

REGISTRY = Registry()


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.Conv2d(16, 16, 3),
        nn.Conv2d(16, 16, 3),
        nn.Flatten(),
        nn.Linear(64, 48),
        nn.Linear(48, 8),
    )


def ranks(model: nn.Module, method: str, rank: str = "x2", **given: object) -> dict[str, int]:
    """Name -> number of ranks of each compressed layer: 1 for svd, 2 for tucker2, 3 for tt."""
    summary = compress(model, method, rank, registry=REGISTRY, **given).summary  # type: ignore[arg-type]
    return {layer.name: len(layer.ranks) for layer in summary.compressed}


def test_globs_give_layers_to_methods(model: nn.Module) -> None:
    assert ranks(model, "tucker2[only=1|2]+svd[only=4]") == {"1": 2, "2": 2, "4": 1}
    assert ranks(model, "tt[skip=2]+tucker2[only=2]") == {"1": 3, "2": 2, "4": 1}
    assert ranks(model, "svd[only=*]") == dict.fromkeys(["0", "1", "2", "4", "5"], 1)


def test_a_layer_goes_to_the_method_that_serves_fewest(model: nn.Module) -> None:
    assert ranks(model, "tucker2+svd[only=1]") == {"1": 1, "2": 2, "4": 1}
    assert ranks(model, "svd[only=1]+tucker2") == {"1": 1, "2": 2, "4": 1}


def test_methods_that_serve_as_many_take_turns_in_the_order_written(model: nn.Module) -> None:
    assert ranks(model, "tt+tucker2") == {"1": 3, "2": 3, "4": 1}


def test_the_networks_output_has_its_shape(model: nn.Module) -> None:
    mixed = compress(model, "tucker2[only=1]+svd", "x2", registry=REGISTRY).model
    assert mixed(torch.zeros(2, 3, 8, 8)).shape == (2, 8)


def test_why_no_method_took_a_layer(model: nn.Module) -> None:
    layers = compress(model, "tucker2[only=1]+svd[skip=4]", "x2", registry=REGISTRY).summary.layers
    notes = {layer.name: layer.note for layer in layers}
    assert notes["4"] == "tucker2: not among the layers asked for; svd: skipped as asked"
    assert notes["0"] == "tucker2: not among the layers asked for; svd: first or last layer"
    plain = compress(model, "tucker2+svd", "x2", registry=REGISTRY).summary.layers
    assert plain[0].note == "first or last layer"


def test_dense_and_narrowing_methods_have_no_part_in_a_mixture(model: nn.Module) -> None:
    with pytest.raises(NotApplicable, match=r"dense has no part in a mixture; leave layers out by skip or only"):
        compress(model, "tucker2+dense", "x2", registry=REGISTRY)
    with pytest.raises(NotApplicable, match="thin makes a whole new network and has no part in a mixture"):
        compress(model, "tucker2+thin", "x2", registry=REGISTRY)


def test_a_glob_of_a_method_that_matches_nothing_gets_the_nearest(model: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"only: no layer's name matches 'conv'; layers: 0, 1"):
        compress(model, "tucker2[only=conv]", "x2", registry=REGISTRY)


def test_two_methods_over_groups_keep_their_groups_apart() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(8, 8, 3) for _ in range(6)))
    summary = compress(net, "tnet[only=1|2]+tnet[format=tt,only=3|4]", "x2", registry=REGISTRY).summary
    assert [layer.name for layer in summary.compressed] == ["1", "2", "3", "4"]
    assert len({layer.part for layer in summary.compressed}) == 2


def test_globs_of_a_method_and_of_the_request_must_both_match(model: nn.Module) -> None:
    assert ranks(model, "svd[only=1|2]", only=["2", "4"]) == {"2": 1}
