"""Networks narrowed as a whole: one candidate, whose rank is a width."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import Atom
from tnbench.core.registry import Registry
from tnbench.engine.compress import compress, compress_network
from tnbench.engine.conditions import Conditions
from tnbench.measure.counts import count_params

REGISTRY = Registry()


def network(width: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    inner = max(1, round(64 * width))
    return nn.Sequential(
        nn.Conv2d(3, inner, 3), nn.ReLU(), nn.Conv2d(inner, inner, 3), nn.Flatten(), nn.Linear(inner, 4)
    )


def narrowed(rank: str, **conditions: object):
    given = Conditions(scratch=True, rebuild=network, **conditions)  # type: ignore[arg-type]
    policy = REGISTRY.bind("rank", Atom(rank))
    return compress_network(network(), [REGISTRY.bind("method", Atom("thin"))], policy, given)


@pytest.mark.parametrize("rank", ["x4", "net-x4"])
def test_the_widest_network_within_the_budget_is_taken(rank: str) -> None:
    model, summary = narrowed(rank)
    assert summary.network == count_params(model)
    assert summary.params_layers == summary.network
    assert 0.94 * summary.network_dense / 4 < summary.network <= summary.network_dense / 4


def test_layers_say_how_narrow_they_are() -> None:
    _, summary = narrowed("x4")
    assert all(layer.note.startswith("narrowed to ") and layer.error is None for layer in summary.compressed)
    assert len(summary.compressed) == 3
    assert summary.weight_error is None
    assert "weight error" not in str(summary)


def test_operations_can_be_the_budget() -> None:
    _, summary = narrowed("flops-x4", in_shape=(3, 5, 5))
    assert summary.params_layers < summary.params_layers_dense / 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"skip": ("0",)}, "works on the whole network: skip and only mean nothing to it"),
        ({"only": ("0",)}, "works on the whole network: skip and only mean nothing to it"),
    ],
)
def test_globs_mean_nothing_to_it(given: dict, message: str) -> None:
    with pytest.raises(NotApplicable, match=message):
        narrowed("x4", **given)


def test_spectra_and_latencies_are_not_to_be_had() -> None:
    with pytest.raises(NotApplicable, match="a narrower network has no ranks that cut a spectrum"):
        narrowed("e0.9")
    with pytest.raises(NotApplicable, match="latency is asked for layer by layer"):
        narrowed("latency-x2", in_shape=(3, 5, 5))


def test_a_network_method_may_refuse_the_network(tmp_path: Path) -> None:
    file = tmp_path / "picky.py"
    file.write_text(
        '"""Refuses."""\nKIND = "method"\nSCOPE = "network"\n\n\ndef refuses_network(model):\n    return "not today"\n'
        "\n\ndef widths(model):\n    return 2\n\n\ndef narrowed(model, width, **given):\n    return model\n"
    )
    with pytest.raises(NotApplicable, match="not today"):
        compress(network(), "picky", "x2", registry=Registry([file]))
