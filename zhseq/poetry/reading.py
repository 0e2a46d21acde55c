"""Read verse from texts and files: lines, marked positions, the poems of a file with their headings.

A file may contain one poem or many, as plain text or JSON. A poem may have a heading with title and author; quotation
marks and remarks in brackets are left out. Imports no torch.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from zhseq.errors import InputError, Message
from zhseq.poetry.forms import MARKS, QUOTES, form_of, not_chinese
from zhseq.poetry.prosody.books import standard_name
from zhseq.poetry.prosody.patterns import TunePattern
from zhseq.text.normalize import codepoints, is_han, normalize

BLANK = "?"
"""A marked position after normalisation; in the user's text `？`, `?` or `□`."""
_SEPARATORS = frozenset(f"|{MARKS}")
BETWEEN_LINES = re.compile(rf"[{re.escape(''.join(sorted(_SEPARATORS)))}\s]+")
"""Separators between lines of verse: punctuation, bars and white space."""

_REGULAR_LENGTHS = (5, 7)

_UNSEEN = re.compile("[\u200b-\u200d\u2060\ufeff]")
"""Zero-width characters, which are often copied from web pages."""
_REMARK = re.compile(r"[（(\[［【〔][^（()）\[\]［］【】〔〕\n]*[）)\]］】〕]")
_NUMBER = re.compile(r"^\s*\d+\s*[.．、)）]\s*")
_LABEL = re.compile(r"^\s*(?:题目|标题|题|诗名|词牌|作者|朝代)\s*[:：]\s*")
_QUOTED_TITLE = re.compile(r"《([^《》]+)》")
_DYNASTY = re.compile(
    r"[（(\[［【〔]?(?:先秦|两汉|汉|魏晋|三国|魏|晋|南北朝|南朝|北朝|隋|唐|五代|北宋|南宋|宋|金|元|明|清|近代|现代)[代朝]?"
    r"(?:[）)\]］】〕]\s*[·•・]?|\s*[·•・:：]|\s+)\s*"
)
_AUTHOR = re.compile(r"[\u3400-\u9fff]{2,4}")
_BETWEEN_PARTS = re.compile(r"[·•・.\s]+")
_CLOSING = "。！？.!?"
_LONGEST_NAME = 4  # characters of a person's name: longer rows of equal length are verse
_MOST_HEADING = 3  # rows of a heading: title, author, a date or the like
_JSON = re.compile(r"\s*(?:\[\s*)?\{")


def split_lines(text: str) -> list[str]:
    """Split a text at its punctuation and white space into lines."""
    return [line for line in BETWEEN_LINES.split(text) if line]


def read_lines(text: str, lengths: Sequence[int] = ()) -> list[str]:
    """Return the lines of a poem, normalised, without punctuation, marked positions as `BLANK`.

    A question mark after a full line is punctuation, else a marked position.

    Args:
        text: The poem.
        lengths: Characters of each line, if known; else lines of 5 and of 7 are tried.

    Raises:
        InputError: The text contains a character that is neither Chinese nor a separator.
    """
    folded = fold_verse(text)
    if lengths:
        return cut_lines(folded, lengths)
    readings = [cut_lines(folded, (length,) * len(folded)) for length in _REGULAR_LENGTHS]
    return next((lines for lines in readings if regular_length(lines)), max(readings, key=_count_most_common_length))


def fold_verse(text: str) -> str:
    """Return the text of a poem, normalised, with its punctuation, marked positions as `BLANK`.

    Raises:
        InputError: The text contains a character that is neither Chinese nor a separator.
    """
    folded = normalize(_UNSEEN.sub("", text)).replace("□", BLANK).replace("？", BLANK)
    for character, han in zip(folded, is_han(codepoints(folded)).tolist(), strict=True):
        if not han and not _is_separator(character):
            raise not_chinese(Message("this_text", "this text"), character)
    return folded


def cut_lines(folded: str, lengths: Sequence[int]) -> list[str]:
    """Cut the result of `fold_verse` at its punctuation; a `BLANK` after a full line is punctuation, too."""
    lines = [""]
    for character in folded:
        full = len(lines) <= len(lengths) and len(lines[-1]) == lengths[len(lines) - 1]
        if full if character == BLANK else _is_separator(character):
            lines.extend([""] if lines[-1] else [])
        elif full and lines[-1].endswith(BLANK):  # that `BLANK` was a character of the line, not a pause
            lines.append(character)
        else:
            lines[-1] += character
    return [line for line in lines if line]


def _is_separator(character: str) -> bool:
    """Return whether a character separates lines."""
    return character in _SEPARATORS or character.isspace()


def regular_length(lines: Sequence[str]) -> int:
    """Return the length of the lines if there are 4 or 8 and all have 5 or all have 7 characters, else 0."""
    lengths = {len(line) for line in lines}
    return next(iter(lengths)) if len(lines) in (4, 8) and lengths in ({5}, {7}) else 0


