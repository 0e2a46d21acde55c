"""User dictionary: entries compiled to look-up tables, changeable at run time, safe to use from several threads."""

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
"""Bonus of a path, in nats, for each character of a preferred word after the first.

The first character does not count, so two short words gain less than the long word that they make up, and a dictionary
of common words does not fragment the text. A weight of 4 finds most words that the model alone misses, and 100,000
common words do no harm.
"""
MAX_WEIGHT = 1000.0
_SINGLE = 0.25  # share of the weight for a one-character word
_EDGE = 0.5  # nats for each factor of ten in frequency
_USUAL_FREQUENCY = 1000.0  # for an entry without a frequency
_MOST_CHANGES = 4096  # entries in the small tables of changes before the large tables are rebuilt

_Fields = tuple[str, str, str, float | None, str]
"""Fields of an `Entry` as a plain tuple, because a hundred thousand objects of a class would slow down the garbage
collector."""


@dataclass(frozen=True)
class _Layer:
    """Entries by word, with None for removed words, and their look-up tables."""

    entries: dict[str, _Fields | None]
    tables: dict[int, NgramTable]
    attributes: Attributes

    @classmethod
    def build(cls, entries: dict[str, _Fields | None], mode: str, weight: float, below: Attributes | None) -> _Layer:
        """Build the tables of entries.

        Args:
            entries: Fields by word; None for a removed word.
            mode: Default mode of the dictionary.
            weight: Weight of the dictionary, in nats.
            below: Attributes of the layer below, whose rows come first; None for the lowest layer.
        """
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
    """Append the rows of `entries` to the attributes of the layer below."""
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
    """Words with optional part-of-speech tag and entity label, each preferred or forced.

    * `prefer`: a path through the CRF lattice in which the word is one whole word gets a bonus of `weight` nats for
      each character after the first (a quarter of `weight` for a one-character word), and the same again if the path
      has the given tag (label) there. Strong context can override the bonus.
    * `force`: the word is one word wherever it occurs. Of overlapping forced words the longest wins, then the leftmost.

    A dictionary may also contain regular expressions whose matches are forced words (`add_pattern`), and texts inside
    which no word crosses given borders (`keep_apart`).

    Where the word is one whole word, the output has the tag (label) of the entry, even if the model does not know it.
    Words are compared in normalised form: width and script are folded (計算 and 计算 are one word), case is kept, and a
    blank matches exactly one blank.

    Any thread may change the dictionary while others tag: each block of texts is tagged with one consistent state.
    Changes are collected in small tables beside the large ones, which are rebuilt only after many changes.

    Attributes:
        mode: Mode of entries that do not set one.
        weight: Bonus of preferred words, in nats per character after the first.
    """

    def __init__(
        self, entries: Iterable[Entry | str] = (), *, mode: str = PREFER, weight: float = DEFAULT_WEIGHT
    ) -> None:
        """Create a dictionary from entries; of several entries for one word the last is used.

        Args:
            entries: Words or entries.
            mode: Mode of entries that do not set one, `prefer` or `force`.
            weight: Bonus of preferred words in nats, from 0 to 1000; 0 leaves segmentation to the model.

        Raises:
            InputError: An entry, the mode or the weight is invalid.
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
        """Read a dictionary file in jieba's format or tab-separated, see `zhseq.tagging.dictionary_file.read_entries`.

        Args:
            path: The file.
            mode: Mode of entries that do not set one, `prefer` or `force`.
            weight: Bonus of preferred words in nats, from 0 to 1000.
            notify: Called with notes about lines that may not have the intended meaning.

        Raises:
            InputError: The file cannot be read, is empty, or a line is invalid.
        """
        dictionary = cls(mode=mode, weight=weight)
        columns = read_entries(Path(path), notify)
        dictionary._change(_by_word(columns))
        dictionary._patterns, dictionary._apart = columns.patterns, columns.apart
        return dictionary

    def add(self, word: str, pos: str = "", label: str = "", *, frequency: float | None = None, mode: str = "") -> None:
        """Add or replace a word; the arguments are the fields of `Entry`.

        Raises:
            InputError: A field is invalid.
        """
        self.update([Entry(word, pos, label, frequency, mode)])

    def update(self, entries: Iterable[Entry | str]) -> None:
        """Add or replace many words.

        Raises:
            InputError: An entry is invalid; then none is added.
        """
        self._change(_by_word(columns_of(entries)))

    def add_pattern(self, expression: str, pos: str = "", label: str = "") -> None:
        """Add a regular expression; each of its matches in normalised text, line by line, is a forced word.

        Args:
            expression: Regular expression of the Python package `regex`.
            pos: Part-of-speech tag of the matches; empty: the model chooses.
            label: Entity label of the matches; empty: none.

        Raises:
            InputError: The expression is invalid or matches the empty string, or `pos` or `label` is invalid.
        """
        with self._lock:
            patterns = dict(self._patterns)
            add_pattern(patterns, expression, pos, label)
            self._patterns, self._tables = patterns, None

    def keep_apart(self, *parts: str) -> None:
        """Require word borders between `parts` wherever they occur one after the other; the opposite of `force`.

        Raises:
            InputError: There are fewer than two parts, or their total length is too large.
        """
        with self._lock:
            apart = dict(self._apart)
            keep_apart(apart, "".join(parts), [part for part in parts if part])
            self._apart, self._tables = apart, None

    def remove(self, word: str) -> bool:
        """Remove a word; return whether it was in the dictionary."""
        word = normalize(word.strip())
        with self._lock:
            if self._get(word) is None:
                return False
            self._changes[word] = None
            self._tables = None
            return True

    def copy(self) -> UserDictionary:
        """Return an independent copy, quickly: the large tables are shared."""
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
        """Return look-up tables of the current entries; None if there have never been any."""
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
        """Omit the lock, which cannot be pickled, and the tables, which are rebuilt on demand."""
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
        """Build the tables of the changes, or rebuild all tables if there are many changes."""
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
