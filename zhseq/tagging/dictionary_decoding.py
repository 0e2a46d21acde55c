"""What a user's dictionary says of a batch, put into the decoding of a head of the tagger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zhseq.nn.crf import CRF
from zhseq.tagging.matching import Matches
from zhseq.tagging.word_lattice import Arcs, FixedTags, WordLattice
from zhseq.text.tags import TagTable

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_MOST_WAITING = 32_768  # characters whose scores are kept to be decoded together
_SPARE_PATHS = 4  # of the model's best paths that are weighed with the bonuses, for each that is wanted


@dataclass(frozen=True)
class Marks:
    """Words of a dictionary as spans of one head.

    Attributes:
        starts: First characters, in order, (marks,).
        ends: The characters behind the last, (marks,).
        bonus: Nats for paths in which they stand whole, (marks,).
        force: Which of them must stand whole; no other touches these, (marks,).
        labels: Label in the table of the head, -1 for any, (marks,).
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
    def joined(cls, parts: Sequence[Marks]) -> Marks:
        """Return the marks of all parts, at least one."""
        return cls(*(np.concatenate(columns) for columns in zip(*(part._columns() for part in parts), strict=True)))

    @classmethod
    def of(cls, matches: Matches, table: TagTable) -> Marks:
        """Choose what concerns a head: all matches for words, those with an entity label for entities.

        A label that the model does not know, or of which it has not the tags for so many characters, leaves the model
        the choice between all of its own. A forced word for which there are no tags at all is left out.
        """
        attributes, tagged = matches.attributes, table.outside_id < 0
        names = (attributes.pos if tagged else attributes.labels)[matches.rows]
        force = attributes.force[matches.rows]
        sizes = np.minimum(matches.ends - matches.starts, 3) - 1
        kept = ~force | np.asarray(_usable(table.tags).any(axis=1))[sizes]
        if not tagged:
            kept &= names > 0
        labels = _known(attributes.names, table.tags)[sizes, names]
        marks = cls(matches.starts, matches.ends, attributes.bonus[matches.rows], force, labels, names)
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
    has = TagTable.build(tags).places >= 0
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
def _allowed(tags: tuple[str, ...]) -> Bools:
    """Which tags B, inside, E and S of each label allow, and of any label (the last), (4, labels + 1, tags)."""
    table = TagTable.build(tags)
    allowed = np.zeros((4, len(table.labels) + 1, len(tags)), dtype=np.bool_)
    for label, places in enumerate(table.places.tolist()):
        for place, tag in enumerate(places):
            if tag >= 0:
                allowed[place, [label, -1], tag] = True
    return allowed


