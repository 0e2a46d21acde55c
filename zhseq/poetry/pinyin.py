"""Pinyin over verse: today's reading of each character, of several the one that tone and rhyme decide.

The readings are those of pypinyin, the extra `pinyin`, which goes by the words of a line. Where a character may be read
otherwise, the poem decides: a place that asks for a level tone has a level reading (看 kān), and a word that rhymes has
the reading that does (斜 xiá among 花 and 家). Words of the entering tone have no tone today that would tell, and are
left alone.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from zhseq.checkpoint import shipped
from zhseq.errors import ConfigError
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Pattern, Prosody, Tone

_LEVEL_TONES, _OBLIQUE_TONES = "12", "34"
_MEDIALS = ("i", "u", "v", "ü")


def pinyin_of(lines: Sequence[str], pattern: Pattern | None, prosody: Prosody | None = None) -> list[list[str]]:
    """Return the pinyin of each character of a poem, with marks of tone, as a list for each line.

    Args:
        lines: Lines without punctuation, in any script.
        pattern: Tones and rhymes that they keep; None if nothing is known of them.
        prosody: Tells which characters have two tones; by default that of the shipped model.

    Raises:
        ConfigError: pypinyin is not installed.
    """
    found = [_usual(line) for line in lines]
    if pattern is None or tuple(map(len, lines)) != pattern.line_lengths[: len(lines)]:
        return found
    prosody = prosody or _shipped_prosody()
    for number, line in enumerate(lines):
        for position, character in enumerate(line):
            due = pattern.tones[number][position]
            if due != FREE and prosody.tone_class(character) is Tone.EITHER:
                found[number][position] = _of_tone(character, found[number][position], due)
    for rhyme in set(pattern.rhyme_slots[: len(lines)]) - {-1}:
        members = [number for number, slot in enumerate(pattern.rhyme_slots[: len(lines)]) if slot == rhyme]
        sounds = Counter(_rhyme_of(found[number][-1]) for number in members)
        common, count = sounds.most_common(1)[0]
        for number in members if 2 * count > len(members) else ():
            found[number][-1] = _of_rhyme(lines[number][-1], found[number][-1], common)
    return found


def readings(character: str) -> list[str]:
    """Return the readings of a character, the commonest first; empty for one that has none.

    Raises:
        ConfigError: pypinyin is not installed.
    """
    _, Style, pinyin = _pypinyin()
    found = pinyin(character, Style.TONE, heteronym=True, errors="ignore")
    return list(found[0]) if found else []


def of_tone(character: str, due: str) -> list[str]:
    """Return the readings of a character that have a tone, those first that differ from the usual one in tone alone.

    Another syllable counts only if a word of pypinyin has it (长 zhǎng; not 听 yǐn).

    Raises:
        ConfigError: pypinyin is not installed.
    """
    from pypinyin.contrib.tone_convert import to_normal

    known = readings(character)
    fitting = [reading for reading in known if has_tone(reading, due)]
    same = [reading for reading in fitting if to_normal(reading) == to_normal(known[0])]
    return same + [each for each in fitting if each not in same and (character, each) in _readings_in_words()]


@lru_cache(maxsize=1)
def _readings_in_words() -> frozenset[tuple[str, str]]:
    """Return the characters and the readings that they have in the words of pypinyin."""
    from pypinyin.phrases_dict import phrases_dict

    return frozenset(
        (character, reading)
        for word, sounds in phrases_dict.items()
        for character, readings in zip(word, sounds, strict=False)
        for reading in readings
    )


def has_tone(reading: str, due: str) -> bool:
    """Tell whether a reading has a tone that is level (平) or oblique (仄) today."""
    return _tone(reading) in (_LEVEL_TONES if due == LEVEL else _OBLIQUE_TONES)


def spaced(lines: Sequence[str], pinyin: Sequence[Sequence[str]], marks: Sequence[str]) -> list[str]:
    """Lay pinyin out over characters for a terminal: two rows for each line.

    Args:
        lines: Lines without punctuation.
        pinyin: As `pinyin_of` returns it.
        marks: What stands behind each line.
    """
    rows: list[str] = []
    for line, readings, mark in zip(lines, pinyin, marks, strict=True):
        widths = [max(len(reading), 2) + 1 for reading in readings]
        rows.append("".join(reading.ljust(width) for reading, width in zip(readings, widths, strict=True)).rstrip())
        shown = "".join(c + " " * (width - 2) for c, width in zip(line, widths, strict=True))
        rows.append(shown.rstrip() + mark)
    return rows


def _usual(line: str) -> list[str]:
    """Return the readings of a line as pypinyin has them; a character without one stands for itself."""
    _, Style, pinyin = _pypinyin()
    found = pinyin(line, Style.TONE, errors=list)
    return [reading[0] for reading in found]


def _of_tone(character: str, usual: str, due: str) -> str:
    """Return the reading that has the tone that is due, the usual one if none has."""
    if has_tone(usual, due):
        return usual
    return next(iter(of_tone(character, due)), usual)


def _of_rhyme(character: str, usual: str, rhyme: str) -> str:
    """Return the reading that rhymes and has the tone of the usual one, if that does not rhyme."""
    if _rhyme_of(usual) == rhyme:
        return usual
    same = LEVEL if has_tone(usual, LEVEL) else OBLIQUE
    fitting = (each for each in readings(character) if _rhyme_of(each) == rhyme and has_tone(each, same))
    return next(fitting, usual)


def _tone(reading: str) -> str:
    to_tone3, _, _ = _pypinyin()
    return str(to_tone3(reading, neutral_tone_with_five=True))[-1:]


@lru_cache(maxsize=4096)
def _rhyme_of(reading: str) -> str:
    """Return what rhymes in a reading: its final without tone and without what leads into the vowel."""
    from pypinyin.contrib.tone_convert import to_finals

    final = unicodedata.normalize("NFC", to_finals(reading))
    return str(final[1:] if len(final) > 1 and final.startswith(_MEDIALS) and final[1] in "aeo" else final)


@lru_cache(maxsize=1)
def _pypinyin() -> tuple[Any, Any, Any]:
    """Return what is used of pypinyin: the number of a tone, styles, and the readings of a text."""
    try:
        from pypinyin import Style, pinyin
        from pypinyin.contrib.tone_convert import to_tone3
    except ImportError as error:
        raise ConfigError(
            "no_pinyin", "pinyin needs pypinyin, which is not installed; run `pip install 'zhseq[pinyin]'`"
        ) from error
    return to_tone3, Style, pinyin


@lru_cache(maxsize=1)
def _shipped_prosody() -> Prosody:
    return Prosody.load(shipped("poem"))
