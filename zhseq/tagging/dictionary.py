"""A user's own words: compiled into tables, changed at run time, and safe to use from several threads."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import regex

from zhseq.errors import InputError
from zhseq.tagging.dictionary_file import (
    FORCE,
    MODES,
    PREFER,
    Columns,
    Entry,
    add_pattern,
    columns_of,
    keep_apart,
    read_entries,
    shown,
)
from zhseq.tagging.lexicon import NgramTable
from zhseq.tagging.matching import Attributes, OwnPattern, WordTables, pattern_attributes
from zhseq.text.encoding import Notify
from zhseq.text.normalize import codepoints, normalize

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
            add_pattern(patterns, expression, pos, label)
            self._patterns, self._tables = patterns, None

    def keep_apart(self, *parts: str) -> None:
        """Let no word go across from one part to the next where all of them stand together: the opposite of `force`.

        Raises:
            InputError: There are fewer than two parts, or they are too long together.
        """
        with self._lock:
            apart = dict(self._apart)
            keep_apart(apart, "".join(parts), [part for part in parts if part])
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
