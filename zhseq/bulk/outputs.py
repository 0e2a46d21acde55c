"""Write output files: each is renamed to its final name when it is complete, and interrupted runs can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from zhseq.bulk.inputs import Inputs, absolute
from zhseq.errors import FULL_DISK, InputError, Message
from zhseq.tagging.formats import number_annotations
from zhseq.text.encoding import Notify

try:
    import fcntl
except ImportError:  # pragma: no cover (no locks on Windows: two runs could write to the same output)
    fcntl = None  # type: ignore[assignment]


Part = tuple[int, bytes]
"""Index of a source, and encoded output of one of its segments or of a piece of it."""


@dataclass(frozen=True)
class Progress:
    """State of a run.

    Attributes:
        chunks: Number of chunks done.
        digest: Hash of these chunks, hexadecimal.
        output: Index of the current output file.
        size: Bytes written to it.
        annotations: Annotations written to it, if the format numbers them (brat).
    """

    chunks: int = 0
    digest: str = ""
    output: int = 0
    size: int = 0
    annotations: int = 0


class Journal:
    """Journal file of an output, with the states from which a run can be resumed; locked by the run.

    Attributes:
        progress: The last recorded state.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Open or create a journal.

        Args:
            path: The file.
            settings: JSON values that must be the same when a run is resumed.
            resume: Whether to continue an existing journal; otherwise it is overwritten.

        Raises:
            InputError: Another run has locked the journal, the settings differ, or the file cannot be written.
        """
        self._path = path
        try:
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise InputError(
                "unwritable_folder",
                "{folder}: the folder is not writable: {reason}.",
                folder=path.parent,
                reason=error.strerror,
            ) from error
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lines, size = _complete_lines(self._file.read()) if resume else ([], 0)
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
            raise InputError(
                "output_in_use", "{path}: another run is writing this output; wait until it has finished.", path=path
            ) from error
        except BaseException:
            self._file.close()
            raise

    def note(self, progress: Progress) -> None:
        """Record a state; the output that it describes must be on disk already."""
        self._append(asdict(progress))
        self.progress = progress

    def close(self, *, keep: bool) -> None:
        """Close the file, and delete it unless `keep`."""
        if not keep:
            self._path.unlink(missing_ok=True)  # before the lock is released
        self._file.close()

    def _append(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _complete_lines(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the records of all complete lines, and their size in bytes."""
    lines: list[dict[str, Any]] = []
    size = 0
    for line in data.splitlines(keepends=True):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
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
                "other_settings",
                "expected the settings of the interrupted run, found {name} {now!r} instead of "
                "{before!r}; resume with the original settings, or start again without <resume>.",
                name=name,
                now=now.get(name),
                before=before.get(name),
            )


_INTERVAL = 2.0  # seconds between journal entries, the work that a kill can lose


class FileOutput:
    """Write output files one after another, with a journal from which an interrupted run can be resumed.

    A file is written under a hidden name beside its final one, and renamed after the journal has recorded that it is
    complete. As a context manager, on an error, it keeps what is needed to resume and deletes everything else.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        journal: Path,
        settings: Mapping[str, Any],
        *,
        resume: bool,
        notify: Notify,
    ) -> None:
        """Open the journal.

        Args:
            paths: File of each source, or a single file for all of them.
            journal: Path of the journal.
            settings: As in `Journal`.
            resume: As in `Journal`.
            notify: Called with a note on how to resume after an error.

        Raises:
            InputError: As in `Journal`, or output of the interrupted run is missing.
        """
        self._paths, self._notify = paths, notify
        self._numbered = settings.get("format") == "brat"
        self._journal = Journal(journal, settings, resume=resume)
        if resume and not self._journal.begun:
            notify(Message("nothing_to_resume", "there is nothing to resume; starting from the beginning"))
        self.progress = self._journal.progress
        self._chunks, self._digest = self.progress.chunks, self.progress.digest
        self._annotations = self.progress.annotations
        self._current = self.progress.output
        self._file: BinaryIO | None = None
        self._whole: list[Path] = []  # complete files that are not yet recorded in the journal
        self._noted = time.monotonic()
        self._between = True  # between chunks; an incomplete chunk must not be recorded

    def __enter__(self) -> FileOutput:
        """Restore the files of the interrupted run."""
        try:
            for path in self._paths[: self._current]:
                part = part_of(path)
                if part.exists():  # complete, but not yet renamed
                    part.replace(path)
                elif not path.exists():
                    raise InputError(
                        "result_gone",
                        "{path}: expected the result of the interrupted run, found none; start again.",
                        path=path,
                    )
            if self.progress.chunks and self._current < len(self._paths):
                self._open(self.progress.size)
        except BaseException:
            self._journal.close(keep=True)
            raise
        return self

    def write(self, parts: Iterable[Part], digest: str) -> None:
        """See `Output`."""
        self._between = False
        for source, data in parts:
            output = source if len(self._paths) > 1 else 0
            try:
                while self._current < output:
                    self._end_file()
                    self._current += 1
                file = self._file or self._open(0)
                if self._numbered:
                    data, self._annotations = number_annotations(data, self._annotations)
                file.write(data)
            except OSError as error:
                raise self._as_input_error(error) from error
        self._chunks, self._digest = self._chunks + 1, digest
        self._between = True
        if time.monotonic() - self._noted >= _INTERVAL:
            self._record()

    def finish(self) -> None:
        """See `Output`."""
        if self._file is None and self._current < len(self._paths):
            self._open(0)
        self._end_file()
        self._current += 1
        self._record()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files; after an error keep what is needed to resume."""
        if kind is not None and self._between:
            with suppress(OSError, InputError):
                self._record()
        done = self._journal.progress.chunks
        keep = kind is not None and done > 0
        if self._file:
            with suppress(OSError):
                self._file.close()
        if kind is not None and not keep:
            for path in [*self._whole, *self._paths[self._current : self._current + 1]]:
                part_of(path).unlink(missing_ok=True)
        self._journal.close(keep=keep)
        if keep:
            self._notify(
                Message("kept_for_resume", "finished work is kept: run the same command with <resume> to continue")
            )

    def _open(self, size: int) -> BinaryIO:
        """Open the current file, truncated to the recorded size."""
        path = self._paths[self._current]
        part = part_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = part.open("r+b" if size else "wb")
        except OSError as error:
            if size:
                raise InputError(
                    "part_gone",
                    "{path}: the output of the interrupted run cannot be opened: {reason}.",
                    path=part,
                    reason=error.strerror,
                ) from error
            raise _unwritable(path, error) from error
        if file.seek(0, os.SEEK_END) < size:
            file.close()
            raise InputError(
                "part_cut",
                "{path}: expected {size} bytes written by the interrupted run, found fewer; start again.",
                path=part,
                size=size,
            )
        file.seek(size)
        file.truncate()
        self._file = file
        return file

    def _end_file(self) -> None:
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self._annotations = 0
        self._whole.append(self._paths[self._current])

    def _record(self) -> None:
        """Flush to disk, record the state in the journal, and rename complete files."""
        try:
            size = 0
            if self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
                size = self._file.tell()
            self._journal.note(Progress(self._chunks, self._digest, self._current, size, self._annotations))
            for path in self._whole:
                part_of(path).replace(path)
        except OSError as error:
            raise self._as_input_error(error) from error
        self._whole.clear()
        self._noted = time.monotonic()

    def _as_input_error(self, error: OSError) -> InputError:
        path = self._paths[min(self._current, len(self._paths) - 1)]
        if error.errno in FULL_DISK:
            return InputError("disk_full", "{path}: the disk is full; free some space.", path=path)
        return _unwritable(path, error)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        "unwritable_file", "{path}: the file cannot be written: {reason}.", path=path, reason=error.strerror
    )


