"""Tones and rhymes of characters and tunes of ci, for writing and checking, and their file format."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.errors import CheckpointError, InputError
from zhseq.poetry.prosody.books import CLASSICAL, LYRIC, MODERN, entering, named
from zhseq.poetry.prosody.patterns import Echo, Pattern, TunePattern
from zhseq.text.normalize import codepoints, from_codepoints, is_han, normalize
from zhseq.text.vocab import Vocab

Booleans = npt.NDArray[np.bool_]

PROSODY_FILE = "prosody.json"
_RARE = 0.1  # a tone with a smaller share of a character's uses is not allowed by `Prosody.masks`


class Tone(enum.Enum):
    """Tone class of a character: level (平), oblique (仄), or either, if it has both readings or is uncertain."""

    LEVEL = "平"
    OBLIQUE = "仄"
    EITHER = "中"


RISING_TONE, DEPARTING_TONE, ENTERING_TONE = "上", "去", "入"
"""The three oblique tones."""


@dataclass(frozen=True)
class ToneMasks:
    """Masks of the symbols of a vocabulary that are allowed at level and at oblique positions.

    Shape: both (vocab,), dtype bool. Symbols that are not Chinese characters are in neither.
    """

    level: Booleans
    oblique: Booleans


@dataclass(frozen=True)
class RhymeGroup:
    """Characters that rhyme with each other (韵部)."""

    id: int
    name: str
    """Its most frequent certain rhyme word; in modern rhymes the name of the group and its tone."""
    tone: Tone
    """LEVEL or OBLIQUE."""
    characters: str
    """All members, the most frequent first."""
    certain: str
    """The members with one reading and ample evidence."""
    title: str = ""
    """Its name in the book (下平十一尤); empty if the book has no such group."""

    @property
    def full_name(self) -> str:
        """The name in the book followed by `name` in brackets."""
        return f"{self.title} ({self.name})" if self.title else self.name


@dataclass(frozen=True)
class ToneTable:
    """Tones of a set of characters; the first four fields have equal length.

    Attributes:
        characters: Distinct normalised characters.
        level: Probability of a level tone, shape (characters,), dtype float32; NaN if unknown.
        classes: 平, 仄 or 中 for each character, as one string.
        learned: Whether the tone was learned from verse rather than taken from the modern reading, shape (characters,),
            dtype bool.
        only_at_ends: Characters that are level at the ends of lines only, for example 不.
        words: Two-character words in which one character has another tone than elsewhere -> its index (太华: 1).
        rising: Characters with a rising oblique reading (上); a character may also be in `departing`.
        departing: Characters with a departing oblique reading (去).
        oblique_groups: Name of an oblique group in the book of regulated verse (去声七遇) -> characters that are known
            to be in it; two groups that poets mix are one entry with both names (上声四纸、五尾).
    """

    characters: str
    level: npt.NDArray[np.float32]
    classes: str
    learned: Booleans
    only_at_ends: str = ""
    words: Mapping[str, int] = field(default_factory=dict)
    rising: str = ""
    departing: str = ""
    oblique_groups: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.characters) == len(self.level) == len(self.classes) == len(self.learned):
            raise ValueError("the columns of the tone table differ in length")
        if len(set(self.characters)) < len(self.characters):
            raise ValueError("a character occurs twice in the tone table")


class Prosody:
    """Tones, rhyme groups and tunes.

    Methods normalise characters (script, variants) unless they ask for normalised text.
    """

    def __init__(
        self,
        table: ToneTable,
        rhyme_groups: Sequence[RhymeGroup],
        tunes: Mapping[str, TunePattern],
        *,
        lyric: Prosody | None = None,
        modern: Prosody | None = None,
        book: str = CLASSICAL,
    ) -> None:
        self.table = table
        self.book = book
        self.rhyme_groups = tuple(rhyme_groups)
        self.tunes = dict(tunes)
        self._lyric, self._modern = lyric, modern
        self._index = {character: row for row, character in enumerate(table.characters)}
        self._sounds = dict(zip(table.characters, table.classes, strict=True))
        self._sounds_inside = self._sounds | dict.fromkeys(table.only_at_ends, Tone.OBLIQUE.value)
        self._oblique_groups: dict[str, tuple[str, ...]] = {}
        for title, members in table.oblique_groups.items():
            for character in members:
                self._oblique_groups[character] = (*self._oblique_groups.get(character, ()), title)
        self._first_of_words = frozenset(word[0] for word in table.words)
        self._groups: dict[str, tuple[int, ...]] = {}
        self._certain: dict[str, tuple[int, ...]] = {}
        for group in self.rhyme_groups:
            for index, members in ((self._groups, group.characters), (self._certain, group.certain)):
                for character in members:
                    index[character] = (*index.get(character, ()), group.id)

    @classmethod
    def load(cls, directory: Path | str) -> Prosody:
        """Read `prosody.json` of a model directory.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        return _load(Path(directory))

    def save(self, directory: Path | str) -> None:
        """Write `prosody.json` into a directory, which is created if missing; other files in it are kept."""
        _save(self, Path(directory))

    def lyric(self) -> Prosody:
        """Return the same tones and tunes with the rhymes of ci, which join neighbouring groups of level rhymes.

        A prosody without rhymes of ci returns itself.
        """
        return self._lyric or self

    def modern(self) -> Prosody:
        """Return the tones and rhymes of modern Standard Chinese (中华通韵, by finals) with the same tunes.

        Raises:
            InputError: The prosody has no modern readings.
        """
        if self._modern is None:
            raise InputError(
                "no_modern_rhymes",
                "this prosody has no modern readings; use <rhyme=classical> or the shipped prosody",
            )
        return self._modern

    @property
    def views(self) -> dict[str, Prosody]:
        """The other rhyme systems of this prosody by name: lyric, modern."""
        found = {"lyric": self._lyric, "modern": self._modern}
        return {name: prosody for name, prosody in found.items() if prosody is not None}

    def level(self, characters: str) -> npt.NDArray[np.float32]:
        """Return the probability of a level tone of each character, shape (characters,); NaN if unknown."""
        rows = np.array([self._index.get(character, -1) for character in normalize(characters)], dtype=np.int64)
        padded = np.append(self.table.level, np.float32(np.nan))
        return padded[rows]

    def tone_class(self, character: str) -> Tone:
        """Return the tone class of one character; EITHER if unknown."""
        row = self._index.get(character)
        if row is None:
            row = self._index.get(normalize(character))
        return Tone.EITHER if row is None else Tone(self.table.classes[row])

    def oblique_tone(self, character: str) -> str:
        """Return the oblique tone of a character: 上, 去, 上去 for both, 入, or 仄 if unknown."""
        folded = normalize(character)
        groups = [self.rhyme_groups[number] for number in self.groups(folded)]
        oblique = [group for group in groups if group.tone is not Tone.LEVEL]
        if oblique and all(entering(group.title) for group in oblique):
            return ENTERING_TONE
        kinds = ((RISING_TONE, self.table.rising), (DEPARTING_TONE, self.table.departing))
        return "".join(name for name, members in kinds if folded in members) or Tone.OBLIQUE.value

    def oblique_groups(self, character: str) -> tuple[str, ...]:
        """Return the names of a character's oblique groups in the book of regulated verse; empty if unknown."""
        return self._oblique_groups.get(normalize(character), ())

    def group_names(self, character: str, group: int) -> tuple[str, ...]:
        """Return the names of a character's rhyme group; for oblique groups of regulated verse, those in the book."""
        found = self.rhyme_groups[group]
        if self.book != CLASSICAL or found.tone is Tone.LEVEL:
            return (found.full_name,)
        return tuple(f"{title} ({found.name})" for title in self.oblique_groups(character)) or (found.full_name,)

    def unknown(self, text: str) -> str:
        """Return the characters of a normalised text that are not in the tone table."""
        return "".join(character for character in text if character not in self._index)

    def sounds(self, line: str) -> str:
        """Return the tones of a normalised line of verse, 平, 仄 or 中 for each character.

        Characters that are level at the ends of lines only (不) are oblique inside a line. In some words a character
        may have another tone than elsewhere and is 中: 华 in 太华.
        """
        inside, end = self._sounds_inside, self._sounds
        signs = [*(inside.get(c, "中") for c in line[:-1]), *(end.get(c, "中") for c in line[-1:])]
        if not self._first_of_words.isdisjoint(line):
            for position in range(len(line) - 1):
                turned = self.table.words.get(line[position : position + 2])
                if turned is not None:
                    signs[position + turned] = Tone.EITHER.value
        return "".join(signs)

    def masks(self, vocab: Vocab, *, strict: bool = False) -> ToneMasks:
        """Return masks of the symbols that are allowed at level and at oblique positions.

        Args:
            vocab: Any vocabulary.
            strict: Exclude characters of class EITHER from both masks; otherwise they are in the masks of their tones
                that are not rare.
        """
        signs = np.full(len(vocab), ord(Tone.EITHER.value), dtype=np.uint32)
        known = self._rows(vocab)
        signs[known >= 0] = codepoints(self.table.classes)[known[known >= 0]]
        either = (signs == ord(Tone.EITHER.value)) & _han(vocab) & (not strict)
        share = np.append(self.table.level, np.float32(np.nan))[known]
        return ToneMasks(
            level=(signs == ord(Tone.LEVEL.value)) | (either & ~(share < _RARE)),
            oblique=(signs == ord(Tone.OBLIQUE.value)) | (either & ~(share > 1 - _RARE)),
        )

    def groups(self, character: str) -> tuple[int, ...]:
        """Return the ids of the rhyme groups of a character, level and oblique; several if it has several readings."""
        return self._groups.get(character) or self._groups.get(normalize(character), ())

    def certain_groups(self, character: str) -> tuple[int, ...]:
        """Return the group of a character with one reading and ample evidence; empty for all others."""
        return self._certain.get(character) or self._certain.get(normalize(character), ())

    def rhyme(self, first: str, second: str) -> bool:
        """Return whether two characters have a rhyme group in common."""
        return bool(set(self.groups(first)) & set(self.groups(second)))

    def group_matrix(self, vocab: Vocab, *, strict: bool = False) -> Booleans:
        """Return the membership of symbols in rhyme groups, shape (vocab, groups), dtype bool.

        Args:
            vocab: Any vocabulary.
            strict: Include only characters with one reading and ample evidence.
        """
        matrix = np.zeros((len(vocab), len(self.rhyme_groups)), dtype=bool)
        for group in self.rhyme_groups:
            members = group.certain if strict else group.characters
            ids = vocab.encode(members)
            matrix[ids[ids != vocab.unk_id], group.id] = True
        return matrix

    def group(self, name: str) -> RhymeGroup:
        """Return a rhyme group by one of its words, its name, or its name in the book (下平十一尤, 十一尤).

        Raises:
            InputError: There is no such group, or the character is in several groups and is the name of none.
        """
        folded = normalize(name)
        named = [
            group
            for group in self.rhyme_groups
            if folded and (group.name == folded or (len(folded) > 1 and group.title.endswith(folded)))
        ]
        ids = self.groups(name) if len(name) == 1 else ()
        if named or len(ids) == 1:
            return named[0] if named else self.rhyme_groups[ids[0]]
        if ids:
            names = ", ".join(self.rhyme_groups[index].name for index in ids)
            raise InputError(
                "ambiguous_rhyme_group",
                "'{name}' is in several rhyme groups; name one of them: {groups}",
                name=name,
                groups=names,
            )
        names = " ".join(group.name for group in self.rhyme_groups if group.tone is Tone.LEVEL)
        raise InputError(
            "unknown_rhyme_group",
            "there is no rhyme group '{name}'; give a rhyme word, for example one of {groups}",
            name=name,
            groups=names,
        )

    def _rows(self, vocab: Vocab) -> npt.NDArray[np.int64]:
        """Return the row of each symbol in the tone table, -1 if there is none, shape (vocab,)."""
        return np.array([self._index.get(symbol, -1) for symbol in vocab.symbols], dtype=np.int64)


