"""asv's plug-in for environments that hold one commit's tnbench and share all else with the Python that runs asv.

`asv.conf.json` names this module, and asv imports it from the working tree. Nothing is downloaded: a ``.pth`` file in
the new environment names the package folders of asv's own Python, so torch, the builder and asv's runner come from
there. Python heeds ``.pth`` files in an environment's own folder only, which keeps an editable tnbench out of sight.
"""

from __future__ import annotations

import site
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import virtualenv
from asv import __version__ as asv_version
from asv import environment, util

_LINK = "shared_with_asv.pth"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

for _name in ("_setup", "check_presence", "run_executable"):
    if not hasattr(environment.Environment, _name):
        raise util.UserError(
            f"asv {asv_version} has no Environment.{_name}, on which {__name__} relies; "
            f'install a version that tnbench was tried with: pip install "tnbench[asv]"'
        )


class SharedVirtualenv(environment.Environment):  # type: ignore[misc]  # asv has no types
    """An environment of the Python that runs asv. Making one for another version raises EnvironmentUnavailable."""

    tool_name = "shared-virtualenv"
    matches_python_fallback = False

    def __init__(
        self, conf: Any, python: str, requirements: Mapping[str, str], tagged_env_vars: Mapping[Any, str]
    ) -> None:
        if not self.matches(python):
            raise environment.EnvironmentUnavailable(
                f"{self.tool_name} got Python {python}, wanted {_PYTHON}, for it shares the packages of the Python "
                f"that runs asv; take pythons out of asv.conf.json, or run asv with Python {python}"
            )
        self._requirements = requirements  # asv's own class reads it before it sets anything
        super().__init__(conf, python, requirements, tagged_env_vars)

    @classmethod
    def matches(cls, python: str) -> bool:
        """Whether asv runs with this version of Python, such as ``3.11``."""
        return python == _PYTHON

    def check_presence(self) -> bool:
        """Whether the environment is whole and shares with the Python that runs asv now."""
        link = self._link()
        return bool(super().check_presence()) and link.is_file() and link.read_text(encoding="utf-8") == _shared()

    def run(self, args: Sequence[str], **options: Any) -> Any:
        """What the environment's Python prints when run with `args`; `options` are those of asv's run_executable."""
        return self.run_executable("python", list(args), **options)

    def _setup(self) -> None:
        virtualenv.cli_run(
            ["--python", sys.executable, "--no-download", "--no-periodic-update", "--no-setuptools", self._path],
            setup_logging=False,
        )
        self._link().write_text(_shared(), encoding="utf-8")

    def _link(self) -> Path:
        folders = {"base": self._path, "platbase": self._path}
        return Path(sysconfig.get_path("purelib", scheme="venv", vars=folders)) / _LINK


def _shared() -> str:
    """The text of the ``.pth`` file: one folder a line."""
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return "".join(f"{folder}\n" for folder in [*site.getsitepackages(), *user] if Path(folder).is_dir())
