"""Sample characters, and write poems without tones and rhymes. Imports no torch."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhseq.batching import Ints
from zhseq.device import Packed, address, library
from zhseq.poetry.network import Booleans, Floats, Network, log_total
from zhseq.poetry.request import Sampling

_CANDIDATES = 256  # best characters that can be drawn; others have almost no probability, and sorting them takes time
_STEP = np.uint64(0x9E3779B97F4A7C15)  # increment of SplitMix64
_GROUP = 8  # scores per group; groups are compared by their maxima first


def random_streams(seed: int, poems: Sequence[int], draws: int) -> Floats:
    """Return one number in [0, 1) for each poem and draw, (poems, draws); each poem has its own stream.

    Source: SplitMix64 (Steele, Lea and Flood, 2014), with an initial state from seed and poem. The numbers do not
    depend on the version of numpy, whose own generators take longer to load than these to compute.
    """
    state = np.zeros(1, dtype=np.uint64)
    while True:
        state = _mixed(state + np.uint64(seed % 2**64) + _STEP)
        if not (seed := seed >> 64):
            break
    begins = _mixed(state + np.array(poems, dtype=np.uint64) * _STEP)
    numbers = _mixed(begins[:, None] + np.arange(1, draws + 1, dtype=np.uint64) * _STEP)
    return (numbers >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a hash of 64 bits of which each bit depends on all bits of the value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def draw(scores: Floats, sampling: Sampling, chances: Floats, branches: int = 0) -> Ints:
    """Sample a character for each row by inverting the cumulative distribution.

    Args:
        scores: Logits, (rows, output_size).
        sampling: Temperature and limits.
        chances: Random numbers in [0, 1), (rows,).
        branches: Normalise over this many of the best characters only, which is faster; 0: over all.

    Returns:
        Ids, (rows,).
    """
    if sampling.temperature == 0:
        favourite: Ints = scores.argmax(axis=1)
        return favourite
    heat = np.float32(sampling.temperature)
    most = branches or _CANDIDATES
    best, ids = largest(scores, min(sampling.top_k or most, most, scores.shape[1]))
    # Without `branches`, probabilities are normalised over all characters, so that top-p is exact.
    total = log_total(best / heat if branches else scores / heat)
    shares = np.exp(best / heat - total[:, None])  # (rows, candidates), descending
    cumulated = shares.cumsum(axis=1)
    kept = cumulated - shares < sampling.top_p  # the best one is always kept
    limit = np.where(kept, shares, 0).sum(axis=1)
    choice = (cumulated < (chances * limit)[:, None]).sum(axis=1)
    last = (kept & (shares > 0)).sum(axis=1) - 1
    chosen: Ints = ids[np.arange(len(ids)), np.minimum(choice, np.maximum(last, 0))]
    return chosen


@dataclass(frozen=True)
class Choices:
    """Adjusted scores to sample from; each poem has the same number of consecutive rows.

    Attributes:
        scores: Logits, (rows, output_size).
        allowed: Added to all rows of each poem, (poems, output_size).
        columns: Characters with a penalty, (rows, changes); the penalties of a repeated character add up.
        nats: Penalties of these characters, (rows, changes).
    """

    scores: Floats
    allowed: Floats
    columns: Ints
    nats: Floats

    def draw(self, sampling: Sampling, chances: Floats, branches: int) -> Ints:
        """Sample a character for each row from the `branches` best ones; see `draw`."""
        loops = library()
        if loops is None or not sampling.temperature:
            return draw(self._together(), sampling, chances, branches)
        rows, size = self.scores.shape
        if self.columns.size and not 0 <= self.columns.min() <= self.columns.max() < size:
            raise ValueError(f"expected columns below {size}")
        best = min(sampling.top_k or branches, branches, size)
        found = np.empty(rows, dtype=np.int64)
        arrays = (np.ascontiguousarray(each) for each in (self.scores, self.allowed, self.columns, self.nats, chances))
        limits = np.array([sampling.temperature, sampling.top_p], dtype=np.float32)
        packed = Packed(rows, size, rows // len(self.allowed), self.columns.shape[1], best, *arrays, limits)
        if loops.zhseq_draw(ctypes.c_void_p(packed.address), ctypes.c_void_p(address(found))):
            raise MemoryError("no memory for the draws")
        return found

    def _together(self) -> Floats:
        """Return the adjusted scores, (rows, output_size)."""
        rows, size = self.scores.shape
        scores = (self.scores.reshape(len(self.allowed), -1, size) + self.allowed[:, None]).reshape(-1)
        columns = np.arange(0, scores.size, size)[:, None] + self.columns
        np.subtract.at(scores, columns.ravel(), self.nats.ravel())
        return scores.reshape(rows, size)


def largest(scores: Floats, count: int) -> tuple[Floats, Ints]:
    """Return the `count` largest scores of each row in descending order and their columns, both (rows, count).

    The largest scores are in the groups with the largest maxima, so most of a row need not be sorted. A group consists
    of every n-th score, because numpy computes maxima across rows faster than within them.
    """
    rows, size = scores.shape
    groups = size // _GROUP
    if size % _GROUP or count >= groups:
        return _largest_by_sorting(scores, count)
    parts = scores.reshape(rows, _GROUP, groups)
    chosen = _largest_columns(parts.max(axis=1), count)  # (rows, count)
    columns = (chosen[:, None] + np.arange(0, size, groups)[:, None]).reshape(rows, -1)
    best, order = _largest_by_sorting(np.take_along_axis(scores, columns, axis=1), count)
    return best, np.take_along_axis(columns, order, axis=1)


def _largest_by_sorting(scores: Floats, count: int) -> tuple[Floats, Ints]:
    """Return the result of `largest` by partitioning whole rows."""
    columns = _largest_columns(scores, count)
    found = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-found, axis=1)
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(columns, order, axis=1)


def _largest_columns(scores: Floats, count: int) -> Ints:
    """Return the columns of the `count` largest scores of each row, in any order."""
    # The partition is slow if many equal scores (of forbidden characters) come first, hence the sign.
    columns: Ints = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return columns


def sample(
    network: Network,
    *,
    prefix: Ints,
    forced: Sequence[Sequence[int]],
    writable: Booleans,
    line_id: int,
    sampling: Sampling,
    numbers: Sequence[int],
) -> Iterator[Ints]:
    """Write poems of one shape in parallel, line by line, without repeated lines in a poem.

    Args:
        network: The language model.
        prefix: Ids that the model reads first, (length,).
        forced: For each line and position the id of a fixed character, or -1 if it is free.
        writable: Characters that may be drawn, (output_size,).
        line_id: Id of the symbol between two lines.
        sampling: Sampling parameters.
        numbers: Numbers of the random streams of these poems.

    Yields:
        After each line: character ids, (poems, lines, longest line), 0 after the end of a shorter line and in unwritten
        lines. Written characters do not change.
    """
    rows = len(numbers)
    line_lengths = [len(characters) for characters in forced]
    poems = np.zeros((rows, len(forced), max(line_lengths)), dtype=np.int64)
    free = sum(character < 0 for characters in forced for character in characters)
    chances = random_streams(sampling.seed, numbers, free)
    closed = np.where(writable, np.float32(0), np.float32(-np.inf))
    pending, state, drawn = [np.tile(prefix, (rows, 1))], None, 0
    for line, characters in enumerate(forced):
        for position, character in enumerate(characters):
            if character < 0:
                scores, state = network.step(np.concatenate(pending, axis=1), state)
                pending.clear()
                scores += closed
                if position == line_lengths[line] - 1:
                    forbid_repeated_line(scores, poems, line, line_lengths)
                poems[:, line, position] = draw(scores, sampling, chances[:, drawn])
                drawn += 1
            else:
                poems[:, line, position] = character
            pending.append(poems[:, line, position : position + 1])
        yield poems
        pending.append(np.full((rows, 1), line_id, dtype=np.int64))


def forbid_repeated_line(scores: Floats, poems: Ints, line: int, line_lengths: Sequence[int]) -> None:
    """Set the score of a last character that would repeat an earlier line to minus infinity, in place.

    Args:
        scores: Scores of the last character of the line, (rows, output_size).
        poems: Characters so far, (rows, lines, longest line).
        line: Index of the line.
        line_lengths: Characters of each line.
    """
    last = line_lengths[line] - 1
    for earlier in range(line):
        if line_lengths[earlier] == line_lengths[line]:
            same = np.flatnonzero((poems[:, earlier, :last] == poems[:, line, :last]).all(axis=1))
            scores[same, poems[same, earlier, last]] = -np.inf
