"""Blocks of lines as the tagger reads them: characters without blanks, known words, and pieces of limited length.

What is known of the words before the model reads them is matched here: forced and preferred words that do not
contradict each other (`Matches`), and what they mean for one head (`Marks`).
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
"""Most characters that the model reads at once, about as many as in training; more only around a long word."""
_CONTEXT = 16  # characters on each side of a cut through running text
MAX_PIECE = 1000
"""Characters of the longest piece that is taken for one word by its spelling; a model has to read it at once."""
NAMELESS = -2
"""Stands for a label where no span may be."""
_NAMELESS_ROWS = np.array([False, *(kind.nameless for kind in ALL_KINDS), False])


@dataclass(frozen=True)
class TextBlock:
    """Some lines as one array, without blanks, and the pieces they are read in.

    Attributes:
        points: Normalised code points of all lines without blanks, (characters,).
        positions: Where each of them stands in the lines laid end to end, (characters,).
        lines: Where each line begins in the lines laid end to end, and the end of the last, (lines + 1,).
        first: Which characters are the first of a line, (characters,).
        apart: Which characters follow a blank or are the first of a line, (characters,).
        pieces: For each piece the characters that it decides on and those that it reads, (pieces, 4): begin, end,
            begin of reading, end of reading.
        owner: Line of each piece, (pieces,).
        matches: What is known of the words, by positions in `points`; None for nothing.
    """

    points: CodePoints
    positions: Ints
    lines: Ints
    first: npt.NDArray[np.bool_]
    apart: npt.NDArray[np.bool_]
    pieces: Ints
    owner: Ints
    matches: Matches | None = None

    @classmethod
    def of(cls, lines: Sequence[str], words: WordTables | None = None, *, patterns: bool = False) -> TextBlock:
        """Make a block of lines, with what is known of their words, see `zhseq.tagging.matching.match`."""
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

    def seam(self, most: int) -> int:
        """Return the last position, of the first `most` characters, before which a block of one line may be cut in two.

        That is where a piece begins with a sentence, and none is read across, so that both parts have the pieces that
        the whole has, and are tagged alike; where there is none, where a piece begins that reads nothing before it, or
        any piece.
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
    """Cut the lines, given by their bounds in `points`, into pieces; see `TextBlock`."""
    begins, ends = bounds[:-1], bounds[1:]
    sizes = ends - begins
    short = ((sizes > 0) & (sizes <= PIECE)).nonzero()[0]
    whole = np.empty((len(short), 4), dtype=np.int64)
    whole[:, ::2], whole[:, 1::2] = begins[short, None], ends[short, None]
    rows, owner = [whole], [short]
    long = (sizes > PIECE).nonzero()[0].tolist()
    if not long:
        return whole, short
    seams = _Seams(matches, len(points)) if matches is not None else None
    for line in long:
        text = from_codepoints(points[bounds[line] : bounds[line + 1]])
        cuts = cut_pieces(text, PIECE)
        if seams is not None:
            cuts = seams.spare(cuts, int(bounds[line]))
        rows.append(np.hstack([np.array(cuts), np.array(with_context(text, cuts, _CONTEXT))]) + bounds[line])
        owner.append(np.full(len(cuts), line))
    return np.concatenate(rows), np.concatenate(owner)


class _Seams:
    """Places where a text may be cut without a cut through a dictionary word."""

    def __init__(self, matches: Matches, size: int) -> None:
        force = matches.attributes.force[matches.rows]
        self._around_all = _uncovered(matches.starts, matches.ends, size)
        self._around_forced = _uncovered(matches.starts[force], matches.ends[force], size)

    def spare(self, cuts: list[tuple[int, int]], offset: int) -> list[tuple[int, int]]:
        """Move the cuts of a line, which begins at `offset`, behind the words that they would cut through.

        That is not done for preferred words that overlap each other without end.
        """
        stops = np.array([end for _, end in cuts]) + offset
        moved = self._around_all[np.searchsorted(self._around_all, stops)]
        forced = self._around_forced[np.searchsorted(self._around_forced, stops)]
        stops = np.unique(np.where(moved - stops <= PIECE, moved, forced)) - offset
        return list(zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True))


def _uncovered(starts: Ints, ends: Ints, size: int) -> Ints:
    """Return the positions, from 0 to `size`, that lie inside of no span."""
    edges = np.bincount(starts + 1, minlength=size + 2) - np.bincount(ends, minlength=size + 2)
    return np.flatnonzero(np.cumsum(edges)[: size + 1] == 0)


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


