"""Where the words of a user's dictionary and the pieces known by their spelling stand in a block of lines."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import regex

from zhseq.errors import InputError
from zhseq.tagging.lexicon import NgramTable, TextHashes
from zhseq.tagging.patterns import ALL_KINDS as PATTERN_KINDS
from zhseq.tagging.patterns import match_patterns
from zhseq.text.normalize import CodePoints, from_codepoints

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_BEFORE_HAN = 0x2E80  # scripts that write words apart lie before; Han, kana and their marks from here on


@dataclass(frozen=True)
class Attributes:
    """What is said of the words that are matched, a row for each.

    Row 0 stands for no word; the next rows are those of `PATTERN_KINDS`, in every table; then come the entries of a
    dictionary.

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


FIRST_ENTRY = 1 + len(PATTERN_KINDS)
"""The first row of `Attributes` that belongs to a dictionary."""


@lru_cache(maxsize=1)
def pattern_attributes() -> Attributes:
    """Return the attributes of the pieces that are known by their spelling: all that there is without a dictionary."""
    parts = ["", *(kind.pos for kind in PATTERN_KINDS)]
    names = tuple(dict.fromkeys(parts))
    force = np.array([False] + [True] * len(PATTERN_KINDS))
    pos = np.array([names.index(part) for part in parts], dtype=np.int64)
    return Attributes(np.zeros(FIRST_ENTRY, dtype=np.float32), force, pos, np.zeros_like(pos), names)


@dataclass(frozen=True)
class Matches:
    """Places where words stand, by start, then by end, and where no word may go across.

    No two forced ones overlap, and none that is preferred overlaps one that is forced.

    Attributes:
        starts: First character of each match, (matches,).
        ends: The character behind its last, (matches,).
        rows: Its row of `attributes`, (matches,).
        cuts: Characters with which a word has to begin, in order, (cuts,).
        attributes: Of the dictionary.
    """

    starts: Ints
    ends: Ints
    rows: Ints
    cuts: Ints
    attributes: Attributes

    def __len__(self) -> int:
        return len(self.starts)


_NOTHING = np.zeros(0, dtype=np.int64)
_Found = tuple[Ints, Ints, Ints]
"""Starts, ends and rows of matches."""


