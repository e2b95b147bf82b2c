"""``tnbench check``: fail where a case got worse than it was in a reference, beyond a tolerance and beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tnbench.cli.damage import warn_of_damage
from tnbench.cli.options import RESULTS, AsJson, Chosen, Plugins, Results
from tnbench.cli.stored import chosen_lines
from tnbench.cli.taking import taking
from tnbench.cli.terminal import print_json, stdout
from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry

if TYPE_CHECKING:
    from tnbench.history.gate.findings import Finding
    from tnbench.history.gate.reference import Side
    from tnbench.history.gate.tolerance import Tolerance


@taking(Chosen)
def check(
    chosen: Chosen,
    against: Annotated[
        str, typer.Option(metavar="REF", help="A results folder, a file of export records, or a git commit.")
    ],
    fail_on: Annotated[str, typer.Option(metavar="CLAUSES", help="What is too much, such as 'step_ms>5%,top1<-0.5'.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="COMMIT", help="Judge what was measured at this commit (default: each case's newest)."),
    ] = None,
    results: Results = RESULTS,
    plugin: Plugins = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Append a summary in Markdown here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold the newest launches of each case against those of a reference.

    Exit code: 0 nothing regressed, 1 something did, 2 wrong use, or nothing that a clause could be judged by.
    """
    from tnbench.history.gate.judge import judge
    from tnbench.history.gate.tolerance import parse_tolerances

    tolerances = parse_tolerances(fail_on)
    reference, now = _sides(chosen, against, at, results, Registry(plugin or ()))
    findings = judge(reference, now, tolerances)
    if markdown is not None:
        _append(markdown, reference, now, tolerances, findings)
    if as_json:
        print_json(_rows(findings))
    else:
        _print(reference, now, findings, stdout())
    _end(findings, tolerances)


def _end(findings: Sequence[Finding], tolerances: Sequence[Tolerance]) -> None:
    from tnbench.history.gate.findings import Verdict, unjudged

    regressed = any(finding.verdict is Verdict.regressed for finding in findings)
    unheld = ", ".join(map(str, unjudged(findings, tolerances)))
    if unheld:
        idle = UsageError(
            f"check: nothing could be judged by {unheld}, so it could not have failed; leave it out where the records "
            f"have no such metric, or measure both sides with tnbench run --launches 6 (for accuracies: --seeds 6)"
        )
        if not regressed:
            raise idle
        typer.echo(f"tnbench: {idle}", err=True)
    if regressed:
        raise typer.Exit(1)


def _sides(chosen: Chosen, against: str, at: str | None, results: Path, registry: Registry) -> tuple[Side, Side]:
    from tnbench.history.gate.reference import lines_now, newest, read_reference
    from tnbench.store.records import Store

    store, here = Store(results), Path()
    reference = read_reference(against, store, here)
    warn_of_damage(store)
    for sentence in reference.damaged:
        typer.echo(f"tnbench: {sentence}", err=True)
    now = lines_now(store, reference, at, here)
    if not now:
        if not results.is_dir():
            raise UsageError(f"check: there is no folder {results}; name the folder of the records: --results DIR")
        raise UsageError(
            f"check: {results} holds no record beside the reference's; measure what is to be judged: "
            f"tnbench run --launches 6 --results {results}"
        )
    sides = [chosen_lines(chosen, lines, registry) for lines in (reference.lines, now)]
    if not any(sides):
        raise UsageError(
            f"check: --suite, --case and --select leave no record of either side; see what is there with: "
            f"tnbench export csv --results {results}"
        )
    return newest(reference.origin, sides[0]), newest(results, sides[1])


def _append(
    file: Path, reference: Side, now: Side, tolerances: Sequence[Tolerance], findings: Sequence[Finding]
) -> None:
    from tnbench.history.gate.markdown import to_markdown

    try:
        with file.open("a", encoding="utf-8") as out:
            out.write(to_markdown(reference, now, tolerances, findings))
    except OSError as error:
        raise UsageError(
            f"--markdown: {file} cannot be written ({error.strerror}); give a file in a folder of yours"
        ) from None


def _print(reference: Side, now: Side, findings: Sequence[Finding], out: Console) -> None:
    from tnbench.history.gate.findings import Verdict
    from tnbench.history.gate.wording import HEADER, counts, labels, remarks, row

    names = labels(finding.subject for finding in findings)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in HEADER:
        text = name in (*HEADER[:2], HEADER[-1])
        table.add_column(name, justify="left" if text else "right", overflow="fold")
    for verdict, style in ((Verdict.regressed, "red"), (Verdict.passed, "")):
        for finding in findings:
            if finding.verdict is verdict:
                table.add_row(*row(finding, names[finding.subject]), style=style)
    out.print(f"reference: {reference}\nnow:       {now}\n", soft_wrap=True)
    if table.row_count:
        out.print(table)
        out.print()
    out.print(counts(findings))
    for remark in remarks(findings, names):
        out.print(remark, soft_wrap=True)


def _rows(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    from tnbench.history.gate.wording import labels

    names = labels(finding.subject for finding in findings)
    return [
        {
            "name": names[finding.subject],
            "summary": f"{finding.verdict}{f': {finding.reason}' if finding.reason else ''}",
            "verdict": finding.verdict,
            "tolerance": str(finding.tolerance) if finding.tolerance else None,
            "change": asdict(finding.change) if finding.change else None,
        }
        for finding in findings
    ]
