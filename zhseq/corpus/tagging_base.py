"""Shared parts of the readers of tagged text: records, sources, and joining tokens to text."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from zhseq.errors import CorpusError, Message
from zhseq.text.tags import RepairCount, Span

_LATIN_EDGE = re.compile(r"[0-9A-Za-z]")

OVERLAP = "entity that overlaps a longer one, left out"


@dataclass(frozen=True, slots=True)
class TaggedText:
    """A text with its annotation.

    Attributes:
        text: The text as in the source, not normalised.
        words: Words in order, with their part-of-speech tag as label (empty if segmented only); None if words are not
            annotated.
        entities: Entities in order, without overlap; None if entities are not annotated.
        document: Name of the document that the text belongs to.
    """

    text: str
    words: tuple[Span, ...] | None
    entities: tuple[Span, ...] | None
    document: str


@dataclass(frozen=True)
class TaggedCorpus:
    """Texts of a source, with counts of repaired defects."""

    texts: list[TaggedText]
    repairs: RepairCount
    name: str
    notes: tuple[Message, ...] = ()
    """Notes on signs that the format was detected wrongly."""

    def report(self) -> str:
        """Return a summary of texts and repairs in one line, followed by one line per note."""
        characters = sum(len(text.text) for text in self.texts)
        mended = "".join(f"; {count:,} x {reason}" for reason, count in sorted(self.repairs.items()))
        read = f"{self.name}: {len(self.texts):,} texts, {characters:,} characters{mended}"
        return "\n".join([read, *map(str, self.notes)])


@dataclass
class Source:
    """A file that is read: its lines without line ends, and counts of repairs."""

    name: str
    lines: Sequence[str]
    repairs: RepairCount = field(default_factory=Counter)
    notes: list[Message] = field(default_factory=list)

    def error(self, index: int, expected: Message) -> CorpusError:
        """Create the error for a line with an index from 0."""
        line = self.lines[index]
        shown = line if len(line) <= 60 else line[:57] + "..."
        return CorpusError(
            "broken_line",
            "{name}, line {line}: expected {expected}, found {found}.",
            name=self.name,
            line=index + 1,
            expected=expected,
            found=repr(shown),
        )

    def document(self, index: int) -> str:
        """Return the document name of a text that is a document of its own."""
        return f"{self.name}#{index + 1}"


_LONG_TEXT = 2000  # characters; longer than a sentence or paragraph


def note_long_texts(source: Source, texts: Sequence[TaggedText]) -> None:
    """Note texts so long that the empty lines between sentences seem to be missing."""
    long = [text for text in texts if len(text.text) > _LONG_TEXT]
    if long:
        source.notes.append(
            Message(
                "long_texts",
                "{name}: {count} of {total} texts are longer than {limit} characters, the longest "
                "has {longest}; if each contains several sentences, put blank lines between them",
                {
                    "name": source.name,
                    "count": len(long),
                    "total": len(texts),
                    "limit": _LONG_TEXT,
                    "longest": max(len(text.text) for text in long),
                },
            )
        )


_BILOU = str.maketrans("LU", "ES")


def without_bilou(tags: Sequence[str]) -> list[str]:
    """Convert tags of the scheme BILOU to BIOES; other tags are unchanged."""
    kinds = set(tags)
    bilou = all(kind[:1] in "BILOU" and (kind[1:2] in ("", "-", "_")) for kind in kinds if kind)
    if bilou and any(kind[0] in "LU" for kind in kinds if kind):
        return [tag[:1].translate(_BILOU) + tag[1:] for tag in tags]
    return list(tags)


def count_labels(texts: Iterable[TaggedText]) -> dict[str, Counter[str]]:
    """Count the labels of words under `pos`, and of entities under `ner`, most frequent first."""
    counts: dict[str, Counter[str]] = {"pos": Counter(), "ner": Counter()}
    for text in texts:
        counts["pos"].update(span.label for span in text.words or ())
        counts["ner"].update(span.label for span in text.entities or ())
    return {task: Counter(dict(found.most_common())) for task, found in counts.items() if found}


def label_report(texts: Iterable[TaggedText]) -> str:
    """Return the counts of labels in one line."""
    shown = [f"{label or 'word'} {count:,}" for found in count_labels(texts).values() for label, count in found.items()]
    return "labels: " + ", ".join(shown)


FEW = 5
"""Labels with fewer occurrences are hardly learned, and may be misspellings."""


def rare_labels(texts: Iterable[TaggedText]) -> list[Message]:
    """Return a warning for each label that occurs less than `FEW` times, with similarly spelled labels."""
    warnings = []
    for counts in count_labels(texts).values():
        for label, count in counts.items():
            if count < FEW:
                common = [other for other in counts if counts[other] >= FEW]
                near = difflib.get_close_matches(label, common, n=1)
                warnings.append(_rare_label(label, count, near))
    return warnings


def _rare_label(label: str, count: int, near: Sequence[str]) -> Message:
    if near:
        return Message(
            "misspelled_label",
            "the label {label} occurs only {count} times; is it {near}?",
            {"label": label, "count": count, "near": near[0]},
        )
    return Message("rare_label", "the label {label} occurs only {count} times", {"label": label, "count": count})


def join_tokens(tokens: Iterable[str]) -> list[str]:
    """Prepend a blank to tokens that follow another Latin word, to restore running text.

    Column formats lose the blanks of the text.
    """
    pieces: list[str] = []
    latin_before = False
    for token in tokens:
        latin = bool(token) and _LATIN_EDGE.match(token[0]) is not None
        pieces.append(" " + token if latin_before and latin else token)
        latin_before = bool(token) and _LATIN_EDGE.match(token[-1]) is not None
    return pieces


def longest_first(spans: Iterable[Span], repairs: RepairCount) -> tuple[Span, ...]:
    """Remove entities that overlap a longer, or equally long but earlier one, and duplicates."""
    kept: list[Span] = []
    taken: set[int] = set()
    for span in sorted(set(spans), key=lambda span: (span.start - span.end, span.start, span.label)):
        if taken.isdisjoint(range(span.start, span.end)):
            taken.update(range(span.start, span.end))
            kept.append(span)
        else:
            repairs[OVERLAP] += 1
    return tuple(sorted(kept, key=lambda span: span.start))
