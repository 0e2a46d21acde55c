"""The work on a chunk: texts in, bytes of the result out. The same in one process, in several, and on a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zhseq.bulk.chunks import Chunk, Segment
from zhseq.formats import Writer, make_record_writer, make_writer

if TYPE_CHECKING:
    from zhseq.tagger import Tagger

Part = tuple[int, bytes]
"""Number of a source, and what the result of one of its segments looks like."""


@dataclass(frozen=True)
class TaggingJob:
    """How texts are tagged. It can be sent to another process, where `start` loads the model.

    Attributes:
        model: As in `Tagger.load`.
        device: As in `Tagger.load`.
        threads: As in `Tagger.load`.
        tasks: `pos`, `ner`, both; None for all that the model can do.
        format: One of `zhseq.formats.FORMATS`.
        scores: Whether to give probabilities.
        nbest: Readings of each text.
        dictionary: A file of the user's own words.
    """

    model: str | None = None
    device: str = "cpu"
    threads: int | None = None
    tasks: tuple[str, ...] | None = None
    format: str = "jsonl"
    scores: bool = False
    nbest: int = 1
    dictionary: Path | None = None

    def start(self) -> Callable[[Chunk], list[Part]]:
        """Load the model and return the function that does the work.

        Raises:
            ZhseqError: As `Tagger.load` and `make_writer`.
        """
        if self.threads is not None:
            os.environ.setdefault("OMP_NUM_THREADS", str(self.threads))  # else torch starts more, which only wait
        from zhseq.tagger import Tagger

        tagger = Tagger.load(self.model, device=self.device, threads=self.threads, dictionary=self.dictionary)
        tasks = self.tasks or tagger.tasks
        make_writer(self.format, tasks, nbest=self.nbest)  # says what this model cannot do
        return lambda chunk: self._tag(tagger, tasks, chunk)

    def _tag(self, tagger: Tagger, tasks: tuple[str, ...], chunk: Chunk) -> list[Part]:
        texts = [text for segment in chunk.segments for text in segment.texts]
        documents = tagger.stream(texts, tasks=tasks, scores=self.scores, nbest=self.nbest)
        parts = []
        for segment in chunk.segments:
            write = self._writer(tasks, segment)
            lines = [write(next(documents), tail) for tail in segment.tails]
            parts.append((segment.source, "".join(lines).encode()))
        return parts

    def _writer(self, tasks: tuple[str, ...], segment: Segment) -> Writer:
        if segment.records:
            return make_record_writer(tasks)
        before = {"documents": segment.documents, "characters": segment.characters}
        return make_writer(self.format, tasks, nbest=self.nbest, **before)
