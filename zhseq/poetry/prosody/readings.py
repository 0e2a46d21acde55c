"""Modern readings, from pypinyin: the fallback where verse says too little, and the rhymes of today.

Needed only while prosody is learned; the file it goes into carries what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from zhseq.errors import ConfigError
from zhseq.poetry.prosody.patterns import TunePattern
from zhseq.poetry.prosody.prosody import Prosody, RhymeGroup, Tone, ToneTable

Floats = npt.NDArray[np.float64]

_GROUPS = {
    "啊": ("a", "ia", "ua"),
    "喔": ("o", "uo"),
    "鹅": ("e", "ie", "ve", "ue", "ê"),
    "衣": ("i", "-i"),
    "乌": ("u",),
    "迂": ("v",),
    "哀": ("ai", "uai"),
    "欸": ("ei", "uei", "ui"),
    "熬": ("ao", "iao"),
    "欧": ("ou", "iou", "iu"),
    "安": ("an", "ian", "uan", "van", "üan"),
    "恩": ("en", "in", "uen", "un", "vn"),
    "昂": ("ang", "iang", "uang"),
    "英": ("eng", "ing", "ueng"),
    "雍": ("ong", "iong"),
    "儿": ("er",),
}
"""The groups of modern rhyme (中华通韵) by the finals of pinyin, `v` standing for ü."""
_GROUP_OF_FINAL = {final: name for name, finals in _GROUPS.items() for final in finals}
_LEVEL_TONES, _TONES = "12", ("1", "2", "3", "4")
_COMMON_WORDS, _COMMON_SHARE = 3, 0.1  # words, and share of its words, in which a second reading must occur to count
KINDS = 4
"""Kinds of characters by their modern tones: level only, oblique only, both, no reading."""


@dataclass(frozen=True)
class Readings:
    """Modern readings of a list of characters.

    Attributes:
        finals: For each character its common readings as (final, tone digit), the commonest first; may be empty.
        kinds: 0 level, 1 oblique, 2 both, 3 none, shape (characters,).
    """

    finals: tuple[tuple[tuple[str, str], ...], ...]
    kinds: npt.NDArray[np.int64]

    def select(self, rows: npt.NDArray[np.int64]) -> Readings:
        """Keep the readings of some characters."""
        return Readings(tuple(self.finals[row] for row in rows.tolist()), self.kinds[rows])


def read(characters: str) -> Readings:
    """Look the characters up.

    Raises:
        ConfigError: pypinyin is not installed.
    """
    try:
        from pypinyin import Style, pinyin
        from pypinyin.contrib.tone_convert import to_finals_tone3
    except ImportError as error:
        raise ConfigError(
            "no_pypinyin",
            "learning prosody needs pypinyin, which is not installed; run `pip install 'zhseq[prosody]'`",
        ) from error
    in_words = _readings_in_words()
    finals = []
    for character in characters:
        found = pinyin(character, Style.TONE, heteronym=True, errors="ignore")
        listed = found[0] if found else []
        seen = in_words.get(character, Counter())
        enough = max(_COMMON_WORDS, _COMMON_SHARE * sum(seen.values()))
        common = [reading for index, reading in enumerate(listed) if index == 0 or seen[reading] >= enough]
        spelled = [to_finals_tone3(reading, neutral_tone_with_five=True) for reading in common]
        finals.append(tuple(dict.fromkeys((text[:-1], text[-1]) for text in spelled if text.endswith(_TONES))))
    kinds = [_kind([tone for _, tone in readings]) for readings in finals]
    return Readings(tuple(finals), np.array(kinds, dtype=np.int64))


@lru_cache(maxsize=1)
def _readings_in_words() -> dict[str, Counter[str]]:
    """Count in how many words each reading of a character occurs; dictionaries list readings that nobody uses."""
    from pypinyin.phrases_dict import phrases_dict

    counts: dict[str, Counter[str]] = {}
    for word, spelled in phrases_dict.items():
        for character, reading in zip(word, spelled, strict=False):
            counts.setdefault(character, Counter())[reading[0]] += 1
    return counts


def _kind(tones: Sequence[str]) -> int:
    level = {tone in _LEVEL_TONES for tone in tones}
    return 3 if not level else 2 if len(level) == 2 else int(False in level)


def class_prior(kinds: npt.NDArray[np.int64], counts: Floats, classes: npt.NDArray[np.int64]) -> Floats:
    """Estimate, from characters that verse tells about, what the modern tone says of the old one.

    Args:
        kinds: See `Readings`.
        counts: Evidence from verse for each character; those with little of it are not asked.
        classes: Class of each character by verse alone: 0 level, 1 oblique, 2 either.

    Returns:
        Probability of each class for each character, shape (characters, 3).
    """
    known = counts >= 50
    table = np.ones((KINDS, 3))
    np.add.at(table, (kinds[known], classes[known]), 1)
    return np.asarray((table / table.sum(axis=1, keepdims=True))[kinds])


def modern_prosody(
    characters: str, readings: Readings, uses: npt.NDArray[np.int64], tunes: Mapping[str, TunePattern]
) -> Prosody:
    """Build tones and rhyme groups of today's language.

    Args:
        characters: Distinct normalised characters.
        readings: Their readings.
        uses: How often each is used; members of a group are listed by it.
        tunes: Tunes, which stay the same.
    """
    signs = "".join("平仄中中"[kind] for kind in readings.kinds.tolist())
    first = [found[0][1] in _LEVEL_TONES if found else None for found in readings.finals]
    level = np.array([np.nan if flag is None else float(flag) for flag in first], dtype=np.float32)
    level[readings.kinds == 2] = np.where(level[readings.kinds == 2] > 0.5, 0.75, 0.25)
    members: dict[tuple[str, Tone], list[int]] = {
        (name, tone): [] for tone in (Tone.LEVEL, Tone.OBLIQUE) for name in _GROUPS
    }
    single: set[int] = set()
    for row, found in enumerate(readings.finals):
        keys = {
            (_GROUP_OF_FINAL[final], Tone.LEVEL if tone in _LEVEL_TONES else Tone.OBLIQUE)
            for final, tone in found
            if final in _GROUP_OF_FINAL
        }
        for key in keys:
            members[key].append(row)
        if len(keys) == 1:
            single.add(row)
    groups: list[RhymeGroup] = []
    for (name, tone), rows in members.items():
        rows = sorted(rows, key=lambda row: -int(uses[row]))
        listed = "".join(characters[row] for row in rows)
        certain = "".join(characters[row] for row in rows if row in single)
        groups.append(RhymeGroup(len(groups), name + tone.value, tone, listed, certain))
    table = ToneTable(characters, level, signs, np.zeros(len(characters), dtype=bool))
    return Prosody(table, groups, tunes)
