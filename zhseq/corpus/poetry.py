"""Readers of the upstream poetry formats: published files -> raw records, before any cleaning."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zhseq.errors import CorpusError, Message

POETRY_SOURCES = ("chinese-poetry", "poetry-source", "werneror-poetry")
"""Poetry archives, in the order in which they are read."""

SHI, CI, QU = "诗", "词", "曲"


@dataclass(frozen=True)
class RawPoem:
    """One upstream record.

    Attributes:
        id: Upstream id, or `source/path#number` (counted from 0 in the file) if upstream has none.
        title: Upstream title, unchanged; empty for a ci without a title.
        author: Upstream author, unchanged, may be empty.
        dynasty: Upstream name of the period, unchanged.
        kind: 诗, 词 or 曲, as classified upstream; `None` if only the title can show it.
        tune: Upstream tune name of a ci (`rhythmic`), or empty.
        text: Paragraphs joined by line feeds, unchanged.
    """

    id: str
    title: str
    author: str
    dynasty: str
    kind: str | None
    tune: str
    text: str


def read_source(name: str, folder: Path) -> list[RawPoem]:
    """Read every record of one poetry archive.

    Args:
        name: One of `POETRY_SOURCES`.
        folder: Directory of the unpacked archive.

    Raises:
        CorpusError: A file is missing, is not UTF-8, or has an invalid record; the message names file and line.
    """
    return [poem for record in _READERS[name](folder) for poem in _split_series(record)]


def read_skip_list(name: str, folder: Path) -> frozenset[str]:
    """Return the ids of the records that upstream suspects of being damaged."""
    if name != "chinese-poetry":
        return frozenset()
    ids: set[str] = set()
    for path in sorted((folder / "全唐诗" / "error").glob("*.json")):
        ids.update(_text(record, "id", path, number) for number, record in enumerate(_records(path)))
    return frozenset(ids)


def read_composed(name: str, folder: Path) -> dict[str, str]:
    """Return upstream's table of composed notations such as `{上休下鳥}` -> character, where exactly one is known."""
    path = folder / "全唐诗" / "表面结构字.json"
    if name != "chinese-poetry" or not path.exists():
        return {}
    table = load_json(path)
    if not isinstance(table, dict):
        raise CorpusError(
            "no_table_of_notations",
            "{path}: expected an object of notations, found {found}; get it again.",
            path=path,
            found=type(table).__name__,
        )
    return {
        notation: glyphs[0]["font"]
        for notation, glyphs in table.items()
        if len(glyphs) == 1 and len(glyphs[0].get("font", "")) == 1
    }


def read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises:
        CorpusError: The file is missing or not UTF-8; in the second case the message names the line.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(
            "corpus_file_missing", "{path}: expected a corpus file, found none; get the corpus again.", path=path
        ) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            "corpus_file_not_utf8",
            "{path}, line {line}: expected UTF-8 text, found byte 0x{byte:02x}; get it again.",
            path=path,
            line=line,
            byte=data[error.start],
        ) from None


