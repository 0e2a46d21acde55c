"""Decode the emission scores of a block to labelled spans: words, and entities whose borders are word borders.

Known words act inside Viterbi decoding: forced words restrict the tags of their characters, preferred words are arcs
through the lattice with a bonus.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from zhseq.errors import InputError
from zhseq.nn.viterbi import Chain, Sequences, best_paths, k_best_paths, tag_probabilities
from zhseq.tagging.blocks import Marks, TextBlock, arcs_of, limits_of
from zhseq.text.normalize import CodePoints
from zhseq.text.tags import TagTable, allowed_transitions, spans_from_ids

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_SPARE_PATHS = 4  # paths of the model that are re-ranked with the bonuses, per requested path


@dataclass(frozen=True)
class MarkedSequences:
    """Sequences with the known words in them.

    Attributes:
        chain: CRF parameters of the head.
        table: Tags of the head.
        sequences: Emissions, and the restrictions by forced words.
        marks: Known words, in positions of the concatenated sequences.
        rows: Index of the sequence of each mark, (marks,).
    """

    chain: Chain
    table: TagTable
    sequences: Sequences
    marks: Marks
    rows: Ints

    def paths(self, nbest: int) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return n-best paths of the concatenated sequences, (nbest, characters), and their scores, (batch, nbest).

        The first path is the exact optimum. The others are taken from the best paths of the model, given the forced
        words, and re-ranked with the bonuses: a path that is good only by its bonuses may be missing. If there are
        fewer than `nbest` paths, the best one is repeated with a score of minus infinity.

        Raises:
            InputError: A sequence has no legal path, or there are preferred words and the tags do not mark ends.
        """
        free = len(self.marks) > 0 and not self.marks.force.all()
        if free and not self.table.strict:
            raise InputError(
                "tags_without_ends",
                "Expected a model whose tags mark where words end (BMES or BIOES) to use a dictionary with, found the "
                "tags {tags}; train one with such tags.",
                tags=", ".join(self.table.tags[:5]),
            )
        best, totals = best_paths(self.chain, self.sequences, arcs_of(self.marks) if free else None)
        if not bool((totals > -np.inf).all()):
            raise InputError(
                "no_legal_path",
                "expected at least one legal tagging of each text, found none for one of them: force fewer words in "
                "the dictionary, or check the model",
            )
        if nbest == 1:
            return best[None], totals[:, None]
        mask = self.sequences.mask
        found, sums = k_best_paths(self.chain, self.sequences, nbest * _SPARE_PATHS if free else nbest)
        first = np.full(mask.shape, -1, dtype=np.int64)
        first[mask] = best
        if free:
            sums[(found == first[:, None]).all(2)] = -np.inf
            found = np.concatenate([first[:, None], found], axis=1)
            sums = np.concatenate([totals[:, None], sums], axis=1)
            sums[:, 1:] += self._bonuses(np.maximum(found[:, 1:], 0))
            sums[:, 0] = sums.max(1)  # the best path stays first in spite of rounding
            order = np.argsort(-sums, axis=1, kind="stable")[:, :nbest]
            found, sums = np.take_along_axis(found, order[:, :, None], axis=1), np.take_along_axis(sums, order, axis=1)
        missing = sums == -np.inf
        found[missing] = first[np.nonzero(missing)[0]]
        return found.transpose(1, 0, 2)[:, mask], sums

    def _bonuses(self, paths: Ints) -> npt.NDArray[np.float64]:
        """Return the total bonus of the preferred words in paths, (batch, paths, length), as (batch, paths)."""
        lengths = self.sequences.lengths
        offsets = np.cumsum(lengths) - lengths
        table, rows = self.table, self.rows[~self.marks.force]
        marks = self.marks[~self.marks.force].shifted(-offsets[rows])
        begins = ~table.continues[paths]
        span = np.cumsum(begins, axis=2)
        last = marks.ends - 1
        labels = table.label_ids[paths[rows, :, marks.starts]]  # (marks, paths)
        whole = begins[rows, :, marks.starts] & ~table.opens[paths[rows, :, last]] & (labels >= 0)
        whole &= span[rows, :, last] == span[rows, :, marks.starts]
        total = np.zeros(paths.shape[:2])
        np.add.at(total, rows, whole * marks.bonus[:, None] * (1.0 + (labels == marks.labels[:, None])))
        return total


