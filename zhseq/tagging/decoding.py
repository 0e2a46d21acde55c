"""From blocks of lines to labelled spans: words first, and names over the borders of the words.

Known words act in the search for the best path: forced ones leave their characters only some tags, preferred ones are
arcs with a bonus.
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

_SPARE_PATHS = 4  # of the model's best paths that are weighed with the bonuses, for each that is wanted


@dataclass(frozen=True)
class MarkedSequences:
    """Sequences with what is known of their words.

    Attributes:
        chain: Of the head.
        table: Of its tags.
        sequences: Emissions, and what is forced.
        marks: Words, with positions in the sequences laid end to end.
        rows: The sequence of each mark, (marks,).
    """

    chain: Chain
    table: TagTable
    sequences: Sequences
    marks: Marks
    rows: Ints

    def paths(self, nbest: int) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return good paths of the sequences laid end to end, (nbest, characters), and their scores, (batch, nbest).

        The first is the best. The others are the best of those that the model alone, given what is fixed, finds best:
        these are weighed with the bonuses, but a path that only the bonuses make good may not be among them. Where
        there are fewer, the best stands for those that are missing, with a score of minus infinity.

        Raises:
            InputError: A sequence has no legal path, or a word is preferred and the tags do not mark ends.
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
                "expected at least one legal tagging of each text, found none for one of them: loosen the words that "
                "the dictionary forces, or check the model",
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
            sums[:, 0] = sums.max(1)  # it is the greatest, whatever rounding says
            order = np.argsort(-sums, axis=1, kind="stable")[:, :nbest]
            found, sums = np.take_along_axis(found, order[:, :, None], axis=1), np.take_along_axis(sums, order, axis=1)
        missing = sums == -np.inf
        found[missing] = first[np.nonzero(missing)[0]]
        return found.transpose(1, 0, 2)[:, mask], sums

    def _bonuses(self, paths: Ints) -> npt.NDArray[np.float64]:
        """Return what paths, (batch, paths, length), gain by words that stand whole in them, (batch, paths)."""
        lengths = self.sequences.lengths
        offsets = np.cumsum(lengths) - lengths
        table, rows = self.table, self.rows[~self.marks.force]
        marks = self.marks[~self.marks.force].moved(-offsets[rows])
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
    """Labelled spans of a block, in order: positions in the lines laid end to end, each array (spans,).

    Labels are numbers in the table of the head; those beyond it count the names of the dictionary.
    """

    starts: Ints
    ends: Ints
    labels: Ints
    scores: npt.NDArray[np.float32] | None


class Network(Protocol):
    """What computes scores of tags: PyTorch or another backend; see `zhseq.tagging.model.TorchNetwork`."""

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Tags of each head; a tag's number is its rank."""

    @property
    def chains(self) -> Mapping[str, Chain]:
        """The parameters of the CRF of each head, made by `chain_of`."""

    def emissions(self, points: CodePoints, lengths: Ints, heads: Sequence[str]) -> Mapping[str, Floats]:
        """Score the tags of some texts.

        Args:
            points: Normalised code points of the texts laid end to end, (characters,).
            lengths: Characters of each text, at least 1, (texts,).
            heads: Some of the heads.

        Returns:
            For each head (texts, length, tags) float32, where length is that of the longest; padding holds anything.
        """


