"""What a parallel plug-in provides, and what each of its processes is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from tnbench.core.protocols.training import Recipe
    from tnbench.core.protocols.weights import Shape


@dataclass(frozen=True)
class Crew:
    """The processes that share one piece of work, as seen by one of them.

    `wrap` prepares a model for work by all of them (DistributedDataParallel, say) and gives what to call in its place;
    it may put a rank's own shards in the place of the model's layers, in place. `barrier` waits for all.
    `notes` are sentences for the record; `wrap` adds what only the model tells.

    A batch is cut into `data_world` shares, and this rank works on number `data_rank`: by default each rank has a share
    of its own. `gather` gives the state dict of the whole model on the CPU, and every rank must call it; None where a
    wrapped model is whole on each rank.
    """

    rank: int
    world: int
    device: torch.device
    threads: int
    wrap: Callable[[nn.Module], nn.Module]
    barrier: Callable[[], None]
    notes: list[str] = field(default_factory=list)
    share: tuple[int, int] | None = None
    """(`data_rank`, `data_world`) where these are not (`rank`, `world`)."""
    gather: Callable[[nn.Module], dict[str, Tensor]] | None = None
    optimiser: Callable[..., torch.optim.Optimizer] | None = None
    """``optimiser(kind, groups, **defaults)`` in place of ``kind(groups, **defaults)``, where ranks share its state."""

    @property
    def data_rank(self) -> int:
        """Which share of a batch this rank works on."""
        return self.share[0] if self.share else self.rank

    @property
    def data_world(self) -> int:
        """Into how many shares a batch is cut."""
        return self.share[1] if self.share else self.world


@dataclass(frozen=True)
class Task:
    """What an entry does with a network: steps with global batches of `batch` pictures of `in_shape` (C, H, W).

    `dtype` is a name of `settings.DTYPES`. `whole_weights` says that something in the training reads the whole network
    on each process, so that none may hold a shard of it only.
    """

    model: nn.Module
    in_shape: Shape
    batch: int
    recipe: Recipe
    dtype: str
    whole_weights: bool = False


@runtime_checkable
class Payload(Protocol):
    """A value that is bound to an entry by keyword, for plug-ins that choose by what the entry is about to do."""

    def task(self) -> Task: ...


RankEntry = Callable[[Crew], Any]
"""What every rank runs: picklable, called with the rank's crew, its return value is sent back (picklable too)."""


class Parallel(Protocol):
    """How one case is spread over processes.

    `IN_PROCESS` says that `launch` calls the entry here, in one process; the forward pass is then timed the same way.

    A module may have more. ``spread(crew, group, options)`` completes a crew for the ranks of a process group: with it
    the plug-in takes part in meshes and dry runs, where ``SHARES_BATCH = True`` says that it is the batch that the
    ranks share, and `ALONE` why it is in no mesh. ``TRAINS = False`` says that `launch` only raises NotApplicable, and
    ``dry_run(model, in_shape, batch, count, options, plugin_files, rank)`` counts what that rank would send in a step.
    """

    VERSION: int
    IN_PROCESS: bool

    def refuses(self, count: int | None, options: Any, device: str) -> str | None:
        """Why `count` processes or threads cannot be had on `device`; None if they can."""

    def launch(
        self, entry: RankEntry, count: int | None, options: Any, device: str, plugin_files: Sequence[Path]
    ) -> list[Any]:
        """Run `entry` on every rank and return what each gave, rank 0 first.

        Raises RankDied when a rank ends by itself; no process is left behind, whatever happens.
        """
