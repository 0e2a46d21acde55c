"""How tagged text is written: for people, for programs, for annotation tools. One piece of output for each line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from zhseq.errors import InputError
from zhseq.tagging.document import Document, Entity, Word, tagged_text
from zhseq.text.tags import Span, spans_to_tags

Writer = Callable[["Document", str], str]
"""Takes a document and the line end it had in the input, gives the text to write, line feed included."""

PKU_TO_UPOS = {
    **dict.fromkeys(("n", "an", "vn", "q", "t", "s", "j", "l", "Ng", "Tg"), "NOUN"),
    **dict.fromkeys(("nr", "ns", "nt", "nz"), "PROPN"),
    **dict.fromkeys(("v", "vd", "i", "Vg"), "VERB"),
    **dict.fromkeys(("a", "b", "z", "Ag", "Bg"), "ADJ"),
    **dict.fromkeys(("d", "ad", "Dg"), "ADV"),
    **dict.fromkeys(("m", "Mg"), "NUM"),
    **dict.fromkeys(("r", "Rg"), "PRON"),
    **dict.fromkeys(("p", "f"), "ADP"),
    **dict.fromkeys(("u", "y", "h", "k", "Yg"), "PART"),
    **dict.fromkeys(("e", "o"), "INTJ"),
    "c": "CCONJ",
    "w": "PUNCT",
    "nx": "X",
}
"""Part of speech of the PKU standard -> universal part of speech; X for all others.

It goes by the tag alone, so it is coarse: classifiers and time words are nouns, words of place behind a noun (f) are
adpositions, a demonstrative is a pronoun even before a noun, and no word is AUX, DET or SCONJ.
"""

UPOS = frozenset(PKU_TO_UPOS.values()) | {"AUX", "DET", "SCONJ", "SYM"}

FORMATS = ("text", "jsonl", "conllu", "bio", "brat")
_SEPARATORS = re.compile("[\x7f\x85\u2028\u2029]")
"""Characters that JSON may hold as they are, but that end a line for many a reader, or garble a terminal (DEL)."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False)
_NO_LINE_FEED = {ord("\n"): " "}  # a text from a record may hold some; offsets stay
_ANNOTATION = re.compile(rb"^T(\d+)", re.MULTILINE)
_SPACES = {" ": "\\s", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


RecordWriter = Callable[["Document", str], str]
"""Takes a document and the JSON object its text was found in, without its closing brace; gives that object with the
results added, as one line."""


def make_writer(
    format: str, tasks: Sequence[str], *, nbest: int = 1, documents: int = 0, characters: int = 0
) -> Writer:
    """Return the writer of a format.

    Args:
        format: One of `FORMATS`.
        tasks: What was tagged, `pos`, `ner` or both.
        nbest: How many readings of a line are wanted.
        documents: How many documents of the same output came before.
        characters: How many characters of the input they had, line ends included.

    Raises:
        InputError: The format cannot show that.
    """
    if nbest > 1 and format != "jsonl":
        raise InputError(
            f"Expected --format jsonl with --nbest {nbest}, found {format}: only it shows several readings."
        )
    if format == "conllu" and "pos" not in tasks:
        raise InputError("Expected --task pos or pos,ner with --format conllu, found ner: its lines are words.")
    writers: dict[str, Callable[[Sequence[str]], Writer]] = {
        "text": _text_writer,
        "jsonl": _json_writer,
        "conllu": lambda tasks: ConlluWriter(documents).write,
        "bio": _bio_writer,
        "brat": lambda tasks: _BratWriter(tasks, characters).write,
    }
    return writers[format](tasks)


def make_record_writer(tasks: Sequence[str]) -> RecordWriter:
    """Return a writer of JSON lines that leaves a record as it is and adds `words`, `entities`, `nbest` to it."""

    def write(document: Document, record: str) -> str:
        return _as_line(record + ", " + _ENCODER.encode(_json_results(document, tasks))[1:])

    return write


def number_annotations(data: bytes, before: int) -> tuple[bytes, int]:
    """Renumber the lines of a piece of brat stand-off, which count from 1, to follow `before` others.

    Returns:
        The lines, and how many there are now, together with those before.
    """
    if before:
        data = _ANNOTATION.sub(lambda match: b"T%d" % (before + int(match[1])), data)
    return data, before + data.count(b"\n")


def _text_writer(tasks: Sequence[str]) -> Writer:
    """`江/nr 泽民/nr`, entities in brackets; blanks of the input are not shown."""

    def write(document: Document, end: str) -> str:
        return tagged_text(document, tasks) + "\n"

    return write


def _json_writer(tasks: Sequence[str]) -> Writer:
    """One JSON object with `text`, `words`, `entities` (those asked for)."""

    def write(document: Document, end: str) -> str:
        return _as_line(_ENCODER.encode({"text": document.text, **_json_results(document, tasks)}))

    return write


def _as_line(encoded: str) -> str:
    return _without_separators(encoded) + "\n"


def _without_separators(encoded: str) -> str:
    return _SEPARATORS.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)


