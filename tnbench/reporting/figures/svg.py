"""A matplotlib figure as SVG text that can stand inside an HTML page beside others."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def inline_svg(figure: Figure, *, name: str, description: str) -> str:
    """The ``<svg>`` element alone: ids prefixed by `name`, the page's fonts, text as text, no date in it.

    `description` is what a screen reader says.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", _PAGE_FONT, svg)
    svg = re.sub(r'(?:height|width)="[\d.]+pt" ', "", svg, count=2)
    svg = svg.replace("*{", f"#{name}-figure_1 *{{", 1)
    return svg.replace("<svg ", f'<svg role="img" aria-label={quoteattr(description)} ', 1)