def load_json(path: Path) -> Any:
    """Parse one JSON file.

    Raises:
        CorpusError: As `read_text`, or the text is not JSON; the message names the line.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise CorpusError(
            "corpus_file_not_json",
            "{path}, line {line}: expected JSON, found {problem!r}; get it again.",
            path=path,
            line=error.lineno,
            problem=error.msg,
        ) from None
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, or nested brackets
        raise CorpusError(
            "corpus_file_not_plain_json",
            "{path}: expected JSON, found content that cannot be parsed ({problem}); get it again.",
            path=path,
            problem=str(error),
        ) from None


_HEADING = re.compile(r"[【（(]?(其[一二三四五六七八九十]+)[】）)]?[：:。]?")
"""A paragraph that is only the number of a poem in a series, as in 【其一】."""


def _split_series(record: RawPoem) -> list[RawPoem]:
    """Split a record with a series of poems, each with its own heading, into single poems."""
    if "其" not in record.text:
        return [record]
    paragraphs = record.text.split("\n")
    headings = [(index, match.group(1)) for index, p in enumerate(paragraphs) if (match := _HEADING.fullmatch(p))]
    if not headings or headings[0][0] != 0:
        return [record]
    ends = [index for index, _ in headings[1:]] + [len(paragraphs)]
    return [
        replace(
            record,
            id=f"{record.id}#{number}",
            title=f"{record.title} {heading}",
            text="\n".join(paragraphs[start + 1 : end]),
        )
        for number, ((start, heading), end) in enumerate(zip(headings, ends, strict=True))
    ]


def _records(path: Path) -> list[Mapping[str, Any]]:
    """Parse a JSON file that must be a list of objects."""
    records = load_json(path)
    if not isinstance(records, list):
        raise CorpusError(
            "no_list_of_records",
            "{path}: expected a JSON list of records, found {found}; get it again.",
            path=path,
            found=type(records).__name__,
        )
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise _broken(path, number, Message("an_object", "an object"), record)
    return records


def _text(record: Mapping[str, Any], field: str, path: Path, number: int, default: str | None = None) -> str:
    """Return a text field of a record, or `default` if it is missing or null."""
    value = record.get(field)
    if value is None:
        value = default
    if not isinstance(value, str):
        raise _broken(path, number, Message("text_in_field", "text in field {field!r}", {"field": field}), value)
    return value


def _paragraphs(record: Mapping[str, Any], field: str, path: Path, number: int) -> str:
    """Return the paragraphs of a record joined by line feeds."""
    value = record.get(field)
    if not isinstance(value, list) or not all(isinstance(paragraph, str) for paragraph in value):
        expected = Message("texts_in_field", "a list of texts in field {field!r}", {"field": field})
        raise _broken(path, number, expected, value)
    return "\n".join(value)


def _broken(path: Path, number: int, expected: Message, found: object) -> CorpusError:
    """Create the error for an unexpected record, with its number, because line numbers are lost after parsing."""
    return CorpusError(
        "record_broken",
        "{path}, record {number}: expected {expected}, found {found}; get the corpus again or repair the file.",
        path=path,
        number=number + 1,
        expected=expected,
        found=type(found).__name__,
    )


def _files(folder: Path, pattern: str) -> list[Path]:
    """Return the matching files, sorted."""
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise CorpusError(
            "corpus_files_missing",
            "{folder}: expected files {pattern}, found none; run `zhseq corpus get` again.",
            folder=folder,
            pattern=pattern,
        )
    return paths


@dataclass(frozen=True)
class _JsonFormat:
    """Field names of a family of JSON files, and values common to all its records."""

    pattern: str
    dynasty: str
    kind: str | None
    text: str = "paragraphs"
    author: str | None = None


_CHINESE_POETRY = (
    _JsonFormat("全唐诗/poet.tang.*.json", "唐", SHI),
    _JsonFormat("全唐诗/唐诗补录.json", "唐", SHI),
    _JsonFormat("全唐诗/唐诗三百首.json", "唐", SHI),
    _JsonFormat("全唐诗/poet.song.*.json", "宋", SHI),
    _JsonFormat("宋词/*.json", "宋", CI),
    _JsonFormat("五代诗词/*/*.json", "五代", CI),
    _JsonFormat("元曲/*.json", "元", QU),
    _JsonFormat("诗经/*.json", "先秦", SHI, text="content", author="无名氏"),
    _JsonFormat("楚辞/*.json", "先秦", SHI, text="content"),
    _JsonFormat("曹操诗集/*.json", "三国", SHI, author="曹操"),
    _JsonFormat("纳兰性德/*.json", "清", None, text="para"),
)


def _read_chinese_poetry(folder: Path) -> Iterator[RawPoem]:
    """Read the archive `chinese-poetry`; `全唐诗/error` contains only copies and is read by `read_skip_list`."""
    for layout in _CHINESE_POETRY:
        for path in _files(folder, layout.pattern):
            stem = f"chinese-poetry/{path.relative_to(folder).as_posix()}"
            for number, record in enumerate(_records(path)):
                tune = _text(record, "rhythmic", path, number, "")
                title = _text(record, "title", path, number, "")
                yield RawPoem(
                    id=_text(record, "id", path, number, f"{stem}#{number}"),
                    title="" if title == tune else title,
                    author=layout.author or _text(record, "author", path, number),
                    dynasty=layout.dynasty,
                    # A collection of ci may contain a few shi, which have no tune.
                    kind=layout.kind if tune or layout.kind != CI else None,
                    tune=tune,
                    text=_paragraphs(record, layout.text, path, number),
                )
    yield from _read_qianjiashi(folder / "蒙学" / "qianjiashi.json")


def _read_qianjiashi(path: Path) -> Iterator[RawPoem]:
    """Read 千家诗: sections of poems, the dynasty in brackets before the author as in （唐）孟浩然."""
    book = load_json(path)
    sections = book.get("content") if isinstance(book, dict) else None
    if not isinstance(sections, list) or not all(isinstance(section, dict) for section in sections):
        raise CorpusError(
            "no_list_of_sections",
            "{path}: expected an object with a list of sections, found something else; get it again.",
            path=path,
        )
    number = 0
    for poem in (poem for section in sections for poem in section.get("content", [])):
        author = _text(poem, "author", path, number, "")
        dynasty, _, name = author.removeprefix("（").rpartition("）")
        # Poems with a common title are a list of sub-chapters in place of the paragraphs.
        parts = [part for part in poem.get("paragraphs", []) if isinstance(part, dict)]
        for part in parts or [poem]:
            yield RawPoem(
                id=f"chinese-poetry/蒙学/{path.name}#{number}",
                title=" ".join(filter(None, [_text(poem, "chapter", path, number, ""), part.get("subchapter")])),
                author=name,
                dynasty=dynasty or "宋",
                kind=SHI,
                tune="",
                text=_paragraphs(part, "paragraphs", path, number),
            )
            number += 1


def _read_poetry_source(folder: Path) -> Iterator[RawPoem]:
    """Read the archive `poetry-source`: `source/{诗,词,曲}/DYNASTY/*.base.json`."""
    for path in _files(folder, "source/*/*/*.base.json"):
        kind = path.parts[-3]
        for number, record in enumerate(_records(path)):
            yield RawPoem(
                id=_text(record, "id", path, number),
                title=_text(record, "title", path, number),
                author=_text(record, "authorName", path, number),
                dynasty=_text(record, "dynasty", path, number),
                kind=kind,
                tune="",
                text=_paragraphs(record, "content", path, number),
            )


_CSV_HEADER = ["题目", "朝代", "作者", "内容"]


def _read_werneror(folder: Path) -> Iterator[RawPoem]:
    """Read the archive `werneror-poetry`: one CSV file for each period."""
    for path in _files(folder, "*.csv"):
        rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
        try:
            for number, row in enumerate(rows):
                if number == 0 and row == _CSV_HEADER:
                    continue
                if number == 0 or len(row) != len(_CSV_HEADER):
                    raise CorpusError(
                        "csv_line_broken",
                        "{path}, line {line}: expected {part} {header}, found {count} fields; get the corpus again or "
                        "repair the file.",
                        path=path,
                        line=rows.line_num,
                        part=Message("the_fields", "the fields") if number else Message("the_header", "the header"),
                        header=",".join(_CSV_HEADER),
                        count=len(row),
                    )
                title, dynasty, author, text = row
                identity = f"werneror-poetry/{path.name}#{number - 1}"
                yield RawPoem(identity, title, author, dynasty, SHI, "", text)
        except csv.Error as error:
            raise CorpusError(
                "no_quoted_csv",
                "{path}, line {line}: expected quoted CSV, found: {reason}; get it again.",
                path=path,
                line=rows.line_num,
                reason=error,
            ) from None


_READERS: dict[str, Callable[[Path], Iterator[RawPoem]]] = {
    "chinese-poetry": _read_chinese_poetry,
    "poetry-source": _read_poetry_source,
    "werneror-poetry": _read_werneror,
}
