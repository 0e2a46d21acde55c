"""The texts of many sources -> chunks of a fixed size, each a piece of work for one process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from zhseq.bulk.records import Reading, read_units
from zhseq.bulk.sources import TEXT, Notify, Source, groups

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