Floats = npt.NDArray[np.float32]

_BATCH = 8192  # padded characters in a batch


@dataclass(frozen=True)
class Spans:
    """Labelled spans of a block, in order, in offsets of the concatenated lines; each array is (spans,).

    Labels are indices in the label table of the head, followed by the indices of `Attributes.names`.
    """

    starts: Ints
    ends: Ints
    labels: Ints
    scores: npt.NDArray[np.float32] | None


class Network(Protocol):
    """Interface of the backends that compute emission scores, such as `zhseq.tagging.model.TorchNetwork`."""

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Tags of each head; the id of a tag is its position."""

    @property
    def chains(self) -> Mapping[str, Chain]:
        """CRF parameters of each head, made by `chain_of`."""

    def emissions(self, points: CodePoints, lengths: Ints, heads: Sequence[str]) -> Mapping[str, Floats]:
        """Compute the emission scores of texts.

        Args:
            points: Normalised code points of the concatenated texts, (characters,) uint32.
            lengths: Characters of each text, at least 1, (texts,) int64.
            heads: Heads to compute.

        Returns:
            For each head (texts, length, tags) float32, where length is that of the longest text; padding holds
            arbitrary values.
        """


def chain_of(
    tags: tuple[str, ...],
    transitions: npt.NDArray[np.floating],
    start: npt.NDArray[np.floating],
    end: npt.NDArray[np.floating],
) -> Chain:
    """Return the CRF parameters of a head, with minus infinity for transitions that the tagging scheme forbids.

    Args:
        tags: Tags of the head.
        transitions: Scores of transitions from row to column, (tags, tags).
        start: Scores of the first tag, (tags,).
        end: Scores of the last tag, (tags,).

    Raises:
        ValueError: The shapes are inconsistent.
    """
    tables = allowed_transitions(tags)
    scores = [np.where(table, score, -np.inf) for table, score in zip(tables, (transitions, start, end), strict=True)]
    table = tag_table(tags)
    return Chain(scores[0], scores[1], scores[2], table.tag_ids if table.strict else None)


def find_spans(
    network: Network,
    block: TextBlock,
    heads: Sequence[str],
    *,
    scores: bool = False,
    nbest: int = 1,
) -> dict[str, list[Spans]]:
    """Tag a block.

    With a head for words and one for entities, entities begin and end at word borders in every reading.

    Args:
        network: Computes the emission scores.
        block: Lines to tag.
        heads: Heads of the network to use.
        scores: Compute the score of each span: the least marginal probability of its tags, given the forced words.
        nbest: Number of readings of each line.

    Returns:
        The spans of each head and reading, best reading first. A line with fewer readings repeats its last one.

    Raises:
        InputError: A line has no legal reading, or there are preferred words and the tags do not mark ends.
    """
    parts = [_Head(head, network.chains[head], tag_table(network.heads[head]), block) for head in heads]
    parts.sort(key=lambda part: part.table.outside_id >= 0)  # words come first
    decoder = _Decoder(parts, block, nbest)
    marginals = {part.name: np.ones((len(block.points), len(part.table.tags)), np.float32) for part in parts if scores}
    for chosen in _batches(block.pieces):
        begins, ends, reads, stops = block.pieces[chosen].T
        lengths = stops - reads
        read = _ranges(reads, lengths)
        owned = (read >= begins.repeat(lengths)) & (read < ends.repeat(lengths))
        pieces = _PieceBatch(chosen, read, owned, network.emissions(block.points[read], lengths, heads), lengths)
        decoder.add(pieces)
        for name, known in marginals.items():
            part = next(part for part in parts if part.name == name)
            known[read[owned]] = part.marginals(pieces)[owned]
    paths = decoder.paths()
    found = {
        part.name: [
            part.spans(tags, np.take_along_axis(marginals[part.name], tags[:, None], axis=1)[:, 0] if scores else None)
            for tags in paths[part.name]
        ]
        for part in parts
    }
    if len(parts) > 1:
        words, names = (found[part.name] for part in parts)
        found[parts[1].name] = [_extend_to_words(*reading) for reading in zip(names, words, strict=True)]
    return {head: found[head] for head in heads}


def _extend_to_words(names: Spans, words: Spans) -> Spans:
    """Extend entities to word borders; of entities that then overlap, keep the first.

    This is needed only if a long line was split inside a word or an entity, or if the tags do not mark ends.
    """
    if not len(names.starts):
        return names
    starts = words.starts[words.starts.searchsorted(names.starts, side="right") - 1]
    ends = words.ends[words.ends.searchsorted(names.ends)]
    if (starts == names.starts).all() and (ends == names.ends).all():
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
    """Return the cached table of these tags."""
    return TagTable.build(tags)


def _batches(pieces: Ints) -> list[Ints]:
    """Group pieces of similar length into batches; return the rows of `pieces` in each."""
    if len(pieces) == 1:
        return [np.zeros(1, dtype=np.int64)]
    lengths = pieces[:, 3] - pieces[:, 2]
    order = np.argsort(lengths, kind="stable")[::-1]
    batches, start = [], 0
    while start < len(order):
        left, rows = len(order) - start, max(1, _BATCH // int(lengths[order[start]]))
        rows = left if left <= rows else max(rows - rows % 16, min(rows, 16))  # multiples of 16 are fastest
        batches.append(order[start : start + rows])
        start += rows
    return batches


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    """Return the concatenated ranges `starts[i]:starts[i] + lengths[i]`."""
    if not len(starts):
        return starts
    ends = lengths.cumsum()
    return np.asarray((starts - ends + lengths).repeat(lengths) + np.arange(ends[-1]))


@dataclass(frozen=True)
class _PieceBatch:
    """A batch of pieces of a block, with their emission scores.

    Attributes:
        pieces: Indices of the pieces, (batch,).
        read: Positions in the block of the characters that are read, piece after piece, (characters read,).
        owned: Whether a piece tags the character; false for context, (characters read,).
        emissions: Scores of each head, (batch, length, tags).
        lengths: Characters of each piece, context included, (batch,).
    """

    pieces: Ints
    read: Ints
    owned: Bools
    emissions: Mapping[str, Floats]
    lengths: Ints

    def part(self, chosen: Ints, within: Bools) -> _PieceBatch:
        """Return a subset of the batch.

        Args:
            chosen: Rows of the pieces to keep, (chosen,).
            within: Whether each character belongs to one of them, (characters read,).
        """
        emissions = {head: scores[chosen] for head, scores in self.emissions.items()}
        return _PieceBatch(self.pieces[chosen], self.read[within], self.owned[within], emissions, self.lengths[chosen])


class _Head:
    """A head of the model, with the known words of a block as constraints on it."""

    def __init__(self, name: str, chain: Chain, table: TagTable, block: TextBlock) -> None:
        self.name, self.table = name, table
        self._chain, self._block = chain, block
        self._marks = Marks.none() if block.matches is None else Marks.of(block.matches, table)
        self._cuts: Bools | None = None
        if block.matches is not None and table.outside_id < 0 and len(block.matches.cuts):
            self._cuts = np.zeros(len(block.points) + 1, dtype=np.bool_)
            self._cuts[block.matches.cuts] = True
        self._found: tuple[_PieceBatch, Ints, Marks] | None = None

    @property
    def of_words(self) -> bool:
        """Whether the head tags words rather than entities."""
        return self.table.outside_id < 0

    def _marks_within(self, batch: _PieceBatch) -> tuple[Ints, Marks]:
        """Return the row in the batch of each mark, and the marks, in positions of `batch.read`; cached per batch."""
        if self._found is None or self._found[0] is not batch:
            if len(self._marks):
                reads, stops = self._block.pieces[batch.pieces, 2:].T
                rows, marks = self._marks.within(reads, stops)
                marks = marks.shifted((np.cumsum(batch.lengths) - batch.lengths)[rows])
            else:
                rows, marks = self._marks.starts, self._marks
            self._found = batch, rows, marks
        return self._found[1:]

    def _compatible(self, marks: Marks, edges: Bools) -> Bools:
        """Return which marks agree with borders: words that cross none, entities that begin and end at one."""
        if not self.of_words:
            return np.asarray(edges[marks.starts] & edges[marks.ends])
        before = np.cumsum(edges)
        return np.asarray(marks.force | (before[marks.starts] == before[marks.ends - 1]))

    def edges(self, read: Ints, borders: Bools | None) -> Bools | None:
        """Return the borders that this head must respect, (characters read + 1,); None if there are none.

        Args:
            read: Positions in the block, piece after piece, (characters read,).
            borders: Borders required by the other head, (characters read + 1,).
        """
        if self._cuts is None:
            return borders
        own = np.append(self._cuts[read], True)
        own[1:] |= self._cuts[read + 1]  # after the last character of a piece, `read` jumps elsewhere
        return own if borders is None else own | borders

    def borders(self, tags: Ints, read: Ints) -> Bools:
        """Return whether a span begins or ends before each character, and after the last, (characters + 1,)."""
        found = np.empty(len(tags) + 1, dtype=np.bool_)
        found[:-1], found[-1] = self.table.begins[tags], self.of_words
        if self.of_words:
            found[:-1] |= self._block.after_blank[read]
        else:
            found[1:] |= self.table.ends[tags]
        return found

    def paths(self, batch: _PieceBatch, nbest: int, borders: Bools | None) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return the n-best paths of a batch, (nbest, characters read), and their scores, (batch, nbest)."""
        edges = self.edges(batch.read, borders) if self.table.strict else None
        rows, marks = self._marks_within(batch)
        if edges is not None and len(marks):
            kept = self._compatible(marks, edges)
            rows, marks = rows[kept], marks[kept]
        return self._with_marks(batch, rows, marks, edges).paths(nbest)

    def marginals(self, batch: _PieceBatch) -> Floats:
        """Return the marginal probability of each tag, given the forced words, (characters read, tags)."""
        edges = self.edges(batch.read, None) if self.table.strict else None
        return tag_probabilities(self._chain, self._with_marks(batch, *self._marks_within(batch), edges).sequences)

    def _with_marks(self, batch: _PieceBatch, rows: Ints, marks: Marks, edges: Bools | None) -> MarkedSequences:
        limits = limits_of(self.table, marks, edges, len(batch.read))
        sequences = Sequences(batch.emissions[self.name], batch.lengths, limits)
        return MarkedSequences(self._chain, self.table, sequences, marks, rows)

    def spans(self, tags: Ints, marginals: npt.NDArray[np.float32] | None) -> Spans:
        """Convert the tags of the block, (characters,), to spans; see `_spans_of`."""
        return _spans_of(tags, marginals, self.table, self._block, self._marks)


