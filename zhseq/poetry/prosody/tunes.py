"""Learn the patterns of ci tunes (词牌): line lengths, tones, rhymes, repetitions, marks and stanzas.

Poems of the same length with rhymes at the same positions have one pattern, wherever else they pause; others are
variants of the tune (又一体).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from zhseq.poetry.prosody.patterns import FREE, LEVEL, OBLIQUE, Echo, Pattern, TunePattern
from zhseq.poetry.prosody.verse_table import VerseTable

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

Stanzas = Mapping[str, tuple[int, ...]]
"""Id of a poem -> numbers of characters after which its stanzas end, without the last stanza."""

_FIXED = 0.85  # least share of poems with the same tone at a position for the pattern to have it
_LICENCE = 0.015  # largest share of poems with the other tone for a tone to be required
_MOST_SLIPS = 8  # largest number of poems with the other tone for a tone to be required, however many there are
_ALWAYS = 0.75  # least share of poems that rhyme for a rhyme to be required (a tenth of rhymes are not recognised)
_RHYMING = 0.45  # least share of poems in which two lines rhyme for a rhyme; by chance it is about a tenth
_FEW, _RHYMING_IN_FEW = 6, 0.7  # below this number of poems, the second number replaces `_RHYMING`
_MOST_VARIANTS = 12
_FEWEST = 2  # least poems of a variant
# Poems of the main pattern from which a variant needs more poems, since two may copy one slip; least number and share.
_WELL_KNOWN, _FEWEST_OF_MANY, _VARIANT_SHARE = 30, 3, 0.01
_CLEAR = 0.6  # replaces `_FIXED` at the ends of rhyming lines
_ECHO, _FEWEST_ECHOES, _REACH = 0.8, 5, 12  # least share and poems of a required repetition, largest distance


@dataclass(frozen=True)
class WordTable:
    """Tones and rhymes of the characters of a `VerseTable`.

    Attributes:
        tones: 1 level, -1 oblique, 0 either or unknown, shape (characters,).
        level: Probability of a level tone, shape (characters,).
        rhymes: Membership in the rhyme groups of ci, shape (characters, classes).
    """

    tones: npt.NDArray[np.int64]
    level: Floats
    rhymes: Booleans


def learn_tunes(table: VerseTable, words: WordTable, stanzas: Stanzas, min_count: int = 3) -> dict[str, TunePattern]:
    """Learn the patterns of all tunes.

    Args:
        table: Poems; those without a tune are skipped.
        words: Tones and rhymes of the characters.
        stanzas: Stanza ends of poems, where known.
        min_count: Least poems of the most frequent pattern of a tune; other tunes are left out.

    Returns:
        Tune -> patterns, those with most poems first.
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
    """Learn one tune from its poems, or return None if there is no pattern."""
    shapes = _shapes(table)
    patterns: list[Pattern] = []
    joined: dict[int, list[Ids]] = {}
    for shape, count in Counter(shapes).most_common():
        if count < _FEWEST and patterns:
            break
        chosen = table.select(np.array([other == shape for other in shapes]))
        for pattern, poems in _patterns(chosen, shape, words, stanzas):
            same = next((n for n, other in enumerate(patterns) if _is_same(other, pattern)), None)
            if same is not None:
                joined[same].append(poems)
            elif len(poems) >= _FEWEST or not patterns:
                joined[len(patterns)] = [poems]
                patterns.append(pattern)
    if not patterns:
        return None
    full = [_with_tones(pattern, np.concatenate(joined[n]), words) for n, pattern in enumerate(patterns)]
    main, *variants = sorted(full, key=lambda pattern: -pattern.count)
    needed = max(_FEWEST_OF_MANY, _VARIANT_SHARE * main.count) if main.count >= _WELL_KNOWN else _FEWEST
    kept = [pattern for pattern in variants if pattern.count >= needed]
    return TunePattern(**vars(main), name=name, total=len(table), variants=tuple(kept[:_MOST_VARIANTS]))


