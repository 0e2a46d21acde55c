"""Run a tagging job over a corpus: sources -> chunks -> results -> outputs; interrupted runs can be resumed.

Very long texts are tagged and written in sections, to bound memory: the words of a text of 20 MB, and the output, take
far more memory than the text. A section is tagged with some characters of context after it, and ends at a word border,
if possible at the end of a sentence in its second half.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import signal
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, TextIO

import zhseq
from zhseq.bulk.inputs import Inputs, Source, check_not_read
from zhseq.bulk.outputs import (
    FileOutput,
    Part,
    Progress,
    check_place,
    is_folder,
    journal_of,
    mirrored,
)
from zhseq.bulk.records import Chunk, Reading, read_chunks
from zhseq.cli import note
from zhseq.device import limit_cached_shapes
from zhseq.errors import InputError
from zhseq.tagging.formats import Document, Writer, make_writer, number_annotations

if TYPE_CHECKING:
    from zhseq.tagging.tagger import Tagger

_CACHED_SHAPES = 8  # large batches rarely have the same shape twice


@dataclass(frozen=True)
class TaggingJob:
    """Settings of a tagging job. It is picklable; `start` loads the model in the process that runs the job.

    Attributes:
        model: As in `Tagger.load`.
        backend: As in `Tagger.load`.
        device: As in `Tagger.load`.
        threads: As in `Tagger.load`; several processes use several cores better.
        tasks: `pos`, `ner` or both; None for all tasks of the model.
        format: One of `zhseq.tagging.formats.FORMATS`.
        scores: Whether to output probabilities.
        nbest: Number of readings of each text.
        dictionary: Dictionary file.
        patterns: As in `Tagger.load`.
        load: Function that loads the model; by default `Tagger.load`.
    """

    model: str | None = None
    backend: str = "auto"
    device: str = "cpu"
    threads: int = 1
    tasks: tuple[str, ...] | None = None
    format: str = "jsonl"
    scores: bool = False
    nbest: int = 1
    dictionary: Path | None = None
    patterns: bool = True
    load: Callable[..., Tagger] | None = None

    def start(self) -> Callable[[Chunk], Iterable[Part]]:
        """Load the model and return the function that tags a chunk and yields its output in parts.

        Raises:
            ZhseqError: As `Tagger.load` and `make_writer`.
        """
        os.environ.setdefault("OMP_NUM_THREADS", str(self.threads))  # else PyTorch starts one thread per core
        limit_cached_shapes(_CACHED_SHAPES)
        load = self.load
        if load is None:
            from zhseq.tagging.tagger import Tagger

            load = Tagger.load
        tagger = load(
            self.model,
            backend=self.backend,
            device=self.device,
            threads=self.threads,
            dictionary=self.dictionary,
            patterns=self.patterns,
        )
        tasks = self.tasks or tagger.tasks
        make_writer(self.format, tasks, nbest=self.nbest)  # raises an error early
        gc.freeze()  # exclude the loaded model from garbage collection
        return lambda chunk: self._tag(tagger, tasks, chunk)

    def _tag(self, tagger: Tagger, tasks: tuple[str, ...], chunk: Chunk) -> Iterator[Part]:
        texts = [text for segment in chunk.segments for text in segment.texts]
        ends_long = bool(texts) and len(texts[-1]) >= LONG  # always the last text of its chunk
        documents = tagger.stream(texts[: len(texts) - ends_long], tasks=tasks, scores=self.scores, nbest=self.nbest)
        for segment in chunk.segments:
            writer = make_writer(
                self.format,
                tasks,
                nbest=self.nbest,
                documents=segment.documents,
                characters=segment.characters,
                records=segment.records,
            )
            is_long = ends_long and segment is chunk.segments[-1]
            tails = segment.tails[: len(segment.tails) - is_long]
            lines = [writer.write(next(documents), tail) for tail in tails]
            yield segment.source, "".join(lines).encode()
            if is_long:
                text = segment.texts[-1]
                sections = tag_sections(tagger, text, tasks, scores=self.scores, nbest=self.nbest)
                for piece in write_sections(writer, sections, text, segment.tails[-1]):
                    yield segment.source, piece.encode()


class Sent(NamedTuple):
    """Output sent between processes; that of a very long text is compressed, because it is far larger than the text."""

    parts: list[Part]
    packed: bool

    def unpacked(self) -> Iterable[Part]:
        """Return the decompressed parts."""
        if not self.packed:
            return self.parts
        return ((source, zlib.decompress(data)) for source, data in self.parts)


@dataclass(frozen=True)
class SentJob:
    """A `TaggingJob` in a worker process."""

    job: TaggingJob

    def start(self) -> Callable[[Chunk], Sent]:
        """See `TaggingJob`."""
        work = self.job.start()
        return lambda chunk: _sent(chunk, work(chunk))


def _sent(chunk: Chunk, parts: Iterable[Part]) -> Sent:
    if chunk.characters < LONG:
        return Sent(list(parts), False)
    return Sent([(source, zlib.compress(data, 1)) for source, data in parts], True)


class Output(Protocol):
    """Interface of outputs: receive the results of chunks, in order."""

    @property
    def progress(self) -> Progress:
        """State of the interrupted run that is resumed."""

    def write(self, parts: Iterable[Part], digest: str) -> None:
        """Write the results of a chunk; `digest` is the hash of all chunks so far."""

    def finish(self) -> None:
        """Complete the output."""


class StreamOutput:
    """Write to an open text stream."""

    progress = Progress()

    def __init__(self, stream: TextIO, *, numbered: bool) -> None:
        """Create from a stream; `numbered` if the lines of the format are numbered (brat)."""
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


@dataclass(frozen=True)
class Run:
    """A run of a tagging job over inputs.

    Attributes:
        inputs: Inputs to tag.
        reading: Settings for reading.
        job: Settings for tagging.
        output: A file or folder; None for standard output.
        workers: Number of worker processes; with 1 this process tags.
        resume: Whether to resume an interrupted run.
    """

    inputs: Inputs
    reading: Reading
    job: TaggingJob
    output: str | None
    workers: int = 1
    resume: bool = False

    def execute(self) -> None:
        """Tag all inputs and write the results.

        Raises:
            ZhseqError: Inputs cannot be read or tagged, or the output cannot be written.
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
        """Print the notes about the dictionary file, once rather than in each process.

        Raises:
            InputError: As `UserDictionary.read`.
        """
        if self.job.dictionary is not None:
            from zhseq.tagging.dictionary_file import read_entries

            read_entries(self.job.dictionary, note)

    @contextmanager
    def _open_output(self) -> Iterator[tuple[Output, bool]]:
        """Open the output; the second value is whether it is one output for all sources."""
        if self.output is not None and is_folder(self.output, self.inputs):
            with self.open_folder() as files:
                yield files, False
        elif self.output is not None and _is_regular_or_new(Path(self.output)):
            check_place(Path(self.output), self.inputs.folders)
            path = Path(self.output).resolve()  # replace the target of a symbolic link
            if path.exists() and not os.access(path, os.W_OK):
                raise InputError(
                    "read_only_file",
                    "{path}: the file is read-only.",
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
        """Open the output as a folder with a file for each source.

        Raises:
            InputError: No folder is given, or it cannot be written.
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
                "{folder}: the folder cannot be created: {reason}.",
                folder=folder,
                reason=error.strerror,
            ) from error
        return self._files(paths, journal_of(folder, folder=True))

    def _files(self, paths: list[Path], journal: Path) -> FileOutput:
        return FileOutput(paths, journal, self._settings(), resume=self.resume, notify=note)

    def _settings(self) -> dict[str, object]:
        """Return the settings that must be the same when the run is resumed."""
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


def _is_regular_or_new(path: Path) -> bool:
    """Return whether a path is, or can become, a file or folder, rather than a pipe or a device."""
    return path.is_file() or path.is_dir() or not path.exists()


def _hashed(chunks: Iterator[Chunk], digests: deque[str]) -> Iterator[Chunk]:
    """Yield the chunks, after appending the hash of all chunks so far to `digests`."""
    summary = hashlib.blake2b(digest_size=16)
    for chunk in chunks:
        summary.update(chunk.digest())
        digests.append(summary.hexdigest())
        yield chunk


def _skip(chunks: Iterator[Chunk], digests: deque[str], output: Output) -> Iterator[Chunk]:
    """Skip the chunks done by the interrupted run.

    Raises:
        InputError: They have changed since.
    """
    done = output.progress
    digest = ""
    for _ in range(done.chunks):
        next(chunks, None)
        digest = digests.popleft() if digests else ""
    compare_input(digest, done.digest)
    return chunks


def compare_input(now: str, before: str) -> None:
    """Compare the hashes of the chunks done by an interrupted run.

    Raises:
        InputError: They differ.
    """
    if now != before:
        raise InputError(
            "input_changed",
            "expected the input of the interrupted run, but the part that it had processed has changed; start again "
            "without <resume>.",
        )


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Convert SIGTERM to `SystemExit`, so that outputs are closed and workers terminated."""

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
    """Show the number of bytes read on a terminal; yield the function that reports further bytes."""
    if not sys.stderr.isatty():
        yield lambda moved: None
        return
    from tqdm import tqdm

    size = sum(source.size for source in sources)
    with tqdm(total=size or None, unit="B", unit_scale=True, unit_divisor=1024) as bar:
        yield bar.update


LONG = 100_000
"""Length in characters from which a text is tagged and written in sections."""
_SECTION = 48_000  # characters of a section, as in a block of `Tagger.stream`
_BEYOND = 128  # characters of context after a section

_BLANKS = re.compile(r"\s*")
_SENTENCE_END = re.compile(r"[。！？!?；;…][”’」』）)】》\"'\s]*\Z")

Section = tuple[int, Document]
"""Start of a section in its text, and its document with offsets relative to that start."""


def tag_sections(
    tagger: Tagger, text: str, tasks: Sequence[str], *, scores: bool = False, nbest: int = 1
) -> Iterator[Section]:
    """Tag a text in sections, which together are the text.

    Only the first section may begin with a blank. No word or entity of any reading is split, unless it is longer than a
    section.
    """

    def tagged(part: str) -> Document:
        return next(tagger.stream([part], tasks=tasks, scores=scores, nbest=nbest))

    start = 0
    while start < len(text):
        window = text[start : start + _SECTION + _BEYOND]
        document = tagged(window)
        size = len(window)
        if start + size < len(text):
            split_point = _last_split_point(document, "pos" in tasks)
            if split_point is None:
                split_point = _SECTION
                document = tagged(window[:split_point])
            size = split_point
        stop = _skip_blanks(text, start + size)
        yield start, _truncate_document(document, size, text[start:stop])
        start = stop


def _truncate_document(document: Document, size: int, text: str) -> Document:
    """Return a document of `text` with the words and entities that begin before `size`, in all readings."""
    return replace(
        document,
        text=text,
        words=tuple(word for word in document.words if word.start < size),
        entities=tuple(entity for entity in document.entities if entity.start < size),
        alternatives=tuple(_truncate_document(reading, size, text) for reading in document.alternatives),
    )


def write_sections(writer: Writer, sections: Iterator[Section], text: str, tail: str = "") -> Iterator[str]:
    """Format the sections of a text; the pieces together are the result of `Writer.write`.

    n-best readings of the text are concatenated from those of its sections. Lines of brat stand-off are in the order of
    the sections.

    Args:
        writer: Writer of the output.
        sections: Sections from `tag_sections`.
        text: The whole text.
        tail: As in `Writer.begin`.
    """
    try:
        yield writer.begin(text, tail)
        for offset, document in sections:
            yield writer.part(document, offset)
        yield from writer.end()
    finally:
        writer.abandon()


def _last_split_point(document: Document, has_words: bool) -> int | None:
    """Return the last position in the second half of a section at which it can end, preferably after a sentence."""
    positions = set(range(_SECTION // 2, _SECTION + 1))
    for reading in (document, *document.alternatives):
        if has_words:
            positions &= {word.start for word in reading.words}
        for entity in reading.entities:
            positions.difference_update(range(entity.start + 1, entity.end))
    last = None
    for position in sorted(positions, reverse=True):
        if _SENTENCE_END.search(document.text, max(0, position - 8), position):
            return position
        last = position if last is None else last
    return last


def _skip_blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    assert found is not None  # the pattern matches the empty string
    return found.end()
