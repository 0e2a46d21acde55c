"""A tagger without a model: pairs of characters are words, 北京 is a place, digits are an organisation."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from zhseq.tagging.formats import Document, Entity, Word

BATCH = 3


class Tagger:
    tasks = ("pos", "ner")
    labels = {"pos": ("n", "w"), "ner": ("LOC", "ORG")}  # noqa: RUF012

    @classmethod
    def load(
        cls,
        model: str | None = None,
        backend: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        dictionary: object = None,
        patterns: bool = True,
    ) -> "Tagger":
        return cls()

    def __call__(self, text: str, *, tasks: Sequence[str] = ("pos", "ner"), scores: bool = False) -> Document:
        score = 0.5 if scores else None
        words = [
            Word(text[s:e], s, e, "n" if e - s == 2 else "w", score)
            for run in re.finditer(r"\S+", text)
            for s, e in ((i, min(i + 2, run.end())) for i in range(run.start(), run.end(), 2))
        ]
        entities = [
            Entity(m[0], m.start(), m.end(), "LOC" if m[0] == "北京" else "ORG", score)
            for m in re.finditer(r"北京|[0-9]+", text)
        ]
        return Document(text, tuple(words) if "pos" in tasks else (), tuple(entities) if "ner" in tasks else ())

    def section_end(self, text: str, start: int, most: int, *, dictionary: object = None) -> int:
        if len(text) <= start + most:
            return len(text)
        place = text.rfind("北京", start + 1, start + most)
        return start + most if place < 0 else place

    def stream(
        self, lines: Iterable[str], *, tasks: Sequence[str] = ("pos", "ner"), scores: bool = False, nbest: int = 1
    ) -> Iterator[Document]:
        lines = iter(lines)
        while batch := list(islice(lines, BATCH)):
            for line in batch:
                document = self(line, tasks=tasks, scores=scores)
                yield replace(document, alternatives=(document,) * nbest) if nbest > 1 else document
