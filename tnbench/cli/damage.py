"""Saying which lines of the store cannot be read, for the verbs that look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tnbench.store.records import Store


def warn_of_damage(store: Store) -> None:
    """One line on standard error for each line of the store that is lost; no fault of the verb."""
    for sentence in store.damaged():
        typer.echo(f"tnbench: {sentence}", err=True)
