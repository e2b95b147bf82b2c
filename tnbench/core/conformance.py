"""What a plug-in's module lacks of its kind's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tnbench.core import protocols
from tnbench.core.errors import PluginError
from tnbench.core.registry import Listing

PROTOCOLS: Mapping[str, type[Any]] = {
    "method": protocols.Method,
    "rank": protocols.RankPolicy,
    "model": protocols.Model,
    "dataset": protocols.Dataset,
    "training": protocols.Training,
    "parallel": protocols.Parallel,
}


def check_complete(listing: Listing, module: Any) -> None:
    """Raise PluginError naming what `module` lacks. VERSION may be left out: it is 1 then."""
    protocol = PROTOCOLS[listing.kind]
    wanted = [name for name in [*vars(protocol), *protocol.__annotations__] if not name.startswith("_")]
    lacking = [name for name in wanted if name != "VERSION" and not hasattr(module, name)]
    if lacking:
        raise PluginError(
            f"{listing.kind} {listing.name!r} of {listing.path} has no {', '.join(lacking)}; "
            f"add what tnbench.core.protocols.{protocol.__name__} asks for"
        )
