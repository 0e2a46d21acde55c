"""Rhyme groups, first cut: who stands with whom at the ends of rhyming lines.

Words are merged as long as they meet more often than chance, then a group whose halves shun each other is split again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_RARE = 5.0  # meetings by chance that are added to the expected ones, so that single meetings count for little
_SMALLEST = 6  # words that each half of a group must have
_DIRECTIONS = 6  # eigenvectors looked at: a small group inside a large one need not show in the first
_LEAST_MEETINGS = 500  # meetings that each half must have, for its affinity to be more than an accident


def meetings(segments: Ids, size: int) -> Floats:
    """Count how often two different words stand in one segment.

    Args:
        segments: Rhyme words that should rhyme with each other, shape (segments, width), -1 where there is none.
        size: Only words below this number are counted.

    Returns:
        Symmetric, shape (size, size), with an empty diagonal.
    """
    counts = np.zeros(size * size)
    width = segments.shape[1]
    for left in range(width):
        for right in range(left + 1, width):
            first, second = segments[:, left], segments[:, right]
            both = (first >= 0) & (second >= 0) & (first < size) & (second < size) & (first != second)
            counts += np.bincount(first[both] * size + second[both], minlength=size * size)
    square = counts.reshape(size, size)
    return np.asarray(square + square.T)


def merge(counts: Floats, threshold: float) -> list[Ids]:
    """Merge words and groups, always the two that meet most often for their size.

    Args:
        counts: See `meetings`.
        threshold: Two groups are merged while they meet so many times as often as by chance (pointwise mutual
            information above its logarithm).

    Returns:
        The words of each group.
    """
    size = len(counts)
    joint, weight, label = counts.copy(), counts.sum(axis=1) + 1e-9, np.arange(size)
    total = weight.sum()
    alive = np.ones(size, dtype=bool)
    ratio = joint / (np.outer(weight, weight) / total + _RARE)
    np.fill_diagonal(ratio, -1)
    while size > 1:
        kept, gone = divmod(int(ratio.argmax()), size)
        if ratio[kept, gone] < threshold:
            break
        joint[kept] += joint[gone]
        joint[:, kept] += joint[:, gone]
        weight[kept] += weight[gone]
        alive[gone] = False
        label[label == gone] = kept
        ratio[gone] = ratio[:, gone] = -1
        row = np.where(alive, joint[kept] / (weight[kept] * weight / total + _RARE), -1)
        row[kept] = -1
        ratio[kept] = ratio[:, kept] = row
    return [np.flatnonzero(label == group) for group in np.unique(label)]


def split(counts: Floats, groups: list[Ids], threshold: float) -> list[Ids]:
    """Cut groups in two as long as their halves shun each other.

    Args:
        counts: See `meetings`.
        groups: See `merge`.
        threshold: Halves with an affinity below it are parted. The affinity is how often words of both halves meet,
            divided by how often words of one half do: near 1 for halves of one group, 0 if they never meet.
    """
    waiting, done = list(groups), []
    while waiting:
        group = waiting.pop()
        value, order, size = _best_cut(counts[np.ix_(group, group)])
        if value < threshold:
            waiting += [group[order[:size]], group[order[size:]]]
        else:
            done.append(group)
    return done


def _best_cut(inside: Floats) -> tuple[float, Ids, int]:
    """Find the cut of a group into halves of the least affinity.

    Words are lined up along each of the leading eigenvectors of their surplus of meetings, and every cut is tried.

    Returns:
        Affinity of the halves, the order of the words, and how many of them are in the first half.
    """
    best = (1.0, np.arange(len(inside)), 0)
    if len(inside) < 2 * _SMALLEST:
        return best
    weight = inside.sum(axis=1) + 1e-9
    surplus = (inside - np.outer(weight, weight) / weight.sum()) / np.sqrt(np.outer(weight, weight))
    np.fill_diagonal(surplus, 0)
    for vector in np.linalg.eigh(surplus)[1].T[-_DIRECTIONS:]:
        order = np.argsort(vector / np.sqrt(weight))
        values = _cut_affinities(inside[np.ix_(order, order)])
        size = int(values.argmin())
        if values[size] < best[0]:
            best = (float(values[size]), order, size)
    return best


def _cut_affinities(ordered: Floats) -> Floats:
    """Return the affinity of the first k words and the others for each k, shape (words,); infinite for small halves."""
    weight = ordered.sum(axis=1)
    first = np.concatenate([[0.0], np.cumsum(weight)])[:-1]
    squares = np.concatenate([[0.0], np.cumsum(weight**2)])[:-1]  # a word does not meet itself
    inner = np.concatenate([[0.0], np.cumsum(2 * np.tril(ordered, -1).sum(axis=1))])[:-1]
    last, between = weight.sum() - first, first - inner
    outer = weight.sum() - inner - 2 * between
    own = np.maximum(first**2 - squares, 1e-9), np.maximum(last**2 - ((weight**2).sum() - squares), 1e-9)
    inside = np.maximum(inner / own[0] * outer / own[1], 1e-30)
    values = between / np.maximum(first * last, 1e-9) / np.sqrt(inside)
    number = np.arange(len(ordered))
    small = (number < _SMALLEST) | (len(ordered) - number < _SMALLEST)
    small |= (first < _LEAST_MEETINGS) | (last < _LEAST_MEETINGS)
    return np.where(small, np.inf, values)