def _count_most_common_length(lines: Sequence[str]) -> int:
    """Return the number of lines of the most frequent length."""
    return max(chain(Counter(map(len, lines)).values(), (0,)))


@dataclass(frozen=True)
class WrittenPoem:
    """A poem read from a text or file."""

    verse: str
    """Its rows with punctuation, without heading, quotation marks and remarks."""
    title: str = ""
    author: str = ""

    @property
    def tune(self) -> str:
        """The first part of the title, which is the tune if the poem is a ci (水调歌头·明月几时有)."""
        return _BETWEEN_PARTS.split(self.title)[0]


class _Shapes:
    """The line lengths of tunes as a container; a linear search takes a fraction of the time to build a set."""

    def __init__(self, tunes: Mapping[str, TunePattern]) -> None:
        self._tunes = tunes.values()

    def __contains__(self, lengths: object) -> bool:
        return any(
            tune.line_lengths == lengths or any(variant.line_lengths == lengths for variant in tune.variants)
            for tune in self._tunes
        )


def read_poem(text: str, tunes: Mapping[str, TunePattern] | None = None) -> WrittenPoem:
    """Read a text that should be one poem; the verse of several poems is joined.

    Args:
        text: The poem, optionally with a heading.
        tunes: Known tunes by name.

    Raises:
        InputError: The text is invalid JSON or a record without verse.
    """
    if _is_whole([text], ()):
        return WrittenPoem(text)
    poems = read_poems(text, "text", tunes) if text.strip() else [WrittenPoem(text)]
    return WrittenPoem("\n".join(poem.verse for poem in poems), poems[0].title, poems[0].author)


def named_tune(poem: WrittenPoem, tunes: Mapping[str, TunePattern]) -> str:
    """Return the name of the tune in the heading of a poem; empty if there is none or the poem does not follow it.

    Regulated poems were also sung and may have the name of a tune: a quatrain with lines of equal length is such a
    poem (浪淘沙, 江南春), and eight lines of equal length follow the tune only if a pattern has these lengths (瑞鹧鸪).
    """
    name = normalize(poem.tune)
    tune = tunes.get(name) or tunes.get(standard_name(name))
    if tune is None:
        return ""
    try:
        lengths = tuple(map(len, read_lines(poem.verse)))
    except InputError:
        return ""
    regular = len(lengths) in (4, 8) and len(set(lengths)) == 1
    if regular and (len(lengths) == 4 or lengths not in {each.line_lengths for each in (tune, *tune.variants)}):
        return ""
    return tune.name


def read_poems(text: str, path: str, tunes: Mapping[str, TunePattern] | None = None) -> list[WrittenPoem]:
    """Read the poems of a file: JSON as used by collections of poems, or verse with or without headings.

    Poems are separated by their headings, or by blank lines between parts that are regulated poems.

    Args:
        text: The text of the file.
        path: Name of the file, for messages.
        tunes: Known tunes by name; their shapes distinguish the stanzas of a ci from poems.

    Raises:
        InputError: The file is empty, or a JSON record is invalid.
    """
    text = _UNSEEN.sub("", text)
    if not text.strip():
        raise InputError("empty_file", "{path} is empty; expected a poem, one couplet or line per row", path=path)
    if _JSON.match(text):
        return [_poem_of(record, location) for record, location in _json_records(text, path)]
    tunes = tunes or {}
    shapes = _Shapes(tunes)
    rows = [_bare(row) for row in re.split("\r\n|\r|\n", text)]
    poems: list[WrittenPoem] = []
    above: list[str] = []
    for heading, verse in chain.from_iterable(_cut_block(block, shapes) for block in _blocks(rows)):
        above += heading
        if not verse:
            continue
        if above or not poems or _parts(poems[-1], verse, tunes, shapes):
            poems.append(WrittenPoem("\n".join(verse), *_title_and_author(above)))
        else:
            poems[-1] = WrittenPoem("\n".join([poems[-1].verse, *verse]), poems[-1].title, poems[-1].author)
        above = []
    return [_without_preface(poem, tunes, shapes) for poem in poems] or [WrittenPoem("\n".join(filter(None, rows)))]


def _bare(row: str) -> str:
    """Return a row without its number and, if it has punctuation, without quotation marks and remarks."""
    row = _NUMBER.sub("", row).strip()
    if _is_marked(row):
        row = _REMARK.sub("", row) or row
        return "".join(character for character in row if character not in QUOTES)
    return row


def _is_marked(row: str) -> bool:
    """Return whether a row has punctuation of verse outside labels, remarks and quoted titles."""
    rest = _LABEL.sub("", _REMARK.sub("", _QUOTED_TITLE.sub("", row)))
    return any(character in _SEPARATORS for character in rest)


