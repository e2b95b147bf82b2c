"""Compress a network by a method that makes a whole new, narrower one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import cast

from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, KeepDense, Ranks
from tnbench.core.registry import Bound
from tnbench.engine.applied import functions_of
from tnbench.engine.conditions import Conditions
from tnbench.engine.probe import Probe
from tnbench.engine.swapped import Swapped
from tnbench.measure.counts import count_macs, count_params

_Narrowed = Callable[[int], nn.Module]

NETWORK = "(network)"
"""The one candidate's name: no layer has brackets in its name."""


def narrow(model: nn.Module, methods: Sequence[Bound], policy: Bound, conditions: Conditions) -> Swapped:
    """Choose one width for the whole network and make it. The rank is a number of width steps.

    All parameters count, biases and normalisation too, since all of them shrink: x4 and net-x4 are the same.

    Raises NotApplicable for a mixture, for `skip` and `only`, and where method and network do not go together.
    """
    method = next(method for method in methods if method.scope == "network")
    if len(methods) > 1:
        raise NotApplicable(f"{method.atom.name} makes a whole new network and has no part in a mixture; take it alone")
    if conditions.skip or conditions.only or method.skip or method.only:
        raise NotApplicable(f"{method.atom.name} works on the whole network: skip and only mean nothing to it")
    functions = functions_of(method)
    if refusal := functions.refuses_network(model):
        raise NotApplicable(refusal)
    steps = int(functions.widths(model))

    def narrowed(width: int) -> nn.Module:
        made = functions.narrowed(model, width, seed=conditions.seed, rebuild=conditions.rebuild)
        return cast(nn.Module, made)

    candidate = _candidate(model, steps, narrowed, conditions)
    probe = _Probe(model, candidate, conditions, narrowed)
    (choice,) = policy.module.choose(policy.atom.name, policy.options, [candidate], probe)
    if isinstance(choice, KeepDense):
        raise NotApplicable(choice.reason)
    return Swapped(narrowed(choice[0]), {}, {NETWORK: choice}, {}, {}, {NETWORK: method}, str(policy.atom))


def _candidate(model: nn.Module, steps: int, narrowed: _Narrowed, conditions: Conditions) -> Candidate:
    in_shape = conditions.in_shape
    # The numbers are kept and the networks are not: a search makes a dozen of them.
    count = cache(lambda ranks: count_params(narrowed(ranks[0])))
    return Candidate(
        NETWORK,
        (steps,),
        count_params(model),
        (steps,),
        count,
        None if in_shape is None else cache(lambda ranks: count_macs(narrowed(ranks[0]), in_shape)),
        None if in_shape is None else count_macs(model, in_shape),
    )


class _Probe(Probe):
    """As for layers, of a network whose parts shrink together."""

    def __init__(self, model: nn.Module, candidate: Candidate, conditions: Conditions, narrowed: _Narrowed) -> None:
        super().__init__(model, {}, conditions, lambda choices: narrowed(choices[NETWORK][0]))
        self._candidate = candidate

    @property
    def elsewhere(self) -> int:
        return 0

    @property
    def macs_elsewhere(self) -> int:
        return 0

    def _error(self, name: str, ranks: Ranks) -> float:
        """The share of the weights that is gone: a narrower network has no weight to compare."""
        return 1 - self._candidate.count(ranks) / self._candidate.dense

    def _spectra(self, name: str) -> tuple[Tensor, ...]:
        raise NotApplicable("a narrower network has no ranks that cut a spectrum; take a rank such as x4 or net-x4")

    def _latency_ms(self, name: str, ranks: Ranks | None) -> float:
        raise NotApplicable("latency is asked for layer by layer, and a narrower network has other layers")
