"""Read verse from texts and files: lines, marked places, the poems of a file with what stands above them.

A file may hold one poem or many, plain or as JSON. Above a poem may stand its title and its author; quotation marks and
remarks in brackets are left out. Imports no torch.
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
"""A marked place, after normalisation; in the user's text `？`, `?` or `□`."""
_SEPARATORS = frozenset(f"|{MARKS}")
BETWEEN_LINES = re.compile(rf"[{re.escape(''.join(sorted(_SEPARATORS)))}\s]+")
"""What may stand between two lines of verse: punctuation, bars and white space."""

_REGULAR_LENGTHS = (5, 7)

_UNSEEN = re.compile("[\u200b-\u200d\u2060\ufeff]")
"""Characters of no width, which come along when people copy from pages."""
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
_LONGEST_NAME = 4  # of a person: even rows that are longer are verse
_MOST_HEADING = 3  # rows above a poem: title, author, a date or the like
_JSON = re.compile(r"\s*(?:\[\s*)?\{")


def split_lines(text: str) -> list[str]:
    """Split a text at its punctuation and white space into lines."""
    return [line for line in BETWEEN_LINES.split(text) if line]


def read_lines(text: str, lengths: Sequence[int] = ()) -> list[str]:
    """Return the lines of a poem, normalised, without punctuation, marked places as `BLANK`.

    A question mark is punctuation where a line is full, else a marked place.

    Args:
        text: The poem.
        lengths: Characters of each line, if they are known; else lines of 5 and of 7 are tried.

    Raises:
        InputError: The text holds something that belongs into no poem.
    """
    folded = fold_verse(text)
    if lengths:
        return cut_lines(folded, lengths)
    readings = [cut_lines(folded, (length,) * len(folded)) for length in _REGULAR_LENGTHS]
    return next((lines for lines in readings if regular_length(lines)), max(readings, key=_count_most_common_length))


def fold_verse(text: str) -> str:
    """Return the text of a poem normalised, marked places as `BLANK`, its punctuation in place.

    Raises:
        InputError: The text holds something that belongs into no poem.
    """
    folded = normalize(_UNSEEN.sub("", text)).replace("□", BLANK).replace("？", BLANK)
    for character, han in zip(folded, is_han(codepoints(folded)).tolist(), strict=True):
        if not han and not _is_separator(character):
            raise not_chinese(Message("this_text", "this text"), character)
    return folded


def cut_lines(folded: str, lengths: Sequence[int]) -> list[str]:
    """Cut what `fold_verse` returns at its punctuation; a `BLANK` is punctuation where a line has its length."""
    lines = [""]
    for character in folded:
        full = len(lines) <= len(lengths) and len(lines[-1]) == lengths[len(lines) - 1]
        if full if character == BLANK else _is_separator(character):
            lines.extend([""] if lines[-1] else [])
        elif full and lines[-1].endswith(BLANK):  # the mark stood for a character and not for a pause
            lines.append(character)
        else:
            lines[-1] += character
    return [line for line in lines if line]


def _is_separator(character: str) -> bool:
    """Return whether a character separates lines."""
    return character in _SEPARATORS or character.isspace()


def regular_length(lines: Sequence[str]) -> int:
    """Return the length of the lines if they are 4 or 8 and all of 5 or 7 characters, else 0."""
    lengths = {len(line) for line in lines}
    return next(iter(lengths)) if len(lines) in (4, 8) and lengths in ({5}, {7}) else 0


def _count_most_common_length(lines: Sequence[str]) -> int:
    """Return the number of lines of the most frequent length."""
    return max(chain(Counter(map(len, lines)).values(), (0,)))


@dataclass(frozen=True)
class WrittenPoem:
    """A poem as somebody has it."""

    verse: str
    """Its rows with their punctuation, without what stands above them, quotation marks and remarks."""
    title: str = ""
    author: str = ""

    @property
    def tune(self) -> str:
        """What stands first in the title, which is the tune if the poem is a ci (水调歌头·明月几时有)."""
        return _BETWEEN_PARTS.split(self.title)[0]


class _Shapes:
    """The line lengths of tunes. Looking through them takes a fraction of the time of a set of them."""

    def __init__(self, tunes: Mapping[str, TunePattern]) -> None:
        self._tunes = tunes.values()

    def __contains__(self, lengths: object) -> bool:
        return any(
            tune.line_lengths == lengths or any(variant.line_lengths == lengths for variant in tune.variants)
            for tune in self._tunes
        )


def read_poem(text: str, tunes: Mapping[str, TunePattern] | None = None) -> WrittenPoem:
    """Read a text that should be one poem; of several, all verse is returned as if it were one.

    Args:
        text: The poem, maybe below its title and author.
        tunes: Those that are known, by name.

    Raises:
        InputError: It is a damaged record of JSON.
    """
    if _is_whole([text], ()):
        return WrittenPoem(text)
    poems = read_poems(text, "text", tunes) if text.strip() else [WrittenPoem(text)]
    return WrittenPoem("\n".join(poem.verse for poem in poems), poems[0].title, poems[0].author)


