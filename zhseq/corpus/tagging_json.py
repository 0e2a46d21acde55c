"""Readers of JSON lines (zhseq's format, with texts or with references to them; CLUENER) and Hugging Face data sets."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from zhseq.corpus.registry import corpora_root, corpus_folder
from zhseq.corpus.tagging_base import Source, TaggedText, join_tokens, longest_first, without_bilou
from zhseq.errors import CorpusError, Message
from zhseq.text.tags import Span, detect_scheme, tags_to_spans

_WORDS = '{"start": 0, "end": 2, "pos": "n"}'
_ENTITIES = '{"start": 0, "end": 2, "label": "PER"}'
_HALF = re.compile("[\ud800-\udfff]")
_MUCH = 0.1  # share of records without annotation above which a file is rejected
_OTHER_NAMES = {"tag", "label", "type", "upos", "xpos"}
"""Fields that may have been meant as `pos`; a word that has one of them but no `pos` is an error."""
_TOKEN_COLUMNS = ("tokens", "words", "chars", "characters", "sentence")
_ENTITY_COLUMNS = ("ner_tags", "ner", "tags", "labels")
_WORD_COLUMNS = ("upos", "pos_tags", "pos", "xpos")


def read_jsonl(source: Source) -> Iterator[TaggedText]:
    """Read `{"text", "words": [{"start", "end", "pos"}], "entities": [{"start", "end", "label"}]}`, an object per line.

    Offsets are half-open, in code points. `words`, `entities` and `document` are optional; records with neither words
    nor entities are skipped and counted. Entities may also have doccano's format: `"label": [[0, 2, "PER"]]`, or
    `"entities": [{"start_offset": 0, "end_offset": 2, "label": "PER"}]`.
    """
    yield from _labelled(source, _objects(source))


def read_detached(source: Source) -> Iterator[TaggedText]:
    """Read annotation that is stored separately from its texts, which are in the corpus `raw`.

    Objects are as in `read_jsonl`, but with a reference instead of the text: `{"file", "line", "start", "end"}` for the
    characters from `start` to `end` (exclusive) of the line with the `line_key` `line` in a raw file.

    Raises:
        CorpusError: The raw file is missing, or does not contain the line.
    """
    wanted: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for index, record in _parsed(source):
        location = [record.get(name) for name in ("file", "line", "start", "end")]
        if [type(value) for value in location] != [str, str, int, int]:
            raise source.error(index, Message("a_place_of_text", 'an object with "file", "line", "start", "end"'))
        wanted[record["file"]].append((index, record))
    found: list[tuple[int, dict[str, Any]]] = []
    for file, records in wanted.items():
        lines = _lines_of(file, {record["line"] for _, record in records})
        for index, record in records:
            if (line := lines.get(record["line"])) is None:
                expected = Message("a_line_of_raw", "a line of {file} in the corpus raw", {"file": file})
                raise source.error(index, expected)
            if not 0 <= record["start"] < record["end"] <= len(line):
                expected = Message("a_part_of_line", "a part of a line of {count} characters", {"count": len(line)})
                raise source.error(index, expected)
            record["text"] = line[record["start"] : record["end"]]
            found.append((index, record))
    yield from _labelled(source, sorted(found, key=lambda pair: pair[0]))


def line_key(line: str) -> str:
    """Return the key of a line of raw text: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(line.encode()).hexdigest()[:16]


def _lines_of(file: str, keys: set[str]) -> dict[str, str]:
    """Return the lines of a raw file with the given keys, by key."""
    path = corpus_folder("raw", corpora_root()) / Path(file).name
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError("unreadable_raw", "{path}: cannot be read ({reason}).", path=path, reason=error) from error
    return {key: line for line in text.split("\n") if (key := line_key(line)) in keys}


