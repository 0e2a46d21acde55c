"""The search for best paths through a lattice of tags: forward through all texts at once, and back along the best.

Forward, one step is made for all texts that have a character in that place, so that numpy works on large arrays. Of
each cell only what the way back needs is kept: scores of B tags, from which arcs start, and where the best path to a
tag comes from. All the rest stays in the processor's cache, which is what makes it fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from zhseq.errors import InputError
from zhseq.models.lattice_layout import LatticeLayout, lattice_layout
from zhseq.models.lattice_packing import PackedArcs, TextPacking
from zhseq.nn.crf import CRF
from zhseq.text.tags import TagTable

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

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

    def walk_back(self) -> Ints:
        """Follow the best paths from their ends; return the column of each cell, (characters,).

        Raises:
            InputError: A text has no legal path.
        """
        layout, packing = self._scores.layout, self._packing
        final = self._final + self._scores.end
        tags = final.argmax(1)
        if not bool((final.max(1) > -np.inf).all()):
            raise InputError(
                "expected at least one legal tagging of each text, found none for one of them: loosen the words that "
                "the dictionary forces, or check the model"
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
        return paths

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
