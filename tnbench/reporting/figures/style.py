"""One colour and one marker per method, everywhere on a page, and the look that all figures share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

INK, GREY, FAINT = "#1f2933", "#5f6b76", "#dde3e9"
DENSE_COLOUR = "#1f2933"
SLOWER_COLOUR = "#b3360b"
FRONT_COLOUR = "#b8912b"

_COLOURS = ("#0072b2", "#d55e00", "#00875f", "#b0508a", "#8a6d00", "#2b8fd0", "#6a51a3", "#a3324b")
"""Okabe and Ito's palette (2008), darkened where it is too light for text on white, and two more."""

_COMMON = ("cp", "svd", "tt", "tucker2")

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h", "p")


@dataclass(frozen=True)
class Look:
    """How a method is drawn. `marker` is matplotlib's sign, `symbol` plotly's name for the same shape."""

    colour: str
    marker: str
    symbol: str


_SYMBOLS = dict(
    zip(
        _MARKERS,
        ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "hexagon", "pentagon"),
        strict=True,
    )
)


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """A look for each method; eight colours and nine markers give 72 different ones.

    The common methods have the same look on every page, whichever of them are there; others follow by name.
    """
    rivals = [*_COMMON, *sorted(set(methods) - {"dense", *_COMMON})]
    pairs = zip(rivals, cycle(_COLOURS), cycle(_MARKERS), strict=False)
    return {
        "dense": Look(DENSE_COLOUR, "*", "star"),
        **{method: Look(colour, marker, _SYMBOLS[marker]) for method, colour, marker in pairs if method in methods},
    }


@contextmanager
def drawing(salt: str) -> Iterator[None]:
    """matplotlib's settings for the time of one figure; `salt` makes its SVG ids its own, and repeatable."""
    import matplotlib
    import seaborn

    with matplotlib.rc_context({**seaborn.axes_style("ticks"), **_settings(), "svg.hashsalt": salt}):
        yield


def _settings() -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "axes.titlesize": 10,
        "axes.labelsize": 9.5,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "axes.edgecolor": "#9aa5b1",
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.7,
        "axes.axisbelow": True,
        "lines.linewidth": 1.6,
    }


def legend_marker(look: Look) -> str:
    """The marker as a small SVG, for legends outside the figures."""
    from matplotlib.markers import MarkerStyle

    marker = MarkerStyle(look.marker)
    outline = np.asarray(marker.get_path().transformed(marker.get_transform()).to_polygons()[0])
    corners = " ".join(f"{9 + x:.2f},{9 - y:.2f}" for x, y in outline * (7 / np.abs(outline).max()))
    return (
        '<svg class="marker" viewBox="0 0 18 18" aria-hidden="true">'
        f'<polygon points="{corners}" fill="{look.colour}"/></svg>'
    )
