"""From lines of text to labelled spans: many lines at a time, words first, and names over the borders of the words."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zhseq.batching import filling_rows_for_lstm, round_rows_for_lstm
from zhseq.nn.crf import CRF
from zhseq.tagging.dictionary_decoding import MarkedBatch, Marks, arcs_of, border_kinds, fixed_tags
from zhseq.tagging.features import Ints, TaggerFeatures, blanks
from zhseq.tagging.matching import Matches, WordTables, match
from zhseq.tagging.model import SequenceTagger
from zhseq.tagging.word_lattice import lattice_of
from zhseq.text.normalize import CodePoints, codepoints, from_codepoints, normalize
from zhseq.text.pieces import cut_pieces, with_context
from zhseq.text.tags import TagTable, spans_from_ids

Bools = npt.NDArray[np.bool_]

PIECE = 128
"""Most characters that the model reads at once, about as many as in training; more only around a long word."""
_CONTEXT = 16  # characters on each side of a cut through running text
_BATCH = 8192  # padded characters in a batch
_CHUNK = 32_768  # characters whose scores are kept to be decoded together, which is cheaper for many


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
        matches: What is known of the words, by places in `points`; None for nothing.
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
    def of(cls, lines: Sequence[str], words: WordTables | None = None, *, patterns: bool = False) -> TextBlock:
        """Make a block of lines, with what is known of their words, see `zhseq.tagging.matching.match`."""
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
        matches = match(every, offsets, words, patterns=patterns)
        if matches is not None:
            starts, ends, cuts = (
                np.searchsorted(places, found) for found in (matches.starts, matches.ends, matches.cuts)
            )
            matches = replace(matches, starts=starts, ends=ends, cuts=cuts)
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

    Names begin and end where words do: the words are found first, and names of the n-th reading over its borders.

    Args:
        model: In evaluation mode.
        features: Of the model.
        block: Some lines.
        heads: Which heads of the model to use.
        scores: Give each span the least marginal probability of its tags: that of the model, given forced words.
        nbest: Readings of each line.

    Returns:
        The spans of each head and reading, the best reading first. A line that has fewer readings repeats its last.
    """
    device = next(model.parameters()).device
    tables = {head: tag_table(model.config.heads[head]) for head in heads}
    plain = nbest == 1 and not scores and device.type == "cpu"
    decoders: dict[str, _ChunkDecoder | _BatchDecoder] = {}
    for head, table in sorted(tables.items(), key=lambda item: item[1].outside_id >= 0):  # words come first
        follows = bool(decoders) and table.outside_id >= 0
        if plain and table.strict:
            decoders[head] = _ChunkDecoder(model.crf(head), table, block, follows)
        else:
            decoders[head] = _BatchDecoder(model.crf(head), table, block, nbest, scores)
    for chosen in _batches(block.pieces):
        begins, ends, reads, stops = block.pieces[chosen].T
        read = _ranges(reads, stops - reads)
        owned = (read >= np.repeat(begins, stops - reads)) & (read < np.repeat(ends, stops - reads))
        spare = filling_rows_for_lstm(len(chosen))  # pad with copies of the last row; their results are discarded
        points = np.concatenate([block.points[read], np.tile(block.points[reads[-1] : stops[-1]], spare)])
        batch = features.assemble(points, np.pad(stops - reads, (0, spare), mode="edge")).to(device)
        mask = batch.mask[: len(chosen)]
        for head, emissions in model.emissions(batch, tuple(heads)).items():
            decoders[head].add(_PieceBatch(chosen, read, owned, emissions[: len(chosen)], mask))
    found: dict[str, list[Spans]] = {}
    words: list[Spans] = []
    for head, decoder in decoders.items():
        found[head] = decoder.spans([_word_begins(reading, block) for reading in words] or None)
        if tables[head].outside_id < 0:
            words = found[head]
        elif words:
            found[head] = [_over_words(names, reading) for names, reading in zip(found[head], words, strict=True)]
    return {head: found[head] for head in heads}


def _word_begins(words: Spans, block: TextBlock) -> Bools:
    """Tell before which characters of a block a word begins or all ends, (characters + 1,)."""
    begins = np.zeros(len(block.points) + 1, dtype=np.bool_)
    begins[np.searchsorted(block.places, words.starts)] = True
    begins[-1] = True
    return begins


def _over_words(names: Spans, words: Spans) -> Spans:
    """Widen names that do not begin and end with words; of those that overlap then, keep the first.

    That is needed where a long line was cut within a word or a name, and for tags that do not mark ends.
    """
    starts = words.starts[np.searchsorted(words.starts, names.starts, side="right") - 1]
    ends = words.ends[np.searchsorted(words.ends, names.ends)]
    if np.array_equal(starts, names.starts) and np.array_equal(ends, names.ends):
        return names
    kept, last = [], 0
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if start >= last:
            kept.append(number)
            last = end
    scores = None if names.scores is None else names.scores[kept]
    return Spans(starts[kept], ends[kept], names.labels[kept], scores)


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
        rows = left if left <= rows else round_rows_for_lstm(rows)
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
    owned: Bools
    emissions: Tensor
    mask: Tensor