def json_fragment(value: object) -> str:
    """Write a value as it stands in a line of `jsonl`."""
    return _without_separators(_ENCODER.encode(value))


def _json_results(document: Document, tasks: Sequence[str]) -> dict[str, Any]:
    fields = json_parts(document, tasks)
    alternatives = getattr(document, "alternatives", ())
    if alternatives:
        fields["nbest"] = [json_parts(reading, tasks) for reading in alternatives]
    return fields


def json_parts(document: Document, tasks: Sequence[str], offset: int = 0) -> dict[str, Any]:
    """Return `words` and `entities` (those asked for) of a text that begins at `offset` in the one that is written."""
    parts: dict[str, Any] = {}
    if "pos" in tasks:
        parts["words"] = [_json_span(word, offset, "pos", word.pos) for word in document.words]
    if "ner" in tasks:
        parts["entities"] = [_json_span(entity, offset, "label", entity.label) for entity in document.entities]
    return parts


def _json_span(part: Word | Entity, offset: int, key: str, label: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"text": part.text, "start": offset + part.start, "end": offset + part.end, key: label}
    if part.score is not None:
        fields["score"] = round(part.score, 4)
    return fields


class ConlluWriter:
    """CoNLL-U: one sentence block for each line; XPOS as tagged, UPOS by `PKU_TO_UPOS`, the rest in MISC.

    MISC holds `SpaceAfter=No` or `SpacesAfter=...`, `Entity=LABEL:START-END` (offsets in `# text`, half-open) at the
    first word that an entity touches, and `Score=`.
    """

    def __init__(self, documents: int) -> None:
        self._number = documents

    def write(self, document: Document, end: str) -> str:
        """Return one block; a line without words has a block of comments only."""
        return self.head(document.text) + "".join(conllu_rows(document)) + "\n"

    def head(self, text: str) -> str:
        """Return the comments of the next block."""
        self._number += 1
        return f"# sent_id = {self._number}\n# text = {text.translate(_NO_LINE_FEED)}\n"


def conllu_rows(document: Document, words: int = 0, offset: int = 0) -> Iterator[str]:
    """Yield the lines of the words of a document, or of a part of one.

    Args:
        document: The part; if it is not the last, it ends where a word of the next begins.
        words: How many words came before.
        offset: How many characters came before.
    """
    waiting = list(reversed(document.entities))
    starts = [word.start for word in document.words[1:]]
    for number, word in enumerate(document.words, start=1):
        misc = []
        entities = []
        while waiting and waiting[-1].start < word.end:
            entity = waiting.pop()
            entities.append(f"{entity.label}:{offset + entity.start}-{offset + entity.end}")
        if entities:
            misc.append("Entity=" + ",".join(entities))
        if word.score is not None:
            misc.append(f"Score={word.score:.3f}")
        gap = document.text[word.end : starts[number - 1]] if number <= len(starts) else document.text[word.end :]
        if gap:
            misc += [] if gap == " " else ["SpacesAfter=" + "".join(_SPACES.get(blank, blank) for blank in gap)]
        else:
            misc.append("SpaceAfter=No")
        universal, own = (word.pos, "_") if word.pos in UPOS else (PKU_TO_UPOS.get(word.pos, "X"), word.pos or "_")
        row = (str(words + number), word.text, word.text, universal, own, "_", "_", "_", "_", "|".join(misc) or "_")
        yield "\t".join(row) + "\n"


def _bio_writer(tasks: Sequence[str]) -> Writer:
    """A character a line with its tags, BMES of words and BIO of entities, and a blank line after each input line.

    Blank characters have no line.
    """

    def write(document: Document, end: str) -> str:
        columns: list[Sequence[str]] = [document.text]
        if "pos" in tasks:
            words = [Span(word.start, word.end, word.pos) for word in document.words]
            columns.append(spans_to_tags(words, len(document.text), "BMES"))
        if "ner" in tasks:
            entities = [Span(entity.start, entity.end, entity.label) for entity in document.entities]
            columns.append(spans_to_tags(entities, len(document.text), "BIO"))
        rows = zip(*columns, strict=True)
        return "".join("\t".join(row) + "\n" for row in rows if not row[0].isspace()) + "\n"

    return write


class _BratWriter:
    """Brat stand-off: a line for each word and entity, with offsets into the whole input, line ends included."""

    def __init__(self, tasks: Sequence[str], characters: int) -> None:
        self._tasks = tasks
        self._number = 0  # see `number_annotations`
        self._offset = characters

    def write(self, document: Document, end: str) -> str:
        """Return the lines of one document; there may be none."""
        parts = [(word.start, word.end, word.pos or "word") for word in document.words if "pos" in self._tasks]
        parts += [(entity.start, entity.end, entity.label) for entity in document.entities if "ner" in self._tasks]
        lines = []
        for start, stop, label in parts:
            self._number += 1
            place = f"{label} {self._offset + start} {self._offset + stop}"
            lines.append(f"T{self._number}\t{place}\t{' '.join(document.text[start:stop].splitlines())}\n")
        self._offset += len(document.text) + len(end)
        return "".join(lines)
