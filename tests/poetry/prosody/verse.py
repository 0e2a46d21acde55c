"""Verse made up by rule, whose tones and rhymes are known."""

import numpy as np
import numpy.typing as npt

from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.prosody.tones import pattern_signs

LEVEL, OBLIQUE, BOTH = 60, 60, 12
SIZE = LEVEL + OBLIQUE + BOTH
TONES = np.repeat([1, -1, 0], [LEVEL, OBLIQUE, BOTH])
"""Tone of each character: 1 level, -1 oblique, 0 both."""

Ids = npt.NDArray[np.int64]


def regulated(form: str, poems: int, rng: np.random.Generator, noise: float = 0.01) -> Ids:
    """Poems of a form, shape (poems, characters); a share `noise` of the characters has the wrong tone."""
    lines, length = FORM_SHAPES[form]
    signs = pattern_signs(form).reshape(4, -1)[rng.integers(4, size=poems)]
    wanted = np.where(signs == 0, rng.choice([1, -1], size=signs.shape), signs)
    wanted = np.where(rng.random(signs.shape) < noise, -wanted, wanted)
    fitting = {tone: np.flatnonzero((tone == TONES) | (TONES == 0)) for tone in (1, -1)}
    level = rng.choice(fitting[1], size=signs.shape)
    oblique = rng.choice(fitting[-1], size=signs.shape)
    assert signs.shape[1] == lines * length
    return np.where(wanted > 0, level, oblique)


def rhyming(groups: int, words: int, segments: int, rng: np.random.Generator, noise: float = 0.02) -> Ids:
    """Segments of four words of one group, shape (segments, 4); group g has the words g * words and up.

    Word 0 has a second reading in group 1.
    """
    group = rng.integers(groups, size=(segments, 1))
    word = rng.integers(words, size=(segments, 4))
    ids = group * words + word
    ids[(group == 1) & (word == 3) & (rng.random(ids.shape) < 0.5)] = 0
    return np.where(rng.random(ids.shape) < noise, rng.integers(groups * words, size=ids.shape), ids)
