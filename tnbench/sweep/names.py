"""Whether the names in a case are served, without importing what they name (rank policies, which are light, apart)."""

from __future__ import annotations

from tnbench.core.case import Case
from tnbench.core.errors import PluginError, UsageError
from tnbench.core.grammar import AXES, Atom, mixture_sign, parse_part
from tnbench.core.registry import Registry

DENSE, FULL, SINGLE = "dense", "full", "single"

_MIXED = ("method", "training", "parallel")
"""Axes that take mixtures, or meshes."""


def check_part(axis: str, text: str, registry: Registry) -> None:
    """Raise UsageError, with the nearest name, unless plug-ins serve `text`.

    A mixture on an axis where nothing serves mixtures only has to parse.
    """
    atoms = parse_part(axis, text)
    if axis in _MIXED:
        for atom in atoms:
            registry.find(axis, atom.name)
            _check_count(axis, atom)
        return
    if len(atoms) > 1:
        return
    if axis == "rank":
        _check_rank(atoms[0], registry)
    else:
        registry.find(axis, atoms[0].name)
    _check_count(axis, atoms[0])


def check_case(case: Case, registry: Registry) -> None:
    """Raise UsageError for the first part of `case` that nothing serves."""
    for axis in AXES:
        check_part(axis, case.part(axis), registry)


def why_meaningless(case: Case) -> str:
    """Why a case whose names are all served cannot be run all the same; empty if it can."""
    for axis in AXES:
        if axis not in _MIXED and len(case.atoms(axis)) > 1:
            return f"{axis} {case.part(axis)}: mixtures ({mixture_sign(axis)}) are not served yet; name one part alone"
    if (case.method == DENSE) != (case.rank == FULL):
        return f"method {case.method} with rank {case.rank}: {DENSE} goes with rank {FULL}, and with no other"
    return ""


def _check_rank(atom: Atom, registry: Registry) -> None:
    try:
        registry.load(registry.find("rank", atom.name)).check(atom.name)
    except PluginError:
        return  # a broken plug-in is a failed record of its cases, not a fault of the request


def _check_count(axis: str, atom: Atom) -> None:
    if axis == "parallel" and atom.name != SINGLE:
        if atom.count is None:
            raise UsageError(f"parallel: got {str(atom)!r} without a count, wanted how many, such as '{atom}:2'")
    elif atom.count is not None:
        bare = Atom(atom.name, atom.bare, atom.options)
        raise UsageError(f"{axis}: got {str(atom)!r}, which takes no count; write '{bare}'")
