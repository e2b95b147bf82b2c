"""Averaging gradients under DistributedDataParallel so that every word sent is counted, and none is sent when muted."""

# Without `from __future__ import annotations`: torch compares those of a hook with its own types.

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, _should_compress, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from tnbench.distributed.collectives import Group, is_muted, rank_in, size, to_be_sent
from tnbench.distributed.grid import subgroup

_Future = torch.futures.Future[Tensor]


def average(group: Group, bucket: GradBucket) -> _Future:
    """A communication hook: the mean over the ranks, divided first, as torch does without a hook."""
    gradients = bucket.buffer()
    if not to_be_sent("all_reduce", gradients.numel(), group):
        return _given(gradients)
    work = dist.all_reduce(gradients.div_(size(group)), group=group, async_op=True)
    return work.get_future().then(lambda future: gradients)


def power_sgd(state: PowerSGDState, bucket: GradBucket) -> _Future:
    """A communication hook: two low-rank factors of each gradient, with error feedback (Vogels et al. 2019).

    The algorithm is torch's. Muted, this rank compresses as ever, in a group of its own, where nothing is sent; in a
    fake group, which times nothing, gradients stay as they are.
    """
    group = state.process_group
    for words in power_sgd_words(state, bucket.gradients()):
        to_be_sent("all_reduce", words, group)  # for the count
    if dist.get_backend(group) == "fake":  # its reductions end with nothing in the hands of torch's hook
        state.maybe_increase_iter(bucket)
        return _given(bucket.buffer())
    if is_muted():
        state.process_group = subgroup([rank_in(group)], group)
    try:
        future: _Future = powerSGD_hook(state, bucket)
    finally:
        state.process_group = group
    return future


def power_sgd_words(state: PowerSGDState, gradients: list[Tensor]) -> list[int]:
    """Words of each all-reduce for a bucket: all at once in the first steps, later what stays whole, then P, then Q."""
    if state.iter < state.start_powerSGD_iter:
        return [sum(gradient.numel() for gradient in gradients)]
    whole = left = right = 0
    for gradient in gradients:
        rows, columns = gradient.shape[0], gradient[0].numel()
        rank = min(rows, columns, state.matrix_approximation_rank)
        if _should_compress(rows, columns, rank, state.min_compression_rate)[0]:
            left, right = left + rows * rank, right + columns * rank
        else:
            whole += gradient.numel()
    return [whole, left, right]


def count_buffers(wrapped: DistributedDataParallel, group: Group) -> None:
    """Count what rank 0 sends of its buffers before each forward pass in training, and leave it out when muted."""
    wrapped.register_forward_pre_hook(_buffers_counted(group))


def _buffers_counted(group: Group) -> Any:
    def before(wrapped: nn.Module, inputs: Any) -> None:
        assert isinstance(wrapped, DistributedDataParallel)
        words = sum(buffer.numel() for buffer in wrapped.module.buffers())
        wrapped.require_forward_param_sync = to_be_sent("broadcast", words, group)

    return before


def _given(value: Tensor) -> _Future:
    future: _Future = torch.futures.Future()
    future.set_result(value)
    return future
