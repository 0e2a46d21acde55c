"""Tag and write very long texts section by section, so that their words are never in memory all at once.

A text of 20 MB has millions of words, each of them an object, and what is written about them is larger than the text.
So a section of the text is tagged with some characters behind it, ended where a word ends (after a sentence, if one
ends in its second half), written, and forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zhseq.tagging.formats import Document, Writer
    from zhseq.tagging.tagger import Tagger

LONG = 100_000
"""Characters from which on a text is written section by section."""
_SECTION = 48_000  # characters, as many as `Tagger.stream` reads at once
_BEYOND = 128  # characters behind a section that its last words see

_BLANKS = re.compile(r"\s*")
_SENTENCE_END = re.compile(r"[。！？!?；;…][”’」』）)】》\"'\s]*\Z")

Section = tuple[int, "Document"]
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
