"""The two sides of a check: what is held against what, and at which revision of the code each was measured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tnbench.core.errors import UsageError
from tnbench.core.record import Record
from tnbench.core.revision import Revision
from tnbench.history.commits import Repository
from tnbench.history.launches import Subject, launches
from tnbench.store.records import Line, Store, lines_of, live

KINDS = "a results folder, a file that tnbench export records --output FILE wrote, or a git commit"


@dataclass(frozen=True)
class Side:
    """The launches of each subject, all of one revision; `origin` is the folder or file that they are read from."""

    origin: Path
    launches: dict[Subject, list[Record]]
    revisions: dict[Subject, Revision]

    def __str__(self) -> str:
        """Such as ``1a2b3c4d in results``."""
        names = dict.fromkeys(str(revision) for revision in self.revisions.values())
        return f"{', '.join(names) or 'nothing'} in {self.origin}"


class Reference(NamedTuple):
    """The lines to compare with; of a `commit`, the commits that it contains too, itself among them."""

    origin: Path
    lines: list[Line]
    damaged: tuple[str, ...] = ()
    commit: str | None = None
    contained: frozenset[str] = frozenset()


def newest(origin: Path, lines: Sequence[Line]) -> Side:
    """Of each subject the launches of its newest revision."""
    found = {subject: list(revisions.items())[-1] for subject, revisions in launches(lines).items()}
    return Side(
        origin,
        {subject: records for subject, (_, records) in found.items()},
        {subject: revision for subject, (revision, _) in found.items()},
    )


def read_reference(against: str, store: Store, folder: Path) -> Reference:
    """What `against` names: a folder, a file, or a commit of the repository around `folder`; an existing path wins.

    Raises UsageError for a name of neither, for one that no record belongs to, and for a commit of a shallow clone.
    """
    path = Path(against)
    if path.is_dir():
        other = Store(path)
        return _some(Reference(path, other.record_lines(), tuple(other.damaged())))
    if path.exists():
        return _some(_of_file(path))
    repository = _repository_with(against, folder)
    commit = repository.resolve(against)
    if repository.shallow:
        raise UsageError(
            f"--against: {repository.root} is a shallow clone, which does not know what {against} contains; fetch the "
            f"rest: git fetch --unshallow (in GitHub's actions/checkout: fetch-depth: 0)"
        )
    contained = frozenset(repository.git("rev-list", commit).split())
    return Reference(store.root, _measured_at(commit, store, "--against"), (), commit, contained)


def lines_now(store: Store, reference: Reference, at: str | None, folder: Path) -> list[Line]:
    """The lines of `store` that may be held against the reference: those of the commit `at`, else of all newer code.

    Lines of the reference itself are none, nor is code that the reference's commit contains.
    """
    if at is not None:
        lines = _measured_at(Repository.around(folder).resolve(at), store, "--at")
    else:
        lines = [line for line in store.record_lines() if not _older(_revision_of(line), reference)]
    known = {line.id for line in reference.lines}
    return [line for line in lines if line.id not in known]


def _measured_at(commit: str, store: Store, option: str) -> list[Line]:
    """The lines measured at a commit without changes. Raises UsageError, with what is there, where there is none."""
    lines = store.record_lines()
    found = [line for line in lines if _revision_of(line).commit == commit and not _revision_of(line).dirty]
    if not found:
        there = ", ".join(dict.fromkeys(str(_revision_of(line)) for line in lines)) or "nothing"
        raise UsageError(
            f"{option}: no record in {store.root} was measured at commit {commit[:8]} (there are records of: {there}); "
            f"check that commit out and measure it: tnbench run --launches 6"
        )
    return found


def _older(revision: Revision, reference: Reference) -> bool:
    """Whether the reference's commit contains the revision; changes that were made on top of it are newer."""
    changed = revision.dirty and revision.commit == reference.commit
    return revision.commit in reference.contained and not changed


def _revision_of(line: Line) -> Revision:
    return Revision.of(line.value.provenance)


def _of_file(path: Path) -> Reference:
    try:
        lines = list(lines_of(path))
    except OSError as error:
        raise UsageError(f"--against: {path} cannot be read ({error.strerror}); wanted {KINDS}") from None
    readable = [line for line in lines if isinstance(line, Line)]
    return Reference(path, live(readable, "record"), tuple(line for line in lines if isinstance(line, str)))


def _some(reference: Reference) -> Reference:
    if not reference.lines:
        why = f" ({reference.damaged[0]})" if reference.damaged else ""
        raise UsageError(f"--against: {reference.origin} holds no record{why}; wanted {KINDS}")
    return reference


def _repository_with(revision: str, folder: Path) -> Repository:
    where = f"{folder.resolve()}, which lies in no git repository"
    with suppress(UsageError):
        repository = Repository.around(folder)
        if repository.knows(revision):
            return repository
        where = str(repository.root)
    raise UsageError(f"--against: got {revision!r}, which is neither a path nor a commit of {where}; wanted {KINDS}")
