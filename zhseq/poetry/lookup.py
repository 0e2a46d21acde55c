"""Verse reference: tones and rhymes of a character, words of a rhyme group, patterns of a tune, poems with a line.

All tables are learned from verse: the prosody, the words with a character (`words.tsv`, counted by
`scripts/learn_words.py`) and parallel words in couplets (`zhseq.poetry.sense.Facing`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zhseq import checkpoint
from zhseq.errors import CheckpointError, ConfigError, InputError, Message
from zhseq.poetry.forms import not_chinese
from zhseq.poetry.pinyin import of_tone, readings
from zhseq.poetry.planning import find_tune
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Pattern, Prosody, RhymeGroup, Tone
from zhseq.poetry.prosody.books import BOOK_NAMES, CLASSICAL, LYRIC, MODERN, entering, other_names
from zhseq.poetry.prosody.prosody import ENTERING_TONE
from zhseq.poetry.reading import split_lines
from zhseq.poetry.request import pattern_form
from zhseq.poetry.sense import FACING_FILE, SENSE_FILE, Facing, Sense
from zhseq.text.normalize import codepoints, is_han, normalize

if TYPE_CHECKING:
    import pyarrow

WORDS_FILE = "words.tsv"
_HEAD = "words\t1"
_SIGNS = {LEVEL: "○", OBLIQUE: "●", FREE: "◎"}
_RHYME_SIGNS = "△▲▽▼◇◆"
"""Signs after the lines of the first rhyme, of the second, and so on."""


@dataclass(frozen=True)
class CharacterUse:
    """Counts and words of a character in verse."""

    rhymes: int
    """Lines of the training poems that rhyme on it."""
    endings: tuple[str, ...]
    """Two-character words at the ends of such lines, the most characteristic first, by count and lift."""
    level: int = 0
    """Positions of regulated verse that require its level reading, if it has both."""
    oblique: int = 0
    """Positions of regulated verse that require its oblique reading, if it has both."""
    level_words: tuple[str, ...] = ()
    """Words in which it is level, the most frequent first."""
    oblique_words: tuple[str, ...] = ()
    """Words in which it is oblique, the most frequent first."""


@dataclass(frozen=True)
class VerseWords:
    """Table of the counts and words of all characters."""

    uses: Mapping[str, CharacterUse]
    """Simplified character -> its use."""

    @classmethod
    def load(cls, directory: Path) -> VerseWords:
        """Read `words.tsv` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or of another kind.
        """
        path = directory / WORDS_FILE
        uses = {}
        try:
            head, *rows = path.read_text(encoding="utf-8").splitlines()
            if head != _HEAD:
                raise ValueError(head)
            for row in rows:
                character, rhymes, endings, level, oblique, level_words, oblique_words = row.split("\t")
                words = (tuple(listed.split()) for listed in (endings, level_words, oblique_words))
                endings_of, level_of, oblique_of = words
                uses[character] = CharacterUse(int(rhymes), endings_of, int(level), int(oblique), level_of, oblique_of)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                "unreadable_verse_words",
                "{path} is not a table of words ({reason}); fetch it or count it again with scripts/learn_words.py",
                path=path,
                reason=error,
            ) from error
        return cls(uses)

    def save(self, directory: Path) -> None:
        """Write `words.tsv` into an existing directory."""
        rows = [_HEAD]
        for character, use in self.uses.items():
            words = [" ".join(listed) for listed in (use.endings, use.level_words, use.oblique_words)]
            rows.append(f"{character}\t{use.rhymes}\t{words[0]}\t{use.level}\t{use.oblique}\t{words[1]}\t{words[2]}")
        (directory / WORDS_FILE).write_text("\n".join(rows) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Reading:
    """One reading of a character in verse."""

    tone: str
    """平, 上, 去, 入, 上去 if both are in use, or 仄 if the oblique tone is unknown."""
    groups: tuple[str, ...]
    """Names of its rhyme groups of regulated verse with this tone: in the book, with the one used here in brackets."""
    ci_groups: tuple[str, ...]
    """Names of its rhyme groups of ci with this tone."""
    pinyin: tuple[str, ...]
    """The usual modern reading with this tone class, or with any tone for an only reading; empty without pypinyin."""
    share: float
    """Share of this reading among the positions that require one tone; 1 if it is the only reading."""
    words: tuple[str, ...]
    """Words with this reading; empty if it is the only one."""


@dataclass(frozen=True)
class CharacterEntry:
    """Entry of a character."""

    character: str
    readings: tuple[Reading, ...]
    """The more frequent one first."""
    learned: bool
    """Whether the tones were learned from verse; otherwise they are the modern ones."""
    rhymes: int
    """Lines of the training poems that rhyme on it."""
    endings: tuple[str, ...]
    """Words at the ends of such lines."""
    facing: tuple[str, ...]
    """Characters that are parallel to it in couplets."""


@dataclass(frozen=True)
class RhymeWord:
    """A rhyme word."""

    character: str
    rhymes: int
    """Lines of the training poems that rhyme on it."""
    endings: tuple[str, ...]
    """Two-character words at the ends of such lines, the most characteristic first."""
    certain: bool
    """Whether it is certainly and only in this group."""


@dataclass(frozen=True)
class GroupEntry:
    """Entry of a rhyme group."""

    name: str
    book: str
    """One of `zhseq.poetry.prosody.books.BOOK_NAMES`."""
    tone: str
    """平, 上, 去, 入, or 仄 if the group has rising and departing tones."""
    size: int
    """Number of words in the group."""
    words: tuple[RhymeWord, ...]
    """The words most frequent as rhymes in verse."""


@dataclass(frozen=True)
class PatternEntry:
    """Diagram of one pattern of a tune."""

    poems: int
    """Training poems that follow it."""
    characters: int
    rows: tuple[str, ...]
    """One row per stanza: ○ level, ● oblique, ◎ either; after a line its rhyme (△ the first, ▲ the second) and mark.

    Characters in brackets repeat earlier ones (叠句); `、` follows a character that leads its line (领字).
    """


@dataclass(frozen=True)
class TuneEntry:
    """Entry of a tune of ci."""

    name: str
    """Its usual name."""
    names: tuple[str, ...]
    """Its other names."""
    poems: int
    """All training poems to it."""
    patterns: tuple[PatternEntry, ...]
    """The most frequent first."""


@dataclass(frozen=True)
class Place:
    """Occurrence of a line or phrase in a poem."""

    author: str
    dynasty: str
    title: str
    line: int
    """Number of the first line that contains it, from 1."""
    text: str
    """The lines that contain it, extended to whole sentences, with punctuation."""


class Handbook:
    """Look up characters, rhyme groups, tunes and parallel words. Thread-safe."""

    def __init__(
        self,
        prosody: Prosody,
        words: VerseWords | None = None,
        facing: Facing | None = None,
        leads: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """Store tables; see `load`. `leads`: tune -> indices of lines with a caesura after their first character."""
        self.prosody = prosody
        self._leads = leads or {}
        self._words = words or VerseWords({})
        self._facing = facing or Facing({}, {}, {1: 0, 2: 0})

    @classmethod
    def load(cls, model: str | os.PathLike[str] | None = None, *, prosody: Prosody | None = None) -> Handbook:
        """Read the tables of a poem model.

        Args:
            model: Checkpoint directory or Hugging Face repository name; by default the shipped model.
            prosody: Its tones, rhymes and tunes, if already loaded (`Poet.prosody`).

        Raises:
            CheckpointError: It has no prosody, or a table is damaged.
        """
        directory = checkpoint.shipped("poem") if model is None else checkpoint.resolve(model)
        words = VerseWords.load(directory) if (directory / WORDS_FILE).exists() else None
        facing = Facing.load(directory) if (directory / FACING_FILE).exists() else None
        leads = Sense.load(directory).leads if (directory / SENSE_FILE).exists() else None
        return cls(prosody or Prosody.load(directory), words, facing, leads)

    def character(self, character: str, num: int = 8) -> CharacterEntry:
        """Look up a character.

        Args:
            character: A character in any script.
            num: Maximum number of words of each kind.

        Raises:
            InputError: It is not one Chinese character, or it is not in the tone table.
        """
        folded = _one_character(character)
        prosody = self.prosody
        known = prosody.table.characters.find(folded)
        if known < 0:
            raise InputError(
                "unknown_character",
                "'{character}' is unknown: it does not occur in the training poems",
                character=character,
            )
        use = self._words.uses.get(folded, CharacterUse(0, ()))
        tones = (LEVEL, OBLIQUE) if prosody.tone_class(folded) is Tone.EITHER else (prosody.tone_class(folded).value,)
        found = [self._reading(folded, tone, use, only=len(tones) == 1, num=num) for tone in tones]
        return CharacterEntry(
            character=folded,
            readings=tuple(sorted(found, key=lambda reading: -reading.share)),
            learned=bool(prosody.table.learned[known]),
            rhymes=use.rhymes,
            endings=use.endings[:num],
            facing=tuple(word for word, _ in self._facing.facing(folded)[:num]),
        )

    def _reading(self, character: str, tone: str, use: CharacterUse, *, only: bool, num: int) -> Reading:
        words, uses = (use.level_words, use.level) if tone == LEVEL else (use.oblique_words, use.oblique)
        level = float(self.prosody.level(character)[0])
        share = 1.0 if only else level if tone == LEVEL else 1 - level
        if not only and use.level + use.oblique:
            share = uses / (use.level + use.oblique)
        groups = _names(self.prosody, character, tone)
        return Reading(
            tone=tone if tone == LEVEL else self.prosody.oblique_tone(character),
            groups=groups,
            ci_groups=_names(self.prosody.lyric(), character, tone),
            pinyin=_pinyin(character, tone, only=only),
            share=round(share, 3),
            words=() if only else words[:num],
        )

    def group(self, name: str, book: str = CLASSICAL, num: int = 30) -> GroupEntry:
        """Look up a rhyme group.

        Args:
            name: One of its characters, or its name in the rhyme book (下平十一尤, 七遇).
            book: `classical` (平水韵), `ci` (词林正韵) or `modern` (中华通韵).
            num: Maximum number of words.

        Raises:
            InputError: There is no such group or book, or the word is in several groups.
        """
        view = self._book(book)
        title, tone, members, certain = _part_of(name, view) or _whole(view.group(name))
        uses = self._words.uses
        ordered = sorted(members, key=lambda word: -uses.get(word, CharacterUse(0, ())).rhymes)
        words = [
            RhymeWord(word, use.rhymes, use.endings[:6], word in certain)
            for word in ordered[:num]
            for use in (uses.get(word, CharacterUse(0, ())),)
        ]
        return GroupEntry(title, book, tone, len(members), tuple(words))

    def _book(self, book: str) -> Prosody:
        views = {CLASSICAL: lambda: self.prosody, LYRIC: self.prosody.lyric, MODERN: self.prosody.modern}
        if book not in views:
            raise InputError(
                "unknown_book",
                "there is no rhyme book '{book}'; choose one of {books}",
                book=book,
                books=", ".join(BOOK_NAMES),
            )
        return views[book]()

    def tune(self, name: str) -> TuneEntry:
        """Look up a tune by any of its names.

        Raises:
            InputError: The tune is unknown; the message lists similar names.
        """
        tune = find_tune(name, self.prosody)
        drawn = (_drawn(tune, self._leads.get(tune.name, ())), *map(_drawn, tune.variants))
        return TuneEntry(tune.name, other_names(tune.name), tune.total, drawn)

    def facing(self, word: str, num: int = 20) -> list[tuple[str, int]]:
        """Return parallel words in couplets with their counts, most frequent first.

        Args:
            word: A word of one or two characters.
            num: Maximum number of results.

        Raises:
            InputError: The word has another length, or is not Chinese.
        """
        if not 1 <= len(word) <= 2:
            raise InputError(
                "facing_word",
                "expected a word of one or two characters, but '{word}' has {count}",
                word=word,
                count=len(word),
            )
        for character in word:
            _one_character(character)
        return self._facing.facing(word)[:num]


def find_verse(text: str, num: int = 10, root: Path | str | None = None) -> tuple[int, list[Place]]:
    """Find a line or phrase in the poetry corpora.

    Args:
        text: One or several consecutive lines, or a part of one, in any script; punctuation separates lines.
        num: Maximum number of places, the oldest first.
        root: Directory of the corpora; by default that of `zhseq corpus`.

    Returns:
        The number of poems that contain it, and the places in the first `num` of them.

    Raises:
        InputError: The text has less than two characters, or characters that are not Chinese.
        CorpusError: The corpora are missing.
    """
    from zhseq.corpus.poems import map_poems

    wanted = lines_to_find(text)
    return [found for found in finding(map_poems(root), wanted, num) if found is not None][-1]


def lines_to_find(text: str) -> list[str]:
    """Return the normalised lines to search for.

    Raises:
        InputError: The text has less than two characters, or characters that are not Chinese.
    """
    wanted = split_lines(normalize(text))
    if len("".join(wanted)) < _SHORTEST_PHRASE:
        raise InputError(
            "short_phrase",
            "expected at least {least} characters to look for, but '{text}' has fewer",
            least=_SHORTEST_PHRASE,
            text=text,
        )
    for character in "".join(wanted):
        _one_character(character)
    return wanted


def finding(poems: pyarrow.Table, wanted: Sequence[str], num: int) -> Iterator[tuple[int, list[Place]] | None]:
    """Search poems batch by batch: yield None after each batch, and finally the result of `find_verse`.

    Args:
        poems: Result of `zhseq.corpus.poems.map_poems`.
        wanted: Result of `lines_to_find`.
        num: Maximum number of places.
    """
    from zhseq.corpus.cleaning import DYNASTIES

    order = {name: number for number, name in enumerate(DYNASTIES)}
    found: list[tuple[int, int, int]] = []  # rank of the dynasty, index of the batch, row in it
    parts = poems.to_batches()
    for number, part in enumerate(parts):
        dynasties = part.column("dynasty")
        found += [(order.get(dynasties[row].as_py(), len(order)), number, row) for row in _holding(part, wanted)]
        yield None
    places = [_place(parts[number].slice(row, 1).to_pylist()[0], wanted) for _, number, row in sorted(found)[:num]]
    yield len(found), places


_SHORTEST_PHRASE = 2


def _holding(poems: pyarrow.RecordBatch, wanted: Sequence[str]) -> list[int]:
    """Return the rows of the poems that contain these lines consecutively; the first and last may be partial."""
    import pyarrow.compute as pc

    column = poems.column("lines")
    flat = column.flatten()
    lines = np.flatnonzero(pc.match_substring(flat, max(wanted, key=len)).to_numpy(zero_copy_only=False))
    ends = column.offsets.to_numpy()[1:] - column.offsets[0].as_py()
    rows = np.unique(np.searchsorted(ends, lines, side="right")).tolist()
    return [row for row in rows if _where(column[row].as_py(), wanted) >= 0]


def _where(lines: Sequence[str], wanted: Sequence[str]) -> int:
    """Return the index of the line at which the wanted lines begin, or -1."""
    for start in range(len(lines) - len(wanted) + 1):
        here = lines[start : start + len(wanted)]
        if len(wanted) == 1:
            if wanted[0] in here[0]:
                return start
        elif here[0].endswith(wanted[0]) and here[-1].startswith(wanted[-1]) and list(here[1:-1]) == list(wanted[1:-1]):
            return start
    return -1


def _place(poem: Mapping[str, Any], wanted: Sequence[str]) -> Place:
    lines, marks = poem["lines"], poem["marks"]
    start = _where(lines, wanted)
    first, last = start, start + len(wanted) - 1
    while first and marks[first - 1] not in "。？！":
        first -= 1
    while last < len(lines) - 1 and marks[last] not in "。？！":
        last += 1
    text = "".join(line + mark for line, mark in zip(lines[first : last + 1], marks[first : last + 1], strict=True))
    title = "·".join(dict.fromkeys(filter(None, (poem["tune"], poem["title"]))))
    return Place(poem["author"], poem["dynasty"], title, start + 1, text)


def fields_of(entry: Any) -> dict[str, Any]:
    """Return an entry as JSON values."""
    return asdict(entry)


def _one_character(character: str) -> str:
    """Return one character normalised; raise InputError if the text is not one Chinese character."""
    if len(character) != 1:
        raise InputError("one_character", "expected one Chinese character, but found '{text}'", text=character[:20])
    if not bool(is_han(codepoints(character))[0]):
        raise not_chinese(Message("this_text", "this text"), character)
    return normalize(character)


def _whole(group: RhymeGroup) -> tuple[str, str, str, frozenset[str]]:
    """Return name, tone, words and certain words of a group."""
    tone = ENTERING_TONE if entering(group.full_name) else group.tone.value
    return group.full_name, tone, group.characters, frozenset(group.certain)


def _part_of(name: str, prosody: Prosody) -> tuple[str, str, str, frozenset[str]] | None:
    """Return the result of `_whole` for an oblique group of the book of regulated verse, None for other groups.

    Raises:
        InputError: The word is in several groups, or in none.
    """
    groups = prosody.table.oblique_groups if prosody.book == CLASSICAL else {}
    folded = normalize(name)
    if len(folded) > 1:
        titles = tuple(title for title in groups if folded == title or any(map(folded.endswith, title[2:].split("、"))))
    elif groups and prosody.group(folded).tone is not Tone.LEVEL:
        titles = prosody.oblique_groups(folded)
    else:
        titles = ()
    if len(titles) > 1:
        raise InputError(
            "ambiguous_rhyme_group",
            "'{name}' is in several rhyme groups; name one of them: {groups}",
            name=name,
            groups=", ".join(titles),
        )
    if not titles:
        return None
    members = groups[titles[0]]
    certain = frozenset(word for word in members if prosody.certain_groups(word))
    return titles[0], titles[0][0], members, certain


def _names(prosody: Prosody, character: str, tone: str) -> tuple[str, ...]:
    """Return the names of the rhyme groups of a character with this tone class."""
    groups = [number for number in prosody.groups(character) if prosody.rhyme_groups[number].tone.value == tone]
    return tuple(name for number in groups for name in prosody.group_names(character, number))


def _pinyin(character: str, tone: str, *, only: bool) -> tuple[str, ...]:
    """Return the modern reading with a tone, or the usual one if `only`; nothing without pypinyin."""
    found: list[str] = []
    with suppress(ConfigError):
        found = readings(character) if only else of_tone(character, tone)
    return tuple(found[:1])


def _drawn(pattern: Pattern, leads: Sequence[int] = ()) -> PatternEntry:
    """Draw a pattern, one row per stanza; `leads` are the lines with a caesura after their first character."""
    marks = pattern_form("", pattern).marks
    numbers = {rhyme: number for number, rhyme in enumerate(sorted(set(pattern.rhymes) - {0}))}
    cells = [
        signs + (_RHYME_SIGNS[numbers[rhyme] % len(_RHYME_SIGNS)] if rhyme else "") + mark
        for signs, rhyme, mark in zip(_line_signs(pattern, leads), pattern.rhymes, marks, strict=True)
    ]
    starts = (0, *pattern.breaks)
    rows = tuple("".join(cells[begin:end]) for begin, end in zip(starts, (*pattern.breaks, len(cells)), strict=True))
    return PatternEntry(pattern.count, sum(pattern.line_lengths), rows)


def _line_signs(pattern: Pattern, leads: Sequence[int]) -> list[str]:
    """Draw the tones of each line, with brackets around repetitions and a pause after leading characters."""
    repeated = {position for echo in pattern.echoes for position in range(echo.place, echo.place + echo.length)}
    lines: list[str] = []
    position = 0
    for number, tones in enumerate(pattern.tones):
        signs = "".join(
            ("[" if position + n in repeated and (n == 0 or position + n - 1 not in repeated) else "")
            + _SIGNS[sign]
            + ("]" if position + n in repeated and (n == len(tones) - 1 or position + n + 1 not in repeated) else "")
            + ("、" if n == 0 and number in leads else "")
            for n, sign in enumerate(tones)
        )
        lines.append(signs)
        position += len(tones)
    return lines