def part_of(path: Path) -> Path:
    """Return the hidden name of an incomplete file, in the same folder and of limited length."""
    check = hashlib.blake2b(path.name.encode(errors="surrogateescape"), digest_size=4).hexdigest()
    return path.with_name(f".{path.name[:20]}.{check}.part")


ENDINGS = {"text": ".tagged", "jsonl": ".jsonl", "conllu": ".conllu", "bio": ".bio", "brat": ".ann"}
"""Format -> extension appended to the name of the input; nothing is replaced, so that names remain unique."""

_JOURNAL = ".zhseq.journal"


def is_folder(output: str, inputs: Inputs) -> bool:
    """Return whether `--output` is a folder, with a file for each input.

    It is if it exists as a folder, if it ends with a slash, or if an input is a folder and the name has no extension.
    """
    path = Path(output)
    return path.is_dir() or output.endswith(("/", os.sep)) or (bool(inputs.folders) and not path.suffix)


def mirrored(inputs: Inputs, folder: Path, format: str) -> list[Path]:
    """Return the output file of each source: its path relative to `inputs.root`, in `folder`.

    Raises:
        InputError: Two outputs, or an output and an input, would be the same file.
    """
    folder = absolute(folder)
    paths: list[Path] = []
    owners: dict[Path, str] = {}
    for source in inputs.sources:
        if source.path is None or inputs.root is None:
            raise InputError(
                "folder_for_standard_input",
                "{folder}: expected a file as <output> for standard input, found a folder.",
                folder=folder,
            )
        # Both paths are absolute and without `..`, so the result is always inside the folder.
        path = folder / source.path.relative_to(inputs.root)
        path = path.with_name(path.name + ENDINGS[format])
        if path in owners:
            raise InputError(
                "input_twice",
                "{name}: this input is given twice; with a folder as <output>, give each input only once.",
                name=source.name,
            )
        owners[path] = source.name
        paths.append(path)
    taken = {source.path for source in inputs.sources}
    for path in paths:
        wrong = path if path in taken else next((above for above in path.parents if above in owners), None)
        if wrong is not None:
            raise InputError(
                "output_taken",
                "{name}: the result needs a file of its own, but {path} is an input or the output of another input.",
                name=owners[path],
                path=wrong,
            )
    return paths


def check_place(output: Path, folders: Sequence[Path]) -> None:
    """Check that the output is not inside an input folder.

    Raises:
        InputError: It is; the next run, or the resumed one, would read it as input.
    """
    resolved = output.resolve()
    for folder in folders:
        if resolved.is_relative_to(folder.resolve()):
            raise InputError(
                "output_among_inputs",
                "{output}: expected an output outside of the input folder {folder}, found one inside.",
                output=output,
                folder=folder,
            )


def journal_of(output: Path, *, folder: bool) -> Path:
    """Return the path of the journal of an output."""
    return output / _JOURNAL if folder else part_of(output).with_suffix(".journal")
