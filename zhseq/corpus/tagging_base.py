"""Define what all readers of tagged text share: the record, the open file, and how tokens are joined to text."""

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
    notes: tuple[Message, ...] = ()
    """What looks as if the file were not what it was read as."""

    def report(self) -> str:
        """Say in one line how much was read and what was mended, and each note in a line of its own."""
        characters = sum(len(text.text) for text in self.texts)
        mended = "".join(f"; {count:,} x {reason}" for reason, count in sorted(self.repairs.items()))
        read = f"{self.name}: {len(self.texts):,} texts, {characters:,} characters{mended}"
        return "\n".join([read, *map(str, self.notes)])


@dataclass
class Source:
    """A file being read: its lines without line ends, and the repairs made so far."""

    name: str
    lines: Sequence[str]
    repairs: RepairCount = field(default_factory=Counter)
    notes: list[Message] = field(default_factory=list)

    def error(self, index: int, expected: Message) -> CorpusError:
        """Make the error for a line; `index` counts from 0."""
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
        """Return the name of the document of a text that stands alone."""
        return f"{self.name}#{index + 1}"


_LONG_TEXT = 2000  # characters: hardly a sentence, and hardly a paragraph


def note_long_texts(source: Source, texts: Sequence[TaggedText]) -> None:
    """Note texts that are so long that the blank lines between sentences seem to be missing."""
    long = [text for text in texts if len(text.text) > _LONG_TEXT]
    if long:
        source.notes.append(
            Message(
                "long_texts",
                "{name}: {count} of {total} texts are longer than {limit} characters, the longest has {longest}; if "
                "these are several sentences each, put blank lines between them",
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
    """Return tags of the scheme BILOU (L ends, U is a span of one) as those of BIOES, all others as they are."""
    kinds = set(tags)
    bilou = all(kind[:1] in "BILOU" and (kind[1:2] in ("", "-", "_")) for kind in kinds if kind)
    if bilou and any(kind[0] in "LU" for kind in kinds if kind):
        return [tag[:1].translate(_BILOU) + tag[1:] for tag in tags]
    return list(tags)


def count_labels(texts: Iterable[TaggedText]) -> dict[str, Counter[str]]:
    """Count how often each label occurs: of words under `pos`, of entities under `ner`, the most frequent first."""
    counts: dict[str, Counter[str]] = {"pos": Counter(), "ner": Counter()}
    for text in texts:
        counts["pos"].update(span.label for span in text.words or ())
        counts["ner"].update(span.label for span in text.entities or ())
    return {task: Counter(dict(found.most_common())) for task, found in counts.items() if found}


def label_report(texts: Iterable[TaggedText]) -> str:
    """Say in one line how often each label occurs."""
    shown = [f"{label or 'word'} {count:,}" for found in count_labels(texts).values() for label, count in found.items()]
    return "labels: " + ", ".join(shown)


FEW = 5
"""A label that occurs less often than this is hardly learned, and may be a misspelling of another."""


def rare_labels(texts: Iterable[TaggedText]) -> list[Message]:
    """Return a warning for each label that occurs less than `FEW` times; labels spelled much like it are named."""
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
