"""What a crew needs whose ranks have parts of one model and work on the same pictures."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import Group
from tnbench.distributed.placement import Shard, joined

Sharding = Callable[[nn.Module], tuple[nn.Module, dict[str, Shard]]]
"""Puts this rank's parts into a model, in place: what to call, and of which tensors of the state dict it has a part."""


def sharded_crew(crew: Crew, group: Group, sharding: Sharding) -> Crew:
    """`crew` whose `wrap` first shares the model out over `group`, and whose `gather` joins it again."""
    known: weakref.WeakKeyDictionary[nn.Module, dict[str, Shard]] = weakref.WeakKeyDictionary()

    def wrap(model: nn.Module) -> nn.Module:
        if model in known:
            raise ValueError("got a model that was shared out over the ranks before, wanted a whole one")
        called, known[model] = sharding(model)
        return crew.wrap(called)

    def gather(model: nn.Module) -> dict[str, Tensor]:
        state = (
            crew.gather(model) if crew.gather else {key: value.detach() for key, value in model.state_dict().items()}
        )
        for name, shard in known.get(model, {}).items():
            state[name] = joined(state[name].to(crew.device), shard, group)
        return {name: value.to("cpu", copy=True) for name, value in state.items()}

    return dataclasses.replace(crew, wrap=wrap, share=crew.share or (0, 1), gather=gather)


def check_any_cut(cut: Sequence[str], whole: dict[str, str], what: str) -> None:
    """Raise NotApplicable with the reasons where no layer can be cut."""
    if not cut:
        reasons = "; ".join(f"{name}: {why}" for name, why in whole.items()) or "the network has none"
        raise NotApplicable(
            f"{what} cuts chains of plain factors, as svd, svd_spatial, cp, cp3, tucker2, tt and tkd_cpd make them, "
            f"and there is none to cut ({reasons}); take one of these methods, fewer processes, or ddp"
        )


def layers_note(cut: Sequence[str], whole: Sequence[str], reasons: dict[str, str]) -> str:
    """Which layers are cut, and which are whole on each rank, with the reason where a chain is."""
    told = [f"{name} ({reasons[name]})" if name in reasons else name for name in whole]
    left = f"; whole on each rank: {', '.join(told)}" if told else ""
    return f"the ranks share the work of {len(cut)} layers ({', '.join(cut)}){left}"
