"""Which chains of a network are cut how, told in notes, and the cutting itself."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from tnbench.distributed.collectives import Group, size
from tnbench.distributed.placement import Shard
from tnbench.distributed.sharding.caps import cap_note, relative_macs
from tnbench.distributed.sharding.chains import chains_of, whole_layers
from tnbench.distributed.sharding.crew import check_any_cut, layers_note
from tnbench.distributed.sharding.part import prefixed, shard_chain
from tnbench.distributed.sharding.roles import Cut, Role, roles


class Chosen(NamedTuple):
    """The chains that are cut, the roles of their factors, by name, and the group that shares them."""

    chains: dict[str, nn.Sequential]
    roles: dict[str, list[Role]]
    group: Group

    def shard(self) -> dict[str, Shard]:
        """Put this rank's parts in the place of the factors; name in the network -> of what it has a part."""
        found: dict[str, Shard] = {}
        for name, chain in self.chains.items():
            found |= prefixed(name, shard_chain(chain, self.roles[name], self.group))
        return found


def cut_chains(model: nn.Module, cut: Cut, group: Group, notes: list[str]) -> Chosen:
    """The chains of `model` that `cut` can share over `group`; `notes` get what is shared and what is not.

    Raises NotApplicable where there is none.
    """
    chains = chains_of(model)
    given = {name: roles(chain, size(group), cut) for name, chain in chains.items()}
    reasons = {name: why for name, why in given.items() if isinstance(why, str)}
    cuts = {name: found for name, found in given.items() if not isinstance(found, str)}
    check_any_cut(list(cuts), reasons, f"the {cut} cut over {size(group)} processes")
    notes.append(layers_note(list(cuts), whole_layers(model, set(cuts)), reasons))
    if note := cap_note({name: relative_macs(chains[name], found) for name, found in cuts.items()}):
        notes.append(note)
    return Chosen({name: chains[name] for name in cuts}, cuts, group)
