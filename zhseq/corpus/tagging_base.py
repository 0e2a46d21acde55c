"""What every reader of tagged text works with: the record, the open file, and how tokens become text again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from zhseq.errors import CorpusError
from zhseq.text.tags import RepairCount, Span

_LATIN_EDGE = re.compile(r"[0-9A-Za-z]")

OVERLAP = "entity that overlaps a longer one, left out"


@dataclass(frozen=True, slots=True)
class TaggedText:
    """One text with its labels.

    Attributes:
        text: Upstream's characters, not normalised.
        words: Words in order, with their part of speech as label (empty where there is segmentation only); None where
            the corpus does not mark words.
        entities: Entities in order, without overlap; None where the corpus does not mark entities.
        document: Name of the document it belongs to.
    """

    text: str
    words: tuple[Span, ...] | None
    entities: tuple[Span, ...] | None
    document: str


@dataclass(frozen=True)
class TaggedCorpus:
    """Texts read from one place, and what had to be mended on the way."""

    texts: list[TaggedText]
    repairs: RepairCount
    name: str

    def report(self) -> str:
        """Say in one line how much was read and what was mended."""
        characters = sum(len(text.text) for text in self.texts)
        mended = "".join(f"; {count:,} x {reason}" for reason, count in sorted(self.repairs.items()))
        return f"{self.name}: {len(self.texts):,} texts, {characters:,} characters{mended}"


@dataclass
class Source:
    """A file being read: its lines without line ends, and the repairs made so far."""

    name: str
    lines: Sequence[str]
    repairs: RepairCount = field(default_factory=Counter)

    def error(self, index: int, expected: str) -> CorpusError:
        """Make the error for a line; `index` counts from 0."""
        line = self.lines[index]
        shown = line if len(line) <= 60 else line[:57] + "..."
        return CorpusError(f"{self.name}, line {index + 1}: expected {expected}, found {shown!r}.")

    def document(self, index: int) -> str:
        """Return the name of the document of a text that stands alone."""
        return f"{self.name}#{index + 1}"


def join_tokens(tokens: Iterable[str]) -> list[str]:
    """Return the tokens as they stand in running text: a blank goes before a token where two Latin words meet.

    Upstream columns lose the blanks of the text they come from; Chinese has none to lose.
    """
    pieces: list[str] = []
    latin_before = False
    for token in tokens:
        latin = bool(token) and _LATIN_EDGE.match(token[0]) is not None
        pieces.append(" " + token if latin_before and latin else token)
        latin_before = bool(token) and _LATIN_EDGE.match(token[-1]) is not None
    return pieces


def longest_first(spans: Iterable[Span], repairs: RepairCount) -> tuple[Span, ...]:
    """Leave out entities that overlap a longer (or, if as long, earlier) one; a span given twice is kept once."""
    kept: list[Span] = []
    taken: set[int] = set()
    for span in sorted(set(spans), key=lambda span: (span.start - span.end, span.start, span.label)):
        if taken.isdisjoint(range(span.start, span.end)):
            taken.update(range(span.start, span.end))
            kept.append(span)
        else:
            repairs[OVERLAP] += 1
    return tuple(sorted(kept, key=lambda span: span.start))