def _blocks(rows: Iterable[str]) -> Iterator[list[str]]:
    """Yield blocks of rows separated by blank rows."""
    block: list[str] = []
    for row in chain(rows, ("",)):
        if row:
            block.append(row)
        elif block:
            yield block
            block = []


def _cut_block(rows: list[str], shapes: Container[tuple[int, ...]]) -> list[tuple[list[str], list[str]]]:
    """Cut a block of rows into poems: for each the rows of its heading and those of its verse."""
    if _is_whole(rows, shapes):
        return [([], rows)]
    if len(rows) > 2 and all(_is_whole([row], ()) for row in rows):  # one poem per row
        return [([], [row]) for row in rows]
    if not any(map(_is_marked, rows)):
        return [_cut_unmarked(rows, shapes)]
    lengths = Counter(len(line) for row in rows if _is_marked(row) for line in split_lines(row))
    usual = lengths.most_common(1)[0][0] if lengths else 0
    parts: list[tuple[list[str], list[str]]] = [([], [])]
    for row in rows:
        heading, verse = parts[-1]
        is_verse = _is_marked(row) or (bool(verse) and all(len(line) == usual for line in split_lines(row)))
        if is_verse:
            verse.append(row)
        elif not verse:
            heading.append(row)
        elif verse[-1][-1] in _CLOSING:
            parts.append(([row], []))
        else:
            verse.append(row)
    return parts


def _cut_unmarked(rows: list[str], shapes: Container[tuple[int, ...]]) -> tuple[list[str], list[str]]:
    """Return heading and verse of rows without punctuation."""
    for count in range(1, min(_MOST_HEADING, len(rows) - 1) + 1):
        if _is_whole(rows[count:], shapes):
            return rows[:count], rows[count:]
    even = len(rows) > 1 and len(set(map(len, rows))) == 1 and len(rows[0]) > _LONGEST_NAME
    if len(rows) <= _MOST_HEADING and not even:
        return rows, []
    count = next((number for number, row in enumerate(rows) if not _is_named(row)), 0)
    return rows[:count], rows[count:]


def _without_preface(
    poem: WrittenPoem, tunes: Mapping[str, TunePattern], shapes: Container[tuple[int, ...]]
) -> WrittenPoem:
    """Remove the first row if only the others are a poem: it is a preface on when and why the poem was written."""
    first, _, rest = poem.verse.partition("\n")
    if not poem.title or _is_whole([first, rest], shapes):
        return poem
    tune = tunes.get(normalize(poem.tune))
    sizes = {sum(each.line_lengths) for each in (tune, *tune.variants)} if tune is not None else set()
    if _is_whole([rest], shapes) or sum(map(len, split_lines(normalize(rest)))) in sizes:
        return WrittenPoem(rest, poem.title, poem.author)
    return poem


def _is_named(row: str) -> bool:
    """Return whether a row is marked as a title or an author, whatever its length."""
    return bool(_QUOTED_TITLE.search(row) or _LABEL.match(row) or _DYNASTY.match(row) or re.search("[·•・]", row))


def _is_whole(rows: Sequence[str], shapes: Container[tuple[int, ...]]) -> bool:
    """Return whether rows have the shape of a regulated poem or one of `shapes`."""
    try:
        lines = read_lines("\n".join(rows))
    except InputError:
        return False
    return bool(regular_length(lines)) or tuple(map(len, lines)) in shapes


def _parts(
    before: WrittenPoem, verse: list[str], tunes: Mapping[str, TunePattern], shapes: Container[tuple[int, ...]]
) -> bool:
    """Return whether verse after a blank line is a new poem rather than the next stanza of the one before."""
    whole = [*before.verse.split("\n"), *verse]
    if before.tune in tunes:
        return False
    if _is_whole([before.verse], ()) and _is_whole(verse, ()):
        return True
    return not _is_whole(whole, shapes) and _is_whole([before.verse], shapes) and _is_whole(verse, shapes)


def _title_and_author(rows: Sequence[str]) -> tuple[str, str]:
    """Return title and author from the rows of a heading."""
    title, author = "", ""
    for row in rows:
        names = _LABEL.match(row)
        found, rest = _QUOTED_TITLE.search(row), _LABEL.sub("", row)
        if found and not title:
            title, rest = found[1].strip(), rest.replace(found[0], " ")
        dynasty = _DYNASTY.search(rest)
        rest = _DYNASTY.sub(" ", rest) if dynasty else rest
        words = _REMARK.sub(" ", rest).replace("—", " ").split()
        if not words:
            continue
        is_author = bool(title) or (names is not None and "作者" in names[0])
        if not title and not is_author:
            # 静夜思 李白: the last of several words names the author, unless the first is a tune with its subject.
            names_author = len(words) > 1 and _AUTHOR.fullmatch(words[-1]) is not None
            author = words.pop() if names_author else author
            title = " ".join(words)
        elif is_author and not author and _AUTHOR.fullmatch(words[-1]):
            author = words[-1]
    return title, author


