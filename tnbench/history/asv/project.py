"""What the configuration of asv says about files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from tnbench.core.errors import UsageError

CONFIG = Path("asv.conf.json")


class Project(NamedTuple):
    """A configuration of asv, and the folders that it names."""

    config: Path
    results_dir: Path
    html_dir: Path


def check_asv() -> None:
    """Raise UsageError, saying how to install it, where asv is absent."""
    if importlib.util.find_spec("asv") is None:
        raise UsageError('asv is not installed; install it with: pip install "tnbench[asv]"')


def read_project(config: Path, *, otherwise: str) -> Project:
    """Read a configuration, or raise UsageError; `otherwise` is what can be done where there is none."""
    check_asv()
    from asv.config import Config
    from asv.util import UserError

    if not config.is_file():
        raise UsageError(
            f"{config} is not there, which says where asv keeps its results; run this in its folder, or {otherwise}"
        )
    try:
        said = Config.load(str(config))
    except (UserError, ValueError) as error:
        raise UsageError(f"asv cannot read {config} ({error}); correct it there, or {otherwise}") from None
    folder = config.absolute().parent
    return Project(config.absolute(), *((folder / named).resolve() for named in (said.results_dir, said.html_dir)))