def chain_of(
    tags: tuple[str, ...],
    transitions: npt.NDArray[np.floating],
    start: npt.NDArray[np.floating],
    end: npt.NDArray[np.floating],
) -> Chain:
    """Lay out the parameters of a head's CRF; what the scheme of the tags forbids is forbidden, whatever they say.

    Args:
        tags: Of the head.
        transitions: From row to column, (tags, tags).
        start: Of a first tag, (tags,).
        end: Of a last tag, (tags,).

    Raises:
        ValueError: The shapes do not fit each other.
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

    With heads for words and for names, names begin and end where words do, in every reading.

    Args:
        network: Reads the characters.
        block: Some lines.
        heads: Which heads of the network to use.
        scores: Give each span the least marginal probability of its tags: that of the model, given forced words.
        nbest: Readings of each line.

    Returns:
        The spans of each head and reading, the best reading first. A line that has fewer readings repeats its last.

    Raises:
        InputError: A line has no legal reading, or a word is preferred and the tags do not mark ends.
    """
    parts = [_Head(head, network.chains[head], tag_table(network.heads[head]), block) for head in heads]
    parts.sort(key=lambda part: part.table.outside_id >= 0)  # words come first
    decoder = _Decoder(parts, block, nbest)
    odds = {part.name: np.ones((len(block.points), len(part.table.tags)), np.float32) for part in parts if scores}
    for chosen in _batches(block.pieces):
        begins, ends, reads, stops = block.pieces[chosen].T
        lengths = stops - reads
        read = _ranges(reads, lengths)
        owned = (read >= begins.repeat(lengths)) & (read < ends.repeat(lengths))
        pieces = _PieceBatch(chosen, read, owned, network.emissions(block.points[read], lengths, heads), lengths)
        decoder.add(pieces)
        for name, known in odds.items():
            part = next(part for part in parts if part.name == name)
            known[read[owned]] = part.probabilities(pieces)[owned]
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
    """Return the table of these tags, made once."""
    return TagTable.build(tags)