def _labelled(source: Source, objects: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[TaggedText]:
    """Read words and entities from JSON objects with texts."""
    records = left_out = 0
    for index, record in objects:
        text = record["text"]
        records += 1
        _from_doccano(record)
        if record.get("words") is None and record.get("entities") is None:
            left_out += 1
            if left_out == 1:
                first = index
            continue
        lists = []
        for key, label, example in (("words", "pos", _WORDS), ("entities", "label", _ENTITIES)):
            items = record.get(key)
            lists.append(None if items is None else _spans(source, index, text, (key, label, example), items))
        document = record.get("document")
        name = document if isinstance(document, str) else source.document(index)
        entities = None if lists[1] is None else longest_first(lists[1], source.repairs)
        yield TaggedText(text, None if lists[0] is None else tuple(lists[0]), entities, name)
    if left_out:
        if left_out > _MUCH * records:
            raise source.error(first, Message("labels_beside_text", '"words" or "entities" in addition to "text"'))
        source.notes.append(
            Message(
                "records_without_labels",
                "{name}: {count} of {total} records have neither words nor entities and are skipped, "
                "the first in line {line}",
                {"name": source.name, "count": left_out, "total": records, "line": first + 1},
            )
        )


def _from_doccano(record: dict[str, Any]) -> None:
    """Convert entities in doccano's format to `entities` of zhseq's format, in place."""
    for key in ("label", "labels"):
        marks = record.get(key)
        if "entities" not in record and isinstance(marks, list):
            shaped = [mark for mark in marks if isinstance(mark, list) and len(mark) == 3]
            if len(shaped) == len(marks):
                record["entities"] = [{"start": start, "end": end, "label": label} for start, end, label in shaped]
    marks = record.get("entities")
    for mark in marks if isinstance(marks, list) else ():
        if isinstance(mark, dict) and "start_offset" in mark and "start" not in mark:
            mark.update(start=mark["start_offset"], end=mark.get("end_offset"))


def _spans(source: Source, index: int, text: str, kind: tuple[str, str, str], items: Any) -> list[Span]:
    """Read a list of spans, sorted by start, and validate them against the text."""
    key, label, example = kind
    spans = []
    if not isinstance(items, list):
        expected = Message(
            "a_list_of_spans",
            '"{key}" to be a list of objects like {example}',
            {"key": key, "example": example},
        )
        raise source.error(index, expected)
    for item in items:
        try:
            span = Span(item["start"], item["end"], item.get(label) or "")
            right = type(span.start) is type(span.end) is int
            right = right and 0 <= span.start < span.end <= len(text) and isinstance(span.label, str)
            right = right and (label in item or (key == "words" and not _OTHER_NAMES & item.keys()))
            right = right and (key == "words" or span.label != "")
            right = right and item.get("text", text[span.start : span.end]) == text[span.start : span.end]
        except (TypeError, KeyError, AttributeError):
            right = False
        if not right:
            expected = Message(
                "spans_that_fit",
                '"{key}" to contain objects like {example} that fit the text, not {item}',
                {"key": key, "example": example, "item": item},
            )
            raise source.error(index, expected)
        spans.append(span)
    spans.sort(key=lambda span: span.start)
    if key == "words" and any(a.end > b.start for a, b in pairwise(spans)):
        raise source.error(index, Message("overlapping_words", "words that do not overlap"))
    return spans


def read_cluener(source: Source) -> Iterator[TaggedText]:
    """Read `{"text", "label": {TYPE: {MENTION: [[START, END]]}}}`, one object per line, with inclusive ends."""
    for index, record in _objects(source):
        text, found = record["text"], []
        try:
            for label, mentions in record.get("label", {}).items():
                for mention, positions in mentions.items():
                    for start, end in positions:
                        if not 0 <= start <= end < len(text) or text[start : end + 1] != mention:
                            raise ValueError(mention)
                        found.append(Span(start, end + 1, label))
        except (AttributeError, TypeError, ValueError) as error:
            expected = Message(
                "labels_of_cluener",
                '"label" like {{"name": {{"叶老桂": [[9, 11]]}}}} with ends inclusive, fitting the text',
            )
            raise source.error(index, expected) from error
        yield TaggedText(text, None, longest_first(found, source.repairs), source.document(index))


def _objects(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """Parse non-blank lines as JSON objects with a valid text; yield line index and object."""
    for index, record in _parsed(source):
        if not isinstance(record.get("text"), str):
            raise source.error(index, Message("an_object_with_text", 'a JSON object with "text"'))
        if _HALF.search(record["text"]):
            expected = Message("whole_characters", '"text" without lone surrogates such as \\ud83d')
            raise source.error(index, expected)
        yield index, record


def _parsed(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """Parse non-blank lines as JSON objects; yield line index and object."""
    for index, line in enumerate(source.lines):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            expected = Message(
                "a_json_object",
                "a JSON object ({reason} at column {column})",
                {"reason": error.msg, "column": error.colno},
            )
            raise source.error(index, expected) from error
        except (
            ValueError,
            RecursionError,
        ) as error:  # a number with thousands of digits, or thousands of nested brackets
            expected = Message("a_plainer_json_object", "a JSON object ({reason})", {"reason": str(error)})
            raise source.error(index, expected) from error
        if not isinstance(record, dict):
            raise source.error(index, Message("an_object_with_text", 'a JSON object with "text"'))
        yield index, record


def read_dataset(name: str, source: Source) -> Iterator[TaggedText]:
    """Read a Hugging Face data set: a folder written by `save_to_disk`, a folder of data files, or a name on the hub.

    Args:
        name: Folder or hub name, followed by `:SPLIT` if the split is not train.
        source: Counts the repairs.

    Raises:
        CorpusError: The data set cannot be loaded, or has no columns of tokens and tags.
    """
    dataset = _load(name)
    columns = dataset.column_names
    tokens = next((column for column in _TOKEN_COLUMNS if column in columns), None)
    entities = next((column for column in _ENTITY_COLUMNS if column in columns), None)
    words = next((column for column in _WORD_COLUMNS if column in columns), None)
    if tokens is None or (entities is None and words is None):
        raise CorpusError(
            "missing_columns",
            "{name}: expected a column of tokens ({tokens}) and one of tags ({tags}), found {found}; rename them.",
            name=name,
            tokens=", ".join(_TOKEN_COLUMNS),
            tags=", ".join((*_ENTITY_COLUMNS, *_WORD_COLUMNS)),
            found=", ".join(columns),
        )
    names = {column: _label_names(dataset.features[column]) for column in (entities, words) if column}
    for column, labels in names.items():
        tag = next((tag for row in dataset[column] for tag in row), "")
        if labels is None and not isinstance(tag, str):
            raise CorpusError(
                "numbers_without_names",
                "{name}, column {column}: expected tags, or numbers with a ClassLabel that names them, found {found}; "
                "cast the column to Sequence(ClassLabel(names=[...])).",
                name=name,
                column=column,
                found=repr(tag),
            )
    scheme = None
    if entities:
        kinds = names[entities] or sorted({tag for row in dataset[entities] for tag in row})
        scheme = _scheme(name, entities, without_bilou(kinds))
    for index, row in enumerate(dataset):
        spans = {}
        pieces = join_tokens(row[tokens]) if any(len(token) > 1 for token in row[tokens]) else row[tokens]
        for column, labels in names.items():
            tags = [labels[tag] for tag in row[column]] if labels else row[column]
            tags = without_bilou(tags) if column == entities else tags
            if len(tags) != len(pieces):
                raise CorpusError(
                    "other_number_of_tags",
                    "{name}, row {row}: expected {wanted} tags in {column}, found {found}.",
                    name=name,
                    row=index,
                    wanted=len(pieces),
                    column=column,
                    found=len(tags),
                )
            found = tags_to_spans(tags, scheme, source.repairs) if column == entities and scheme else _each(tags)
            spans[column] = _in_characters(found, row[tokens], pieces)
        yield TaggedText("".join(pieces), spans.get(words or ""), spans.get(entities or ""), source.document(index))


def _load(name: str) -> Any:
    """Load one split of a data set."""
    import datasets  # a slow import (a second), which readers of files should not pay for

    location, colon, split = name.rpartition(":")
    location, split = (location, split) if colon else (name, "train")
    try:
        folder = Path(location)
        stored = (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()
        loaded = datasets.load_from_disk(location) if stored else datasets.load_dataset(location)
    except Exception as error:  # datasets raises the errors of its many loaders
        raise CorpusError(
            "no_data_set",
            "{location}: expected a file, a known corpus or a data set, and none could be loaded ({error}).",
            location=location,
            error=_first_line(error),
        ) from error
    if not isinstance(loaded, Mapping):
        return loaded
    if split not in loaded:
        raise CorpusError(
            "unknown_split_of_data",
            "{location}: expected a split, one of {known}, found {split}; write NAME:SPLIT.",
            location=location,
            known=", ".join(loaded),
            split=repr(split),
        )
    return loaded[split]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error).strip() else repr(error)


def _label_names(feature: Any) -> list[str] | None:
    """Return the label names of a column of class labels, or None for a column of strings."""
    inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) else feature)
    names = getattr(inner, "names", None)
    return None if names is None else list(names)


def _scheme(name: str, column: str, kinds: Sequence[str]) -> str:
    try:
        return detect_scheme(kinds)
    except ValueError as error:
        raise CorpusError(
            "mixed_schemes_in_column", "{name}, column {column}: {error}.", name=name, column=column, error=error
        ) from error


def _each(tags: Sequence[str]) -> list[Span]:
    """Return a span for every tag."""
    return [Span(index, index + 1, tag) for index, tag in enumerate(tags)]


def _in_characters(spans: Iterable[Span], tokens: Sequence[str], pieces: Sequence[str]) -> tuple[Span, ...]:
    """Convert spans of tokens to spans of characters."""
    ends = [0]
    for piece in pieces:
        ends.append(ends[-1] + len(piece))
    begins = [end - len(token) for token, end in zip(tokens, ends[1:], strict=True)]
    return tuple(Span(begins[span.start], ends[span.end], span.label) for span in spans)
