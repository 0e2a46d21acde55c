"""Learn prosody from poems: tones, then rhymes, then tunes.

Modern readings, from pypinyin, are the fallback if verse has too little evidence, and define the modern rhymes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from zhseq.errors import ConfigError, CorpusError
from zhseq.poetry.prosody import rhymes, tones, tunes
from zhseq.poetry.prosody.books import CLASSICAL, OBLIQUE_GROUPS, entering, named, standard_name
from zhseq.poetry.prosody.patterns import TunePattern
from zhseq.poetry.prosody.prosody import (
    DEPARTING_TONE,
    ENTERING_TONE,
    RISING_TONE,
    Prosody,
    RhymeGroup,
    Tone,
    ToneTable,
)
from zhseq.poetry.prosody.verse_table import VerseTable

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

_CLASSES = (Tone.LEVEL, Tone.OBLIQUE, Tone.EITHER)
_SURE = 0.9  # least probability of the class level or oblique; below it the class is "either"
_AMPLE, _SURE_AMPLE = 200, 0.5  # with this much evidence from verse, the second number replaces `_SURE`
_NOT_INSIDE = 0.04  # a character with a smaller share of level uses inside lines is level at their ends only
_CERTAIN = 0.99  # least probability of the tone of a certain rhyme word
_MIN_EVIDENCE = 3  # a character with less evidence from verse is marked as known from its modern reading
_MIN_USES = 3  # rarer characters are left out, as they are mostly slips and private notations
_FALLBACK_SHARE = 0.8  # share of a modern final's words in one group from which others with this final join it
_SURE_FALLBACK = 0.95  # share from which they may join as certain members, if their tone and regulated group are sure

_TODAY = {"3": 2.0, "4": -1.0}  # modern tone -> log odds of an old rising tone
_FEWEST_TO_PART = 12  # fewest words of a group whose rising and departing tones are separated
_LEAST_MET, _MET_FOR_BOTH, _BOTH = 5, 20, 0.3  # least co-occurrences for one tone and for two, least share of each

LEVEL_CLUSTERS = rhymes.ClusterSettings(min_count=60, merge_above=6.5, split_below=0.15, smallest=400)
"""Settings for level rhymes of regulated verse: about thirty groups, whose words co-occur far above chance."""
LYRIC_CLUSTERS = rhymes.ClusterSettings(min_count=40, merge_above=2.5, split_below=0.15, smallest=400)
"""Settings for ci and for oblique rhymes, which mix neighbouring groups and oblique tones: fewer groups."""


@dataclass(frozen=True)
class LearnedTones:
    """Learned tones of the characters of a table.

    Attributes:
        model: Result of `tones.fit`.
        counts: Strict counts, see `tones.count`.
        probabilities: Probabilities of the classes level, oblique and either, (characters, 3).
        rhyming: Characters that repeatedly rhyme on a level tone although they are oblique elsewhere, (characters,).
        only_at_ends: Characters that are hardly ever level inside lines, (characters,).
        words: Words in which a character has another tone than elsewhere, see `tones.words_with_other_tone`.
    """

    model: tones.ToneModel
    counts: tones.ToneCounts
    probabilities: Floats
    rhyming: Booleans
    only_at_ends: Booleans
    words: tuple[tuple[int, int, int], ...]

    @property
    def level(self) -> Floats:
        """Probability of a level tone, shape (characters,)."""
        return np.asarray((self.counts.level + 0.02) / (self.counts.level + self.counts.oblique + 0.04))


@dataclass(frozen=True)
class LearnedProsody:
    """The learned prosody and intermediate estimates for tables and plots."""

    prosody: Prosody
    tones: LearnedTones
    level: rhymes.Rhymes
    lyric: rhymes.Rhymes
    oblique: rhymes.Rhymes


def learn(table: VerseTable, stanzas: tunes.Stanzas) -> LearnedProsody:
    """Learn tones, rhyme groups and tunes from a table of training poems.

    Args:
        table: Poems of all forms.
        stanzas: Stanza ends of ci, where known.

    Raises:
        CorpusError: There is no regulated verse among the poems, or too few of them rhyme.
        ConfigError: pypinyin is not installed.
    """
    if not table.regulated():
        raise CorpusError(
            "no_regulated_verse", "there is no regulated verse among the poems; tones cannot be learned without it"
        )
    table = replace(table, tunes=np.array([standard_name(name) if name else "" for name in table.tunes.tolist()]))
    size, uses = len(table.characters), np.bincount(table.ids, minlength=len(table.characters))
    modern = read(table.characters)
    learned = learn_tones(table, modern)
    level = rhymes.learn(rhymes.level_segments(table, learned.level), size, LEVEL_CLUSTERS)
    lyric = rhymes.learn(rhymes.level_runs(table, learned.level), size, LYRIC_CLUSTERS)
    oblique = rhymes.learn(rhymes.oblique_segments(table, learned.level), size, LYRIC_CLUSTERS)
    learned, level, lyric = _with_line_end_readings(table, learned, level, lyric)
    both = tone_classes(learned) == 2
    closed = rhymes.rhyming_ends_of_ci(table)
    lyric = _with_second_readings(lyric, closed, both)
    oblique = _with_second_readings(oblique, closed, both)
    lyric = _with_regulated_readings(lyric, level)
    groups, lyric_groups = rhyme_groups(table.characters, learned, modern, (level, lyric, oblique))
    kept = np.flatnonzero(uses >= _MIN_USES)
    rising, departing = _oblique_tones(table, learned, groups, modern)
    tone_table = _tone_table(table.characters, learned, modern, kept)
    tone_table = replace(
        tone_table,
        rising="".join(character for character in tone_table.characters if character in rising),
        departing="".join(character for character in tone_table.characters if character in departing),
        oblique_groups=_oblique_groups(table, learned, groups, {RISING_TONE: rising, DEPARTING_TONE: departing}),
    )
    found = tunes.learn_tunes(table, _word_table(table.characters, learned, lyric_groups), stanzas)
    prosody = Prosody(
        tone_table,
        groups,
        found,
        lyric=Prosody(tone_table, lyric_groups, found),
        modern=modern_prosody(tone_table.characters, modern.select(kept), uses[kept], found),
    )
    return LearnedProsody(prosody, learned, level, lyric, oblique)


def learn_tones(table: VerseTable, modern: Readings) -> LearnedTones:
    """Learn tones by expectation-maximisation and strict counts, and estimate the class of each character."""
    verse = table.regulated()
    model = tones.fit(verse, len(table.characters))
    counts = tones.count(verse, model.level)
    flat = np.full((len(table.characters), 3), 1 / 3)
    alone = tones.class_probabilities(counts, flat).argmax(axis=1)
    prior = class_prior(modern.kinds, counts.level + counts.oblique, alone)
    inside = tones.count_inside(verse, model.level)
    seen = inside.level + inside.oblique
    only_at_ends = (inside.level < _NOT_INSIDE * seen) & (seen >= _AMPLE)
    level = (counts.level + 0.02) / (counts.level + counts.oblique + 0.04)
    return LearnedTones(
        model,
        counts,
        tones.class_probabilities(counts, prior),
        np.zeros(len(prior), dtype=bool),
        only_at_ends,
        tuple(tones.words_with_other_tone(verse, level)),
    )


def _with_second_readings(found: rhymes.Rhymes, segments: Ids, both: Booleans) -> rhymes.Rhymes:
    """Add readings in ci of characters of both tones that are only shown by their certain rhyme partners (思, 听)."""
    few = np.zeros(len(both), dtype=np.int64)  # a character known to have both tones needs little evidence
    readings = rhymes.line_end_readings(segments, found.certain, few) & both[:, None]
    return replace(found, members=found.members | readings)


def _with_regulated_readings(lyric: rhymes.Rhymes, level: rhymes.Rhymes) -> rhymes.Rhymes:
    """Add level readings of regulated verse to characters without a reading in ci (溅 in 溅溅).

    Only readings in groups of which nearly all words are in one group of ci are added.
    """
    shared = level.certain.astype(np.float32).T @ lyric.members.astype(np.float32)
    whole = shared.max(axis=1) >= _SURE_FALLBACK * level.certain.sum(axis=0)
    words, groups = np.nonzero(level.members & whole & ~lyric.members.any(axis=1, keepdims=True))
    members = lyric.members.copy()
    members[words, shared.argmax(axis=1)[groups]] = True
    return replace(lyric, members=members)


def _oblique_tones(
    table: VerseTable, learned: LearnedTones, groups: Sequence[RhymeGroup], modern: Readings
) -> tuple[frozenset[str], frozenset[str]]:
    """Distinguish rising (上) and departing tones (去), which hardly rhyme with each other in old verse.

    Each oblique group is split in two. Modern tones are the initial guess and name the parts: a third tone is nearly
    always an old rising tone, a fourth mostly a departing one. Co-occurrences in verse decide.

    Returns:
        Characters with the rising tone and characters with the departing tone; a character may be in both sets.
    """
    segments = rhymes.old_oblique_runs(table, learned.level)
    row_of = {character: row for row, character in enumerate(table.characters)}
    oblique = [group for group in groups if group.tone is Tone.OBLIQUE]
    number = Counter(character for group in oblique for character in group.characters)
    found: dict[str, set[str]] = {RISING_TONE: set(), DEPARTING_TONE: set()}
    for group, title in zip(oblique, named([(g.name, g.characters) for g in oblique], CLASSICAL), strict=True):
        members = [character for character in group.characters if number[character] == 1]
        if entering(title) or len(members) < _FEWEST_TO_PART:
            continue
        rows = [row_of[character] for character in members]
        row_in_kind = np.full(len(table.characters) + 1, -1)
        row_in_kind[rows] = np.arange(len(rows))
        counts = rhymes.cooccurrences(row_in_kind[segments], len(rows))
        prior = np.array([_TODAY.get(_only_tone(modern.finals[row]), 0.0) for row in rows])
        rising, share = rhymes.split_in_two(counts, prior)
        met = counts.sum(axis=1)
        both = (met >= _MET_FOR_BOTH) & (share > _BOTH) & (share < 1 - _BOTH)
        seen = met >= _LEAST_MET
        for tone, kept in ((RISING_TONE, rising > _SURE), (DEPARTING_TONE, rising < 1 - _SURE)):
            found[tone].update(members[row] for row in np.flatnonzero(seen & (kept | both)).tolist())
    return frozenset(found[RISING_TONE]), frozenset(found[DEPARTING_TONE])


def _oblique_groups(
    table: VerseTable, learned: LearnedTones, groups: Sequence[RhymeGroup], tones: Mapping[str, frozenset[str]]
) -> dict[str, str]:
    """Assign the words of each oblique tone to the groups of the book, from a few known words (`OBLIQUE_GROUPS`).

    Args:
        table: Poems.
        learned: Tones of its characters.
        groups: Rhyme groups; the names of groups identify entering tones.
        tones: Characters with the rising and with the departing tone.

    Returns:
        Name of each group with assigned characters -> the characters.
    """
    titles = named([(group.name, group.characters) for group in groups], CLASSICAL)
    stopped = {c for group, title in zip(groups, titles, strict=True) if entering(title) for c in group.characters}
    segments = rhymes.old_oblique_runs(table, learned.level)
    row_of = {character: row for row, character in enumerate(table.characters)}
    found: dict[str, str] = {}
    for tone, members in (*tones.items(), (ENTERING_TONE, stopped)):
        names = [name for name in OBLIQUE_GROUPS if name.startswith(tone)]
        words = sorted(members)
        row_in_kind = np.full(len(table.characters) + 1, -1)
        row_in_kind[[row_of[word] for word in words]] = np.arange(len(words))
        kind_of = {word: number for number, name in enumerate(names) for word in OBLIQUE_GROUPS[name]}
        known = np.array([kind_of.get(word, -1) for word in words], dtype=np.int64)
        counts = rhymes.cooccurrences(row_in_kind[segments], len(words))
        kinds = rhymes.cluster_by_seeds(counts, known, len(names))
        told = (kinds > _SURE) & ((counts.sum(axis=1) >= _LEAST_MET) | (known >= 0))[:, None]
        for number, name in enumerate(names):
            if told[:, number].any():
                found[name] = "".join(words[row] for row in np.flatnonzero(told[:, number]).tolist())
    return found


def _only_tone(readings: Sequence[tuple[str, str]]) -> str:
    """Return the digit of the modern oblique tone, or an empty string if there is none or there are several."""
    tones = {digit for _, digit in readings if digit not in _LEVEL_TONES}
    return tones.pop() if len(tones) == 1 else ""


def _with_line_end_readings(
    table: VerseTable, learned: LearnedTones, level: rhymes.Rhymes, lyric: rhymes.Rhymes
) -> tuple[LearnedTones, rhymes.Rhymes, rhymes.Rhymes]:
    """Add level readings that only rhymes show: 望 and 正 are at few other level positions."""
    uses = np.bincount(table.ids, minlength=len(table.characters))
    found = rhymes.line_end_readings(rhymes.even_ends(table), level.certain, uses)
    found[tone_classes(learned) != 1] = False  # other classes were not excluded from level rhymes before
    # For each regulated group the group of ci that contains most of its certain words.
    shared = (level.certain.astype(np.float32).T @ lyric.certain.astype(np.float32)).argmax(axis=1)
    in_lyric = np.zeros_like(lyric.members)
    words, groups = np.nonzero(found)
    in_lyric[words, shared[groups]] = True
    return (
        replace(learned, rhyming=np.asarray(found.any(axis=1))),
        replace(level, members=level.members | found),
        replace(lyric, members=lyric.members | in_lyric),
    )


def tone_classes(learned: LearnedTones) -> npt.NDArray[np.int64]:
    """Return the class of each character: 0 level, 1 oblique, 2 either or uncertain, shape (characters,)."""
    best = learned.probabilities.argmax(axis=1)
    needed = np.where(learned.counts.level + learned.counts.oblique >= _AMPLE, _SURE_AMPLE, _SURE)
    return np.where((learned.probabilities.max(axis=1) >= needed) & ~learned.rhyming, best, 2)


def _tone_table(characters: str, learned: LearnedTones, modern: Readings, rows: Ids) -> ToneTable:
    """Return the tone table of the characters in `rows`."""
    counts = learned.counts.level + learned.counts.oblique
    expected = learned.probabilities @ np.array([1.0, 0.0, 0.5])
    level = np.where(counts >= _MIN_EVIDENCE, learned.level, expected)
    level[(counts == 0) & (modern.kinds == 3)] = np.nan
    signs = np.array([tone.value for tone in _CLASSES])[tone_classes(learned)]
    return ToneTable(
        "".join(characters[row] for row in rows.tolist()),
        level[rows].astype(np.float32),
        "".join(signs[rows].tolist()),
        counts[rows] >= _MIN_EVIDENCE,
        "".join(
            characters[row] for row in rows.tolist() if learned.only_at_ends[row] and signs[row] == Tone.EITHER.value
        ),
        {characters[one] + characters[other]: turned for one, other, turned in learned.words},
    )


def rhyme_groups(
    characters: str, learned: LearnedTones, modern: Readings, parts: tuple[rhymes.Rhymes, ...]
) -> tuple[list[RhymeGroup], list[RhymeGroup]]:
    """Return the groups of regulated verse and those of ci, the level ones first.

    Args:
        characters: The alphabet.
        learned: Tones of the characters.
        modern: Modern readings, by which words without rhymes in verse are assigned.
        parts: Level rhymes of regulated verse, level rhymes of ci, oblique rhymes.
    """
    classes = tone_classes(learned)
    barred = (1, 1, 0)  # an oblique character has no level reading that could rhyme, and vice versa
    members = [part.members & (classes != tone)[:, None] for part, tone in zip(parts, barred, strict=True)]
    single = [
        members[0].sum(axis=1) + members[2].sum(axis=1) == 1,
        members[1].sum(axis=1) + members[2].sum(axis=1) == 1,
    ]
    single.append(single[0] & (members[2].sum(axis=1) == 1))
    certain = []
    for part, found, alone, tone in zip(parts, members, single, (0, 0, 1), strict=True):
        sure = alone & (learned.probabilities[:, tone] >= _CERTAIN)
        certain.append(part.certain & found & sure[:, None])
    finals = [_only_final(found) for found in modern.finals]
    _place(members[0], certain[0], finals, classes == 0)
    _place(members[2], certain[2], finals, classes == 1)
    home = np.where(members[0].sum(axis=1) == 1, members[0].argmax(axis=1), -1)
    both = [
        None if final is None or group < 0 else (*final, group)
        for final, group in zip(finals, home.tolist(), strict=True)
    ]
    _place(members[1], certain[1], both, classes == 0, sure=certain[0].any(axis=1))
    level, lyric, oblique = (
        _describe(characters, part.counts, found, sure, tone)
        for part, found, sure, tone in zip(parts, members, certain, (Tone.LEVEL, Tone.LEVEL, Tone.OBLIQUE), strict=True)
    )
    return _numbered([*level, *oblique]), _numbered([*lyric, *oblique])


def _only_final(found: Sequence[tuple[str, str]]) -> tuple[str, bool] | None:
    """Return the final and whether the tone is level if all modern readings agree in both, else None."""
    keys = {(final, digit in "12") for final, digit in found}
    return keys.pop() if len(keys) == 1 else None


def _place(
    members: Booleans, certain: Booleans, keys: Sequence[Hashable], wanted: Booleans, sure: Booleans | None = None
) -> None:
    """Assign words without rhymes in verse to the group of nearly all certain words with the same key.

    Args:
        members: Members of each group, (words, groups); changed in place.
        certain: Certain members, (words, groups); changed in place if `sure` is given.
        keys: Key of the rhyme of each word, for example its modern final, or None.
        wanted: Words that may be assigned, (words,).
        sure: Words that become certain members if nearly all words with their key are in one group, (words,).
    """
    table: dict[Hashable, Ids] = {}
    for row in np.flatnonzero(certain.any(axis=1)).tolist():
        if keys[row] is not None:
            table[keys[row]] = table.get(keys[row], np.zeros(members.shape[1], dtype=np.int64)) + certain[row]
    missing = ~members.any(axis=1) if sure is None else ~certain.any(axis=1) & (members.sum(axis=1) <= 1)
    for row in np.flatnonzero(wanted & missing).tolist():
        found = table.get(keys[row])
        if found is None or found.max() < _FALLBACK_SHARE * found.sum():
            continue
        group = int(found.argmax())
        if not members[row].any():
            members[row, group] = True
        if sure is not None and sure[row] and members[row, group] and found.max() >= _SURE_FALLBACK * found.sum():
            certain[row, group] = True


def _describe(characters: str, uses: Floats, members: Booleans, certain: Booleans, tone: Tone) -> list[RhymeGroup]:
    """Return the rhyme groups of one tone, each named by its most frequent certain word."""
    result = []
    for group in range(members.shape[1]):
        rows = np.flatnonzero(members[:, group])
        rows = rows[np.argsort(-uses[rows, group], kind="stable")]
        listed = "".join(characters[row] for row in rows.tolist())
        sure = "".join(characters[row] for row in rows.tolist() if certain[row, group])
        if listed:
            result.append(RhymeGroup(group, (sure or listed)[0], tone, listed, sure))
    return result


def _numbered(groups: list[RhymeGroup]) -> list[RhymeGroup]:
    return [replace(group, id=index) for index, group in enumerate(groups)]


def _word_table(characters: str, learned: LearnedTones, groups: Sequence[RhymeGroup]) -> tunes.WordTable:
    row_of = {character: row for row, character in enumerate(characters)}
    classes = np.zeros((len(characters), len(groups)), dtype=bool)
    for group in groups:
        classes[[row_of[character] for character in group.characters], group.id] = True
    signs = np.array([1, -1, 0])[tone_classes(learned)]
    return tunes.WordTable(signs, learned.level, classes)


# Modern readings.

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
"""Group of modern rhyme (中华通韵) -> its finals in pinyin, with `v` for ü."""
_GROUP_OF_FINAL = {final: name for name, finals in _GROUPS.items() for final in finals}
_LEVEL_TONES, _TONES = "12", ("1", "2", "3", "4")
_COMMON_WORDS, _COMMON_SHARE = 3, 0.1  # least number and share of a character's words that have a second reading
KINDS = 4
"""Number of kinds of characters by modern tones: level only, oblique only, both, no reading."""


@dataclass(frozen=True)
class Readings:
    """Modern readings of a list of characters.

    Attributes:
        finals: For each character its common readings as (final, tone digit), the usual one first; may be empty.
        kinds: 0 level, 1 oblique, 2 both, 3 none, shape (characters,).
    """

    finals: tuple[tuple[tuple[str, str], ...], ...]
    kinds: npt.NDArray[np.int64]

    def select(self, rows: npt.NDArray[np.int64]) -> Readings:
        """Return the readings of the characters in `rows`."""
        return Readings(tuple(self.finals[row] for row in rows.tolist()), self.kinds[rows])


def read(characters: str) -> Readings:
    """Look up the modern readings of characters.

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
    """Return the number of words with each reading of a character, since dictionaries list unused readings."""
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
    """Estimate the probability of old tones given modern ones, from characters with enough evidence in verse.

    Args:
        kinds: See `Readings`.
        counts: Evidence from verse for each character; those with less than 50 are left out.
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
    """Return the prosody of modern Chinese.

    Args:
        characters: Distinct normalised characters.
        readings: Their modern readings.
        uses: Frequency of each character, by which members of a group are sorted.
        tunes: Tunes, which are not changed.
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
