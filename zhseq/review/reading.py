"""A user's text as lines of verse: script, punctuation, marked places."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from zhseq.errors import InputError
from zhseq.text.normalize import codepoints, is_han, normalize

BLANK = "?"
"""A marked place; in the user's text `？`, `?` or `□`."""

_SEPARATORS = frozenset("，。！；：、,.!;:|\n\r\t 　")
_REGULAR = (5, 7)


def read_blocks(text: str, place: str) -> list[str]:
    """Cut a file into poems at its blank lines, if each part has the shape of a regulated poem; else leave it whole.

    Args:
        text: The text of the file.
        place: Its name, for messages.

    Raises:
        InputError: There is no verse in it.
    """
    if not text.strip():
        raise InputError(f"{place} is empty; expected a poem, one couplet or line a row")
    blocks = [block for block in re.split(r"\n[ \t　]*\n", text.replace("\r\n", "\n")) if block.strip()]
    if len(blocks) > 1 and all(regular_length(_lines(block, length)) for block in blocks for length in (5, 7)):
        return blocks
    return blocks if len(blocks) > 1 and all(regular_length(read_lines(block)) for block in blocks) else [text]


def read_lines(text: str, lengths: Sequence[int] = ()) -> list[str]:
    """Return the lines of a poem, normalised, without punctuation, marked places as `BLANK`.

    A question mark is punctuation where a line is full, else a marked place.

    Args:
        text: The poem.
        lengths: Characters of each line, if they are known; else lines of 5 and of 7 are tried.

    Raises:
        InputError: The text holds something that belongs into no poem.
    """
    folded = normalize(text).replace("□", BLANK).replace("？", BLANK)
    points = codepoints(folded)
    for character, han in zip(folded, is_han(points).tolist(), strict=True):
        if not han and character not in _SEPARATORS and character != BLANK:
            shown = f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
            message = f"a poem is made of Chinese characters and punctuation, but this text holds {shown}"
            raise InputError(message, code="not_chinese")
    if lengths:
        return _cut(folded, lengths)
    readings = [_lines(folded, length) for length in _REGULAR]
    return next((lines for lines in readings if regular_length(lines)), max(readings, key=_evenness))


def regular_length(lines: Sequence[str]) -> int:
    """Return the length of the lines if they are 4 or 8 and all of 5 or 7 characters, else 0."""
    lengths = {len(line) for line in lines}
    return next(iter(lengths)) if len(lines) in (4, 8) and lengths in ({5}, {7}) else 0


def _lines(text: str, length: int) -> list[str]:
    return _cut(text, (length,) * len(text))


def _cut(text: str, lengths: Sequence[int]) -> list[str]:
    lines = [""]
    for character in text:
        full = len(lines) <= len(lengths) and len(lines[-1]) == lengths[len(lines) - 1]
        if character in _SEPARATORS or (character == BLANK and full):
            lines.extend([""] if lines[-1] else [])
        elif full and lines[-1].endswith(BLANK):  # the mark stood for a character and not for a pause
            lines.append(character)
        else:
            lines[-1] += character
    return [line for line in lines if line]


def _evenness(lines: Sequence[str]) -> int:
    """Return how many lines have the commonest length."""
    return max(chain(Counter(map(len, lines)).values(), (0,)))