def _han(vocab: Vocab) -> Booleans:
    """Return a mask of the symbols that are single Chinese characters, shape (vocab,)."""
    points = codepoints(from_codepoints(np.array([ord(s) if len(s) == 1 else 0 for s in vocab.symbols], np.uint32)))
    return is_han(points)


# File format.

_KIND, _VERSION = "prosody", 1
_SCALE = 1000  # probabilities are stored in thousandths


def _save(prosody: Prosody, directory: Path) -> None:
    """Write `prosody.json`, replacing an existing one atomically.

    Raises:
        CheckpointError: The file cannot be written.
    """
    content: dict[str, Any] = {"kind": _KIND, "version": _VERSION, **_tables(prosody)}
    content["tunes"] = [_tune_record(tune) for tune in prosody.tunes.values()]
    for name, view in prosody.views.items():
        content[name] = _group_records(view) if view.table is prosody.table else _tables(view)
    path = directory / PROSODY_FILE
    part = path.with_suffix(".part")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        part.write_text(_layout(content), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise CheckpointError(
            "unwritable_prosody", "{path} cannot be written: {reason}", path=path, reason=error.strerror
        ) from error


def _load(directory: Path) -> Prosody:
    """Read `prosody.json`.

    Raises:
        CheckpointError: The file is missing, damaged or of another kind.
    """
    path = directory / PROSODY_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            "no_prosody",
            "{directory} holds no {file}; learn one with `zhseq train prosody`",
            directory=directory,
            file=PROSODY_FILE,
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            "unreadable_prosody", "{path} cannot be read ({error}); fetch or learn it again", path=path, error=error
        ) from error
    if not isinstance(content, dict) or content.get("kind") != _KIND or content.get("version") != _VERSION:
        raise CheckpointError(
            "other_prosody",
            "{path} is not a prosody file of version {version}; fetch or learn it again",
            path=path,
            version=_VERSION,
        )
    try:
        tunes = {tune.name: tune for tune in map(_tune, content["tunes"])}
        table, groups = _table(content), _groups(content["groups"], CLASSICAL)
        views: dict[str, Any] = {}
        if "lyric" in content:
            views["lyric"] = Prosody(table, _groups(content["lyric"], LYRIC), tunes, book=LYRIC)
        if "modern" in content:
            groups_today = _groups(content["modern"]["groups"], MODERN)
            views["modern"] = Prosody(_table(content["modern"]), groups_today, tunes, book=MODERN)
        return Prosody(table, groups, tunes, **views)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            "damaged_prosody",
            "{path} is damaged ({kind}: {error}); fetch or learn it again",
            path=path,
            kind=type(error).__name__,
            error=error,
        ) from error


