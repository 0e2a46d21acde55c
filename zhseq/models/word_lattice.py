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
from torch import Tensor

from zhseq.models.lattice_packing import PackedArcs, TextPacking
from zhseq.models.lattice_search import LatticeScores, LatticeSearch
from zhseq.nn.crf import CRF
from zhseq.text.tags import TagTable

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


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

    def best_paths(self, own: Floats, lengths: Ints, arcs: Arcs, fixed: FixedTags | None = None) -> Ints:
        """Return the tags of the best path of each text, (characters,).

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
        return columns[search.walk_back()[packing.cells]]

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