ENTITY_WEIGHT = 2.0
"""Weight of the score of the entities relative to that of the words where they conflict, see docs/modern.md."""


class _Decoder:
    """Find the n-best readings of a block.

    Words and entities are decoded separately, which rarely leads to conflicts. Where an entity begins or ends inside a
    word, either the entities are decoded again with the word borders fixed, or the words with the entity borders fixed,
    whichever gives the higher total score, in which entities have `ENTITY_WEIGHT`. This requires tagging schemes that
    mark the ends of spans, such as BMES and BIOES.
    """

    def __init__(self, heads: Sequence[_Head], block: TextBlock, nbest: int) -> None:
        self._heads, self._block, self._nbest = heads, block, nbest
        self._agree = len(heads) > 1 and all(head.table.strict for head in heads)
        self._paths = [np.zeros((nbest, len(block.points)), dtype=np.int64) for _ in heads]
        self._sums = [np.zeros((len(block.pieces), nbest)) for _ in heads]

    def add(self, batch: _PieceBatch) -> None:
        """Decode the next batch of pieces."""
        if not self._agree:
            found, sums = map(list, zip(*(head.paths(batch, self._nbest, None) for head in self._heads), strict=True))
        elif self._nbest == 1:
            found, sums = self._best_consistent(batch), []
        else:
            firsts = [head.paths(batch, self._nbest, None) for head in self._heads]
            found, scores = self._nbest_consistent(batch, firsts)
            sums = [scores] * len(self._heads)
        characters = batch.read[batch.owned]
        for every, paths in zip(self._paths, found, strict=True):
            every[:, characters] = paths[:, batch.owned]
        for known, scores in zip(self._sums, sums, strict=False):
            known[batch.pieces] = scores

    def _best_consistent(self, batch: _PieceBatch) -> list[Ints]:
        """Return the best consistent tags of words and of entities, (1, characters read) each."""
        words, names = self._heads
        firsts = [head.paths(batch, 1, None) for head in self._heads]
        found = [paths for paths, _ in firsts]
        wrong = names.borders(found[1][0], batch.read)
        if wrong.any():
            wrong &= ~words.borders(found[0][0], batch.read)
        if wrong.any():
            owner = np.arange(len(batch.lengths)).repeat(batch.lengths)
            apart = np.unique(owner[wrong[:-1]])
            within = np.isin(owner, apart)
            firsts = [(paths[:, within], scores[apart]) for paths, scores in firsts]
            for tags, better in zip(found, self._nbest_consistent(batch.part(apart, within), firsts)[0], strict=True):
                tags[0, within] = better[0]
        return found

    def _nbest_consistent(
        self, batch: _PieceBatch, firsts: Sequence[tuple[Ints, npt.NDArray[np.float64]]]
    ) -> tuple[list[Ints], npt.NDArray[np.float64]]:
        """Return consistent paths of words and of entities, and their total scores.

        Candidates are each of the n-best paths of words with the best entities for its borders, and each of the n-best
        paths of entities with the best words for its borders.

        Args:
            batch: The pieces.
            firsts: n-best paths of words and of entities, decoded separately, and their scores; see `_Head.paths`.

        Returns:
            Paths, (nbest, characters read) for words and for entities, and total scores, (batch, nbest).
        """
        words, names = self._heads
        pairs: list[tuple[Ints, Ints, npt.NDArray[np.float64]]] = []
        (by_words, of_words), (by_names, of_names) = firsts
        for rank in range(self._nbest):
            over, totals = names.paths(batch, 1, words.borders(by_words[rank], batch.read))
            pairs.append((by_words[rank], over[0], of_words[:, rank] + ENTITY_WEIGHT * totals[:, 0]))
            first, totals = words.paths(batch, 1, names.borders(by_names[rank], batch.read))
            over, others = names.paths(batch, 1, words.borders(first[0], batch.read))
            total = np.where(of_names[:, rank] == -np.inf, -np.inf, totals[:, 0] + ENTITY_WEIGHT * others[:, 0])
            pairs.append((first[0], over[0], total))
        found = [np.stack(column) for column in zip(*((w, n) for w, n, _ in pairs), strict=True)]
        sums = np.stack([total for _, _, total in pairs], axis=1)
        # The better one of the first two is the result if nbest is 1, and must also come first here.
        first_row = (sums[:, 1] > sums[:, 0]).astype(np.int64)
        sums[np.arange(len(sums)), first_row] = sums.max(1)
        begins = np.cumsum(batch.lengths) - batch.lengths
        for later in range(2, sums.shape[1]):  # discard duplicates
            differs = [
                np.logical_or.reduceat(np.any([paths[later] != paths[rank] for paths in found], axis=0), begins)
                for rank in range(later)
            ]
            sums[~np.all(differs, axis=0), later] = -np.inf
        order = np.argsort(-sums, axis=1, kind="stable")[:, : self._nbest]
        by_character = np.repeat(order, batch.lengths, axis=0).T
        chosen = [np.take_along_axis(paths, by_character, axis=0) for paths in found]
        sums = np.take_along_axis(sums, order, axis=1)
        for rank in range(1, self._nbest):  # repeat the best reading in place of missing ones
            missing = np.repeat(sums[:, rank] == -np.inf, batch.lengths)
            for paths in chosen:
                paths[rank] = np.where(missing, paths[0], paths[rank])
        return chosen, sums

    def paths(self) -> dict[str, Ints]:
        """Return the tags of each head for the n-best readings, (nbest, characters)."""
        pairs = zip(self._heads, self._paths, self._sums, strict=True)
        return {head.name: _combine_pieces(paths, sums, self._block) for head, paths, sums in pairs}


