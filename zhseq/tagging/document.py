"""What the tagger finds in a text: words, parts of speech and named entities, and how they are shown to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zhseq.text.tags import TASKS


class Word(NamedTuple):
    """A word: `text == document.text[start:end]`, in code points."""

    text: str
    start: int
    end: int
    pos: str
    """Part of speech; empty for a model that only finds words."""
    score: float | None = None
    """Probability of the least certain of its characters' tags; only on request."""


class Entity(NamedTuple):
    """A named entity: `text == document.text[start:end]`, in code points."""

    text: str
    start: int
    end: int
    label: str
    score: float | None = None
    """As for `Word`."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its words and entities, each in order and without overlap. The words cover all but the blanks.

    As a string it is the tagged text: `[江/nr 泽民/nr]PER 在/p [北京/ns]LOC`.
    """

    text: str
    words: tuple[Word, ...]
    entities: tuple[Entity, ...]
    alternatives: tuple[Document, ...] = ()
    """The n best readings of words and entities together, the best first; only on request."""

    def __str__(self) -> str:
        return tagged_text(self, TASKS if self.words else ("ner",))


def tagged_text(document: Document, tasks: Sequence[str]) -> str:
    """Return `江/nr 泽民/nr`, with entities in brackets, for people; blanks of the text are not shown.

    Args:
        document: The text and what was found in it.
        tasks: What to show. Without `pos`, the text between entities is shown as it is.
    """
    if "pos" in tasks:
        return " ".join(_bracketed_words(document, "ner" in tasks))
    pieces, position = [], 0
    for entity in document.entities:
        pieces += document.text[position : entity.start].split()
        inside = " ".join(document.text[entity.start : entity.end].split())
        pieces.append(f"[{inside}]{entity.label}{_score(entity)}")
        position = entity.end
    pieces += document.text[position:].split()
    return " ".join(pieces)


def _bracketed_words(document: Document, with_entities: bool) -> list[str]:
    """Put brackets around the words that an entity touches; of two entities in one word the first is shown."""
    shown = []
    for word in document.words:
        text = " ".join(word.text.split())
        shown.append((f"{text}/{word.pos}" if word.pos else text) + _score(word))
    index = 0
    for entity in document.entities if with_entities else ():
        while index < len(shown) and document.words[index].end <= entity.start:
            index += 1
        first = index
        while index < len(shown) and document.words[index].start < entity.end:
            index += 1
        if index > first:
            shown[first] = "[" + shown[first]
            shown[index - 1] += f"]{entity.label}{_score(entity)}"
    return shown


def _score(part: Word | Entity) -> str:
    return "" if part.score is None else f":{part.score:.3f}"
