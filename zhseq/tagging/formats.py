"""Documents, the results of the tagger, and writers for each output format.

A writer takes a document as a whole or, if it is very long, in parts; the output is the same byte for byte.
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
    """Part-of-speech tag; empty for a model that only segments."""
    score: float | None = None
    """Smallest marginal probability of the tags of its characters; None unless requested."""


class Entity(NamedTuple):
    """A named entity: `text == document.text[start:end]`, in code points."""

    text: str
    start: int
    end: int
    label: str
    score: float | None = None
    """As in `Word`."""


Fields = tuple[str, int, int, str, "float | None"]
"""Fields of a `Word` or `Entity`, in order."""


class Columns:
    """The words, or the entities, of several texts as arrays; objects are created on access."""

    __slots__ = ("_arrays", "_bounds", "_json", "_kind", "_lists", "_names")

    def __init__(
        self,
        kind: type[Word] | type[Entity],
        arrays: tuple[Ints, Ints, Ints, Floats | None],
        bounds: Sequence[int],
        names: Sequence[str],
    ) -> None:
        """Create from arrays.

        Args:
            kind: `Word` or `Entity`.
            arrays: Starts and ends in code points of their text, label indices, and scores if any, each (spans,).
            bounds: Index of the first span of each text, and the number of all spans, (texts + 1,).
            names: Label names by index.
        """
        self._kind, self._arrays, self._bounds, self._names = kind, arrays, bounds, names
        self._lists: tuple[list[int], list[int], list[str], list[float] | None] | None = None
        self._json: tuple[list[int], list[int], list[str]] | None = None

    def fields(self, number: int, text: str) -> Iterator[Fields]:
        """Yield the fields of the words or entities of a text, given by its index, without creating objects."""
        if self._lists is None:  # for all texts at once
            starts, ends, labels, scores = self._arrays
            names = [self._names[label] for label in labels.tolist()]
            self._lists = starts.tolist(), ends.tolist(), names, None if scores is None else scores.tolist()
        here = slice(self._bounds[number], self._bounds[number + 1])
        begins, stops, names = self._lists[0][here], self._lists[1][here], self._lists[2][here]
        texts = [text[start:end] for start, end in zip(begins, stops, strict=True)]
        odds = repeat(None) if self._lists[3] is None else self._lists[3][here]
        return zip(texts, begins, stops, names, odds, strict=False)

    def json(self, number: int, text: str) -> str:
        """Return the words or entities of a text, given by its index, as comma-separated JSON objects.

        No character of the text may need an escape in JSON.
        """
        if self._json is None:  # for all texts at once
            starts, ends, labels, scores = self._arrays
            key = _KEYS[self._kind]
            names = [f', "{key}": {_without_separators(_quoted(name))}' for name in self._names]
            odds = repeat("}") if scores is None else [_json_score(score) for score in scores.tolist()]
            places = zip(starts.tolist(), ends.tolist(), labels.tolist(), odds, strict=False)
            tails = [f'", "start": {start}, "end": {end}{names[label]}{last}' for start, end, label, last in places]
            self._json = starts.tolist(), ends.tolist(), tails
        here = slice(self._bounds[number], self._bounds[number + 1])
        begins, stops, tails = self._json[0][here], self._json[1][here], self._json[2][here]
        return ", ".join(
            [f'{{"text": "{text[start:end]}{tail}' for start, end, tail in zip(begins, stops, tails, strict=True)]
        )

    def objects(self, number: int, text: str) -> tuple[Any, ...]:
        """Return the words or entities of a text, given by its index."""
        # Like `kind._make`, without a Python call for each.
        return tuple(map(tuple.__new__, repeat(self._kind), self.fields(number, text)))


class _LazySpans:
    """Lazy attributes of a document: `_source` holds the columns of words and of entities, and the index of the text.

    While a slot of `Document` is empty, Python calls `__getattr__`, which fills both slots.
    """

    __slots__ = ("_source",)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in ("words", "entities"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            if (source := getattr(self, "_source", None)) is not None:
                *columns, number = source
                for slot, column in zip(("words", "entities"), columns, strict=True):
                    found = () if column is None else column.objects(number, self.text)
                    object.__setattr__(self, slot, found)
                object.__setattr__(self, "_source", None)
            return object.__getattribute__(self, name)  # filled by this thread or another one


@dataclass(frozen=True, slots=True)
class Document(_LazySpans):
    """A text with its words and entities, each in order and without overlap. The words cover all but the blanks.

    `str` gives the tagged text: `[江/nr 泽民/nr]PER 在/p [北京/ns]LOC`.
    Documents returned by a tagger create their words and entities on first access.

    Attributes:
        text: The text as it was given.
        words: Words; empty unless the task `pos` was requested.
        entities: Named entities; empty unless the task `ner` was requested.
    """

    text: str
    words: tuple[Word, ...]
    entities: tuple[Entity, ...]
    alternatives: tuple[Document, ...] = ()
    """n-best readings of words and entities together, best first; empty unless requested."""

    def __str__(self) -> str:
        return tagged_text(self, TASKS if self.words else ("ner",))


def lazy_documents(texts: Sequence[str], words: Columns | None, entities: Columns | None) -> list[Document]:
    """Return documents of texts whose words and entities are in columns, None if there are none."""
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
    """Return the fields of the `words` or `entities` of a document, without creating objects if they do not exist."""
    columns, number = _columns_of(document, name)
    if columns is not None:
        return columns.fields(number, document.text)
    spans: tuple[Word, ...] | tuple[Entity, ...] = document.words if name == "words" else document.entities
    return spans


def _columns_of(document: Document, name: str) -> tuple[Columns | None, int]:
    """Return the columns of the `words` or `entities` of a document, None if it holds objects, and its index."""
    words, entities, number = getattr(document, "_source", None) or (None, None, 0)
    return (words if name == "words" else entities), number


def tagged_text(document: Document, tasks: Sequence[str]) -> str:
    """Return the tagged text, `江/nr 泽民/nr`, with entities in brackets, without the blanks of the text.

    Args:
        document: The document.
        tasks: Tasks to show. Without `pos`, the text between entities is shown unchanged.
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
    """Put brackets around the words that an entity overlaps; of two entities in one word show the first."""
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
"""Part-of-speech tag of the PKU standard -> universal part of speech; X for all others.

The mapping does not look at the word, so it is coarse: classifiers and time words are NOUN, localizers after a noun (f)
are ADP, demonstratives are PRON even before a noun, and no word is AUX, DET or SCONJ.
"""