def _shapes(table: VerseTable) -> list[tuple[int, ...]]:
    lengths, ends = table.line_lengths.tolist(), np.cumsum(table.poem_lines).tolist()
    return [tuple(lengths[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _is_same(one: Pattern, other: Pattern) -> bool:
    """Return whether poems of the second pattern follow the first one apart from other pauses."""
    return (
        sum(one.line_lengths) == sum(other.line_lengths)
        and one.tones[-1][-1] == other.tones[-1][-1]
        and one.rhyme_places.keys() <= set(np.cumsum(other.line_lengths).tolist())
    )


def _patterns(
    table: VerseTable, shape: tuple[int, ...], words: WordTable, stanzas: Stanzas
) -> list[tuple[Pattern, Ids]]:
    """Return the patterns of poems of one shape with their poems, one each for level and oblique last characters."""
    poems = table.ids.reshape(len(table), -1)
    ends_level = words.level[poems[:, -1]] > 0.5
    kinds = sorted((ends_level, ~ends_level), key=lambda kind: -int(kind.sum()))
    marks = _marks(table.marks.reshape(len(table), -1))
    breaks = _breaks([stanzas[name] for name in table.names.tolist() if name in stanzas], shape)
    result = []
    for kind in kinds:
        if kind.any():
            ends = poems[kind][:, np.cumsum(shape) - 1]
            rhymes = _rhymes(words.rhymes[ends])
            last = LEVEL if ends_level[kind][0] else OBLIQUE
            tones = (*(FREE * length for length in shape[:-1]), FREE * (shape[-1] - 1) + last)
            result.append((Pattern(shape, tones, rhymes, marks, breaks, int(kind.sum())), poems[kind]))
    return result


def _with_tones(pattern: Pattern, poems: Ids, words: WordTable) -> Pattern:
    """Return a pattern with the tones and repetitions of its poems, shape (poems, characters).

    Args:
        pattern: Line lengths and rhymes.
        poems: All poems that follow it.
        words: Tones of the characters.
    """
    signs = words.tones[poems]
    level, oblique = (signs > 0).sum(axis=0) + 0.5, (signs < 0).sum(axis=0) + 0.5
    ends = np.cumsum(pattern.line_lengths)
    share = level / (level + oblique)
    needed = np.full(len(share), _FIXED)
    needed[[position - 1 for position in pattern.rhyme_places]] = _CLEAR
    sure = np.maximum(share, 1 - share)
    signs_of_places = np.where(sure < needed, FREE, np.where(share > 0.5, LEVEL, OBLIQUE))
    tones = "".join(signs_of_places.tolist())
    lines = tuple(tones[end - length : end] for end, length in zip(ends.tolist(), pattern.line_lengths, strict=True))
    lines = _rhyme_tones(lines, pattern.rhymes)
    flat = "".join(lines)
    optional = _optional_rhymes(words.rhymes[poems[:, ends - 1]], pattern)
    licences = np.minimum(level, oblique) - 0.5 > min(_LICENCE * len(poems), _MOST_SLIPS)
    loose = tuple(
        position
        for position, sign in enumerate(flat)
        if sign != FREE and (position in optional or (licences[position] and position + 1 not in pattern.rhyme_places))
    )
    return replace(pattern, tones=lines, count=len(poems), loose=loose, echoes=_echoes(poems))


def _optional_rhymes(classes: Booleans, pattern: Pattern) -> set[int]:
    """Return the last positions of lines that often do not rhyme, from classes (poems, lines, classes)."""
    members = classes.astype(np.float32)
    together = (members @ members.transpose(0, 2, 1) > 0).mean(axis=0)
    ends = np.cumsum(pattern.line_lengths).tolist()
    optional = set()
    for line, rhyme in enumerate(pattern.rhymes):
        partners = [n for n, other in enumerate(pattern.rhymes) if rhyme and other == rhyme and n != line]
        if partners and max(together[line, partners]) < _ALWAYS:
            optional.add(ends[line] - 1)
    return optional


def _echoes(poems: Ids) -> tuple[Echo, ...]:
    """Return the repetitions (叠句) that nearly all poems have, from shape (poems, characters)."""
    if len(poems) < _FEWEST_ECHOES:
        return ()
    size = poems.shape[1]
    source = np.full(size, -1)
    for distance in range(1, min(_REACH, size - 1) + 1):
        share = (poems[:, distance:] == poems[:, :-distance]).mean(axis=0)
        positions = np.flatnonzero(share >= _ECHO) + distance
        source[positions[source[positions] < 0]] = positions[source[positions] < 0] - distance
    echoes: list[Echo] = []
    for position in np.flatnonzero(source >= 0).tolist():
        before = echoes[-1] if echoes else None
        if before and before.place + before.length == position and before.source + before.length == source[position]:
            echoes[-1] = replace(before, length=before.length + 1)
        else:
            echoes.append(Echo(position, int(source[position]), 1))
    return tuple(echoes)


def _rhymes(classes: Booleans) -> tuple[int, ...]:
    """Number the rhymes from the rhyme classes of line ends, shape (poems, lines, classes)."""
    members = classes.astype(np.float32)
    needed = _RHYMING if len(classes) >= _FEW else _RHYMING_IN_FEW
    together = (members @ members.transpose(0, 2, 1) > 0).mean(axis=0) >= needed
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
    """Return lines in which rhyming ends without a clear tone have the tone of the other ends of their rhyme."""
    result = list(lines)
    for number, rhyme in enumerate(rhymes):
        ends = {line[-1] for line, other in zip(lines, rhymes, strict=True) if other == rhyme} - {FREE}
        if rhyme and len(ends) == 1:
            result[number] = lines[number][:-1] + ends.pop()
    return tuple(result)


def _marks(marks: Ids) -> str:
    """Return the most frequent mark after each line, from code points (poems, lines)."""
    return "".join(chr(Counter(column).most_common(1)[0][0]) for column in marks.T.tolist())


def _breaks(known: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lines after which stanzas end, by the most frequent division at line ends; empty if unknown."""
    line_of = {int(end): number for number, end in enumerate(np.cumsum(shape), start=1)}
    fitting = [tuple(line_of[end] for end in ends) for ends in known if all(end in line_of for end in ends)]
    return Counter(fitting).most_common(1)[0][0] if fitting else ()
