"""Viterbi search, k-best paths and marginals of a linear-chain CRF on numpy arrays, without PyTorch.

Tags are reordered into columns, so that most transitions form one dense table. Tags with at most two successors (B or M
of a word) have their transitions in lists; all others are rows of the table. A row is skipped if no entry can exceed
that of the best previous tag, which in practice leaves one or two rows per character. No back-pointers are stored: the
backward pass recomputes the best predecessor, which is needed for one tag per character only.

The C code of `kernel.c` is used if it is compiled (`zhseq.device`); otherwise the numpy code of this file, with the
same results.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.device import Packed, address, library

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

LISTED = 2
"""Maximum number of successors of a tag whose transitions are listed rather than in the dense table."""
_ROUNDING = 0.01  # nats; tolerance of comparisons between float32 sums
_LOST = 1e-200  # smaller sums of exponentials may have lost terms to underflow
_NEVER = -1e30  # nats; used instead of minus infinity where differences are computed

_LANES = 16  # as in kernel.c


def _padded(values: npt.NDArray[Any], fill: float, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Pad the last axis of `values`, (..., columns), to a multiple of `_LANES`."""
    columns = values.shape[-1]
    found = np.full((*values.shape[:-1], -(-columns // _LANES) * _LANES), fill, dtype=dtype)
    found[..., :columns] = values
    return found


class Chain:
    """The parameters of a linear-chain CRF, arranged for the search.

    Attributes:
        tags: Number of tags.
        transitions: Scores from row to column in nats, minus infinity if forbidden, (tags, tags) float32.
        start: Scores of the first tag, minus infinity if forbidden, (tags,) float32.
        end: Scores of the last tag, minus infinity if forbidden, (tags,) float32.
        spans: Ids of the B, inside, E and S tag of each label, -1 if missing, (labels, 4) int64; needed for arcs only.
        order: Tag of each column, (tags,) int64.
        rows: Range of the columns whose outgoing transitions are in the dense table.
        width: Number of columns of the dense table; later columns cannot be reached from its rows.
        across: The dense table, (rows, width) float32.
        gap: Maximum over all steps of the score of one row (column index) minus that of another (row index), minus
            infinity on the diagonal, (rows, rows) float32.
        inner_from: Source columns of the listed transitions to each column, (ways, tags) int32.
        inner: Scores of the listed transitions, minus infinity for none, (ways, tags) float32.
        inner_begin: First column that a listed transition leads to.
    """

    def __init__(
        self,
        transitions: npt.NDArray[np.floating],
        start: npt.NDArray[np.floating],
        end: npt.NDArray[np.floating],
        spans: Ints | None = None,
    ) -> None:
        """Arrange the parameters, which are described at the attributes.

        Raises:
            ValueError: The shapes are inconsistent.
        """
        tags = len(start)
        if tags < 1 or transitions.shape != (tags, tags) or start.shape != (tags,) or end.shape != (tags,):
            raise ValueError(
                f"expected parameters of a chain of {tags} tags, got {transitions.shape}, {start.shape}, {end.shape}"
            )
        self.tags = tags
        self.transitions, self.start, self.end = (
            np.ascontiguousarray(score, dtype=np.float32) for score in (transitions, start, end)
        )
        self.spans = np.zeros((0, 4), dtype=np.int64) if spans is None else np.asarray(spans, dtype=np.int64)
        possible = self.transitions > -np.inf
        dense = possible.sum(1) > LISTED
        reached = possible[dense].any(0)
        classes = (reached & ~dense, reached & dense, ~reached & dense, ~reached & ~dense)
        sizes = [int(chosen.sum()) for chosen in classes]
        self.order: Ints = np.concatenate([np.flatnonzero(chosen) for chosen in classes])
        self.rows = range(sizes[0], sum(sizes[:3]))
        self.width = sizes[0] + sizes[1]
        by_column = self.transitions[self.order][:, self.order]
        self.across: Floats = np.ascontiguousarray(by_column[self.rows.start : self.rows.stop, : self.width])
        self.gap = _gaps(self.across)
        self.inner_from, self.inner, self.inner_begin = _listed(by_column, self.rows)
        self.column_of = np.empty(tags, dtype=np.int64)
        self.column_of[self.order] = np.arange(tags)
        self.span_columns: Ints = np.where(self.spans < 0, -1, self.column_of[self.spans])
        self.start_by_column: Floats = self.start[self.order]
        self.end_by_column: Floats = self.end[self.order]

    @cached_property
    def packed(self) -> Packed:
        """The parameters in the memory layout of the C code."""
        return _pack_chain(self)


def _gaps(across: Floats) -> Floats:
    finite = np.maximum(across, np.float32(_NEVER))
    gap = np.empty((len(across), len(across)), dtype=np.float32)
    for row, scores in enumerate(finite):
        gap[row] = (finite - scores).max(1, initial=_NEVER)
    gap += np.float32(_ROUNDING)
    np.fill_diagonal(gap, -np.inf)  # a row is not compared with itself
    return gap


def _listed(by_column: Floats, rows: range) -> tuple[npt.NDArray[np.int32], Floats, int]:
    """Return the transitions out of columns not in `rows`: sources, scores, and the first target column."""
    tags = len(by_column)
    possible = by_column > -np.inf
    possible[rows.start : rows.stop] = False
    targets, sources = np.nonzero(possible.T)
    way = np.arange(len(targets)) - np.searchsorted(targets, targets)
    ways = int(way.max(initial=-1)) + 1
    inner_from, inner = np.zeros((ways, tags), dtype=np.int32), np.full((ways, tags), -np.inf, dtype=np.float32)
    inner_from[way, targets] = sources
    inner[way, targets] = by_column[sources, targets]
    return inner_from, inner, int(targets.min(initial=tags))


@dataclass(frozen=True)
class Arcs:
    """Preferred spans in concatenated sequences: a path that contains one as a whole span gets a bonus.

    Attributes:
        starts: Starts, (arcs,) int64.
        ends: Ends, exclusive, (arcs,) int64.
        bonus: Bonus in nats, at least 0, (arcs,) float32.
        labels: Index of the label with which the bonus counts twice, -1 for none, (arcs,) int64.
    """

    starts: Ints
    ends: Ints
    bonus: Floats
    labels: Ints

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Limits:
    """Restrictions on the tags of characters of concatenated sequences.

    Attributes:
        kinds: Row of `penalties` for each character, -1 for no restriction, (characters,) int32.
        penalties: 0 for allowed tags, minus infinity for forbidden ones, (kinds, tags) float32.
    """

    kinds: npt.NDArray[np.int32]
    penalties: Floats


@dataclass(frozen=True)
class Sequences:
    """A padded batch of emission scores.

    Attributes:
        emissions: Emission scores in nats, (batch, length, tags) float32; values at padding are ignored.
        lengths: Characters of each row, from 1 to length, (batch,) int64.
        limits: Restrictions on the tags of the concatenated sequences; None for none.
    """

    emissions: Floats
    lengths: Ints
    limits: Limits | None = None

    def __post_init__(self) -> None:
        batch, length, _ = self.emissions.shape
        if self.lengths.shape != (batch,) or (batch and not 1 <= self.lengths.min() <= self.lengths.max() <= length):
            raise ValueError(f"expected {batch} lengths from 1 to {length}, got {self.lengths}")
        if self.limits is not None and len(self.limits.kinds) != int(self.lengths.sum()):
            raise ValueError(f"expected kinds of {self.lengths.sum()} characters, got {len(self.limits.kinds)}")

    @property
    def mask(self) -> Bools:
        """True for characters, False at padding, (batch, length)."""
        return np.asarray(np.arange(self.emissions.shape[1]) < self.lengths[:, None])


def _pack_chain(chain: Chain) -> Packed:
    """Convert a chain to `chain_t` of the C code."""
    begin, inside, end, _ = chain.span_columns.T
    by_column = np.full((chain.tags + 1, chain.tags + 1), -np.inf, dtype=np.float32)  # the last for columns of -1
    by_column[:-1, :-1] = chain.transitions[chain.order][:, chain.order]
    pairs = ((begin, inside), (begin, end), (inside, inside), (inside, end))
    steps = np.ascontiguousarray([by_column[source, target] for source, target in pairs])
    return Packed(
        *(chain.tags, chain.width, chain.rows.start, len(chain.rows), len(chain.inner), chain.inner_begin),
        len(chain.spans),
        chain.order.astype(np.int32),
        _padded(chain.start_by_column, -np.inf, np.float32),
        _padded(chain.end_by_column, -np.inf, np.float32),
        _padded(chain.across, -np.inf, np.float32),
        _padded(chain.across.T, -np.inf, np.float32),
        _padded(chain.gap, -np.inf, np.float32),
        _padded(chain.inner_from, 0, np.int32),
        _padded(chain.inner, -np.inf, np.float32),
        np.ascontiguousarray(chain.span_columns, dtype=np.int32),
        steps,
    )


def _pack_sequences(chain: Chain, sequences: Sequences) -> Packed:
    emissions = np.ascontiguousarray(sequences.emissions, dtype=np.float32)
    batch, length, tags = emissions.shape
    if tags != chain.tags:
        raise ValueError(f"expected emissions of {chain.tags} tags, got {tags}")
    lengths = np.ascontiguousarray(sequences.lengths, dtype=np.int64)
    kinds = penalties = None
    if sequences.limits is not None:
        kinds = np.ascontiguousarray(sequences.limits.kinds, dtype=np.int32)
        penalties = np.ascontiguousarray(sequences.limits.penalties, dtype=np.float32)
        if penalties.shape[1:] != (tags,) or kinds.max(initial=-1) >= len(penalties):
            raise ValueError(f"expected penalties of {tags} tags for each kind, got {penalties.shape}")
    return Packed(emissions, lengths, batch, length, kinds, penalties)


def _pack_arcs(chain: Chain, sequences: Sequences, arcs: Arcs | None) -> Packed:
    if arcs is None or not len(arcs):
        return _NO_ARCS
    order = np.argsort(arcs.ends, kind="stable")
    starts, lasts, labels = arcs.starts[order], arcs.ends[order] - 1, arcs.labels[order]
    ends = np.cumsum(sequences.lengths)
    inside = (starts >= 0) & (starts <= lasts) & (lasts < ends[-1])
    if not (inside.all() and (np.searchsorted(ends, starts, "right") == np.searchsorted(ends, lasts, "right")).all()):
        raise ValueError("expected arcs of at least one character, each in one sequence")
    if labels.max() >= len(chain.spans) or arcs.bonus.shape != starts.shape or labels.shape != starts.shape:
        raise ValueError(f"expected a bonus and one of {len(chain.spans)} labels for each arc")
    bonus = np.ascontiguousarray(arcs.bonus[order], dtype=np.float32)
    columns = (np.ascontiguousarray(column, dtype=np.int64) for column in (starts, lasts, labels))
    starts, lasts, labels = columns
    return Packed(len(order), starts, lasts, bonus, labels)


_NO_ARCS = Packed(0, None, None, None, None)


def _compiled_paths(
    loops: ctypes.CDLL, chain: Chain, sequences: Sequences, arcs: Arcs | None
) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Compute `best_paths` with the C code."""
    tags = np.empty(int(sequences.lengths.sum()), dtype=np.int64)
    scores = np.empty(len(sequences.lengths), dtype=np.float64)
    texts, ways = _pack_sequences(chain, sequences), _pack_arcs(chain, sequences, arcs)
    arguments = (chain.packed.address, texts.address, ways.address, address(tags), address(scores))
    if loops.zhseq_best_paths(*map(ctypes.c_void_p, arguments)):
        raise MemoryError("no memory for the search")
    return tags, scores


def _compiled_probabilities(loops: ctypes.CDLL, chain: Chain, sequences: Sequences) -> Floats:
    """Compute `tag_probabilities` with the C code."""
    odds = np.empty((int(sequences.lengths.sum()), chain.tags), dtype=np.float32)
    texts = _pack_sequences(chain, sequences)
    arguments = (chain.packed.address, texts.address, address(odds))
    if loops.zhseq_tag_probabilities(*map(ctypes.c_void_p, arguments)):
        raise MemoryError("no memory for the sums")
    return odds


def best_paths(chain: Chain, sequences: Sequences, arcs: Arcs | None = None) -> tuple[Ints, Doubles]:
    """Find the best path of each sequence (Viterbi).

    Args:
        chain: CRF parameters.
        sequences: Emission scores.
        arcs: Preferred spans, each within one sequence, without duplicates.

    Returns:
        The tags of the concatenated sequences, (characters,) int64, and the scores of the paths in nats, bonuses
        included, (batch,) float64. The score is minus infinity, and the tags are arbitrary, if no path is legal or
        emissions are NaN or infinite.
    """
    loops = library()
    if loops is not None:
        return _compiled_paths(loops, chain, sequences, arcs)
    trellis = _Trellis(chain, sequences, arcs)
    paths, scores = trellis.backtrack(trellis.forward())
    return paths[sequences.mask], scores


def k_best_paths(chain: Chain, sequences: Sequences, k: int) -> tuple[Ints, Doubles]:
    """Find the k best paths of each sequence, best first.

    The backward pass keeps the k best suffixes of each sequence, ranked by the score of the best complete path that
    contains them, which the forward pass has computed. This is exact: fewer than k suffixes can rank above that of one
    of the k best paths.

    Args:
        chain: CRF parameters.
        sequences: Emission scores.
        k: Number of paths.

    Returns:
        The paths, (batch, k, length) int64, -1 at padding and for missing paths; and their scores in nats, (batch, k)
        float64, minus infinity for missing paths.
    """
    trellis = _Trellis(chain, sequences, None)
    values, own = trellis.forward(), trellis.own
    batch, length, tags = own.shape
    mask, lengths = sequences.mask, sequences.lengths
    into = chain.transitions[chain.order][:, chain.order].T.copy()
    final = values[lengths - 1, np.arange(batch)] + chain.end_by_column
    if tags < k:
        final = np.pad(final, ((0, 0), (0, k - tags)), constant_values=-np.inf)
    totals, tag = _greatest(final, k)
    tag = np.minimum(tag, tags - 1)
    suffix = np.where(totals == -np.inf, -np.inf, chain.end_by_column[tag])  # transitions and emissions to the right
    same = np.broadcast_to(np.arange(k), (batch, k))
    history = [(same, tag)]
    for position in range(length - 1, 0, -1):
        active = mask[:, position, None]
        longer = (suffix + np.take_along_axis(own[:, position], tag, axis=1))[..., None] + into[tag]  # (batch, k, tags)
        best, flat = _greatest((longer + values[position - 1][:, None]).reshape(batch, -1), k)
        suffix = np.where(active, np.take_along_axis(longer.reshape(batch, -1), flat, axis=1), suffix)
        totals = np.where(active, best, totals)
        tag = np.where(active, flat % tags, tag)
        history.append((flat // tags, tag))  # (parent, tag); the parent at padding is not used
    paths = np.empty((batch, k, length), dtype=np.int64)
    beam = same
    for position, (parent, tag) in enumerate(reversed(history)):
        paths[:, :, position] = chain.order[np.take_along_axis(tag, beam, axis=1)]
        beam = np.take_along_axis(parent, beam, axis=1)
    feasible = (totals > -np.inf) & ~trellis.broken[:, None]
    paths[~(feasible[..., None] & mask[:, None])] = -1
    return paths, np.where(feasible, totals + trellis.peaks[:, None], -np.inf)


def _greatest(values: npt.NDArray[np.floating], k: int) -> tuple[npt.NDArray[np.floating], Ints]:
    """Return the k greatest values of each row, greatest first, and their columns."""
    if k < values.shape[1]:
        columns = np.argpartition(-values, k - 1, axis=1)[:, :k]
    else:
        columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    found = np.take_along_axis(values, columns, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(columns, order, axis=1)


def tag_probabilities(chain: Chain, sequences: Sequences) -> Floats:
    """Return the marginal probability of each tag at each character (forward-backward algorithm).

    Returns:
        Probabilities for the concatenated sequences, (characters, tags) float32; NaN for sequences without a legal
        path.
    """
    loops = library()
    if loops is not None:
        return _compiled_probabilities(loops, chain, sequences)
    trellis = _Trellis(chain, sequences, None)
    forward, backward = trellis.forward_backward()
    together = forward + backward
    with np.errstate(invalid="ignore"):
        total = np.logaddexp.reduce(together, axis=2, keepdims=True)  # equal for all characters, except for rounding
        shares = np.exp(together - total)
    shares[trellis.broken] = np.nan
    found = np.empty((int(sequences.lengths.sum()), chain.tags), dtype=np.float32)
    found[:, chain.order] = shares[sequences.mask]
    return found


class _Trellis:
    """The trellis of a search in numpy, with tags as columns.

    Attributes:
        own: Emission scores relative to the maximum of their character, (batch, length, tags); 0 at padding.
        peaks: Sums of these maxima, (batch,).
        broken: Whether a sequence has emissions that are NaN or infinite, (batch,).
    """

    def __init__(self, chain: Chain, sequences: Sequences, arcs: Arcs | None) -> None:
        self._chain, self._lengths, self._mask = chain, sequences.lengths, sequences.mask
        emissions = sequences.emissions.astype(np.float32, copy=True)
        if sequences.limits is not None:
            kinds = sequences.limits.kinds
            flat = emissions[self._mask]
            limited = np.flatnonzero(kinds >= 0)
            flat[limited] += sequences.limits.penalties[kinds[limited]]
            emissions[self._mask] = flat
        emissions[~self._mask] = 0.0
        self.broken: Bools = np.logical_not((emissions < np.inf).all((1, 2)))
        emissions[self.broken] = 0.0
        peak = np.maximum(emissions.max(2), np.finfo(np.float32).min)
        self.own: Floats = emissions[:, :, chain.order] - peak[:, :, None]
        self.peaks: Doubles = peak.sum(1, dtype=np.float64)
        self._arcs = _ArcTable(chain, sequences, arcs) if arcs is not None and len(arcs) else None
        if self._arcs is not None:
            self._arcs.add_single(self.own)

    def forward(self) -> Floats:
        """Return the scores of the best partial paths, (length, batch, tags)."""
        own, chain = self.own, self._chain
        batch, length, tags = own.shape
        values = np.empty((length, batch, tags), dtype=np.float32)
        values[0] = own[:, 0] + chain.start_by_column
        for position in range(1, length):
            before, after = values[position - 1], values[position]
            after[:] = -np.inf
            if len(chain.rows):
                after[:, : chain.width] = self._dense(before)
            for sources, scores in zip(chain.inner_from, chain.inner, strict=True):
                begin = chain.inner_begin
                np.maximum(after[:, begin:], before[:, sources[begin:]] + scores[begin:], out=after[:, begin:])
            after += own[:, position]
            if self._arcs is not None:
                self._arcs.apply_arcs(position, values, own)
        return values

    def _dense(self, before: Floats) -> Floats:
        """Return the best scores over the transitions of the dense table, (batch, width)."""
        chain = self._chain
        closing = np.ascontiguousarray(before[:, chain.rows.start : chain.rows.stop])
        best = closing.argmax(1)
        top = closing[np.arange(len(closing)), best]
        found: Floats = chain.across.take(best, axis=0) + top[:, None]
        rivals = chain.gap.take(best, axis=0) + closing
        texts, tags = np.nonzero(rivals >= np.maximum(top, np.float32(_NEVER))[:, None])
        if len(texts):
            values = chain.across.take(tags, axis=0) + closing[texts, tags][:, None]
            firsts = np.flatnonzero(np.append(True, texts[1:] != texts[:-1]))
            values, texts = np.maximum.reduceat(values, firsts, axis=0), texts[firsts]
            found[texts] = np.maximum(found[texts], values)
        return found

    def backtrack(self, values: Floats) -> tuple[Ints, Doubles]:
        """Return the best paths, (batch, length), and their scores, (batch,)."""
        chain, lengths = self._chain, self._lengths
        texts = np.arange(len(lengths))
        final = values[lengths - 1, texts] + chain.end_by_column
        column = final.argmax(1)
        scores = np.where(self.broken, -np.inf, final[texts, column] + self.peaks)
        paths = np.zeros((len(lengths), len(values)), dtype=np.int64)
        into = chain.across.T
        waiting = lengths - 1  # last character of each text whose tag is not known yet
        for position in range(len(values) - 1, -1, -1):
            here = np.flatnonzero(waiting == position)
            now = column[here]
            paths[here, position] = now
            if not position:
                break
            before = values[position - 1][here]
            best, source = np.full(len(here), -np.inf, dtype=np.float32), np.zeros(len(here), dtype=np.int64)
            opening = np.flatnonzero(now < chain.width) if len(chain.rows) else now[:0]
            if len(opening):
                sums = before[opening, chain.rows.start : chain.rows.stop] + into[now[opening]]
                source[opening] = sums.argmax(1) + chain.rows.start
                best[opening] = sums.max(1)
            for sources, listed in zip(chain.inner_from, chain.inner, strict=True):
                sums = before[np.arange(len(here)), sources[now]] + listed[now]
                better = sums > best
                best, source = np.where(better, sums, best), np.where(better, sources[now], source)
            waiting[here], column[here] = position - 1, source
            if self._arcs is not None:
                self._arcs.enter_arcs(position, here, now, paths, waiting, column)
        return chain.order[paths], scores

    def forward_backward(self) -> tuple[Doubles, Doubles]:
        """Return the log sums over partial paths up to each cell, and after it, each (batch, length, tags)."""
        chain, own = self._chain, self.own.astype(np.float64)
        batch, length, tags = own.shape
        forward, backward = np.zeros((2, batch, length, tags))
        by_column = chain.transitions[chain.order][:, chain.order].astype(np.float64)
        forward[:, 0] = own[:, 0] + chain.start_by_column
        for position in range(1, length):
            forward[:, position] = _log_product(forward[:, position - 1], by_column) + own[:, position]
        texts = np.arange(batch)
        backward[texts, self._lengths - 1] = chain.end_by_column
        for position in range(length - 2, -1, -1):
            behind = _log_product(backward[:, position + 1] + own[:, position + 1], by_column.T)
            inside = position + 1 < self._lengths
            backward[inside, position] = behind[inside]
        backward[~self._mask] = 0.0
        return forward, backward


def _log_product(state: Doubles, steps: Doubles) -> Doubles:
    """Return log(exp(state) @ exp(steps)), (batch, tags); entries that underflow are recomputed one by one."""
    top = np.maximum(state.max(1, keepdims=True), _NEVER)
    peak = np.maximum(steps.max(0, keepdims=True), _NEVER)  # by target tag
    with np.errstate(divide="ignore", under="ignore"):
        sums = np.exp(state - top) @ np.exp(steps - peak)
        found: Doubles = np.log(sums) + top + peak
    for text in np.flatnonzero((sums < _LOST).any(1)).tolist():
        tags = np.flatnonzero(sums[text] < _LOST)
        found[text, tags] = np.logaddexp.reduce(state[text][:, None] + steps[:, tags], axis=0)
    return found


class _ArcTable:
    """Arcs by the position of their last character, for the search in numpy."""

    def __init__(self, chain: Chain, sequences: Sequences, arcs: Arcs) -> None:
        self._chain, self._arcs = chain, arcs
        lengths = sequences.lengths
        ends = np.cumsum(lengths)
        self._text: Ints = np.searchsorted(ends, arcs.starts, side="right")
        offsets = (ends - lengths)[self._text]
        self._starts, self._lasts = arcs.starts - offsets, arcs.ends - 1 - offsets
        if len(arcs) and not (self._starts.min() >= 0 and (self._starts <= self._lasts).all()):
            raise ValueError("expected arcs of at least one character")
        order = np.lexsort((np.arange(len(arcs)), self._lasts))
        order = order[self._lasts[order] > self._starts[order]]
        edges = np.searchsorted(self._lasts[order], np.arange(sequences.emissions.shape[1] + 1))
        self._by_position = [order[first:last] for first, last in pairwise(edges.tolist())]
        self._labels = np.flatnonzero((chain.span_columns[:, 0] >= 0) & (chain.span_columns[:, 2] >= 0))
        self._chosen: dict[tuple[int, int], Ints] = {}

    def add_single(self, own: Floats) -> None:
        """Add the bonus of one-character arcs to the emissions `own`, (batch, length, tags)."""
        single = self._chain.span_columns[:, 3]
        for arc in np.flatnonzero(self._lasts == self._starts).tolist():
            cell, bonus, label = own[self._text[arc], self._starts[arc]], self._arcs.bonus[arc], self._arcs.labels[arc]
            cell[single[single >= 0]] += bonus
            if label >= 0 and single[label] >= 0:
                cell[single[label]] += bonus

    def apply_arcs(self, position: int, values: Floats, own: Floats) -> None:
        """Update the scores at a position by the arcs that end there.

        Args:
            position: The position.
            values: Scores of the best partial paths, (length, batch, tags), updated in place.
            own: Relative emission scores, (batch, length, tags).
        """
        begins, inside, ends, _ = self._chain.span_columns[self._labels].T
        for arc in self._by_position[position].tolist():
            text, start = self._text[arc], self._starts[arc]
            gains = values[start, text, begins].copy()
            source = begins
            for inner in range(start + 1, position + 1):
                target = ends if inner == position else inside
                step = self._chain.transitions[self._chain.order[source], self._chain.order[target]]
                gains += np.where((source >= 0) & (target >= 0), step, np.float32(-np.inf))
                gains += own[text, inner, target]
                source = target
            gains += self._arcs.bonus[arc]
            gains[self._labels == self._arcs.labels[arc]] += self._arcs.bonus[arc]
            better = gains >= values[position, text, ends]
            if better.any():
                chosen = self._chosen.setdefault((text, position), np.full(len(self._chain.spans), -1))
                chosen[self._labels[better]] = arc
                values[position, text, ends[better]] = gains[better]

    def enter_arcs(self, position: int, here: Ints, now: Ints, paths: Ints, waiting: Ints, column: Ints) -> None:
        """In the backward pass, continue at the start of an arc if the best path reached its tag by that arc.

        Args:
            position: Current position.
            here: Texts at this position.
            now: Their columns.
            paths: Columns of all texts, (batch, length); those inside the arc are filled in.
            waiting: Next position of each text, (batch,), updated in place.
            column: Column at that position, (batch,), updated in place.
        """
        for text, end in zip(here.tolist(), now.tolist(), strict=True):
            chosen = self._chosen.get((text, position))
            if chosen is None:
                continue
            label = np.flatnonzero(self._chain.span_columns[:, 2] == end)
            if len(label) and chosen[label[0]] >= 0:
                start = int(self._starts[chosen[label[0]]])
                begin, inside, _, _ = self._chain.span_columns[label[0]].tolist()
                paths[text, start + 1 : position] = inside
                waiting[text], column[text] = start, begin
