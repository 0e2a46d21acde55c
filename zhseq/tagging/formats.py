"""A text with what the tagger found in it, and how that is written: one writer for each format.

Formats are for people, for programs and for annotation tools. A writer takes a document at once or, where it is very
long, part by part, and gives the same bytes both ways.
"""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, repeat
from json.encoder import encode_basestring as _quoted
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from zhseq.errors import InputError
from zhseq.text.tags import TASKS, Span, spans_to_tags

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float32]


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


Fields = tuple[str, int, int, str, "float | None"]
"""What a word or an entity consists of, in order."""


class Columns:
    """The words, or the entities, of some texts as arrays, of which objects are made when somebody looks at them."""

    __slots__ = ("_arrays", "_bounds", "_kind", "_lists", "_names")

    def __init__(
        self,
        kind: type[Word] | type[Entity],
        arrays: tuple[Ints, Ints, Ints, Floats | None],
        bounds: Sequence[int],
        names: Sequence[str],
    ) -> None:
        """Take arrays.

        Args:
            kind: What they are.
            arrays: Starts and ends in their texts, labels, and scores if there are any, (spans,) each.
            bounds: Where the spans of each text begin, and the end of those of the last, (texts + 1,).
            names: Names of the labels.
        """
        self._kind, self._arrays, self._bounds, self._names = kind, arrays, bounds, names
        self._lists: tuple[list[int], list[int], list[str], list[float] | None] | None = None

    def fields(self, number: int, text: str) -> Iterator[Fields]:
        """Yield what stands in a text, given by its number, without making objects."""
        if self._lists is None:  # for all texts at once
            starts, ends, labels, scores = self._arrays
            names = [self._names[label] for label in labels.tolist()]
            self._lists = starts.tolist(), ends.tolist(), names, None if scores is None else scores.tolist()
        here = slice(self._bounds[number], self._bounds[number + 1])
        begins, stops, names = self._lists[0][here], self._lists[1][here], self._lists[2][here]
        texts = [text[start:end] for start, end in zip(begins, stops, strict=True)]
        odds = repeat(None) if self._lists[3] is None else self._lists[3][here]
        return zip(texts, begins, stops, names, odds, strict=False)

    def made(self, number: int, text: str) -> tuple[Any, ...]:
        """Return the words or entities of a text."""
        # As `kind._make` does, without a call in Python for each.
        return tuple(map(tuple.__new__, repeat(self._kind), self.fields(number, text)))