def _tables(prosody: Prosody) -> dict[str, Any]:
    """Return the tone table and the rhyme groups as JSON values."""
    table = prosody.table
    level = np.where(np.isnan(table.level), -1, np.round(table.level * _SCALE)).astype(int)
    return {
        "characters": table.characters,
        "classes": table.classes,
        "level": level.tolist(),
        "only_at_ends": table.only_at_ends,
        "rising": table.rising,
        "departing": table.departing,
        "oblique_groups": dict(table.oblique_groups),
        "words": dict(table.words),
        "fallback": "".join(c for c, learned in zip(table.characters, table.learned, strict=True) if not learned),
        "groups": _group_records(prosody),
    }


def _group_records(prosody: Prosody) -> list[dict[str, str]]:
    return [
        {"name": group.name, "tone": group.tone.value, "characters": group.characters, "certain": group.certain}
        for group in prosody.rhyme_groups
    ]


def _table(content: dict[str, Any]) -> ToneTable:
    """Return the tone table from the JSON values of `_tables`."""
    level = np.array(content["level"], dtype=np.float32)
    fallback = set(content["fallback"])
    return ToneTable(
        characters=str(content["characters"]),
        level=np.where(level < 0, np.float32(np.nan), level / np.float32(_SCALE)),
        classes=str(content["classes"]),
        learned=np.array([character not in fallback for character in content["characters"]], dtype=bool),
        only_at_ends=str(content.get("only_at_ends", "")),
        words={str(word): int(position) for word, position in content.get("words", {}).items()},
        rising=str(content.get("rising", "")),
        departing=str(content.get("departing", "")),
        oblique_groups={str(name): str(members) for name, members in content.get("oblique_groups", {}).items()},
    )