def _batches(pieces: Ints) -> list[Ints]:
    """Group pieces of similar length, (batches of) rows of `pieces`."""
    if len(pieces) == 1:
        return [np.zeros(1, dtype=np.int64)]
    lengths = pieces[:, 3] - pieces[:, 2]
    order = np.argsort(lengths, kind="stable")[::-1]
    batches, start = [], 0
    while start < len(order):
        left, rows = len(order) - start, max(1, _BATCH // int(lengths[order[start]]))
        rows = left if left <= rows else max(rows - rows % 16, min(rows, 16))  # multiples that networks are quick with
        batches.append(order[start : start + rows])
        start += rows
    return batches


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    """Return the numbers of all ranges, one range after the other."""
    if not len(starts):
        return starts
    ends = lengths.cumsum()
    return np.asarray((starts - ends + lengths).repeat(lengths) + np.arange(ends[-1]))


@dataclass(frozen=True)
class _PieceBatch:
    """Some pieces of a block and what the model says of them.

    Attributes:
        pieces: Their numbers, (batch,).
        read: Characters of the block that are read, piece after piece, (characters read,).
        owned: Which of these the pieces decide on, (characters read,).
        emissions: For each head, (batch, length, tags).
        lengths: Characters of each, (batch,).
    """

    pieces: Ints
    read: Ints
    owned: Bools
    emissions: Mapping[str, Floats]
    lengths: Ints

    def part(self, chosen: Ints, within: Bools) -> _PieceBatch:
        """Return some of the pieces, (chosen,), whose characters are `within`, (characters read,)."""
        emissions = {head: scores[chosen] for head, scores in self.emissions.items()}
        return _PieceBatch(self.pieces[chosen], self.read[within], self.owned[within], emissions, self.lengths[chosen])


class _Head:
    """A head of the model with what is known of the words of a block."""

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
        """Whether it tags words, and not names."""
        return self.table.outside_id < 0

    def _marks_within(self, batch: _PieceBatch) -> tuple[Ints, Marks]:
        """Return the piece of each mark of a batch, and the marks, by their positions in it; sought once a batch."""
        if self._found is None or self._found[0] is not batch:
            if len(self._marks):
                reads, stops = self._block.pieces[batch.pieces, 2:].T
                rows, marks = self._marks.within(reads, stops)
                marks = marks.moved((np.cumsum(batch.lengths) - batch.lengths)[rows])
            else:
                rows, marks = self._marks.starts, self._marks
            self._found = batch, rows, marks
        return self._found[1:]

    def _possible(self, marks: Marks, edges: Bools) -> Bools:
        """Tell which marks agree with borders: words that no border cuts, or names that begin and end at one."""
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
        if self._cuts is None:
            return borders
        own = np.append(self._cuts[read], True)
        own[1:] |= self._cuts[read + 1]  # behind the last character of a piece the next one does not follow
        return own if borders is None else own | borders

    def borders(self, tags: Ints, read: Ints) -> Bools:
        """Return where words or names begin or end, (characters + 1,): before each character, and behind the last."""
        found = np.empty(len(tags) + 1, dtype=np.bool_)
        found[:-1], found[-1] = self.table.begins[tags], self.of_words
        if self.of_words:
            found[:-1] |= self._block.apart[read]
        else:
            found[1:] |= self.table.ends[tags]
        return found

    def paths(self, batch: _PieceBatch, nbest: int, borders: Bools | None) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return the n best paths of a batch, (nbest, characters read), and their scores, (batch, nbest)."""
        edges = self.edges(batch.read, borders) if self.table.strict else None
        rows, marks = self._marks_within(batch)
        if edges is not None and len(marks):
            kept = self._possible(marks, edges)
            rows, marks = rows[kept], marks[kept]
        return self._marked(batch, rows, marks, edges).paths(nbest)

    def probabilities(self, batch: _PieceBatch) -> Floats:
        """Return the probability of each tag given the forced words, (characters read, tags)."""
        edges = self.edges(batch.read, None) if self.table.strict else None
        return tag_probabilities(self._chain, self._marked(batch, *self._marks_within(batch), edges).sequences)

    def _marked(self, batch: _PieceBatch, rows: Ints, marks: Marks, edges: Bools | None) -> MarkedSequences:
        limits = limits_of(self.table, marks, edges, len(batch.read))
        sequences = Sequences(batch.emissions[self.name], batch.lengths, limits)
        return MarkedSequences(self._chain, self.table, sequences, marks, rows)

    def spans(self, tags: Ints, odds: npt.NDArray[np.float32] | None) -> Spans:
        """Read spans from the tags of the block."""
        return _spans_of(tags, odds, self.table, self._block, self._marks)


NAMES_WEIGHT = 2.0
"""How much more the score of names counts than that of words where they do not agree, see docs/modern.md."""


class _Decoder:
    """Find the n best readings of a block.

    Words and names are decoded apart, which nearly always agrees. Where a name begins or ends within a word, either the
    names go by the borders of the words or the words by those of the names, whichever is the better for both together,
    names weighing `NAMES_WEIGHT` times as much.
    Only tags that mark ends can be made to agree so.
    """

    def __init__(self, heads: Sequence[_Head], block: TextBlock, nbest: int) -> None:
        self._heads, self._block, self._nbest = heads, block, nbest
        self._agree = len(heads) > 1 and all(head.table.strict for head in heads)
        self._paths = [np.zeros((nbest, len(block.points)), dtype=np.int64) for _ in heads]
        self._sums = [np.zeros((len(block.pieces), nbest)) for _ in heads]

    def add(self, batch: _PieceBatch) -> None:
        """Take the next pieces of the block."""
        if not self._agree:
            found, sums = map(list, zip(*(head.paths(batch, self._nbest, None) for head in self._heads), strict=True))
        elif self._nbest == 1:
            found, sums = self._agreeing(batch), []
        else:
            firsts = [head.paths(batch, self._nbest, None) for head in self._heads]
            found, scores = self._readings(batch, firsts)
            sums = [scores] * len(self._heads)
        characters = batch.read[batch.owned]
        for every, paths in zip(self._paths, found, strict=True):
            every[:, characters] = paths[:, batch.owned]
        for known, scores in zip(self._sums, sums, strict=False):
            known[batch.pieces] = scores

    def _agreeing(self, batch: _PieceBatch) -> list[Ints]:
        """Return the best tags of words and of names that agree, (1, characters read) each."""
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
            for tags, better in zip(found, self._readings(batch.part(apart, within), firsts)[0], strict=True):
                tags[0, within] = better[0]
        return found

    def _readings(
        self, batch: _PieceBatch, firsts: Sequence[tuple[Ints, npt.NDArray[np.float64]]]
    ) -> tuple[list[Ints], npt.NDArray[np.float64]]:
        """Return paths of words and of names that agree, (nbest, characters read) each, and their scores together.

        Candidates are the best words, each with the best names over their borders, and the best names, each with the
        best words over theirs; the better ones are taken.

        Args:
            batch: The pieces.
            firsts: The best words and the best names, found apart, and their scores; see `_Head.paths`.
        """
        words, names = self._heads
        pairs: list[tuple[Ints, Ints, npt.NDArray[np.float64]]] = []
        (by_words, of_words), (by_names, of_names) = firsts
        for rank in range(self._nbest):
            over, totals = names.paths(batch, 1, words.borders(by_words[rank], batch.read))
            pairs.append((by_words[rank], over[0], of_words[:, rank] + NAMES_WEIGHT * totals[:, 0]))
            first, totals = words.paths(batch, 1, names.borders(by_names[rank], batch.read))
            over, others = names.paths(batch, 1, words.borders(first[0], batch.read))
            total = np.where(of_names[:, rank] == -np.inf, -np.inf, totals[:, 0] + NAMES_WEIGHT * others[:, 0])
            pairs.append((first[0], over[0], total))
        found = [np.stack(column) for column in zip(*((w, n) for w, n, _ in pairs), strict=True)]
        sums = np.stack([total for _, _, total in pairs], axis=1)
        # The better one of the first two is what is found where one reading is asked for, and so comes first here, too.
        first_row = (sums[:, 1] > sums[:, 0]).astype(np.int64)
        sums[np.arange(len(sums)), first_row] = sums.max(1)
        begins = np.cumsum(batch.lengths) - batch.lengths
        for later in range(2, sums.shape[1]):  # a pair that is there already is no further reading
            differs = [
                np.logical_or.reduceat(np.any([paths[later] != paths[rank] for paths in found], axis=0), begins)
                for rank in range(later)
            ]
            sums[~np.all(differs, axis=0), later] = -np.inf
        order = np.argsort(-sums, axis=1, kind="stable")[:, : self._nbest]
        by_character = np.repeat(order, batch.lengths, axis=0).T
        chosen = [np.take_along_axis(paths, by_character, axis=0) for paths in found]
        sums = np.take_along_axis(sums, order, axis=1)
        for rank in range(1, self._nbest):  # the best one stands for those that are missing
            missing = np.repeat(sums[:, rank] == -np.inf, batch.lengths)
            for paths in chosen:
                paths[rank] = np.where(missing, paths[0], paths[rank])
        return chosen, sums

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
    tags: Ints, odds: npt.NDArray[np.float32] | None, table: TagTable, block: TextBlock, marks: Marks
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
    if len(marks) and table.outside_id < 0:
        border = _joined_by_words(tags, table, block, marks)
    starts, ends, labels = spans_from_ids(tags, table, border)
    least = None
    if odds is not None:
        padded = np.append(odds, np.float32(1.0))  # so that the end of the last span is a position, too
        edges = np.stack([starts, ends], axis=1).reshape(-1)
        least = np.minimum.reduceat(padded, edges)[::2] if len(starts) else odds[:0]
    if len(marks):
        position, whole = _where_whole(starts, ends, marks)
        names = marks.names[whole]
        labels[position] = np.where(names > 0, len(table.labels) + names, labels[position])
    return Spans(block.positions[starts], block.positions[ends - 1] + 1, labels, least)


def _where_whole(starts: Ints, ends: Ints, marks: Marks) -> tuple[Ints, Ints]:
    """Return the spans, in order, that are words of the dictionary, and the mark of each."""
    nearest = np.searchsorted(starts, marks.starts)
    nearest = np.minimum(nearest, max(0, len(starts) - 1))
    if not len(starts):
        return nearest[:0], nearest[:0]
    whole = np.flatnonzero((starts[nearest] == marks.starts) & (ends[nearest] == marks.ends))
    return nearest[whole], whole


def _joined_by_words(tags: Ints, table: TagTable, block: TextBlock, marks: Marks) -> npt.NDArray[np.bool_]:
    """Return which characters follow a blank, except for blanks within a dictionary word that stands whole."""
    extents = block.positions[marks.ends - 1] + 1 - block.positions[marks.starts]
    wide = marks[extents > marks.ends - marks.starts]
    if not len(wide):
        return block.apart
    starts, ends, _ = spans_from_ids(tags, table, block.first)
    _, whole = _where_whole(starts, ends, wide)
    apart = block.apart.copy()
    apart[_ranges(wide.starts[whole] + 1, wide.ends[whole] - wide.starts[whole] - 1)] = False
    return apart
