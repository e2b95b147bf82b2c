"""The number of parameters that a rank aims at, and whether a network can be said to have it."""

from __future__ import annotations

from collections.abc import Mapping

from tnbench.core.case import Case

EQUAL = (-2.0, 0.0)
"""Per cent above the budget between which networks have equal parameters."""

_LAYERS, _NETWORK = "x", "net-x"


def budget_gap(case: Case, metrics: Mapping[str, float]) -> float | None:
    """How many per cent the network's non-zero parameters lie above (below: negative) the budget of the case's rank.

    ``net-xR`` aims at 1/R of the dense network's parameters, ``xR`` at 1/R of the compressed layers' weights and all
    of the rest. None for other ranks, which aim at no number of parameters.
    """
    (rank, *_) = case.atoms("rank")
    dense, own = metrics.get("params_dense"), metrics.get("params_nonzero", metrics.get("params"))
    ratio = _ratio(rank.name)
    if ratio is None or dense is None or own is None:
        return None
    budget = dense / ratio
    if not rank.name.startswith(_NETWORK):
        budget = dense - metrics.get("params_layers_dense", 0.0) * (1 - 1 / ratio)
    return 100 * (own / budget - 1)


def is_equal(gap: float) -> bool:
    """Whether a network at this gap has the parameters of its budget."""
    return EQUAL[0] <= gap <= EQUAL[1]


def _ratio(rank: str) -> float | None:
    for policy in (_NETWORK, _LAYERS):
        if rank.startswith(policy):
            try:
                return float(rank.removeprefix(policy)) or None
            except ValueError:
                return None
    return None
