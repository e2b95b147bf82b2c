"""The command line, one verb per file."""

from __future__ import annotations

from tnbench.cli.app import main as main
