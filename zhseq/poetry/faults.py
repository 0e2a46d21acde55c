"""What a review says of a poem, and the faults that all kinds of verse share: tones, rhymes, repetition."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from zhseq.errors import Door, InputError, Message, library
from zhseq.poetry.forms import not_chinese
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Prosody, Tone
from zhseq.text.normalize import codepoints, is_han, normalize

BLANK = "?"
"""A marked place; in the user's text `？`, `?` or `□`."""

_SEPARATORS = frozenset("，。！；：、,.!;:|\n\r\t 　")
_REGULAR = (5, 7)


def read_blocks(text: str, path: str) -> list[str]:
    """Cut a file into poems at its blank lines, if each part has the shape of a regulated poem; else leave it whole.

    Args:
        text: The text of the file.
        path: Its name, for messages.

    Raises:
        InputError: There is no verse in it.
    """
    if not text.strip():
        raise InputError("empty_file", "{path} is empty; expected a poem, one couplet or line a row", path=path)
    blocks = [block for block in re.split(r"\n[ \t　]*\n", text.replace("\r\n", "\n")) if block.strip()]
    if len(blocks) > 1 and all(regular_length(_lines(block, length)) for block in blocks for length in (5, 7)):
        return blocks
    return blocks if len(blocks) > 1 and all(regular_length(read_lines(block)) for block in blocks) else [text]


def read_lines(text: str, lengths: Sequence[int] = ()) -> list[str]:
    """Return the lines of a poem, normalised, without punctuation, marked places as `BLANK`.

    A question mark is punctuation where a line is full, else a marked place.

    Args:
        text: The poem.
        lengths: Characters of each line, if they are known; else lines of 5 and of 7 are tried.

    Raises:
        InputError: The text holds something that belongs into no poem.
    """
    folded = normalize(text).replace("□", BLANK).replace("？", BLANK)
    points = codepoints(folded)
    for character, han in zip(folded, is_han(points).tolist(), strict=True):
        if not han and character not in _SEPARATORS and character != BLANK:
            raise not_chinese(Message("this_text", "this text"), character)
    if lengths:
        return _cut(folded, lengths)
    readings = [_lines(folded, length) for length in _REGULAR]
    return next((lines for lines in readings if regular_length(lines)), max(readings, key=_evenness))


def regular_length(lines: Sequence[str]) -> int:
    """Return the length of the lines if they are 4 or 8 and all of 5 or 7 characters, else 0."""
    lengths = {len(line) for line in lines}
    return next(iter(lengths)) if len(lines) in (4, 8) and lengths in ({5}, {7}) else 0


def _lines(text: str, length: int) -> list[str]:
    return _cut(text, (length,) * len(text))


def _cut(text: str, lengths: Sequence[int]) -> list[str]:
    lines = [""]
    for character in text:
        full = len(lines) <= len(lengths) and len(lines[-1]) == lengths[len(lines) - 1]
        if character in _SEPARATORS or (character == BLANK and full):
            lines.extend([""] if lines[-1] else [])
        elif full and lines[-1].endswith(BLANK):  # the mark stood for a character and not for a pause
            lines.append(character)
        else:
            lines[-1] += character
    return [line for line in lines if line]


def _evenness(lines: Sequence[str]) -> int:
    """Return how many lines have the commonest length."""
    return max(chain(Counter(map(len, lines)).values(), (0,)))


TONE_WORDS = {LEVEL: Message("level_tone", "level"), OBLIQUE: Message("oblique_tone", "oblique")}
_LATER: Mapping[str, object] = {}  # filled in by `Fault.reason`
REASONS: dict[str, tuple[str, Message]] = {
    "line_length": (
        "form",
        Message("line_length", "it has {count} characters, but the poem has lines of {expected_count}", _LATER),
    ),
    "line_length_of_tune": (
        "form",
        Message("line_length_of_tune", "it has {count} characters, but {tune} has {expected_count} here", _LATER),
    ),
    "missing_lines": (
        "form",
        Message("missing_lines", "the poem ends here, but {tune} has {expected_count} lines", _LATER),
    ),
    "surplus_lines": (
        "form",
        Message("surplus_lines", "the poem goes on to here, but {tune} has {expected_count} lines", _LATER),
    ),
    "wrong_tone": ("tone", Message("wrong_tone", "its tone is {tone}, but {expected} is due here", _LATER)),
    "three_level_tones": (
        "tone",
        Message("three_level_tones", "the line ends on three level tones (三平调)", _LATER),
    ),
    "lonely_level_tone": ("tone", Message("lonely_level_tone", "it leaves a level tone alone (孤平)", _LATER)),
    "not_opposed": (
        "tone",
        Message("not_opposed", "its tones do not oppose those of line {other_line} (失对)", _LATER),
    ),
    "not_linked": (
        "tone",
        Message("not_linked", "its tones do not take up those of line {other_line} (失粘)", _LATER),
    ),
    "no_rhyme": ("rhyme", Message("no_rhyme", "it does not rhyme with the others (group {group})", _LATER)),
    "repeated_line": ("repetition", Message("repeated_line", "the line stands already in line {other_line}", _LATER)),
    "repeated_rhyme_word": (
        "repetition",
        Message("repeated_rhyme_word", "the rhyme word stands already in line {other_line}", _LATER),
    ),
    "repeated_pair": (
        "repetition",
        Message("repeated_pair", "'{text}' stands already in line {other_line}", _LATER),
    ),
}
"""Code of a fault -> its kind, and why it is one."""


