"""What a user's dictionary says: entries, checked, and the two forms of a line in a file of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zhseq.errors import InputError
from zhseq.text.encoding import decode_text
from zhseq.text.normalize import codepoints, normalize

MAX_WORD = 128
"""Characters of the longest word of a user's dictionary."""
MAX_LABEL = 64
"""Characters of the longest part of speech or entity label."""
PREFER, FORCE = MODES = ("prefer", "force")

# As jieba reads a line: the word may hold blanks, a number is the frequency, lower-case letters the part of speech.
# Beyond jieba, `force` may stand for the frequency, and after either the part of speech may hold any characters.
_LINE = re.compile(r"(.+?)(?: +(-?[0-9]+(?:\.[0-9]+)?|force)(?: +(\S+))?| +([a-z]+))?")
_COLUMNS = "word, frequency, part of speech, entity label"


class Entry(NamedTuple):
    """A word of a user's dictionary."""

    word: str
    pos: str = ""
    """The part of speech it has; empty: the model decides."""
    label: str = ""
    """The label of the entity that it is; empty: none."""
    frequency: float | None = None
    """How often it occurs, in any unit; of words that compete, a more frequent one has an edge."""
    mode: str = ""
    """`prefer` or `force`; empty: that of the dictionary."""


@dataclass
class Columns:
    """Entries by column, all lists of one length."""

    words: list[str] = field(default_factory=list)
    pos: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    frequencies: list[float] = field(default_factory=list)
    """NaN: not given."""
    modes: list[str] = field(default_factory=list)

    def append(self, word: str, pos: str, label: str, frequency: float, mode: str) -> None:
        """Add an entry."""
        self.words.append(word)
        self.pos.append(pos)
        self.labels.append(label)
        self.frequencies.append(frequency)
        self.modes.append(mode)


def read_entries(path: Path) -> Columns:
    """Read a dictionary file: UTF-8 or GB18030, one entry a line, empty lines aside.

    A line without a tab is one of jieba's: `word [frequency] [part of speech]`. A line with a tab has the columns word,
    frequency, part of speech, entity label, of which the last may be missing or empty. `force` in the place of the
    frequency makes a word of it wherever it stands.

    Raises:
        InputError: The file cannot be read or has no entry, or a line is broken; names file and line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a dictionary that can be read: {error.strerror}.") from error
    columns, numbers = Columns(), []
    for number, line in enumerate(decode_text(data, str(path)).split("\n"), start=1):
        if line and not line.isspace():
            numbers.append(number)
            try:
                if "\t" in line:
                    _append_tabbed(columns, line)
                else:
                    _append_plain(columns, line)
            except InputError as error:
                raise InputError(f"{path}, line {number}: {error}") from None
    if not numbers:
        raise InputError(f"{path}: expected words, one a line, found an empty file.")
    return checked(columns, lambda index: f"{path}, line {numbers[index]}: ")


def _append_plain(columns: Columns, line: str) -> None:
    line = line.strip()
    match = _LINE.fullmatch(line)
    if match is None:  # a line feed is excluded, and so this is a line separator of another kind
        columns.append(line, "", "", math.nan, "")
        return
    word, number, pos, lower = match.groups()
    columns.append(word, pos or lower or "", "", *_frequency_and_mode(number or ""))


def _append_tabbed(columns: Columns, line: str) -> None:
    word, number, pos, label, *more = (part.strip() for part in f"{line}\t\t\t".split("\t"))
    if any(more):
        found = len(line.rstrip().split("\t"))
        raise InputError(f"expected at most 4 columns with tabs between ({_COLUMNS}), found {found}.")
    columns.append(word, pos, label, *_frequency_and_mode(number))


def _frequency_and_mode(text: str) -> tuple[float, str]:
    if not text:
        return math.nan, ""
    if text == FORCE:
        return math.nan, FORCE
    try:
        frequency = float(text)
    except ValueError:
        frequency = -1.0
    if not 0 <= frequency < math.inf:
        raise InputError(f"expected a frequency of 0 or more, or {FORCE}, found {shown(text)}.")
    return frequency, ""


def columns_of(entries: Iterable[Entry | str]) -> Columns:
    """Return entries by column, checked.

    Raises:
        InputError: An entry is broken.
    """
    columns = Columns()
    for entry in entries:
        word, pos, label, frequency, mode = Entry(entry) if isinstance(entry, str) else entry
        if frequency is not None and not 0 <= frequency < math.inf:
            raise InputError(f"Expected a frequency of 0 or more for the word {shown(word)}, found {frequency}.")
        if mode not in ("", *MODES):
            raise InputError(f"Expected the mode {PREFER} or {FORCE} for the word {shown(word)}, found {shown(mode)}.")
        columns.append(word.strip(), pos, label, math.nan if frequency is None else frequency, mode)
    return checked(columns, lambda index: "")


def checked(columns: Columns, where: Callable[[int], str]) -> Columns:
    """Return the entries with normalised words.

    Args:
        columns: Words as they were written, without blanks around them.
        where: Gives the place of an entry for messages.

    Raises:
        InputError: A word is empty, too long or holds a control character, or a label is no label.
    """
    for kind, labels in (("part of speech", columns.pos), ("entity label", columns.labels)):
        for label in set(labels):
            if len(label) > MAX_LABEL or not label.isprintable() or " " in label:
                raise InputError(
                    f"{where(labels.index(label))}expected as {kind} at most {MAX_LABEL} printable characters without "
                    f"blanks, found {shown(label)}; separate columns by tabs if the word has blanks."
                )
    lengths = np.fromiter(map(len, columns.words), dtype=np.int64, count=len(columns.words))
    joined = "".join(columns.words)
    points = codepoints(joined)
    control = (points < 0x20) | ((points >= 0x7F) & (points < 0xA0)) | ((points >= 0xD800) & (points < 0xE000))
    control |= (points == 0x2028) | (points == 0x2029)
    wrong = (lengths == 0) | (lengths > MAX_WORD)
    wrong[np.searchsorted(np.cumsum(lengths), np.flatnonzero(control), side="right")] = True
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise InputError(where(index) + _complaint(columns.words[index]))
    normal, ends = normalize(joined), np.cumsum(lengths).tolist()
    columns.words = [normal[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return columns


def _complaint(word: str) -> str:
    if not word:
        return "expected a word, found nothing but blanks."
    if len(word) > MAX_WORD:
        return f"expected a word of at most {MAX_WORD} characters, found one of {len(word)}: {shown(word)}."
    return f"expected a word without control characters, found {shown(word)}."


def shown(text: str) -> str:
    """Return a text as messages show it: escaped, and not longer than a line."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
