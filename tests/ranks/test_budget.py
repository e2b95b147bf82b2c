"""One budget for the network: net-xR and flops-xR."""

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_probes import Probe, Scratch, candidate, weight

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom
from tnbench.core.protocols import Candidate, KeepDense, Pixels
from tnbench.core.registry import Registry
from tnbench.methods import cp, svd, tt, tucker2
from tnbench.ranks import flops, network
from tnbench.ranks._allocate import Step, allocate

SHAPES = {"a": (16, 8, 3, 3), "b": (24, 16, 3, 3), "c": (24, 24, 3, 3), "d": (32, 24, 1, 1), "e": (20, 60)}
PIXELS = {"a": Pixels(256, 256, 256), "b": Pixels(256, 128, 64), "c": Pixels(64, 64, 64), "d": Pixels(16, 16, 16)}


def network_of(method: Any, decay: float = 0.5, **known: Any) -> tuple[list[Candidate], Probe]:
    weights = {name: weight(*shape, seed=seed, decay=decay) for seed, (name, shape) in enumerate(SHAPES.items())}
    layers = [candidate(method, shape, name, PIXELS.get(name, Pixels(1, 1, 1))) for name, shape in SHAPES.items()]
    return layers, Probe(method, weights, **known)


def spent(layers: list[Candidate], choices: list[Any]) -> int:
    pairs = zip(layers, choices, strict=True)
    return sum(layer.dense if isinstance(choice, KeepDense) else layer.count(choice) for layer, choice in pairs)


def macs(layers: list[Candidate], choices: list[Any]) -> int:
    total = 0
    for layer, choice in zip(layers, choices, strict=True):
        assert layer.macs is not None
        assert layer.dense_macs is not None
        total += layer.dense_macs if isinstance(choice, KeepDense) else layer.macs(choice)
    return total


def summed_error(probe: Probe, layers: list[Candidate], choices: list[Any]) -> float:
    pairs = zip(layers, choices, strict=True)
    return sum(
        0.0 if isinstance(choice, KeepDense) else probe.error(layer.name, choice) ** 2 for layer, choice in pairs
    )


@settings(deadline=None, max_examples=25)
@given(
    method=st.sampled_from([svd, tucker2, tt]),
    tenths=st.integers(11, 60),
    elsewhere=st.integers(0, 2000),
    decay=st.sampled_from([0.2, 1.0]),
)
def test_the_budget_of_parameters_is_filled_and_never_exceeded(
    method: Any, tenths: int, elsewhere: int, decay: float
) -> None:
    layers, probe = network_of(method, decay, elsewhere=elsewhere)
    budget = (elsewhere + sum(layer.dense for layer in layers)) * 10 / tenths
    try:
        choices = network.choose(f"net-x{tenths / 10}", network.Options(), layers, probe)
    except NotApplicable:
        assert elsewhere + sum(layer.count(tuple(1 for _ in layer.largest)) for layer in layers) > budget
        return
    assert 0.98 * budget <= elsewhere + spent(layers, choices) <= budget


@settings(deadline=None, max_examples=15)
@given(method=st.sampled_from([svd, tucker2, tt]), tenths=st.integers(11, 50), elsewhere=st.integers(0, 50_000))
def test_the_budget_of_macs_is_filled_and_never_exceeded(method: Any, tenths: int, elsewhere: int) -> None:
    layers, probe = network_of(method, macs_elsewhere=elsewhere)
    budget = (elsewhere + sum(layer.dense_macs or 0 for layer in layers)) * 10 / tenths
    try:
        choices = flops.choose(f"flops-x{tenths / 10}", flops.Options(), layers, probe)
    except NotApplicable:
        assert elsewhere + macs(layers, [tuple(1 for _ in layer.largest) for layer in layers]) > budget
        return
    assert 0.97 * budget <= elsewhere + macs(layers, choices) <= budget


@pytest.mark.parametrize("method", [svd, tucker2, tt])
def test_one_budget_is_better_than_one_for_each_layer(method: Any) -> None:
    """With layers that differ in how fast their spectra fall."""
    layers, probe = network_of(method)
    probe.weights = {
        name: weight(*SHAPES[name], decay=decay) for name, decay in zip("abcde", (2, 0, 1, 0.2, 1.5), strict=True)
    }
    together = network.choose("net-x3", network.Options(), layers, probe)
    alone = [network.choose("net-x3", network.Options(), [layer], probe)[0] for layer in layers]
    assert summed_error(probe, layers, together) < 0.8 * summed_error(probe, layers, alone)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), share=st.floats(0, 1), scale=st.sampled_from([1, 100, 10**6 + 1]))
def test_allocation_is_the_best_that_fills_the_budget(seed: int, share: float, scale: int) -> None:
    """Brute force over three small ladders."""
    generator = torch.Generator().manual_seed(seed)
    ladders = []
    for _ in range(3):
        costs = torch.randint(1, 9, (6,), generator=generator).cumsum(0) * scale
        errors = torch.rand(6, generator=generator, dtype=torch.float64).sort(descending=True).values
        ladders.append([Step((1,), cost, error) for cost, error in zip(costs.tolist(), errors.tolist(), strict=True)])
    lowest, highest = (sum(steps[end].cost for steps in ladders) for end in (0, -1))
    budget = round(lowest + share * (highest - lowest))
    taken = allocate(ladders, budget)
    every = [
        (sum(step.cost for step in each), sum(step.error for step in each)) for each in itertools.product(*ladders)
    ]
    assert sum(step.cost for step in taken) <= budget
    # Costs above ten thousand are rounded up to that many parts: what is just within the budget may be missed.
    ends = [budget] if budget <= 10_000 else [budget, budget * (1 - 3e-4)]
    assert sum(step.error for step in taken) <= max(best_below(every, end, 0.986 * budget) for end in ends) + 1e-12