class MarkedBatch:
    """Sequences of a batch with the marks of a dictionary in them."""

    def __init__(self, crf: CRF, table: TagTable, rows: Ints, marks: Marks) -> None:
        """Create for a head, from the sequence of each mark and the marks, with places within their sequences."""
        self.crf, self.table = crf, table
        self.rows, self.marks = rows, marks

    def best(self, emissions: Tensor, mask: Tensor) -> Ints:
        """Return the best tags, (batch, length), -1 on padding."""
        texts = MarkedTexts(self.crf, self.table)
        places = torch.arange(mask.numel()).view(mask.shape)[mask.cpu()].numpy()
        texts.add(self, emissions, mask, places, np.ones(len(places), dtype=np.bool_))
        found = np.full(mask.numel(), -1, dtype=np.int64)
        places, tags = texts.decode()
        found[places] = tags
        return found.reshape(mask.shape)

    def paths(self, emissions: Tensor, mask: Tensor, nbest: int) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return good paths, (batch, nbest, length), with their scores, (batch, nbest), minus infinity for none.

        The first is the best. The others are the best of those that the model alone, given the forced words, finds
        best: these are weighed with the bonuses, but a path that only the bonuses make good may not be among them.
        """
        best = self.best(emissions, mask)
        if nbest == 1:
            return best[:, None], np.zeros((len(best), 1))
        first = torch.from_numpy(best).to(mask.device)
        wanted = nbest if self.marks.force.all() else nbest * _SPARE_PATHS
        others, scores = self.crf.nbest(emissions, mask, wanted, allowed_tags=self.allowed_tags(emissions))
        scores = scores.masked_fill((others == first[:, None]).all(2), -torch.inf)
        own = self.crf.score(emissions, first.clamp_min(0), mask)
        found = np.concatenate([best[:, None], others.cpu().numpy()], axis=1)
        sums = torch.cat([own[:, None], scores], dim=1).double().cpu().numpy()
        sums += self._bonuses(np.maximum(found, 0))
        sums[:, 0] = sums.max(1)  # it is the greatest, whatever rounding says
        order = np.argsort(-sums, axis=1, kind="stable")[:, :nbest]
        return np.take_along_axis(found, order[:, :, None], axis=1), np.take_along_axis(sums, order, axis=1)

    def allowed_tags(self, emissions: Tensor) -> Tensor | None:
        """Return the tags that forced words leave to each character, (batch, length, tags), None for all."""
        if not self.marks.force.any():
            return None
        length = emissions.shape[1]
        fixed = fixed_tags(self.table, self.marks.moved(self.rows * length))
        allowed = np.ones((emissions.shape[0] * length, emissions.shape[2]), dtype=np.bool_)
        allowed[fixed.characters] = fixed.allowed[fixed.kinds]
        return torch.from_numpy(allowed.reshape(emissions.shape)).to(emissions.device)

    def _bonuses(self, paths: Ints) -> npt.NDArray[np.float64]:
        """Return what paths, (batch, paths, length), gain by words that stand whole in them, (batch, paths)."""
        table, marks, rows = self.table, self.marks[~self.marks.force], self.rows[~self.marks.force]
        begins = ~table.continues[paths]
        span = np.cumsum(begins, axis=2)
        last = marks.ends - 1
        labels = table.label_ids[paths[rows, :, marks.starts]]  # (marks, paths)
        whole = begins[rows, :, marks.starts] & ~table.opens[paths[rows, :, last]] & (labels >= 0)
        whole &= span[rows, :, last] == span[rows, :, marks.starts]
        total = np.zeros(paths.shape[:2])
        np.add.at(total, rows, whole * marks.bonus[:, None] * (1.0 + (labels == marks.labels[:, None])))
        return total


class MarkedTexts:
    """Texts with the marks of a dictionary in them that wait to be decoded together, which is cheaper for many."""

    def __init__(self, crf: CRF, table: TagTable) -> None:
        """Create for a head."""
        self._crf, self._table = crf, table
        self._lattice: WordLattice | None = None
        self._own = np.empty((0, 0), dtype=np.float32)  # scores of the characters, with room for more
        self._clear()

    def _clear(self) -> None:
        self._lengths: list[Ints] = []
        self._marks: list[Marks] = []
        self._places: list[Ints] = []
        self._wanted: list[Bools] = []
        self._size = 0

    def add(self, batch: MarkedBatch, emissions: Tensor, mask: Tensor, places: Ints, wanted: Bools) -> bool:
        """Add a batch; return whether it is time to decode.

        Args:
            batch: The marks.
            emissions: (batch, length, tags).
            mask: (batch, length).
            places: What the caller calls the characters, (characters,).
            wanted: Of which characters the tags are wanted, (characters,).
        """
        if self._lattice is None:
            self._lattice = WordLattice(self._crf, self._table)
            self._own = np.empty((_MOST_WAITING, self._lattice.columns), dtype=np.float32)
        lengths = mask.sum(1).cpu().numpy()
        marks = batch.marks.moved((np.cumsum(lengths) - lengths)[batch.rows])
        real = mask.flatten().nonzero()[:, 0]
        own = self._room(len(real))
        self._lattice.own_scores(emissions.flatten(0, 1).index_select(0, real), _arcs(marks), own)
        self._lengths.append(lengths)
        self._marks.append(marks.moved(self._size))
        self._places.append(places)
        self._wanted.append(wanted)
        self._size += len(places)
        return self._size >= _MOST_WAITING

    def _room(self, more: int) -> npt.NDArray[np.float32]:
        """Return where the scores of more characters go, (more, columns)."""
        needed = self._size + more
        if needed > len(self._own):
            free = np.empty((more, self._own.shape[1]), dtype=np.float32)
            self._own = np.concatenate([self._own[: self._size], free])
        return self._own[self._size : needed]

    def decode(self) -> tuple[Ints, Ints]:
        """Return the wanted characters of all texts, as they were called, and the best tag of each."""
        if not self._size or self._lattice is None:
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing
        marks = Marks.joined(self._marks)
        tags = self._lattice.best_paths(
            self._own[: self._size],
            np.concatenate(self._lengths),
            _arcs(marks),
            fixed_tags(self._table, marks),
        )
        places, wanted = np.concatenate(self._places), np.concatenate(self._wanted)
        self._clear()
        return places[wanted], tags[wanted]


def _arcs(marks: Marks) -> Arcs:
    """Return the words that are not forced."""
    free = marks[~marks.force] if marks.force.any() else marks
    return Arcs(free.starts, free.ends, free.bonus, free.labels)


def fixed_tags(table: TagTable, marks: Marks) -> FixedTags:
    """Return what forced words leave to their characters."""
    marks = marks[marks.force]
    sizes = marks.ends - marks.starts
    owner = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.where(within == 0, 0, np.where(within == sizes[owner] - 1, 2, 1))
    place[sizes[owner] == 1] = 3
    labels = len(table.labels) + 1  # the last stands for any, as -1 does in `marks`
    kinds = place * labels + marks.labels[owner] % labels
    return FixedTags(marks.starts[owner] + within, kinds, _allowed(table.tags).reshape(4 * labels, -1))
