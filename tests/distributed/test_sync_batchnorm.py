"""BatchNorm over ranks beside torch's over the whole batch: outputs, gradients, running statistics, uneven shares."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import ALONE, Call, counting, muted
from tnbench.distributed.pool import RankPool
from tnbench.distributed.sharding.row_norm import RowNorm
from tnbench.distributed.sync_batchnorm import has_batch_norm, synchronise_batch_norm

SHAPES = {1: (9, 5), 2: (9, 5, 4, 3), 3: (9, 5, 2, 3, 2)}
LAYERS: dict[str, tuple[int, dict[str, Any]]] = {
    "2d": (2, {}),
    "1d": (1, {}),
    "3d": (3, {}),
    "no affine": (2, {"affine": False}),
    "cumulative": (2, {"momentum": None}),
    "no bias": (2, {}),
    "no running statistics": (2, {"track_running_stats": False}),
}


class Pass(NamedTuple):
    out: Tensor
    of_input: Tensor
    of_weights: list[Tensor]
    state: dict[str, Tensor]
    eval_out: Tensor


def layer(name: str) -> nn.Module:
    sides, options = LAYERS[name]
    made: nn.Module = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[sides - 1](5, **options)
    if name == "no bias":
        made.register_parameter("bias", None)
    for place, parameter in enumerate(made.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(place))
    return made.double()


def pictures(name: str) -> Tensor:
    shape = SHAPES[LAYERS[name][0]]
    return 1000 + torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def passed(made: nn.Module, x: Tensor) -> Pass:
    """Two passes, so that running statistics move twice; gradients of the second one."""
    made(2 * x)
    x = x.clone().requires_grad_()
    out = made(x)
    (out * torch.linspace(1, 2, x[0].numel(), dtype=x.dtype).view(x[0].shape) * x.detach()).sum().backward()
    assert x.grad is not None
    gradients = [parameter.grad for parameter in made.parameters() if parameter.grad is not None]
    state = {key: value.clone() for key, value in made.state_dict().items()}
    return Pass(out.detach(), x.grad, gradients, state, made.eval()(x).detach())


def on_ranks(crew: Crew) -> dict[str, Pass]:
    found = {}
    for name in LAYERS:
        made = layer(name)
        names = list(made.state_dict())
        synchronise_batch_norm(made, None)
        assert list(made.state_dict()) == names
        assert not has_batch_norm(made)
        found[name] = passed(made, _share(crew, pictures(name)))
    return found


def _share(crew: Crew, x: Tensor) -> Tensor:
    """Seven pictures on rank 0, two on rank 1."""
    return x.split([7, 2])[crew.rank]


@pytest.fixture(scope="module")
def ranks(two_ranks: RankPool) -> list[dict[str, Pass]]:
    return two_ranks.run(on_ranks)


@pytest.mark.parametrize("name", LAYERS)
def test_ranks_together_do_what_one_does_alone(name: str, ranks: list[dict[str, Pass]]) -> None:
    wanted, given = passed(layer(name), pictures(name)), [rank[name] for rank in ranks]
    near = {"rtol": 1e-9, "atol": 1e-8}  # of values around 1000
    torch.testing.assert_close(torch.cat([each.out for each in given]), wanted.out, **near)
    torch.testing.assert_close(torch.cat([each.of_input for each in given]), wanted.of_input, rtol=1e-8, atol=1e-6)
    for place, gradient in enumerate(wanted.of_weights):
        torch.testing.assert_close(sum(each.of_weights[place] for each in given), gradient, rtol=1e-8, atol=1e-6)
    for key, value in wanted.state.items():
        torch.testing.assert_close(given[0].state[key], value, rtol=1e-8, atol=0)
        assert torch.equal(given[0].state[key], given[1].state[key])
    if "running_mean" in wanted.state:
        torch.testing.assert_close(torch.cat([each.eval_out for each in given]), wanted.eval_out, **near)


def in_float32(crew: Crew) -> float:
    """How far the variance of values far from zero is off; the sum of their squares alone would lose it."""
    made = layer("2d").float()
    synchronise_batch_norm(made, None)
    made(_share(crew, pictures("2d").float()))
    running: Any = made.running_var
    wanted = 0.9 + 0.1 * pictures("2d").var((0, 2, 3), correction=1)
    return float(((running - wanted) / wanted).abs().max())


def test_values_far_from_zero_keep_their_variance(two_ranks: RankPool) -> None:
    assert max(two_ranks.run(in_float32)) < 1e-3


def calls(crew: Crew) -> tuple[list[Call], list[Call], tuple[int, ...]]:
    made, x = layer("2d"), _share(crew, pictures("2d"))
    synchronise_batch_norm(made, None)
    with counting() as counted:
        made(x).sum().backward()
    crew.barrier()
    with muted():  # of one rank only
        shape = tuple(made(x).shape) if crew.rank == 0 else ()
    bare = layer("no running statistics")
    synchronise_batch_norm(bare, None)
    with counting() as of_eval:
        made.eval()(x)
        bare.eval()(x)  # by what it is given, as torch's does
    return counted.calls, of_eval.calls, shape


def test_words_forward_and_backward(two_ranks: RankPool) -> None:
    for rank, (training, evaluation, shape) in enumerate(two_ranks.run(calls)):
        assert training == [Call("all_reduce", 2 * 5 + 1, 2), Call("all_reduce", 2 * 5, 2)]
        assert evaluation == []
        assert shape == ((7, 5, 4, 3) if rank == 0 else ())


@pytest.mark.parametrize("rows", [False, True])
def test_one_value_per_channel_is_refused_as_by_torch(rows: bool) -> None:
    made, one = layer("1d"), torch.ones(1, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"[Ee]xpected more than 1 value per channel when training"):
        made(one)
    before = {key: value.clone() for key, value in made.state_dict().items()}
    synchronise_batch_norm(made, ALONE)
    called = RowNorm(cast(nn.BatchNorm1d, made), ALONE) if rows else made
    with pytest.raises(
        ValueError, match=r"got one value per channel over 1 ranks \(input \(1, 5\) here\), expected more"
    ):
        called(one)
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())
    with muted():  # where a rank sees its own share only
        assert called(one).isfinite().all()
    assert all(value.isfinite().all() for value in made.state_dict().values())