def best_below(every: list[tuple[int, float]], most: float, filled: float) -> float:
    """The least error of a cost from `filled` to `most`, or of the largest cost below; infinite where none fits."""
    fullest = max((cost for cost, _ in every if cost <= most), default=math.inf)
    return min((error for cost, error in every if min(filled, fullest) <= cost <= most), default=math.inf)


def test_no_layer_is_given_up_for_the_others() -> None:
    """By the sum of squared errors the large one would have 7 % of its weights, for the small one to stay dense."""
    shapes = {"small": (24, 24, 3, 3), "large": (48, 48, 3, 3)}
    weights = {name: weight(*shape, decay=0.2) for name, shape in shapes.items()}
    layers = [candidate(svd, shape, name) for name, shape in shapes.items()]
    choices = network.choose("net-x4", network.Options(), layers, Probe(svd, weights))
    shares = [spent([layer], [choice]) / layer.dense for layer, choice in zip(layers, choices, strict=True)]
    assert min(shares) > 0.15


def test_at_ratio_one_everything_stays_dense() -> None:
    layers, probe = network_of(tucker2)
    choices = network.choose("net-x1", network.Options(), layers, probe)
    assert choices[0] == KeepDense(
        "net-x1 gives it the 1,152 parameters of the dense layer: they save more error than elsewhere"
    )
    assert all(isinstance(choice, KeepDense) for choice in choices)


def test_a_layer_that_cannot_shrink_counts_as_it_is() -> None:
    layers, probe = network_of(svd)
    probe.weights["tiny"] = weight(2, 2)
    layers.append(candidate(svd, (2, 2), "tiny"))
    *others, tiny = network.choose("net-x4", network.Options(), layers, probe)
    assert tiny == KeepDense("every rank 1 would take 4 parameters, dense takes 4")
    assert spent(layers, [*others, tiny]) <= sum(layer.dense for layer in layers) / 4


def test_a_ratio_out_of_reach_names_the_nearest() -> None:
    layers, probe = network_of(svd, elsewhere=3000)
    with pytest.raises(NotApplicable) as refusal:
        network.choose("net-x5", network.Options(), layers, probe)
    assert str(refusal.value) == (
        "net-x5 cannot be reached: with every rank 1 the network has 3,632 of 14,760 parameters, 3,000 of them where "
        "no rank reaches; its largest reachable ratio is net-x4"
    )
    choices = network.choose("net-x4", network.Options(), layers, probe)
    assert spent(layers, choices) + 3000 <= 14760 / 4


def test_ranks_come_in_multiples() -> None:
    layers, probe = network_of(tucker2)
    choices = network.choose("net-x2", network.Options(multiple=8), layers, probe)
    ranks = [rank for choice in choices if not isinstance(choice, KeepDense) for rank in choice]
    assert max(ranks) >= 8
    assert all(rank < 8 or rank % 8 == 0 for rank in ranks)


def test_without_spectra_a_handful_of_errors_is_measured() -> None:
    weights = {name: weight(*SHAPES[name], decay=decay) for name, decay in (("a", 1.5), ("b", 0.2))}
    layers = [candidate(cp, SHAPES[name], name) for name in weights]
    probe = Probe(cp, weights, spectral=False)
    probe.method = type(
        "Short", (), {"factorise": cp.factorise, "dense": cp.dense, "Options": lambda: cp.Options(iters=5)}
    )
    choices = network.choose("net-x4", network.Options(), layers, probe)
    assert probe.asked <= 6 * len(layers)
    budget = sum(layer.dense for layer in layers) / 4
    assert 0.97 * budget <= spent(layers, choices) <= budget
    easy, hard = (layer.count(choice) / layer.dense for layer, choice in zip(layers, choices, strict=True))
    assert easy < hard


def test_from_scratch_the_reason_comes_through() -> None:
    layers, _ = network_of(tucker2)
    with pytest.raises(NotApplicable, match="training starts from scratch"):
        network.choose("net-x2", network.Options(), layers, Scratch())


def test_macs_of_pictures_of_unknown_size_are_refused() -> None:
    with pytest.raises(NotApplicable, match="the size of the pictures that reach layer 'conv' is unknown; take net-xR"):
        flops.choose("flops-x2", flops.Options(), [candidate(svd, (8, 8, 3, 3))], Probe())


@pytest.mark.parametrize(
    ("policy", "text"), [(network, "net-x0.5"), (network, "net-x1x"), (flops, "flops-x0"), (flops, "flops-x-1")]
)
def test_a_ratio_that_means_nothing_is_told_what_is_wanted(policy: Any, text: str) -> None:
    bound = Registry().bind("rank", Atom(text))
    assert bound.module is policy
    with pytest.raises(UsageError, match=f"rank: got '{text}', wanted .* and a number from 1 up, such as"):
        policy.check(text)
    assert policy.check(policy.PATTERN[0].replace("R", "2.5")) is None
