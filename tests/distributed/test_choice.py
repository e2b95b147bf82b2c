"""The way with the shortest predicted step, where it is plain which one that is."""

from __future__ import annotations

import itertools

import pytest
import torch
from synthetic_machine import machine
from torch import nn

from tnbench.distributed.machine import Link
from tnbench.distributed.predict.choice import LAYERS, Asked, Choice, choose, choose_cuts, ways
from tnbench.distributed.predict.network import network_of
from tnbench.distributed.predict.step import Prediction, predict_step
from tnbench.layers.chain import chain


def tucker(inp: int, out: int, ranks: tuple[int, int]) -> nn.Module:
    factors = [torch.ones(ranks[0], inp, 1, 1), torch.ones(ranks[1], ranks[0], 3, 3), torch.ones(out, ranks[1], 1, 1)]
    return chain(factors, nn.Conv2d(inp, out, 3, padding=1))


def network(*layers: nn.Module) -> nn.Module:
    head = [nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *layers, *head)


def asked(batch: int = 8, **changes: bool) -> Asked:
    return Asked((3, 8, 8), batch, 2, 1, 1, **changes)


COMPRESSED = [tucker(16, 16, (4, 4)), tucker(16, 16, (8, 6))]


def test_where_sending_is_dear_one_process_or_its_threads_are_taken() -> None:
    found = choose(network(*COMPRESSED), asked(), machine(link=Link(10.0, 1.0)))
    assert found.text == "threads:2"


def test_where_sending_is_free_and_pictures_are_many_data_parallel_is_taken() -> None:
    free = machine(link=Link(0.0, 0.0), launch_s=0.0, delta_s=0.0, rates=fewer_threads())
    assert choose(network(*COMPRESSED), asked(64), free).text == "ddp:2"


def fewer_threads() -> tuple:
    """Threads share nothing out here: two of them take as long as one."""
    import dataclasses

    return tuple(dataclasses.replace(rate, threads=threads) for rate in machine().rates for threads in (1, 2))


def test_a_batch_of_one_picture_is_cut_by_layers_or_rows() -> None:
    found = choose(network(*COMPRESSED), asked(1), machine(link=Link(0.0, 0.0), rates=fewer_threads()))
    assert found.text.partition(":")[0] not in ("single", "threads", "ddp", "fsdp")
    assert isinstance(found.others["ddp:2"], str)


def test_the_choice_is_the_best_of_what_was_predicted() -> None:
    for link in (Link(1e-3, 1e-6), Link(1e-7, 1e-9), Link(0.0, 1e-5)):
        found = choose(network(*COMPRESSED), asked(), machine(link=link))
        known = [each.seconds for each in found.others.values() if isinstance(each, Prediction)]
        assert found.prediction.seconds == min(known)


@pytest.mark.parametrize("link", [Link(0.0, 0.0), Link(1e-5, 0.0), Link(0.0, 3e-8), Link(1.0, 1.0)])
def test_layers_are_cut_as_well_as_by_trying_all(link: Link) -> None:
    model, there = network(*COMPRESSED), machine(link=link)
    names = ["1", "2"]
    every = itertools.product((None, "rank", "bottleneck", "bottleneck_split"), repeat=2)
    seconds = []
    for cuts in every:
        given = {name: cut for name, cut in zip(names, cuts, strict=True) if cut}
        found = predict_step(model, (3, 8, 8), 8, "rank_tp:2", there, cuts=given)
        if isinstance(found, Prediction):
            seconds.append(found.seconds)
    chosen = choose_cuts(network_of(model, (3, 8, 8)), asked(), there)
    alone = predict_step(model, (3, 8, 8), 8, "single", there)
    found = predict_step(model, (3, 8, 8), 8, "rank_tp:2", there, cuts=chosen) if chosen else alone
    assert isinstance(found, Prediction)
    assert isinstance(alone, Prediction)
    assert found.seconds == pytest.approx(min(*seconds, alone.seconds))


def test_exact_ways_leave_out_what_normalises_parts_of_a_batch() -> None:
    with_norm = network_of(network(), (3, 8, 8))
    assert "pipeline:2" in ways(with_norm, asked())
    assert "pipeline:2" not in ways(with_norm, asked(exact=True))
    assert "ddp[bn=sync]:2" in ways(with_norm, asked(exact=True))
    without = network_of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)), (3, 8, 8))
    assert "ddp:2" in ways(without, asked(exact=True))


@pytest.mark.parametrize(
    ("wants", "left"),
    [
        ("whole_weights", {"single", "threads:2", "ddp:2", "spatial:2"}),
        ("compiled", {"single", "threads:2", "ddp:2"}),
    ],
)
def test_a_training_that_wants_layers_whole_gets_no_way_that_cuts_them(wants: str, left: set[str]) -> None:
    """Where messages are free, moving a part of the weights alone is the shortest."""
    free = machine(link=Link(0.0, 0.0), launch_s=0.0, rates=fewer_threads())
    assert choose(network(*COMPRESSED), asked(64), free).text == "fsdp:2"
    found = choose(network(*COMPRESSED), asked(64, **{wants: True}), free)
    assert set(found.others) == left
    assert found.text in left


def test_the_sentence_tells_the_choice_its_layers_and_all_predictions() -> None:
    one = Prediction(0.002, 0.001, 0.001, 0.002, {})
    two = Prediction(0.001, 0.001, 0.0, 0.001, {})
    found = Choice(LAYERS, two, {"single": one, LAYERS: two, "spatial:2": "no rows"}, {"a": "rank", "b": "bottleneck"})
    assert found.sentence() == (
        "chosen: layers (rank: a; bottleneck: b; the rest whole on each rank); "
        "predicted ms of a step: layers 1, single 2; not spatial:2: no rows"
    )
