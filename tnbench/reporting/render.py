"""Records -> the text of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tnbench.core.record import STATUSES, Record
from tnbench.reporting import formatting
from tnbench.reporting.checklist import make_checklist
from tnbench.reporting.classes import Classes, make_classes
from tnbench.reporting.context import Context, titles
from tnbench.reporting.figures.axes import LATENCY, MACS, PARAMS, TOP1
from tnbench.reporting.figures.bars import speedup_bars
from tnbench.reporting.figures.curves import curve_panel
from tnbench.reporting.figures.speedup_curves import speedup_curves
from tnbench.reporting.figures.style import Look, legend_marker, looks
from tnbench.reporting.interactive import plot_data
from tnbench.reporting.numbers import Numbers, make_numbers
from tnbench.reporting.pareto import make_fronts
from tnbench.reporting.points import Point, by_context, curves, make_points
from tnbench.reporting.provenance import facts, metrics_shown, settings_groups
from tnbench.reporting.rows import make_rows
from tnbench.reporting.scaling import BUSY, Scaling, make_scalings
from tnbench.reporting.sentences import accuracy_sentences, speed_sentences
from tnbench.reporting.series import TREND, Series, make_series

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Facet:
    """One context's part of the page."""

    title: str
    sentences: list[Markup]
    legend: list[tuple[str, Markup]]
    panels: list[Markup]
    numbers: Numbers
    classes: Classes | None


@dataclass(frozen=True)
class SpeedFacet:
    """The speedups of one model and dataset. `compressed` are the points to compare with the dense network."""

    title: str
    sentences: list[Markup]
    figures: list[Markup]
    series: list[Series]
    scalings: list[Scaling]
    compressed: list[Point]

    @property
    def weak(self) -> bool:
        return self.scalings[0].weak

    @property
    def spread(self) -> list[Scaling]:
        """Those of which more than the training's own steps was timed."""
        return [scaling for scaling in self.scalings if scaling.point.timing("infer_ms")]


def render_page(
    records: Sequence[Record], *, name: str, summary: str, expected: int | None = None, digest: str = ""
) -> str:
    """The page's HTML: styles, scripts, figures and data inside, nothing outside."""
    rows = make_rows(records)
    points = make_points(rows)
    names, drawn = titles(point.context for point in points), looks([point.method for point in points if point.ok])
    found = Counter(record.status for record in records)
    statuses = [(status, found[status]) for status in STATUSES if found[status]]
    plot = plot_data(points, drawn, names)
    settings_heads, settings_lines = settings_groups(records)
    return _template().render(
        name=name,
        summary=summary,
        digest=digest,
        expected=expected,
        rows=rows,
        statuses=statuses,
        facets=_facets(points, names, drawn),
        speeds=_speed_facets(points, drawn),
        trend=TREND,
        busy=BUSY,
        checklist=make_checklist(rows, make_scalings(points), expected),
        plot=plot if plot["x"] and plot["y"] else None,
        plotly=_script(get_plotlyjs()),
        metrics=metrics_shown(rows),
        settings_heads=settings_heads,
        settings_lines=settings_lines,
        facts=facts(records),
        css=_inline("page.css"),
        js=_inline("page.js"),
        formatting=formatting,
    )


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _inline(file: str) -> Markup:
    return Markup((_TEMPLATES / file).read_text(encoding="utf-8"))


def _script(text: str) -> Markup:
    """A script that may stand inside a <script> element."""
    return Markup(text.replace("</script", "<\\/script"))


def _facets(points: Sequence[Point], names: Mapping[Context, str], drawn: Mapping[str, Look]) -> list[Facet]:
    numbers = count(1)
    return [
        _facet(found, names[context], drawn, f"fig{next(numbers)}")
        for context, found in by_context(point for point in points if point.ok).items()
    ]


def _facet(points: Sequence[Point], title: str, drawn: Mapping[str, Look], name: str) -> Facet:
    measured = any(point.over_seeds("top1") for point in points)
    pairs = [(PARAMS, TOP1), (MACS, TOP1), (LATENCY, TOP1)] if measured else [(PARAMS, LATENCY), (MACS, LATENCY)]
    fronts = make_fronts(points)
    panels = [
        curve_panel(
            points,
            x,
            y,
            drawn,
            name=f"{name}-{x.column}",
            title=title,
            front=fronts.members[x.column] if measured else (),
        )
        for x, y in pairs
    ]
    return Facet(
        title,
        accuracy_sentences(points),
        [(method, Markup(legend_marker(drawn[method]))) for method in curves(points)],
        [Markup(panel) for panel in panels if panel],
        make_numbers(points, fronts),
        make_classes(points),
    )


def _speed_facets(points: Sequence[Point], drawn: Mapping[str, Look]) -> list[SpeedFacet]:
    groups: dict[Context, list[Scaling]] = {}
    for scaling in make_scalings(points):
        groups.setdefault(scaling.point.context.regardless_of("parallel"), []).append(scaling)
    names = titles(groups)
    return [
        _speed_facet(names[context], found, drawn, f"speed{number}")
        for number, (context, found) in enumerate(groups.items(), 1)
    ]


def _speed_facet(title: str, scalings: list[Scaling], drawn: Mapping[str, Look], name: str) -> SpeedFacet:
    series, base = make_series(scalings), "one GPU" if scalings[0].point.context.on_gpu else "one core"
    figures = [
        speedup_bars(scalings, drawn, name=name, title=title),
        speedup_curves(series, drawn, name=f"{name}-curves", title=title, base=base),
    ]
    points = [scaling.point for scaling in scalings if not scaling.note]
    compressed = [point for point in points if not point.dense and point.timing("algorithmic_step_speedup")]
    shown = [Markup(figure) for figure in figures if figure]
    return SpeedFacet(title, speed_sentences(scalings), shown, series, scalings, compressed)
