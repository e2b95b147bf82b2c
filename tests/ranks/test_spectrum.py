"""Ranks from spectra: xR[by=spectrum] and eE."""

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
from tnbench.core.protocols import KeepDense, Ranks
from tnbench.core.registry import Registry
from tnbench.methods import svd, tt, tucker2
from tnbench.ranks import energy, ratio
from tnbench.ranks._scale import allowed
from tnbench.ranks._spectrum import frontier, left_out, tails

METHODS = [svd, tucker2, tt]
SHAPES = st.tuples(st.integers(3, 14), st.integers(3, 12), st.sampled_from([1, 3]), st.sampled_from([1, 3]))


def by_spectrum(method: Any, kernel: torch.Tensor, text: str, multiple: int = 1) -> tuple[Any, Any, Any, Probe]:
    layer = candidate(method, tuple(kernel.shape))
    probe = Probe(method, {"conv": kernel})
    by = [
        ratio.choose(text, ratio.Options(multiple=multiple, by=how), [layer], probe)[0]
        for how in ("fraction", "spectrum")
    ]
    return layer, *by, probe


@settings(deadline=None, max_examples=25)
@given(method=st.sampled_from(METHODS), shape=SHAPES, tenths=st.integers(11, 50), seed=st.integers(0, 9))
def test_spectrum_is_within_the_same_budget_and_never_worse_than_the_fraction(
    method: Any, shape: tuple[int, ...], tenths: int, seed: int
) -> None:
    try:
        layer, uniform, best, probe = by_spectrum(method, weight(*shape, seed=seed, decay=0.5), f"x{tenths / 10}")
    except NotApplicable:
        return
    if isinstance(uniform, KeepDense):
        assert isinstance(best, KeepDense)
    else:
        assert layer.count(best) * tenths <= layer.dense * 10
        assert probe.error("conv", best) <= probe.error("conv", uniform) + 1e-12


@settings(deadline=None, max_examples=15)
@given(
    shape=SHAPES,
    tenths=st.integers(11, 50),
    seed=st.integers(0, 9),
    multiple=st.sampled_from([1, 4]),
    method=st.sampled_from([tucker2, tt]),
)
def test_spectrum_has_the_least_bound_of_all_rank_tuples(
    shape: tuple[int, ...], tenths: int, seed: int, multiple: int, method: Any
) -> None:
    """Exactly so for two ranks; for three a search is allowed to miss a little."""
    try:
        layer, uniform, best, probe = by_spectrum(
            method, weight(*shape, seed=seed, decay=0.5), f"x{tenths / 10}", multiple
        )
    except NotApplicable:
        return
    if isinstance(uniform, KeepDense) or best == uniform:
        return
    spectrum = tails(probe.spectra("conv"), layer.largest)
    budget = layer.dense * 10 / tenths
    tuples = itertools.product(*(allowed(most, multiple) for most in layer.largest))
    least = min(left_out(spectrum, ranks) for ranks in tuples if layer.count(ranks) <= budget)
    assert left_out(spectrum, best) <= least * (1 + 1e-9 if method is tucker2 else 1.15) + 1e-12


