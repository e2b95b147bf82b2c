"""A crew without companions: what one process needs to do all the work itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tnbench.core.protocols import Crew

if TYPE_CHECKING:
    from torch import nn


def alone(device: str) -> Crew:
    """The crew of this process and no other, with the threads that torch has now."""
    return Crew(0, 1, torch.device(device), torch.get_num_threads(), unchanged, nobody_to_wait_for)


def unchanged(model: nn.Module) -> nn.Module:
    """`model` itself: a crew that does nothing to models."""
    return model


def nobody_to_wait_for() -> None:
    """The barrier of a single process."""
