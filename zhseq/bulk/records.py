"""Read sources: texts of lines, JSON lines, or a column of CSV, TSV, Excel or Parquet -> chunks of a fixed size.

A chunk is a piece of work for one process.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from zhseq.bulk.inputs import CSV, EXCEL, JSON, PARQUET, TEXT, Source, groups, open_packed
from zhseq.cli import STANDARD_INPUT, open_input
from zhseq.errors import InputError, Message
from zhseq.text.encoding import Notify, decode_lines

DEFAULT_COLUMN = "text"
# As many texts and characters as `Tagger.stream` reads ahead, so that a chunk is one block of it.
LINES = 1024
CHARACTERS = 48_000
_ROWS = 512  # of Parquet that are read at once
_SHOWN = 60  # characters of a wrong line in a message
_LONGEST_FIELD = 1 << 27  # characters; more of CSV are a quotation mark that is never closed
_DELIMITERS = ",;\t"  # of CSV, tried in turn: some programs write semicolons, and some tabs

Unit = tuple[str, str]
"""A text to tag, and its tail: the line end it had, or the record it was found in, see `Reading.keep_records`."""


@dataclass(frozen=True)
class Reading:
    """How sources are read.

    Attributes:
        encoding: As in `zhseq.text.encoding`; Parquet knows its own.
        errors: `strict`, or `replace` to read what is no character as U+FFFD.
        column: The field of a record that holds the text.
        keep_records: The tail of a text is the JSON object it was found in, without its closing brace, so that fields
            can be added and none is changed. Else it is a line feed.
        added: Fields that will be added; a record may not have them.
    """

    encoding: str
    errors: str
    column: str = DEFAULT_COLUMN
    keep_records: bool = False
    added: tuple[str, ...] = ()


@dataclass
class Segment:
    """Texts of one source that follow each other.

    Attributes:
        source: Number of the source.
        name: What messages call it.
        start: Texts of the same source that came before.
        records: Whether the tails are records, see `Reading.keep_records`.
        documents: Texts of the same output that came before.
        characters: Characters of them, tails included.
        texts: What is to be tagged.
        tails: What stood behind each text.
    """

    source: int
    name: str
    start: int
    records: bool
    documents: int
    characters: int
    texts: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)


@dataclass
class Chunk:
    """Some segments, in order. A source without texts has an empty segment, so that it gets its output."""

    segments: list[Segment] = field(default_factory=list)
    lines: int = 0
    characters: int = 0

    def __str__(self) -> str:
        """Tell where it is to be found."""
        first, last = self.segments[0], self.segments[-1]
        end = f"text {last.start + len(last.texts)}"
        return f"{first.name}, text {first.start + 1}, to " + (end if first is last else f"{last.name}, {end}")

    def digest(self) -> bytes:
        """Return a hash of all that is in it."""
        summary = hashlib.blake2b(digest_size=16)
        for segment in self.segments:
            shape = [segment.source, segment.name, [*map(len, segment.texts)], [*map(len, segment.tails)]]
            summary.update(repr(shape).encode())
            summary.update("".join([*segment.texts, *segment.tails]).encode())
        return summary.digest()


def read_chunks(
    sources: Sequence[Source],
    reading: Reading,
    *,
    together: bool,
    notify: Notify,
    moved: Callable[[int], object] = lambda size: None,
) -> Iterator[Chunk]:
    """Yield the chunks of all sources, in order.

    Args:
        sources: What to read.
        reading: How to read it.
        together: All sources have one output; else each has its own.
        notify: As in `read_units`.
        moved: As in `read_units`.
    """
    documents = characters = 0
    for first, group in groups(sources):
        for chunk in read_group(first, group, reading, notify=notify, moved=moved):
            if together:
                for segment in chunk.segments:
                    segment.documents, segment.characters = documents, characters
                    documents += len(segment.texts)
                    characters += sum(map(len, segment.texts)) + sum(map(len, segment.tails))
            yield chunk


def read_group(
    first: int,
    sources: Sequence[Source],
    reading: Reading,
    *,
    notify: Notify,
    moved: Callable[[int], object] = lambda size: None,
) -> Iterator[Chunk]:
    """Yield the chunks of some sources, of which the first has the number `first`; each has its own output."""
    chunk = Chunk()
    for number, source in enumerate(sources, start=first):
        records = reading.keep_records and source.kind != TEXT
        segment = Segment(number, source.name, 0, records, 0, 0)
        chunk.segments.append(segment)
        characters = 0
        for count, (text, tail) in enumerate(read_units(source, reading, notify, moved)):
            if chunk.lines == LINES or chunk.characters >= CHARACTERS:
                yield chunk
                segment = Segment(number, source.name, count, records, count, characters)
                chunk = Chunk([segment])
            segment.texts.append(text)
            segment.tails.append(tail)
            characters += len(text) + len(tail)
            chunk.lines += 1
            chunk.characters += len(text)
    if chunk.segments:
        yield chunk


def read_units(source: Source, reading: Reading, notify: Notify, moved: Callable[[int], object]) -> Iterator[Unit]:
    """Yield the texts of a source in order, in flat memory.

    Args:
        source: What to read.
        reading: How to read it.
        notify: Called when the encoding is not UTF-8, when cells are empty, and when sheets are left out.
        moved: Takes the number of bytes, on disk, that were read since it was last called.

    Raises:
        InputError: Names the file, the line or row, and what was expected there.
    """
    if source.kind in (PARQUET, EXCEL):
        units = _parquet_units if source.kind == PARQUET else _excel_units
        yield from units(source, reading, notify, moved)
        return
    with ExitStack() as stack:
        if source.path is None:
            counted: Iterable[bytes] = stack.enter_context(open_input(STANDARD_INPUT))
        else:
            stream, position = stack.enter_context(open_packed(source.name, source.packing))
            counted = _counted(stream, position, moved)
        lines = decode_lines(counted, source.name, encoding=reading.encoding, errors=reading.errors, notify=notify)
        if source.kind == TEXT:
            yield from lines
        elif source.kind == JSON:
            yield from _json_units(lines, source.name, reading)
        else:
            rows = _csv_rows(lines, source.name, reading.column) if source.kind == CSV else _tsv_rows(lines)
            yield from _row_units(rows, source, reading)


def _counted(stream: Iterable[bytes], position: Callable[[], int], moved: Callable[[int], object]) -> Iterator[bytes]:
    before = 0
    for line in stream:
        yield line
        now = position()
        moved(now - before)
        before = now


def _json_units(lines: Iterable[Unit], name: str, reading: Reading) -> Iterator[Unit]:
    for number, (line, _) in enumerate(lines, start=1):
        shown = line.strip()
        if not shown:
            continue
        location = _line(name, number)
        try:
            record = json.loads(shown)
        except (ValueError, RecursionError) as error:
            raise InputError(
                "broken_json",
                "{location}: expected a JSON object on each line, found {found} ({reason}).",
                location=location,
                found=repr(shown[:_SHOWN] + ("…" if len(shown) > _SHOWN else "")),
                reason=error,
            ) from error
        if not isinstance(record, dict):
            raise InputError(
                "no_json_object",
                "{location}: expected a JSON object on each line, found {found}.",
                location=location,
                found=_kind(record),
            )
        text = _text(record, location, reading)
        yield text, shown[:-1].rstrip() if reading.keep_records else "\n"


def _csv_rows(lines: Iterable[Unit], name: str, column: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of CSV with the number of the last line of each, header included."""
    csv.field_size_limit(_LONGEST_FIELD)
    whole = (line + end for line, end in lines)
    first = next(whole, "")
    headers = ((delimiter, next(csv.reader([first], delimiter=delimiter), [])) for delimiter in _DELIMITERS)
    delimiter = next((delimiter for delimiter, header in headers if column in header), _DELIMITERS[0])
    reader = csv.reader(chain([first], whole), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(
            "broken_csv",
            "{location}: expected CSV, found a row that breaks its rules ({reason}); save the table anew.",
            location=_line(name, reader.line_num),
            reason=error,
        ) from error


def _tsv_rows(lines: Iterable[Unit]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of TSV with their numbers: a field is quoted where all of it is, as spreadsheets do it."""
    for number, (line, _) in enumerate(lines, start=1):
        yield number, [_unquoted(field) for field in line.split("\t")]


def _unquoted(field: str) -> str:
    inner = field[1:-1].replace('""', "")
    return field[1:-1].replace('""', '"') if len(field) > 1 and field[0] == field[-1] == '"' not in inner else field


def _row_units(rows: Iterator[tuple[int, list[str]]], source: Source, reading: Reading) -> Iterator[Unit]:
    _, header = next(rows, (1, []))
    _check_header(header, source.name, reading)
    for number, row in rows:
        if len(row) != len(header):
            if not any(row) and len(header) > 1:
                continue  # a blank line
            row = row or [""]
        location = _line(source.name, number)
        if len(row) != len(header):
            raise _other_length(location, len(header), len(row))
        record = dict(zip(header, row, strict=True))
        yield _text(record, location, reading), _as_json(record, location)[:-1] if reading.keep_records else "\n"


def _other_length(location: Message, expected: int, found: int) -> InputError:
    return InputError(
        "row_of_other_length",
        "{location}: expected {expected} fields as in the header, found {found}; quote a field that holds what "
        "separates fields.",
        location=location,
        expected=expected,
        found=found,
    )


def _line(name: str, number: int) -> Message:
    return Message("line_of_file", "{name}, line {line}", {"name": name, "line": number})


def _row(name: str, number: int) -> Message:
    return Message("row_of_file", "{name}, row {row}", {"name": name, "row": number})


def _text(record: dict[str, Any], location: Message, reading: Reading) -> str:
    """Return the text of a record after checking it."""
    if reading.column not in record:
        fields = ", ".join(map(repr, record)) or Message("no_field", "no field")
        raise InputError(
            "no_such_field",
            "{location}: expected a field {column!r}, found {fields}; name one with <column>.",
            location=location,
            column=reading.column,
            fields=fields,
        )
    text = record[reading.column]
    if not isinstance(text, str):
        raise InputError(
            "no_string",
            "{location}: expected a string in {column!r}, found {found}.",
            location=location,
            column=reading.column,
            found=_kind(text),
        )
    clash = [field for field in reading.added if field in record] if reading.keep_records else []
    if clash:
        raise InputError(
            "field_taken",
            "{location}: expected no field {field!r}, which the result needs, found one; rename it, or choose another "
            "<task>.",
            location=location,
            field=clash[0],
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can write half of a character as an escape
        if reading.errors == "strict":
            raise InputError(
                "half_character",
                "{location}: expected Unicode text in {column!r}, found half a character (a lone surrogate) at "
                "{position}; mend the file or read it with <errors=replace>.",
                location=location,
                column=reading.column,
                position=error.start,
            ) from error
        text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _kind(value: object) -> object:
    kinds: dict[type, object] = {
        type(None): "null",
        bool: Message("a_truth_value", "a truth value"),
        list: Message("a_list", "a list"),
        dict: Message("an_object", "an object"),
        str: Message("a_string", "a string"),
    }
    return kinds.get(type(value), f"{value!r:.{_SHOWN}}")


class _Cells:
    """Takes the texts of a column out of records; an empty cell is an empty text, and counted."""

    def __init__(self, source: Source, reading: Reading) -> None:
        self._source, self._reading = source, reading
        self._empty = 0

    def unit(self, record: dict[str, Any], location: Message) -> Unit:
        """Return the text of the next row."""
        column = self._reading.column
        if record.get(column, "") is None:
            self._empty += 1
            checked = {**record, column: ""}
        else:
            checked = record
        text = _text(checked, location, self._reading)
        return text, _as_json(record, location)[:-1] if self._reading.keep_records else "\n"

    def report(self, notify: Notify) -> None:
        """Say how many cells were empty."""
        if self._empty:
            values = {"name": self._source.name, "count": self._empty, "column": self._reading.column}
            notify(
                Message(
                    "empty_cells",
                    "{name}: {count} empty cells in the column {column!r}, each taken for an empty text",
                    values,
                )
            )


def _parquet_units(source: Source, reading: Reading, notify: Notify, moved: Callable[[int], object]) -> Iterator[Unit]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert source.path is not None
    cells = _Cells(source, reading)
    try:
        with pq.ParquetFile(source.path) as file:
            schema = file.schema_arrow
            _check_header(schema.names, source.name, reading)
            _check_strings(schema.field(reading.column).type, source.name, reading.column)
            row, rows, done = 0, file.metadata.num_rows, 0
            columns = None if reading.keep_records else [reading.column]
            for batch in file.iter_batches(_ROWS, columns=columns):
                for record in batch.to_pylist():
                    row += 1
                    yield cells.unit(record, _row(source.name, row))
                moved(source.size * row // rows - done)
                done = source.size * row // rows
    except pa.ArrowException as error:
        raise InputError(
            "damaged_parquet",
            "{name}: expected a Parquet file, found damaged data ({reason}).",
            name=source.name,
            reason=str(error).rstrip(".").splitlines()[0],
        ) from error
    cells.report(notify)


def _excel_units(source: Source, reading: Reading, notify: Notify, moved: Callable[[int], object]) -> Iterator[Unit]:
    """Read the first sheet; numbers are texts, too."""
    try:
        import openpyxl
    except ImportError as error:
        raise InputError(
            "no_openpyxl",
            "{name}: reading Excel needs the package openpyxl; pip install 'zhseq[excel]'",
            name=source.name,
        ) from error
    assert source.path is not None
    try:
        book = openpyxl.load_workbook(source.path, read_only=True, data_only=True)
    except Exception as error:  # the package raises whatever the archive and its XML raise
        raise InputError(
            "damaged_excel",
            "{name}: expected an Excel file (.xlsx), found damaged data ({reason}).",
            name=source.name,
            reason=type(error).__name__,
        ) from error
    first, *others = book.worksheets
    if others:
        values = {"name": source.name, "sheet": first.title, "count": len(others)}
        notify(Message("first_sheet_only", "{name}: only the sheet {sheet!r} is read, {count} others are not", values))
    rows = first.iter_rows(values_only=True)
    names = ["" if name is None else str(name) for name in next(rows, ())]
    while names and not names[-1]:
        names.pop()  # columns without a name, which must be empty
    _check_header(names, source.name, reading)
    cells = _Cells(source, reading)
    for number, row in enumerate(rows, start=2):
        location = _row(source.name, number)
        if any(value is not None for value in row[len(names) :]):
            raise _other_length(location, len(names), len(row))
        if any(value is not None for value in row):
            record = {**dict.fromkeys(names), **dict(zip(names, row, strict=False))}
            text = record[reading.column]
            shown = str(text) if isinstance(text, int | float) and not isinstance(text, bool) else text
            yield cells.unit({**record, reading.column: shown}, location)
    book.close()
    moved(source.size)
    cells.report(notify)


def _check_header(names: Sequence[str], name: str, reading: Reading) -> None:
    """Check that one column has the name that was asked for, and all have names of their own where they are kept."""
    if names.count(reading.column) != 1:
        fields = ", ".join(map(repr, names)) or Message("no_column", "no column")
        raise InputError(
            "no_such_column",
            "{name}: expected one column {column!r}, found {fields}; name one with <column>.",
            name=name,
            column=reading.column,
            fields=fields,
        )
    repeated = [column for column, count in Counter(names).items() if count > 1]
    if repeated and reading.keep_records:
        raise InputError(
            "repeated_column",
            "{name}: expected columns with names of their own, found {column!r} several times; rename them, or use "
            "another <format> than jsonl, which keeps no columns.",
            name=name,
            column=repeated[0],
        )


def _check_strings(kind: Any, name: str, column: str) -> None:
    found = str(getattr(kind, "value_type", kind))  # a dictionary of strings is as good
    if found not in ("string", "large_string", "string_view", "null"):
        raise InputError(
            "no_strings",
            "{name}: expected strings in the column {column!r}, found {found}.",
            name=name,
            column=column,
            found=found,
        )


def _as_json(record: dict[str, Any], location: Message) -> str:
    """Write a row of a table as JSON: times in ISO 8601, decimals as strings, what is no number as null."""

    def other(value: object) -> object:
        if isinstance(value, bytes):
            raise InputError(
                "column_of_bytes",
                "{location}: expected columns that JSON can hold, found bytes; leave that column out, or use another "
                "<format> than jsonl, which keeps no columns.",
                location=location,
            )
        return value.isoformat() if hasattr(value, "isoformat") else str(value)

    try:
        return json.dumps(record, ensure_ascii=False, default=other, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(record), ensure_ascii=False, default=other)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
