"""A user's own words: read from a file, changed at run time, and safe to use from several threads."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import regex

from zhseq.errors import InputError, Message
from zhseq.tagging.lexicon import NgramTable
from zhseq.tagging.matching import Attributes, OwnPattern, WordTables, pattern_attributes
from zhseq.text.encoding import Notify, decode_text
from zhseq.text.normalize import codepoints, normalize

MAX_WORD = 128
"""Characters of the longest word of a user's dictionary."""
MAX_LABEL = 64
"""Characters of the longest part of speech or entity label."""
PREFER, FORCE = MODES = ("prefer", "force")

# As jieba reads a line: the word may hold blanks, a number is the frequency, lower-case letters the part of speech.
# Beyond jieba, `force` may stand for the frequency, and after either the part of speech may hold any characters.
_LINE = re.compile(r"(.+?)(?: +(-?[0-9]+(?:\.[0-9]+)?|force)(?: +(\S+))?| +([a-z]+))?")
PATTERN_PREFIX = "re:"
"""What a line of a dictionary file begins with that is a regular expression."""
_APART = " => "
_JIEBA_TAGS = (
    "a b c d e f g h i j k l m n o p q r s t u v w x y z ad ag an df dg eng mg mq ng nl nr nrf nrfg nrj nrt ns nsf nt "
    "nx nz rg rr rz tg ud ug uj ul uv uz vd vg vi vn vq zg"
)
_JIEBA_POS = frozenset(_JIEBA_TAGS.split())
"""Parts of speech of jieba: behind a word that ends in a Latin letter, other letters are the rest of the word."""
_COMMENT = re.compile(r"\s*(?:#|//)(?:\s|$)")
_END_COMMENT = re.compile(r"\s+#\s.*$")
_COMMAS = re.compile(r"[^,，]*[^,，0-9.\s][^,，]*[,，]\s*(?:(?:[0-9.]+|force)\s*(?:[,，]\s*[A-Za-z]*\s*)*|[a-z]{1,4})")
_TURNED = re.compile(r"[^ ]*[\u4e00-\u9fff] +([a-z]+) +[0-9]+")
_TWO_WORDS = re.compile(r"[\u4e00-\u9fff] +[\u4e00-\u9fff]")
_WIDE_BLANKS = str.maketrans({"\u3000": " ", "\u00a0": " "})
_MUCH, _MANY = 0.2, 5  # share and number of odd lines from which on the file is something else


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
    patterns: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Beside the entries: regular expressions with the part of speech and the entity label of what they match."""
    apart: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Beside the entries: normalised texts, and the offsets in them that no word goes across."""

    def append(self, word: str, pos: str, label: str, frequency: float, mode: str) -> None:
        """Add an entry."""
        self.words.append(word)
        self.pos.append(pos)
        self.labels.append(label)
        self.frequencies.append(frequency)
        self.modes.append(mode)


