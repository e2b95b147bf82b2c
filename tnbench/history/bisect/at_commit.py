"""A case run by the code of a commit, checked out in a worktree: in a process of its own, with records of its own."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tnbench.core.case import Case
from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.git import outside_hooks
from tnbench.core.record import Record
from tnbench.core.revision import Revision
from tnbench.core.settings import Settings
from tnbench.history.bisect.side_by_side import EndedBadly, Refused, Unmeasured
from tnbench.history.commits import Repository
from tnbench.store.records import Store
from tnbench.sweep.executors.family import end_family

_TNBENCH = (sys.executable, "-P", "-c", "from tnbench.cli import main; main()")
_OWN = Path("tnbench/__init__.py")
_USAGE = 2


@dataclass(frozen=True)
class Trial:
    """A case, and how ``tnbench run`` is to run it at any commit of a repository.

    A commit that has a tnbench is run by that one, any other by the installed one. `options` are those of the verb
    without its folders and plug-ins; `settings` is what they come to. `plugins` are whole paths: a file inside the
    repository is taken from each commit, any other as it is. `folder` holds the records, apart for each commit, as a
    baseline trained by one commit's code serves no other. `keep` is where the logs will be found, if they are kept.
    A commit's baseline is trained at its first launch, or where `fresh` at each.
    """

    repository: Repository
    case: Case
    settings: Settings
    options: tuple[str, ...]
    data_root: Path
    plugins: tuple[Path, ...]
    folder: Path
    keep: Path | None = None
    fresh: bool = False

    def check(self, *commits: str) -> None:
        """Raise UsageError for a plug-in file that one of the commits lacks, and where nothing depends on a commit."""
        root, holds = self.repository.root, self.repository.holds
        inside = [file.relative_to(root) for file in self.plugins if self._is_inside(file)]
        for file, commit in itertools.product(inside, commits):
            if not holds(commit, file):
                raise UsageError(
                    f"--plugin: there is no {file} in {self.repository.in_short(commit)}; bisect between commits that "
                    f"have it, or give a copy outside of {root}, which is then the same at every commit"
                )
        code = (*inside, *_code_folders(self.repository), _OWN)
        if not any(holds(commit, path) for path, commit in itertools.product(code, commits)):
            raise UsageError(
                f"nothing that is run comes from {root}; run this inside a clone of tnbench, or give a --plugin FILE "
                f"that lies in the repository"
            )

    def number(self, tree: Path, metric: str) -> float:
        """A metric, from one more launch of the code in `tree`. Raises Unmeasured, with the reason, without one."""
        record = self.launch(tree)
        if record.status != "ok":
            raise EndedBadly(self._ending(record))
        other = _other_settings(record, self.settings)
        if other:
            raise Unmeasured(
                f"it ran under other settings, {other}; give them as options, so that they hold everywhere"
            )
        if metric not in record.metrics:
            raise Unmeasured(f"its record has no {metric}; it has {', '.join(sorted(record.metrics))}")
        return record.metrics[metric]

    def why_broken(self, tree: Path) -> str:
        """How the case ends with the code in `tree`, and why; empty where it ends ok."""
        try:
            record = self.launch(tree)
        except Unmeasured as error:
            return str(error)
        return "" if record.status == "ok" else self._ending(record)

    def launch(self, tree: Path) -> Record:
        """The record of one more launch. Raises Unmeasured where the code there leaves none.

        Raises TnbenchError where the record says that other code has run than was meant to.
        """
        commit = self.repository.git("rev-parse", "HEAD", at=tree)
        store = Store(self.folder / "results" / commit)
        before = len(store.record_lines())
        code, said = _run([*_TNBENCH, "run", *self._words(tree, store.root)], tree, _environment(self.repository, tree))
        new = store.record_lines()[before:]
        if not new:
            raise (Refused if code == _USAGE else Unmeasured)(f"tnbench ended with {code} and left no record: {said}")
        record: Record = new[-1].value
        if (tree / _OWN).is_file():
            _check_commit(record, commit)
        return record

    def _words(self, tree: Path, results: Path) -> list[str]:
        """The words of ``tnbench run``, by which a case that ended ok is run again."""
        folders = {"data-root": self.data_root, "results": results, "reports": self.folder / "pages"}
        root = self.repository.root
        plugins = [tree / file.relative_to(root) if self._is_inside(file) else file for file in self.plugins]
        return [
            *("--case", self.case.id, "--quiet", *(("--fresh",) if self.fresh else ("--rerun", "ok")), *self.options),
            *(word for name, path in folders.items() for word in (f"--{name}", str(path))),
            *(word for file in plugins for word in ("--plugin", str(file))),
        ]

    def _is_inside(self, file: Path) -> bool:
        return file.is_relative_to(self.repository.root)

    def _ending(self, record: Record) -> str:
        said = f"the case ended as {record.status}: {record.reason}".partition("\n")[0]
        log = record.provenance.get("log")
        if log is None:
            return said
        return f"{said} (its log: {self.keep / log})" if self.keep else f"{said} (--keep DIR keeps its log)"


@contextmanager
def scratch(keep: Path | None) -> Iterator[Path]:
    """A folder for `Trial.folder`, taken away at last. The results in it are put together into `keep` before.

    Raises UsageError unless `keep` is new or empty: records of old commits would stand for cases of another folder.
    """
    if keep is not None:
        if keep.exists() and not (keep.is_dir() and not any(keep.iterdir())):
            raise UsageError(f"--keep: {keep} is there already; give a new folder")
        Store(keep).check_writable()
    with tempfile.TemporaryDirectory(prefix="tnbench-") as folder:
        try:
            yield Path(folder)
        finally:
            if keep is not None:
                for results in Path(folder, "results").glob("*"):
                    shutil.copytree(results, keep, dirs_exist_ok=True)


def _run(command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, str]:
    """The exit code, and the last words on standard error. An interrupt ends the command with all that it started."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            _, written = process.communicate()
        except BaseException:
            end_family(process.pid)
            raise
    lines = [line.strip("│ ") for line in written.decode(errors="replace").splitlines() if re.search(r"\w", line)]
    return process.returncode, (lines or ["it said nothing"])[-1]


