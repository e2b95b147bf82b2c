"""The grammar of case ids: the one place where their text is taken apart and put together.

    case  := method "/" rank "/" model "/" dataset "/" training "/" parallel "#" seed
    part  := atom ("+" atom)*          a mixture, such as tucker2+tt_linear or admm+distill
    part  := atom ("*" atom)*          on the parallel axis: a mesh, such as ddp:2*bottleneck_tp:2
    atom  := name ["[" option ("," option)* "]"] [":" count]
    option:= value | name "=" value    bare options come first and keep their order; named ones are sorted

Inside brackets every character but ``[ ] , /`` and white space is literal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tnbench.core.errors import UsageError

AXES = ("method", "rank", "model", "dataset", "training", "parallel")

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.\-]*"
_ATOM = re.compile(rf"(?P<name>{_NAME})(?:\[(?P<options>[^\[\]]*)\])?(?::(?P<count>[1-9][0-9]*))?")
_VALUE = re.compile(r"[^\[\],/#=\s]+")


@dataclass(frozen=True)
class Atom:
    """One plug-in as a case names it: ``ddp[bucket_mb=1]:2`` is name ``ddp``, one option and count 2."""

    name: str
    bare: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    count: int | None = None

    def __str__(self) -> str:
        inner = ",".join([*self.bare, *(f"{name}={value}" for name, value in self.options)])
        return self.name + (f"[{inner}]" if inner else "") + (f":{self.count}" if self.count else "")


def split_outside_brackets(text: str, separator: str) -> list[str]:
    """Split at the single character `separator`, except between brackets.

    >>> split_outside_brackets("cp[solver=als,iters=9],tt", ",")
    ['cp[solver=als,iters=9]', 'tt']
    """
    pieces, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == separator and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def mixture_sign(axis: str) -> str:
    """What joins several atoms on `axis`: ``*`` for meshes of processes, ``+`` everywhere else."""
    return "*" if axis == "parallel" else "+"


def parse_part(axis: str, text: str) -> tuple[Atom, ...]:
    """Take one part of a case id apart.

    >>> [str(atom) for atom in parse_part("parallel", "ddp:2*bottleneck_tp:2")]
    ['ddp:2', 'bottleneck_tp:2']

    Raises UsageError naming the axis and the text that does not fit.
    """
    return tuple(_parse_atom(axis, piece) for piece in split_outside_brackets(text, mixture_sign(axis)))


def format_part(axis: str, atoms: Sequence[Atom]) -> str:
    """The canonical text of a part; the inverse of `parse_part`."""
    return mixture_sign(axis).join(map(str, atoms))


def _parse_atom(axis: str, text: str) -> Atom:
    match = _ATOM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{axis}: got {text!r}, wanted a name with options in brackets and a count, such as "
            f"'cp[solver=als]' or 'ddp:2'"
        )
    bare, named = _parse_options(axis, text, match["options"])
    return Atom(match["name"], bare, named, int(match["count"]) if match["count"] else None)


def _parse_options(axis: str, text: str, inner: str | None) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    if inner is None:
        return (), ()
    bare: list[str] = []
    named: dict[str, str] = {}
    for option in inner.split(","):
        name, equals, value = option.partition("=")
        if not _VALUE.fullmatch(value if equals else name) or (equals and not re.fullmatch(_NAME, name)):
            raise UsageError(f"{axis}: got the option {option!r} in {text!r}, wanted 'value' or 'name=value'")
        if name in named:
            raise UsageError(f"{axis}: the option {name!r} stands twice in {text!r}; keep one of them")
        if equals:
            named[name] = value
        else:
            bare.append(name)
    return tuple(bare), tuple(sorted(named.items()))