def _borders(block: TextBlock, read: Ints, table: TagTable, begins: Bools | None) -> Ints | None:
    """Return the kinds of characters by the borders around them, see `border_kinds`, (characters read,).

    Args:
        block: The block.
        read: Numbers of the characters, piece after piece, (characters read,).
        table: Of the head.
        begins: For names: before which characters of the block a word begins or all ends, (characters + 1,).
    """
    if table.outside_id >= 0:
        return None if begins is None else border_kinds(begins[read], begins[read + 1])
    if block.matches is None or not len(block.matches.cuts):
        return None
    cut = np.zeros(len(block.points) + 1, dtype=np.bool_)
    cut[block.matches.cuts] = True
    return border_kinds(cut[read], cut[read + 1])


def _standing(marks: Marks, read: Ints, begins: Bools | None) -> Marks:
    """Choose the marks, by places in `read`, that begin and end where words do."""
    if begins is None or not len(marks):
        return marks
    return marks[begins[read[marks.starts]] & begins[read[marks.ends - 1] + 1]]


@dataclass
class _Chunk:
    """Pieces that are decoded together, laid end to end.

    Attributes:
        own: Scores of the characters by columns of the lattice, with room for more, (characters, columns).
        read: Numbers of the characters in the block, for each batch.
        owned: Which of these the pieces decide on, for each batch.
        lengths: Characters of the pieces, for each batch.
        marks: What is known of the words, for each batch.
        size: Characters so far.
    """

    own: npt.NDArray[np.float32]
    read: list[Ints] = field(default_factory=list)
    owned: list[Bools] = field(default_factory=list)
    lengths: list[Ints] = field(default_factory=list)
    marks: list[Marks] = field(default_factory=list)
    size: int = 0


class _ChunkDecoder:
    """Find the best tags of a block for one head on a processor, some thousand characters at a time."""

    def __init__(self, crf: CRF, table: TagTable, block: TextBlock, follows: bool) -> None:
        """Create for a head whose tags mark ends; if it `follows`, its decoding waits for the borders of words."""
        self._table, self._block, self._follows = table, block, follows
        self._lattice = lattice_of(crf, table)
        self._marks = Marks.of(block.matches, table) if block.matches is not None else None
        self._tags = np.zeros(len(block.points), dtype=np.int64)
        self._left = int((block.pieces[:, 3] - block.pieces[:, 2]).sum())
        self._chunks: list[_Chunk] = []

    def add(self, batch: _PieceBatch) -> None:
        """Take the next pieces of the block."""
        more = len(batch.read)
        if not self._chunks or self._chunks[-1].size + more > len(self._chunks[-1].own):
            if not self._follows:
                self._decode_all(None)
            room = max(more, min(self._left, _CHUNK))
            self._chunks.append(_Chunk(np.empty((room, self._lattice.columns), dtype=np.float32)))
        self._left -= more
        chunk = self._chunks[-1]
        lengths = batch.mask.sum(1).numpy()
        marks = self._marks_within(batch, lengths)
        own = chunk.own[chunk.size : chunk.size + more]
        real = batch.mask.flatten().nonzero()[:, 0]
        self._lattice.own_scores(batch.emissions.flatten(0, 1).index_select(0, real), arcs_of(marks), own)
        chunk.read.append(batch.read)
        chunk.owned.append(batch.owned)
        chunk.lengths.append(lengths)
        chunk.marks.append(marks.moved(chunk.size))
        chunk.size += more

    def _marks_within(self, batch: _PieceBatch, lengths: Ints) -> Marks:
        if self._marks is None:
            return Marks.none()
        reads, stops = self._block.pieces[batch.pieces, 2:].T
        rows, marks = self._marks.within(reads, stops)
        return marks.moved((np.cumsum(lengths) - lengths)[rows])

    def _decode_all(self, begins: Bools | None) -> None:
        for chunk in self._chunks:
            read, owned = np.concatenate(chunk.read), np.concatenate(chunk.owned)
            marks = _standing(Marks.joined(chunk.marks), read, begins)
            fixed = fixed_tags(self._table, marks, _borders(self._block, read, self._table, begins), len(read))
            lengths = np.concatenate(chunk.lengths)
            tags = self._lattice.best_paths(chunk.own[: chunk.size], lengths, arcs_of(marks), fixed)
            self._tags[read[owned]] = tags[owned]
        self._chunks = []

    def spans(self, begins: list[Bools] | None) -> list[Spans]:
        """Return the spans of the only reading, given before which characters words begin."""
        self._decode_all(None if begins is None else begins[0])
        return [_spans_of(self._tags, None, self._table, self._block, self._marks)]


