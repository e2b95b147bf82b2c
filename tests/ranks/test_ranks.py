from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_probes import candidate

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom
from tnbench.core.protocols import Candidate, KeepDense
from tnbench.core.registry import Registry
from tnbench.methods import cp, svd, tt, tucker2
from tnbench.ranks import fixed, fraction, full, ratio
from tnbench.ranks._scale import Multiples, allowed, in_multiples, scaled


def choose(policy: Any, text: str, *candidates: Candidate, multiple: int = 1) -> list[Any]:
    options = policy.Options(multiple=multiple) if hasattr(policy, "Options") else None
    return list(policy.choose(text, options, candidates, None))


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from([svd, tucker2, tt, cp]),
    shape=st.tuples(st.integers(4, 40), st.integers(4, 40), st.sampled_from([1, 3, 5]), st.sampled_from([1, 3])),
    tenths=st.integers(10, 80),
)
def test_ratio_takes_the_largest_fraction_within_the_budget(method: Any, shape: tuple[int, ...], tenths: int) -> None:
    layer, wanted = candidate(method, shape), Fraction(tenths, 10)
    counts = {layer.count(scaled(layer.largest, Fraction(step, 1000))) for step in range(1, 1001)}
    within = [count for count in counts if count * wanted <= layer.dense]
    try:
        (choice,) = choose(ratio, f"x{tenths / 10}", layer)
    except NotApplicable:
        assert not within
        return
    if isinstance(choice, KeepDense):
        assert layer.count(scaled(layer.largest, Fraction(0))) >= layer.dense or max(within) >= layer.dense
    else:
        assert layer.count(choice) * wanted <= layer.dense
        assert layer.count(choice) >= max(within)


def test_ratio_names_the_layer_and_what_it_can_reach() -> None:
    layers = [candidate(svd, (64, 64, 3, 3), "wide"), candidate(svd, (8, 8, 3, 3), "narrow")]
    with pytest.raises(NotApplicable) as refusal:
        choose(ratio, "x1000000", *layers)
    assert str(refusal.value) == (
        "x1000000 cannot be reached: layer 'narrow' has 80 of 576 weights with every rank 1; "
        "its largest reachable ratio is x7.2"
    )
    assert choose(ratio, "x7.2", *layers) == [(8,), (1,)]


def test_a_layer_that_the_format_cannot_make_smaller_stays_dense_whatever_the_ratio() -> None:
    tiny, large = candidate(svd, (2, 2), "tiny"), candidate(svd, (64, 64), "large")
    choices = choose(ratio, "x4", tiny, large)
    assert choices == [KeepDense("every rank 1 would take 4 weights, dense takes 4"), (8,)]


def test_fraction_scales_every_rank_of_every_layer() -> None:
    layers = [candidate(tucker2, (64, 32, 3, 3)), candidate(svd, (10, 84))]
    assert choose(fraction, "f0.5", *layers) == [(16, 32), (5,)]
    assert choose(fraction, "f0.001", *layers) == [(1, 1), (1,)]


def test_fraction_keeps_dense_what_it_would_not_make_smaller() -> None:
    (choice,) = choose(fraction, "f1", candidate(svd, (10, 84)))
    assert choice == KeepDense("rank 10 would take 940 weights, dense takes 840")


def test_fixed_is_capped_at_the_largest_useful_ranks() -> None:
    layers = [candidate(tt, (64, 8, 3, 3)), candidate(svd, (64, 84))]
    assert choose(fixed, "k16", *layers) == [(8, 16, 16), (16,)]
    (choice,) = choose(fixed, "k60", candidate(svd, (64, 84)))
    assert isinstance(choice, KeepDense)


def test_full_is_for_methods_without_ranks() -> None:
    assert choose(full, "full", Candidate("conv", (4, 4), 16, (), lambda ranks: 16)) == [()]
    with pytest.raises(NotApplicable, match="full is dense's rank"):
        choose(full, "full", candidate(svd, (8, 8)))


@pytest.mark.parametrize("text", ["x0", "x-1", "x0.5", "x.", "x4x", "f0", "f2", "f-0.5", "f1.0.0", "k0", "k-1", "k1.5"])
def test_a_rank_that_means_nothing_reaches_its_policy_and_is_told_what_is_wanted(text: str) -> None:
    policy = Registry().bind("rank", Atom(text))
    with pytest.raises(UsageError, match=rf"rank: got '{text}', wanted {text[0]} and a"):
        policy.module.check(text)


@pytest.mark.parametrize("text", ["x1", "x4", "x1.5", "x1000000", "f1", "f0.25", "k1", "k16", "full"])
def test_a_rank_that_means_something_passes(text: str) -> None:
    assert Registry().bind("rank", Atom(text)).module.check(text) is None


@pytest.mark.parametrize(("text", "best"), [("ful", "full"), ("X4", None), ("k", "kN")])
def test_a_word_that_is_no_rank_gets_the_nearest(text: str, best: str | None) -> None:
    with pytest.raises(UsageError, match=f"nearest is '{best}'" if best else "no rank is named"):
        Registry().find("rank", text)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=4), st.sampled_from([1, 8, 16]))
def test_ranks_in_multiples_are_the_allowed_ones_and_never_larger(ranks: list[int], multiple: int) -> None:
    rounded = in_multiples(tuple(ranks), multiple)
    for rank, before in zip(rounded, ranks, strict=True):
        assert rank == max(other for other in allowed(200, multiple) if other <= before)


def test_policies_of_one_fraction_round_down_to_multiples() -> None:
    layers = [candidate(tucker2, (64, 32, 3, 3)), candidate(svd, (10, 84))]
    assert choose(fraction, "f0.4", *layers) == [(12, 25), (4,)]
    assert choose(fraction, "f0.4", *layers, multiple=8) == [(8, 24), (4,)]
    assert choose(fixed, "k20", *layers[:1], multiple=16) == [(16, 16)]
    (ranks,) = choose(ratio, "x2", layers[0], multiple=8)
    assert all(rank % 8 == 0 for rank in ranks)
    assert layers[0].count(ranks) <= layers[0].dense / 2 < layers[0].count(tuple(rank + 8 for rank in ranks))


def test_a_multiple_below_one_is_told_what_is_wanted() -> None:
    with pytest.raises(UsageError, match="rank: got multiple = 0, wanted a whole number from 1 on, such as 8"):
        Multiples(multiple=0)