class WordTables:
    """The words of a dictionary at one moment; never changed, so that any number of threads may read it.

    A table for each length of word; later tables of a length overrule earlier ones, and their row 0 takes a word away.
    """

    def __init__(
        self,
        tables: Sequence[dict[int, NgramTable]],
        attributes: Attributes,
        patterns: Sequence[OwnPattern] = (),
        apart: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        """Create a table.

        Args:
            tables: Layers of tables by length, which map the hash of a word to its row of `attributes`.
            attributes: Of the words and the patterns.
            patterns: The user's own.
            apart: Normalised texts, and where in them no word may go across.
        """
        lengths = sorted({length for layer in tables for length in layer})
        self._tables = [(n, [layer[n] for layer in tables if n in layer]) for n in lengths]
        self._patterns = tuple(patterns)
        self._apart = dict(apart or {})
        self._joined = None
        if self._apart:
            longest_first = sorted(self._apart, key=len, reverse=True)
            self._joined = re.compile("(?=(" + "|".join(map(re.escape, longest_first)) + "))")
        self.attributes = attributes

    def words(self, points: CodePoints, line_of: Ints) -> _Found:
        """Find all words of the dictionary that may stand in some lines.

        A word does not begin or end between two letters or digits of a script that writes its words apart: `AI` is not
        in `MAIN`.

        Args:
            points: Normalised code points of the lines laid end to end, (characters,).
            line_of: The line of each, (characters,).
        """
        hashes = TextHashes(points)
        found: list[_Found] = []
        for length, (first, *others) in self._tables:
            if length > len(points):
                break
            of_length = hashes.of_length(length)
            numbers = first.find(of_length)
            for table in others:
                newer = table.find(of_length, missing=-1)
                numbers = np.where(newer >= 0, newer, numbers)
            starts = np.flatnonzero(numbers)
            found.append((starts, starts + length, numbers[starts].astype(np.int64)))
        starts, ends, rows = _joined(found)
        inside = _inside_latin_words(points, line_of)
        possible = (line_of[starts] == line_of[ends - 1]) & ~inside[starts] & ~inside[ends]
        return starts[possible], ends[possible], rows[possible]

    def own_patterns(self, points: CodePoints, lines: Ints) -> _Found:
        """Find what the user's own patterns match, line by line.

        Raises:
            InputError: A pattern takes too long.
        """
        if not self._patterns:
            return _NOTHING, _NOTHING, _NOTHING
        bounds = lines.tolist()
        text = from_codepoints(points)
        texts = [(start, text[start:end]) for start, end in pairwise(bounds)]
        spans = [
            (start + first, start + last, pattern.row)
            for pattern in self._patterns
            for start, first, last in pattern.find(texts)
        ]
        starts, ends, rows = np.array(spans, dtype=np.int64).reshape(-1, 3).T
        return starts, ends, rows

    def cuts(self, points: CodePoints, lines: Ints) -> tuple[Ints, Ints]:
        """Find where no word may go across: these characters, in order, and the length of the text that says so."""
        if self._joined is None:
            return _NOTHING, _NOTHING
        inner = lines[1:-1]
        text = from_codepoints(np.insert(points, inner, ord("\n")))
        sizes: dict[int, int] = {}
        for match in self._joined.finditer(text):
            # Of several that begin here, the longest was found; the others may cut elsewhere.
            whole = match[1]
            for size in range(2, len(whole) + 1):
                for cut in self._apart.get(whole[:size], ()):
                    position = match.start() + cut
                    sizes[position] = max(size, sizes.get(position, 0))
        positions = np.array(sorted(sizes), dtype=np.int64)
        before = np.searchsorted(inner + np.arange(1, len(inner) + 1), positions, side="right")
        return positions - before, np.array([sizes[position] for position in positions.tolist()], dtype=np.int64)


@dataclass(frozen=True)
class OwnPattern:
    """A regular expression of a user's.

    Attributes:
        expression: For normalised text.
        row: Its row of the attributes.
    """

    expression: regex.Pattern[str]
    row: int

    def find(self, texts: Sequence[tuple[int, str]]) -> Iterator[tuple[int, int, int]]:
        """Yield for each match in some texts the number that came with the text, its start and its end.

        Raises:
            InputError: It takes longer than `PATTERN_SECONDS`.
        """
        deadline = time.monotonic() + PATTERN_SECONDS
        try:
            for number, text in texts:
                left = max(deadline - time.monotonic(), 1e-3)
                for match in self.expression.finditer(text, timeout=left):
                    if match.end() > match.start():
                        yield number, match.start(), match.end()
        except TimeoutError:
            raise InputError(
                "slow_pattern",
                "expected a pattern that is found within {seconds:g} s in a block of text, but this one takes longer: "
                "{pattern}; write one that cannot match the same text in many ways",
                seconds=PATTERN_SECONDS,
                pattern=self.expression.pattern,
            ) from None


PATTERN_SECONDS = 5.0
"""What one of a user's patterns may take in a block of some ten thousand characters; usual ones take milliseconds."""
MAX_PIECE = 1000
"""Characters of the longest piece that is taken for one word by its spelling; a model has to read it at once."""


def match(points: CodePoints, lines: Ints, words: WordTables | None, *, patterns: bool = False) -> Matches | None:
    """Find what is known of the words of some lines before a model reads them.

    Of forced words that overlap, the longest stands, and of those the leftmost; of several in one place first a word of
    the dictionary, then a pattern of the user's, then what is known by its spelling. That gives way to preferred words,
    too, unless they lie within it. A place where no word may go across yields to a forced word that is longer than the
    text which says so.

    Args:
        points: Normalised code points of the lines laid end to end, (characters,).
        lines: Where each line begins, and the end of the last, (lines + 1,).
        words: A dictionary, if any.
        patterns: Whether to look for what is known by its spelling.

    Returns:
        None without a dictionary if there is nothing.

    Raises:
        InputError: A pattern of the user's takes too long.
    """
    spelled = _spelled(points, lines) if patterns else (_NOTHING, _NOTHING, _NOTHING)
    if words is None:
        return Matches(*spelled, _NOTHING, pattern_attributes()) if len(spelled[0]) else None
    line_of = np.repeat(np.arange(len(lines) - 1), np.diff(lines))
    found, attributes = words.words(points, line_of), words.attributes
    force = attributes.force[found[2]]
    free = _chosen(found, ~force)
    spelled = _out_of_the_way(spelled, free, len(points))
    forced = _joined([_chosen(found, force), words.own_patterns(points, lines), spelled])
    forced = _chosen(forced, np.argsort(forced[0], kind="stable"))
    chosen, _ = _longest_first(forced[0], forced[1], len(points))
    forced, cuts = _cut(_chosen(forced, chosen), *words.cuts(points, lines), len(points))
    taken = _taken(forced, len(points))
    starts, ends, _ = free
    across = np.searchsorted(cuts, starts, side="right") != np.searchsorted(cuts, ends)
    kept = (taken[starts] == taken[ends]) & ~across
    starts, ends, rows = _joined([_chosen(free, kept), forced])
    order = np.argsort(starts * (len(points) + 1) + ends, kind="stable")  # quick with what is half in order
    return Matches(starts[order], ends[order], rows[order], cuts, attributes)


def _joined(parts: Sequence[_Found]) -> _Found:
    if not parts:
        return _NOTHING, _NOTHING, _NOTHING
    starts, ends, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    return starts, ends, rows


def _chosen(found: _Found, rows: Ints | Bools) -> _Found:
    starts, ends, numbers = found
    return starts[rows], ends[rows], numbers[rows]


def _spelled(points: CodePoints, lines: Ints) -> _Found:
    found = match_patterns(points, lines)
    short = found.ends - found.starts <= MAX_PIECE
    return _chosen((found.starts, found.ends, found.kinds + 1), short)


def _taken(spans: _Found, size: int) -> Ints:
    """Count the characters before each place that belong to spans which do not overlap, (size + 1,)."""
    edges = np.bincount(spans[0], minlength=size + 1) - np.bincount(spans[1], minlength=size + 1)
    return np.append(0, np.cumsum(np.cumsum(edges)[:size]))


def _out_of_the_way(spelled: _Found, free: _Found, size: int) -> _Found:
    """Leave out pieces that a preferred word equals, covers or overlaps."""
    starts, ends, _ = free
    if not len(starts) or not len(spelled[0]):
        return spelled
    inside = np.cumsum(np.bincount(starts + 1, minlength=size + 2) - np.bincount(ends, minlength=size + 2))
    equal = np.isin(spelled[0] * (size + 1) + spelled[1], starts * (size + 1) + ends)
    kept = (inside[spelled[0]] == 0) & (inside[spelled[1]] == 0) & ~equal
    return _chosen(spelled, kept)


def _cut(forced: _Found, cuts: Ints, lengths: Ints, size: int) -> tuple[_Found, Ints]:
    """Let forced words, which do not overlap, and places that no word goes across make way for each other."""
    starts, ends, rows = forced
    order = np.argsort(starts)
    starts, ends, rows = starts[order], ends[order], rows[order]
    if not len(cuts) or not len(starts):
        return (starts, ends, rows), cuts
    word = np.searchsorted(starts, cuts, side="left") - 1  # the last that begins before
    across = (word >= 0) & (ends[word] > cuts)
    longer = ends[word] - starts[word] > lengths
    lost = np.unique(word[across & ~longer])
    cuts = cuts[~(across & longer)]
    return (np.delete(starts, lost), np.delete(ends, lost), np.delete(rows, lost)), cuts


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