def match(points: CodePoints, lines: Ints, words: WordTables | None, *, patterns: bool = False) -> Matches | None:
    """Find what is known of the words of some lines before a model reads them.

    Of forced words that overlap, the longest stands, and of those the leftmost; of several in one place first a word of
    the dictionary, then a pattern of the user's, then what is known by its spelling. That gives way to preferred words,
    too, unless they lie within it. A position where no word may go across yields to a forced word that is longer than
    the text which says so.

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
    spelled = _spelled(points, lines) if patterns else (NOTHING, NOTHING, NOTHING)
    if words is None:
        return Matches(*spelled, NOTHING, pattern_attributes()) if len(spelled[0]) else None
    line_of = np.repeat(np.arange(len(lines) - 1), np.diff(lines))
    found, attributes = words.words(points, line_of), words.attributes
    force = attributes.force[found[2]]
    free = _chosen(found, ~force)
    spelled = _out_of_the_way(spelled, free, len(points))
    forced = join([_chosen(found, force), words.own_patterns(points, lines), spelled])
    forced = _chosen(forced, np.argsort(forced[0], kind="stable"))
    chosen, _ = _longest_first(forced[0], forced[1], len(points))
    forced, cuts = _cut(_chosen(forced, chosen), *words.cuts(points, lines), len(points))
    taken = _taken(forced, len(points))
    starts, ends, _ = free
    across = np.searchsorted(cuts, starts, side="right") != np.searchsorted(cuts, ends)
    kept = (taken[starts] == taken[ends]) & ~across
    starts, ends, rows = join([_chosen(free, kept), forced])
    order = np.argsort(starts * (len(points) + 1) + ends, kind="stable")  # quick with what is half in order
    return Matches(starts[order], ends[order], rows[order], cuts, attributes)


def _chosen(found: Found, rows: Ints | Bools) -> Found:
    starts, ends, numbers = found
    return starts[rows], ends[rows], numbers[rows]


def _spelled(points: CodePoints, lines: Ints) -> Found:
    found = match_patterns(points, lines)
    short = found.ends - found.starts <= MAX_PIECE
    return _chosen((found.starts, found.ends, found.kinds + 1), short)


def _taken(spans: Found, size: int) -> Ints:
    """Count the characters before each position that belong to spans which do not overlap, (size + 1,)."""
    edges = np.bincount(spans[0], minlength=size + 1) - np.bincount(spans[1], minlength=size + 1)
    return np.append(0, np.cumsum(np.cumsum(edges)[:size]))


def _out_of_the_way(spelled: Found, free: Found, size: int) -> Found:
    """Leave out pieces that a preferred word equals, covers or overlaps."""
    starts, ends, _ = free
    if not len(starts) or not len(spelled[0]):
        return spelled
    inside = np.cumsum(np.bincount(starts + 1, minlength=size + 2) - np.bincount(ends, minlength=size + 2))
    equal = np.isin(spelled[0] * (size + 1) + spelled[1], starts * (size + 1) + ends)
    kept = (inside[spelled[0]] == 0) & (inside[spelled[1]] == 0) & ~equal
    return _chosen(spelled, kept)


def _cut(forced: Found, cuts: Ints, lengths: Ints, size: int) -> tuple[Found, Ints]:
    """Let forced words, which do not overlap, and positions that no word goes across make way for each other."""
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


@dataclass(frozen=True)
class Marks:
    """Matched words as spans of one head.

    Attributes:
        starts: First characters, in order, (marks,).
        ends: The characters behind the last, (marks,).
        bonus: Nats for paths in which they stand whole, (marks,).
        force: Which of them must stand whole; no other touches these, (marks,).
        labels: Label in the table of the head, -1 for any, `NAMELESS` where no span may be, (marks,).
        names: Number of the name to be printed in the attributes of the dictionary, 0 for none, (marks,).
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

    def moved(self, shift: Ints | int) -> Marks:
        """Return the marks, each moved by some characters, (marks,)."""
        return replace(self, starts=self.starts + shift, ends=self.ends + shift)

    @classmethod
    def none(cls) -> Marks:
        """Return no marks."""
        ints, bools = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
        return cls(ints, ints, ints.astype(np.float32), bools, ints, ints)

    @classmethod
    def joined(cls, parts: Sequence[Marks]) -> Marks:
        """Return the marks of all parts, at least one."""
        return cls(*(np.concatenate(columns) for columns in zip(*(part._columns() for part in parts), strict=True)))

    @classmethod
    def of(cls, matches: Matches, table: TagTable) -> Marks:
        """Choose what concerns a head: all matches for words, those with an entity label for entities.

        A label that the model does not know, or of which it has not the tags for so many characters, leaves the model
        the choice between all of its own. A forced word for which there are no tags at all is left out.
        """
        attributes, rows, tagged = matches.attributes, matches.rows, table.outside_id < 0
        names = (attributes.pos if tagged else attributes.labels)[rows]
        force = attributes.force[rows]
        sizes = np.minimum(matches.ends - matches.starts, 3) - 1
        kept = ~force | np.asarray(_usable(table.tags).any(axis=1))[sizes]
        labels = _known(attributes.names, table.tags)[sizes, names]
        if not tagged:
            nameless = _NAMELESS_ROWS[np.minimum(rows, FIRST_ENTRY)]
            kept = kept & (names > 0) | nameless
            labels = np.where(nameless, NAMELESS, labels)
        printed = np.where(rows < FIRST_ENTRY, 0, names)  # what is known by its spelling has labels of the model's
        marks = cls(matches.starts, matches.ends, attributes.bonus[rows], force, labels, printed)
        return marks if kept.all() else marks[kept]

    def within(self, begins: Ints, ends: Ints) -> tuple[Ints, Marks]:
        """Choose the marks that lie within each of some ranges of characters.

        Returns:
            The range of each mark, and the marks, with positions counted from the beginning of the range.
        """
        first, last = np.searchsorted(self.starts, begins), np.searchsorted(self.starts, ends)
        counts = last - first
        ranges = np.repeat(np.arange(len(begins)), counts)
        marks = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
        whole = self.ends[marks] <= ends[ranges]
        ranges = ranges[whole]
        return ranges, self[marks[whole]].moved(-begins[ranges])


