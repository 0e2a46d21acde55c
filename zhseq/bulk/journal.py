"""How far a run has come, on disk: what `--resume` goes on from.

A journal is a file of JSON lines beside the output: the settings of the run, then one line for each moment at which
all that was written before is safely on disk. A line that a kill cut short is no line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zhseq.errors import InputError

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows has no such locks: there two runs could write to one output)
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Progress:
    """A moment of a run.

    Attributes:
        chunks: Chunks that are done.
        digest: Hash of them, in hexadecimal digits.
        output: Number of the output that is being written.
        size: Bytes of it.
        annotations: Lines of it, where these are numbered (brat).
    """

    chunks: int = 0
    digest: str = ""
    output: int = 0
    size: int = 0
    annotations: int = 0


class Journal:
    """The journal of one output; only one run at a time can hold it.

    Attributes:
        progress: The last moment that was noted.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Open or begin a journal.

        Args:
            path: The file.
            settings: What a run that goes on must have in common with the one that was interrupted; JSON values.
            resume: Go on from what the file says, if there is one; else begin anew.

        Raises:
            InputError: Another run holds the journal, the settings are not the same, or it cannot be written.
        """
        self._path = path
        try:
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise InputError(f"{path.parent}: expected a folder that can be written: {error.strerror}.") from error
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lines, size = _whole_lines(self._file.read()) if resume else ([], 0)
            self.begun = bool(lines)
            self.progress = Progress(**lines[-1]) if len(lines) > 1 else Progress()
            if lines:
                _compare(lines[0], dict(settings))
            self._file.seek(size)
            self._file.truncate()
            if not lines:
                self._append(dict(settings))
        except BlockingIOError as error:
            self._file.close()
            raise InputError(f"{path}: expected no other run with this output, found one that goes on.") from error
        except BaseException:
            self._file.close()
            raise

    def note(self, progress: Progress) -> None:
        """Note a moment; what it speaks of must be on disk already."""
        self._append(asdict(progress))
        self.progress = progress

    def close(self, *, keep: bool) -> None:
        """Close the file, and keep it or not."""
        if not keep:
            self._path.unlink(missing_ok=True)  # while the lock is held
        self._file.close()

    def _append(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _whole_lines(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the records of all lines that are whole, and the bytes they take."""
    lines: list[dict[str, Any]] = []
    size = 0
    for line in data.splitlines(keepends=True):
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(record, dict):
            break
        lines.append(record)
        size += len(line)
    return lines, size


def _compare(before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in [*before, *now]:
        if before.get(name) != now.get(name):
            raise InputError(
                f"expected the settings of the interrupted run, found {name} {now.get(name)!r} instead of "
                f"{before.get(name)!r}; resume with what it had, or begin anew without --resume."
            )
