"""Texts of different lengths, and the dictionary words in them, in the order in which a search goes through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    """

    cells: Ints
    order: Ints
    positions: Ints
    bounds: list[tuple[int, int]]

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
        return cls(cells, order, positions, list(zip(starts.tolist(), ends.tolist(), strict=True)))

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