@dataclass(frozen=True)
class Fault:
    """Something that a rule does not allow, as data; `message` puts it into words.

    The codes are `line_length`, `line_length_of_tune`, `missing_lines` and `surplus_lines` (form); `wrong_tone`,
    `three_level_tones` (三平调), `lonely_level_tone` (孤平), `not_opposed` (失对) and `not_linked` (失粘); `no_rhyme`
    (出韵); `repeated_line`, `repeated_rhyme_word` and `repeated_pair`.
    """

    code: str
    """Which rule is broken."""
    line: int
    """Number of the line, from 1."""
    position: int = 0
    """Position of the character in the line, from 1; 0 for the line as a whole."""
    character: str = ""
    """The character there; empty for the line as a whole."""
    tone: str = ""
    """Its tone, 平 or 仄, where that is wrong."""
    expected: str = ""
    """The tone that is due instead."""
    other_line: int = 0
    """Number of the line that this one repeats or should answer, from 1; 0 if there is none."""
    group: str = ""
    """Name of the rhyme group that is due."""
    count: int = 0
    """Characters of the line, or lines of the poem, where their number is wrong."""
    expected_count: int = 0
    """How many are due."""
    text: str = ""
    """The characters that stand twice."""
    tune: str = ""
    """The tune that asks for that number."""

    @property
    def kind(self) -> str:
        """`form`, `tone`, `rhyme` or `repetition`."""
        return REASONS[self.code][0]

    @property
    def reason(self) -> Message:
        """What is wrong, without where."""
        words = {name: TONE_WORDS[sign] for name in ("tone", "expected") if (sign := getattr(self, name))}
        return replace(REASONS[self.code][1], values={**vars(self), **words})

    @property
    def message(self) -> Message:
        """Where it is and what is wrong."""
        if not self.position:
            return Message("fault_of_line", "line {line}: {reason}", {"line": self.line, "reason": self.reason})
        return Message(
            "fault_of_character",
            "line {line}, character {position} '{character}': {reason}",
            {"line": self.line, "position": self.position, "character": self.character, "reason": self.reason},
        )

    def __str__(self) -> str:
        return str(self.message)

    def fields(self, door: Door = library, language: str | None = None) -> dict[str, Any]:
        """Return the fault as values of JSON, data and words; see `Message.render`."""
        data = vars(self) | {"kind": self.kind, "reason": self.reason.render(door, language)}
        data["place"] = data.pop("position")  # as clients of the service know it
        return data


@dataclass(frozen=True)
class Review:
    """What was found in a poem."""

    lines: tuple[str, ...]
    """Normalised lines; marked places are `?`."""
    form: str
    tune: str
    pattern: str
    """What kind of pattern it follows, in the words of the field (平起 首句入韵 for example)."""
    tones: tuple[str, ...]
    """Tone of each character: 平, 仄, or 中 where it has both or is not known."""
    expected: tuple[str, ...]
    """What the rules ask for at each place, likewise; 中: nothing."""
    rhymes: tuple[int, ...]
    """Rhyme group of each line; -1 where the line does not rhyme or nothing is known."""
    rhyming: tuple[int, ...]
    """Rhyme class of each line, 0 where it need not rhyme."""
    faults: tuple[Fault, ...]
    note: Message | None = None
    """What should be known first: that the poem reads as verse in the old style for example."""

    def __str__(self) -> str:
        return "\n".join(str(each) for each in (self.note, *self.faults) if each is not None)

    def fields(self, door: Door = library, language: str | None = None) -> dict[str, Any]:
        """Return the review as values of JSON, data and words; see `Message.render`."""
        note = self.note.render(door, language) if self.note is not None else ""
        return {**vars(self), "faults": [fault.fields(door, language) for fault in self.faults], "note": note}


def tone_faults(number: int, line: str, tones: str, expected: str) -> list[Fault]:
    """Return the places of a line, number `number` from 0, whose tone is not the expected one."""
    return [
        Fault("wrong_tone", number + 1, position + 1, line[position], tone=tone, expected=wanted)
        for position, (tone, wanted) in enumerate(zip(tones, expected, strict=True))
        if {tone, wanted} == {LEVEL, OBLIQUE}
    ]


