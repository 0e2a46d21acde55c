"""Read sources (lines of text, JSON lines, or a column of CSV, TSV, Excel or Parquet) as chunks of limited size.

A chunk is the unit of work of one process.
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
# Limits of a chunk, the same as those of a block of `Tagger.stream`.
LINES = 1024
CHARACTERS = 48_000
_ROWS = 512  # rows of Parquet that are read at once
_SHOWN = 60  # characters of an invalid line that are shown in a message
_LONGEST_FIELD = 1 << 27  # characters; a longer CSV field has an unclosed quotation mark
_DELIMITERS = ",;\t"  # delimiters of CSV, tried in order

Unit = tuple[str, str]
"""A text to tag, and its tail: its line end, or the record that contains it, see `Reading.keep_records`."""


@dataclass(frozen=True)
class Reading:
    """How sources are read.

    Attributes:
        encoding: As in `zhseq.text.encoding`; not used for Parquet and Excel.
        errors: `strict`, or `replace` to decode invalid bytes as U+FFFD.
        column: Field or column of the text.
        keep_records: Whether the tail of a text is the JSON object that contains it, without its closing brace, so
            that fields can be appended. Otherwise it is a line feed.
        added: Fields that will be added to records; records must not have them.
    """

    encoding: str
    errors: str
    column: str = DEFAULT_COLUMN
    keep_records: bool = False
    added: tuple[str, ...] = ()


@dataclass
class Segment:
    """Consecutive texts of one source.

    Attributes:
        source: Index of the source.
        name: Name of the source in messages.
        start: Number of earlier texts of the source.
        records: Whether the tails are records, see `Reading.keep_records`.
        documents: Number of earlier texts in the same output.
        characters: Number of their characters, tails included.
        texts: Texts to tag.
        tails: Tail of each text.
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
    """Segments in order. A source without texts has an empty segment, so that its output is created."""

    segments: list[Segment] = field(default_factory=list)
    lines: int = 0
    characters: int = 0

    def __str__(self) -> str:
        """Return the location of the chunk in its sources."""
        first, last = self.segments[0], self.segments[-1]
        end = f"text {last.start + len(last.texts)}"
        return f"{first.name}, text {first.start + 1}, to " + (end if first is last else f"{last.name}, {end}")

    def digest(self) -> bytes:
        """Return a hash of the contents."""
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
        sources: Sources to read.
        reading: Settings.
        together: Whether all sources have one output; otherwise each has its own.
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
    """Yield the chunks of a group of sources, the first of which has the index `first`; each has its own output."""
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
    """Yield the texts of a source in order, in bounded memory.

    Args:
        source: Source to read.
        reading: Settings.
        notify: Called if the encoding is not UTF-8, if cells are empty, and if sheets are ignored.
        moved: Called with the number of bytes on disk read since the last call.

    Raises:
        InputError: A record cannot be read; the message names file, line or row, and what was expected.
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
    """Yield the rows of a CSV file, header included, with the line number of the end of each."""
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
            "{location}: expected CSV, found an invalid row ({reason}); save the table again.",
            location=_line(name, reader.line_num),
            reason=error,
        ) from error


def _tsv_rows(lines: Iterable[Unit]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a TSV file with their line numbers; a field may be quoted as a whole, as by spreadsheets."""
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
                continue  # an empty line
            row = row or [""]
        location = _line(source.name, number)
        if len(row) != len(header):
            raise _other_length(location, len(header), len(row))
        record = dict(zip(header, row, strict=True))
        yield _text(record, location, reading), _as_json(record, location)[:-1] if reading.keep_records else "\n"


def _other_length(location: Message, expected: int, found: int) -> InputError:
    return InputError(
        "row_of_other_length",
        "{location}: expected {expected} fields as in the header, found {found}; quote fields that "
        "contain the separator.",
        location=location,
        expected=expected,
        found=found,
    )


def _line(name: str, number: int) -> Message:
    return Message("line_of_file", "{name}, line {line}", {"name": name, "line": number})


def _row(name: str, number: int) -> Message:
    return Message("row_of_file", "{name}, row {row}", {"name": name, "row": number})


def _text(record: dict[str, Any], location: Message, reading: Reading) -> str:
    """Return the text of a record, after validation."""
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
            "{location}: the input already has the field {field!r}, which the result needs; rename "
            "it, or choose another <task>.",
            location=location,
            field=clash[0],
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:  # an escape in JSON can be a lone surrogate
        if reading.errors == "strict":
            raise InputError(
                "half_character",
                "{location}: expected Unicode text in {column!r}, found a lone surrogate at position "
                "{position}; repair the file or read it with <errors=replace>.",
                location=location,
                column=reading.column,
                position=error.start,
            ) from error
        text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _kind(value: object) -> object:
    kinds: dict[type, object] = {
        type(None): "null",
        bool: Message("a_truth_value", "a boolean"),
        list: Message("a_list", "a list"),
        dict: Message("an_object", "an object"),
        str: Message("a_string", "a string"),
    }
    return kinds.get(type(value), f"{value!r:.{_SHOWN}}")


class _Cells:
    """Extract the text of a column from records; empty cells become empty texts and are counted."""

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
        """Report the number of empty cells."""
        if self._empty:
            values = {"name": self._source.name, "count": self._empty, "column": self._reading.column}
            notify(
                Message(
                    "empty_cells",
                    "{name}: {count} empty cells in the column {column!r}, each read as an empty text",
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
    """Yield the texts of the first sheet; numbers are converted to texts."""
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
    except Exception as error:  # openpyxl passes on errors of zipfile and the XML parser
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
        names.pop()  # unnamed columns at the end, which must be empty
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
    """Check that exactly one column has the requested name and, if records are kept, that names are unique."""
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
            "{name}: expected different column names, found {column!r} several times; rename the "
            "columns, or use another <format>: only jsonl keeps the columns.",
            name=name,
            column=repeated[0],
        )


def _check_strings(kind: Any, name: str, column: str) -> None:
    found = str(getattr(kind, "value_type", kind))  # dictionary-encoded strings are accepted
    if found not in ("string", "large_string", "string_view", "null"):
        raise InputError(
            "no_strings",
            "{name}: expected strings in the column {column!r}, found {found}.",
            name=name,
            column=column,
            found=found,
        )


def _as_json(record: dict[str, Any], location: Message) -> str:
    """Encode a table row as JSON: times in ISO 8601, decimals as strings, NaN and infinity as null."""

    def other(value: object) -> object:
        if isinstance(value, bytes):
            raise InputError(
                "column_of_bytes",
                "{location}: expected columns that JSON can represent, found bytes; leave that "
                "column out, or use another <format>: only jsonl keeps the columns.",
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