def read_entries(path: Path, notify: Notify | None = None) -> Columns:
    """Read a dictionary file: UTF-8 or GB18030, one entry a line, empty lines aside.

    A line without a tab is one of jieba's: `word [frequency] [part of speech]`. A line with a tab has the columns word,
    frequency, part of speech, entity label, of which the last may be missing or empty. `force` in the place of the
    frequency makes a word of it wherever it stands. Lines that begin with `# ` or `// ` are comments.

    A line `re:EXPRESSION`, with part of speech and entity label behind tabs if they are given, makes a word of all that
    the regular expression matches. A line `和服务 => 和 服务` keeps words from going across where the blanks are.

    Args:
        path: The file.
        notify: Called for what may not be meant as it is read: another encoding, comments, two words in a line.

    Raises:
        InputError: The file cannot be read or has no entry, a line is broken (names file and line), or many are odd.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            "unreadable_dictionary",
            "{path}: expected a dictionary that can be read: {reason}.",
            path=path,
            reason=error.strerror,
        ) from error
    columns, numbers, others = Columns(), [], 0
    comments: list[int] = []
    for number, line in enumerate(decode_text(data, str(path), notify).split("\n"), start=1):
        if _COMMENT.match(line):
            comments.append(number)
        elif line and not line.isspace():
            numbers.append(number)
            try:
                if line.startswith(PATTERN_PREFIX):
                    numbers.pop()
                    others += 1
                    _add_pattern(columns.patterns, *_pattern_columns(line))
                elif _APART in line:
                    numbers.pop()
                    others += 1
                    _keep_apart(columns.apart, *_apart_columns(line))
                elif "\t" in line:
                    _append_tabbed(columns, line)
                else:
                    _append_plain(columns, line)
            except InputError as error:
                raise _in_line(path, number, error.message) from None
    if not numbers and not others:
        raise InputError("empty_dictionary", "{path}: expected words, one a line, found an empty file.", path=path)
    if notify and comments:
        values = {"path": path, "count": len(comments), "line": comments[0]}
        notify(Message("comments", "{path}: {count} lines are comments and left out, the first is line {line}", values))
    _note_two_words(path, columns, numbers, notify)
    return checked(columns, lambda index, problem: _in_line(path, numbers[index], problem))


def _in_line(path: Path, line: int, problem: Message) -> InputError:
    return InputError("dictionary_line", "{path}, line {line}: {problem}", path=path, line=line, problem=problem)


def _note_two_words(path: Path, columns: Columns, numbers: list[int], notify: Notify | None) -> None:
    """Note lines that seem to hold two words with a blank between; raise if there are many."""
    odd = [index for index, word in enumerate(columns.words) if " " in word and _TWO_WORDS.search(word)]
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
            "{path}: expected one word a line, found {count} of {total} lines with a blank between Chinese words, as "
            "in line {line} ({word!r}); write one a line.",
            **values,
        )
    if notify:
        notify(
            Message(
                "word_with_blank",
                "{path}: {count} of {total} words hold a blank between Chinese characters, the first in line {line} "
                "({word!r}); they match only with that blank",
                values,
            )
        )


def _pattern_columns(line: str) -> tuple[str, str, str]:
    expression, pos, label, *more = f"{line.removeprefix(PATTERN_PREFIX)}\t\t".rstrip("\n").split("\t")
    if any(part.strip() for part in more):
        found = len(line.rstrip().split("\t"))
        raise InputError(
            "pattern_columns",
            "expected at most 3 columns with tabs between (re: and a pattern, part of speech, entity label), found "
            "{found}; write \\t for a tab in a pattern.",
            found=found,
        )
    return expression.strip(), pos.strip(), label.strip()


def _add_pattern(patterns: dict[str, tuple[str, str]], expression: str, pos: str, label: str) -> None:
    """Check a pattern and add it.

    Raises:
        InputError: The expression is broken or empty, or a label is no label.
    """
    try:
        compiled = regex.compile(expression, regex.V1)
    except regex.error as error:
        raise InputError(
            "broken_pattern",
            "expected a regular expression, but {expression} is none: {reason}.",
            expression=shown(expression),
            reason=str(error),
        ) from None
    if not expression or compiled.fullmatch(""):
        raise InputError(
            "expression_of_nothing",
            "expected a regular expression that needs a character to match, found {expression}.",
            expression=shown(expression),
        )
    for kind, name in (("part of speech", pos), ("entity label", label)):
        if not _is_label(name):
            raise _error_of(_wrong_label(kind, name))
    patterns[expression] = (pos, label)


def _apart_columns(line: str) -> tuple[str, list[str]]:
    whole, _, parts = line.strip().partition(_APART)
    return whole.strip(), parts.split()


def _keep_apart(apart: dict[str, tuple[int, ...]], whole: str, parts: list[str]) -> None:
    """Check where a text is to be cut, and add it.

    Raises:
        InputError: The parts are not those of the text, or fewer than two, or it is too long.
    """
    if "".join(parts) != whole or len(parts) < 2:
        raise InputError(
            "wrong_parts",
            "expected on the right of => the text on its left, {whole}, in two or more parts with blanks between, "
            "found {parts}.",
            whole=shown(whole),
            parts=shown(" ".join(parts)),
        )
    if len(whole) > MAX_WORD or not whole.isprintable():
        raise _error_of(_complaint(whole))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    apart[normalize(whole)] = tuple(ends[:-1])


def _append_plain(columns: Columns, line: str) -> None:
    line = _END_COMMENT.sub("", line).translate(_WIDE_BLANKS).strip()
    if _COMMAS.fullmatch(line):
        raise InputError(
            "dictionary_with_commas",
            "expected blanks or tabs between word, frequency and part of speech, found commas ({line}); a word that "
            "holds them needs a tab behind it.",
            line=shown(line),
        )
    turned = _TURNED.fullmatch(line)
    if turned and turned[1] in _JIEBA_POS:
        raise InputError(
            "frequency_after_pos",
            "expected the frequency before the part of speech, found it behind ({line}).",
            line=shown(line),
        )
    match = _LINE.fullmatch(line)
    if match is None:  # a line feed is excluded, and so this is a line separator of another kind
        columns.append(line, "", "", math.nan, "")
        return
    word, number, pos, lower = match.groups()
    if lower and word[-1].isascii() and word[-1].isalpha() and lower not in _JIEBA_POS:
        word, lower = line, None  # New york, and no word New with the part of speech york
    columns.append(word, pos or lower or "", "", *_frequency_and_mode(number or ""))


def _append_tabbed(columns: Columns, line: str) -> None:
    word, number, pos, label, *more = (part.strip() for part in f"{line}\t\t\t".split("\t"))
    if any(more):
        found = len(line.rstrip().split("\t"))
        raise InputError(
            "dictionary_columns",
            "expected at most 4 columns with tabs between (word, frequency, part of speech, entity label), found "
            "{found}.",
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
    """Return entries by column, checked.

    Raises:
        InputError: An entry is broken.
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
    """Return the entries with normalised words.

    Args:
        columns: Words as they were written, without blanks around them.
        error: Makes the error of an entry, given its number and what is wrong.

    Raises:
        InputError: A word is empty, too long or holds a control character, or a label is no label.
    """
    for kind, labels in (("part of speech", columns.pos), ("entity label", columns.labels)):
        for label in set(labels):
            if not _is_label(label):
                raise error(labels.index(label), _wrong_label(kind, label))
    lengths = np.fromiter(map(len, columns.words), dtype=np.int64, count=len(columns.words))
    joined = "".join(columns.words)
    points = codepoints(joined)
    control = (points < 0x20) | ((points >= 0x7F) & (points < 0xA0)) | ((points >= 0xD800) & (points < 0xE000))
    control |= (points == 0x2028) | (points == 0x2029)
    wrong = (lengths == 0) | (lengths > MAX_WORD)
    wrong[np.searchsorted(np.cumsum(lengths), np.flatnonzero(control), side="right")] = True
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise error(index, _complaint(columns.words[index]))
    normal, ends = normalize(joined), np.cumsum(lengths).tolist()
    columns.words = [normal[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return columns


def _is_label(label: str) -> bool:
    return len(label) <= MAX_LABEL and label.isprintable() and " " not in label


def _wrong_label(kind: str, label: str) -> Message:
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


def _complaint(word: str) -> Message:
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
    """Return a text as messages show it: escaped, and not longer than a line."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


__all__ = ["DEFAULT_WEIGHT", "FORCE", "PREFER", "Entry", "UserDictionary"]

DEFAULT_WEIGHT = 4.0
"""Nats that a path gains by a preferred word for each of its characters after the first.

So two short words gain no more than the long one that they make up, and a dictionary of common words does not cut text
into small pieces. With 4 it finds most words that the model alone misses, and 100,000 common words do no harm.
"""
MAX_WEIGHT = 1000.0
_SINGLE = 0.25  # times the weight for a word of one character, which joins nothing
_EDGE = 0.5  # nats for each factor of ten in frequency
_USUAL_FREQUENCY = 1000.0  # of a word without a frequency
_MOST_CHANGES = 4096  # words that wait beside the large tables before these are made anew

_Fields = tuple[str, str, str, float | None, str]
"""Those of an `Entry`, as a plain tuple: with objects of a class, a hundred thousand of them would slow the garbage
collector down, and so the whole process."""


@dataclass(frozen=True)
class _Layer:
    """Entries, with None for words that were removed, and what is looked up of them."""

    entries: dict[str, _Fields | None]
    tables: dict[int, NgramTable]
    attributes: Attributes

    @classmethod
    def build(cls, entries: dict[str, _Fields | None], mode: str, weight: float, below: Attributes | None) -> _Layer:
        """Make the tables of entries, with the rows that follow those of the layer below."""
        words = list(entries)
        present = [entry for entry in entries.values() if entry is not None]
        below = pattern_attributes() if below is None else below
        first = len(below.force)
        is_word = np.array([entry is not None for entry in entries.values()], dtype=np.bool_)
        rows = np.where(is_word, first - 1 + np.cumsum(is_word), 0)
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        tables = {}
        for length in np.unique(lengths).tolist():
            chosen = np.flatnonzero(lengths == length)
            points = codepoints("".join(words[index] for index in chosen.tolist())).reshape(-1, length)
            tables[length] = NgramTable(points, rows[chosen])
        return cls(entries, tables, _attributes(present, mode, weight, below))


def _attributes(entries: list[_Fields], mode: str, weight: float, below: Attributes) -> Attributes:
    """Return the attributes of the layer below and of these entries."""
    names = {name: number for number, name in enumerate(below.names)}
    words, pos, labels, frequencies, modes = zip(*entries, strict=True) if entries else ((),) * 5
    for name in dict.fromkeys(pos + labels):
        names.setdefault(name, len(names))
    usual = [_USUAL_FREQUENCY if frequency is None else frequency for frequency in frequencies]
    joined = np.array([max(len(word) - 1, _SINGLE) for word in words], dtype=np.float64)
    edge = _EDGE * np.log10((1.0 + np.array(usual, dtype=np.float64)) / (1.0 + _USUAL_FREQUENCY))
    bonus = np.maximum(0.0, weight * joined + edge)
    force = np.array([(own or mode) == FORCE for own in modes], dtype=np.bool_)
    numbers = [np.array([names[name] for name in column], dtype=np.int64) for column in (pos, labels)]
    return Attributes(
        bonus=np.append(below.bonus, bonus.astype(np.float32)),
        force=np.append(below.force, force),
        pos=np.append(below.pos, numbers[0]),
        labels=np.append(below.labels, numbers[1]),
        names=tuple(names),
    )


class UserDictionary:
    """Words of a user's own, each preferred or forced, with a part of speech and an entity label if given.

    * `prefer`: every path through the lattice of the tagger in which the word stands whole gains `weight` nats for
      each of its characters after the first (a quarter of it for a word of one), and as many again if it has the given
      part of speech (label) there. What the context says can still outweigh that.
    * `force`: the word stands whole wherever it occurs; of forced words that overlap the longest, then the leftmost.

    Beside words there may be regular expressions whose matches are forced words (`add_pattern`), and texts across
    which no word goes (`keep_apart`).

    Wherever the word stands whole, it comes out with the part of speech (label) that was given, be it one that the
    model knows or not. Words are compared as the tagger reads them: width and script are folded, so that 計算 and 计算
    are one word; letters keep their case; a blank matches one blank.

    Any thread may add and remove words while others tag: a text is always read with the words of one moment. The
    large tables are not made anew for a few words: changes wait in small tables beside them.
    """

    def __init__(
        self, entries: Iterable[Entry | str] = (), *, mode: str = PREFER, weight: float = DEFAULT_WEIGHT
    ) -> None:
        """Create from entries; of several for one word the last counts.

        Args:
            entries: Words, or entries with more than a word.
            mode: `prefer` or `force`, for entries that do not say.
            weight: Nats, from 0 to 1000, for `prefer`; 0 leaves the words to the model.

        Raises:
            InputError: An entry, the mode or the weight is not what it has to be.
        """
        if mode not in MODES:
            raise InputError(
                "mode_of_dictionary",
                "Expected the mode prefer or force for a dictionary, found {found}.",
                found=shown(mode),
            )
        if not 0 <= weight <= MAX_WEIGHT:
            raise InputError(
                "weight_of_dictionary",
                "Expected a weight of 0 to {most:g} nats for a dictionary, found {found}.",
                most=MAX_WEIGHT,
                found=weight,
            )
        self.mode, self.weight = mode, float(weight)
        self._lock = threading.Lock()
        self._base: _Layer | None = None
        self._changes: dict[str, _Fields | None] = {}
        self._patterns: dict[str, tuple[str, str]] = {}
        self._apart: dict[str, tuple[int, ...]] = {}
        self._tables: WordTables | None = None
        self.update(entries)

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        *,
        mode: str = PREFER,
        weight: float = DEFAULT_WEIGHT,
        notify: Notify | None = None,
    ) -> UserDictionary:
        """Read a file in jieba's format or with tabs; see `zhseq.tagging.dictionary.read_entries`.

        Raises:
            InputError: The file cannot be read, is empty, or a line is broken.
        """
        dictionary = cls(mode=mode, weight=weight)
        columns = read_entries(Path(path), notify)
        dictionary._change(_by_word(columns))
        dictionary._patterns, dictionary._apart = columns.patterns, columns.apart
        return dictionary

    def add(self, word: str, pos: str = "", label: str = "", *, frequency: float | None = None, mode: str = "") -> None:
        """Add a word, or say something else of one that is there; the fields are those of `Entry`.

        Raises:
            InputError: A field is not what it has to be.
        """
        self.update([Entry(word, pos, label, frequency, mode)])

    def update(self, entries: Iterable[Entry | str]) -> None:
        """Add many words at once.

        Raises:
            InputError: An entry is broken; none is added then.
        """
        self._change(_by_word(columns_of(entries)))

    def add_pattern(self, expression: str, pos: str = "", label: str = "") -> None:
        """Make a word of all that a regular expression matches in normalised text, line by line.

        Args:
            expression: In the syntax of the package `regex`.
            pos: The part of speech of what it matches; empty: the model decides.
            label: The label of the entity that it is; empty: none.

        Raises:
            InputError: The expression is broken or matches no character, or a label is no label.
        """
        with self._lock:
            patterns = dict(self._patterns)
            _add_pattern(patterns, expression, pos, label)
            self._patterns, self._tables = patterns, None

    def keep_apart(self, *parts: str) -> None:
        """Let no word go across from one part to the next where all of them stand together: the opposite of `force`.

        Raises:
            InputError: There are fewer than two parts, or they are too long together.
        """
        with self._lock:
            apart = dict(self._apart)
            _keep_apart(apart, "".join(parts), [part for part in parts if part])
            self._apart, self._tables = apart, None

    def remove(self, word: str) -> bool:
        """Take a word out; return whether it was there."""
        word = normalize(word.strip())
        with self._lock:
            if self._get(word) is None:
                return False
            self._changes[word] = None
            self._tables = None
            return True

    def copy(self) -> UserDictionary:
        """Return a dictionary of its own with the same words, quickly: what is large is shared."""
        other = UserDictionary(mode=self.mode, weight=self.weight)
        with self._lock:
            other._base, other._changes, other._tables = self._base, dict(self._changes), self._tables
            other._patterns, other._apart = self._patterns, self._apart
        return other

    def get(self, word: str) -> Entry | None:
        """Return the entry of a word, or None."""
        with self._lock:
            fields = self._get(normalize(word.strip()))
        return None if fields is None else Entry(*fields)

    def tables(self) -> WordTables | None:
        """Return the words of this moment for looking up, None if there have never been any."""
        with self._lock:
            if self._tables is None and (self._base or self._changes or self._patterns or self._apart):
                self._tables = self._build()
            return self._tables

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.get(word) is not None

    def __iter__(self) -> Iterator[Entry]:
        with self._lock:
            entries = self._entries()
        return (Entry(*fields) for fields in entries.values() if fields is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock behind, so that a dictionary can be sent to another process."""
        with self._lock:
            return {name: value for name, value in vars(self).items() if name != "_lock"} | {"_tables": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def _change(self, entries: dict[str, _Fields | None]) -> None:
        with self._lock:
            self._changes.update(entries)
            self._tables = None

    def _get(self, word: str) -> _Fields | None:
        if word in self._changes:
            return self._changes[word]
        return None if self._base is None else self._base.entries.get(word)

    def _entries(self) -> dict[str, _Fields | None]:
        return {**({} if self._base is None else self._base.entries), **self._changes}

    def _build(self) -> WordTables:
        """Make the tables: those of the changes, or all of them if there are too many changes."""
        if len(self._changes) > _MOST_CHANGES or self._base is None:
            entries = self._entries()
            for word in [word for word, entry in self._changes.items() if entry is None]:
                del entries[word]
            self._base, self._changes = _Layer.build(entries, self.mode, self.weight, None), {}
        layers = [self._base]
        if self._changes:
            layers.append(_Layer.build(self._changes, self.mode, self.weight, self._base.attributes))
        attributes = layers[-1].attributes
        first = len(attributes.force)
        if self._patterns:
            fields: list[_Fields] = [(text, pos, label, None, FORCE) for text, (pos, label) in self._patterns.items()]
            attributes = _attributes(fields, self.mode, self.weight, attributes)
        own = [OwnPattern(regex.compile(text, regex.V1), row) for row, text in enumerate(self._patterns, start=first)]
        return WordTables([layer.tables for layer in layers], attributes, own, self._apart)


def _by_word(columns: Columns) -> dict[str, _Fields | None]:
    frequencies = [None if math.isnan(frequency) else frequency for frequency in columns.frequencies]
    rows = zip(columns.words, columns.pos, columns.labels, frequencies, columns.modes, strict=True)
    return dict(zip(columns.words, rows, strict=True))
