"""From lines of text to labelled spans: many lines at a time, words first, and names over the borders of the words."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zhseq.batching import filling_rows_for_lstm, round_rows_for_lstm
from zhseq.nn.crf import CRF
from zhseq.tagging.dictionary_decoding import MarkedBatch, Marks, arcs_of, fixed_tags
from zhseq.tagging.features import Ints, TaggerFeatures, blanks
from zhseq.tagging.matching import Matches, WordTables, match
from zhseq.tagging.model import SequenceTagger
from zhseq.tagging.word_lattice import WordLattice, lattice_of
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

    With heads for words and for names, names begin and end where words do, in every reading.

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
    strict = all(table.strict for table in tables.values())
    parts = [_Head(head, model.crf(head), table, block) for head, table in tables.items()]
    parts.sort(key=lambda part: part.table.outside_id >= 0)  # words come first
    decoder: _ChunkDecoder | _BatchDecoder
    if nbest == 1 and strict and device.type == "cpu":
        decoder = _ChunkDecoder(parts, block)
    else:
        decoder = _BatchDecoder(parts, block, nbest, agree=strict and len(parts) > 1)
    odds = {head: np.ones((len(block.points), len(tables[head].tags) if scores else 0), np.float32) for head in heads}
    for chosen in _batches(block.pieces):
        begins, ends, reads, stops = block.pieces[chosen].T
        read = _ranges(reads, stops - reads)
        owned = (read >= np.repeat(begins, stops - reads)) & (read < np.repeat(ends, stops - reads))
        spare = filling_rows_for_lstm(len(chosen))  # pad with copies of the last row; their results are discarded
        points = np.concatenate([block.points[read], np.tile(block.points[reads[-1] : stops[-1]], spare)])
        batch = features.assemble(points, np.pad(stops - reads, (0, spare), mode="edge")).to(device)
        emissions = {head: found[: len(chosen)] for head, found in model.emissions(batch, tuple(heads)).items()}
        pieces = _PieceBatch(chosen, read, owned, emissions, batch.mask[: len(chosen)], stops - reads)
        decoder.add(pieces)
        for part in parts if scores else ():
            odds[part.name][read[owned]] = part.probabilities(pieces)[owned]
    paths = decoder.paths()
    found = {
        part.name: [
            part.spans(tags, np.take_along_axis(odds[part.name], tags[:, None], axis=1)[:, 0] if scores else None)
            for tags in paths[part.name]
        ]
        for part in parts
    }
    if len(parts) > 1:
        words, names = (found[part.name] for part in parts)
        found[parts[1].name] = [_over_words(*reading) for reading in zip(names, words, strict=True)]
    return {head: found[head] for head in heads}


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
        emissions: For each head, (batch, length, tags).
        mask: (batch, length).
        lengths: Characters of each, (batch,).
    """

    pieces: Ints
    read: Ints
    owned: Bools
    emissions: dict[str, Tensor]
    mask: Tensor
    lengths: Ints


