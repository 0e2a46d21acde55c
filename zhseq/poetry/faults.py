"""What a review says of a poem: faults as data, and the sentences they are put into. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zhseq.errors import Door, Message, library
from zhseq.poetry.prosody import LEVEL, OBLIQUE, Prosody

TONE_WORDS = {LEVEL: Message("level_tone", "level"), OBLIQUE: Message("oblique_tone", "oblique")}
_LATER: Mapping[str, object] = {}  # `Fault.reason` fills the gaps
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

    def rhymes_in(self, prosody: Prosody) -> Prosody:
        """Return the view of a prosody whose rhyme groups `rhymes` numbers: ci have groups of their own."""
        return prosody.lyric() if self.tune else prosody

    def rhyme_name(self, line: int, prosody: Prosody) -> str:
        """Return the name of the rhyme group of a line, from 0; empty where it has none."""
        group = self.rhymes[line]
        return self.rhymes_in(prosody).rhyme_groups[group].name if group >= 0 else ""

    def fields(self, door: Door = library, language: str | None = None) -> dict[str, Any]:
        """Return the review as values of JSON, data and words; see `Message.render`."""
        note = self.note.render(door, language) if self.note is not None else ""
        return {**vars(self), "faults": [fault.fields(door, language) for fault in self.faults], "note": note}
