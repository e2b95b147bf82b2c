"""Writing the page of a suite, for the verbs that do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tnbench.core.errors import TnbenchError
from tnbench.core.record import Record


class Titled(Protocol):
    """A plan or a suite."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...


def write_page(records: Sequence[Record], of: Titled, reports: Path, expected: int | None = None) -> Path:
    """Write ``REPORTS/NAME/index.html`` and give its path. Raises TnbenchError where that folder cannot be written."""
    from tnbench.reporting import page

    try:
        return page.write_page(records, name=of.name, summary=of.summary, out=reports / of.name, expected=expected)
    except OSError as error:
        raise TnbenchError(
            f"the page cannot be written to {reports / of.name} ({error.strerror}); the records are kept: "
            f"write it elsewhere with tnbench report --reports DIR"
        ) from None
