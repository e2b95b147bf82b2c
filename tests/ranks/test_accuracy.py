from collections.abc import Mapping
from typing import Any

import pytest
from rank_probes import Probe, Scratch, candidate, weight

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom
from tnbench.core.protocols import Candidate, KeepDense, Ranks
from tnbench.core.registry import Registry
from tnbench.methods import cp, svd, tt, tucker2
from tnbench.ranks import accuracy

SHAPES = {"a": (16, 8, 3, 3), "b": (24, 16, 3, 3), "c": (20, 60)}


def network_of(method: Any, **known: Any) -> tuple[list[Candidate], Probe]:
    weights = {name: weight(*shape, seed=seed, decay=0.5) for seed, (name, shape) in enumerate(SHAPES.items())}
    probe = Probe(method, weights, **known)
    layers = [candidate(method, shape, name) for name, shape in SHAPES.items()]
    if "drop" not in known:
        probe._drop = lambda ranks: points_of(probe, ranks)
    return layers, probe


def points_of(probe: Probe, ranks: Mapping[str, Ranks]) -> float:
    """A network that loses 10 points for each relative error of 1, squared and summed over its layers."""
    kept, probe.asked = probe.asked, 0
    points = 10 * sum(probe.error(name, each) ** 2 for name, each in ranks.items())
    probe.asked = kept
    return points


def chosen(layers: list[Candidate], choices: list[Any]) -> dict[str, Ranks]:
    pairs = zip(layers, choices, strict=True)
    return {layer.name: choice for layer, choice in pairs if not isinstance(choice, KeepDense)}


def weights_of(layers: list[Candidate], ranks: Mapping[str, Ranks]) -> int:
    return sum(layer.count(ranks[layer.name]) if layer.name in ranks else layer.dense for layer in layers)


@pytest.mark.parametrize("method", [svd, tucker2, tt])
def test_the_drop_is_kept_and_a_larger_one_compresses_more(method: Any) -> None:
    sizes = []
    for points in (0.5, 2, 8, 100):
        layers, probe = network_of(method)
        ranks = chosen(layers, accuracy.choose(f"acc-d{points}", accuracy.Options(), layers, probe))
        assert probe.drop(ranks) <= points
        assert probe.asked <= accuracy.EVALUATIONS + 1
        sizes.append(weights_of(layers, ranks))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == weights_of(layers, {layer.name: tuple(1 for _ in layer.largest) for layer in layers})


def test_bisection_comes_close_to_the_drop_that_is_allowed() -> None:
    layers, probe = network_of(tucker2)
    ranks = chosen(layers, accuracy.choose("acc-d3", accuracy.Options(), layers, probe))
    assert 2.0 < probe.drop(ranks) <= 3


def test_where_any_compression_costs_as_much_it_evaluates_once() -> None:
    layers, probe = network_of(tucker2, drop=lambda ranks: 0.0)
    ranks = chosen(layers, accuracy.choose("acc-d0", accuracy.Options(), layers, probe))
    assert ranks == {"a": (1, 1), "b": (1, 1), "c": (1,)}
    assert probe.asked == 1


def test_a_drop_out_of_reach_names_the_nearest() -> None:
    layers, probe = network_of(tucker2, drop=lambda ranks: 7.31)
    with pytest.raises(NotApplicable, match=r"loses 7\.31 points; take acc-d7\.4"):
        accuracy.choose("acc-d1", accuracy.Options(), layers, probe)
    assert probe.asked <= accuracy.EVALUATIONS


def test_networks_that_cannot_shrink_are_not_evaluated() -> None:
    probe = Probe(svd, {"tiny": weight(2, 2)})
    with pytest.raises(NotApplicable, match=r"acc-d1: no ranks of any layer save weights"):
        accuracy.choose("acc-d1", accuracy.Options(), [candidate(svd, (2, 2), "tiny")], probe)


def test_methods_without_spectra_are_measured() -> None:
    shape = (10, 8, 3, 3)
    probe = Probe(cp, {"conv": weight(*shape)}, spectral=False)
    probe._drop = lambda ranks: points_of(probe, ranks)
    (ranks,) = accuracy.choose("acc-d2", accuracy.Options(), [candidate(cp, shape)], probe)
    assert not isinstance(ranks, KeepDense)
    assert points_of(probe, {"conv": ranks}) <= 2


def test_ranks_come_in_multiples() -> None:
    layers, probe = network_of(tucker2)
    ranks = chosen(layers, accuracy.choose("acc-d1", accuracy.Options(multiple=4), layers, probe))
    assert all(rank < 4 or rank % 4 == 0 for each in ranks.values() for rank in each)


def test_from_scratch_the_reason_comes_through() -> None:
    with pytest.raises(NotApplicable, match="training starts from scratch"):
        accuracy.choose("acc-d1", accuracy.Options(), [candidate(svd, (9, 9))], Scratch())


@pytest.mark.parametrize("text", ["acc-d-1", "acc-d101", "acc-d1.5.5"])
def test_a_drop_that_means_nothing_is_told_what_is_wanted(text: str) -> None:
    assert Registry().bind("rank", Atom(text)).module is accuracy
    with pytest.raises(UsageError, match=rf"rank: got '{text}', wanted acc-d and a number from 0 to 100, such as"):
        accuracy.check(text)
