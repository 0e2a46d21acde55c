"""Run a job over a corpus: sources -> chunks -> results -> outputs, from the start or where a run was stopped.

Very long texts are tagged and written section by section, so that their words are never in memory all at once: a text
of 20 MB has millions of words, each of them an object, and what is written about them is larger than the text. So a
section of the text is tagged with some characters behind it, ended where a word ends (after a sentence, if one ends in
its second half), written, and forgotten.
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

_CACHED_SHAPES = 8  # more gain nothing: large batches are hardly ever of the same shape twice


@dataclass(frozen=True)
class TaggingJob:
    """How texts are tagged. It can be sent to another process, where `start` loads the model.

    Attributes:
        model: As in `Tagger.load`.
        backend: As in `Tagger.load`.
        device: As in `Tagger.load`.
        threads: As in `Tagger.load`; several processes are the better way to use several cores.
        tasks: `pos`, `ner`, both; None for all that the model can do.
        format: One of `zhseq.tagging.formats.FORMATS`.
        scores: Whether to give probabilities.
        nbest: Readings of each text.
        dictionary: A file of the user's own words.
        patterns: As in `Tagger.load`.
        load: Loads the model; by default `Tagger.load`.
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
        """Load the model and return the function that does the work; of a very long text, while it is asked for more.

        Raises:
            ZhseqError: As `Tagger.load` and `make_writer`.
        """
        os.environ.setdefault("OMP_NUM_THREADS", str(self.threads))  # else torch starts more, which only wait
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
        make_writer(self.format, tasks, nbest=self.nbest)  # says what this model cannot do
        gc.freeze()  # what is loaded stays: collections need not go through it
        return lambda chunk: self._tag(tagger, tasks, chunk)

    def _tag(self, tagger: Tagger, tasks: tuple[str, ...], chunk: Chunk) -> Iterator[Part]:
        texts = [text for segment in chunk.segments for text in segment.texts]
        ends_long = bool(texts) and len(texts[-1]) >= LONG  # where it stands, a chunk ends
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
    """Parts that go from process to process; those of a very long text are packed, for they are far larger than it."""

    parts: list[Part]
    packed: bool

    def unpacked(self) -> Iterable[Part]:
        """Give the parts as they were, one by one."""
        if not self.packed:
            return self.parts
        return ((source, zlib.decompress(data)) for source, data in self.parts)


@dataclass(frozen=True)
class SentJob:
    """A job in another process."""

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
        """Tag all inputs and write the results.

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
            from zhseq.tagging.dictionary_file import read_entries

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


LONG = 100_000
"""Characters from which on a text is written section by section."""
_SECTION = 48_000  # characters, as many as `Tagger.stream` reads at once
_BEYOND = 128  # characters behind a section that its last words see

_BLANKS = re.compile(r"\s*")
_SENTENCE_END = re.compile(r"[。！？!?；;…][”’」』）)】》\"'\s]*\Z")

Section = tuple[int, Document]
"""Where a section begins in its text, and what was found in it, with offsets that count from there."""


def tag_sections(
    tagger: Tagger, text: str, tasks: Sequence[str], *, scores: bool = False, nbest: int = 1
) -> Iterator[Section]:
    """Tag a text section by section.

    Together the sections are the text. None but the first begins with a blank, and no word or entity is cut, in any of
    its readings, unless it alone is longer than a section.
    """

    def tagged(part: str) -> Document:
        return next(tagger.stream([part], tasks=tasks, scores=scores, nbest=nbest))

    start = 0
    while start < len(text):
        window = text[start : start + _SECTION + _BEYOND]
        document = tagged(window)
        size = len(window)
        if start + size < len(text):
            seam = _last_seam(document, "pos" in tasks)
            if seam is None:
                seam = _SECTION
                document = tagged(window[:seam])
            size = seam
        stop = _skip_blanks(text, start + size)
        yield start, _begin_of(document, size, text[start:stop])
        start = stop


def _begin_of(document: Document, size: int, text: str) -> Document:
    """Return what begins within so many characters, as the document of `text`, and the same of each reading."""
    return replace(
        document,
        text=text,
        words=tuple(word for word in document.words if word.start < size),
        entities=tuple(entity for entity in document.entities if entity.start < size),
        alternatives=tuple(_begin_of(reading, size, text) for reading in document.alternatives),
    )


def write_sections(writer: Writer, sections: Iterator[Section], text: str, tail: str = "") -> Iterator[str]:
    """Write what `tag_sections` found in a text, piece by piece; together the pieces are what `Writer.write` returns.

    Where several readings are written, those of the text are put together from those of its sections. Lines of brat
    stand-off stand in the order of the sections.

    Args:
        writer: Takes the text as its next document.
        sections: What was found.
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


def _last_seam(document: Document, has_words: bool) -> int | None:
    """Return the last position in the second half of a section where it may end, preferably after a sentence."""
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
    assert found is not None  # it matches everywhere
    return found.end()
