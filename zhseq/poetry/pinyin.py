"""Pinyin of verse: the modern reading of each character, chosen by tone and rhyme if there are several.

The readings are those of pypinyin (the extra `pinyin`), which depend on the words of a line. For a character with
several readings the poem decides: a position that requires a level tone gets a level reading (看 kān), and a rhyme word
gets the reading that rhymes (斜 xiá with 花 and 家). Required tones do not choose between readings of characters that
only have an entering tone, because their modern tones say nothing about it.
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
    """Return the pinyin of each character of a poem, with tone marks, one list per line.

    Args:
        lines: Lines without punctuation, in any script.
        pattern: Their tones and rhymes, or None if unknown.
        prosody: Prosody that lists characters of two tones; by default that of the shipped model.

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
    """Return the readings of a character, the usual one first; an empty list if there are none.

    Raises:
        ConfigError: pypinyin is not installed.
    """
    _, Style, pinyin = _pypinyin()
    found = pinyin(character, Style.TONE, heteronym=True, errors="ignore")
    return list(found[0]) if found else []


def of_tone(character: str, due: str) -> list[str]:
    """Return the readings of a character with tone class `due`, those with the syllable of the usual one first.

    A reading with another syllable is included only if it occurs in a word of pypinyin (长 zhǎng; not 听 yǐn).

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
    """Return pairs of a character and a reading that occur in the words of pypinyin."""
    from pypinyin.phrases_dict import phrases_dict

    return frozenset(
        (character, reading)
        for word, sounds in phrases_dict.items()
        for character, readings in zip(word, sounds, strict=False)
        for reading in readings
    )


def has_tone(reading: str, due: str) -> bool:
    """Return whether the modern tone of a reading belongs to class `due`, level (平) or oblique (仄)."""
    return _tone(reading) in (_LEVEL_TONES if due == LEVEL else _OBLIQUE_TONES)


def spaced(lines: Sequence[str], pinyin: Sequence[Sequence[str]], marks: Sequence[str]) -> list[str]:
    """Lay pinyin out over characters for a terminal: two rows for each line.

    Args:
        lines: Lines without punctuation.
        pinyin: Result of `pinyin_of`.
        marks: Punctuation mark after each line.
    """
    rows: list[str] = []
    for line, readings, mark in zip(lines, pinyin, marks, strict=True):
        widths = [max(len(reading), 2) + 1 for reading in readings]
        rows.append("".join(reading.ljust(width) for reading, width in zip(readings, widths, strict=True)).rstrip())
        shown = "".join(c + " " * (width - 2) for c, width in zip(line, widths, strict=True))
        rows.append(shown.rstrip() + mark)
    return rows


def _usual(line: str) -> list[str]:
    """Return the readings of a line by pypinyin; a character without a reading is returned itself."""
    _, Style, pinyin = _pypinyin()
    found = pinyin(line, Style.TONE, errors=list)
    return [reading[0] for reading in found]


def _of_tone(character: str, usual: str, due: str) -> str:
    """Return a reading with the required tone class, or the usual one if there is none."""
    if has_tone(usual, due):
        return usual
    return next(iter(of_tone(character, due)), usual)


def _of_rhyme(character: str, usual: str, rhyme: str) -> str:
    """Return the usual reading if it rhymes, else one that does and has the same tone class, else the usual one."""
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
    """Return the rhyming part of a reading: its final without tone and medial."""
    from pypinyin.contrib.tone_convert import to_finals

    final = unicodedata.normalize("NFC", to_finals(reading))
    return str(final[1:] if len(final) > 1 and final.startswith(_MEDIALS) and final[1] in "aeo" else final)


@lru_cache(maxsize=1)
def _pypinyin() -> tuple[Any, Any, Any]:
    """Return the parts of pypinyin that are used: `to_tone3`, `Style` and `pinyin`."""
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
