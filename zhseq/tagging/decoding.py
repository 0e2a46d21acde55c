"""From lines of text to tagged spans of them, many lines at a time and without a loop over characters."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zhseq.batching import quick_rows, spare_rows
from zhseq.nn.crf import CRF
from zhseq.tagging.dictionary_decoding import MarkedBatch, MarkedTexts, Marks
from zhseq.tagging.features import Ints, TaggerFeatures, blanks
from zhseq.tagging.matching import Matches, WordTables
from zhseq.tagging.model import SequenceTagger
from zhseq.text.normalize import CodePoints, codepoints, from_codepoints, normalize
from zhseq.text.pieces import cut_pieces, with_context
from zhseq.text.tags import TagTable, spans_from_ids

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


_BATCH = 8192  # padded characters in a batch


@dataclass(frozen=True)
class Spans:
    """Labelled spans of a block, in order: places in the lines laid end to end, each array (spans,).

    Labels are numbers in the table of the head; those beyond it count the names of the dictionary.
    """

    starts: Ints
    ends: Ints
    labels: Ints
    scores: npt.NDArray[np.float32] | None


@torch.inference_mode()
def find_spans(
    model: SequenceTagger,
    features: TaggerFeatures,
    block: TextBlock,
    heads: Sequence[str],
    *,
    scores: bool = False,
    nbest: int = 1,
) -> dict[str, list[Spans]]:
    """Tag a block.

    Args:
        model: In evaluation mode.
        features: Of the model.
        block: Some lines; with the words of a dictionary, if one is to be heeded.
        heads: Which heads of the model to use.
        scores: Give each span the least marginal probability of its tags: that of the model, given forced words.
        nbest: Readings of each line.

    Returns:
        The spans of each head and reading, the best reading first. A line that has fewer readings repeats its last.
    """
    device = next(model.parameters()).device
    decoders = {
        head: _HeadDecoder(model.crf(head), tag_table(model.config.heads[head]), block, nbest, scores) for head in heads
    }
    for chosen in _batches(block.pieces):
        begins, ends, reads, stops = block.pieces[chosen].T
        read = _ranges(reads, stops - reads)
        owned = (read >= np.repeat(begins, stops - reads)) & (read < np.repeat(ends, stops - reads))
        spare = spare_rows(len(chosen))  # the last piece, again and again, for nobody
        points = np.concatenate([block.points[read], np.tile(block.points[reads[-1] : stops[-1]], spare)])
        batch = features.assemble(points, np.pad(stops - reads, (0, spare), mode="edge")).to(device)
        mask = batch.mask[: len(chosen)]
        for head, emissions in model.emissions(batch, tuple(heads)).items():
            decoders[head].add(_PieceBatch(chosen, read, owned, emissions[: len(chosen)], mask))
    return {head: decoder.spans() for head, decoder in decoders.items()}


@lru_cache(maxsize=32)
def tag_table(tags: tuple[str, ...]) -> TagTable:
    """Return the table of these tags, made once."""
    return TagTable.build(tags)


def _batches(pieces: Ints) -> list[Ints]:
    """Group pieces of similar length, (batches of) rows of `pieces`."""
    lengths = pieces[:, 3] - pieces[:, 2]
    order = np.argsort(lengths, kind="stable")[::-1]
    batches, start = [], 0
    while start < len(order):
        left, rows = len(order) - start, max(1, _BATCH // int(lengths[order[start]]))
        rows = left if left <= rows else quick_rows(rows)
        batches.append(order[start : start + rows])
        start += rows
    return batches


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    """Return the numbers of all ranges, one range after the other."""
    return np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(int(lengths.sum()))


@dataclass(frozen=True)
class _PieceBatch:
    """Some pieces of a block and what the model says of them.

    Attributes:
        pieces: Their numbers, (batch,).
        read: Characters of the block that are read, piece after piece, (characters read,).
        owned: Which of these the pieces decide on, (characters read,).
        emissions: (batch, length, tags).
        mask: (batch, length).
    """

    pieces: Ints
    read: Ints
    owned: npt.NDArray[np.bool_]
    emissions: Tensor
    mask: Tensor

    def part(self, rows: Ints) -> _PieceBatch:
        """Return some of the pieces."""
        if len(rows) == len(self.pieces):
            return self
        lengths = self.mask.sum(1).cpu().numpy()
        within = np.repeat(np.isin(np.arange(len(lengths)), rows), lengths)
        chosen = torch.from_numpy(rows).to(self.mask.device)
        return _PieceBatch(
            self.pieces[rows], self.read[within], self.owned[within], self.emissions[chosen], self.mask[chosen]
        )


class _HeadDecoder:
    """Finds the tags of a block for one head, batch by batch.

    Pieces with a word of a dictionary are collected, and decoded many at a time. On a CPU the others of such a block
    are, too, because it takes less time than to treat them apart; else pieces without a word go the way of the CRF.
    """

    def __init__(self, crf: CRF, table: TagTable, block: TextBlock, nbest: int, scores: bool) -> None:
        total = len(block.points)
        self._crf, self._table, self._block = crf, table, block
        self._marks = None if block.matches is None else Marks.of(block.matches, table)
        self._waiting = MarkedTexts(crf, table)
        self._together = nbest == 1 and not scores
        self._paths = np.zeros((nbest, total), dtype=np.int64)
        self._odds = np.ones((nbest, total), dtype=np.float32) if scores else None
        self._sums = np.zeros((len(block.pieces), nbest))

    def add(self, batch: _PieceBatch) -> None:
        """Take the next pieces of the block."""
        if self._marks is None or not len(self._marks):
            self._add_plain(batch)
            return
        reads, stops = self._block.pieces[batch.pieces, 2:].T
        rows, marks = self._marks.within(reads, stops)
        if not self._together or batch.emissions.device.type != "cpu":
            with_marks, rows = np.unique(rows, return_inverse=True)
            without = np.setdiff1d(np.arange(len(batch.pieces)), with_marks)
            if len(without):
                self._add_plain(batch.part(without))
            if not len(with_marks):
                return
            batch = batch.part(with_marks)
        self._add_marked(batch, rows, marks)

    def _add_plain(self, batch: _PieceBatch) -> None:
        if len(self._paths) == 1:
            found = self._crf.decode(batch.emissions, batch.mask).cpu().numpy()[:, None]
        else:
            paths, scores = self._crf.nbest(batch.emissions, batch.mask, len(self._paths))
            found, self._sums[batch.pieces] = paths.cpu().numpy(), scores.double().cpu().numpy()
        self._keep(batch, found, None)

    def _add_marked(self, batch: _PieceBatch, rows: Ints, marks: Marks) -> None:
        marked = MarkedBatch(self._crf, self._table, rows, marks)
        if self._together:
            if self._waiting.add(marked, batch.emissions, batch.mask, batch.read, batch.owned):
                self._decode_waiting()
            return
        found, self._sums[batch.pieces] = marked.paths(batch.emissions, batch.mask, len(self._paths))
        self._keep(batch, found, marked.allowed_tags(batch.emissions))

    def _keep(self, batch: _PieceBatch, found: Ints, allowed_tags: Tensor | None) -> None:
        """Store paths, (batch, nbest, length); the best one stands for those that are missing."""
        missing = self._sums[batch.pieces] == -np.inf
        found[missing] = found[np.nonzero(missing)[0], 0]
        mask = batch.mask.cpu().numpy()
        tags = found.transpose(1, 0, 2)[:, mask]  # (nbest, characters read)
        owned = batch.read[batch.owned]
        self._paths[:, owned] = tags[:, batch.owned]
        if self._odds is not None:
            odds = self._crf.marginals(batch.emissions, batch.mask, allowed_tags=allowed_tags).cpu().numpy()[mask]
            self._odds[:, owned] = np.take_along_axis(odds, tags.T, axis=1).T[:, batch.owned]

    def _decode_waiting(self) -> None:
        places, tags = self._waiting.decode()
        self._paths[0, places] = tags

    def spans(self) -> list[Spans]:
        """Return the spans of each reading."""
        self._decode_waiting()
        paths = _in_order(self._paths, self._sums, self._block)
        odds = None if self._odds is None else _in_order(self._odds, self._sums, self._block)
        return _spans_of_readings(paths, odds, self._table, self._block, self._marks)


_T = TypeVar("_T", bound=np.generic)


def _in_order(values: npt.NDArray[_T], sums: npt.NDArray[np.float64], block: TextBlock) -> npt.NDArray[_T]:
    """Turn the n-th best values of each piece into those of the n-th best reading of its line.

    Args:
        values: (nbest, characters) by piece.
        sums: Log scores of the paths of each piece, (pieces, nbest).
        block: The block.

    Returns:
        (nbest, characters) by line; a line that has fewer readings repeats its last.
    """
    nbest = len(values)
    if nbest == 1:
        return values
    ranks = np.zeros((len(sums), nbest), dtype=np.int64)  # which path of a piece belongs to each reading
    for line in np.unique(block.owner).tolist():
        members = np.flatnonzero(block.owner == line)
        for reading, combination in enumerate(_best_sums(sums[members], nbest)):
            ranks[members, reading:] = np.array(combination)[:, None]
    sizes = block.pieces[:, 1] - block.pieces[:, 0]
    order = np.argsort(block.pieces[:, 0], kind="stable")
    by_character = np.repeat(ranks[order], sizes[order], axis=0).T  # (nbest, characters)
    return np.take_along_axis(values, by_character, axis=0)


def _best_sums(scores: npt.NDArray[np.float64], limit: int) -> list[tuple[int, ...]]:
    """Choose one number from each row: the choices with the greatest sums, best first; minus infinity is no choice."""
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for row in scores.tolist():
        longer = (
            (total + value, (*choice, rank))
            for total, choice in best
            for rank, value in enumerate(row)
            if value > float("-inf")
        )
        best = heapq.nlargest(limit, longer, key=lambda pair: pair[0])
    return [choice for _, choice in best]


def _spans_of_readings(
    paths: Ints, odds: npt.NDArray[np.float32] | None, table: TagTable, block: TextBlock, marks: Marks | None
) -> list[Spans]:
    """Read spans from tags, (nbest, characters): a name may hold a blank, a word only if the dictionary says so."""
    readings = []
    for rank, tags in enumerate(paths):
        border = block.first if table.outside_id >= 0 else block.apart
        if marks is not None and table.outside_id < 0:
            border = _joined_by_words(tags, table, block, marks)
        starts, ends, labels = spans_from_ids(tags, table, border)
        least = None
        if odds is not None:
            padded = np.append(odds[rank], np.float32(1.0))  # so that the end of the last span is a place, too
            least = (
                np.minimum.reduceat(padded, np.stack([starts, ends], axis=1).reshape(-1))[::2]
                if len(starts)
                else odds[rank][:0]
            )
        if marks is not None:
            place, whole = _where_whole(starts, ends, marks)
            names = marks.names[whole]
            labels[place] = np.where(names > 0, len(table.labels) + names, labels[place])
        readings.append(Spans(block.places[starts], block.places[ends - 1] + 1, labels, least))
    return readings


def _where_whole(starts: Ints, ends: Ints, marks: Marks) -> tuple[Ints, Ints]:
    """Return the spans, in order, that are words of the dictionary, and the mark of each."""
    place = np.searchsorted(starts, marks.starts)
    place = np.minimum(place, max(0, len(starts) - 1))
    if not len(starts):
        return place[:0], place[:0]
    whole = np.flatnonzero((starts[place] == marks.starts) & (ends[place] == marks.ends))
    return place[whole], whole


def _joined_by_words(tags: Ints, table: TagTable, block: TextBlock, marks: Marks) -> npt.NDArray[np.bool_]:
    """Return which characters follow a blank, except for blanks within a dictionary word that stands whole."""
    extents = block.places[marks.ends - 1] + 1 - block.places[marks.starts]
    wide = marks[extents > marks.ends - marks.starts]
    if not len(wide):
        return block.apart
    starts, ends, _ = spans_from_ids(tags, table, block.first)
    _, whole = _where_whole(starts, ends, wide)
    apart = block.apart.copy()
    apart[_ranges(wide.starts[whole] + 1, wide.ends[whole] - wide.starts[whole] - 1)] = False
    return apart
