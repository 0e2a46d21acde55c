"""A whole run: sources -> chunks -> results -> outputs, from the beginning or from where an earlier run was stopped."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, TextIO

import zhseq
from zhseq.bulk.chunks import Chunk, Part, Sent, SentJob, TaggingJob, read_chunks
from zhseq.bulk.inputs import Inputs, Source
from zhseq.bulk.outputs import (
    FileOutput,
    Output,
    StreamOutput,
    check_not_read,
    check_place,
    is_folder,
    journal_of,
    mirrored,
)
from zhseq.bulk.records import Reading
from zhseq.cli import note
from zhseq.errors import InputError


@dataclass(frozen=True)
class Run:
    """What is to be done.

    Attributes:
        inputs: What is tagged.
        reading: How it is read.
        job: How it is tagged.
        output: A file or folder; None for standard output.
        workers: Processes that tag; with 1 this one does.
        resume: Go on with a run that was interrupted.
    """

    inputs: Inputs
    reading: Reading
    job: TaggingJob
    output: str | None
    workers: int = 1
    resume: bool = False

    def execute(self) -> None:
        """Do it.

        Raises:
            ZhseqError: What was given cannot be read, tagged or written.
        """
        self.note_dictionary()
        with ExitStack() as stack:
            output, together = stack.enter_context(self._open_output())
            moved = stack.enter_context(progress_bar(self.inputs.sources))
            chunks = read_chunks(self.inputs.sources, self.reading, together=together, notify=note, moved=moved)
            digests: deque[str] = deque()
            todo = _skip(_hashed(chunks, digests), digests, output)
            for parts in self._tagged(todo):
                output.write(parts, digests.popleft())
            output.finish()

    def _tagged(self, chunks: Iterator[Chunk]) -> Iterable[Iterable[Part]]:
        if self.workers == 1:
            return map(self.job.start(), chunks)
        from zhseq.bulk.workers import run_ordered

        return map(Sent.unpacked, run_ordered(SentJob(self.job), chunks, self.workers))

    def note_dictionary(self) -> None:
        """Say what is odd about the dictionary, once for all processes that read it.

        Raises:
            InputError: As `UserDictionary.read`.
        """
        if self.job.dictionary is not None:
            from zhseq.tagging.dictionary import read_entries

            read_entries(self.job.dictionary, note)

    @contextmanager
    def _open_output(self) -> Iterator[tuple[Output, bool]]:
        """Open the output; tell also whether it is one for all sources."""
        if self.output is not None and is_folder(self.output, self.inputs):
            with self.open_folder() as files:
                yield files, False
        elif self.output is not None and _replaceable(Path(self.output)):
            check_place(Path(self.output), self.inputs.folders)
            path = Path(self.output).resolve()  # a link is kept, and what it points to is replaced
            if path.exists() and not os.access(path, os.W_OK):
                raise InputError(
                    "read_only_file",
                    "{path}: expected a file that can be written, found one that is read-only.",
                    path=path,
                )
            check_not_read([path], self.inputs, self.job.dictionary)
            with self._files([path], journal_of(path, folder=False)) as files:
                yield files, True
        elif self.resume:
            raise InputError(
                "resume_without_file",
                "expected a file or folder as <output> with <resume>, found an output that cannot be resumed.",
            )
        else:
            with ExitStack() as stack:
                stream = sys.stdout
                if self.output is None:
                    check_not_read(_descriptor(stream), self.inputs, self.job.dictionary)
                else:
                    stream = stack.enter_context(Path(self.output).open("w", encoding="utf-8", newline=""))
                yield StreamOutput(stream, numbered=self.job.format == "brat"), True

    def open_folder(self) -> FileOutput:
        """Open the output as a folder, with a file for each source.

        Raises:
            InputError: There is no folder to write to, or it cannot be written.
        """
        if self.output is None:
            raise InputError("no_output_folder", "expected a folder as <output>, found none.")
        folder = Path(self.output)
        check_place(folder, self.inputs.folders)
        paths = mirrored(self.inputs, folder, self.job.format)
        check_not_read(paths, self.inputs, self.job.dictionary)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                "no_place_for_folder",
                "{folder}: expected a folder, or a place for one: {reason}.",
                folder=folder,
                reason=error.strerror,
            ) from error
        return self._files(paths, journal_of(folder, folder=True))

    def _files(self, paths: list[Path], journal: Path) -> FileOutput:
        return FileOutput(paths, journal, self._settings(), resume=self.resume, notify=note)

    def _settings(self) -> dict[str, object]:
        """Return what must not change when a run is resumed."""
        job = asdict(self.job)
        job["dictionary"] = self.job.dictionary and _file_hash(self.job.dictionary)
        weights = Path(self.job.model or "", "model.safetensors")
        job["weights"] = _file_hash(weights) if self.job.model and weights.is_file() else None
        del job["threads"], job["device"], job["load"]
        reading = {"encoding": self.reading.encoding, "errors": self.reading.errors, "column": self.reading.column}
        return {"version": zhseq.__version__, **job, **reading}


def _descriptor(stream: TextIO) -> list[int]:
    """Return the file descriptor of a stream, if it has one."""
    try:
        return [stream.fileno()]
    except OSError:
        return []


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _replaceable(path: Path) -> bool:
    """Tell whether an output is a file or folder, or may become one: no pipe, no /dev/null."""
    return path.is_file() or path.is_dir() or not path.exists()


def _hashed(chunks: Iterator[Chunk], digests: deque[str]) -> Iterator[Chunk]:
    """Yield the chunks; the hash of all up to each is put into `digests` before it is yielded."""
    summary = hashlib.blake2b(digest_size=16)
    for chunk in chunks:
        summary.update(chunk.digest())
        digests.append(summary.hexdigest())
        yield chunk


def _skip(chunks: Iterator[Chunk], digests: deque[str], output: Output) -> Iterator[Chunk]:
    """Read over the chunks that an earlier run did, and make sure that they are the same.

    Raises:
        InputError: They are not.
    """
    done = output.progress
    digest = ""
    for _ in range(done.chunks):
        next(chunks, None)
        digest = digests.popleft() if digests else ""
    compare_input(digest, done.digest)
    return chunks


def compare_input(now: str, before: str) -> None:
    """Compare hashes of what an interrupted run had done.

    Raises:
        InputError: They are not the same.
    """
    if now != before:
        raise InputError(
            "input_changed",
            "expected the input that the interrupted run read, found that what it had done has changed since; begin "
            "anew without <resume>.",
        )


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program as an exception does: with everything closed, and nothing left running."""

    def end(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def progress_bar(sources: Sequence[Source]) -> Iterator[Callable[[int], object]]:
    """Show on a terminal how many bytes were read; to be told of more of them."""
    if not sys.stderr.isatty():
        yield lambda moved: None
        return
    from tqdm import tqdm

    size = sum(source.size for source in sources)
    with tqdm(total=size or None, unit="B", unit_scale=True, unit_divisor=1024) as bar:
        yield bar.update
