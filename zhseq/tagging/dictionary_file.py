"""Read user dictionaries from files and callers, validate the entries, and report errors with file and line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import regex

from zhseq.errors import InputError, Message
from zhseq.text.encoding import Notify, cut_lines, decode_text
from zhseq.text.normalize import codepoints, normalize

MAX_WORD = 128
"""Maximum length in characters of a word of a user dictionary."""
MAX_LABEL = 64
"""Maximum length in characters of a part-of-speech tag or entity label."""
PREFER, FORCE = MODES = ("prefer", "force")

# A line as jieba reads it: the word may contain blanks, a number is the frequency, lower-case letters are the tag.
# Unlike jieba, allow `force` instead of the frequency, and any characters in a tag after frequency or `force`.
_LINE = re.compile(r"(.+?)(?: +(-?[0-9]+(?:\.[0-9]+)?|force)(?: +(\S+))?| +([a-z]+))?")
PATTERN_PREFIX = "re:"
"""Prefix of a line with a regular expression."""
_CUT_ARROW = " => "
_JIEBA_TAGS = (
    "a b c d e f g h i j k l m n o p q r s t u v w x y z ad ag an df dg eng mg mq ng nl nr nrf nrfg nrj nrt ns nsf nt "
    "nx nz rg rr rz tg ud ug uj ul uv uz vd vg vi vn vq zg"
)
_JIEBA_POS = frozenset(_JIEBA_TAGS.split())
"""Part-of-speech tags of jieba. After a word that ends in a Latin letter, any other letters belong to the word."""
_COMMENT = re.compile(r"\s*(?:#|//)(?:\s|$)")
_END_COMMENT = re.compile(r"(?<!\s)\s+(?:#|//)\s.*$")
_JSON = re.compile(r"[\[{]+\s*\"")
_TAGGED = re.compile(r"\S+ (?:O|[BIESM]-\w+)")
_COMMAS = re.compile(r"[^,，]*[^,，0-9.\s][^,，]*[,，]\s*(?:(?:[0-9.]+|force)\s*(?:[,，]\s*[A-Za-z]*\s*)*|[a-z]{1,4})")
_OTHER_SEPARATORS = re.compile(
    r"[^ ]*[\u3400-\u9fff][\"'”]?\s*[;；|｜:：=/／\\]+\s*(?:[0-9.]+|force|[a-z]{1,4}|[A-Z]{1,5})(?!\w).*"
)
_TAG_BEFORE_FREQUENCY = re.compile(r"[^ ]*[\u4e00-\u9fff] +([a-z]+) +[0-9]+")
_TWO_WORDS = re.compile(r"[\u4e00-\u9fff] +[\u4e00-\u9fff]")
_MORE_THAN_A_WORD = re.compile(
    r"[\u3400-\u9fff] +[!-~]|^[^\w\s]+ +\S|^[0-9]+[.)、]? +[\u3400-\u9fff]"
    r"|[\u3400-\u9fff][、，。；！？][\u3400-\u9fff]|。$|^([\"']).*\1$"
)
_NAMES = (
    "word words term freq frequency count weight pos tag label entity ner type 词 词语 单词 词频 频率 词性 标签 实体"
)
_COLUMN_NAMES = frozenset(_NAMES.split())
_NARROW = str.maketrans("\u3000\u00a0０１２３４５６７８９", "  0123456789")
_LONGEST = 512
"""Longer lines without tabs are not parsed with the regular expressions above, which would be slow."""
_MUCH, _MANY = 0.2, 5  # share and number of suspicious lines from which a file is refused


class Entry(NamedTuple):
    """An entry of a user dictionary."""

    word: str
    pos: str = ""
    """Part-of-speech tag; empty: the model chooses."""
    label: str = ""
    """Entity label; empty: no influence on entities."""
    frequency: float | None = None
    """Frequency in any unit, not negative; gives a more frequent word a small advantage over competing words."""
    mode: str = ""
    """`prefer` or `force`; empty: the mode of the dictionary."""


@dataclass
class Columns:
    """Entries by column, as lists of equal length, and patterns and cuts."""

    words: list[str] = field(default_factory=list)
    pos: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    frequencies: list[float] = field(default_factory=list)
    """NaN if not given."""
    modes: list[str] = field(default_factory=list)
    patterns: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Part-of-speech tag and entity label by regular expression."""
    apart: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Offsets that no word may cross, by normalised text."""

    def append(self, word: str, pos: str, label: str, frequency: float, mode: str) -> None:
        """Add an entry."""
        self.words.append(word)
        self.pos.append(pos)
        self.labels.append(label)
        self.frequencies.append(frequency)
        self.modes.append(mode)


def read_entries(path: Path, notify: Notify | None = None) -> Columns:
    """Read a dictionary file in UTF-8, GB18030 or Big5, one entry per line; empty lines are ignored.

    A line without a tab is in jieba's format: `word [frequency] [tag]`. A line with a tab has the columns word,
    frequency, part-of-speech tag, entity label; trailing columns may be missing or empty. `force` instead of the
    frequency makes the word a forced word. Lines that begin with `# ` or `// ` are comments.

    A line `re:EXPRESSION`, optionally followed by tag and entity label after tabs, makes all matches of the regular
    expression forced words. A line `和服务 => 和 服务` requires word borders at the blanks.

    Args:
        path: The file.
        notify: Called with notes about what may not be intended: another encoding, comments, two words in a line.

    Raises:
        InputError: The file cannot be read or has no entry, a line is invalid (the message names file and line), or
            many lines are suspicious.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            "unreadable_dictionary",
            "{path}: the dictionary cannot be read: {reason}.",
            path=path,
            reason=error.strerror,
        ) from error
    columns, others = Columns(), 0
    numbers: list[int] = []
    comments: list[int] = []
    plain: list[int] = []  # entries on lines without tabs, where the end of the word is ambiguous
    for number, line in enumerate(cut_lines(decode_text(data, str(path), notify)), start=1):
        if _COMMENT.match(line):
            comments.append(number)
        elif not numbers and not others and _is_header(line):
            if notify:
                notify(_header_note(path, number, line))
        elif line and not line.isspace():
            numbers.append(number)
            try:
                if line.startswith(PATTERN_PREFIX):
                    numbers.pop()
                    others += 1
                    add_pattern(columns.patterns, *_pattern_columns(line))
                elif _CUT_ARROW in line:
                    numbers.pop()
                    others += 1
                    keep_apart(columns.apart, *_cut_columns(line))
                elif "\t" in line:
                    _append_tabbed(columns, line)
                else:
                    plain.append(len(columns.words))
                    _append_plain(columns, line)
            except InputError as error:
                raise _in_line(path, number, error.message) from None
    if not numbers and not others:
        raise InputError("empty_dictionary", "{path}: expected one word per line, found an empty file.", path=path)
    if notify and comments:
        values = {"path": path, "count": len(comments), "line": comments[0]}
        notify(Message("comments", "{path}: {count} comment lines are skipped, the first is line {line}", values))
    _note_two_words(path, columns, numbers, notify)
    _note_more_than_words(path, [(numbers[index], columns.words[index]) for index in plain], notify)
    return checked(columns, lambda index, problem: _in_line(path, numbers[index], problem))


