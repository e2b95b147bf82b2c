"""Options of a plug-in: a frozen dataclass named `Options` in its file, filled from the text in a case id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tnbench.core.errors import UsageError, unknown
from tnbench.core.grammar import Atom


def read_options(owner: str, schema: type[Any] | None, atom: Atom) -> Any:
    """Fill `schema` (a dataclass with defaults) from the options of `atom`; None where the plug-in has no options.

    Fields may be int, float, bool, str, ``tuple[int, ...]`` (written ``3x32x32``) or a Literal of strings.
    Bare options need a field `bare: tuple[str, ...]`. Raises UsageError with the nearest option or value.
    """
    if schema is None:
        if atom.bare or atom.options:
            raise UsageError(f"{owner} takes no options, got {atom}")
        return None
    hints = get_type_hints(schema)
    values: dict[str, Any] = {}
    if atom.bare:
        if "bare" not in hints:
            raise UsageError(f"{owner}: got the bare option {atom.bare[0]!r}, wanted name=value of {_names(hints)}")
        values["bare"] = atom.bare
    for name, text in atom.options:
        if name not in hints or name == "bare":
            raise UsageError(f"{owner}: {unknown('option', name, [n for n in hints if n != 'bare'])}")
        values[name] = _convert(f"{owner}[{name}={text}]", text, hints[name])
    return schema(**values)


def _names(hints: Mapping[str, Any]) -> str:
    return ", ".join(hints)


def _convert(where: str, text: str, wanted: Any) -> Any:
    if get_origin(wanted) is Literal:
        if text not in get_args(wanted):
            raise UsageError(f"{where}: {unknown('value', text, get_args(wanted))}")
        return text
    try:
        if wanted is bool:
            return {"true": True, "false": False}[text]
        if get_origin(wanted) is tuple:
            return tuple(int(side) for side in text.split("x"))
        return wanted(text)
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(wanted, "sides such as 3x32x32")
        raise UsageError(f"{where}: got {text!r}, wanted {kind}") from None
