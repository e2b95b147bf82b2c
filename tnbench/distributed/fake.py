"""One process that is a rank of many: what a step would send at any number of ranks, with nothing sent.

torch's fake process group says that there are so many ranks, and nothing is sent to them. Shapes, and so words, are
those of a real run; numbers are not, so that nothing is trained here and nothing timed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.testing._internal.distributed.fake_pg import FakeStore

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew, Recipe, Shape
from tnbench.distributed.collectives import Counted, Group, counting, muted
from tnbench.distributed.crew import nobody_to_wait_for, unchanged
from tnbench.engine.optimiser import optimiser_for
from tnbench.engine.shares import check_shares

_RECIPE = Recipe(epochs=1, lr=0.0, batch_size=1, momentum=0.9, weight_decay=0.0, seed=0)
"""What the optimiser is made by; its numbers make no difference to what is sent."""

_SETTLING_STEPS = 2
"""Steps before the one that is counted: some compressions begin with the third."""


class Spreads(Protocol):
    """A parallel plug-in of several processes."""

    def spread(self, crew: Crew, group: Group, options: Any) -> Crew: ...


def counted_step(
    model: nn.Module, in_shape: Shape, batch: int, plugin: Spreads, count: int, options: Any, *, rank: int = 0
) -> Counted:
    """The collectives of rank number `rank` of `count` in one training step of `model` on a global batch.

    That is of `batch` pictures of `in_shape` (C, H, W). `model` stays as it is. Raises NotApplicable where the batch
    has too few pictures for so many shares, or the plug-in says that the network cannot be shared by so many ranks;
    UsageError where this process is in a group already.
    """
    network = copy.deepcopy(model).train()
    dtype = next((parameter.dtype for parameter in network.parameters()), torch.float32)
    with _as_rank_of(rank, count), muted(), torch.random.fork_rng(devices=[]):
        crew = plugin.spread(_crew(rank, count), None, options)
        check_shares(batch, crew.data_world, batch)
        share = len(torch.arange(batch).tensor_split(crew.data_world)[crew.data_rank])
        wrapped = crew.wrap(network)
        optimiser = optimiser_for(network, _RECIPE, crew=crew)
        pictures = torch.zeros(share, *in_shape, dtype=dtype)
        for _ in range(_SETTLING_STEPS):
            _step(wrapped, optimiser, pictures)
        with counting() as counted:
            _step(wrapped, optimiser, pictures)
    return counted


def _step(wrapped: nn.Module, optimiser: torch.optim.Optimizer, pictures: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    scores = wrapped(pictures)
    functional.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long)).backward()
    optimiser.step()


def _crew(rank: int, count: int) -> Crew:
    return Crew(rank, count, torch.device("cpu"), torch.get_num_threads(), unchanged, nobody_to_wait_for)


@contextmanager
def _as_rank_of(rank: int, count: int) -> Iterator[None]:
    """Be in a fake group for a block; afterwards this process is in none, as before."""
    if dist.is_initialized():
        raise UsageError("got a process that is in a process group, wanted one that is in none; call it before")
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=count)
    try:
        yield
    finally:
        dist.destroy_process_group()
