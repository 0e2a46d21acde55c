"""The rhyme words of poems, gathered into segments whose words should rhyme with each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zhseq.prosody.patterns import FORM_SHAPES
from zhseq.prosody.verse_table import VerseTable, windows

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

WIDTH = 4
"""Words in a segment: a longer run of one rhyme is cut, so that a change of rhyme in it does little harm."""
CI = "词"
OLD_FORMS = ("五言", "七言", *FORM_SHAPES)
"""Verse in which the even lines rhyme; oblique rhymes are found in all of it."""
STOPS = "。！？；"
"""Marks behind the rhyming lines of ci."""
_CAN_BE_LEVEL = 0.15


def level_segments(table: VerseTable, level: Floats) -> Ids:
    """Return the even line ends of the regulated poems that rhyme on level tones, shape (segments, 4), padded with -1.

    Args:
        table: Poems.
        level: Probability of a level tone of each character.
    """
    ends = even_ends(table)
    can_be_level = np.append(level > _CAN_BE_LEVEL, True)  # the last one is for absent words
    return ends[can_be_level[ends].all(axis=1)]


def even_ends(table: VerseTable) -> Ids:
    """Return the even line ends of all regulated poems, shape (poems, 4), padded with -1."""
    parts = []
    for form, poems in table.regulated().items():
        lines, length = FORM_SHAPES[form]
        ends = poems.reshape(-1, lines, length)[:, 1::2, -1]
        parts.append(np.pad(ends, ((0, 0), (0, WIDTH - ends.shape[1])), constant_values=-1))
    return np.concatenate(parts)


def oblique_segments(table: VerseTable, level: Floats) -> Ids:
    """Return runs of oblique rhyme words: even lines of old and regulated verse, closed lines of ci.

    Args:
        table: Poems.
        level: Probability of a level tone of each character.
    """
    old = table.select(np.isin(table.forms, OLD_FORMS))
    lyric = table.select(table.forms == CI)
    return np.concatenate(
        [
            _runs(old, old.line_number % 2 == 1, level < 0.5),
            _runs(lyric, closed(lyric), level < 0.5),
        ]
    )


def level_runs(table: VerseTable, level: Floats) -> Ids:
    """Return runs of level rhyme words at the closed lines of ci, as `oblique_segments` does of oblique ones."""
    lyric = table.select(table.forms == CI)
    return _runs(lyric, closed(lyric), level > 0.5)


def closed(table: VerseTable) -> npt.NDArray[np.bool_]:
    """Tell which lines end with a mark that closes a sentence, shape (lines,)."""
    return np.isin(table.marks, [ord(mark) for mark in STOPS])


def _runs(table: VerseTable, rhyming: npt.NDArray[np.bool_], wanted: npt.NDArray[np.bool_]) -> Ids:
    """Return segments of neighbouring rhyme words of the wanted tone inside one poem."""
    words, poems = table.ends[rhyming], table.poem_of[rhyming]
    fits = wanted[words]
    new = np.ones(len(words), dtype=bool)
    new[1:] = (poems[1:] != poems[:-1]) | (fits[1:] != fits[:-1])
    runs = np.cumsum(new)
    return windows(words[fits], runs[fits], WIDTH)