@lru_cache(maxsize=64)
def _usable(tags: tuple[str, ...]) -> Bools:
    """Tell which labels have the tags for 1, 2, and more characters, (3, labels)."""
    has = TagTable.build(tags).tag_ids >= 0
    return np.stack([has[:, 3], has[:, 0] & has[:, 2], has[:, 0] & has[:, 1] & has[:, 2]])


@lru_cache(maxsize=64)
def _known(names: tuple[str, ...], tags: tuple[str, ...]) -> Ints:
    """Return the label of each name for words of 1, 2, and more characters, -1 for none, (3, names)."""
    labels = TagTable.build(tags).labels
    index = {label: number for number, label in enumerate(labels) if label}
    of_name = np.array([index.get(name, -1) for name in names], dtype=np.int64)
    usable = np.append(_usable(tags), np.zeros((3, 1), dtype=np.bool_), axis=1)  # the last for -1
    return np.where(usable[:, of_name], of_name, -1)


@lru_cache(maxsize=64)
def _penalties(tags: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Return 0 for the tags that a character may have, minus infinity for others: a row for each kind, (kinds, tags).

    The first four rows are by whether there is a border before the character and behind it. Then come, for the first,
    an inner, the last and the only character of a forced word, rows for each label, for any label, and for none.
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
    """Return which characters of some texts laid end to end have not the choice of all tags, None if all have.

    Args:
        table: Of the head.
        marks: Words; only those that are forced count here, and they come before borders.
        edges: Borders before each character and at the end, (characters + 1,), or None where nothing is known. No word
            goes across one, and there may be more; a name begins and ends at one, and may go across.
        size: Characters.
    """
    forced = len(marks) > 0 and marks.force.any()
    if edges is None and not forced:
        return None
    kinds = np.full(size, -1, dtype=np.int32) if edges is None else 2 * edges[:-1] + edges[1:].astype(np.int32)
    if not forced:
        return Limits(kinds, _penalties(table.tags))
    marks = marks[marks.force]
    sizes = marks.ends - marks.starts
    owner = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    position = np.where(within == 0, 0, np.where(within == sizes[owner] - 1, 2, 1))
    position[sizes[owner] == 1] = 3
    labels = len(table.labels) + 2  # the last but one stands for any, the last for none
    column = np.where(marks.labels >= 0, marks.labels, len(table.labels) - 1 - marks.labels)
    kinds[marks.starts[owner] + within] = 4 + position * labels + column[owner]
    return Limits(kinds, _penalties(table.tags))


def arcs_of(marks: Marks) -> Arcs:
    """Return the words that are not forced."""
    free = marks[~marks.force] if marks.force.any() else marks
    return Arcs(free.starts, free.ends, free.bonus, free.labels)
