"""Speedups over numbers of cores: one series for each case and way to spread it, with the bounds that can be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tnbench.core.grammar import Atom, format_part, parse_part
from tnbench.reporting.amdahl import fitted_serial_share
from tnbench.reporting.launches import Timing
from tnbench.reporting.points import Point
from tnbench.reporting.scaling import Family, Scaling

TREND = 3
"""Numbers of cores from which on a line may join what was measured."""


@dataclass(frozen=True)
class Series:
    """One case spread one way. `measured` are speedups by cores, the base case's among them; so are `modelled`.

    `serial` is the share of the base case's step that is not spread, and `source` where it is known from; None where
    it is not known.
    """

    label: str
    method: str
    way: str
    measured: Mapping[int, Timing]
    modelled: Mapping[int, float]
    serial: float | None
    source: str

    @property
    def is_trend(self) -> bool:
        return len(self.measured) >= TREND

    @property
    def most(self) -> int:
        """The largest number of cores."""
        return max(self.measured)


def make_series(scalings: Sequence[Scaling]) -> list[Series]:
    """The series of the scalings, in their order. Invalid ones have no part, and weak ones no speedup."""
    valid = [scaling for scaling in scalings if scaling.speedup and scaling.cores and not scaling.note]
    bases = {scaling.family: scaling for scaling in valid if scaling.base}
    groups: dict[tuple[Family, str], list[Scaling]] = {}
    for scaling in valid:
        if not scaling.base and scaling.family in bases:
            groups.setdefault((scaling.family, way_of(scaling.parallel)), []).append(scaling)
    return [_series(bases[family], way, found) for (family, way), found in groups.items()]


def way_of(parallel: str) -> str:
    """The parallel part without its counts: ``ddp[bucket_mb=1]:2`` and ``...:4`` are one way.

    >>> way_of("ddp[bucket_mb=1]:2"), way_of("ddp:2*bottleneck_tp:4")
    ('ddp[bucket_mb=1]', 'ddp*bottleneck_tp')
    """
    return format_part("parallel", [Atom(a.name, a.bare, a.options) for a in parse_part("parallel", parallel)])


def _series(base: Scaling, way: str, found: Sequence[Scaling]) -> Series:
    all_of_them = [base, *found]
    measured = _by_cores(all_of_them, lambda scaling: scaling.speedup)
    serial, source = _serial_share(base.point, way, measured)
    return Series(base.point.label, base.point.method, way, measured, _modelled(all_of_them), serial, source)


def _by_cores(scalings: Sequence[Scaling], read: Callable[[Scaling], Timing | None]) -> dict[int, Timing]:
    return {scaling.cores: value for scaling in scalings if scaling.cores and (value := read(scaling))}


def _modelled(scalings: Sequence[Scaling]) -> dict[int, float]:
    """Predicted speedups over the predicted base case; none without its prediction."""
    predicted = {scaling.cores: scaling.point.mean("predicted_step_ms") for scaling in scalings if scaling.cores}
    base = predicted.get(1)
    return {cores: base / value for cores, value in predicted.items() if base and value}


def _serial_share(base: Point, way: str, measured: Mapping[int, Timing]) -> tuple[float | None, str]:
    """From three numbers of cores on the share that fits them; for replicas the optimiser's, which each repeats."""
    fitted = fitted_serial_share({cores: speedup.value for cores, speedup in measured.items()})
    if fitted is not None:
        return fitted, "fitted"
    optimiser, step = base.mean("optimiser_phase_ms"), base.mean("fixed_step_ms")
    replicas = parse_part("parallel", way)[0].name == "ddp" and "*" not in way and "zero=true" not in way
    return (optimiser / step, "the optimiser's share") if optimiser and step and replicas else (None, "")
