"""Volumes of a parallel plug-in that only counts: what a step would send, in place of timing one on all ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tnbench.stages.measure import Measured
from tnbench.stages.prepare import Prepared
from tnbench.stages.train import recipe_of


def measure_volumes(prepared: Prepared, model: nn.Module, note: Callable[[str], Any]) -> Measured | None:
    """Words of a training step, and by kind of collective; None where the plug-in works on real ranks.

    Of ranks 0 and 1 those of the one that gives more: a rank between two others sends to both, and the first one has
    the largest share where shares differ.

    Raises NotApplicable where the plug-in cannot share the network by so many ranks.
    """
    parallel, job = prepared.plugins["parallel"], prepared.job
    if not hasattr(parallel.module, "dry_run"):
        return None
    ranks = parallel.atom.count or 1
    batch = recipe_of(job, epochs=1, lr=job.settings.lr, ranks=ranks).batch_size
    found = [
        parallel.module.dry_run(
            model, prepared.pictures.in_shape, batch, ranks, parallel.options, job.plugin_files, rank=rank
        )
        for rank in range(2 if ranks > 2 else 1)
    ]
    rank, counted = max(enumerate(found), key=lambda each: each[1].words)
    note(
        f"words_step is that of rank {rank} of {ranks}, counted in one process with nothing sent; accuracy and times "
        f"of this record are of one process too, and say nothing about {ranks}"
    )
    kinds = dict.fromkeys(call.kind for call in counted.calls)
    samples: dict[str, list[Any]] = {"words_step": [[kind, counted.of(kind)] for kind in kinds]}
    threads = torch.get_num_threads()
    return Measured({"words_step": counted.words, "processes": 1, "threads": threads}, samples, threads)
