"""What a plug-in's module lacks of its kind's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tnbench.core import protocols
from tnbench.core.errors import PluginError, unknown
from tnbench.core.registry import Listing

METHODS: Mapping[str, type[Any]] = {
    "layer": protocols.Method,
    "group": protocols.GroupMethod,
    "network": protocols.NetworkMethod,
}
"""What a method works on at a time, as its file's SCOPE says -> what it provides."""

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
    protocol = _protocol(listing, module)
    wanted = [name for name in [*vars(protocol), *protocol.__annotations__] if not name.startswith("_")]
    lacking = [name for name in wanted if name != "VERSION" and not hasattr(module, name)]
    if lacking:
        raise PluginError(
            f"{listing.kind} {listing.name!r} of {listing.path} has no {', '.join(lacking)}; "
            f"add what tnbench.core.protocols.{protocol.__name__} asks for"
        )


def _protocol(listing: Listing, module: Any) -> type[Any]:
    scope = getattr(module, "SCOPE", "layer")
    if listing.kind != "method":
        return PROTOCOLS[listing.kind]
    if scope not in METHODS:
        raise PluginError(
            f"method {listing.name!r} of {listing.path}: {unknown('SCOPE', str(scope), METHODS)}; mend the file"
        )
    return METHODS[scope]