_T = TypeVar("_T", bound=np.generic)


def _combine_pieces(values: npt.NDArray[_T], sums: npt.NDArray[np.float64], block: TextBlock) -> npt.NDArray[_T]:
    """Combine the n-best values of pieces to the n-best readings of lines.

    Args:
        values: Values ranked within each piece, (nbest, characters).
        sums: Log scores of the paths of each piece, (pieces, nbest).
        block: The block.

    Returns:
        Values ranked within each line, (nbest, characters); a line with fewer readings repeats its last one.
    """
    nbest = len(values)
    if nbest == 1:
        return values
    ranks = np.zeros((len(sums), nbest), dtype=np.int64)  # path of each piece in each reading
    for line in np.unique(block.owner).tolist():
        members = np.flatnonzero(block.owner == line)
        for reading, combination in enumerate(_best_sums(sums[members], nbest)):
            ranks[members, reading:] = np.array(combination)[:, None]
    sizes = block.pieces[:, 1] - block.pieces[:, 0]
    order = np.argsort(block.pieces[:, 0], kind="stable")
    by_character = np.repeat(ranks[order], sizes[order], axis=0).T  # (nbest, characters)
    return np.take_along_axis(values, by_character, axis=0)


def _best_sums(scores: npt.NDArray[np.float64], limit: int) -> list[tuple[int, ...]]:
    """Choose one column in each row of `scores`: the choices with the greatest sums, best first.

    Args:
        scores: (rows, columns); minus infinity marks columns that cannot be chosen.
        limit: Maximum number of choices.
    """
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
    tags: Ints, marginals: npt.NDArray[np.float32] | None, table: TagTable, block: TextBlock, marks: Marks
) -> Spans:
    """Convert tags to spans; an entity may contain a blank, a word only if it is a dictionary word with a blank.

    Args:
        tags: Tag ids, (characters,).
        marginals: Marginal probability of each of these tags, (characters,), if scores are wanted.
        table: Tags of the head.
        block: The block.
        marks: Known words.
    """
    border = block.first if table.outside_id >= 0 else block.after_blank
    if len(marks) and table.outside_id < 0:
        border = _word_separations(tags, table, block, marks)
    starts, ends, labels = spans_from_ids(tags, table, border)
    least = None
    if marginals is not None:
        padded = np.append(marginals, np.float32(1.0))  # reduceat needs the end of the last span as an index
        edges = np.stack([starts, ends], axis=1).reshape(-1)
        least = np.minimum.reduceat(padded, edges)[::2] if len(starts) else marginals[:0]
    if len(marks):
        position, whole = _match_marks(starts, ends, marks)
        names = marks.names[whole]
        labels[position] = np.where(names > 0, len(table.labels) + names, labels[position])
    return Spans(block.positions[starts], block.positions[ends - 1] + 1, labels, least)


def _match_marks(starts: Ints, ends: Ints, marks: Marks) -> tuple[Ints, Ints]:
    """Return the indices of the spans, in order, that equal a mark, and the index of that mark."""
    nearest = np.searchsorted(starts, marks.starts)
    nearest = np.minimum(nearest, max(0, len(starts) - 1))
    if not len(starts):
        return nearest[:0], nearest[:0]
    whole = np.flatnonzero((starts[nearest] == marks.starts) & (ends[nearest] == marks.ends))
    return nearest[whole], whole


def _word_separations(tags: Ints, table: TagTable, block: TextBlock, marks: Marks) -> npt.NDArray[np.bool_]:
    """Return which characters follow a blank, except for blanks inside a dictionary word that the path contains."""
    extents = block.positions[marks.ends - 1] + 1 - block.positions[marks.starts]
    wide = marks[extents > marks.ends - marks.starts]
    if not len(wide):
        return block.after_blank
    starts, ends, _ = spans_from_ids(tags, table, block.first)
    _, whole = _match_marks(starts, ends, wide)
    apart = block.after_blank.copy()
    apart[_ranges(wide.starts[whole] + 1, wide.ends[whole] - wide.starts[whole] - 1)] = False
    return apart
