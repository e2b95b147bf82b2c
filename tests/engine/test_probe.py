"""What rank policies are told about layers."""

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.engine.applied import Functions, OnLayer
from tnbench.engine.conditions import Conditions
from tnbench.engine.probe import Probe
from tnbench.measure.counts import count_macs, count_params
from tnbench.methods import magnitude, svd


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 12, 3), nn.Flatten(), nn.Linear(48, 4))


def probe_of(model: nn.Sequential, **given: object) -> Probe:
    targets = {"2": OnLayer(Functions(svd, svd.Options()), "2", model[2])}
    return Probe(model, targets, Conditions(**given), lambda choices: nn.Identity())  # type: ignore[arg-type]


def test_what_no_choice_touches(model: nn.Sequential) -> None:
    probe = probe_of(model, in_shape=(3, 6, 6))
    assert probe.elsewhere == count_params(model) - 16 * 12 * 9
    assert probe.dense_macs("2") == 16 * 12 * 9 * 4
    assert probe.macs_elsewhere == count_macs(model, (3, 6, 6)) - 16 * 12 * 9 * 4


def test_errors_follow_the_spectra(model: nn.Sequential) -> None:
    probe = probe_of(model)
    (values,) = probe.spectra("2")
    tail = (values[5:].square().sum() / values.square().sum()).sqrt()
    assert probe.error("2", (5,)) == pytest.approx(float(tail), rel=1e-4)
    assert torch.equal(probe.weight("2"), model[2].weight)


def test_a_spectrum_of_random_weights_is_refused(model: nn.Sequential) -> None:
    with pytest.raises(NotApplicable, match="training starts from random weights, whose spectrum says nothing"):
        probe_of(model, scratch=True).spectra("2")
    with pytest.raises(NotApplicable, match="training starts from random weights, whose errors say nothing"):
        probe_of(model, scratch=True).error("2", (3,))


def test_latency_is_measured_for_dense_and_factorised(model: nn.Sequential) -> None:
    probe = probe_of(model, in_shape=(3, 6, 6))
    assert probe.latency_ms("2", None) > 0
    assert probe.latency_ms("2", (2,)) == probe.latency_ms("2", (2,))  # asked twice, measured once


def test_pruned_layers_are_as_fast_at_any_rank(model: nn.Sequential) -> None:
    targets = {"2": OnLayer(Functions(magnitude, None), "2", model[2])}
    probe = Probe(model, targets, Conditions(in_shape=(3, 6, 6)), lambda choices: nn.Identity())
    with pytest.raises(NotApplicable, match="leave times as they were, at any rank"):
        probe.latency_ms("2", (5,))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda probe: probe.macs_elsewhere, "the size of the pictures is unknown"),
        (lambda probe: probe.latency_ms("2", None), "the size of the pictures is unknown"),
        (lambda probe: probe.drop({}), "there are no labelled pictures or no training"),
        (lambda probe: probe.table("mine"), "no folder of rank tables is known here"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(model: nn.Sequential, ask, message: str) -> None:
    with pytest.raises(NotApplicable, match=message):
        ask(probe_of(model))


def test_drops_are_against_the_dense_network(model: nn.Sequential) -> None:
    probe = probe_of(model, validate=lambda network: 60.0 if isinstance(network, nn.Identity) else 90.0)
    assert probe.drop({"2": (3,)}) == 30.0
