"""From lines of text to tagged spans of them, many lines at a time and without a loop over characters."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zhseq.features import Ints, TaggerFeatures, blanks
from zhseq.models.sequence_tagger import SequenceTagger
from zhseq.nn.crf import CRF
from zhseq.text.normalize import CodePoints, codepoints, from_codepoints, normalize
from zhseq.text.pieces import cut_pieces, with_context
from zhseq.text.tags import TagTable, spans_from_ids

PIECE = 128
"""Most characters that the model reads at once, about as many as in training."""
_CONTEXT = 16  # characters on each side of a cut through running text
_BATCH = 8192  # padded characters in a batch


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
    """

    points: CodePoints
    places: Ints
    lines: Ints
    first: npt.NDArray[np.bool_]
    apart: npt.NDArray[np.bool_]
    pieces: Ints
    owner: Ints

    @classmethod
    def of(cls, lines: Sequence[str]) -> TextBlock:
        """Make a block of lines."""
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
        pieces, owner = _pieces(points, bounds)
        return cls(points, places, offsets, first, apart, pieces, owner)


@dataclass(frozen=True)
class Spans:
    """Labelled spans of a block, in order: places in the lines laid end to end, each array (spans,)."""

    starts: Ints
    ends: Ints
    labels: Ints
    scores: npt.NDArray[np.float32] | None


def _pieces(points: CodePoints, bounds: Ints) -> tuple[Ints, Ints]:
    """Cut the lines, given by their bounds in `points`, into pieces; see `TextBlock`."""
    sizes = np.diff(bounds)
    short = np.flatnonzero((sizes > 0) & (sizes <= PIECE))
    rows = [np.stack([bounds[short], bounds[short + 1]] * 2, axis=1)]
    owner = [short]
    for line in np.flatnonzero(sizes > PIECE).tolist():
        text = from_codepoints(points[bounds[line] : bounds[line + 1]])
        cuts = cut_pieces(text, PIECE)
        rows.append(np.hstack([np.array(cuts), np.array(with_context(text, cuts, _CONTEXT))]) + bounds[line])
        owner.append(np.full(len(cuts), line))
    return np.concatenate(rows), np.concatenate(owner)


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
        block: Some lines.
        heads: Which heads of the model to use.
        scores: Give each span the least marginal probability of its tags.
        nbest: Readings of each line.

    Returns:
        The spans of each head and reading, the best reading first. A line that has fewer readings repeats its last.
    """
    total, device = len(block.points), next(model.parameters()).device
    paths = {head: np.zeros((nbest, total), dtype=np.int64) for head in heads}
    odds = {head: np.ones((nbest, total), dtype=np.float32) for head in heads if scores}
    sums = {head: np.zeros((len(block.pieces), nbest)) for head in heads}
    for chosen in _batches(block.pieces):
        begins, ends, reads, stops = block.pieces[chosen].T
        read = _ranges(reads, stops - reads)
        owned = (read >= np.repeat(begins, stops - reads)) & (read < np.repeat(ends, stops - reads))
        batch = features.assemble(block.points[read], stops - reads).to(device)
        mask = batch.mask.cpu().numpy()
        for head, emissions in model.emissions(batch, tuple(heads)).items():
            best, sums[head][chosen] = _decode(model.crf(head), emissions, batch.mask, nbest)
            tags = best.transpose(1, 0, 2)[:, mask]  # (nbest, characters read)
            paths[head][:, read[owned]] = tags[:, owned]
            if scores:
                marginals = model.crf(head).marginals(emissions, batch.mask).cpu().numpy()[mask]
                odds[head][:, read[owned]] = np.take_along_axis(marginals, tags.T, axis=1).T[:, owned]
    return {
        head: _spans_of_readings(
            _in_order(paths[head], sums[head], block),
            _in_order(odds[head], sums[head], block) if scores else None,
            tag_table(model.config.heads[head]),
            block,
        )
        for head in heads
    }


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
        rows = max(1, _BATCH // int(lengths[order[start]]))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    """Return the numbers of all ranges, one range after the other."""
    return np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(int(lengths.sum()))


def _decode(crf: CRF, emissions: Tensor, mask: Tensor, nbest: int) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Return the best tags, (batch, nbest, length), and their log scores, (batch, nbest).

    Where there are fewer paths, the best one stands for those that are missing, with a score of minus infinity.
    """
    if nbest == 1:
        return crf.decode(emissions, mask).cpu().numpy()[:, None], np.zeros((len(mask), 1))
    paths, scores = crf.nbest(emissions, mask, nbest)
    paths = torch.where(scores[..., None] > -torch.inf, paths, paths[:, :1])
    return paths.cpu().numpy(), scores.double().cpu().numpy()


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
    paths: Ints, odds: npt.NDArray[np.float32] | None, table: TagTable, block: TextBlock
) -> list[Spans]:
    """Read spans from tags, (nbest, characters): a name may hold a blank, a word may not."""
    border = block.first if table.outside_id >= 0 else block.apart
    readings = []
    for rank, tags in enumerate(paths):
        starts, ends, labels = spans_from_ids(tags, table, border)
        least = None
        if odds is not None:
            padded = np.append(odds[rank], np.float32(1.0))  # so that the end of the last span is a place, too
            least = (
                np.minimum.reduceat(padded, np.stack([starts, ends], axis=1).reshape(-1))[::2]
                if len(starts)
                else odds[rank][:0]
            )
        readings.append(Spans(block.places[starts], block.places[ends - 1] + 1, labels, least))
    return readings
