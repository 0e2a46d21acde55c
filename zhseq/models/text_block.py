"""Lines of text as one array without blanks, in pieces that a model reads at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from zhseq.features import Ints, blanks
from zhseq.text.normalize import CodePoints, codepoints, from_codepoints, normalize
from zhseq.text.pieces import cut_pieces, with_context
from zhseq.text.word_matches import Matches, WordTables

PIECE = 128
"""Most characters that the model reads at once, about as many as in training; more only around a long word."""
_CONTEXT = 16  # characters on each side of a cut through running text


@dataclass(frozen=True)
class TextBlock:
    """Some lines as one array, without blanks, and the pieces they are read in.

    Attributes:
        points: Normalised code points of all lines without blanks, (characters,).
        places: Where each of them stands in the lines laid end to end, (characters,).
        lines: Where each line begins in the lines laid end to end, and the end of the last, (lines + 1,).
        first: Which characters are the first of a line, (characters,).
        apart: Which characters follow a blank or are the first of a line, (characters,).
        pieces: For each piece the characters that it decides on and those that it reads, (pieces, 4): begin, end,
            begin of reading, end of reading.
        owner: Line of each piece, (pieces,).
        matches: Words of a dictionary, by their places in `points`; None without a dictionary.
    """

    points: CodePoints
    places: Ints
    lines: Ints
    first: npt.NDArray[np.bool_]
    apart: npt.NDArray[np.bool_]
    pieces: Ints
    owner: Ints
    matches: Matches | None = None

    @classmethod
    def of(cls, lines: Sequence[str], words: WordTables | None = None) -> TextBlock:
        """Make a block of lines, with the words of a dictionary looked up in them."""
        joined = "".join(lines)
        lengths = np.array([len(line) for line in lines], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        every = codepoints(normalize(joined))
        real = ~blanks(every)
        places = np.flatnonzero(real)
        points = every[places]
        bounds = np.searchsorted(places, offsets)
        first = np.zeros(len(points), dtype=np.bool_)
        first[bounds[:-1][bounds[:-1] < bounds[1:]]] = True
        apart = first.copy()
        apart[1:] |= np.diff(places) > 1
        matches = None if words is None else words.match(every, offsets)
        if matches is not None:
            starts, ends = np.searchsorted(places, matches.starts), np.searchsorted(places, matches.ends)
            matches = replace(matches, starts=starts, ends=ends)
        pieces, owner = _pieces(points, bounds, matches)
        return cls(points, places, offsets, first, apart, pieces, owner, matches)


def _pieces(points: CodePoints, bounds: Ints, matches: Matches | None) -> tuple[Ints, Ints]:
    """Cut the lines, given by their bounds in `points`, into pieces; see `TextBlock`."""
    sizes = np.diff(bounds)
    short = np.flatnonzero((sizes > 0) & (sizes <= PIECE))
    rows = [np.stack([bounds[short], bounds[short + 1]] * 2, axis=1)]
    owner = [short]
    long = np.flatnonzero(sizes > PIECE).tolist()
    places = _Seams(matches, len(points)) if long and matches is not None else None
    for line in long:
        text = from_codepoints(points[bounds[line] : bounds[line + 1]])
        cuts = cut_pieces(text, PIECE)
        if places is not None:
            cuts = places.spare(cuts, int(bounds[line]))
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
    """Return the places, from 0 to `size`, that lie inside of no span."""
    edges = np.bincount(starts + 1, minlength=size + 2) - np.bincount(ends, minlength=size + 2)
    return np.flatnonzero(np.cumsum(edges)[: size + 1] == 0)