def named_tune(poem: WrittenPoem, tunes: Mapping[str, TunePattern]) -> str:
    """Return the name of the tune that stands above a poem; an empty string if it is none, or not that of this poem.

    Regulated poems were sung, too, and may be called by the song: a quatrain of even lines is such a poem (浪淘沙,
    江南春), and one of eight lines follows the tune if that has its lines (瑞鹧鸪).
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
    """Read the poems of a file: JSON as collections of poems have it, or verse with or without titles.

    Poems are parted by what stands above them, or by blank lines where each part has the shape of a regulated poem.

    Args:
        text: The text of the file.
        path: Its name, for messages.
        tunes: Those that are known, by name; they tell the stanzas of a ci from poems.

    Raises:
        InputError: There is no verse in it, or its JSON is damaged.
    """
    text = _UNSEEN.sub("", text)
    if not text.strip():
        raise InputError("empty_file", "{path} is empty; expected a poem, one couplet or line a row", path=path)
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
    """Return a row without its number, without quotation marks, and without remarks if anything else is in it."""
    row = _NUMBER.sub("", row).strip()
    if _is_marked(row):
        row = _REMARK.sub("", row) or row
        return "".join(character for character in row if character not in QUOTES)
    return row


def _is_marked(row: str) -> bool:
    """Tell whether a row has punctuation of verse, apart from a title in it."""
    rest = _LABEL.sub("", _REMARK.sub("", _QUOTED_TITLE.sub("", row)))
    return any(character in _SEPARATORS for character in rest)


def _blocks(rows: Iterable[str]) -> Iterator[list[str]]:
    """Yield the rows between blank ones."""
    block: list[str] = []
    for row in chain(rows, ("",)):
        if row:
            block.append(row)
        elif block:
            yield block
            block = []


def _cut_block(rows: list[str], shapes: Container[tuple[int, ...]]) -> list[tuple[list[str], list[str]]]:
    """Cut rows that stand together into poems: for each what stands above, and the rows of its verse."""
    if _is_whole(rows, shapes):
        return [([], rows)]
    if len(rows) > 2 and all(_is_whole([row], ()) for row in rows):  # one poem a row
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
    """Return what stands above the verse and the verse of rows that have no punctuation."""
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
    """Leave the first row out if only the others are a poem: it says when and why the poem was written."""
    first, _, rest = poem.verse.partition("\n")
    if not poem.title or _is_whole([first, rest], shapes):
        return poem
    tune = tunes.get(normalize(poem.tune))
    sizes = {sum(each.line_lengths) for each in (tune, *tune.variants)} if tune is not None else set()
    if _is_whole([rest], shapes) or sum(map(len, split_lines(normalize(rest)))) in sizes:
        return WrittenPoem(rest, poem.title, poem.author)
    return poem


def _is_named(row: str) -> bool:
    """Tell whether a row is a title or names an author, whatever its length."""
    return bool(_QUOTED_TITLE.search(row) or _LABEL.match(row) or _DYNASTY.match(row) or re.search("[·•・]", row))


def _is_whole(rows: Sequence[str], shapes: Container[tuple[int, ...]]) -> bool:
    """Tell whether rows have the shape of a regulated poem, or one of some others."""
    try:
        lines = read_lines("\n".join(rows))
    except InputError:
        return False
    return bool(regular_length(lines)) or tuple(map(len, lines)) in shapes


def _parts(
    before: WrittenPoem, verse: list[str], tunes: Mapping[str, TunePattern], shapes: Container[tuple[int, ...]]
) -> bool:
    """Tell whether verse behind a blank line is a poem of its own, and not the next stanza of the one before."""
    whole = [*before.verse.split("\n"), *verse]
    if before.tune in tunes:
        return False
    if _is_whole([before.verse], ()) and _is_whole(verse, ()):
        return True
    return not _is_whole(whole, shapes) and _is_whole([before.verse], shapes) and _is_whole(verse, shapes)


def _title_and_author(rows: Sequence[str]) -> tuple[str, str]:
    """Read the rows above a poem."""
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


# Poems as records: one a line, or whole files of them.

_TEXT_FIELDS = ("content", "paragraphs", "para", "text")
_TITLE_FIELDS = ("rhythmic", "title", "chapter")


def _json_records(text: str, path: str) -> Iterator[tuple[object, str]]:
    """Yield the records of a file, a list or one a line, and where each stands."""
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
        raise InputError("empty_file", "{path} is empty; expected a poem, one couplet or line a row", path=path)


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
    """Return the poem of a record: `content` or `paragraphs`, a text or a list of its rows, with title and author."""
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
    """Yield lines and form of the poems of a file, one poem a line, as `read_record` returns them.

    Args:
        lines: The lines of the file; blank ones are passed over.
        path: Its name, for messages.

    Raises:
        InputError: A line holds no poem, or more than one; the message names it.
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
    """Read a poem from one line of a file: plain text with punctuation, or JSON with `content` and maybe `form`.

    Args:
        record: The line; lines of the poem are separated by `|` or punctuation.
        location: File and line, for messages.

    Returns:
        The normalised lines, and the form: the one given, else the regulated shape of the lines, else "".

    Raises:
        InputError: It is neither, or stands in columns, of which others may hold no verse.
    """
    if "\t" in record.strip() and not record.lstrip().startswith("{"):
        raise _no_columns(location)
    return _lines_and_form(_loads(record, location) if record.lstrip().startswith("{") else record, location)


def _no_columns(location: str) -> InputError:
    return InputError(
        "columns_of_poems",
        "{location}: expected one poem a line and nothing beside it, found columns of a table; title and author have a "
        'place in records: {{"title": "...", "author": "...", "content": "..."}}',
        location=location,
    )


def _lines_and_form(record: object, location: str) -> tuple[list[str], str]:
    """Return what `read_record` does, of a text or of a record that has been read as JSON."""
    form = record.get("form", "") if isinstance(record, dict) else ""
    content = _bare(record) if isinstance(record, str) else _poem_of(record, location).verse
    if not isinstance(form, str):
        raise InputError("fields_of_record", "{location}: 'content' and 'form' must be strings", location=location)
    lines = split_lines(normalize(content))
    if not is_han(codepoints("".join(lines))).any():
        raise InputError("no_verse_at", "{location}: there is no Chinese character in this poem", location=location)
    return lines, normalize(form) or form_of(lines) or ""
