"""One source -> its texts, from lines, JSON lines or a column of Parquet."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from zhseq.bulk.inputs import JSON, PARQUET, Notify, Source, open_packed
from zhseq.errors import InputError
from zhseq.text.encoding import decode_lines

DEFAULT_COLUMN = "text"
_ROWS = 512  # of Parquet that are read at once
_SHOWN = 60  # characters of a wrong line in a message

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


def read_units(source: Source, reading: Reading, notify: Notify, moved: Callable[[int], object]) -> Iterator[Unit]:
    """Yield the texts of a source in order, in flat memory.

    Args:
        source: What to read.
        reading: How to read it.
        notify: Takes a sentence when the encoding is not UTF-8.
        moved: Takes the number of bytes, on disk, that were read since it was last called.

    Raises:
        InputError: Names the file, the line or row, and what was expected there.
    """
    if source.kind == PARQUET:
        yield from _parquet_units(source, reading, moved)
        return
    with ExitStack() as stack:
        if source.path is None:
            counted: Iterable[bytes] = sys.stdin.buffer
        else:
            stream, place = stack.enter_context(open_packed(source.name, source.packing))
            counted = _counted(stream, place, moved)
        lines = decode_lines(counted, source.name, encoding=reading.encoding, errors=reading.errors, notify=notify)
        yield from _json_units(lines, source.name, reading) if source.kind == JSON else lines


def _counted(stream: Iterable[bytes], place: Callable[[], int], moved: Callable[[int], object]) -> Iterator[bytes]:
    before = 0
    for line in stream:
        yield line
        now = place()
        moved(now - before)
        before = now


def _json_units(lines: Iterable[Unit], name: str, reading: Reading) -> Iterator[Unit]:
    for number, (line, _) in enumerate(lines, start=1):
        shown = line.strip()
        if not shown:
            continue
        place = f"{name}, line {number}"
        try:
            record = json.loads(shown)
        except (ValueError, RecursionError) as error:
            found = shown[:_SHOWN] + ("…" if len(shown) > _SHOWN else "")
            raise InputError(f"{place}: expected a JSON object on each line, found {found!r} ({error}).") from error
        if not isinstance(record, dict):
            raise InputError(f"{place}: expected a JSON object on each line, found {_kind(record)}.")
        text = _text(record, place, reading)
        yield text, shown[:-1].rstrip() if reading.keep_records else "\n"


def _text(record: dict[str, Any], place: str, reading: Reading) -> str:
    """Return the text of a record after checking it."""
    if reading.column not in record:
        fields = ", ".join(map(repr, record)) or "no field"
        raise InputError(f"{place}: expected a field {reading.column!r}, found {fields}; name one with --column.")
    text = record[reading.column]
    if not isinstance(text, str):
        raise InputError(f"{place}: expected a string in {reading.column!r}, found {_kind(text)}.")
    clash = [field for field in reading.added if field in record] if reading.keep_records else []
    if clash:
        raise InputError(
            f"{place}: expected no field {clash[0]!r}, which the result needs, found one; "
            "rename it, or choose another --task."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can write half of a character as an escape
        if reading.errors == "strict":
            raise InputError(
                f"{place}: expected Unicode text in {reading.column!r}, found half a character (a lone surrogate) at "
                f"{error.start}; mend the file or read it with --errors replace."
            ) from error
        text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "a truth value", list: "a list", dict: "an object", str: "a string"}
    return names.get(type(value), f"{value!r:.{_SHOWN}}")


def _parquet_units(source: Source, reading: Reading, moved: Callable[[int], object]) -> Iterator[Unit]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert source.path is not None
    try:
        with pq.ParquetFile(source.path) as file:
            _check_column(file.schema_arrow, source.name, reading.column)
            row, rows, done = 0, file.metadata.num_rows, 0
            columns = None if reading.keep_records else [reading.column]
            for batch in file.iter_batches(_ROWS, columns=columns):
                for record in batch.to_pylist():
                    row += 1
                    place = f"{source.name}, row {row}"
                    text = _text(record, place, reading)
                    yield text, _as_json(record, place)[:-1] if reading.keep_records else "\n"
                moved(source.size * row // rows - done)
                done = source.size * row // rows
    except pa.ArrowException as error:
        reason = str(error).rstrip(".").splitlines()[0]
        raise InputError(f"{source.name}: expected a Parquet file, found damaged data ({reason}).") from error


def _check_column(schema: Any, name: str, column: str) -> None:
    if schema.names.count(column) != 1:
        fields = ", ".join(map(repr, schema.names)) or "no column"
        raise InputError(f"{name}: expected one column {column!r}, found {fields}; name one with --column.")
    kind = schema.field(column).type
    kind = str(getattr(kind, "value_type", kind))  # a dictionary of strings is as good
    if kind not in ("string", "large_string", "string_view"):
        raise InputError(f"{name}: expected strings in the column {column!r}, found {kind}.")


def _as_json(record: dict[str, Any], place: str) -> str:
    """Write a row of a table as JSON: times in ISO 8601, decimals as strings, what is no number as null."""

    def other(value: object) -> object:
        if isinstance(value, bytes):
            raise InputError(
                f"{place}: expected columns that JSON can hold, found bytes; leave that column out, or use another "
                "--format than jsonl, which keeps no columns."
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