def _in_line(path: Path, line: int, problem: Message) -> InputError:
    return InputError("dictionary_line", "{path}, line {line}: {problem}", path=path, line=line, problem=problem)


def _note_two_words(path: Path, columns: Columns, numbers: list[int], notify: Notify | None) -> None:
    """Report lines that seem to hold two words separated by a blank; raise if they, or tagged lines, are many."""
    odd = [index for index, word in enumerate(columns.words) if " " in word and _TWO_WORDS.search(word)]
    tagged = [index for index, word in enumerate(columns.words) if _TAGGED.fullmatch(word)]
    if len(tagged) >= _MANY and len(tagged) > _MUCH * len(numbers):
        raise InputError(
            "tagged_text_as_dictionary",
            "{path}: expected one word per line, found a tagged text: {count} of {total} lines end "
            "in a tag like B-PER, for example line {line} ({word!r}).",
            path=path,
            count=len(tagged),
            total=len(numbers),
            line=numbers[tagged[0]],
            word=columns.words[tagged[0]],
        )
    if not odd:
        return
    values = {
        "path": path,
        "count": len(odd),
        "total": len(numbers),
        "line": numbers[odd[0]],
        "word": columns.words[odd[0]],
    }
    if len(odd) >= _MANY and len(odd) > _MUCH * len(numbers):
        raise InputError(
            "two_words_a_line",
            "{path}: expected one word per line, found {count} of {total} lines with a blank between "
            "Chinese words, for example line {line} ({word!r}); write one word per line.",
            **values,
        )
    if notify:
        notify(
            Message(
                "word_with_blank",
                "{path}: {count} of {total} words contain a blank between Chinese characters, the "
                "first in line {line} ({word!r}); they match only with that blank",
                values,
            )
        )


