"""Poems as flat arrays of character numbers, from which prosody is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.text.normalize import codepoints, from_codepoints

if TYPE_CHECKING:
    from datasets import Dataset

Ids = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class VerseTable:
    """Poems concatenated into flat arrays.

    Attributes:
        characters: The alphabet, in the order of code points; a character's number is its index.
        ids: Numbers of all characters of all lines, shape (characters,).
        line_lengths: Characters in each line, shape (lines,).
        marks: Code point of the mark after each line, shape (lines,).
        poem_lines: Lines of each poem, shape (poems,).
        forms: Form of each poem, shape (poems,), dtype str.
        tunes: Tune of each poem, empty if it has none, shape (poems,), dtype str.
        names: Id of each poem, shape (poems,), dtype str.
    """

    characters: str
    ids: Ids
    line_lengths: Ids
    marks: Ids
    poem_lines: Ids
    forms: npt.NDArray[np.str_]
    tunes: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]

    @classmethod
    def from_dataset(cls, poems: Dataset) -> VerseTable:
        """Build the table from the result of `zhseq.corpus.load_poems`."""
        import pyarrow.compute as pc

        columns = ["id", "form", "lines", "marks", "tune"]
        table = poems.select_columns(columns).with_format("arrow")[:].combine_chunks()
        lines = table["lines"].combine_chunks()
        flat = lines.flatten()
        points = codepoints("".join(flat.to_pylist()))
        alphabet = np.unique(points)
        return cls(
            characters=from_codepoints(alphabet),
            ids=np.searchsorted(alphabet, points),
            line_lengths=pc.utf8_length(flat).to_numpy(zero_copy_only=False).astype(np.int64),
            marks=codepoints("".join(table["marks"].to_pylist())).astype(np.int64),
            poem_lines=lines.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64),
            forms=np.array(table["form"].to_pylist(), dtype=np.str_),
            tunes=np.array(table["tune"].to_pylist(), dtype=np.str_),
            names=np.array(table["id"].to_pylist(), dtype=np.str_),
        )

    def __len__(self) -> int:
        return len(self.poem_lines)

    @property
    def poem_of(self) -> Ids:
        """Index of the poem of each line, shape (lines,)."""
        return np.repeat(np.arange(len(self)), self.poem_lines)

    @property
    def line_number(self) -> Ids:
        """Index of each line in its poem, shape (lines,)."""
        return np.arange(len(self.line_lengths)) - np.repeat(
            np.cumsum(self.poem_lines) - self.poem_lines, self.poem_lines
        )

    @property
    def ends(self) -> Ids:
        """Number of the last character of each line, shape (lines,)."""
        return self.ids[np.cumsum(self.line_lengths) - 1]

    def select(self, poems: Booleans) -> VerseTable:
        """Return the poems selected by a mask, shape (poems,), dtype bool, with the same alphabet."""
        lines = np.repeat(poems, self.poem_lines)
        return VerseTable(
            characters=self.characters,
            ids=self.ids[np.repeat(lines, self.line_lengths)],
            line_lengths=self.line_lengths[lines],
            marks=self.marks[lines],
            poem_lines=self.poem_lines[poems],
            forms=self.forms[poems],
            tunes=self.tunes[poems],
            names=self.names[poems],
        )

    def regulated(self) -> dict[str, Ids]:
        """Return regulated form -> its poems, shape (poems, characters of the form), for all forms with poems."""
        return {
            form: self.select(self.forms == form).ids.reshape(-1, lines * length)
            for form, (lines, length) in FORM_SHAPES.items()
            if (self.forms == form).any()
        }


def windows(words: Ids, runs: Ids, width: int) -> Ids:
    """Cut runs of rhyme words into segments.

    Args:
        words: Rhyme words in reading order, shape (words,).
        runs: Number of the run of each word, not decreasing, shape (words,).
        width: Words in a segment; the last segment of a run may be shorter.

    Returns:
        Shape (segments, width), padded with -1; segments of a single word are left out.
    """
    if not len(words):
        return np.zeros((0, width), dtype=np.int64)
    first = np.append(True, runs[1:] != runs[:-1])
    position = np.arange(len(words)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    segment = np.cumsum(position % width == 0) - 1
    result = np.full((int(segment[-1]) + 1, width), -1, dtype=np.int64)
    result[segment, position % width] = words
    return np.asarray(result[(result >= 0).sum(axis=1) >= 2])