def _environment(repository: Repository, tree: Path) -> dict[str, str]:
    """Ours, with the code in `tree` before any other and instead of that in the checkout, and nothing cached there."""
    own = [Path()] if (tree / _OWN).is_file() else []
    folders = [folder for folder in (*own, *_code_folders(repository)) if (tree / folder).is_dir()]
    given = [Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    replaced = {repository.root / folder for folder in folders}
    ahead = [tree / folder for folder in folders] + [path for path in given if path not in replaced]
    search = os.pathsep.join(map(str, dict.fromkeys(ahead)))
    return {**outside_hooks(), "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"}


def _code_folders(repository: Repository) -> list[Path]:
    """Where Python finds modules inside the repository, relative to its top folder."""
    folders = (Path(entry).resolve() for entry in sys.path)
    return [folder.relative_to(repository.root) for folder in folders if folder.is_relative_to(repository.root)]


def _check_commit(record: Record, commit: str) -> None:
    measured = Revision.of(record.provenance)
    if (measured.commit, measured.dirty) != (commit, False):
        raise TnbenchError(
            f"{commit[:8]} was to be measured, but the record says {measured}; is another tnbench ahead on PYTHONPATH?"
        )


def _other_settings(record: Record, wanted: Settings) -> str:
    """What a record's settings differ in, such as ``epochs 2 instead of 1``. A device left open may be any."""
    return ", ".join(
        f"{name} {record.settings[name]} instead of {value}"
        for name, value in wanted.as_json().items()
        if record.settings.get(name, value) != value and not (name == "device" and value == "auto")
    )