# Poems as records: one per line, or a file of JSON records.

_TEXT_FIELDS = ("content", "paragraphs", "para", "text")
_TITLE_FIELDS = ("rhythmic", "title", "chapter")


def _json_records(text: str, path: str) -> Iterator[tuple[object, str]]:
    """Yield the JSON records of a file, which is a list or has one per line, with their locations."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("["):
            raise _broken_record(path, Message("no_json", "is not valid JSON ({error})", {"error": error})) from error
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                location = f"{path}, line {number}"
                yield _loads(line, location), location
        return
    records = whole if isinstance(whole, list) else [whole]
    for number, record in enumerate(records, start=1):
        yield record, f"{path}, record {number}"
    if not records:
        raise InputError("empty_file", "{path} is empty; expected a poem, one couplet or line per row", path=path)


def _loads(record: str, location: str) -> object:
    try:
        return json.loads(record)
    except (ValueError, RecursionError) as error:
        raise _broken_record(location, Message("no_json", "is not valid JSON ({error})", {"error": error})) from error


def _broken_record(location: str, fault: Message) -> InputError:
    return InputError(
        "broken_record",
        '{location}: the record {fault}; expected {{"content": "line|line|...", "form": "七绝"}}',
        location=location,
        fault=fault,
    )


def _poem_of(record: object, location: str) -> WrittenPoem:
    """Return the poem of a record: its text or list of rows (`content`, `paragraphs` etc.), title and author."""
    fields: dict[str, Any] = record if isinstance(record, dict) else {}
    content = next((fields[name] for name in _TEXT_FIELDS if name in fields), None)
    if content is None:
        raise _broken_record(location, Message("no_content", "has no 'content'"))
    rows = [content] if isinstance(content, str) else content
    names = [fields.get(name, "") for name in (*_TITLE_FIELDS, "author")]
    if not isinstance(rows, list) or not all(isinstance(text, str) for text in (*rows, *names)):
        raise InputError("fields_of_record", "{location}: 'content' and 'form' must be strings", location=location)
    title = " ".join(dict.fromkeys(filter(None, names[:-1])))
    return WrittenPoem("\n".join(map(_bare, rows)), title, names[-1])


def read_records(lines: Iterable[str], path: str) -> Iterator[tuple[list[str], str]]:
    """Yield lines and form of the poems of a file with one poem per line, as `read_record` returns them.

    Args:
        lines: The lines of the file; blank lines are skipped.
        path: Name of the file, for messages.

    Raises:
        InputError: A line is not a poem, or the file is a table; the message names the location.
    """
    lines = iter(lines)
    if path.lower().endswith((".csv", ".tsv")):
        raise _no_columns(path)
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith("[") and _JSON.match(text + "{"):  # a file that is one list of records
            for record, location in _json_records("\n".join([line, *lines]), path):
                yield _lines_and_form(record, location)
        elif text:
            yield read_record(text, f"{path}, line {number}")


def read_record(record: str, location: str) -> tuple[list[str], str]:
    """Read a poem from one line of a file: plain text with punctuation, or JSON with `content` and optionally `form`.

    Args:
        record: The line; lines of the poem are separated by `|` or punctuation.
        location: File and line, for messages.

    Returns:
        The normalised lines, and the form: the one given, else the regulated shape of the lines, else "".

    Raises:
        InputError: The line is neither, or has several columns.
    """
    if "\t" in record.strip() and not record.lstrip().startswith("{"):
        raise _no_columns(location)
    return _lines_and_form(_loads(record, location) if record.lstrip().startswith("{") else record, location)


def _no_columns(location: str) -> InputError:
    return InputError(
        "columns_of_poems",
        "{location}: expected only one poem per line, found columns of a table; to give title and "
        'author, write records: {{"title": "...", "author": "...", "content": "..."}}',
        location=location,
    )


def _lines_and_form(record: object, location: str) -> tuple[list[str], str]:
    """Return the result of `read_record` for plain text or a parsed JSON record."""
    form = record.get("form", "") if isinstance(record, dict) else ""
    content = _bare(record) if isinstance(record, str) else _poem_of(record, location).verse
    if not isinstance(form, str):
        raise InputError("fields_of_record", "{location}: 'content' and 'form' must be strings", location=location)
    lines = split_lines(normalize(content))
    if not is_han(codepoints("".join(lines))).any():
        raise InputError("no_verse_at", "{location}: there is no Chinese character in this poem", location=location)
    return lines, normalize(form) or form_of(lines) or ""
