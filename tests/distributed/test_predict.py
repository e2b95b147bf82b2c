"""Predictions on a machine of round numbers, worked out by hand, and what must hold for any network."""

from __future__ import annotations

import pytest
import torch
from synthetic_machine import BACKWARD, GAMMA, machine
from torch import nn

from tnbench.core.errors import UsageError
from tnbench.distributed.collectives import Call
from tnbench.distributed.cost import call_seconds
from tnbench.distributed.machine import Link
from tnbench.distributed.predict.data import buckets
from tnbench.distributed.predict.network import network_of
from tnbench.distributed.predict.share import Part, Share
from tnbench.distributed.predict.step import MODEL, Prediction, predict_step
from tnbench.layers.chain import chain
from tnbench.measure.counts import count_macs, count_params

DELTA, LAUNCH, UPDATE = 1e-8, 1e-6, 5
IN_SHAPE = (4, 6, 6)


def conv_relu() -> nn.Module:
    """864 weights and 31,104 MACs at 6x6: a convolution of 4 channels to 24, without bias."""
    return nn.Sequential(nn.Conv2d(4, 24, 3, padding=1, bias=False), nn.ReLU())


def factorised() -> nn.Module:
    """A dense layer, then Tucker-2 factors of ranks 4 and 6, then scores."""
    like = nn.Conv2d(8, 12, 3, padding=1)
    factors = [torch.ones(4, 8, 1, 1), torch.ones(6, 4, 3, 3), torch.ones(12, 6, 1, 1)]
    pool = [nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3)]
    return nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), chain(factors, like), *pool)


def predicted(model: nn.Module, text: str, batch: int = 8, **changes: object) -> Prediction:
    found = predict_step(model, IN_SHAPE, batch, text, machine(**changes))
    assert isinstance(found, Prediction), found
    return found


def single_by_hand(batch: float) -> float:
    flops = 2 * 864 * 36 * batch
    activation = batch * 2 * 24 * 36 * DELTA
    forward = flops * GAMMA + LAUNCH + activation + LAUNCH
    backward = 2 * flops * BACKWARD + 2 * LAUNCH + 1.5 * activation + LAUNCH
    return forward + backward + UPDATE * 864 * DELTA


def test_a_single_process_by_hand() -> None:
    found = predicted(conv_relu(), "single")
    assert found.seconds == found.compute_s == found.least_s == pytest.approx(single_by_hand(8))
    assert found.communication_s == 0.0
    assert found.words_by_kind == {}


def test_data_parallel_by_hand() -> None:
    found = predicted(conv_relu(), "ddp:2")
    sent = call_seconds(Call("all_reduce", 864, 2), machine())
    assert found.compute_s == pytest.approx(single_by_hand(4))
    assert found.communication_s == pytest.approx(sent)
    assert found.seconds == found.compute_s + found.communication_s
    assert found.words_by_kind == {"all_reduce": 864}


def test_gradients_go_beside_the_backward_pass_where_a_machine_overlaps() -> None:
    # Of two equal layers in buckets of their own, the second one's gradients go while the first one goes backward.
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    fast, batch = {"launch_s": 0.0, "delta_s": 0.0}, 1000
    text = f"ddp[bucket_mb={64 * 64 * 4 / 2**20}]:2"
    there = machine(**fast)
    send = call_seconds(Call("all_reduce", 4096, 2), there)
    backward = 2 * 2 * 4096 * (batch / 2) * BACKWARD
    found = predict_step(model, (64,), batch, text, there)
    assert isinstance(found, Prediction)
    assert found.seconds - found.compute_s == pytest.approx(2 * send)
    assert found.least_s - found.compute_s == pytest.approx(max(send + max(0.0, send - backward), send))
    beside = predict_step(model, (64,), batch, text, machine(**fast, overlaps=True))
    assert isinstance(beside, Prediction)
    assert beside.seconds == beside.least_s == found.least_s


def test_buckets_are_filled_from_the_last_layer_on() -> None:
    parts = tuple(Part(op, 1) for op in network_of(nn.Sequential(*[nn.Linear(8, 8, False)] * 1), (8,)).ops)
    share = Share(parts * 5)
    assert buckets(share, 128 * 4 / 2**20) == [(3, 128), (1, 128), (0, 64)]
    assert buckets(share, 25) == [(0, 320)]


