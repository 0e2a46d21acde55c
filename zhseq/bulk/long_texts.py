"""Very long texts, tagged and written section by section: their words are never in memory all at once.

A text of 20 MB has millions of words, each of them an object, and what is written about them is larger than the text.
So a section of the text is tagged with some characters behind it, ended where a word ends (after a sentence, if one
ends in its second half), written, and forgotten.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zhseq.errors import InputError
from zhseq.tagging.formats import ConlluWriter, conllu_rows, json_fragment, json_parts, make_writer

if TYPE_CHECKING:
    from zhseq.tagging.document import Document
    from zhseq.tagging.tagger import Tagger

LONG = 100_000
"""Characters from which on a text is written section by section."""
_SECTION = 48_000  # characters, as many as `Tagger.stream` reads at once
_BEYOND = 128  # characters behind a section that its last words see
_IN_MEMORY = 1 << 22  # characters of entities; more of them wait on disk until all words are written

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


def write_sections(
    format: str,
    tasks: Sequence[str],
    sections: Iterator[Section],
    text: str,
    *,
    nbest: int = 1,
    record: str | None = None,
    documents: int = 0,
    characters: int = 0,
) -> Iterator[str]:
    """Write what `tag_sections` found in a text as the writer of a format writes a whole document, piece by piece.

    In brat stand-off, the lines of each piece count from 1.

    Args:
        format: As in `zhseq.tagging.formats.make_writer`.
        tasks: What was tagged.
        sections: What was found.
        text: The whole text.
        nbest: How many readings were asked for. Those of a long text are put together from those of its sections.
        record: As in `zhseq.tagging.formats.make_record_writer`.
        documents: As in `zhseq.tagging.formats.make_writer`.
        characters: As there.
    """
    if record is not None:
        yield from _json_pieces(record, tasks, sections, nbest)
    elif format == "jsonl":
        yield from _json_pieces(json_fragment({"text": text})[:-1], tasks, sections, nbest)
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


def _json_pieces(head: str, tasks: Sequence[str], sections: Iterator[Section], nbest: int) -> Iterator[str]:
    """Yield a JSON object that begins with `head`; all but its first list waits for the last section."""
    names = [name for task, name in (("pos", "words"), ("ner", "entities")) if task in tasks]
    readings = 1  # most that a section has
    try:
        with ExitStack() as stack:
            ranks = [
                {name: stack.enter_context(_waiting_list()) for name in names} for _ in range(nbest if nbest > 1 else 0)
            ]
            best = {name: stack.enter_context(_waiting_list()) for name in names[1:]}
            yield f'{head}, "{names[0]}": ['
            glue = ""
            for offset, document in sections:
                parts = json_parts(document, tasks, offset)
                if parts[names[0]]:
                    yield glue + json_fragment(parts[names[0]])[1:-1]
                    glue = ", "
                for name, waiting in best.items():
                    waiting.extend(parts[name])
                own = document.alternatives or (document,)
                readings = max(readings, len(own))
                for rank, lists in enumerate(ranks):
                    for name, spans in json_parts(own[min(rank, len(own) - 1)], tasks, offset).items():
                        lists[name].extend(spans)
            yield "]"
            for name, waiting in best.items():
                yield f', "{name}": '
                yield from waiting.pieces()
            for rank, lists in enumerate(ranks[:readings]):
                yield ', "nbest": [' if rank == 0 else "}, "
                for name, waiting in lists.items():
                    yield ("{" if name == names[0] else ", ") + f'"{name}": '
                    yield from waiting.pieces()
            yield "}]}\n" if ranks else "}\n"
    except OSError as error:  # also when what waits is given up
        raise InputError(
            "no_room_for_waiting",
            "{folder}: expected room for what waits while a very long text is written: {reason}; make some, or name "
            "another folder in TMPDIR.",
            folder=tempfile.gettempdir(),
            reason=error.strerror,
        ) from error


@contextmanager
def _waiting_list() -> Iterator[_JsonList]:
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", newline="") as file:
        yield _JsonList(file)


class _JsonList:
    """A list that waits to be written: in memory while it is short, then on disk."""

    def __init__(self, file: tempfile.SpooledTemporaryFile[str]) -> None:
        self._file = file
        self._glue = "["

    def extend(self, values: list[dict[str, Any]]) -> None:
        """Add values."""
        if values:
            self._file.write(self._glue + json_fragment(values)[1:-1])
            self._glue = ", "

    def pieces(self) -> Iterator[str]:
        """Yield the list as JSON."""
        if self._glue == "[":
            yield "["
        self._file.seek(0)
        while piece := self._file.read(1 << 16):
            yield piece
        yield "]"


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
    places = set(range(_SECTION // 2, _SECTION + 1))
    for reading in (document, *document.alternatives):
        if has_words:
            places &= {word.start for word in reading.words}
        for entity in reading.entities:
            places.difference_update(range(entity.start + 1, entity.end))
    last = None
    for place in sorted(places, reverse=True):
        if _SENTENCE_END.search(document.text, max(0, place - 8), place):
            return place
        last = place if last is None else last
    return last


def _skip_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    assert found is not None  # it matches everywhere
    return found.end()
