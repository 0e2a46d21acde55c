"""What is known of the words of some texts, in terms of one head: words as spans, and the tags that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.errors import InputError
from zhseq.nn.viterbi import Arcs, Chain, Limits, Sequences, best_paths, k_best_paths
from zhseq.tagging.matching import ALL_KINDS, FIRST_ENTRY, Matches
from zhseq.text.tags import TagTable

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NAMELESS = -2
"""Stands for a label where no span may be."""
_NAMELESS_ROWS = np.array([False, *(kind.nameless for kind in ALL_KINDS), False])
_SPARE_PATHS = 4  # of the model's best paths that are weighed with the bonuses, for each that is wanted


@dataclass(frozen=True)
class Marks:
    """Matched words as spans of one head.

    Attributes:
        starts: First characters, in order, (marks,).
        ends: The characters behind the last, (marks,).
        bonus: Nats for paths in which they stand whole, (marks,).
        force: Which of them must stand whole; no other touches these, (marks,).
        labels: Label in the table of the head, -1 for any, `NAMELESS` where no span may be, (marks,).
        names: Number of the name to be printed in the attributes of the dictionary, 0 for none, (marks,).
    """

    starts: Ints
    ends: Ints
    bonus: npt.NDArray[np.float32]
    force: Bools
    labels: Ints
    names: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, chosen: Ints | Bools) -> Marks:
        return Marks(*(column[chosen] for column in self._columns()))

    def _columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self.starts, self.ends, self.bonus, self.force, self.labels, self.names

    def moved(self, shift: Ints | int) -> Marks:
        """Return the marks, each moved by some characters, (marks,)."""
        return replace(self, starts=self.starts + shift, ends=self.ends + shift)

    @classmethod
    def none(cls) -> Marks:
        """Return no marks."""
        ints, bools = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
        return cls(ints, ints, ints.astype(np.float32), bools, ints, ints)

    @classmethod
    def joined(cls, parts: Sequence[Marks]) -> Marks:
        """Return the marks of all parts, at least one."""
        return cls(*(np.concatenate(columns) for columns in zip(*(part._columns() for part in parts), strict=True)))

    @classmethod
    def of(cls, matches: Matches, table: TagTable) -> Marks:
        """Choose what concerns a head: all matches for words, those with an entity label for entities.

        A label that the model does not know, or of which it has not the tags for so many characters, leaves the model
        the choice between all of its own. A forced word for which there are no tags at all is left out.
        """
        attributes, rows, tagged = matches.attributes, matches.rows, table.outside_id < 0
        names = (attributes.pos if tagged else attributes.labels)[rows]
        force = attributes.force[rows]
        sizes = np.minimum(matches.ends - matches.starts, 3) - 1
        kept = ~force | np.asarray(_usable(table.tags).any(axis=1))[sizes]
        labels = _known(attributes.names, table.tags)[sizes, names]
        if not tagged:
            nameless = _NAMELESS_ROWS[np.minimum(rows, FIRST_ENTRY)]
            kept = kept & (names > 0) | nameless
            labels = np.where(nameless, NAMELESS, labels)
        printed = np.where(rows < FIRST_ENTRY, 0, names)  # what is known by its spelling has labels of the model's
        marks = cls(matches.starts, matches.ends, attributes.bonus[rows], force, labels, printed)
        return marks if kept.all() else marks[kept]

    def within(self, begins: Ints, ends: Ints) -> tuple[Ints, Marks]:
        """Choose the marks that lie within each of some ranges of characters.

        Returns:
            The range of each mark, and the marks, with places counted from the beginning of the range.
        """
        first, last = np.searchsorted(self.starts, begins), np.searchsorted(self.starts, ends)
        counts = last - first
        ranges = np.repeat(np.arange(len(begins)), counts)
        marks = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
        whole = self.ends[marks] <= ends[ranges]
        ranges = ranges[whole]
        return ranges, self[marks[whole]].moved(-begins[ranges])


@lru_cache(maxsize=64)
def _usable(tags: tuple[str, ...]) -> Bools:
    """Tell which labels have the tags for 1, 2, and more characters, (3, labels)."""
    has = TagTable.build(tags).tag_ids >= 0
    return np.stack([has[:, 3], has[:, 0] & has[:, 2], has[:, 0] & has[:, 1] & has[:, 2]])


@lru_cache(maxsize=64)
def _known(names: tuple[str, ...], tags: tuple[str, ...]) -> Ints:
    """Return the label of each name for words of 1, 2, and more characters, -1 for none, (3, names)."""
    labels = TagTable.build(tags).labels
    index = {label: number for number, label in enumerate(labels) if label}
    of_name = np.array([index.get(name, -1) for name in names], dtype=np.int64)
    usable = np.append(_usable(tags), np.zeros((3, 1), dtype=np.bool_), axis=1)  # the last for -1
    return np.where(usable[:, of_name], of_name, -1)


@lru_cache(maxsize=64)
def _penalties(tags: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Return 0 for the tags that a character may have, minus infinity for others: a row for each kind, (kinds, tags).

    The first four rows are by whether there is a border before the character and behind it. Then come, for the first,
    an inner, the last and the only character of a forced word, rows for each label, for any label, and for none.
    """
    table = TagTable.build(tags)
    starts, stops = ~table.continues, ~table.opens
    spans = table.label_ids >= 0
    borders = np.ones((4, len(tags)), dtype=np.bool_)
    for kind, (begins, ends) in enumerate([(False, False), (False, True), (True, False), (True, True)]):
        if table.outside_id < 0:
            borders[kind] = (starts | (not begins)) & (stops | (not ends))
        else:
            borders[kind] = ~spans | ((~starts | begins) & (~stops | ends))
    words = np.zeros((4, len(table.labels) + 2, len(tags)), dtype=np.bool_)
    for label, places in enumerate(table.tag_ids.tolist()):
        for place, tag in enumerate(places):
            if tag >= 0:
                words[place, [label, -2], tag] = True
    if table.outside_id >= 0:
        words[:, -1, table.outside_id] = True
    allowed = np.concatenate([borders, words.reshape(-1, len(tags))])
    return np.where(allowed, np.float32(0.0), np.float32(-np.inf))


