"""An optimiser whose state is spread over the ranks (ZeRO, stage 1: Rajbhandari et al. 2020)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.distributed.optim import ZeroRedundancyOptimizer

from tnbench.distributed.collectives import Group, to_be_sent


def sharded_optimiser(
    kind: type[torch.optim.Optimizer], groups: list[dict[str, Any]], *, group: Group, **defaults: Any
) -> torch.optim.Optimizer:
    """``kind(groups, **defaults)``, each rank of `group` keeping the state of some parameters and moving them alone.

    After a step every parameter is sent by the rank that moved it: as many words as there are parameters.
    """
    return _Counted(groups, kind, process_group=group, **defaults)


class _Counted(ZeroRedundancyOptimizer):
    """torch's, whose sending is counted, and left out when muted."""

    def _sync_params(self) -> None:
        words = sum(parameter.numel() for group in self.param_groups for parameter in group["params"])
        if to_be_sent("broadcast", words, self.process_group):
            super()._sync_params()  # type: ignore[misc]  # torch hides it from type checkers


def sharding(group: Group) -> Any:
    """What a crew's `optimiser` is where the ranks of `group` share the state."""
    return partial(sharded_optimiser, group=group)
