"""Prepare blocks of lines for the tagger: characters without blanks, known words, and pieces of limited length.

`Matches` are the occurrences of dictionary words and patterns in a block, with conflicts between them resolved. `Marks`
are the constraints that they impose on one head of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.nn.viterbi import Arcs, Limits
from zhseq.tagging.matching import (
    ALL_KINDS,
    FIRST_ENTRY,
    NOTHING,
    Attributes,
    Found,
    WordTables,
    join,
    match_patterns,
    pattern_attributes,
)
from zhseq.text.normalize import CodePoints, blanks, folded, from_codepoints
from zhseq.text.pieces import cut_pieces, split_sentences, with_context
from zhseq.text.tags import TagTable

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PIECE = 128
"""Maximum length in characters of a piece, about as in training; a piece is longer only to include a long word."""
_CONTEXT = 16  # characters of context on each side of a cut that is not at the end of a sentence
MAX_PIECE = 1000
"""Maximum length in characters of a pattern match, because the model reads a match as part of one piece."""
NAMELESS = -2
"""Pseudo label: none of the characters may belong to an entity."""
_NAMELESS_ROWS = np.array([False, *(kind.nameless for kind in ALL_KINDS), False])


@dataclass(frozen=True)
class TextBlock:
    """A block of lines as one array without blanks, and the pieces in which the model reads it.

    Attributes:
        points: Normalised code points of all lines without blanks, (characters,) uint32.
        positions: Offset of each of them in the concatenated lines, (characters,) int64.
        lines: Start of each line in the concatenated lines, and the end of the last line, (lines + 1,) int64.
        first: Whether a character is the first of a line, (characters,) bool.
        after_blank: Whether a character follows a blank or is the first of a line, (characters,) bool.
        pieces: Ranges of `points` for each piece, (pieces, 4) int64: start and end of the characters that it tags,
            start and end of those that the model reads, context included.
        owner: Line of each piece, (pieces,) int64.
        matches: Occurrences of dictionary words and patterns, in positions of `points`; None if there are none.
    """

    points: CodePoints
    positions: Ints
    lines: Ints
    first: npt.NDArray[np.bool_]
    after_blank: npt.NDArray[np.bool_]
    pieces: Ints
    owner: Ints
    matches: Matches | None = None

    @classmethod
    def of(cls, lines: Sequence[str], words: WordTables | None = None, *, patterns: bool = False) -> TextBlock:
        """Create a block from lines, and find dictionary words and patterns in them, see `match`.

        Args:
            lines: Texts of any length.
            words: Tables of a user dictionary, if any.
            patterns: Whether to find the built-in patterns.

        Raises:
            InputError: A pattern of the user dictionary takes too long.
        """
        offsets = np.array([0, *accumulate(map(len, lines))], dtype=np.int64)
        every = folded("".join(lines))
        positions = (~blanks(every)).nonzero()[0]
        points, bounds = every, offsets
        if len(positions) < len(every):
            points, bounds = every[positions], positions.searchsorted(offsets)
        first = np.zeros(len(points), dtype=np.bool_)
        first[bounds[:-1][bounds[:-1] < bounds[1:]]] = True
        apart = first.copy()
        apart[1:] |= positions[1:] - positions[:-1] > 1
        matches = match(every, offsets, words, patterns=patterns)
        if matches is not None and len(positions) < len(every):
            starts, ends, cuts = (
                positions.searchsorted(found) for found in (matches.starts, matches.ends, matches.cuts)
            )
            matches = replace(matches, starts=starts, ends=ends, cuts=cuts)
        pieces, owner = _pieces(points, bounds, matches)
        return cls(points, positions, offsets, first, apart, pieces, owner, matches)

    def split_point(self, most: int) -> int:
        """Return the last offset within the first `most` characters at which a block of one line can be split.

        Prefer a piece that begins with a sentence and has no context across its start: then both parts have the same
        pieces, and the same tags, as the whole. Otherwise take a piece without context before it, otherwise any piece.
        """
        begins, _, reads, _ = self.pieces[1:].T
        within = self.positions[begins] <= most
        apart = (reads == begins) & (np.maximum.accumulate(self.pieces[:-1, 3]) <= begins)
        sentences = [start for start, _ in split_sentences(from_codepoints(self.points))]
        for fitting in (apart & np.isin(begins, sentences), reads == begins, within):
            if len(found := begins[within & fitting]):
                return int(self.positions[found[-1]])
        return most


def _pieces(points: CodePoints, bounds: Ints, matches: Matches | None) -> tuple[Ints, Ints]:
    """Split the lines, given by their bounds in `points`, into pieces; return `TextBlock.pieces` and `owner`."""
    begins, ends = bounds[:-1], bounds[1:]
    sizes = ends - begins
    short = ((sizes > 0) & (sizes <= PIECE)).nonzero()[0]
    whole = np.empty((len(short), 4), dtype=np.int64)
    whole[:, ::2], whole[:, 1::2] = begins[short, None], ends[short, None]
    rows, owner = [whole], [short]
    long = (sizes > PIECE).nonzero()[0].tolist()
    if not long:
        return whole, short
    positions = _CutPositions(matches, len(points)) if matches is not None else None
    for line in long:
        text = from_codepoints(points[bounds[line] : bounds[line + 1]])
        cuts = cut_pieces(text, PIECE)
        if positions is not None:
            cuts = positions.move_cuts(cuts, int(bounds[line]))
        rows.append(np.hstack([np.array(cuts), np.array(with_context(text, cuts, _CONTEXT))]) + bounds[line])
        owner.append(np.full(len(cuts), line))
    return np.concatenate(rows), np.concatenate(owner)


class _CutPositions:
    """Positions at which a text can be split without splitting a matched word."""

    def __init__(self, matches: Matches, size: int) -> None:
        force = matches.attributes.force[matches.rows]
        self._around_all = _uncovered(matches.starts, matches.ends, size)
        self._around_forced = _uncovered(matches.starts[force], matches.ends[force], size)

    def move_cuts(self, cuts: list[tuple[int, int]], offset: int) -> list[tuple[int, int]]:
        """Move the cuts of a line, which begins at `offset`, after the words that they would split.

        If a chain of overlapping preferred words would move a cut by more than `PIECE`, respect only forced words.
        """
        stops = np.array([end for _, end in cuts]) + offset
        moved = self._around_all[np.searchsorted(self._around_all, stops)]
        forced = self._around_forced[np.searchsorted(self._around_forced, stops)]
        stops = np.unique(np.where(moved - stops <= PIECE, moved, forced)) - offset
        return list(zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True))


def _uncovered(starts: Ints, ends: Ints, size: int) -> Ints:
    """Return the positions from 0 to `size` that are not inside any span, in order."""
    edges = np.bincount(starts + 1, minlength=size + 2) - np.bincount(ends, minlength=size + 2)
    return np.flatnonzero(np.cumsum(edges)[: size + 1] == 0)


@dataclass(frozen=True)
class Matches:
    """Occurrences of known words, sorted by start, then by end, and positions that no word may cross.

    Forced words overlap neither each other nor preferred words.

    Attributes:
        starts: Start of each match, (matches,) int64.
        ends: End of each match, exclusive, (matches,) int64.
        rows: Row of each match in `attributes`, (matches,) int64.
        cuts: Positions before which a word border is required, sorted, (cuts,) int64.
        attributes: Attributes of the known words.
    """

    starts: Ints
    ends: Ints
    rows: Ints
    cuts: Ints
    attributes: Attributes

    def __len__(self) -> int:
        return len(self.starts)


def match(points: CodePoints, lines: Ints, words: WordTables | None, *, patterns: bool = False) -> Matches | None:
    """Find dictionary words and patterns in a block of lines, and resolve conflicts between them.

    Of overlapping forced words the longest wins, then the leftmost. For the same span a dictionary word wins, then a
    user pattern, then a built-in pattern. A built-in pattern also yields to a preferred word that equals, covers or
    overlaps it. A cut yields to a forced word that is longer than the text of the cut.

    Args:
        points: Normalised code points of the concatenated lines, (characters,).
        lines: Start of each line, and the end of the last, (lines + 1,).
        words: Tables of a user dictionary, if any.
        patterns: Whether to find the built-in patterns.

    Returns:
        The matches, in positions of `points`; None if there is no dictionary and no pattern matches.

    Raises:
        InputError: A pattern of the user dictionary takes too long.
    """
    found_patterns = _pattern_matches(points, lines) if patterns else (NOTHING, NOTHING, NOTHING)
    if words is None:
        return Matches(*found_patterns, NOTHING, pattern_attributes()) if len(found_patterns[0]) else None
    line_of = np.repeat(np.arange(len(lines) - 1), np.diff(lines))
    found, attributes = words.words(points, line_of), words.attributes
    force = attributes.force[found[2]]
    free = _select(found, ~force)
    found_patterns = _drop_overlapped(found_patterns, free, len(points))
    forced = join([_select(found, force), words.own_patterns(points, lines), found_patterns])
    forced = _select(forced, np.argsort(forced[0], kind="stable"))
    chosen, _ = _longest_first(forced[0], forced[1], len(points))
    forced, cuts = _resolve_cuts(_select(forced, chosen), *words.cuts(points, lines), len(points))
    covered = _count_covered(forced, len(points))
    starts, ends, _ = free
    across = np.searchsorted(cuts, starts, side="right") != np.searchsorted(cuts, ends)
    kept = (covered[starts] == covered[ends]) & ~across
    starts, ends, rows = join([_select(free, kept), forced])
    order = np.argsort(starts * (len(points) + 1) + ends, kind="stable")  # timsort is fast on two sorted runs
    return Matches(starts[order], ends[order], rows[order], cuts, attributes)


def _select(found: Found, rows: Ints | Bools) -> Found:
    starts, ends, numbers = found
    return starts[rows], ends[rows], numbers[rows]


def _pattern_matches(points: CodePoints, lines: Ints) -> Found:
    found = match_patterns(points, lines)
    short = found.ends - found.starts <= MAX_PIECE
    return _select((found.starts, found.ends, found.kinds + 1), short)


def _count_covered(spans: Found, size: int) -> Ints:
    """Count the characters before each position that are covered by `spans`, which do not overlap, (size + 1,)."""
    edges = np.bincount(spans[0], minlength=size + 1) - np.bincount(spans[1], minlength=size + 1)
    return np.append(0, np.cumsum(np.cumsum(edges)[:size]))


def _drop_overlapped(found_patterns: Found, free: Found, size: int) -> Found:
    """Remove the pattern matches that a preferred word equals, covers or overlaps."""
    starts, ends, _ = free
    if not len(starts) or not len(found_patterns[0]):
        return found_patterns
    inside = np.cumsum(np.bincount(starts + 1, minlength=size + 2) - np.bincount(ends, minlength=size + 2))
    equal = np.isin(found_patterns[0] * (size + 1) + found_patterns[1], starts * (size + 1) + ends)
    kept = (inside[found_patterns[0]] == 0) & (inside[found_patterns[1]] == 0) & ~equal
    return _select(found_patterns, kept)


def _resolve_cuts(forced: Found, cuts: Ints, lengths: Ints, size: int) -> tuple[Found, Ints]:
    """Resolve conflicts between forced words, which do not overlap, and cuts: the longer text wins.

    Args:
        forced: Forced words.
        cuts: Positions that no word may cross, sorted.
        lengths: Length of the text of each cut.
        size: Characters of the block.
    """
    starts, ends, rows = forced
    order = np.argsort(starts)
    starts, ends, rows = starts[order], ends[order], rows[order]
    if not len(cuts) or not len(starts):
        return (starts, ends, rows), cuts
    word = np.searchsorted(starts, cuts, side="left") - 1  # the last one that begins before the cut
    across = (word >= 0) & (ends[word] > cuts)
    longer = ends[word] - starts[word] > lengths
    lost = np.unique(word[across & ~longer])
    cuts = cuts[~(across & longer)]
    return (np.delete(starts, lost), np.delete(ends, lost), np.delete(rows, lost)), cuts


def _longest_first(starts: Ints, ends: Ints, size: int) -> tuple[Ints, Bools]:
    """Select spans that do not overlap, greedily: longest first, then leftmost.

    Args:
        starts: Starts of the spans, (spans,); sorted among spans of one length.
        ends: Ends of the spans, (spans,).
        size: Characters of the text.

    Returns:
        Indices of the selected spans, and whether each character is covered by one of them, (size,).
    """
    lengths = ends - starts
    covered = np.zeros(size, dtype=np.bool_)
    chosen = [np.zeros(0, dtype=np.int64)]
    for length in np.unique(lengths)[::-1].tolist():
        spans = np.flatnonzero(lengths == length)
        # No selected span is shorter, so one that overlaps this span covers its first or its last character.
        spans = spans[~(covered[starts[spans]] | covered[ends[spans] - 1])]
        spans = spans[_leftmost(starts[spans], length)]
        covered[starts[spans][:, None] + np.arange(length)] = True
        chosen.append(spans)
    return np.concatenate(chosen), covered


def _leftmost(starts: Ints, length: int) -> Bools:
    """Select from sorted spans of one length, left to right, those that overlap no selected one."""
    chosen = np.ones(len(starts), dtype=np.bool_)
    free = 0
    for number in (np.flatnonzero(np.diff(starts) < length) + 1).tolist():  # those that overlap their predecessor
        if chosen[number - 1]:
            free = starts[number - 1] + length
        chosen[number] = starts[number] >= free
    return chosen


@dataclass(frozen=True)
class Marks:
    """Matched words as constraints on one head.

    Attributes:
        starts: Starts, sorted, (marks,) int64.
        ends: Ends, exclusive, (marks,) int64.
        bonus: Nats added to paths in which the span is one whole word, (marks,) float32.
        force: Whether the span must be one word; forced spans overlap no other mark, (marks,) bool.
        labels: Index of the label in the head's table, -1 for any, `NAMELESS` for no entity, (marks,) int64.
        names: Index in `Attributes.names` of the label to be output, 0 for that of the model, (marks,) int64.
    """

    starts: Ints
    ends: Ints
    bonus: npt.NDArray[np.float32]
    force: Bools
    labels: Ints
    names: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, chosen: Ints | Bools) -> Marks:
        return Marks(*(column[chosen] for column in self._columns()))

    def _columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self.starts, self.ends, self.bonus, self.force, self.labels, self.names

    def shifted(self, shift: Ints | int) -> Marks:
        """Return the marks with `shift`, one number or (marks,), added to their positions."""
        return replace(self, starts=self.starts + shift, ends=self.ends + shift)

    @classmethod
    def none(cls) -> Marks:
        """Return no marks."""
        ints, bools = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
        return cls(ints, ints, ints.astype(np.float32), bools, ints, ints)

    @classmethod
    def joined(cls, parts: Sequence[Marks]) -> Marks:
        """Concatenate marks; `parts` must not be empty."""
        return cls(*(np.concatenate(columns) for columns in zip(*(part._columns() for part in parts), strict=True)))

    @classmethod
    def of(cls, matches: Matches, table: TagTable) -> Marks:
        """Return the marks for a head: all matches for words, those with an entity label for entities.

        If the head does not know a label, or lacks its tags for spans of this length, the model chooses among all
        labels. A forced word of a length for which the head has no tags at all is omitted.

        Args:
            matches: Matches of the block.
            table: Tags of the head.
        """
        attributes, rows, tagged = matches.attributes, matches.rows, table.outside_id < 0
        names = (attributes.pos if tagged else attributes.labels)[rows]
        force = attributes.force[rows]
        sizes = np.minimum(matches.ends - matches.starts, 3) - 1
        kept = ~force | np.asarray(_usable_labels(table.tags).any(axis=1))[sizes]
        labels = _label_ids(attributes.names, table.tags)[sizes, names]
        if not tagged:
            nameless = _NAMELESS_ROWS[np.minimum(rows, FIRST_ENTRY)]
            kept = kept & (names > 0) | nameless
            labels = np.where(nameless, NAMELESS, labels)
        printed = np.where(rows < FIRST_ENTRY, 0, names)  # built-in patterns have labels of the model
        marks = cls(matches.starts, matches.ends, attributes.bonus[rows], force, labels, printed)
        return marks if kept.all() else marks[kept]

    def within(self, begins: Ints, ends: Ints) -> tuple[Ints, Marks]:
        """Select the marks that lie within ranges of characters.

        Args:
            begins: Start of each range, (ranges,).
            ends: End of each range, exclusive, (ranges,).

        Returns:
            The index of the range of each mark, and the marks, with positions relative to the start of their range.
        """
        first, last = np.searchsorted(self.starts, begins), np.searchsorted(self.starts, ends)
        counts = last - first
        ranges = np.repeat(np.arange(len(begins)), counts)
        marks = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
        whole = self.ends[marks] <= ends[ranges]
        ranges = ranges[whole]
        return ranges, self[marks[whole]].shifted(-begins[ranges])


@lru_cache(maxsize=64)
def _usable_labels(tags: tuple[str, ...]) -> Bools:
    """Return whether each label has the tags for spans of 1, 2, and more characters, (3, labels)."""
    has = TagTable.build(tags).tag_ids >= 0
    return np.stack([has[:, 3], has[:, 0] & has[:, 2], has[:, 0] & has[:, 1] & has[:, 2]])


@lru_cache(maxsize=64)
def _label_ids(names: tuple[str, ...], tags: tuple[str, ...]) -> Ints:
    """Return the label index of each name for spans of 1, 2, and more characters, -1 for none, (3, names)."""
    labels = TagTable.build(tags).labels
    index = {label: number for number, label in enumerate(labels) if label}
    of_name = np.array([index.get(name, -1) for name in names], dtype=np.int64)
    usable = np.append(_usable_labels(tags), np.zeros((3, 1), dtype=np.bool_), axis=1)  # the last for -1
    return np.where(usable[:, of_name], of_name, -1)


@lru_cache(maxsize=64)
def _tag_penalties(tags: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Return 0 for allowed tags and minus infinity for forbidden ones, a row for each kind of character, (kinds, tags).

    The first four rows are for characters with no border beside them, one after them, one before them, and both. Four
    groups of rows follow: for the first, an inner, the last and the only character of a forced word. Each group has a
    row for each label, one for any label, and one for no entity.
    """
    table = TagTable.build(tags)
    starts, stops = ~table.continues, ~table.opens
    spans = table.label_ids >= 0
    borders = np.ones((4, len(tags)), dtype=np.bool_)
    for kind, (begins, ends) in enumerate([(False, False), (False, True), (True, False), (True, True)]):
        if table.outside_id < 0:
            borders[kind] = (starts | (not begins)) & (stops | (not ends))
        else:
            borders[kind] = ~spans | ((~starts | begins) & (~stops | ends))
    words = np.zeros((4, len(table.labels) + 2, len(tags)), dtype=np.bool_)
    for label, positions in enumerate(table.tag_ids.tolist()):
        for position, tag in enumerate(positions):
            if tag >= 0:
                words[position, [label, -2], tag] = True
    if table.outside_id >= 0:
        words[:, -1, table.outside_id] = True
    allowed = np.concatenate([borders, words.reshape(-1, len(tags))])
    return np.where(allowed, np.float32(0.0), np.float32(-np.inf))


