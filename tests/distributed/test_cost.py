"""Seconds of collectives: the models by hand, measured curves before them, and what must hold for any sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
from synthetic_machine import GAMMA, machine

from tnbench.distributed.bounds import all_reduce_messages, all_reduce_words
from tnbench.distributed.collectives import Call
from tnbench.distributed.cost import (
    ALGORITHMS,
    call_seconds,
    communication_seconds,
    modelled_seconds,
    on_wire,
    predicted_seconds,
)
from tnbench.distributed.machine import COLLECTIVES, Curve, Link

ALPHA, BETA = 1e-3, 1e-6


def calls() -> Iterator[Call]:
    yield from itertools.starmap(Call, itertools.product(COLLECTIVES, (1, 1000, 10**6), (1, 2, 3, 8, 64)))


@pytest.mark.parametrize(
    ("kind", "ring", "best", "words"),
    [
        ("all_reduce", 6, 4, 1.5),
        ("all_gather", 3, 2, 0.75),
        ("reduce_scatter", 3, 2, 0.75),
        ("all_to_all", 3, 3, 0.75),
        ("broadcast", 2, 2, 2.0),
        ("exchange", 1, 1, 1.0),
    ],
)
def test_four_ranks_by_hand(kind: str, ring: int, best: int, words: float) -> None:
    call = Call(kind, 1000, 4)
    assert on_wire(call) == (ring, 1000 * words)
    assert call_seconds(call, machine()) == pytest.approx(best * ALPHA + 1000 * words * BETA)


def test_no_all_reduce_beats_its_bounds() -> None:
    for words, ranks in itertools.product((8, 1000), (2, 3, 8, 100)):
        for algorithm in ("ring", "tree"):
            wire = on_wire(Call("all_reduce", words, ranks), algorithm)
            assert wire.words >= all_reduce_words(words, ranks) - 1e-9
            assert wire.messages >= all_reduce_messages(ranks)


def test_alone_nothing_is_sent() -> None:
    for call in calls():
        if call.ranks == 1:
            assert on_wire(call) == (0, 0.0)
            assert call_seconds(call, machine()) == 0.0


@pytest.mark.parametrize("node", [0, 8])
def test_more_words_or_ranks_never_cost_less(node: int) -> None:
    there = machine(per_node=node, between=Link(2e-3, 3e-6) if node else None)
    for kind, algorithm in itertools.product(COLLECTIVES, ALGORITHMS):
        for ranks in (2, 8, 64):
            seconds = [modelled_seconds(Call(kind, words, ranks), there, algorithm) for words in (1, 10, 10**6)]
            assert seconds == sorted(seconds)
        seconds = [modelled_seconds(Call(kind, 1000, ranks), there, algorithm) for ranks in (1, 2, 8, 16, 64)]
        assert seconds == sorted(seconds), (kind, algorithm)


def test_two_levels_by_hand() -> None:
    there = machine(per_node=8, between=Link(1e-2, 1e-5))
    inside = 14 * ALPHA + 2 * 7 / 8 * 8000 * BETA
    outside = min(6, 4) * 1e-2 + 2 * 3 / 4 * 1000 * 1e-5  # 4 nodes, an eighth of the words, a tree of 2 · 2 messages
    assert modelled_seconds(Call("all_reduce", 8000, 32), there, "hierarchical") == pytest.approx(inside + outside)
    flat = 62 * 1e-2 + 2 * 31 / 32 * 8000 * 1e-5
    assert modelled_seconds(Call("all_reduce", 8000, 32), there, "ring") == pytest.approx(flat)
    assert call_seconds(Call("all_reduce", 8000, 32), there) == pytest.approx(inside + outside)


def test_an_all_to_all_of_two_levels_sends_over_the_network_what_is_for_other_nodes() -> None:
    there = machine(per_node=8, between=Link(1e-2, 1e-5))
    inside = 7 * ALPHA + 7 / 8 * 8000 * BETA
    outside = 3 * 1e-2 + 3 / 4 * 8000 * 1e-5  # a message to each of 3 other nodes, with three quarters of the words
    assert modelled_seconds(Call("all_to_all", 8000, 32), there, "hierarchical") == pytest.approx(inside + outside)


def test_inside_a_node_there_is_one_level() -> None:
    there = machine(per_node=8, between=Link(1.0, 1.0))
    assert call_seconds(Call("all_reduce", 8000, 8), there) == call_seconds(Call("all_reduce", 8000, 8), machine())


def test_a_measured_curve_goes_before_the_model_and_is_scaled_to_other_ranks() -> None:
    there = machine(curves={"all_reduce": Curve(((0, 1.0), (1000, 3.0)))})
    assert call_seconds(Call("all_reduce", 500, 2), there) == 2.0
    ratio = (6 * ALPHA + 1.5 * 500 * BETA) / (2 * ALPHA + 500 * BETA)
    assert call_seconds(Call("all_reduce", 500, 4), there) == pytest.approx(2.0 * ratio)
    assert call_seconds(Call("all_gather", 500, 2), there) == call_seconds(Call("all_gather", 500, 2), machine())


def test_calls_arithmetic_and_packing_add_up() -> None:
    some = [Call("all_reduce", 100, 2), Call("exchange", 10, 2)]
    sent = sum(call_seconds(call, machine()) for call in some)
    assert communication_seconds(some, machine()) == sent
    assert predicted_seconds(some, 1e6, 1000, machine()) == pytest.approx(sent + 1e6 * GAMMA + 2000 * 1e-8)


def test_an_unknown_algorithm_is_told() -> None:
    with pytest.raises(ValueError, match="got the algorithm 'star', wanted one of ring, tree, hierarchical or best"):
        modelled_seconds(Call("all_reduce", 1, 2), machine(), "star")


def test_trees_send_fewer_messages_than_rings_and_as_many_words() -> None:
    for ranks in (5, 64, 1024):
        ring, tree = (on_wire(Call("all_reduce", 1000, ranks), each) for each in ("ring", "tree"))
        assert tree.messages == 2 * math.ceil(math.log2(ranks)) < ring.messages
        assert tree.words == ring.words