def _header_note(path: Path, number: int, line: str) -> Message:
    """Return the note that a line is a header and is skipped."""
    return Message(
        "names_of_columns",
        "{name}: line {line} contains column names ({found}) and is skipped",
        {"name": path, "line": number, "found": " ".join(line.split())},
    )


def _is_header(line: str) -> bool:
    names = re.split(r"[\s,;|]+", line.strip().lower())
    return len(names) > 1 and all(name in _COLUMN_NAMES for name in names)


def _note_more_than_words(path: Path, entries: list[tuple[int, str]], notify: Notify | None) -> None:
    """Report lines without tabs that seem to hold more than a word."""
    odd = [(line, word) for line, word in entries if not word.isalpha() and _MORE_THAN_A_WORD.search(word)]
    if odd and notify:
        values = {"path": path, "count": len(odd), "total": len(entries), "line": odd[0][0], "word": odd[0][1]}
        notify(
            Message(
                "more_than_a_word",
                "{path}: {count} of {total} lines contain more than a word, its frequency and its "
                "part of speech, the first is line {line}; all of {word!r} is read as the word",
                values,
            )
        )


def _pattern_columns(line: str) -> tuple[str, str, str]:
    expression, pos, label, *more = f"{line.removeprefix(PATTERN_PREFIX)}\t\t".rstrip("\n").split("\t")
    if any(part.strip() for part in more):
        found = len(line.rstrip().split("\t"))
        raise InputError(
            "pattern_columns",
            "expected at most 3 columns separated by tabs (re: and a pattern, part of speech, entity "
            "label), found {found}; write \\t for a tab in a pattern.",
            found=found,
        )
    return expression.strip(), pos.strip(), label.strip()


def add_pattern(patterns: dict[str, tuple[str, str]], expression: str, pos: str, label: str) -> None:
    """Validate a pattern and add it to `patterns`.

    Raises:
        InputError: The expression is invalid or matches the empty string, or a label is invalid.
    """
    try:
        compiled = regex.compile(expression, regex.V1)
    except regex.error as error:
        raise InputError(
            "broken_pattern",
            "expected a regular expression, but {expression} is invalid: {reason}.",
            expression=shown(expression),
            reason=str(error),
        ) from None
    if not expression or compiled.fullmatch(""):
        raise InputError(
            "expression_of_nothing",
            "expected a regular expression that matches at least one character, but {expression} can "
            "match an empty text.",
            expression=shown(expression),
        )
    for kind, name in (("part of speech", pos), ("entity label", label)):
        if not _is_label(name):
            raise _error_of(_invalid_label(kind, name))
    patterns[expression] = (pos, label)


def _cut_columns(line: str) -> tuple[str, list[str]]:
    whole, _, parts = line.strip().partition(_CUT_ARROW)
    return whole.strip(), parts.split()


def keep_apart(apart: dict[str, tuple[int, ...]], whole: str, parts: list[str]) -> None:
    """Validate a cut and add it to `apart`.

    Args:
        apart: Offsets that no word may cross, by normalised text.
        whole: The text.
        parts: The parts between which word borders are required.

    Raises:
        InputError: The parts do not add up to the text, are fewer than two, or the text is too long.
    """
    if "".join(parts) != whole or len(parts) < 2:
        raise InputError(
            "wrong_parts",
            "expected, to the right of =>, the text to its left, {whole}, split by blanks into two "
            "or more parts, found {parts}.",
            whole=shown(whole),
            parts=shown(" ".join(parts)),
        )
    if len(whole) > MAX_WORD or not whole.isprintable():
        raise _error_of(_invalid_word(whole))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    apart[normalize(whole)] = tuple(ends[:-1])


def _append_plain(columns: Columns, line: str) -> None:
    line = _END_COMMENT.sub("", line).translate(_NARROW).strip()
    if len(line) > _LONGEST:
        columns.append(line, "", "", math.nan, "")
        return
    if _JSON.match(line):
        raise InputError("json_in_dictionary", "expected a word, found JSON ({line}).", line=shown(line))
    if _COMMAS.fullmatch(line) or _OTHER_SEPARATORS.fullmatch(line):
        raise InputError(
            "dictionary_with_marks",
            "expected blanks or tabs between word, frequency and part of speech, found commas or "
            "other marks ({line}); write a tab after a word that contains such marks.",
            line=shown(line),
        )
    turned = _TAG_BEFORE_FREQUENCY.fullmatch(line)
    if turned and turned[1] in _JIEBA_POS:
        raise InputError(
            "frequency_after_pos",
            "expected the frequency before the part of speech, found it after ({line}).",
            line=shown(line),
        )
    match = _LINE.fullmatch(line)
    if match is None:  # `.` matches anything but a line feed, and there is none in a line
        columns.append(line, "", "", math.nan, "")
        return
    word, number, pos, lower = match.groups()
    if lower and word[-1].isascii() and not word[-1].isdigit() and lower not in _JIEBA_POS:
        word, lower = line, None  # `New york` is one word, not `New` with the tag `york`
    columns.append(word, pos or lower or "", "", *_frequency_and_mode(number or ""))


