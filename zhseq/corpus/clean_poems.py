"""Hold cleaned poems in columns: the texts of all poems end to end in arrays, so that work on them needs no loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Points = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class CleanPoems:
    """Cleaned poems in columns; texts are Han characters only, simplified, variants folded.

    Attributes:
        ids, titles, authors, dynasties, forms, tunes, sources: one text for each poem.
        points: code points of all lines of all poems end to end, shape (characters,), dtype uint32.
        line_lengths: characters in each line, shape (lines,), dtype int64.
        line_marks: code point of the mark that ends each line, shape (lines,), dtype uint32.
        poem_lines: lines in each poem, shape (poems,), dtype int64.
    """

    ids: list[str]
    titles: list[str]
    authors: list[str]
    dynasties: list[str]
    forms: list[str]
    tunes: list[str]
    sources: list[str]
    points: Points
    line_lengths: Ints
    line_marks: Points
    poem_lines: Ints

    def __len__(self) -> int:
        return len(self.ids)


def concatenate(parts: Sequence[CleanPoems]) -> CleanPoems:
    """Lay the poems of several sources one after another."""
    columns: dict[str, Any] = {}
    for name in CleanPoems.__dataclass_fields__:
        values = [getattr(part, name) for part in parts]
        columns[name] = np.concatenate(values) if isinstance(values[0], np.ndarray) else [x for v in values for x in v]
    return CleanPoems(**columns)


def select(poems: CleanPoems, chosen: Ints) -> CleanPoems:
    """Return the poems with these indices, which must ascend."""
    mask = np.zeros(len(poems), dtype=bool)
    mask[chosen] = True
    line_mask = np.repeat(mask, poems.poem_lines)
    masks = {
        "points": np.repeat(line_mask, poems.line_lengths),
        "line_lengths": line_mask,
        "line_marks": line_mask,
        "poem_lines": mask,
    }
    columns: dict[str, Any] = {}
    for name in CleanPoems.__dataclass_fields__:
        values = getattr(poems, name)
        columns[name] = values[masks[name]] if name in masks else [values[index] for index in chosen.tolist()]
    return CleanPoems(**columns)
