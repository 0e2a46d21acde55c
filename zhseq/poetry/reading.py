"""Read verse from texts and files: lines, marked places, the poems of a file. Imports no torch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from zhseq.errors import InputError, Message
from zhseq.poetry.forms import MARKS, form_of, not_chinese
from zhseq.text.normalize import codepoints, is_han, normalize

BLANK = "?"
"""A marked place, after normalisation; in the user's text `？`, `?` or `□`."""
_SEPARATORS = frozenset(f"|{MARKS}")
BETWEEN_LINES = re.compile(rf"[{re.escape(''.join(sorted(_SEPARATORS)))}\s]+")
"""What may stand between two lines of verse: punctuation, bars and white space."""

_REGULAR_LENGTHS = (5, 7)
_BETWEEN_POEMS = re.compile(r"\n[ \t　]*\n")


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
    return next((lines for lines in readings if regular_length(lines)), max(readings, key=_evenness))


def fold_verse(text: str) -> str:
    """Return the text of a poem normalised, marked places as `BLANK`, its punctuation in place.

    Raises:
        InputError: The text holds something that belongs into no poem.
    """
    folded = normalize(text).replace("□", BLANK).replace("？", BLANK)
    for character, han in zip(folded, is_han(codepoints(folded)).tolist(), strict=True):
        if not han and not _separates(character):
            raise not_chinese(Message("this_text", "this text"), character)
    return folded


def cut_lines(folded: str, lengths: Sequence[int]) -> list[str]:
    """Cut what `fold_verse` returns at its punctuation; a `BLANK` is punctuation where a line has its length."""
    lines = [""]
    for character in folded:
        full = len(lines) <= len(lengths) and len(lines[-1]) == lengths[len(lines) - 1]
        if full if character == BLANK else _separates(character):
            lines.extend([""] if lines[-1] else [])
        elif full and lines[-1].endswith(BLANK):  # the mark stood for a character and not for a pause
            lines.append(character)
        else:
            lines[-1] += character
    return [line for line in lines if line]


def _separates(character: str) -> bool:
    """Tell whether a character is one of `BETWEEN_LINES`."""
    return character in _SEPARATORS or character.isspace()


def regular_length(lines: Sequence[str]) -> int:
    """Return the length of the lines if they are 4 or 8 and all of 5 or 7 characters, else 0."""
    lengths = {len(line) for line in lines}
    return next(iter(lengths)) if len(lines) in (4, 8) and lengths in ({5}, {7}) else 0


def _evenness(lines: Sequence[str]) -> int:
    """Return how many lines have the commonest length."""
    return max(chain(Counter(map(len, lines)).values(), (0,)))


def split_poems(text: str, path: str) -> list[str]:
    """Split a file into poems at its blank lines, if each part has the shape of a regulated poem; else leave it whole.

    Args:
        text: The text of the file.
        path: Its name, for messages.

    Raises:
        InputError: There is no verse in it.
    """
    if not text.strip():
        raise InputError("empty_file", "{path} is empty; expected a poem, one couplet or line a row", path=path)
    parts = [part for part in _BETWEEN_POEMS.split(text.replace("\r\n", "\n")) if part.strip()]
    return parts if all(regular_length(read_lines(part)) for part in parts) else [text]


def read_records(lines: Iterable[str], path: str) -> Iterator[tuple[list[str], str]]:
    """Yield lines and form of the poems of a file, one poem a line, as `read_record` returns them.

    Args:
        lines: The lines of the file; blank ones are passed over.
        path: Its name, for messages.

    Raises:
        InputError: A line holds no poem; the message names it.
    """
    for number, line in enumerate(lines, start=1):
        if text := line.strip():
            yield read_record(text, f"{path}, line {number}")


def read_record(record: str, place: str) -> tuple[list[str], str]:
    """Read a poem from one line of a file: plain text with punctuation, or JSON with `content` and maybe `form`.

    Args:
        record: The line; lines of the poem are separated by `|` or punctuation.
        place: File and line, for messages.

    Returns:
        The normalised lines, and the form: the one given, else the regulated shape of the lines, else "".

    Raises:
        InputError: It is neither.
    """
    form, content = "", record
    if record.lstrip().startswith("{"):
        try:
            fields = json.loads(record)
            content, form = fields["content"], fields.get("form", "")
        except (ValueError, KeyError) as error:
            fault = (
                Message("no_content", "has no 'content'")
                if isinstance(error, KeyError)
                else Message("no_json", "is not valid JSON ({error})", {"error": error})
            )
            raise InputError(
                "broken_record",
                '{place}: the record {fault}; expected {{"content": "line|line|...", "form": "七绝"}}',
                place=place,
                fault=fault,
            ) from error
        if not isinstance(content, str) or not isinstance(form, str):
            raise InputError("fields_of_record", "{place}: 'content' and 'form' must be strings", place=place)
    lines = split_lines(normalize(content))
    if not is_han(codepoints("".join(lines))).any():
        raise InputError("no_verse_at", "{place}: there is no Chinese character in this poem", place=place)
    return lines, normalize(form) or form_of(lines) or ""