UPOS = frozenset(PKU_TO_UPOS.values()) | {"AUX", "DET", "SCONJ", "SYM"}

FORMATS = ("text", "jsonl", "conllu", "bio", "brat")
_SEPARATORS = re.compile("[\x7f\x85\u2028\u2029]")
"""Characters that JSON allows unescaped, but that many readers treat as line ends, or that garble a terminal (DEL)."""
_NO_LINE_END = {ord("\n"): " ", ord("\r"): " "}  # one character for one, to keep offsets
_ANNOTATION = re.compile(rb"^T\d+", re.MULTILINE)
_SPACES = {" ": "\\s", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_IN_MEMORY = 1 << 22  # characters of a deferred JSON list that are kept in memory; a longer one is kept on disk
_PIECE = 1 << 16  # characters that are read from disk at once


class Writer(ABC):
    """Format documents for one output, one after the other, each as a whole or in parts."""

    def write(self, document: Document, tail: str = "") -> str:
        """Return the output of a whole document, final line feed included.

        Args:
            document: The document.
            tail: See `begin`.
        """
        return "".join([self.begin(document.text, tail), self.part(document), *self.end()])

    def begin(self, text: str, tail: str = "") -> str:
        """Begin a document; return the output before its first part.

        Args:
            text: The whole text.
            tail: The line end that followed the text in the input. For a writer of records, the JSON object that
                contained the text, without its closing brace.
        """
        return ""

    @abstractmethod
    def part(self, document: Document, offset: int = 0) -> str:
        """Return the output of a part of the document.

        Args:
            document: The part. A part that is not the last ends at the start of the first word of the next one, and no
                word or entity crosses its borders.
            offset: Start of the part in the whole text.
        """

    def end(self) -> Iterator[str]:
        """End the document; yield the rest of its output in pieces."""
        yield from ()

    def abandon(self) -> None:  # noqa: B027 - most writers have nothing to release
        """Release the resources of a document that was begun and will not be ended."""


def make_writer(
    format: str,
    tasks: Sequence[str],
    *,
    nbest: int = 1,
    documents: int = 0,
    characters: int = 0,
    records: bool = False,
) -> Writer:
    """Create the writer of a format.

    Args:
        format: One of `FORMATS`.
        tasks: Tasks of the documents, `pos`, `ner` or both.
        nbest: Number of readings of each text.
        documents: Number of documents already in the output.
        characters: Number of characters of the input already processed, line ends included.
        records: Whether the texts are fields of JSON objects, to which the results are added; `jsonl` only.

    Raises:
        InputError: The format does not support several readings, or the tasks.
    """
    if nbest > 1 and format != "jsonl":
        raise InputError(
            "one_reading",
            "expected <format=jsonl> for {nbest} readings of each text, found {format}: only jsonl supports several.",
            nbest=nbest,
            format=format,
        )
    if format == "conllu" and "pos" not in tasks:
        raise InputError(
            "conllu_without_words",
            "expected <task=pos> or <task=pos,ner> with <format=conllu>, found ner: each line of "
            "this format is a word.",
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
    """Write one line of tagged text, see `tagged_text`."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self._tasks = tasks
        self._begun = self._apart = False

    def begin(self, text: str, tail: str = "") -> str:
        self._begun, self._apart = False, True
        return ""

    def part(self, document: Document, offset: int = 0) -> str:
        shown, text = tagged_text(document, self._tasks), document.text
        entities = [] if "pos" in self._tasks else list(fields_of(document, "entities"))
        # Without words, the text between entities is unchanged: write a blank only where there was one.
        self._apart |= "pos" in self._tasks or bool(entities and entities[0][1] == 0) or text[:1].isspace()
        if shown:
            shown = " " * (self._begun and self._apart) + shown
            self._begun, self._apart = True, False
        self._apart |= text[-1:].isspace() or bool(entities and entities[-1][2] == len(text))
        return shown

    def end(self) -> Iterator[str]:
        yield "\n"


class _JsonWriter(Writer):
    """Write one JSON object per line: the text, or its record unchanged, with `words`, `entities` and `nbest` added.

    Of a document in parts, only the first list can be written at once; the others are deferred until the last part.
    """

    def __init__(self, tasks: Sequence[str], nbest: int, records: bool) -> None:
        self._names = [name for task, name in (("pos", "words"), ("ner", "entities")) if task in tasks]
        self._nbest = nbest if nbest > 1 else 0
        self._records = records
        self._separator = ""
        self._readings = 1  # maximum over the parts
        self._best: dict[str, _DeferredList] = {}
        self._ranks: list[dict[str, _DeferredList]] = []

    def write(self, document: Document, tail: str = "") -> str:
        if self._nbest:
            return super().write(document, tail)
        plain = _is_plain(document.text)
        head = f'{{"text": "{document.text}"' if plain and not self._records else self._head(document.text, tail)
        lists = [f', "{name}": [{_json_spans(document, name, 0, plain=plain)}]' for name in self._names]
        return "".join([head, *lists, "}\n"])

    def _head(self, text: str, tail: str) -> str:
        return _without_separators(tail if self._records else f'{{"text": {_quoted(text)}')

    def begin(self, text: str, tail: str = "") -> str:
        self._separator, self._readings = "", 1
        self._best = {name: _DeferredList() for name in self._names[1:]}
        self._ranks = [{name: _DeferredList() for name in self._names} for _ in range(self._nbest)]
        return f'{self._head(text, tail)}, "{self._names[0]}": ['

    def part(self, document: Document, offset: int = 0) -> str:
        written = _json_spans(document, self._names[0], offset)
        if written:
            written, self._separator = self._separator + written, ", "
        for name, deferred in self._best.items():
            deferred.append(_json_spans(document, name, offset))
        if self._ranks:
            readings = document.alternatives or (document,)
            self._readings = max(self._readings, len(readings))
            for rank, lists in enumerate(self._ranks):
                for name, deferred in lists.items():  # a part with fewer readings repeats its last one
                    deferred.append(_json_spans(readings[min(rank, len(readings) - 1)], name, offset))
        return written

    def end(self) -> Iterator[str]:
        yield "]"
        for name, deferred in self._best.items():
            yield f', "{name}": '
            yield from deferred.pieces()
        for rank, lists in enumerate(self._ranks[: self._readings]):
            yield ', "nbest": [' if rank == 0 else "}, "
            for name, deferred in lists.items():
                yield ("{" if name == self._names[0] else ", ") + f'"{name}": '
                yield from deferred.pieces()
        yield "}]}\n" if self._ranks else "}\n"
        self.abandon()

    def abandon(self) -> None:
        for lists in (self._best, *self._ranks):
            for deferred in lists.values():
                deferred.close()


class _DeferredList:
    """A JSON list whose output is deferred, in memory while it is short, then in an anonymous temporary file."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._file: IO[str] | None = None

    def append(self, values: str) -> None:
        """Append encoded values, separated by commas, without brackets.

        Raises:
            InputError: The disk is full.
        """
        if not values:
            return
        self._parts += [", ", values] if self._size else [values]
        self._size += len(values)
        if self._size > _IN_MEMORY:
            with _reporting_disk_errors():
                if self._file is None:
                    self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 - see `close`
                self._file.writelines(self._parts)
            self._parts.clear()

    def pieces(self) -> Iterator[str]:
        """Yield the encoded list in pieces.

        Raises:
            InputError: The file cannot be read, or the disk is full.
        """
        yield "["
        if self._file is None:
            yield from self._parts
        else:
            with _reporting_disk_errors():
                self._file.seek(0)
                while piece := self._file.read(_PIECE):
                    yield piece
        yield "]"

    def close(self) -> None:
        """Close the file; ignore errors of a full disk."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


@contextmanager
def _reporting_disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            "no_room_for_waiting",
            "{folder}: no space for temporary data while a very long text is written: {reason}; free "
            "some space, or name another folder in TMPDIR.",
            folder=tempfile.gettempdir(),
            reason=error.strerror,
        ) from error


def _without_separators(encoded: str) -> str:
    return _SEPARATORS.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)


def _json_spans(document: Document, name: str, offset: int, *, plain: bool = False) -> str:
    """Encode the `words` or `entities` of a part that begins at `offset`, comma-separated, without brackets.

    `plain` means that the offset is 0 and that no character of the text needs an escape, which is faster.
    """
    columns, number = _columns_of(document, name)
    if columns is not None and plain:
        return columns.json(number, document.text)
    key = _KEYS[Word if name == "words" else Entity]
    written = [
        f'{{"text": {_quoted(text)}, "start": {offset + start}, "end": {offset + end}, "{key}": {_quoted(label)}'
        + ("}" if score is None else _json_score(score))
        for text, start, end, label, score in fields_of(document, name)
    ]
    return _without_separators(", ".join(written))


def _is_plain(text: str) -> bool:
    """Return whether no character of a text needs an escape in JSON."""
    return len(_quoted(text)) == len(text) + 2 and not _SEPARATORS.search(text)


def _json_score(score: float) -> str:
    return f', "score": {round(score, 4)}}}'


_KEYS: dict[type[Word] | type[Entity], str] = {Word: "pos", Entity: "label"}
"""Names of the labels in JSON."""


class _ConlluWriter(Writer):
    """Write a CoNLL-U sentence for each text; XPOS is the tag, UPOS follows from `PKU_TO_UPOS`, the rest is in MISC.

    MISC contains `SpaceAfter=No` or `SpacesAfter=...`, `Entity=LABEL:START-END` (half-open offsets in `# text`) at the
    first word that an entity overlaps, and `Score=`. A text without words has comment lines only.
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
    """Yield the lines of the words of a part.

    Args:
        document: The part.
        words: Fields of its words.
        before: Number of words of the text before the part.
        offset: Start of the part in the text.
    """
    deferred = list(fields_of(document, "entities"))[::-1]
    nexts = [*(start for _, start, *_ in words[1:]), len(document.text)]
    for number, ((text, _, end, pos, score), behind) in enumerate(zip(words, nexts, strict=False), start=before + 1):
        misc = []
        entities = []
        while deferred and deferred[-1][1] < end:
            _, start, stop, label, _ = deferred.pop()
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
    """Write one character per line with its tags, BMES for words and BIO for entities; omit blanks.

    An empty line follows each text.
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
    """Write brat stand-off: one line per word and entity, with offsets in the whole input, line ends included."""

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
    """Renumber the annotations of a piece of brat stand-off so that they follow `before` others.

    Returns:
        The lines, and the total number of annotations including those before.
    """
    numbers = count(before + 1)
    return _ANNOTATION.sub(lambda match: b"T%d" % next(numbers), data), before + data.count(b"\n")
