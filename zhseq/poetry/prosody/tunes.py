"""Patterns of ci tunes (词牌): line lengths, tones, rhymes, marks and stanzas, from all ci to a tune."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhseq.poetry.prosody.patterns import FREE, LEVEL, OBLIQUE, Pattern, TunePattern
from zhseq.poetry.prosody.verse_table import VerseTable

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

Stanzas = Mapping[str, tuple[int, ...]]
"""Id of a poem -> characters after which its stanzas end, the last one left out."""

_FIXED = 0.85  # a place has a tone when so large a share of the poems agree on it
_RHYMING = 0.45  # two lines rhyme when so large a share of the poems rhyme there; by chance it is about a tenth
_MOST_VARIANTS = 4
_VARIANT_SHARE = 0.04


@dataclass(frozen=True)
class WordTable:
    """What is known of each character of a `VerseTable`.

    Attributes:
        tones: 1 level, -1 oblique, 0 either or unknown, shape (characters,).
        level: Probability of a level tone, shape (characters,).
        rhymes: Which characters are in which class of rhymes of ci, shape (characters, classes).
    """

    tones: npt.NDArray[np.int64]
    level: Floats
    rhymes: Booleans


def learn_tunes(table: VerseTable, words: WordTable, stanzas: Stanzas, min_count: int = 5) -> dict[str, TunePattern]:
    """Learn the patterns of all tunes.

    Args:
        table: Poems; those without a tune are passed over.
        words: Tones and rhymes of the characters.
        stanzas: Stanza ends of poems for which they are known.
        min_count: Poems that the commonest pattern of a tune must have; tunes with fewer are left out.

    Returns:
        The patterns by name of the tune, those with the most poems first.
    """
    lyrics = table.select(table.tunes != "")
    names, number = np.unique(lyrics.tunes, return_inverse=True)
    found = []
    for index in np.flatnonzero(np.bincount(number, minlength=len(names)) >= min_count):
        tune = _learn_tune(str(names[index]), lyrics.select(number == index), words, stanzas)
        if tune is not None and tune.count >= min_count:
            found.append(tune)
    return {tune.name: tune for tune in sorted(found, key=lambda tune: (-tune.total, tune.name))}


def _learn_tune(name: str, table: VerseTable, words: WordTable, stanzas: Stanzas) -> TunePattern | None:
    """Learn one tune from the poems to it."""
    shapes = _shapes(table)
    common = Counter(shapes).most_common(_MOST_VARIANTS + 1)
    patterns: list[Pattern] = []
    for shape, count in common:
        if count < max(3, _VARIANT_SHARE * len(table)) and patterns:
            break
        chosen = table.select(np.array([other == shape for other in shapes]))
        patterns += _patterns(chosen, shape, words, stanzas)
    if not patterns:
        return None
    main = patterns[0]
    enough = max(3.0, _VARIANT_SHARE * len(table))
    variants = sorted((p for p in patterns[1:] if p.count >= enough), key=lambda pattern: -pattern.count)
    return TunePattern(**vars(main), name=name, total=len(table), variants=tuple(variants[:_MOST_VARIANTS]))


def _shapes(table: VerseTable) -> list[tuple[int, ...]]:
    lengths, ends = table.line_lengths.tolist(), np.cumsum(table.poem_lines).tolist()
    return [tuple(lengths[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _patterns(table: VerseTable, shape: tuple[int, ...], words: WordTable, stanzas: Stanzas) -> list[Pattern]:
    """Return the patterns of the poems of one shape, the commoner first: one if they end level, one if oblique."""
    poems = table.ids.reshape(len(table), -1)
    ends_level = words.level[poems[:, -1]] > 0.5
    kinds = sorted((ends_level, ~ends_level), key=lambda kind: -int(kind.sum()))
    marks = _marks(table.marks.reshape(len(table), -1))
    breaks = _breaks([stanzas[name] for name in table.names.tolist() if name in stanzas], shape)
    result = []
    for kind in kinds:
        if kind.any():
            signs = _tones(words.tones[poems[kind]])
            ends = np.cumsum(shape)
            lines = tuple(signs[end - length : end] for end, length in zip(ends.tolist(), shape, strict=True))
            rhymes = _rhymes(words.rhymes[poems[kind][:, ends - 1]])
            result.append(Pattern(shape, _rhyme_tones(lines, rhymes), rhymes, marks, breaks, int(kind.sum())))
    return result


def _tones(tones: npt.NDArray[np.int64]) -> str:
    """Return one sign for each place from tones of shape (poems, places)."""
    level, oblique = (tones > 0).sum(axis=0), (tones < 0).sum(axis=0)
    share = (level + 0.5) / (level + oblique + 1)
    return "".join(LEVEL if part >= _FIXED else OBLIQUE if part <= 1 - _FIXED else FREE for part in share.tolist())


def _rhymes(classes: Booleans) -> tuple[int, ...]:
    """Number the rhymes from the rhyme classes of line ends, shape (poems, lines, classes)."""
    members = classes.astype(np.float32)
    together = (members @ members.transpose(0, 2, 1) > 0).mean(axis=0) >= _RHYMING
    result = [0] * len(together)
    for line in range(len(together)):
        partners = [other for other in range(line) if together[line, other]]
        known = [result[other] for other in partners if result[other]]
        if partners:
            result[line] = Counter(known).most_common(1)[0][0] if known else max(result) + 1
            for other in partners:
                result[other] = result[other] or result[line]
    order: dict[int, int] = {0: 0}
    return tuple(order.setdefault(rhyme, len(order)) for rhyme in result)


def _rhyme_tones(lines: Sequence[str], rhymes: Sequence[int]) -> tuple[str, ...]:
    """Give ends that some poets leave without rhyme, and so without a tone, the tone of the rhyme they belong to."""
    result = list(lines)
    for number, rhyme in enumerate(rhymes):
        ends = {line[-1] for line, other in zip(lines, rhymes, strict=True) if other == rhyme} - {FREE}
        if rhyme and len(ends) == 1:
            result[number] = lines[number][:-1] + ends.pop()
    return tuple(result)


def _marks(marks: Ids) -> str:
    """Return the commonest mark behind each line, from shape (poems, lines)."""
    return "".join(chr(Counter(column).most_common(1)[0][0]) for column in marks.T.tolist())


def _breaks(known: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lines after which stanzas end, by the commonest division that falls between lines; none if unknown."""
    line_of = {int(end): number for number, end in enumerate(np.cumsum(shape), start=1)}
    fitting = [tuple(line_of[end] for end in ends) for ends in known if all(end in line_of for end in ends)]
    return Counter(fitting).most_common(1)[0][0] if fitting else ()