def limits_of(table: TagTable, marks: Marks, edges: Bools | None, size: int) -> Limits | None:
    """Return the restrictions on the tags of each character of concatenated texts, None if there are none.

    Args:
        table: Tags of the head.
        marks: Known words; only forced ones restrict tags, and they take precedence over borders.
        edges: Whether there is a border before each character, and at the end, (characters + 1,); None if unknown. A
            word does not cross a border and may end elsewhere, too; an entity begins and ends at borders, and may
            cross others.
        size: Characters of the texts.
    """
    forced = len(marks) > 0 and marks.force.any()
    if edges is None and not forced:
        return None
    kinds = np.full(size, -1, dtype=np.int32) if edges is None else 2 * edges[:-1] + edges[1:].astype(np.int32)
    if not forced:
        return Limits(kinds, _tag_penalties(table.tags))
    marks = marks[marks.force]
    sizes = marks.ends - marks.starts
    owner = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    position = np.where(within == 0, 0, np.where(within == sizes[owner] - 1, 2, 1))
    position[sizes[owner] == 1] = 3
    labels = len(table.labels) + 2  # the last two are any label, and no entity
    column = np.where(marks.labels >= 0, marks.labels, len(table.labels) - 1 - marks.labels)
    kinds[marks.starts[owner] + within] = 4 + position * labels + column[owner]
    return Limits(kinds, _tag_penalties(table.tags))


def arcs_of(marks: Marks) -> Arcs:
    """Return the preferred words as arcs through the lattice."""
    free = marks[~marks.force] if marks.force.any() else marks
    return Arcs(free.starts, free.ends, free.bonus, free.labels)
