"""Very long texts, tagged and written section by section: their words are never in memory all at once.

A text of 20 MB has millions of words, each of them an object, and what is written about them is larger than the text.
So a section of the text is tagged with some characters behind it, ended where a word ends (after a sentence, if one
ends in its second half), written, and forgotten.
"""

from __future__ import annotations

import re
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from zhseq.errors import InputError
from zhseq.formats import ConlluWriter, conllu_rows, json_fragment, json_parts, make_writer

if TYPE_CHECKING:
    from zhseq.tagger import Document, Tagger

LONG = 100_000
"""Characters from which on a text is written section by section."""
_SECTION = 48_000  # characters, as many as `Tagger.stream` reads at once
_BEYOND = 128  # characters behind a section that its last words see
_IN_MEMORY = 1 << 22  # characters of entities; more of them wait on disk until all words are written

_BLANKS = re.compile(r"\s*")
_SENTENCE_END = re.compile(r"[。！？!?；;…][”’」』）)】》\"'\s]*\Z")

Section = tuple[int, "Document"]
"""Where a section begins in its text, and what was found in it, with offsets that count from there."""


def tag_sections(tagger: Tagger, text: str, tasks: Sequence[str], *, scores: bool = False) -> Iterator[Section]:
    """Tag a text section by section.

    Together the sections are the text. None but the first begins with a blank, and no word or entity is cut unless it
    alone is longer than a section.
    """
    start = 0
    while start < len(text):
        window = text[start : start + _SECTION + _BEYOND]
        document = next(tagger.stream([window], tasks=tasks, scores=scores))
        size = len(window)
        if start + size < len(text):
            seam = _last_seam(document, "pos" in tasks)
            if seam is None:
                seam = _SECTION
                document = next(tagger.stream([window[:seam]], tasks=tasks, scores=scores))
            size = seam
        stop = _skip_blanks(text, start + size)
        yield (
            start,
            replace(
                document,
                text=text[start:stop],
                words=tuple(word for word in document.words if word.start < size),
                entities=tuple(entity for entity in document.entities if entity.start < size),
            ),
        )
        start = stop


def write_sections(
    format: str,
    tasks: Sequence[str],
    sections: Iterator[Section],
    text: str,
    *,
    record: str | None = None,
    documents: int = 0,
    characters: int = 0,
) -> Iterator[str]:
    """Write what `tag_sections` found in a text as the writer of a format writes a whole document, piece by piece.

    In brat stand-off, the lines of each piece count from 1.

    Args:
        format: As in `zhseq.formats.make_writer`.
        tasks: What was tagged.
        sections: What was found.
        text: The whole text.
        record: As in `zhseq.formats.make_record_writer`.
        documents: As in `zhseq.formats.make_writer`.
        characters: As there.
    """
    if record is not None:
        yield from _json_pieces(record, tasks, sections)
    elif format == "jsonl":
        yield from _json_pieces(json_fragment({"text": text})[:-1], tasks, sections)
    elif format == "conllu":
        yield ConlluWriter(documents).head(text)
        words = 0
        for offset, document in sections:
            yield "".join(conllu_rows(document, words, offset))
            words += len(document.words)
        yield "\n"
    elif format == "text":
        yield from _text_pieces(tasks, sections)
    elif format == "bio":
        write = make_writer(format, tasks)
        for _, document in sections:
            yield write(document, "")[:-1]  # it ends each with an empty line
        yield "\n"
    else:
        for offset, document in sections:
            yield make_writer(format, tasks, characters=characters + offset)(document, "")


def _json_pieces(head: str, tasks: Sequence[str], sections: Iterator[Section]) -> Iterator[str]:
    """Yield a JSON object that begins with `head`; the entities wait for the last of the words."""
    if "pos" not in tasks:
        yield f'{head}, "entities": ['
    else:
        yield f'{head}, "words": ['
    try:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", newline="") as waiting:
            glue = {"words": "", "entities": ""}
            for offset, document in sections:
                for name, spans in json_parts(document, tasks, offset).items():
                    if spans:
                        piece = glue[name] + json_fragment(spans)[1:-1]
                        glue[name] = ", "
                        if name == "entities" and "pos" in tasks:
                            waiting.write(piece)
                        else:
                            yield piece
            if "pos" in tasks and "ner" in tasks:
                yield '], "entities": ['
                waiting.seek(0)
                while piece := waiting.read(1 << 16):
                    yield piece
    except OSError as error:  # also when what waits is given up
        raise InputError(
            f"{tempfile.gettempdir()}: expected room for what waits while a very long text is written: "
            f"{error.strerror}; make some, or name another folder in TMPDIR."
        ) from error
    yield "]}\n"


def _text_pieces(tasks: Sequence[str], sections: Iterator[Section]) -> Iterator[str]:
    write = make_writer("text", tasks)
    apart = True  # whether a blank belongs between the section before and the next
    begun = False
    for _, document in sections:
        piece = write(document, "")[:-1]
        entities = document.entities
        apart |= "pos" in tasks or bool(entities and entities[0].start == 0) or document.text[0].isspace()
        if piece:
            yield (" " if begun and apart else "") + piece
            begun, apart = True, False
        apart |= document.text[-1].isspace() or bool(entities and entities[-1].end == len(document.text))
    yield "\n"


def _last_seam(document: Document, has_words: bool) -> int | None:
    """Return the last place in the second half of a section where it may end, preferably after a sentence."""
    places = [word.start for word in document.words] if has_words else range(_SECTION + 1)
    starts = [entity.start for entity in document.entities]
    last = None
    for place in reversed(places[bisect_left(places, _SECTION // 2) : bisect_right(places, _SECTION)]):
        entity = bisect_left(starts, place) - 1  # the last that begins before
        if entity >= 0 and document.entities[entity].end > place:
            continue
        if _SENTENCE_END.search(document.text, max(0, place - 8), place):
            return place
        last = place if last is None else last
    return last


def _skip_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    assert found is not None  # it matches everywhere
    return found.end()
