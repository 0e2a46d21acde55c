"""The texts of many sources -> chunks of a fixed size, each a piece of work for one process."""

from __future__ import annotations

import gc
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zhseq.bulk.inputs import TEXT, Source, groups
from zhseq.bulk.long_texts import LONG, tag_sections, write_sections
from zhseq.bulk.records import Reading, read_units
from zhseq.device import limit_cached_shapes
from zhseq.tagging.formats import make_writer
from zhseq.text.encoding import Notify

if TYPE_CHECKING:
    from zhseq.tagging.tagger import Tagger

# As many texts and characters as `Tagger.stream` reads ahead, so that a chunk is one block of it.
LINES = 1024
CHARACTERS = 48_000


@dataclass
class Segment:
    """Texts of one source that follow each other.

    Attributes:
        source: Number of the source.
        name: What messages call it.
        start: Texts of the same source that came before.
        records: Whether the tails are records, see `Reading.keep_records`.
        documents: Texts of the same output that came before.
        characters: Characters of them, tails included.
        texts: What is to be tagged.
        tails: What stood behind each text.
    """

    source: int
    name: str
    start: int
    records: bool
    documents: int
    characters: int
    texts: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)


@dataclass
class Chunk:
    """Some segments, in order. A source without texts has an empty segment, so that it gets its output."""

    segments: list[Segment] = field(default_factory=list)
    lines: int = 0
    characters: int = 0

    def __str__(self) -> str:
        """Tell where it is to be found."""
        first, last = self.segments[0], self.segments[-1]
        end = f"text {last.start + len(last.texts)}"
        return f"{first.name}, text {first.start + 1}, to " + (end if first is last else f"{last.name}, {end}")

    def digest(self) -> bytes:
        """Return a hash of all that is in it."""
        summary = hashlib.blake2b(digest_size=16)
        for segment in self.segments:
            shape = [segment.source, segment.name, [*map(len, segment.texts)], [*map(len, segment.tails)]]
            summary.update(repr(shape).encode())
            summary.update("".join([*segment.texts, *segment.tails]).encode())
        return summary.digest()


def read_chunks(
    sources: Sequence[Source],
    reading: Reading,
    *,
    together: bool,
    notify: Notify,
    moved: Callable[[int], object] = lambda size: None,
) -> Iterator[Chunk]:
    """Yield the chunks of all sources, in order.

    Args:
        sources: What to read.
        reading: How to read it.
        together: All sources have one output; else each has its own.
        notify: As in `read_units`.
        moved: As in `read_units`.
    """
    documents = characters = 0
    for first, group in groups(sources):
        for chunk in read_group(first, group, reading, notify=notify, moved=moved):
            if together:
                for segment in chunk.segments:
                    segment.documents, segment.characters = documents, characters
                    documents += len(segment.texts)
                    characters += sum(map(len, segment.texts)) + sum(map(len, segment.tails))
            yield chunk


def read_group(
    first: int,
    sources: Sequence[Source],
    reading: Reading,
    *,
    notify: Notify,
    moved: Callable[[int], object] = lambda size: None,
) -> Iterator[Chunk]:
    """Yield the chunks of some sources, of which the first has the number `first`; each has its own output."""
    chunk = Chunk()
    for number, source in enumerate(sources, start=first):
        records = reading.keep_records and source.kind != TEXT
        segment = Segment(number, source.name, 0, records, 0, 0)
        chunk.segments.append(segment)
        characters = 0
        for count, (text, tail) in enumerate(read_units(source, reading, notify, moved)):
            if chunk.lines == LINES or chunk.characters >= CHARACTERS:
                yield chunk
                segment = Segment(number, source.name, count, records, count, characters)
                chunk = Chunk([segment])
            segment.texts.append(text)
            segment.tails.append(tail)
            characters += len(text) + len(tail)
            chunk.lines += 1
            chunk.characters += len(text)
    if chunk.segments:
        yield chunk


_CACHED_SHAPES = 8  # more gain nothing: large batches are hardly ever of the same shape twice
Part = tuple[int, bytes]
"""Number of a source, and what the result of one of its segments, or a piece of it, looks like."""


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