def limits_of(table: TagTable, marks: Marks, edges: Bools | None, size: int) -> Limits | None:
    """Return which characters of some texts laid end to end have not the choice of all tags, None if all have.

    Args:
        table: Of the head.
        marks: Words; only those that are forced count here, and they come before borders.
        edges: Borders before each character and at the end, (characters + 1,), or None where nothing is known. No word
            goes across one, and there may be more; a name begins and ends at one, and may go across.
        size: Characters.
    """
    forced = marks.force.any()
    if edges is None and not forced:
        return None
    kinds = np.full(size, -1, dtype=np.int32) if edges is None else 2 * edges[:-1] + edges[1:].astype(np.int32)
    if not forced:
        return Limits(kinds, _penalties(table.tags))
    marks = marks[marks.force]
    sizes = marks.ends - marks.starts
    owner = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.where(within == 0, 0, np.where(within == sizes[owner] - 1, 2, 1))
    place[sizes[owner] == 1] = 3
    labels = len(table.labels) + 2  # the last but one stands for any, the last for none
    column = np.where(marks.labels >= 0, marks.labels, len(table.labels) - 1 - marks.labels)
    kinds[marks.starts[owner] + within] = 4 + place * labels + column[owner]
    return Limits(kinds, _penalties(table.tags))


def arcs_of(marks: Marks) -> Arcs:
    """Return the words that are not forced."""
    free = marks[~marks.force] if marks.force.any() else marks
    return Arcs(free.starts, free.ends, free.bonus, free.labels)


@dataclass(frozen=True)
class MarkedSequences:
    """Sequences with what is known of their words.

    Attributes:
        chain: Of the head.
        table: Of its tags.
        sequences: Emissions, and what is forced.
        marks: Words, with places in the sequences laid end to end.
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
        free = not self.marks.force.all()
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