def test_ranks_of_the_outer_part_of_a_mesh_are_apart() -> None:
    """Two nodes of two ranks: the inner part stays within a node, and each group of the outer one is over both."""
    nodes = {"per_node": 2, "between": Link(1.0, 1.0)}
    for text, kinds in (
        ("ddp[bn=sync]:2*rank_tp:2", "model inside"),
        ("rank_tp:2*ddp[bn=sync]:2", "data inside"),
    ):
        found, flat = predicted(factorised(), text, **nodes), predicted(factorised(), text)
        assert found.calls == flat.calls
        own = len(predicted(factorised(), "rank_tp:2", batch=4).calls)
        inner = found.calls[:own] if kinds == "model inside" else found.calls[own:]
        outer = found.calls[own:] if kinds == "model inside" else found.calls[:own]
        apart = sum(call.words + 2 for call in outer)  # by a ring or a tree of two ranks: two messages, and n words
        assert len(outer) > 1
        assert found.communication_s == pytest.approx(apart + sum(call_seconds(call, machine()) for call in inner))


def test_threads_share_the_work() -> None:
    assert predicted(conv_relu(), "threads:1").seconds == pytest.approx(single_by_hand(8))
    both = predicted(conv_relu(), "threads:2")
    assert single_by_hand(8) / 2 < both.seconds < single_by_hand(8)


@pytest.mark.parametrize("name", [*MODEL, "ddp", "fsdp", "bottleneck_tp[core=split]"])
def test_one_rank_communicates_nothing_and_is_a_single_process(name: str) -> None:
    model = factorised()
    alone = predicted(model, f"{name}:1")
    assert alone.words_by_kind == {}
    assert alone.seconds == pytest.approx(predicted(model, "single").seconds)


@pytest.mark.parametrize(
    "text", ["single", "ddp:2", "fsdp:2", "rank_tp:2", "bottleneck_tp:2", "spatial:2", "pipeline:2"]
)
def test_more_pictures_never_take_less(text: str) -> None:
    seconds = [predicted(factorised(), text, batch).seconds for batch in (2, 8, 64)]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("text", ["rank_tp", "bottleneck_tp", "bottleneck_tp[core=split]", "spatial", "ddp", "fsdp"])
def test_more_ranks_never_compute_more_each(text: str) -> None:
    assert predicted(factorised(), f"{text}:4").compute_s <= predicted(factorised(), f"{text}:2").compute_s


def test_words_of_the_two_cuts_by_hand() -> None:
    """Rank cut: sums over C_out = 12 forward and R1 = 4 backward; bottleneck cut: over R1 = 4 and R2 = 6."""
    pixels, batch = 36, 8
    assert predicted(factorised(), "rank_tp:2").words_by_kind == {"all_reduce": (12 + 4) * pixels * batch}
    found = predicted(factorised(), "bottleneck_tp:2").words_by_kind
    joined = 8 * pixels * batch + 12 * batch  # backward what entered, forward what the linear layer takes
    assert found == {"all_reduce": (4 + 6) * pixels * batch, "all_gather": joined}


def test_what_enters_the_first_layer_wants_no_gradient_whatever_stands_before_it() -> None:
    factors = [torch.ones(6, 4, 1, 1), torch.ones(12, 6, 1, 1)]
    first = chain(factors, nn.Conv2d(4, 12, 1))
    for before in ([], [nn.Identity()], [nn.Conv2d(4, 4, 1).requires_grad_(False)]):
        found = predicted(nn.Sequential(*before, first, nn.Conv2d(12, 3, 1)), "rank_tp:2")
        assert found.words_by_kind == {"all_reduce": 12 * 36 * 8}, before
    found = predicted(nn.Sequential(nn.Conv2d(4, 4, 1), first), "rank_tp:2")
    assert found.words_by_kind == {"all_reduce": (12 + 4) * 36 * 8}


def test_frozen_weights_are_neither_summed_nor_moved() -> None:
    model, frozen = nn.Sequential(nn.Conv2d(4, 24, 3), nn.Conv2d(24, 4, 3)), 864 + 24
    of_all, whole = predicted(model, "ddp:2"), count_params(model)
    model[0].requires_grad_(False)
    assert network_of(model, IN_SHAPE).weights == whole
    assert predicted(model, "ddp:2").words_by_kind == {"all_reduce": whole - frozen}
    assert of_all.compute_s - predicted(model, "ddp:2").compute_s == pytest.approx(UPDATE * frozen * DELTA)


