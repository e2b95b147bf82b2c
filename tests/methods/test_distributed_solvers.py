"""`solver=distributed` of tucker, tt and cp: as the solver of one rank that is the same algorithm, on any ranks."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tnbench.core.protocols import Crew
from tnbench.distributed import solvers
from tnbench.distributed.collectives import counting
from tnbench.distributed.pool import RankPool
from tnbench.distributed.solvers import together
from tnbench.linalg import tt as tt_cores
from tnbench.methods import cp, cp3, tt, tucker

WEIGHTS = {"conv": (10, 7, 3, 3), "pointwise": (10, 7, 1, 1), "tall": (12, 5), "wide": (5, 12)}
METHODS: dict[str, tuple[Any, str | None]] = {
    "tucker": (tucker, "st_hosvd"),
    "tt": (tt, "gram"),
    "cp": (cp, None),
    "cp3": (cp3, None),
}
RANKS = {"tucker": (3, 4, 2, 2), "tt": (3, 4, 3), "cp": (3,), "cp3": (3,)}


def weight_of(name: str) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(WEIGHTS[name], generator=generator, dtype=torch.float64)


def ranks_of(method: str, weight: Tensor) -> tuple[int, ...]:
    if weight.dim() == 2:
        return (3,)
    module, ranks = METHODS[method][0], RANKS[method]
    useful: tuple[int, ...] = module.useful_ranks(tuple(weight.shape), ranks) if len(ranks) > 1 else ranks
    return useful


def factorised(method: str, weight: Tensor, solver: str, **given: Any) -> tuple[Tensor, ...]:
    module = METHODS[method][0]
    options = module.Options(solver=solver)
    factors: tuple[Tensor, ...] = module.factorise(weight, ranks_of(method, weight), seed=0, options=options, **given)
    return factors


def dense(method: str, factors: tuple[Tensor, ...]) -> Tensor:
    weight: Tensor = METHODS[method][0].dense(factors)
    return weight


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_alone_it_is_a_solver_as_others(method: str, name: str) -> None:
    weight, twin = weight_of(name), METHODS[method][1]
    got = dense(method, factorised(method, weight, "distributed"))
    if twin or name != "conv":  # the terms of a matrix are its SVD
        wanted = dense(method, factorised(method, weight, twin or "als"))
        assert torch.dist(got, wanted) < 1e-9 * weight.norm()
    else:
        ours = torch.dist(weight, dense(method, factorised(method, weight, "als")))
        assert torch.dist(weight, got) < 1.1 * ours


@pytest.mark.parametrize("method", ["cp", "cp3"])
def test_it_goes_on_from_a_start(method: str) -> None:
    weight = weight_of("conv")
    once = factorised(method, weight, "distributed")
    again = factorised(method, weight, "distributed", start=once)
    assert torch.dist(weight, dense(method, again)) <= torch.dist(weight, dense(method, once)) * (1 + 1e-9)


def test_small_singular_values_of_a_float32_weight_are_not_lost() -> None:
    generator = torch.Generator().manual_seed(5)
    left, right = (torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q for _ in range(2))
    weight = (left * 10.0 ** -torch.arange(8)) @ right
    cores = solvers.tensor_train(weight.float(), (5,))
    assert {core.dtype for core in cores} == {torch.float32}
    assert torch.dist(tt_cores.contract(cores), weight) < 2e-5  # what is left out begins with 1e-5


def on_ranks(crew: Crew, jointly: bool) -> tuple[dict[tuple[str, str], Tensor], int]:
    with counting() as counted, together() if jointly else nullcontext():
        cases = [(method, name) for method in METHODS for name in WEIGHTS]
        if not jointly:
            cases = cases[crew.rank :: crew.world]  # each rank has layers of its own
        return {case: dense(case[0], factorised(case[0], weight_of(case[1]), "distributed")) for case in cases}, len(
            counted.calls
        )


@pytest.mark.parametrize("jointly", [True, False])
def test_ranks_share_a_layer_only_together(two_ranks: RankPool, jointly: bool) -> None:
    for found, calls in two_ranks.run(partial(on_ranks, jointly=jointly)):
        assert (calls > 0) == jointly
        for (method, name), got in found.items():
            weight = weight_of(name)
            wanted = dense(method, factorised(method, weight, "distributed"))
            assert torch.dist(got, wanted) < 1e-9 * weight.norm(), (method, name)