def find_rhymes(
    lines: Sequence[str], rhyming: Sequence[int], prosody: Prosody, *, opening: bool = False
) -> tuple[list[int], list[Fault]]:
    """Return the rhyme group of each line, and the words that leave the group of their rhyme.

    Args:
        lines: The poem.
        rhyming: Rhyme class of each line, 0 for none.
        prosody: Rhyme groups.
        opening: The first line may rhyme with a neighbouring group, as it may in regulated verse.
    """
    groups, faults = [-1] * len(lines), []
    for rhyme in sorted(set(rhyming) - {0}):
        members = [number for number, class_ in enumerate(rhyming) if class_ == rhyme]
        known = [number for number in members if lines[number][-1] != BLANK and prosody.groups(lines[number][-1])]
        votes = Counter(group for number in known for group in prosody.groups(lines[number][-1]))
        if not votes:
            continue
        group = votes.most_common(1)[0][0]
        for number in known:
            word = lines[number][-1]
            groups[number] = group if group in prosody.groups(word) else prosody.groups(word)[0]
            near = number == 0 and opening and lyric(prosody).rhyme(word, _example(prosody, group))
            if groups[number] != group and not near:
                due = prosody.rhyme_groups[group].name
                faults.append(Fault("no_rhyme", number + 1, len(lines[number]), word, group=due))
    return groups, faults


def rhymes_of(found: Review, prosody: Prosody) -> Prosody:
    """Return the system of rhymes whose groups a review speaks of."""
    return lyric(prosody) if found.tune else prosody


def lyric(prosody: Prosody) -> Prosody:
    """Return the rhymes of ci, where neighbouring groups are one, or what there is."""
    return prosody.views.get("lyric", prosody)


def _example(prosody: Prosody, group: int) -> str:
    row = prosody.rhyme_groups[group]
    return (row.certain or row.characters)[0]


def repetitions(lines: Sequence[str], rhyming: Sequence[int], *, pairs: bool = True) -> list[Fault]:
    """Return lines, rhyme words and, if asked for, pairs of characters that stand twice."""
    faults = []
    for number, line in enumerate(lines):
        earlier = lines[:number]
        if line in earlier and BLANK not in line:
            faults.append(Fault("repeated_line", number + 1, other_line=earlier.index(line) + 1))
            continue
        word = line[-1]
        twice = [n + 1 for n in range(number) if rhyming[n] and rhyming[n] == rhyming[number] and lines[n][-1] == word]
        if twice and word != BLANK:
            faults.append(Fault("repeated_rhyme_word", number + 1, len(line), word, other_line=twice[0]))
        for position in range(len(line) - 1) if pairs else ():
            pair = line[position : position + 2]
            found = next((n + 1 for n, other in enumerate(earlier) if pair in other), 0)
            if found and BLANK not in pair and len(set(pair)) > 1:
                faults.append(
                    Fault("repeated_pair", number + 1, position + 1, line[position], other_line=found, text=pair)
                )
    return faults


def tones_of(line: str, prosody: Prosody) -> str:
    """Return the tone of each character of a line, 中 at marked places."""
    return "".join(Tone.EITHER.value if c == BLANK else prosody.tone_class(c).value for c in line)


def finished(
    lines: Sequence[str],
    form: str,
    tune: str,
    pattern: str,
    tones: Sequence[str],
    expected: Sequence[str],
    groups: Sequence[int],
    rhyming: Sequence[int],
    faults: Sequence[Fault],
    note: Message | None = None,
) -> Review:
    """Put a review together, its faults in the order of their places."""
    ordered = tuple(sorted(faults, key=lambda fault: (fault.line, fault.position)))
    parts = (tuple(lines), form, tune, pattern, tuple(tones), tuple(expected), tuple(groups), tuple(rhyming), ordered)
    return Review(*parts, note)


@dataclass(frozen=True)
class Suggestion:
    """What could stand at a place."""

    line: int
    """Number of the line, from 1."""
    position: int
    """Position in the line, from 1."""
    character: str
    """What stands there; `?` at a marked place."""
    characters: tuple[str, ...]
    """What could stand there, the best first."""

    def fields(self) -> dict[str, Any]:
        """Return the suggestion as values of JSON."""
        return {"line": self.line, "place": self.position, "character": self.character, "characters": self.characters}


def candidates(found: Review, line: int, position: int, alphabet: Iterable[str], prosody: Prosody) -> list[str]:
    """Return the characters that keep tone, rhyme and freedom from repetition at a place.

    Args:
        found: The poem.
        line: Number of the line, from 0.
        position: Position in the line, from 0.
        alphabet: Characters to choose from.
        prosody: Tones and rhymes.
    """
    prosody = rhymes_of(found, prosody)
    used = set("".join(found.lines))
    wanted = found.expected[line][position] if position < len(found.expected[line]) else FREE
    unused = [character for character in alphabet if character not in used]
    # Only certain tones are proposed: a character of two readings leaves the reader to guess.
    fitting = [c for c in unused if wanted in (FREE, prosody.tone_class(c).value)]
    rhyme = found.rhyming[line]
    if not rhyme or position != len(found.lines[line]) - 1:
        return fitting
    groups = [group for n, group in enumerate(found.rhymes) if found.rhyming[n] == rhyme and n != line and group >= 0]
    if not groups:
        return fitting
    group = max(set(groups), key=groups.count)
    return [character for character in fitting if group in prosody.groups(character)]
