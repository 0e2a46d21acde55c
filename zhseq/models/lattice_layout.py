"""The tags of a head in an order in which each part of a step through the lattice is a slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from zhseq.errors import InputError
from zhseq.text.tags import TagTable


@dataclass(frozen=True)
class LatticeLayout:
    """Columns: the B tags of the labels that have B and E, then S tags and O, then E and then M of the first labels.

    A label without M has a column for it all the same, which no path goes through.

    Attributes:
        columns: Tag of each column, (columns,).
        chains: How many labels have B and E.
        lacks_middle: Which of these have no M, (chains,).
        chain_of: The place of each label among them, -1 for none, (labels,).
        single_of: The place of its S tag among the S tags, -1 for none, (labels,).
        begins: B tags.
        singles: S tags, without O.
        ends: E tags.
        middles: M tags.
        opening: What may begin a span or stand alone: B, S, O.
        closing: What may end a span or stand alone: S, O, E.
        inner: What a span that has begun goes on with: E, M.
    """

    columns: npt.NDArray[np.int64]
    chains: int
    lacks_middle: npt.NDArray[np.bool_]
    chain_of: npt.NDArray[np.int64]
    single_of: npt.NDArray[np.int64]
    begins: slice
    singles: slice
    ends: slice
    middles: slice
    opening: slice
    closing: slice
    inner: slice


@lru_cache(maxsize=32)
def lattice_layout(tags: tuple[str, ...]) -> LatticeLayout:
    """Lay out the tags of a head.

    Raises:
        InputError: They do not mark where a span ends.
    """
    table = TagTable.build(tags)
    if not table.strict:
        raise InputError(
            "Expected a model whose tags mark where words end (BMES or BIOES) to use a dictionary with, found the "
            f"tags {', '.join(tags[:5])}; train one with such tags."
        )
    begin, middle, end, single = table.places.T
    chains, singles = np.flatnonzero((begin >= 0) & (end >= 0)), np.flatnonzero(single >= 0)
    alone = np.append(single[singles], [table.outside_id] * (table.outside_id >= 0)).astype(np.int64)
    chain_of, single_of = np.full((2, len(table.labels)), -1)
    chain_of[chains], single_of[singles] = np.arange(len(chains)), np.arange(len(singles))
    n, m = len(chains), len(alone)
    return LatticeLayout(
        columns=np.concatenate([begin[chains], alone, end[chains], np.maximum(middle[chains], 0)]),
        chains=n,
        lacks_middle=middle[chains] < 0,
        chain_of=chain_of,
        single_of=single_of,
        begins=slice(0, n),
        singles=slice(n, n + len(singles)),
        ends=slice(n + m, 2 * n + m),
        middles=slice(2 * n + m, 3 * n + m),
        opening=slice(0, n + m),
        closing=slice(n, 2 * n + m),
        inner=slice(n + m, 3 * n + m),
    )