def _append_tabbed(columns: Columns, line: str) -> None:
    word, number, pos, label, *more = (part.strip() for part in f"{line}\t\t\t".split("\t"))
    if any(more):
        found = len(line.rstrip().split("\t"))
        raise InputError(
            "dictionary_columns",
            "expected at most 4 columns separated by tabs (word, frequency, part of speech, entity "
            "label), found {found}.",
            found=found,
        )
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
        raise InputError(
            "frequency_or_force", "expected a frequency of 0 or more, or force, found {found}.", found=shown(text)
        )
    return frequency, ""


def columns_of(entries: Iterable[Entry | str]) -> Columns:
    """Validate entries and return them by column.

    Raises:
        InputError: An entry is invalid.
    """
    columns = Columns()
    for entry in entries:
        word, pos, label, frequency, mode = Entry(entry) if isinstance(entry, str) else entry
        if frequency is not None and not 0 <= frequency < math.inf:
            raise InputError(
                "negative_frequency",
                "Expected a frequency of 0 or more for the word {word}, found {found}.",
                word=shown(word),
                found=frequency,
            )
        if mode not in ("", *MODES):
            raise InputError(
                "mode_of_word",
                "Expected the mode prefer or force for the word {word}, found {found}.",
                word=shown(word),
                found=shown(mode),
            )
        columns.append(word.strip(), pos, label, math.nan if frequency is None else frequency, mode)
    return checked(columns, lambda index, problem: _error_of(problem))


def _error_of(problem: Message) -> InputError:
    return partial(InputError, **problem.values)(problem.code, problem.template)


def checked(columns: Columns, error: Callable[[int, Message], InputError]) -> Columns:
    """Validate words and labels, and replace the words by their normalised forms.

    Args:
        columns: Entries with their words as written, without surrounding blanks.
        error: Creates the error from the index of an entry and the problem.

    Raises:
        InputError: A word is empty, too long or contains a control character, or a label is invalid.
    """
    for kind, labels in (("part of speech", columns.pos), ("entity label", columns.labels)):
        for label in set(labels):
            if not _is_label(label):
                raise error(labels.index(label), _invalid_label(kind, label))
    lengths = np.fromiter(map(len, columns.words), dtype=np.int64, count=len(columns.words))
    joined = "".join(columns.words)
    points = codepoints(joined)
    control = (points < 0x20) | ((points >= 0x7F) & (points < 0xA0)) | ((points >= 0xD800) & (points < 0xE000))
    control |= (points == 0x2028) | (points == 0x2029) | (points == 0xFEFF)
    wrong = (lengths == 0) | (lengths > MAX_WORD)
    wrong[np.searchsorted(np.cumsum(lengths), np.flatnonzero(control), side="right")] = True
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise error(index, _invalid_word(columns.words[index]))
    normal, ends = normalize(joined), np.cumsum(lengths).tolist()
    columns.words = [normal[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return columns


def _is_label(label: str) -> bool:
    return len(label) <= MAX_LABEL and label.isprintable() and " " not in label


def _invalid_label(kind: str, label: str) -> Message:
    values = {"most": MAX_LABEL, "found": shown(label)}
    if kind == "part of speech":
        return Message(
            "wrong_part_of_speech",
            "expected as part of speech at most {most} printable characters without blanks, found {found}; separate "
            "columns by tabs if the word has blanks.",
            values,
        )
    return Message(
        "wrong_entity_label",
        "expected as entity label at most {most} printable characters without blanks, found {found}; separate "
        "columns by tabs if the word has blanks.",
        values,
    )


def _invalid_word(word: str) -> Message:
    if not word:
        return Message("no_word", "expected a word, found nothing but blanks.", {})
    if len(word) > MAX_WORD:
        return Message(
            "long_word",
            "expected a word of at most {most} characters, found one of {length}: {word}.",
            {"most": MAX_WORD, "length": len(word), "word": shown(word)},
        )
    return Message(
        "control_character", "expected a word without control characters, found {word}.", {"word": shown(word)}
    )


def shown(text: str) -> str:
    """Return a text as shown in messages: escaped, and truncated to 40 characters."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
