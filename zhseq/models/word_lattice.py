"""The best path through the lattice of a tagger when words of a dictionary are forced or earn a path a bonus.

A tag scheme that marks ends (B M E S of each label, and O) is a lattice of spans: only where a span ends may any other
begin, and inside of one there is no choice but when to end. So the step between two characters has a dense part, from
the tags that close a span to those that open one, and a part inside of spans where each tag has two predecessors.

A dictionary word that stands whole is an arc through this lattice, from the cell of its first tag to that of its last.
Along an arc the score is that of the tags, plus the bonus of the word; the greater of arc and ordinary path enters the
cell. This is the Viterbi algorithm of a semi-Markov field whose arcs are these words, and so exact.

Source: Sarawagi and Cohen (2004), "Semi-Markov Conditional Random Fields for Information Extraction".
Differs: only words of the dictionary are arcs, all other spans stay paths through tags; and of the tags that close a
span only those are followed that can beat the best of them whatever comes next, which is rarely more than one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from zhseq.errors import InputError
from zhseq.models.lattice_layout import lattice_layout
from zhseq.nn.crf import CRF
from zhseq.text.tags import TagTable

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_ROUNDING = 0.01  # nats by which the sums of float32 numbers that a comparison is about may be off
_NEVER = -1e30  # nats; stands for minus infinity where two may be subtracted from each other


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


@dataclass(frozen=True)
class _Packing:
    """Texts of different lengths, character by character: first the first of all, the longest text first.

    Attributes:
        cells: Where each character of the texts laid end to end is, (characters,).
        order: Which character is in each place, (characters,).
        offsets: Where the first, second, ... characters begin, (longest,).
        counts: How many texts have one, (longest,).
        last: Where the last character of each text is, the longest first, (texts,).
    """

    cells: Ints
    order: Ints
    offsets: Ints
    counts: Ints
    last: Ints

    @classmethod
    def of(cls, lengths: Ints) -> _Packing:
        """Pack texts of these lengths, each at least 1."""
        order = np.argsort(-lengths, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        counts = np.cumsum(np.bincount(lengths)[:0:-1])[::-1]
        offsets = np.cumsum(counts) - counts
        text = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(text)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        last = offsets[lengths[order] - 1] + np.arange(len(order))
        cells = offsets[position] + rank[text]
        characters = np.empty_like(cells)
        characters[cells] = np.arange(len(cells))
        return cls(cells, characters, offsets, counts, last)


class WordLattice:
    """Finds best paths for one head of a tagger."""

    def __init__(self, crf: CRF, table: TagTable) -> None:
        """Prepare the scores of a CRF.

        Raises:
            InputError: The tags do not mark where a span ends.
        """
        layout = lattice_layout(table.tags)
        self._layout = layout
        columns = torch.from_numpy(layout.columns)
        allowed = (crf.allowed, *crf.allowed_ends)
        scores = (crf.transitions, crf.start_transitions, crf.end_transitions)
        steps, start, end = (
            score.detach().float().masked_fill(~table, -torch.inf).cpu()
            for score, table in zip(scores, allowed, strict=True)
        )
        self._steps = steps[columns][:, columns].numpy()
        self._start, self._end = start[columns].numpy(), end[columns].numpy()
        lacking = layout.middles.start + np.flatnonzero(layout.lacks_middle)
        self._steps[lacking], self._steps[:, lacking] = -np.inf, -np.inf
        self._across = np.ascontiguousarray(self._steps[layout.closing, layout.opening])
        finite = np.maximum(self._across, np.float32(_NEVER))
        # How much more than each closing tag (row) any other (column) can gain by the step to the next tag.
        self._gap = (finite[None] - finite[:, None]).max(2) + np.float32(_ROUNDING)
        self._from_begin = self._inner_steps(layout.begins)
        self._from_middle = self._inner_steps(layout.middles)

    def _inner_steps(self, source: slice) -> Floats:
        """Scores of the steps from B or M to E and to M of the same label, (2, chains)."""
        targets = (self._layout.ends, self._layout.middles)
        return np.stack([self._steps[source, target].diagonal() for target in targets])

    def best_paths(self, scores: Floats, lengths: Ints, arcs: Arcs, fixed: FixedTags | None = None) -> Ints:
        """Return the tags of the best path of each text, (characters,).

        Args:
            scores: Emissions of the characters of all texts laid end to end, (characters, tags).
            lengths: Characters of each text, at least 1, (texts,).
            arcs: Words of the dictionary, none twice.
            fixed: Characters that have not the choice of all tags; no arc touches them.

        Raises:
            InputError: A text has no legal path.
        """
        layout, packing = self._layout, _Packing.of(lengths)
        local = scores[packing.order].take(layout.columns, axis=1)
        single = arcs.ends - arcs.starts == 1
        self._add_singles(local, packing.cells, arcs[single])
        arcs = arcs[~single]
        arcs = arcs[np.argsort(packing.cells[arcs.ends - 1], kind="stable")]
        gains = self._gains(local, packing.cells, arcs)
        if fixed is not None:
            penalties = np.where(fixed.allowed[:, layout.columns], np.float32(0), np.float32(-np.inf))
            local[packing.cells[fixed.characters]] += penalties.take(fixed.kinds, axis=0)
        sources, targets = packing.cells[arcs.starts], packing.cells[arcs.ends - 1]
        values = self._forward(local, packing, sources, targets, gains)
        taken, chain = np.nonzero((gains == values[:, layout.ends][targets]) & (gains > -np.inf))
        jumps = np.zeros((len(values), layout.chains), dtype=np.int32)  # characters of the arc that a path comes by
        jumps[targets[taken], chain] = (arcs.ends - arcs.starts)[taken]
        return layout.columns[self._walk_back(values, packing, jumps)[packing.cells]]

    def _add_singles(self, local: Floats, cells: Ints, arcs: Arcs) -> None:
        """Give words of one character their bonus."""
        layout, places = self._layout, cells[arcs.starts]
        view = local[:, layout.singles]
        view[places] += arcs.bonus[:, None]
        labelled = np.flatnonzero(arcs.labels >= 0)
        single = layout.single_of[arcs.labels[labelled]]
        view[places[labelled[single >= 0]], single[single >= 0]] += arcs.bonus[labelled[single >= 0]]

    def _gains(self, local: Floats, cells: Ints, arcs: Arcs) -> Floats:
        """What a path gains from behind the first tag of each arc to its last, (arcs, chains)."""
        layout = self._layout
        to_end, to_middle = self._from_begin
        leave, stay = self._from_middle
        gains = local[:, layout.ends][cells[arcs.ends - 1]]
        gains += arcs.bonus[:, None]
        labelled = np.flatnonzero(arcs.labels >= 0)
        chain = layout.chain_of[arcs.labels[labelled]]
        gains[labelled[chain >= 0], chain[chain >= 0]] += arcs.bonus[labelled[chain >= 0]]
        inner = arcs.ends - arcs.starts - 2
        gains += np.where(inner[:, None] > 0, to_middle + leave, to_end)
        middles = local[:, layout.middles]
        for offset in range(1, int(inner.max(initial=0)) + 1):
            long = np.flatnonzero(inner >= offset)
            gains[long] += middles[cells[arcs.starts[long] + offset]]
            if offset > 1:
                gains[long] += stay
        return gains

    def _forward(self, local: Floats, packing: _Packing, sources: Ints, targets: Ints, gains: Floats) -> Floats:
        """Scores of the best partial paths into each cell, (characters, columns).

        Args:
            local: Scores of each cell by itself, (characters, columns).
            packing: Of the characters.
            sources: First cells of arcs.
            targets: Last cells of arcs, in order.
            gains: `_gains` of the arcs; replaced by the scores with which they enter their last cell.
        """
        values = np.empty_like(local)
        begins, ends = values[:, self._layout.begins], values[:, self._layout.ends]
        bounds = np.searchsorted(targets, np.append(packing.offsets, len(values))).tolist()
        offsets, counts = packing.offsets.tolist(), packing.counts.tolist()
        values[: counts[0]] = local[: counts[0]] + self._start
        for position in range(1, len(counts)):
            count, start = counts[position], offsets[position]
            before = values[offsets[position - 1] : offsets[position - 1] + count]
            self._step(before, local[start : start + count], values[start : start + count])
            first, last = bounds[position], bounds[position + 1]
            if first < last:
                gain, goals = gains[first:last], targets[first:last]
                gain += begins[sources[first:last]]
                _raise_rows(ends, goals, gain)
        return values

    def _step(self, before: Floats, local: Floats, after: Floats) -> None:
        """Fill the scores `after` a character, from those `before` it and its own, (texts, columns) each."""
        layout = self._layout
        closing = before[:, layout.closing]
        everyone = np.arange(len(before))
        best = closing.argmax(1)
        top = closing[everyone, best][:, None]
        rivals = self._gap.take(best, axis=0)
        rivals += closing
        rival = rivals >= np.maximum(top, np.float32(_NEVER))  # what no path leads to is no rival
        rival[everyone, best] = False
        opening = self._across.take(best, axis=0)
        opening += top
        others = np.flatnonzero(rival)
        if len(others):
            row, tag = np.divmod(others, closing.shape[1])
            scores = self._across.take(tag, axis=0)
            scores += closing[row, tag][:, None]
            _raise_rows(opening, row, scores)
        np.add(opening, local[:, layout.opening], out=after[:, layout.opening])
        inner = before[:, None, layout.begins] + self._from_begin
        np.maximum(inner, before[:, None, layout.middles] + self._from_middle, out=inner)
        np.add(inner.reshape(len(before), -1), local[:, layout.inner], out=after[:, layout.inner])

    def _walk_back(self, values: Floats, packing: _Packing, jumps: npt.NDArray[np.int32]) -> Ints:
        """Follow the best paths from their ends; return the column of each cell, (characters,)."""
        layout, into = self._layout, np.ascontiguousarray(self._steps.T)
        final = values[packing.last] + self._end
        column = final.argmax(1)
        if not bool((final.max(1) > -np.inf).all()):
            raise InputError(
                "expected at least one legal tagging of each text, found none for one of them: loosen the words that "
                "the dictionary forces, or check the model"
            )
        ends, middles = layout.ends.start, layout.middles.start
        paths = np.empty(len(values), dtype=np.int64)
        left = np.zeros(len(final), dtype=np.int64)  # characters before this one in the arc that the path is in
        offsets, counts = packing.offsets.tolist(), packing.counts.tolist()
        for position in range(len(counts) - 1, -1, -1):
            count, start = counts[position], offsets[position]
            now = column[:count]
            paths[start : start + count] = now
            if position == 0:
                break
            candidates = into.take(now, axis=0)
            candidates += values[offsets[position - 1] : offsets[position - 1] + count]
            before = candidates.argmax(1)
            at_end = np.flatnonzero((now >= ends) & (now < middles))
            left[at_end] = jumps[start + at_end, now[at_end] - ends] - 1
            inside = np.flatnonzero(left[:count] > 0)
            left[inside] -= 1
            chain = now[inside] - np.where(now[inside] >= middles, middles, ends)
            before[inside] = np.where(left[inside] == 0, chain, chain + middles)
            column[:count] = before
        return paths


def _raise_rows(table: Floats, rows: Ints, values: Floats) -> None:
    """Replace rows of a table by the greater of them and `values`, (values, columns); `rows` ascend, with repeats."""
    firsts = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
    if len(firsts) < len(rows):
        rows, values = rows[firsts], np.maximum.reduceat(values, firsts, axis=0)
    table[rows] = np.maximum(table[rows], values)
