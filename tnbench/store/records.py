"""The store: append-only JSON Lines, one segment file per writing process, nothing ever rewritten.

Every line is an object with a `kind` (``record``, ``baseline`` or ``drop``), a unique `id` and the time `at` which it
was appended. No lock is needed: writers never share a file, and a torn last line harms no other.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tnbench.core.baseline import Baseline
from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.record import Record
from tnbench.store.succession import identity_of, supersedes

_KINDS = ("record", "baseline", "drop")


@dataclass(frozen=True)
class Line:
    """One readable line of a segment; `value` holds what its kind keeps."""

    kind: str
    id: str
    at: str
    value: Any


class Store:
    """The records and baselines of one results folder. Reading tolerates that the folder is not there."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._segment: Path | None = None
        self._known: dict[Path, tuple[int, list[Line | str]]] = {}

    # ------------------------------------------------------------------------------------------------ reading

    def records(self) -> list[Record]:
        """The live record that counts per key, data, plug-in versions, device model and torch version, oldest first.

        It is the newest, but neither a bad end nor an interrupted run hides a good record.
        """
        counting: dict[tuple[str, ...], Record] = {}
        for line in self.record_lines():
            identity = identity_of(line.value)
            if identity not in counting or supersedes(line.value, counting[identity]):
                counting.pop(identity, None)
                counting[identity] = line.value
        return list(counting.values())

    def record_lines(self) -> list[Line]:
        """Every record line that was not taken back, oldest first; `value` is the Record."""
        return self._live("record")

    def baselines(self) -> list[Baseline]:
        """Every baseline that was not taken back, oldest first."""
        return [line.value for line in self.baseline_lines()]

    def imports(self) -> dict[tuple[str, str], Baseline]:
        """The newest imported baseline of each model on each data set, which serves all of its cases."""
        return {(each.model, each.dataset): each for each in self.baselines() if each.imported}

    def baseline_lines(self) -> list[Line]:
        """The lines of `baselines`; `value` is the Baseline."""
        return self._live("baseline")

    def drops(self) -> list[Line]:
        """What was taken back, oldest first; `value` holds ``drops`` (ids of lines) and ``reason``."""
        lines, _ = self._read()
        return [line for line in lines if line.kind == "drop"]

    def attempts(self) -> Counter[str]:
        """How often each record key was run, records taken back included."""
        lines, _ = self._read()
        return Counter(line.value.key for line in lines if line.kind == "record")

    def damaged(self) -> list[str]:
        """One sentence for each line that cannot be read; all other lines count."""
        _, complaints = self._read()
        return complaints

    # ------------------------------------------------------------------------------------------------ writing

    def append(self, record: Record) -> str:
        """Write one record durably; its line's id comes back. Raises TnbenchError for what JSON cannot hold."""
        return self._append("record", record, f"record of {record.case}")

    def append_baseline(self, baseline: Baseline) -> str:
        """Write one baseline durably; its line's id comes back."""
        return self._append("baseline", baseline, f"baseline of {baseline.model} on {baseline.dataset}")

    def drop(self, records: Iterable[Record], reason: str) -> int:
        """Take records back, older ones of the same identity included, by a further line. Returns how many lines."""
        identities = {identity_of(record) for record in records}
        return self._drop([line.id for line in self.record_lines() if identity_of(line.value) in identities], reason)

    def drop_baselines(self, model: str, dataset: str, reason: str) -> int:
        """Take back every baseline of a model on a data set, trained or imported. Returns how many."""
        wanted = model, dataset
        lines = self.baseline_lines()
        return self._drop([line.id for line in lines if (line.value.model, line.value.dataset) == wanted], reason)

    def check_writable(self) -> None:
        """Raise UsageError, before anything is written, when records could not be kept here."""
        folder = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UsageError(
                f"results: cannot write to {self.root}: {folder}: {error.strerror}; "
                f"give another folder with --results, or mend the rights of this one"
            ) from None

    def new_log(self, case: str, key: str, attempt: int) -> Path:
        """A path for what one attempt at a case prints, used by no other."""
        readable = re.sub(r"[^A-Za-z0-9.=-]+", "_", case)[:120]
        return self.root / "logs" / f"{readable}-{key}-{attempt}-{uuid.uuid4().hex[:8]}.log"

    # ------------------------------------------------------------------------------------------------ lines

    def _live(self, kind: str) -> list[Line]:
        lines, _ = self._read()
        return live(lines, kind)

    def _drop(self, ids: list[str], reason: str) -> int:
        if not reason.strip():
            raise UsageError("drop: got no reason, wanted a sentence that says why; give --reason")
        if ids:
            self._append("drop", {"drops": ids, "reason": reason}, "drop")
        return len(ids)

    def _append(self, kind: str, value: Any, what: str) -> str:
        line = Line(kind, uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="microseconds"), value)
        try:
            text = text_of(line)
        except (TypeError, ValueError) as error:
            raise TnbenchError(f"{what}: {error}; a record holds finite numbers and plain JSON types only") from None
        self._write(text.encode())
        return line.id

    def _write(self, line: bytes) -> None:
        segment, self._segment = self._segment or self._new_segment(), None
        with open(segment, "ab", buffering=0) as file:
            if file.write(line) != len(line):
                raise OSError(f"only part of a line could be written to {segment}; is the disk full?")
            os.fsync(file.fileno())
        self._segment = segment  # kept only after a whole line, so that none is ever written behind a torn one

    def _new_segment(self) -> Path:
        folder = self.root / "segments"
        folder.mkdir(parents=True, exist_ok=True)
        host = re.sub(r"[^A-Za-z0-9.]+", "_", socket.gethostname())
        segment = folder / f"{host}-{os.getpid()}-{time.time_ns()}.jsonl"
        segment.touch(exist_ok=False)
        _sync_folder(folder)
        return segment

    def _read(self) -> tuple[list[Line], list[str]]:
        segments = sorted((self.root / "segments").glob("*.jsonl"))
        found = [line for segment in segments for line in self._lines(segment)]
        lines = sorted((line for line in found if isinstance(line, Line)), key=lambda line: line.at)
        return lines, [line for line in found if isinstance(line, str)]

    def _lines(self, segment: Path) -> list[Line | str]:
        size = segment.stat().st_size
        before, lines = self._known.get(segment, (0, []))
        if size != before:  # segments only ever grow, so equal sizes mean equal content
            lines = list(lines_of(segment))
            self._known[segment] = size, lines
        return lines


