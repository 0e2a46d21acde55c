"""Where the words of a user's dictionary stand in texts, found for whole blocks of lines at once by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from zhseq.tagging.lexicon import NgramTable, TextHashes
from zhseq.text.normalize import CodePoints

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_BEFORE_HAN = 0x2E80  # scripts that write words apart lie before; Han, kana and their marks from here on


@dataclass(frozen=True)
class Attributes:
    """What the entries of a dictionary say, a row for each; row 0 stands for no word.

    Attributes:
        bonus: What a path gains by the word, nats, (rows,).
        force: Whether it is a word wherever it stands, (rows,).
        pos: Its part of speech, by number in `names`, (rows,).
        labels: Its entity label, likewise, (rows,).
        names: All parts of speech and labels; number 0 is empty, for none.
    """

    bonus: Floats
    force: Bools
    pos: Ints
    labels: Ints
    names: tuple[str, ...]


@dataclass(frozen=True)
class Matches:
    """Places where words of a dictionary stand, by start, then by end.

    No two forced ones overlap, and none that is preferred overlaps one that is forced.

    Attributes:
        starts: First character of each match, (matches,).
        ends: The character behind its last, (matches,).
        rows: Its row of `attributes`, (matches,).
        attributes: Of the dictionary.
    """

    starts: Ints
    ends: Ints
    rows: Ints
    attributes: Attributes

    def __len__(self) -> int:
        return len(self.starts)


class WordTables:
    """The words of a dictionary at one moment; never changed, so that any number of threads may read it.

    A table for each length of word; later tables of a length overrule earlier ones, and their row 0 takes a word away.
    """

    def __init__(self, tables: Sequence[dict[int, NgramTable]], attributes: Attributes) -> None:
        """Create from layers of tables, which map the hash of a word to its row of `attributes`."""
        lengths = sorted({length for layer in tables for length in layer})
        self._tables = [(n, [layer[n] for layer in tables if n in layer]) for n in lengths]
        self.attributes = attributes

    def match(self, points: CodePoints, lines: Ints) -> Matches:
        """Find all words that may stand in some lines.

        A word does not begin or end between two letters or digits of a script that writes its words apart: `AI` is not
        in `MAIN`. Of forced words that overlap, the longest stands, and of those the leftmost.

        Args:
            points: Normalised code points of the lines laid end to end, (characters,).
            lines: Where each line begins, and the end of the last, (lines + 1,).
        """
        hashes = TextHashes(points)
        found = []
        for length, (first, *others) in self._tables:
            if length > len(points):
                break
            of_length = hashes.of_length(length)
            rows = first.find(of_length)
            for table in others:
                newer = table.find(of_length, missing=-1)
                rows = np.where(newer >= 0, newer, rows)
            starts = np.flatnonzero(rows)
            found.append((starts, starts + length, rows[starts]))
        if not found:
            nothing = np.zeros(0, dtype=np.int64)
            return Matches(nothing, nothing, nothing, self.attributes)
        starts, ends, rows = (np.concatenate(column) for column in zip(*found, strict=True))
        line_of = np.repeat(np.arange(len(lines) - 1), np.diff(lines))
        inside = _inside_latin_words(points, line_of)
        possible = (line_of[starts] == line_of[ends - 1]) & ~inside[starts] & ~inside[ends]
        kept = np.flatnonzero(possible)
        force = self.attributes.force[rows[kept]]
        if force.any():
            forced, free = kept[force], kept[~force]
            chosen, taken = _longest_first(starts[forced], ends[forced], len(points))
            before = np.append(0, np.cumsum(taken))
            kept = np.concatenate([free[before[starts[free]] == before[ends[free]]], forced[chosen]])
        order = np.argsort(
            starts[kept] * (len(points) + 1) + ends[kept], kind="stable"
        )  # quick with what is half in order
        kept = kept[order]
        return Matches(starts[kept], ends[kept], rows[kept].astype(np.int64), self.attributes)


def _inside_latin_words(points: CodePoints, line_of: Ints) -> Bools:
    """Tell which places, (characters + 1,), lie between two letters or digits of a script that writes words apart."""
    letters = _letters()[np.minimum(points, _BEFORE_HAN)]
    inside = np.zeros(len(points) + 1, dtype=np.bool_)
    inside[1:-1] = letters[:-1] & letters[1:] & (line_of[:-1] == line_of[1:])
    return inside


@lru_cache(maxsize=1)
def _letters() -> Bools:
    return np.array([chr(point).isalnum() for point in range(_BEFORE_HAN)] + [False])


def _longest_first(starts: Ints, ends: Ints, size: int) -> tuple[Ints, Bools]:
    """Choose spans that do not overlap: the longest first, and of one length the leftmost.

    Args:
        starts: (spans,); of one length, in order.
        ends: (spans,).
        size: Characters of the text.

    Returns:
        The numbers of the chosen ones, and which characters they take, (size,).
    """
    lengths = ends - starts
    taken = np.zeros(size, dtype=np.bool_)
    chosen = [np.zeros(0, dtype=np.int64)]
    for length in np.unique(lengths)[::-1].tolist():
        spans = np.flatnonzero(lengths == length)
        # No chosen span is shorter, so one that overlaps this one takes its first or its last character.
        spans = spans[~(taken[starts[spans]] | taken[ends[spans] - 1])]
        spans = spans[_leftmost(starts[spans], length)]
        taken[starts[spans][:, None] + np.arange(length)] = True
        chosen.append(spans)
    return np.concatenate(chosen), taken


def _leftmost(starts: Ints, length: int) -> Bools:
    """Choose from spans of one length, in order, those that no chosen one before them overlaps."""
    chosen = np.ones(len(starts), dtype=np.bool_)
    free = 0
    for number in (np.flatnonzero(np.diff(starts) < length) + 1).tolist():  # those that overlap the one before them
        if chosen[number - 1]:
            free = starts[number - 1] + length
        chosen[number] = starts[number] >= free
    return chosen
