"""The work on a chunk: texts in, bytes of the result out. The same in one process, in several, and on a cluster."""

from __future__ import annotations

import gc
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zhseq import memory
from zhseq.bulk.chunks import Chunk, Segment
from zhseq.bulk.long_texts import LONG, tag_sections, write_sections
from zhseq.formats import Writer, make_record_writer, make_writer

if TYPE_CHECKING:
    from zhseq.tagger import Tagger

_CACHED_SHAPES = 8  # more gain nothing: large batches are hardly ever of the same shape twice
Part = tuple[int, bytes]
"""Number of a source, and what the result of one of its segments, or a piece of it, looks like."""


@dataclass(frozen=True)
class TaggingJob:
    """How texts are tagged. It can be sent to another process, where `start` loads the model.

    Attributes:
        model: As in `Tagger.load`.
        device: As in `Tagger.load`.
        threads: As in `Tagger.load`; several processes are the better way to use several cores.
        tasks: `pos`, `ner`, both; None for all that the model can do.
        format: One of `zhseq.formats.FORMATS`.
        scores: Whether to give probabilities.
        nbest: Readings of each text.
        dictionary: A file of the user's own words.
    """

    model: str | None = None
    device: str = "cpu"
    threads: int = 1
    tasks: tuple[str, ...] | None = None
    format: str = "jsonl"
    scores: bool = False
    nbest: int = 1
    dictionary: Path | None = None

    def start(self) -> Callable[[Chunk], Iterable[Part]]:
        """Load the model and return the function that does the work; of a very long text, while it is asked for more.

        Raises:
            ZhseqError: As `Tagger.load` and `make_writer`.
        """
        os.environ.setdefault("OMP_NUM_THREADS", str(self.threads))  # else torch starts more, which only wait
        memory.limit_cached_shapes(_CACHED_SHAPES)
        from zhseq.tagger import Tagger

        tagger = Tagger.load(self.model, device=self.device, threads=self.threads, dictionary=self.dictionary)
        tasks = self.tasks or tagger.tasks
        make_writer(self.format, tasks, nbest=self.nbest)  # says what this model cannot do
        gc.freeze()  # what is loaded stays: collections need not go through it
        return lambda chunk: self._tag(tagger, tasks, chunk)

    def _tag(self, tagger: Tagger, tasks: tuple[str, ...], chunk: Chunk) -> Iterator[Part]:
        texts = [text for segment in chunk.segments for text in segment.texts]
        ends_long = bool(texts) and len(texts[-1]) >= LONG  # where it stands, a chunk ends
        documents = tagger.stream(texts[: len(texts) - ends_long], tasks=tasks, scores=self.scores, nbest=self.nbest)
        for segment in chunk.segments:
            write = self._writer(tasks, segment)
            is_long = ends_long and segment is chunk.segments[-1]
            tails = segment.tails[: len(segment.tails) - is_long]
            lines = [write(next(documents), tail) for tail in tails]
            yield segment.source, "".join(lines).encode()
            if is_long:
                for piece in self._pieces(tagger, tasks, segment):
                    yield segment.source, piece.encode()

    def _pieces(self, tagger: Tagger, tasks: tuple[str, ...], segment: Segment) -> Iterator[str]:
        """Tag and write the last text of a segment."""
        text = segment.texts[-1]
        return write_sections(
            self.format,
            tasks,
            tag_sections(tagger, text, tasks, scores=self.scores, nbest=self.nbest),
            text,
            nbest=self.nbest,
            record=segment.tails[-1] if segment.records else None,
            documents=segment.documents + len(segment.texts) - 1,
            characters=segment.characters + sum(map(len, [*segment.texts[:-1], *segment.tails[:-1]])),
        )

    def _writer(self, tasks: tuple[str, ...], segment: Segment) -> Writer:
        if segment.records:
            return make_record_writer(tasks)
        before = {"documents": segment.documents, "characters": segment.characters}
        return make_writer(self.format, tasks, nbest=self.nbest, **before)


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