def _groups(records: list[dict[str, Any]], book: str) -> list[RhymeGroup]:
    titles = named([(str(row["name"]), str(row["characters"])) for row in records], book)
    return [
        RhymeGroup(index, str(row["name"]), Tone(row["tone"]), str(row["characters"]), str(row["certain"]), title)
        for index, (row, title) in enumerate(zip(records, titles, strict=True))
    ]


def _pattern_record(pattern: Pattern) -> dict[str, Any]:
    record: dict[str, Any] = {"count": pattern.count, "tones": " ".join(pattern.tones)}
    record |= {"rhymes": list(pattern.rhymes), "marks": pattern.marks, "breaks": list(pattern.breaks)}
    record |= {"loose": list(pattern.loose)} if pattern.loose else {}
    record |= {"echoes": [[*vars(echo).values()] for echo in pattern.echoes]} if pattern.echoes else {}
    return record


def _tune_record(tune: TunePattern) -> dict[str, Any]:
    variants = [_pattern_record(variant) for variant in tune.variants]
    return {"name": tune.name, "total": tune.total, **_pattern_record(tune), "variants": variants}


def _pattern_fields(row: dict[str, Any]) -> dict[str, Any]:
    tones = tuple(str(row["tones"]).split(" "))
    return {
        "line_lengths": tuple(len(line) for line in tones),
        "tones": tones,
        "rhymes": tuple(int(rhyme) for rhyme in row["rhymes"]),
        "marks": str(row["marks"]),
        "breaks": tuple(int(line) for line in row["breaks"]),
        "count": int(row["count"]),
        "loose": tuple(int(position) for position in row.get("loose", ())),
        "echoes": tuple(Echo(*map(int, echo)) for echo in row.get("echoes", ())),
    }


def _tune(row: dict[str, Any]) -> TunePattern:
    variants = tuple(Pattern(**_pattern_fields(variant)) for variant in row["variants"])
    return TunePattern(**_pattern_fields(row), name=str(row["name"]), total=int(row["total"]), variants=variants)


def _layout(content: dict[str, Any]) -> str:
    """Return the JSON text with one row per field, group and tune, so that diffs are readable."""
    rows = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n  ".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in value)
            text = f"[\n  {inner}\n ]"
        else:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        rows.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(rows) + "\n}\n"
