"""Find editions of one poem: two poems are one when half of the lines of the shorter one agree.

Lines become 64-bit hashes, poems that share a hash become candidate pairs, and shared lines are counted by sorting the
pairs: the cost grows with the number of lines, not with the square of the number of poems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhseq.corpus.cleaning import REGULATED, CleanPoems, Ints, Points

Hashes = npt.NDArray[np.uint64]

MIN_SHARED = 2
"""Lines that must agree at the least: one line in common is a quotation, a stock phrase or a poem made of old lines."""
MAX_POEMS = 64
"""A line found in more poems than this is a refrain: it does not bring poems together."""
RARE = 20
"""A character seen less often than this in all the corpora counts as rare (a misprint, or a variant not yet folded)."""

_BASE = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd: powers of it never vanish modulo 2**64
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # multipliers of the splitmix64 finaliser
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Deduplication:
    """Which poems stay and which belong together.

    Attributes:
        kept: indices of the poems that stay, ascending, shape (kept,), dtype int64.
        cluster_keys: for each of them a number common to all poems that are connected through copies, kept or not;
            it depends on the texts alone, not on their order. Shape (kept,), dtype uint64.
    """

    kept: Ints
    cluster_keys: Hashes


def deduplicate(poems: CleanPoems, source_rank: npt.ArrayLike) -> Deduplication:
    """Choose one edition of every poem.

    Of two poems that are the same one stays: first one of a regulated shape (a record that joins several poems in one
    has not), then the one with more lines (an excerpt gives way to the whole), then the one with fewer rare
    characters, then the better source.

    Args:
        poems: poems of all sources.
        source_rank: for each poem, the rank of its source, lower is better, shape (poems,).
    """
    count = len(poems)
    left, right = same_poems(line_hashes(poems.points, poems.line_lengths), poems.poem_lines)
    regulated = np.array([form in REGULATED.values() for form in poems.forms], dtype=bool)
    texts = _text_hashes(poems)
    order = np.lexsort((texts, np.asarray(source_rank), _rare_characters(poems), -poems.poem_lines, ~regulated))
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    dropped = _dominated(left, right, rank)
    kept = np.flatnonzero(~dropped)
    return Deduplication(kept, _cluster_keys(left, right, texts)[kept])


def line_hashes(points: Points, line_lengths: Ints) -> Hashes:
    """Hash every line, shape (lines,), dtype uint64. Equal lines get equal numbers on every machine, in every run."""
    if not len(line_lengths):
        return np.zeros(0, dtype=np.uint64)
    starts = np.cumsum(line_lengths) - line_lengths
    position = np.arange(len(points)) - np.repeat(starts, line_lengths)
    return _mix(np.add.reduceat(_mix(points.astype(np.uint64)) * _powers(int(line_lengths.max()))[position], starts))


def same_poems(hashes: Hashes, poem_lines: Ints) -> tuple[Ints, Ints]:
    """Find the pairs of poems of which at least half of the lines of the shorter one, and at least two, agree.

    Args:
        hashes: line hashes of all poems end to end, shape (lines,).
        poem_lines: lines in each poem, shape (poems,).

    Returns:
        First and second index of each pair, first < second, each of shape (pairs,).
    """
    poem_of = np.repeat(np.arange(len(poem_lines)), poem_lines)
    order = np.lexsort((poem_of, hashes))
    hashes, poem_of = hashes[order], poem_of[order]
    # A line that a poem repeats counts once.
    first = np.append(True, (hashes[1:] != hashes[:-1]) | (poem_of[1:] != poem_of[:-1]))[: len(hashes)]
    hashes, poem_of = hashes[first], poem_of[first]
    group_starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)])
    sizes = np.diff(np.append(group_starts, len(hashes)))
    group_size = np.repeat(sizes, sizes)
    rest_of_group = np.repeat(group_starts + sizes, sizes) - np.arange(len(hashes)) - 1
    keys = []
    for step in range(1, MAX_POEMS):
        # The entry and the one `step` places after it in its group: every pair of the group turns up just once.
        entries = np.flatnonzero((rest_of_group >= step) & (group_size <= MAX_POEMS))
        if not len(entries):
            break
        keys.append(poem_of[entries] * len(poem_lines) + poem_of[entries + step])
    if not keys:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    pairs, shared = np.unique(np.concatenate(keys), return_counts=True)
    left, right = np.divmod(pairs, len(poem_lines))
    shorter = np.minimum(poem_lines[left], poem_lines[right])
    same = (shared >= MIN_SHARED) & (2 * shared >= shorter)
    return left[same], right[same]


def _dominated(left: Ints, right: Ints, rank: Ints) -> npt.NDArray[np.bool_]:
    """Drop, from the best poem on, every copy of a poem that stays, shape (poems,), dtype bool.

    A poem that is only a copy of a dropped copy stays: likeness is not handed on, or stock lines would chain hundreds
    of folk songs into one.
    """
    dropped = np.zeros(len(rank), dtype=bool)
    better = np.where(rank[left] < rank[right], left, right)
    worse = left + right - better
    order = np.argsort(rank[better], kind="stable")
    for keeper, copy in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if not dropped[keeper]:
            dropped[copy] = True
    return dropped


def _cluster_keys(left: Ints, right: Ints, texts: Hashes) -> Hashes:
    """Return for each poem the smallest text hash in its connected component, shape (poems,), dtype uint64."""
    keys = texts.copy()
    while True:
        smallest = np.minimum(keys[left], keys[right])
        before = keys.copy()
        np.minimum.at(keys, left, smallest)
        np.minimum.at(keys, right, smallest)
        if np.array_equal(before, keys):
            return keys


def _text_hashes(poems: CleanPoems) -> Hashes:
    """Hash the whole text of every poem, line breaks left out, shape (poems,), dtype uint64."""
    starts = np.cumsum(poems.poem_lines) - poems.poem_lines
    if not len(starts):
        return np.zeros(0, dtype=np.uint64)
    return line_hashes(poems.points, np.add.reduceat(poems.line_lengths, starts))


def _rare_characters(poems: CleanPoems) -> Ints:
    """Count the rare characters of every poem, shape (poems,), dtype int64."""
    frequency = np.bincount(poems.points, minlength=0x110000)
    rare = np.append(0, np.cumsum(frequency[poems.points] < RARE))
    characters = np.append(0, np.cumsum(poems.line_lengths))
    ends = np.cumsum(poems.poem_lines)
    return np.asarray(rare[characters[ends]] - rare[characters[ends - poems.poem_lines]], dtype=np.int64)


def _powers(count: int) -> Hashes:
    """Return the first powers of the base modulo 2**64, shape (count,), dtype uint64."""
    powers = [1]
    for _ in range(count - 1):
        powers.append(powers[-1] * _BASE & _MASK)
    return np.array(powers, dtype=np.uint64)


def _mix(values: Hashes) -> Hashes:
    """Scramble 64-bit values one to one (splitmix64 finaliser), so that sums of them collide no oftener than chance."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_MIX[0])
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_MIX[1])
    return values ^ (values >> np.uint64(31))