class _Unread:
    """What a document is made of before somebody looks: columns of words and of entities, and the number of its text.

    While a slot of `Document` is empty, Python asks `__getattr__`, which fills both.
    """

    __slots__ = ("_source",)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in ("words", "entities"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            if (source := getattr(self, "_source", None)) is not None:
                *columns, number = source
                for slot, column in zip(("words", "entities"), columns, strict=True):
                    found = () if column is None else column.made(number, self.text)
                    object.__setattr__(self, slot, found)
                object.__setattr__(self, "_source", None)
            return object.__getattribute__(self, name)  # filled just now, here or in another thread


@dataclass(frozen=True, slots=True)
class Document(_Unread):
    """A text with its words and entities, each in order and without overlap. The words cover all but the blanks.

    As a string it is the tagged text: `[江/nr 泽民/nr]PER 在/p [北京/ns]LOC`. What a tagger returns makes its words and
    entities when they are first asked for.
    """

    text: str
    words: tuple[Word, ...]
    entities: tuple[Entity, ...]
    alternatives: tuple[Document, ...] = ()
    """The n best readings of words and entities together, the best first; only on request."""

    def __str__(self) -> str:
        return tagged_text(self, TASKS if self.words else ("ner",))


def unread(texts: Sequence[str], words: Columns | None, entities: Columns | None) -> list[Document]:
    """Return the documents of some texts, whose words and entities are in columns; None for none."""
    fill = object.__setattr__
    documents = []
    for number, text in enumerate(texts):
        document = object.__new__(Document)
        fill(document, "text", text)
        fill(document, "alternatives", ())
        fill(document, "_source", (words, entities, number))
        documents.append(document)
    return documents


def fields_of(document: Document, name: str) -> Iterable[Fields]:
    """Return the `words` or `entities` of a document, without making objects where nobody has looked at it."""
    source = getattr(document, "_source", None)
    if source is None:
        spans: tuple[Word, ...] | tuple[Entity, ...] = document.words if name == "words" else document.entities
        return spans
    words, entities, number = source
    columns: Columns | None = words if name == "words" else entities
    return () if columns is None else columns.fields(number, document.text)


def tagged_text(document: Document, tasks: Sequence[str]) -> str:
    """Return `江/nr 泽民/nr`, with entities in brackets, for people; blanks of the text are not shown.

    Args:
        document: The text and what was found in it.
        tasks: What to show. Without `pos`, the text between entities is shown as it is.
    """
    entities = list(fields_of(document, "entities")) if "ner" in tasks else []
    if "pos" in tasks:
        return " ".join(_bracketed_words(document, entities))
    pieces, position = [], 0
    for _, start, end, label, score in entities:
        pieces += document.text[position:start].split()
        inside = " ".join(document.text[start:end].split())
        pieces.append(f"[{inside}]{label}{_score(score)}")
        position = end
    pieces += document.text[position:].split()
    return " ".join(pieces)


def _bracketed_words(document: Document, entities: Sequence[Fields]) -> list[str]:
    """Put brackets around the words that an entity touches; of two entities in one word the first is shown."""
    shown, starts, ends = [], [], []
    for text, start, end, pos, score in fields_of(document, "words"):
        if not text.isalnum():  # it may hold blanks
            text = " ".join(text.split())
        shown.append((f"{text}/{pos}" if pos else text) + _score(score))
        starts.append(start)
        ends.append(end)
    index = 0
    for _, start, end, label, score in entities:
        while index < len(shown) and ends[index] <= start:
            index += 1
        first = index
        while index < len(shown) and starts[index] < end:
            index += 1
        if index > first:
            shown[first] = "[" + shown[first]
            shown[index - 1] += f"]{label}{_score(score)}"
    return shown


def _score(score: float | None) -> str:
    return "" if score is None else f":{score:.3f}"


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
_NO_LINE_END = {ord("\n"): " ", ord("\r"): " "}  # a text may hold some; offsets stay
_ANNOTATION = re.compile(rb"^T\d+", re.MULTILINE)
_SPACES = {" ": "\\s", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_IN_MEMORY = 1 << 22  # characters of a JSON list that waits; a longer one waits on disk
_PIECE = 1 << 16  # characters that are read from there at once


class Writer(ABC):
    """Writes documents one after the other into one output, each at once or part by part."""

    def write(self, document: Document, tail: str = "") -> str:
        """Return what is to be written of a document, line feed included.

        Args:
            document: A text with what was found in it.
            tail: See `begin`.
        """
        return "".join([self.begin(document.text, tail), self.part(document), *self.end()])

    def begin(self, text: str, tail: str = "") -> str:
        """Begin a document and return what stands before its first part.

        Args:
            text: The whole text.
            tail: What stood behind the text in the input: the end of its line. For a writer of records, the JSON object
                that the text was found in, without its closing brace.
        """
        return ""

    @abstractmethod
    def part(self, document: Document, offset: int = 0) -> str:
        """Return what can be written of a part of the document.

        Args:
            document: The part with what was found in it. A part that is not the last ends where a word of the next
                begins, and no word or entity goes across its ends.
            offset: Where the part begins in the whole text.
        """

    def end(self) -> Iterator[str]:
        """End the document; yield what is left to be written, piece by piece."""
        yield from ()

    def abandon(self) -> None:  # noqa: B027 - most writers hold nothing
        """Let go of a document that was begun and will not be ended."""


def make_writer(
    format: str,
    tasks: Sequence[str],
    *,
    nbest: int = 1,
    documents: int = 0,
    characters: int = 0,
    records: bool = False,
) -> Writer:
    """Return the writer of a format.

    Args:
        format: One of `FORMATS`.
        tasks: What was tagged, `pos`, `ner` or both.
        nbest: How many readings of a text are wanted.
        documents: How many documents of the same output came before.
        characters: How many characters of the input they had, line ends included.
        records: Whether the texts were found in JSON objects, to which the results are added; with `jsonl` only.

    Raises:
        InputError: The format cannot show that.
    """
    if nbest > 1 and format != "jsonl":
        raise InputError(
            "one_reading",
            "expected <format=jsonl> for {nbest} readings of each text, found {format}: only it shows several.",
            nbest=nbest,
            format=format,
        )
    if format == "conllu" and "pos" not in tasks:
        raise InputError(
            "conllu_without_words",
            "expected <task=pos> or <task=pos,ner> with <format=conllu>, found ner: its lines are words.",
        )
    writers: dict[str, Callable[[], Writer]] = {
        "text": lambda: _TextWriter(tasks),
        "jsonl": lambda: _JsonWriter(tasks, nbest, records),
        "conllu": lambda: _ConlluWriter(documents),
        "bio": lambda: _BioWriter(tasks),
        "brat": lambda: _BratWriter(tasks, characters),
    }
    return writers[format]()


class _TextWriter(Writer):
    """Write a line for people, see `tagged_text`."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self._tasks = tasks
        self._begun = self._apart = False

    def begin(self, text: str, tail: str = "") -> str:
        self._begun, self._apart = False, True
        return ""

    def part(self, document: Document, offset: int = 0) -> str:
        shown, text = tagged_text(document, self._tasks), document.text
        entities = [] if "pos" in self._tasks else list(fields_of(document, "entities"))
        # Without words, the text between entities is written as it is: a blank stands only where there was one.
        self._apart |= "pos" in self._tasks or bool(entities and entities[0][1] == 0) or text[:1].isspace()
        if shown:
            shown = " " * (self._begun and self._apart) + shown
            self._begun, self._apart = True, False
        self._apart |= text[-1:].isspace() or bool(entities and entities[-1][2] == len(text))
        return shown

    def end(self) -> Iterator[str]:
        yield "\n"


class _JsonWriter(Writer):
    """Write a JSON object a line: the text, or its record as it is, with `words`, `entities` and `nbest` added.

    Only the first list can be written while parts come; the others wait for the last part.
    """

    def __init__(self, tasks: Sequence[str], nbest: int, records: bool) -> None:
        self._names = [name for task, name in (("pos", "words"), ("ner", "entities")) if task in tasks]
        self._nbest = nbest if nbest > 1 else 0
        self._records = records
        self._separator = ""
        self._readings = 1  # most that a part had
        self._best: dict[str, _WaitingList] = {}
        self._ranks: list[dict[str, _WaitingList]] = []

    def write(self, document: Document, tail: str = "") -> str:
        if self._nbest:
            return super().write(document, tail)
        lists = [f', "{name}": [{_json_spans(document, name, 0)}]' for name in self._names]
        return _without_separators("".join([self._head(document.text, tail), *lists, "}\n"]))

    def _head(self, text: str, tail: str) -> str:
        return tail if self._records else f'{{"text": {_quoted(text)}'

    def begin(self, text: str, tail: str = "") -> str:
        self._separator, self._readings = "", 1
        self._best = {name: _WaitingList() for name in self._names[1:]}
        self._ranks = [{name: _WaitingList() for name in self._names} for _ in range(self._nbest)]
        return f'{_without_separators(self._head(text, tail))}, "{self._names[0]}": ['

    def part(self, document: Document, offset: int = 0) -> str:
        written = _without_separators(_json_spans(document, self._names[0], offset))
        if written:
            written, self._separator = self._separator + written, ", "
        for name, waiting in self._best.items():
            waiting.append(_without_separators(_json_spans(document, name, offset)))
        if self._ranks:
            readings = document.alternatives or (document,)
            self._readings = max(self._readings, len(readings))
            for rank, lists in enumerate(self._ranks):
                for name, waiting in lists.items():  # of a part with fewer readings, its last stands for the others
                    found = _json_spans(readings[min(rank, len(readings) - 1)], name, offset)
                    waiting.append(_without_separators(found))
        return written

    def end(self) -> Iterator[str]:
        yield "]"
        for name, waiting in self._best.items():
            yield f', "{name}": '
            yield from waiting.pieces()
        for rank, lists in enumerate(self._ranks[: self._readings]):
            yield ', "nbest": [' if rank == 0 else "}, "
            for name, waiting in lists.items():
                yield ("{" if name == self._names[0] else ", ") + f'"{name}": '
                yield from waiting.pieces()
        yield "}]}\n" if self._ranks else "}\n"
        self.abandon()

    def abandon(self) -> None:
        for lists in (self._best, *self._ranks):
            for waiting in lists.values():
                waiting.close()


class _WaitingList:
    """A JSON list that waits to be written: in memory while it is short, then in a file without a name."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._file: IO[str] | None = None

    def append(self, values: str) -> None:
        """Add values, written as in a list and without its brackets.

        Raises:
            InputError: There is no room for the file.
        """
        if not values:
            return
        self._parts += [", ", values] if self._size else [values]
        self._size += len(values)
        if self._size > _IN_MEMORY:
            with _room_on_disk():
                if self._file is None:
                    self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 - see `close`
                self._file.writelines(self._parts)
            self._parts.clear()

    def pieces(self) -> Iterator[str]:
        """Yield the list.

        Raises:
            InputError: There is no room for the file.
        """
        yield "["
        if self._file is None:
            yield from self._parts
        else:
            with _room_on_disk():
                self._file.seek(0)
                while piece := self._file.read(_PIECE):
                    yield piece
        yield "]"

    def close(self) -> None:
        """Let the file go, whether there was room for all of it or not."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


@contextmanager
def _room_on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            "no_room_for_waiting",
            "{folder}: expected room for what waits while a very long text is written: {reason}; make some, or name "
            "another folder in TMPDIR.",
            folder=tempfile.gettempdir(),
            reason=error.strerror,
        ) from error


def _without_separators(encoded: str) -> str:
    return _SEPARATORS.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)


def _json_spans(document: Document, name: str, offset: int) -> str:
    """Return the `words` or `entities` of a text that begins at `offset`, written as in a list without its brackets."""
    key = "pos" if name == "words" else "label"
    written = [
        f'{{"text": {_quoted(text)}, "start": {offset + start}, "end": {offset + end}, "{key}": {_quoted(label)}'
        + ("}" if score is None else f', "score": {round(score, 4)}}}')
        for text, start, end, label, score in fields_of(document, name)
    ]
    return ", ".join(written)


class _ConlluWriter(Writer):
    """Write a sentence block for each text; XPOS as tagged, UPOS by `PKU_TO_UPOS`, the rest in MISC.

    MISC holds `SpaceAfter=No` or `SpacesAfter=...`, `Entity=LABEL:START-END` (offsets in `# text`, half-open) at the
    first word that an entity touches, and `Score=`. A text without words has a block of comments only.
    """

    def __init__(self, documents: int) -> None:
        self._documents = documents
        self._words = 0

    def begin(self, text: str, tail: str = "") -> str:
        self._documents += 1
        self._words = 0
        return f"# sent_id = {self._documents}\n# text = {text.translate(_NO_LINE_END)}\n"

    def part(self, document: Document, offset: int = 0) -> str:
        words = list(fields_of(document, "words"))
        rows = "".join(_conllu_rows(document, words, self._words, offset))
        self._words += len(words)
        return rows

    def end(self) -> Iterator[str]:
        yield "\n"


def _conllu_rows(document: Document, words: Sequence[Fields], before: int, offset: int) -> Iterator[str]:
    """Yield the lines of the words of a part that comes after so many words and characters."""
    waiting = list(fields_of(document, "entities"))[::-1]
    nexts = [*(start for _, start, *_ in words[1:]), len(document.text)]
    for number, ((text, _, end, pos, score), behind) in enumerate(zip(words, nexts, strict=False), start=before + 1):
        misc = []
        entities = []
        while waiting and waiting[-1][1] < end:
            _, start, stop, label, _ = waiting.pop()
            entities.append(f"{label}:{offset + start}-{offset + stop}")
        if entities:
            misc.append("Entity=" + ",".join(entities))
        if score is not None:
            misc.append(f"Score={score:.3f}")
        gap = document.text[end:behind]
        if gap:
            misc += [] if gap == " " else ["SpacesAfter=" + "".join(_SPACES.get(blank, blank) for blank in gap)]
        else:
            misc.append("SpaceAfter=No")
        universal, own = (pos, "_") if pos in UPOS else (PKU_TO_UPOS.get(pos, "X"), pos or "_")
        row = (str(number), text, text, universal, own, "_", "_", "_", "_", "|".join(misc) or "_")
        yield "\t".join(row) + "\n"


class _BioWriter(Writer):
    """Write a character a line with its tags, BMES of words and BIO of entities, and a blank line after each text.

    Blank characters have no line.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self._tasks = tasks

    def part(self, document: Document, offset: int = 0) -> str:
        columns: list[Sequence[str]] = [document.text]
        for task, name, scheme in (("pos", "words", "BMES"), ("ner", "entities", "BIO")):
            if task in self._tasks:
                spans = [Span(start, end, label) for _, start, end, label, _ in fields_of(document, name)]
                columns.append(spans_to_tags(spans, len(document.text), scheme))
        rows = zip(*columns, strict=True)
        return "".join("\t".join(row) + "\n" for row in rows if not row[0].isspace())

    def end(self) -> Iterator[str]:
        yield "\n"


class _BratWriter(Writer):
    """Write brat stand-off: a line for each word and entity, with offsets into the whole input, line ends included."""

    def __init__(self, tasks: Sequence[str], characters: int) -> None:
        self._tasks = tasks
        self._annotations = 0  # see `number_annotations`
        self._start = self._next = characters

    def begin(self, text: str, tail: str = "") -> str:
        self._start, self._next = self._next, self._next + len(text) + len(tail)
        return ""

    def part(self, document: Document, offset: int = 0) -> str:
        offset += self._start
        names = [name for task, name in (("pos", "words"), ("ner", "entities")) if task in self._tasks]
        parts = [part for name in names for part in fields_of(document, name)]
        lines = []
        for number, (_, start, end, label, _) in enumerate(parts, start=self._annotations + 1):
            label = label or "word"
            text = " ".join(document.text[start:end].splitlines())
            lines.append(f"T{number}\t{label} {offset + start} {offset + end}\t{text}\n")
        self._annotations += len(parts)
        return "".join(lines)


def number_annotations(data: bytes, before: int) -> tuple[bytes, int]:
    """Number the lines of a piece of brat stand-off, whatever numbers they have, to follow `before` others.

    Returns:
        The lines, and how many there are now, together with those before.
    """
    numbers = count(before + 1)
    return _ANNOTATION.sub(lambda match: b"T%d" % next(numbers), data), before + data.count(b"\n")
