"""What can go wrong, as types. Every message says what was got, what was wanted, and the nearest fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TnbenchError(Exception):
    """Base of every error that tnbench raises on purpose; its text is written for the person at the terminal."""


class UsageError(TnbenchError):
    """The request itself is wrong (exit code 2). Raised before anything is written."""


class NotApplicable(TnbenchError):
    """The case makes no sense as asked; its text becomes the reason of a `skipped` record."""


class Diverged(TnbenchError):
    """Training left the finite numbers, or exploded; its text becomes the reason of a `diverged` record.

    `loss` is the path up to there, one mean per epoch, as far as it is finite.
    """

    def __init__(self, text: str, loss: Iterable[float] = ()) -> None:
        super().__init__(text)
        self.loss = list(loss)


class RankDied(TnbenchError):
    """A process of a parallel case ended by itself; its text becomes the reason of a `crashed` record."""


class PluginError(TnbenchError):
    """A plug-in cannot be loaded or breaks its protocol; the cases that use it become `failed` records."""


def nearest(got: str, known: Iterable[str]) -> str | None:
    """The known word most like `got`, or None when nothing is like it.

    >>> nearest("tuker2", ["tucker2", "tt"])
    'tucker2'
    """
    close = difflib.get_close_matches(got, list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def unknown(what: str, got: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not known.

    >>> unknown("method", "tuker2", ["tucker2", "tt"])
    "no method is named 'tuker2'; the nearest is 'tucker2' (known: tt, tucker2)"
    """
    names = sorted(set(known))
    best = nearest(got, names)
    hint = f"; the nearest is {best!r}" if best else ""
    return f"no {what} is named {got!r}{hint} (known: {', '.join(names)})"