def live(lines: Iterable[Line], kind: str) -> list[Line]:
    """Those of one kind that no other of the lines takes back."""
    lines = list(lines)
    dropped = {id for line in lines if line.kind == "drop" for id in line.value["drops"]}
    return [line for line in lines if line.kind == kind and line.id not in dropped]


def text_of(line: Line) -> str:
    """A line as it stands in a file, its end included. Raises ValueError or TypeError for what JSON cannot hold."""
    value = line.value if line.kind == "drop" else line.value.as_json()
    return json.dumps({"kind": line.kind, "id": line.id, "at": line.at, **value}, allow_nan=False) + "\n"


def lines_of(segment: Path) -> Iterator[Line | str]:
    """The lines of a file, in its order; of one that cannot be read a sentence that says so."""
    texts = segment.read_bytes().splitlines(keepends=True)
    for number, text in enumerate(texts, 1):
        where = f"{segment}, line {number}"
        try:
            yield _parse(text)
        except TnbenchError as error:
            yield f"{where}: {error}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(texts) and not text.endswith(b"\n"):
                yield f"{where} is torn: its writer ended in the middle of it; that line is lost, all others count"
            else:
                yield f"{where} cannot be read ({type(error).__name__}: {error}); all other lines count"


def _parse(text: bytes) -> Line:
    data = json.loads(text)
    kind, id, at = data.pop("kind"), str(data.pop("id")), str(data.pop("at"))
    if kind not in _KINDS:
        raise TnbenchError(
            f"got a line of kind {kind!r}, this tnbench reads {', '.join(_KINDS)}; "
            f"a newer tnbench wrote it, so update tnbench to read it"
        )
    if kind == "drop":
        return Line(kind, id, at, {"drops": list(data["drops"]), "reason": data["reason"]})
    return Line(kind, id, at, (Record if kind == "record" else Baseline).from_json(data))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