class _BatchDecoder:
    """Find the n best tags of a block for one head, with their probabilities if wanted, on any device."""

    def __init__(self, crf: CRF, table: TagTable, block: TextBlock, nbest: int, scores: bool) -> None:
        self._crf, self._table, self._block, self._nbest, self._scores = crf, table, block, nbest, scores
        self._marks = Marks.none() if block.matches is None else Marks.of(block.matches, table)
        self._batches: list[_PieceBatch] = []

    def add(self, batch: _PieceBatch) -> None:
        """Take the next pieces of the block."""
        self._batches.append(batch)

    def spans(self, begins: list[Bools] | None) -> list[Spans]:
        """Return the spans of each reading, given before which characters words begin in each."""
        odds = self._probabilities() if self._scores else None
        if begins is None:
            paths = self._in_order(self._nbest, None)
        else:  # the n-th best names over the words of the n-th reading
            paths = np.stack([self._in_order(rank + 1, words)[-1] for rank, words in enumerate(begins)])
        readings = []
        for tags in paths:
            chosen = None if odds is None else np.take_along_axis(odds, tags[:, None], axis=1)[:, 0]
            readings.append(_spans_of(tags, chosen, self._table, self._block, self._marks))
        return readings

    def _marked(self, batch: _PieceBatch, begins: Bools | None, *, forced_only: bool = False) -> MarkedBatch:
        reads, stops = self._block.pieces[batch.pieces, 2:].T
        rows, marks = self._marks.within(reads, stops)
        marks = marks.moved((np.cumsum(stops - reads) - (stops - reads))[rows])
        kept = marks.force if forced_only else np.ones(len(marks), dtype=np.bool_)
        if begins is not None and len(marks):
            kept = kept & begins[batch.read[marks.starts]] & begins[batch.read[marks.ends - 1] + 1]
        rows, marks = rows[kept], marks[kept]
        borders = _borders(self._block, batch.read, self._table, begins) if self._table.strict else None
        fixed = fixed_tags(self._table, marks, borders, len(batch.read))
        return MarkedBatch(self._crf, self._table, batch.mask, marks, rows, fixed)

    def _in_order(self, nbest: int, begins: Bools | None) -> Ints:
        """Return the tags of the n best readings, (nbest, characters)."""
        paths = np.zeros((nbest, len(self._block.points)), dtype=np.int64)
        sums = np.zeros((len(self._block.pieces), nbest))
        for batch in self._batches:
            found, sums[batch.pieces] = self._marked(batch, begins).paths(batch.emissions, nbest)
            missing = sums[batch.pieces] == -np.inf  # the best one stands for paths that are missing
            found[missing] = found[np.nonzero(missing)[0], 0]
            tags = found.transpose(1, 0, 2)[:, batch.mask.cpu().numpy()]  # (nbest, characters read)
            paths[:, batch.read[batch.owned]] = tags[:, batch.owned]
        return _in_order(paths, sums, self._block)

    def _probabilities(self) -> npt.NDArray[np.float32]:
        """Return the probability of each tag given what is forced, (characters, tags)."""
        odds = np.ones((len(self._block.points), len(self._table.tags)), dtype=np.float32)
        for batch in self._batches:
            allowed = self._marked(batch, None, forced_only=True).allowed_tags(batch.emissions)
            found = self._crf.marginals(batch.emissions, batch.mask, allowed_tags=allowed)[batch.mask]
            odds[batch.read[batch.owned]] = found.cpu().numpy()[batch.owned]
        return odds


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


def _spans_of(
    tags: Ints, odds: npt.NDArray[np.float32] | None, table: TagTable, block: TextBlock, marks: Marks | None
) -> Spans:
    """Read spans from tags: a name may hold a blank, a word only if the dictionary says so.

    Args:
        tags: (characters,).
        odds: Probability of each tag, (characters,).
        table: Of the tags.
        block: The block.
        marks: What is known of the words.
    """
    border = block.first if table.outside_id >= 0 else block.apart
    if marks is not None and table.outside_id < 0:
        border = _joined_by_words(tags, table, block, marks)
    starts, ends, labels = spans_from_ids(tags, table, border)
    least = None
    if odds is not None:
        padded = np.append(odds, np.float32(1.0))  # so that the end of the last span is a position, too
        edges = np.stack([starts, ends], axis=1).reshape(-1)
        least = np.minimum.reduceat(padded, edges)[::2] if len(starts) else odds[:0]
    if marks is not None:
        position, whole = _where_whole(starts, ends, marks)
        names = marks.names[whole]
        labels[position] = np.where(names > 0, len(table.labels) + names, labels[position])
    return Spans(block.places[starts], block.places[ends - 1] + 1, labels, least)


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