def test_a_pass_takes_no_less_than_reading_the_weights() -> None:
    """At one picture; at many the arithmetic takes longer."""
    model = nn.Linear(100, 100, bias=False)
    there = machine(delta_s=1e-6, launch_s=0.0)
    few, many = (predict_step(model, (100,), batch, "single", there) for batch in (1, 10**6))
    assert isinstance(few, Prediction)
    assert isinstance(many, Prediction)
    assert few.seconds == pytest.approx((1 + 2 + UPDATE) * 1e-2)
    assert many.seconds == pytest.approx(2 * 1e4 * 1e6 * (GAMMA + 2 * BACKWARD) + UPDATE * 1e-2)


def test_a_pipeline_starts_each_operation_for_every_micro_batch() -> None:
    slow = {"launch_s": 1.0}
    starts = []
    for M in (1, 2, 8, 16):
        found = predicted(factorised(), f"pipeline[microbatches={M}]:2", **slow)
        starts.append(found.compute_s / min(M, 8) / (1 + 1 / min(M, 8)))  # a batch of 8 has at most 8 parts
    assert starts == pytest.approx([starts[0]] * 4, rel=1e-3)
    assert starts[0] > 2


def test_state_that_ranks_share_out_is_moved_by_each_in_part_and_weights_are_sent() -> None:
    plain, spread = predicted(factorised(), "ddp:4"), predicted(factorised(), "ddp[zero=true]:4")
    weights = count_params(factorised())
    assert spread.words_by_kind["broadcast"] == plain.words_by_kind["broadcast"] + weights
    for found in (spread, predicted(factorised(), "fsdp:4")):
        assert plain.compute_s - found.compute_s == pytest.approx(3 / 4 * UPDATE * weights * DELTA)


def test_a_parts_option_says_its_threads_unless_others_are_told() -> None:
    two = predicted(conv_relu(), "ddp[threads=2]:2")
    assert two.compute_s == predict_step(conv_relu(), IN_SHAPE, 8, "ddp:2", machine(), threads=2).compute_s
    assert two.compute_s < predicted(conv_relu(), "ddp:2").compute_s


def test_a_mesh_cuts_the_batch_and_the_layers() -> None:
    model = factorised()
    both, half = predicted(model, "ddp:2*rank_tp:2"), predicted(model, "rank_tp:2", batch=4)
    cut = (6 * 4 * 9 + 12 * 6) // 2  # the core's outputs and the last factor's inputs
    buffers = sum(buffer.numel() for buffer in model.buffers())
    kept = count_params(model) - cut
    assert both.compute_s == pytest.approx(half.compute_s)
    assert both.words_by_kind == {
        "all_reduce": half.words_by_kind["all_reduce"] + kept,
        "broadcast": buffers,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("wave:2", "the cost model knows nothing of wave; it knows single, threads, ddp"),
        ("ddp:2*fsdp:2", "knows meshes of one data-parallel and one model-parallel part, not ddp:2*fsdp:2"),
        ("ddp:2*pipeline:2", "knows no mesh of ddp and pipeline"),
        ("ddp[compress=powersgd]:2", "knows nothing of ddp's compress=powersgd; leave it out"),
        ("ddp[bucket_mb=1,compress=powersgd]:2*rank_tp:2", "knows nothing of ddp's compress=powersgd; leave it out"),
        ("rank_tp[colour=red]:2", "knows nothing of rank_tp's colour=red; leave it out"),
        ("ddp:16", "a batch of 8 pictures cannot be shared by 16 ranks"),
        ("spatial:7", "pictures of 6x6 pixels have no convolution with rows for 7 ranks"),
        ("rank_tp:7", "no layer is a chain of factors that 7 ranks can cut"),
        ("pipeline:7", "wanted at most pipeline:"),
    ],
)
def test_what_is_not_known_has_a_reason(text: str, reason: str) -> None:
    found = predict_step(factorised(), IN_SHAPE, 8, text, machine())
    assert isinstance(found, str)
    assert reason in found


def test_text_that_is_no_parallel_part_is_wrong_use() -> None:
    with pytest.raises(UsageError):
        predict_step(conv_relu(), IN_SHAPE, 8, "ddp:", machine())


def test_operations_have_the_networks_macs_and_weights_and_leave_it_alone() -> None:
    model = factorised().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = network_of(model, IN_SHAPE)
    assert sum(op.macs for op in found.ops) == count_macs(model, IN_SHAPE)
    assert found.weights == count_params(model)
    assert list(found.chains) == ["1"]
    assert [op.kind for op in found.ops if op.chain] == ["conv1x1", "conv", "conv1x1"]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