def test_spectrum_gives_ranks_to_the_mode_that_needs_them() -> None:
    kernel = torch.zeros(16, 16, 3, 3, dtype=torch.float64)
    kernel[:, :4] = torch.randn(16, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, uniform, best, probe = by_spectrum(tucker2, kernel, "x3")
    assert uniform == (7, 7)
    assert best[0] == 4
    assert probe.error("conv", best) < 0.6 * probe.error("conv", uniform)


def test_the_fraction_stays_where_the_bound_misleads() -> None:
    """The bound of the better tuple is checked against both errors as measured."""

    class Misleading(Probe):
        def error(self, name: str, ranks: Ranks) -> float:
            return 0.1 if ranks == uniform else 0.2

    kernel = weight(14, 9, 3, 3, decay=0.5)
    layer, uniform, best, _ = by_spectrum(tucker2, kernel, "x3")
    assert best != uniform
    probe = Misleading(tucker2, {"conv": kernel})
    assert ratio.choose("x3", ratio.Options(by="spectrum"), [layer], probe) == [uniform]


def test_one_rank_needs_no_factorisation() -> None:
    _, uniform, best, probe = by_spectrum(svd, weight(12, 10, 3, 3), "x3")
    assert uniform == best
    assert probe.asked == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_frontier_only_gets_dearer_and_closer_up_to_its_end(method: Any) -> None:
    shape = (12, 10, 3, 3)
    layer, probe = candidate(method, shape), Probe(method, {"conv": weight(*shape, decay=0.5)})
    spectrum = tails(probe.spectra("conv"), layer.largest)
    steps = list(frontier(spectrum, layer.largest, layer.count, layer.dense))
    assert steps[0] == tuple(1 for _ in layer.largest)
    assert all(layer.count(ranks) < layer.dense for ranks in steps)
    assert layer.count(steps[-1]) > 0.9 * layer.dense


@settings(deadline=None, max_examples=25)
@given(
    method=st.sampled_from(METHODS),
    shape=SHAPES,
    percent=st.integers(1, 100),
    seed=st.integers(0, 9),
    multiple=st.sampled_from([1, 4]),
)
def test_energy_takes_the_fewest_singular_values_that_keep_it(
    method: Any, shape: tuple[int, ...], percent: int, seed: int, multiple: int
) -> None:
    probe = Probe(method, {"conv": weight(*shape, seed=seed)})
    layer = candidate(method, shape)
    roomy = type(layer)(layer.name, shape, 10**9, layer.largest, layer.count)
    (ranks,) = energy.choose(f"e{percent / 100}", energy.Options(multiple=multiple), [roomy], probe)
    assert not isinstance(ranks, KeepDense)
    for rank, values, most in zip(ranks, probe.spectra("conv"), layer.largest, strict=True):
        kept = values.square().cumsum(0) / values.square().sum()
        assert kept[rank - 1] >= percent / 100 - 1e-12
        rungs = list(allowed(most, multiple))
        assert rank in rungs or rank == most
        fewer = [rung for rung in rungs if rung < rank]
        assert not fewer or kept[fewer[-1] - 1] < percent / 100 + 1e-12


def test_energy_of_zeros_is_rank_one_and_of_everything_is_dense() -> None:
    layers = [candidate(tucker2, (16, 16, 3, 3), "zero"), candidate(tucker2, (16, 16, 3, 3), "full")]
    probe = Probe(tucker2, {"zero": torch.zeros(16, 16, 3, 3), "full": weight(16, 16, 3, 3)})
    zero, full = energy.choose("e1", energy.Options(), layers, probe)
    assert zero == (1, 1)
    assert full == KeepDense("rank 16,16 would take 2,816 weights, dense takes 2,304")


@pytest.mark.parametrize(("policy", "text"), [(ratio, "x2"), (energy, "e0.9")])
def test_without_a_spectrum_the_reason_comes_through(policy: Any, text: str) -> None:
    options = ratio.Options(by="spectrum") if policy is ratio else energy.Options()
    with pytest.raises(NotApplicable, match="training starts from scratch: no spectra"):
        policy.choose(text, options, [candidate(tucker2, (16, 16, 3, 3))], Scratch())


@pytest.mark.parametrize("text", ["e0", "e1.1", "e-0.5", "e0.9.9"])
def test_an_energy_that_means_nothing_is_told_what_is_wanted(text: str) -> None:
    with pytest.raises(UsageError, match=f"rank: got '{text}', wanted e and a number above 0 and up to 1, such as"):
        energy.check(text)


def test_by_is_read_from_a_case() -> None:
    bound = Registry().bind("rank", Atom("x4", options=(("by", "spectrum"), ("multiple", "8"))))
    assert bound.options == ratio.Options(multiple=8, by="spectrum")
    assert Registry().bind("rank", Atom("e0.9")).module is energy
    assert math.isclose(float(tails([torch.tensor([3.0, 4.0])], (2,))[0][1]), 16 / 25)
