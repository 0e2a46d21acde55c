"""Where results are written: to a stream, or to files that appear under their names only when they are whole."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, TextIO

from zhseq.bulk.journal import Journal, Progress
from zhseq.bulk.tagging import Part
from zhseq.errors import FULL_DISK, InputError
from zhseq.formats import number_annotations

_INTERVAL = 2.0  # seconds of work that a kill may cost


class Output(Protocol):
    """Takes the results of chunks, in order."""

    @property
    def progress(self) -> Progress:
        """What was done by an earlier run."""

    def write(self, parts: Iterable[Part], digest: str) -> None:
        """Write the results of one chunk; `digest` is the hash of all chunks so far."""

    def finish(self) -> None:
        """Say that this was all."""


class StreamOutput:
    """Writes to an open stream of text."""

    progress = Progress()

    def __init__(self, stream: TextIO, *, numbered: bool) -> None:
        """Take a stream; `numbered` tells that the format has numbered lines."""
        self._stream, self._numbered = stream, numbered
        self._annotations = 0

    def write(self, parts: Iterable[Part], digest: str) -> None:
        """See `Output`."""
        for _, data in parts:
            if self._numbered:
                data, self._annotations = number_annotations(data, self._annotations)
            self._stream.write(data.decode())

    def finish(self) -> None:
        """See `Output`."""
        self._stream.flush()


class FileOutput:
    """Writes files one after another, and a journal, so that a run that was interrupted can go on.

    A file is written under a hidden name beside its own, and gets its own after the journal has noted that it is whole.
    As a context manager it keeps what is done when there is an error, and leaves nothing else behind.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        journal: Path,
        settings: Mapping[str, Any],
        *,
        resume: bool,
        notify: Callable[[str], None],
    ) -> None:
        """Prepare to write.

        Args:
            paths: The file of each source; or one file, for all of them.
            journal: File of the journal.
            settings: As in `Journal`.
            resume: As in `Journal`.
            notify: Takes a sentence that says how to go on after an error.

        Raises:
            InputError: As in `Journal`, or what the interrupted run had written is no longer there.
        """
        self._paths, self._notify = paths, notify
        self._numbered = settings.get("format") == "brat"
        self._journal = Journal(journal, settings, resume=resume)
        if resume and not self._journal.begun:
            notify("there is nothing to resume; this run begins at the beginning")
        self.progress = self._journal.progress
        self._chunks, self._digest = self.progress.chunks, self.progress.digest
        self._annotations = self.progress.annotations
        self._current = self.progress.output
        self._file: BinaryIO | None = None
        self._whole: list[Path] = []  # files that wait for the journal
        self._noted = time.monotonic()
        self._between = True  # chunks; within one, what was written is not to be noted

    def __enter__(self) -> FileOutput:
        """Put the files of the interrupted run in order."""
        try:
            for path in self._paths[: self._current]:
                part = part_of(path)
                if part.exists():  # it was whole, and the kill came before it got its name
                    part.replace(path)
                elif not path.exists():
                    raise InputError(f"{path}: expected the result of the interrupted run, found none; begin anew.")
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
                raise self._explained(error) from error
        self._chunks, self._digest = self._chunks + 1, digest
        self._between = True
        if time.monotonic() - self._noted >= _INTERVAL:
            self._note()

    def finish(self) -> None:
        """See `Output`."""
        if self._file is None and self._current < len(self._paths):
            self._open(0)
        self._end_file()
        self._current += 1
        self._note()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what can be gone on from."""
        if kind is not None and self._between:
            with suppress(OSError, InputError):
                self._note()
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
            self._notify("what is done is kept: the same command with --resume goes on from there")

    def _open(self, size: int) -> BinaryIO:
        """Open the current file, cut to what is known to be right."""
        path = self._paths[self._current]
        part = part_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = part.open("r+b" if size else "wb")
        except OSError as error:
            if size:
                raise InputError(f"{part}: expected what the interrupted run wrote: {error.strerror}.") from error
            raise InputError(f"{path}: expected a file that can be written: {error.strerror}.") from error
        if file.seek(0, os.SEEK_END) < size:
            file.close()
            raise InputError(f"{part}: expected {size} bytes of the interrupted run, found less; begin anew.")
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

    def _note(self) -> None:
        """Bring what was written to the disk, note it, and give files that are whole their names."""
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
            raise self._explained(error) from error
        self._whole.clear()
        self._noted = time.monotonic()

    def _explained(self, error: OSError) -> InputError:
        path = self._paths[min(self._current, len(self._paths) - 1)]
        if error.errno in FULL_DISK:
            return InputError(f"{path}: expected room to write, found the disk full; make some.")
        return InputError(f"{path}: expected a file that can be written: {error.strerror}.")


def part_of(path: Path) -> Path:
    """Return the name of a file while it is not whole: hidden, beside it, and not too long however long its own is."""
    check = hashlib.blake2b(path.name.encode(errors="surrogateescape"), digest_size=4).hexdigest()
    return path.with_name(f".{path.name[:20]}.{check}.part")