class _Head:
    """A head of the model with what is known of the words of a block."""

    def __init__(self, name: str, crf: CRF, table: TagTable, block: TextBlock) -> None:
        self.name, self.crf, self.table, self._block = name, crf, table, block
        self._marks = Marks.none() if block.matches is None else Marks.of(block.matches, table)
        self._cuts = np.zeros(len(block.points) + 1, dtype=np.bool_)
        if block.matches is not None and table.outside_id < 0:
            self._cuts[block.matches.cuts] = True

    @property
    def of_words(self) -> bool:
        """Whether it tags words, and not names."""
        return self.table.outside_id < 0

    def marks_within(self, batch: _PieceBatch) -> tuple[Ints, Marks]:
        """Return the piece of each mark of a batch, and the marks, by places in its characters."""
        reads, stops = self._block.pieces[batch.pieces, 2:].T
        rows, marks = self._marks.within(reads, stops)
        return rows, marks.moved((np.cumsum(batch.lengths) - batch.lengths)[rows])

    def possible(self, marks: Marks, edges: Bools | None) -> Bools:
        """Tell which marks agree with borders: words that no border cuts, or names that begin and end at one."""
        if edges is None or not len(marks):
            return np.ones(len(marks), dtype=np.bool_)
        if not self.of_words:
            return np.asarray(edges[marks.starts] & edges[marks.ends])
        before = np.cumsum(edges)
        return np.asarray(marks.force | (before[marks.starts] == before[marks.ends - 1]))

    def edges(self, read: Ints, borders: Bools | None) -> Bools | None:
        """Return the borders that count for this head, (characters read + 1,).

        Args:
            read: Characters of the block, piece after piece, (characters read,).
            borders: Those that the other head asks for, (characters read + 1,).
        """
        if not self.of_words or not self._cuts.any():
            return borders
        own = np.append(self._cuts[read], True)
        own[1:] |= self._cuts[read + 1]  # behind the last character of a piece the next one does not follow
        return own if borders is None else own | borders

    def borders(self, tags: Ints, read: Ints) -> Bools:
        """Return where words or names begin or end, (characters + 1,): before each character, and behind the last."""
        table = self.table
        found = np.ones(len(tags) + 1, dtype=np.bool_)
        if self.of_words:
            found[:-1] = ~table.continues[tags] | self._block.apart[read]
        else:
            inside = table.label_ids[tags] >= 0
            found[:-1] = inside & ~table.continues[tags]
            found[-1] = False
            found[1:] |= inside & ~table.opens[tags]
        return found

    def paths(self, batch: _PieceBatch, nbest: int, borders: Bools | None) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return the n best paths of a batch, (batch, nbest, length), and their scores, (batch, nbest)."""
        edges = self.edges(batch.read, borders) if self.table.strict else None
        rows, marks = self.marks_within(batch)
        kept = self.possible(marks, edges)
        return self._marked(batch, rows[kept], marks[kept], edges).paths(batch.emissions[self.name], nbest)

    def probabilities(self, batch: _PieceBatch) -> npt.NDArray[np.float32]:
        """Return the probability of each tag given the forced words, (characters read, tags)."""
        edges = self.edges(batch.read, None) if self.table.strict else None
        emissions = batch.emissions[self.name]
        allowed = self._marked(batch, *self.marks_within(batch), edges).allowed_tags(emissions)
        found = self.crf.marginals(emissions, batch.mask, allowed_tags=allowed)
        return np.asarray(found[batch.mask].cpu().numpy(), dtype=np.float32)

    def _marked(self, batch: _PieceBatch, rows: Ints, marks: Marks, edges: Bools | None) -> MarkedBatch:
        fixed = fixed_tags(self.table, marks, edges, len(batch.read))
        return MarkedBatch(self.crf, self.table, batch.mask, marks, rows, fixed)

    def spans(self, tags: Ints, odds: npt.NDArray[np.float32] | None) -> Spans:
        """Read spans from the tags of the block."""
        return _spans_of(tags, odds, self.table, self._block, self._marks)


class _Chunk:
    """Pieces that are decoded together, laid end to end, with the scores of their characters for each head."""

    def __init__(self, heads: Sequence[_Head], room: int) -> None:
        self._heads = heads
        self._lattices = [lattice_of(head.crf, head.table) for head in heads]
        self._own = [np.empty((room, lattice.columns), dtype=np.float32) for lattice in self._lattices]
        self._read: list[Ints] = []
        self._owned: list[Bools] = []
        self._lengths: list[Ints] = []
        self._marks: list[list[Marks]] = [[] for _ in heads]
        self.room, self._size = room, 0

    def add(self, batch: _PieceBatch) -> None:
        """Take more pieces; there must be room."""
        size = self._size
        real = batch.mask.flatten().nonzero()[:, 0]
        for head, lattice, own, collected in zip(self._heads, self._lattices, self._own, self._marks, strict=True):
            _, marks = head.marks_within(batch)
            emissions = batch.emissions[head.name].flatten(0, 1).index_select(0, real)
            lattice.own_scores(emissions, arcs_of(marks), own[size : size + len(real)])
            collected.append(marks.moved(size))
        self._read.append(batch.read)
        self._owned.append(batch.owned)
        self._lengths.append(batch.lengths)
        self._size += len(real)
        self.room -= len(real)

    def decode(self) -> tuple[Ints, list[Ints]]:
        """Return the characters of the block that are decided on, and the best tag of each for every head.

        Words and names are decoded apart, which nearly always agrees. Where a name begins or ends within a word, either
        the names go by the borders of the words or the words by those of the names, whichever path is the better for
        both together.
        """
        read, owned = np.concatenate(self._read), np.concatenate(self._owned)
        lengths = np.concatenate(self._lengths)
        own = [scores[: self._size] for scores in self._own]
        marks = [Marks.joined(collected) for collected in self._marks]
        pieces = _Pieces(self._heads, self._lattices, read, lengths, own, marks)
        found = [pieces.best(number)[0] for number in range(len(self._heads))]
        if len(found) > 1:
            words, names = self._heads
            wrong = names.borders(found[1], read) & ~words.borders(found[0], read)
            owner = np.repeat(np.arange(len(lengths)), lengths)
            apart = np.unique(owner[np.flatnonzero(wrong)])
            if len(apart):
                within = np.isin(owner, apart)
                for tags, better in zip(found, pieces.part(apart, within).agreeing(), strict=True):
                    tags[within] = better
        return read[owned], [tags[owned] for tags in found]


@dataclass(frozen=True)
class _Pieces:
    """Pieces laid end to end that are decoded by the lattices of the heads, words first.

    Attributes:
        heads: Of the model.
        lattices: One for each head.
        read: Characters of the block, piece after piece, (characters,).
        lengths: Of the pieces, (pieces,).
        own: Scores of the characters for each head, (characters, columns).
        marks: What is known of the words for each head.
    """

    heads: Sequence[_Head]
    lattices: Sequence[WordLattice]
    read: Ints
    lengths: Ints
    own: Sequence[npt.NDArray[np.float32]]
    marks: Sequence[Marks]

    def best(self, number: int, borders: Bools | None = None) -> tuple[Ints, npt.NDArray[np.float32]]:
        """Return the best tags of a head, (characters,), and their scores, (pieces,), given borders of the other."""
        head, marks = self.heads[number], self.marks[number]
        edges = head.edges(self.read, borders)
        marks = marks[head.possible(marks, edges)]
        fixed = fixed_tags(head.table, marks, edges, len(self.read))
        return self.lattices[number].best_paths(self.own[number], self.lengths, arcs_of(marks), fixed)

    def part(self, chosen: Ints, within: Bools) -> _Pieces:
        """Return some pieces, whose characters are `within`."""
        moved = np.cumsum(within) - 1
        marks = []
        for every in self.marks:
            kept = every[within[every.starts]]
            marks.append(kept.moved(moved[kept.starts] - kept.starts))
        own = [scores[within] for scores in self.own]
        return _Pieces(self.heads, self.lattices, self.read[within], self.lengths[chosen], own, marks)

    def agreeing(self) -> tuple[Ints, Ints]:
        """Return tags of words and names that agree: the better of names over words and words over names."""
        words, names = self.heads
        first_words, score_of_words = self.best(0)
        over_words, score_over_words = self.best(1, words.borders(first_words, self.read))
        first_names, _ = self.best(1)
        over_names, score_over_names = self.best(0, names.borders(first_names, self.read))
        second_names, score_of_names = self.best(1, words.borders(over_names, self.read))
        better = score_over_names + score_of_names > score_of_words + score_over_words
        chosen = np.repeat(better, self.lengths)
        return np.where(chosen, over_names, first_words), np.where(chosen, second_names, over_words)


class _ChunkDecoder:
    """Find the best tags of a block on a processor, for heads whose tags mark ends."""

    def __init__(self, heads: Sequence[_Head], block: TextBlock) -> None:
        self._heads = heads
        self._left = int((block.pieces[:, 3] - block.pieces[:, 2]).sum())
        self._tags = [np.zeros((1, len(block.points)), dtype=np.int64) for _ in heads]
        self._chunk: _Chunk | None = None

    def add(self, batch: _PieceBatch) -> None:
        """Take the next pieces of the block."""
        more = len(batch.read)
        if self._chunk is None or more > self._chunk.room:
            self._decode()
            self._chunk = _Chunk(self._heads, max(more, min(self._left, _CHUNK)))
        self._chunk.add(batch)
        self._left -= more

    def _decode(self) -> None:
        if self._chunk is not None:
            characters, found = self._chunk.decode()
            for every, tags in zip(self._tags, found, strict=True):
                every[0, characters] = tags

    def paths(self) -> dict[str, Ints]:
        """Return the tags of each head, (1, characters)."""
        self._decode()
        return {head.name: tags for head, tags in zip(self._heads, self._tags, strict=True)}


class _BatchDecoder:
    """Find the n best readings of a block on any device."""

    def __init__(self, heads: Sequence[_Head], block: TextBlock, nbest: int, *, agree: bool) -> None:
        """Create for some heads; two of them `agree` if one path of each makes a reading, and not all pairs do."""
        self._heads, self._block, self._nbest, self._agree = heads, block, nbest, agree
        self._paths = [np.zeros((nbest, len(block.points)), dtype=np.int64) for _ in heads]
        self._sums = [np.zeros((len(block.pieces), nbest)) for _ in heads]

    def add(self, batch: _PieceBatch) -> None:
        """Take the next pieces of the block."""
        if self._agree:
            found, scores = self._readings(batch)
            sums = [scores] * len(self._heads)
        else:
            found, sums = map(list, zip(*(head.paths(batch, self._nbest, None) for head in self._heads), strict=True))
        mask = batch.mask.cpu().numpy()
        for number, (paths, scores) in enumerate(zip(found, sums, strict=True)):
            missing = scores == -np.inf  # the best one stands for paths that are missing
            paths[missing] = paths[np.nonzero(missing)[0], 0]
            tags = paths.transpose(1, 0, 2)[:, mask]  # (nbest, characters read)
            self._paths[number][:, batch.read[batch.owned]] = tags[:, batch.owned]
            self._sums[number][batch.pieces] = scores

    def _readings(self, batch: _PieceBatch) -> tuple[list[Ints], npt.NDArray[np.float64]]:
        """Return paths of words and of names that agree, (batch, nbest, length) each, and their scores together.

        Candidates are the best words, each with the best names over their borders, and the best names, each with the
        best words over theirs; the better ones are taken.
        """
        words, names = self._heads
        mask = batch.mask.cpu().numpy()
        pairs: list[tuple[Ints, Ints, npt.NDArray[np.float64]]] = []
        ranked = (self._ranked(head.paths(batch, self._nbest, None)) for head in self._heads)
        for (by_words, of_words), (by_names, of_names) in zip(*ranked, strict=True):
            over, totals = names.paths(batch, 1, words.borders(by_words[mask], batch.read))
            pairs.append((by_words, over[:, 0], of_words + totals[:, 0]))
            first, totals = words.paths(batch, 1, names.borders(by_names[mask], batch.read))
            over, others = names.paths(batch, 1, words.borders(first[:, 0][mask], batch.read))
            total = np.where(of_names == -np.inf, -np.inf, totals[:, 0] + others[:, 0])
            pairs.append((first[:, 0], over[:, 0], total))
        found = [np.stack(column, axis=1) for column in zip(*((w, n) for w, n, _ in pairs), strict=True)]
        sums = np.stack([total for _, _, total in pairs], axis=1)
        # The better one of the first two is what is found where one reading is asked for, and so comes first here, too.
        first_row = (sums[:, 1] > sums[:, 0]).astype(np.int64)
        sums[np.arange(len(sums)), first_row] = sums.max(1)
        for later in range(1, sums.shape[1]):  # a pair that is there already is no further reading
            known = [
                (found[0][:, later] == found[0][:, rank]).all(1) & (found[1][:, later] == found[1][:, rank]).all(1)
                for rank in range(later)
            ]
            sums[np.any(known, axis=0), later] = -np.inf
        order = np.argsort(-sums, axis=1, kind="stable")[:, : self._nbest]
        chosen = [np.take_along_axis(paths, order[:, :, None], axis=1) for paths in found]
        return chosen, np.take_along_axis(sums, order, axis=1)

    def _ranked(self, best: tuple[Ints, npt.NDArray[np.float64]]) -> Iterator[tuple[Ints, npt.NDArray[np.float64]]]:
        """Yield the first path of each sequence, (batch, length), with its score, then the second, ..."""
        paths, scores = best
        missing = scores == -np.inf
        paths[missing] = paths[np.nonzero(missing)[0], 0]
        for rank in range(paths.shape[1]):
            yield paths[:, rank], scores[:, rank]

    def paths(self) -> dict[str, Ints]:
        """Return the tags of each head for the n best readings, (nbest, characters)."""
        pairs = zip(self._heads, self._paths, self._sums, strict=True)
        return {head.name: _in_order(paths, sums, self._block) for head, paths, sums in pairs}


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
