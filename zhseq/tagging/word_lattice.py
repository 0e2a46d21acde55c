"""The search for best paths through a lattice of tags: forward through all texts at once, and back along the best.

Forward, one step is made for all texts that have a character in that place, so that numpy works on large arrays. Of
each cell only what the way back needs is kept: scores of B tags, from which arcs start, and where the best path to a
tag comes from. All the rest stays in the processor's cache, which is what makes it fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zhseq.errors import InputError
from zhseq.nn.crf import CRF
from zhseq.text.tags import TagTable


@dataclass(frozen=True)
class LatticeLayout:
    """Columns: the B tags of the labels that have B and E, then S tags and O, then E and then M of the first labels.

    A label without M has a column for it all the same, which no path goes through.

    Attributes:
        columns: Tag of each column, (columns,).
        chains: How many labels have B and E.
        lacks_middle: Which of these have no M, (chains,).
        chain_of: The place of each label among them, -1 for none, (labels,).
        single_of: The place of its S tag among the S tags, -1 for none, (labels,).
        begins: B tags.
        singles: S tags, without O.
        ends: E tags.
        middles: M tags.
        opening: What may begin a span or stand alone: B, S, O.
        closing: What may end a span or stand alone: S, O, E.
        inner: What a span that has begun goes on with: E, M.
    """

    columns: npt.NDArray[np.int64]
    chains: int
    lacks_middle: npt.NDArray[np.bool_]
    chain_of: npt.NDArray[np.int64]
    single_of: npt.NDArray[np.int64]
    begins: slice
    singles: slice
    ends: slice
    middles: slice
    opening: slice
    closing: slice
    inner: slice


@lru_cache(maxsize=32)
def lattice_layout(tags: tuple[str, ...]) -> LatticeLayout:
    """Lay out the tags of a head.

    Raises:
        InputError: They do not mark where a span ends.
    """
    table = TagTable.build(tags)
    if not table.strict:
        raise InputError(
            "tags_without_ends",
            "Expected a model whose tags mark where words end (BMES or BIOES) to use a dictionary with, found the "
            "tags {tags}; train one with such tags.",
            tags=", ".join(tags[:5]),
        )
    begin, middle, end, single = table.tag_ids.T
    chains, singles = np.flatnonzero((begin >= 0) & (end >= 0)), np.flatnonzero(single >= 0)
    alone = np.append(single[singles], [table.outside_id] * (table.outside_id >= 0)).astype(np.int64)
    chain_of, single_of = np.full((2, len(table.labels)), -1)
    chain_of[chains], single_of[singles] = np.arange(len(chains)), np.arange(len(singles))
    n, m = len(chains), len(alone)
    return LatticeLayout(
        columns=np.concatenate([begin[chains], alone, end[chains], np.maximum(middle[chains], 0)]),
        chains=n,
        lacks_middle=middle[chains] < 0,
        chain_of=chain_of,
        single_of=single_of,
        begins=slice(0, n),
        singles=slice(n, n + len(singles)),
        ends=slice(n + m, 2 * n + m),
        middles=slice(2 * n + m, 3 * n + m),
        opening=slice(0, n + m),
        closing=slice(n, 2 * n + m),
        inner=slice(n + m, 3 * n + m),
    )


Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextPacking:
    """The cells of a search: the first characters of all texts, the longest text first, then all second ones, ...

    Attributes:
        cells: Where each character of the texts laid end to end is, (characters,).
        order: Which character is in each cell, (characters,).
        positions: Place of each character in its text, (characters,).
        bounds: Where the first, second, ... characters begin and end among the cells.
        ranks: Which text each is by length, 0 for the longest, (texts,).
    """

    cells: Ints
    order: Ints
    positions: Ints
    bounds: list[tuple[int, int]]
    ranks: Ints

    @classmethod
    def of(cls, lengths: Ints) -> TextPacking:
        """Pack texts of these lengths, each at least 1."""
        rank = np.empty_like(lengths)
        rank[np.argsort(-lengths, kind="stable")] = np.arange(len(lengths))
        ends = np.cumsum(np.cumsum(np.bincount(lengths)[:0:-1])[::-1])
        starts = np.append(0, ends[:-1])
        positions = np.arange(ends[-1]) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        cells = starts[positions] + np.repeat(rank, lengths)
        order = np.empty_like(cells)
        order[cells] = np.arange(len(cells))
        return cls(cells, order, positions, list(zip(starts.tolist(), ends.tolist(), strict=True)), rank)

    @property
    def texts(self) -> int:
        """How many there are."""
        return self.bounds[0][1]

    def going_on(self, position: int) -> int:
        """Return how many texts have a character behind this position: the first so many of those that have this."""
        if position + 1 == len(self.bounds):
            return 0
        start, stop = self.bounds[position + 1]
        return stop - start


@dataclass(frozen=True)
class PackedArcs:
    """Words of at least two characters, by the position of their last.

    Attributes:
        sources: Cells of the first characters, (arcs,).
        goals: Number of the text among those that have the position, (arcs,).
        gains: What a path gains from behind the first tag to the last, (arcs, chains).
        ways: How the search remembers each arc: its characters, or 0 for 2, (arcs,).
        layers: For each position, bounds of groups of arcs, in each of which no text occurs twice.
    """

    sources: Ints
    goals: Ints
    gains: Floats
    ways: npt.NDArray[np.uint8]
    layers: list[list[tuple[int, int]]]

    @classmethod
    def of(cls, starts: Ints, ends: Ints, gains: Floats, packing: TextPacking) -> PackedArcs:
        """Pack arcs from `starts` to before `ends`, in any order, with their gains."""
        order = np.argsort(packing.cells[ends - 1], kind="stable")
        cells = packing.cells[ends[order] - 1]
        number = np.arange(len(cells))
        first = np.ones(len(cells), dtype=np.bool_)
        np.not_equal(cells[1:], cells[:-1], out=first[1:])
        layer = number - np.maximum.accumulate(number * first)
        depth = int(layer.max(initial=0)) + 1
        key = packing.positions[ends[order] - 1] * depth + layer
        by_layer = np.argsort(key, kind="stable")
        edges = np.searchsorted(key[by_layer], np.arange(len(packing.bounds) * depth + 1)).tolist()
        layers = [
            [
                (edges[at], edges[at + 1])
                for at in range(position * depth, position * depth + depth)
                if edges[at] < edges[at + 1]
            ]
            for position in range(len(packing.bounds))
        ]
        order = order[by_layer]
        sizes = ends[order] - starts[order]
        position = packing.positions[ends[order] - 1]
        offsets = np.array([start for start, _ in packing.bounds])
        return cls(
            sources=packing.cells[starts[order]],
            goals=cells[by_layer] - offsets[position],
            gains=gains[order],
            ways=np.where(sizes > 2, sizes, 0).astype(np.uint8),
            layers=layers,
        )


_ROUNDING = 0.01  # nats by which the sums of float32 numbers that a comparison is about may be off
_NEVER = -1e30  # nats; stands for minus infinity where two may be subtracted from each other
_CONTESTED = 255  # in `LatticeSearch._ways`: several tags may come before one that opens a span


@dataclass(frozen=True)
class LatticeScores:
    """The parameters of a CRF by the columns of a layout.

    Attributes:
        layout: The columns.
        start: Of a first tag, (columns,).
        end: Of a last tag, (columns,).
        across: From the tags that close a span to those that open one, (closing, opening).
        gap: How much more than each closing tag (row) any other (column) can gain by the step to the next tag.
        from_begin: From B to E and to M of the same label, (2, chains).
        from_middle: From M, likewise.
    """

    layout: LatticeLayout
    start: Floats
    end: Floats
    across: Floats
    gap: Floats
    from_begin: Floats
    from_middle: Floats

    @classmethod
    def of(cls, crf: CRF, table: TagTable) -> LatticeScores:
        """Take the scores of a CRF.

        Raises:
            InputError: The tags do not mark where a span ends.
        """
        layout = lattice_layout(table.tags)
        columns = torch.from_numpy(layout.columns)
        allowed = (crf.allowed, *crf.allowed_ends)
        parameters = (crf.transitions, crf.start_transitions, crf.end_transitions)
        steps, start, end = (
            score.detach().float().masked_fill(~table, -torch.inf).cpu()
            for score, table in zip(parameters, allowed, strict=True)
        )
        by_column = steps[columns][:, columns].numpy()
        lacking = layout.middles.start + np.flatnonzero(layout.lacks_middle)
        by_column[lacking], by_column[:, lacking] = -np.inf, -np.inf
        across = torch.from_numpy(np.ascontiguousarray(by_column[layout.closing, layout.opening]))
        finite = across.clamp_min(_NEVER)
        gap = (finite[None] - finite[:, None]).amax(2) + _ROUNDING
        gap.fill_diagonal_(-torch.inf)  # no tag is its own rival

        def inner(source: slice) -> Floats:
            return np.stack([by_column[source, target].diagonal() for target in (layout.ends, layout.middles)])

        return cls(
            layout,
            start[columns].numpy(),
            end[columns].numpy(),
            across.numpy(),
            gap.numpy(),
            inner(layout.begins),
            inner(layout.middles),
        )


class LatticeSearch:
    """One search; its tables hold a row for each cell, which is a character in the order of the packing."""

    def __init__(self, scores: LatticeScores, packing: TextPacking, arcs: PackedArcs) -> None:
        """Create for some texts."""
        cells, chains = len(packing.order), scores.layout.chains
        self._scores, self._packing, self._arcs = scores, packing, arcs
        self._begins = np.empty((cells, chains), dtype=np.float32)  # best scores up to each B tag
        self._final = np.empty((packing.texts, len(scores.layout.columns)), dtype=np.float32)  # up to the last tags
        # How the best path comes to each E (the first columns after the zeroth) and M: 0 from B, 1 from M, else by an
        # arc of so many characters. The zeroth column belongs to the tags that open a span: 0, or `_CONTESTED`.
        self._ways = np.zeros((cells, 1 + 2 * chains), dtype=np.uint8)
        self._before = np.empty(cells, dtype=np.int64)  # column before a tag that opens a span, unless contested
        self._texts = np.arange(packing.texts)
        self._contested: list[tuple[Ints, Floats]] = []  # by position: texts where it is, scores of all closing tags

    def forward(self, own: Floats, penalties: Floats | None = None, kinds: Ints | None = None) -> None:
        """Find the scores of the best partial paths.

        Args:
            own: Scores of each character by itself, in the order of the texts, (characters, columns).
            penalties: What is added to the scores of cells of some kinds, (kinds, columns).
            kinds: Of each cell, (characters,).
        """
        packing = self._packing
        after = before = own[:0]
        for position, (start, stop) in enumerate(packing.bounds):
            before, after = after[: stop - start], own.take(packing.order[start:stop], axis=0)
            if penalties is not None and kinds is not None:
                after += penalties.take(kinds[start:stop], axis=0)
            if position == 0:
                after += self._scores.start
                self._contested.append((packing.order[:0], before))
            else:
                self._step(before, after, start)
                self._follow_arcs(position, after, start)
            self._begins[start:stop] = after[:, self._scores.layout.begins]
            going_on = packing.going_on(position)
            self._final[going_on : stop - start] = after[going_on:]

    def _step(self, before: Floats, after: Floats, start: int) -> None:
        """Add to the scores `after` a character the best from `before` it, (texts, columns) each."""
        scores, layout, stop = self._scores, self._scores.layout, start + len(before)
        closing = np.ascontiguousarray(before[:, layout.closing])
        best = closing.argmax(1)
        top = closing[self._texts[: len(before)], best]
        opening = scores.across.take(best, axis=0)
        opening += top[:, None]
        rivals = scores.gap.take(best, axis=0)
        rivals += closing
        others = (rivals >= np.maximum(top, np.float32(_NEVER))[:, None]).ravel().nonzero()[0]
        contested = others
        if len(others):
            texts, tags = np.divmod(others, closing.shape[1])
            values = scores.across.take(tags, axis=0)
            values += closing.ravel().take(others)[:, None]
            contested = _raise_rows(opening, texts, values)
            self._ways[start + contested, 0] = _CONTESTED
        self._contested.append((contested, closing[contested]))
        np.add(best, layout.closing.start, out=self._before[start:stop])
        after[:, layout.opening] += opening
        inner = before[:, None, layout.begins] + scores.from_begin
        middle = before[:, None, layout.middles] + scores.from_middle
        self._ways[start:stop, 1:] = (middle > inner).reshape(len(before), -1)
        np.maximum(inner, middle, out=inner)
        after[:, layout.inner] += inner.reshape(len(before), -1)

    def _follow_arcs(self, position: int, after: Floats, start: int) -> None:
        """Let arcs that end in a position raise the scores `after` it, (texts, columns)."""
        arcs, layout = self._arcs, self._scores.layout
        ends = after[:, layout.ends]
        ways = self._ways[start : start + len(after), 1 : 1 + layout.chains]
        for first, last in arcs.layers[position]:
            goals = arcs.goals[first:last]
            gains = self._begins[arcs.sources[first:last]]
            gains += arcs.gains[first:last]
            usual = ends[goals]
            ways[goals] = np.where(gains >= usual, arcs.ways[first:last, None], ways[goals])
            ends[goals] = np.maximum(gains, usual)

    def walk_back(self) -> tuple[Ints, Floats]:
        """Follow the best paths from their ends.

        Returns:
            The column of each cell, (characters,), and the score of each path, the longest text first, (texts,).

        Raises:
            InputError: A text has no legal path.
        """
        layout, packing = self._scores.layout, self._packing
        final = self._final + self._scores.end
        tags, scores = final.argmax(1), final.max(1)
        if not bool((scores > -np.inf).all()):
            raise InputError(
                "no_legal_path",
                "expected at least one legal tagging of each text, found none for one of them: loosen the words that "
                "the dictionary forces, or check the model",
            )
        inner, middles = layout.inner.start, layout.middles.start
        chain = np.zeros(len(layout.columns), dtype=np.int64)
        chain[inner:] = np.tile(np.arange(layout.chains), 2)
        way = np.maximum(np.arange(len(layout.columns)) - inner + 1, 0)  # which column of `_ways` speaks of each tag
        rows = np.arange(len(tags)) * self._ways.shape[1]
        paths = np.empty(len(self._before), dtype=np.int64)
        for position in range(len(packing.bounds) - 1, 0, -1):
            start, stop = packing.bounds[position]
            now = paths[start:stop] = tags[: stop - start]
            ways = self._ways[start:stop].ravel().take(rows[: stop - start] + way.take(now))
            before = chain.take(now)
            before += (ways > 0) * middles
            opens = now < inner
            np.copyto(before, self._before[start:stop], where=opens)
            special = (ways > 1).nonzero()[0]
            texts = special[opens[special]]
            if len(texts):
                before[texts] = self._best_before(position, texts, now[texts])
            if len(texts) < len(special):
                texts = special[~opens[special]]
                self._point_along_arcs(position, texts, ways[texts], chain[now[texts]])
            tags[: stop - start] = before
        start, stop = packing.bounds[0]
        paths[start:stop] = tags
        return paths, scores

    def _best_before(self, position: int, texts: Ints, tags: Ints) -> Ints:
        """Choose among all closing tags those before some tags of contested texts in a position."""
        contested, closing = self._contested[position]
        scores = closing[np.searchsorted(contested, texts)]
        scores += self._scores.across.T[tags]
        found: Ints = scores.argmax(1) + self._scores.layout.closing.start
        return found

    def _point_along_arcs(self, position: int, texts: Ints, sizes: npt.NDArray[np.uint8], chain: Ints) -> None:
        """Make the cells inside of arcs, which end in a position and are longer than 2, lead back to their starts."""
        column = chain + self._scores.layout.chains + 1
        for offset in range(1, int(sizes.max()) - 1):
            inside = (sizes > offset + 1).nonzero()[0]
            cells = self._packing.bounds[position - offset][0] + texts[inside]
            self._ways[cells, column[inside]] = sizes[inside] > offset + 2


def _raise_rows(table: Floats, rows: Ints, values: Floats) -> Ints:
    """Replace rows of a table by the greater of them and `values`, (values, columns); `rows` ascend, with repeats.

    Returns:
        The rows, without repeats.
    """
    first = np.ones(len(rows), dtype=np.bool_)
    np.not_equal(rows[1:], rows[:-1], out=first[1:])
    firsts = first.nonzero()[0]
    if len(firsts) < len(rows):
        rows, values = rows[firsts], np.maximum.reduceat(values, firsts, axis=0)
    table[rows] = np.maximum(values, table.take(rows, axis=0))
    return rows


Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Arcs:
    """Dictionary words in some texts laid end to end.

    Attributes:
        starts: First character, (arcs,).
        ends: The character behind the last, (arcs,).
        bonus: Nats, at least 0, that a path gains if the word stands whole in it, (arcs,).
        labels: Label with which it gains them once more, -1 for none, (arcs,).
    """

    starts: Ints
    ends: Ints
    bonus: Floats
    labels: Ints

    def __getitem__(self, chosen: Ints | Bools) -> Arcs:
        return Arcs(self.starts[chosen], self.ends[chosen], self.bonus[chosen], self.labels[chosen])


@dataclass(frozen=True)
class FixedTags:
    """Characters of some texts laid end to end that have not the choice of all tags.

    Attributes:
        characters: All different, (cells,).
        kinds: The row of `allowed` for each, (cells,).
        allowed: Which tags each kind may have, (kinds, tags).
    """

    characters: Ints
    kinds: Ints
    allowed: Bools


class WordLattice:
    """Finds best paths for one head of a tagger."""

    def __init__(self, crf: CRF, table: TagTable) -> None:
        """Prepare the scores of a CRF.

        Raises:
            InputError: The tags do not mark where a span ends.
        """
        self._scores = LatticeScores.of(crf, table)
        self._columns = torch.from_numpy(self._scores.layout.columns)

    @property
    def columns(self) -> int:
        """How many scores `own_scores` gives for a character."""
        return len(self._columns)

    def own_scores(self, emissions: Tensor, arcs: Arcs, own: Floats) -> None:
        """Find what each character of some texts adds to a path, in the order that `best_paths` takes.

        Args:
            emissions: (characters, tags).
            arcs: Words in these texts; those of one character are added here, because no path goes past them.
            own: Where it is put, (characters, columns).
        """
        layout = self._scores.layout
        torch.index_select(emissions.float().cpu(), 1, self._columns, out=torch.from_numpy(own))
        arcs = arcs[arcs.ends - arcs.starts == 1]
        bonus = np.zeros(len(own), dtype=np.float32)
        bonus[arcs.starts] = arcs.bonus
        own[:, layout.singles] += bonus[:, None]
        labelled = arcs[arcs.labels >= 0]
        single = layout.single_of[labelled.labels]
        known = single >= 0
        own[labelled.starts[known], layout.singles.start + single[known]] += labelled.bonus[known]

    def best_paths(self, own: Floats, lengths: Ints, arcs: Arcs, fixed: FixedTags | None = None) -> tuple[Ints, Floats]:
        """Return the tags of the best path of each text, (characters,), and its score in nats, (texts,).

        Args:
            own: `own_scores` of all texts laid end to end, (characters, columns).
            lengths: Characters of each text, at least 1, (texts,).
            arcs: Words of the dictionary, none twice; what is said of those of one character is in `own` already.
            fixed: Characters that have not the choice of all tags; no arc touches them.

        Raises:
            InputError: A text has no legal path.
        """
        columns, packing = self._scores.layout.columns, TextPacking.of(lengths)
        arcs = arcs[arcs.ends - arcs.starts > 1]
        packed = PackedArcs.of(arcs.starts, arcs.ends, self._gains(own, arcs), packing)
        search = LatticeSearch(self._scores, packing, packed)
        if fixed is None or not len(fixed.characters):
            search.forward(own)
        else:
            penalties = np.zeros((len(fixed.allowed) + 1, len(columns)), dtype=np.float32)
            penalties[1:][~fixed.allowed[:, columns]] = -np.inf
            kinds = np.zeros(len(own), dtype=np.int64)
            kinds[packing.cells[fixed.characters]] = fixed.kinds + 1
            search.forward(own, penalties, kinds)
        paths, scores = search.walk_back()
        return columns[paths[packing.cells]], scores[packing.ranks]

    def _gains(self, own: Floats, arcs: Arcs) -> Floats:
        """What a path gains from behind the first tag of each arc to its last, (arcs, chains)."""
        layout = self._scores.layout
        to_end, to_middle = self._scores.from_begin
        leave, stay = self._scores.from_middle
        gains: Floats = own[:, layout.ends][arcs.ends - 1]
        gains += arcs.bonus[:, None]
        labelled = np.flatnonzero(arcs.labels >= 0)
        chain = layout.chain_of[arcs.labels[labelled]]
        gains[labelled[chain >= 0], chain[chain >= 0]] += arcs.bonus[labelled[chain >= 0]]
        inner = arcs.ends - arcs.starts - 2
        gains += np.where(inner[:, None] > 0, to_middle + leave, to_end)
        middles = own[:, layout.middles]
        for offset in range(1, int(inner.max(initial=0)) + 1):
            long = np.flatnonzero(inner >= offset)
            gains[long] += middles[arcs.starts[long] + offset]
            if offset > 1:
                gains[long] += stay
        return gains


_lattices: WeakKeyDictionary[CRF, tuple[tuple[object, ...], WordLattice]] = WeakKeyDictionary()


def lattice_of(crf: CRF, table: TagTable) -> WordLattice:
    """Return the lattice of a head, made anew only when its scores have changed.

    Raises:
        InputError: The tags do not mark where a span ends.
    """
    scores = (crf.transitions, crf.start_transitions, crf.end_transitions)
    state = (table.tags, *((score.data_ptr(), score.device, score._version) for score in scores))
    known = _lattices.get(crf)
    if known is None or known[0] != state:
        known = _lattices[crf] = (state, WordLattice(crf, table))
    return known[1]
