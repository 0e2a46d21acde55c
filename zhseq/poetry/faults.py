"""Reviews of poems: findings as data, their messages, and their display in a terminal. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zhseq.errors import Door, Message, command_line, library
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Prosody
from zhseq.poetry.prosody.books import BOOK_NAMES, CLASSICAL, LYRIC

TONE_WORDS = {LEVEL: Message("level_tone", "level"), OBLIQUE: Message("oblique_tone", "oblique")}
_LATER: Mapping[str, object] = {}  # `Finding.reason` supplies the values
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
        Message("surplus_lines", "the poem continues to here, but {tune} has {expected_count} lines", _LATER),
    ),
    "missing_line": (
        "form",
        Message("missing_line", "{tune} has another line of {expected_count} characters after this one", _LATER),
    ),
    "surplus_line": ("form", Message("surplus_line", "{tune} has no such line here", _LATER)),
    "other_poem": (
        "form",
        Message("other_poem", "this is not {tune}, which has {expected_count} lines of other lengths", _LATER),
    ),
    "wrong_tone": ("tone", Message("wrong_tone", "its tone is {tone}, but {expected} is required here", _LATER)),
    "three_level_tones": (
        "tone",
        Message("three_level_tones", "the line ends on three level tones (三平调)", _LATER),
    ),
    "lonely_level_tone": ("tone", Message("lonely_level_tone", "it leaves a level tone isolated (孤平)", _LATER)),
    "not_opposed": (
        "tone",
        Message("not_opposed", "its tones do not oppose those of line {other_line} (失对)", _LATER),
    ),
    "not_linked": (
        "tone",
        Message("not_linked", "its tones are not linked to those of line {other_line} (失粘)", _LATER),
    ),
    "no_rhyme": ("rhyme", Message("no_rhyme", "it does not rhyme with the others (group {group})", _LATER)),
    "repeated_line": ("repetition", Message("repeated_line", "the line repeats line {other_line}", _LATER)),
    "no_repetition": ("repetition", Message("no_repetition", "'{text}' has to be repeated here (叠句)", _LATER)),
    "repeated_rhyme_word": (
        "repetition",
        Message("repeated_rhyme_word", "the rhyme word is already used in line {other_line}", _LATER),
    ),
}
"""Code of a fault -> its kind and its message."""
LICENCES: dict[str, tuple[str, Message]] = {
    "turned_end": ("rescue", Message("turned_end", "拗: 平平仄平仄 instead of 平平平仄仄, which is allowed", _LATER)),
    "rescued_within": (
        "rescue",
        Message("rescued_within", "拗 (孤平), rescued by '{text}' in the same line (本句自救)", _LATER),
    ),
    "rescued_by_next": (
        "rescue",
        Message("rescued_by_next", "拗, rescued by '{text}' in line {other_line} (对句相救)", _LATER),
    ),
    "lonely_rescued": (
        "rescue",
        Message(
            "lonely_rescued",
            "拗, it leaves the next character isolated (孤平), rescued by '{text}' in line {other_line} (对句相救)",
            _LATER,
        ),
    ),
    "lonely_open": (
        "rescue",
        Message(
            "lonely_open",
            "拗, it leaves the next character isolated (孤平) and is not rescued, which is allowed in a "
            "line without rhyme",
            _LATER,
        ),
    ),
    "broken_waist": (
        "licence",
        Message(
            "broken_waist",
            "its tones are not linked to those of the line before, which is allowed here (折腰体)",
            _LATER,
        ),
    ),
    "neighbouring_rhyme": (
        "licence",
        Message(
            "neighbouring_rhyme",
            "it rhymes on {text}, a neighbour of {group}, which is allowed in a first line (首句邻韵)",
            _LATER,
        ),
    ),
    "rhyme_word_again": (
        "licence",
        Message(
            "rhyme_word_again",
            "the rhyme word is already used in line {other_line}, which is allowed in ci and in old-style verse",
            _LATER,
        ),
    ),
    "repeated_pair": (
        "licence",
        Message("repeated_pair", "'{text}' already occurs in line {other_line}; this may be intended", _LATER),
    ),
}
"""Code of a remark -> its kind and its message."""


@dataclass(frozen=True)
class Finding:
    """A fault or remark at a position in a poem, as data; `message` puts it into words."""

    code: str
    """Key of `REASONS` or `LICENCES`: the rule concerned."""
    line: int
    """Number of the line, from 1."""
    position: int = 0
    """Position of the character in the line, from 1; 0 for the line as a whole."""
    character: str = ""
    """The character there; empty for the line as a whole."""
    tone: str = ""
    """Its tone, 平 or 仄, if wrong."""
    expected: str = ""
    """The tone required instead."""
    other_line: int = 0
    """Number of the line that this line repeats, should match or is rescued by, from 1; 0 if there is none."""
    group: str = ""
    """Name of the required rhyme group."""
    count: int = 0
    """Number of characters of the line or of lines of the poem, if wrong."""
    expected_count: int = 0
    """The required number."""
    text: str = ""
    """The repeated characters, the characters to repeat, the rescuing character, or the neighbouring rhyme group."""
    tune: str = ""
    """The tune that requires this number."""

    @property
    def kind(self) -> str:
        """Kind of the rule: form, tone, rhyme, repetition, rescue or licence."""
        return (REASONS | LICENCES)[self.code][0]

    @property
    def reason(self) -> Message:
        """The message without the position."""
        words = {name: TONE_WORDS[sign] for name in ("tone", "expected") if (sign := getattr(self, name))}
        return replace((REASONS | LICENCES)[self.code][1], values={**vars(self), **words})

    @property
    def message(self) -> Message:
        """The message with the position."""
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
        """Return the finding as JSON values with its message; see `Message.render` for the arguments."""
        data = vars(self) | {"kind": self.kind, "reason": self.reason.render(door, language)}
        data["place"] = data.pop("position")  # the name in the API of the service
        return data


class Fault(Finding):
    """A violation of a rule.

    The codes by kind are:

    * `form`: `line_length`, `line_length_of_tune`, `missing_line`, `missing_lines`, `surplus_line`, `surplus_lines`,
      `other_poem`
    * `tone`: `wrong_tone`, `three_level_tones` (三平调), `lonely_level_tone` (孤平), `not_opposed` (失对),
      `not_linked` (失粘)
    * `rhyme`: `no_rhyme` (出韵)
    * `repetition`: `repeated_line`, `repeated_rhyme_word`, `no_repetition` (叠句)
    """


class Remark(Finding):
    """A deviation that is allowed.

    The codes by kind are:

    * `rescue`: `turned_end` (平平仄平仄), `rescued_within` (本句自救), `rescued_by_next` and `lonely_rescued`
      (对句相救), `lonely_open`
    * `licence`: `broken_waist` (折腰体), `neighbouring_rhyme` (首句邻韵), `rhyme_word_again`, `repeated_pair`
    """


@dataclass(frozen=True)
class Review:
    """Result of checking a poem."""

    lines: tuple[str, ...]
    """Normalised lines; marked positions are `?`."""
    form: str
    tune: str
    pattern: str
    """Name of the pattern it follows, for example 平起 首句入韵."""
    tones: tuple[str, ...]
    """Tone of each character: 平, 仄, or 中 if it has both or is unknown; one string per line."""
    expected: tuple[str, ...]
    """Required tone of each character: 平, 仄, or 中 for either; one string per line."""
    rhymes: tuple[int, ...]
    """Rhyme group of each line; -1 if the line does not rhyme or its rhyme is unknown."""
    rhyming: tuple[int, ...]
    """Rhyme class of each line; 0 if it need not rhyme."""
    faults: tuple[Fault, ...]
    note: Message | None = None
    """A note on the whole poem, for example that it reads as old-style verse."""
    remarks: tuple[Remark, ...] = ()
    """Allowed deviations, for example wrong tones that are rescued."""
    book: str = CLASSICAL
    """The rhyme book used: `classical`, `ci` or `modern`."""
    otherwise: Review | None = None
    """For old-style verse or prose of regulated shape: the review by the rules of regulated verse."""

    def __str__(self) -> str:
        return "\n".join(str(each) for each in (self.note, *self.faults) if each is not None)

    def rhymes_in(self, prosody: Prosody) -> Prosody:
        """Return the view of a prosody to whose rhyme groups `rhymes` refers: that of the rhyme book used."""
        return prosody.lyric() if self.book == LYRIC else prosody

    def rhyme_name(self, line: int, prosody: Prosody) -> str:
        """Return the name of the rhyme group of line `line` (from 0); empty if it has none."""
        names = self._group_names(line, prosody)
        if len(names) < 2:
            return "".join(names)
        shared = Counter(name for number in range(len(self.lines)) for name in self._group_names(number, prosody))
        return max(names, key=lambda name: shared[name])

    def _group_names(self, line: int, prosody: Prosody) -> tuple[str, ...]:
        """Return the names of the rhyme group of line `line` (from 0); an oblique word may be in several groups."""
        group = self.rhymes[line]
        return self.rhymes_in(prosody).group_names(self.lines[line][-1], group) if group >= 0 else ()

    def fields(self, door: Door = library, language: str | None = None) -> dict[str, Any]:
        """Return the review as JSON values with its messages; see `Message.render` for the arguments."""
        return {
            **vars(self),
            "faults": [fault.fields(door, language) for fault in self.faults],
            "remarks": [remark.fields(door, language) for remark in self.remarks],
            "note": self.note.render(door, language) if self.note is not None else "",
            "otherwise": [fault.fields(door, language) for fault in (self.otherwise.faults if self.otherwise else ())],
        }


# Display of a review in a terminal.


_RED, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


def explain(
    found: Review,
    surprise: Sequence[Sequence[float]],
    prosody: Prosody,
    *,
    colour: bool,
    door: Door = command_line,
) -> list[str]:
    """Return the rows to print for a review.

    Args:
        found: The review.
        surprise: Bits of each character, one list per line.
        prosody: Prosody of the review, which names the rhymes.
        colour: Use the escape sequences of terminals.
        door: Front door whose syntax of arguments is used in messages.
    """
    rhymes = [found.rhyme_name(number, prosody) for number in range(len(found.lines))]
    mean = sum(map(sum, surprise)) / max(1, sum(map(len, found.lines)))
    bits = Message("mean_surprise", "{bits} bits per character", {"bits": f"{mean:.1f}"}).render(door)
    named = "、".join(filter(None, dict.fromkeys(rhymes)))
    rows = [f"{found.form} {found.pattern}　韵: {named or '-'} [{BOOK_NAMES[found.book]}]　{bits}"]
    rows += [found.note.render(door)] if found.note else []
    for number, line in enumerate(found.lines):
        broken = {fault.position for fault in found.faults if fault.line == number + 1}
        rhyme = _painted(f"　韵 {rhymes[number]}", _GREEN, colour) if rhymes[number] else ""
        costs = " ".join(f"{min(bits, 99):2.0f}" for bits in surprise[number])
        rows += [
            "",
            _columns("", line, broken, colour) + rhyme,
            _columns("声", found.tones[number], broken, colour),
            _painted(_columns("律", found.expected[number].replace(FREE, "・"), (), False), _DIM, colour),
            _painted(f"惊 {costs}", _DIM, colour),
        ]
    if found.remarks:
        rows += ["", *(remark.message.render(door) for remark in found.remarks)]
    if found.faults:
        rows += ["", *(_painted(fault.message.render(door), _RED, colour) for fault in found.faults)]
    return rows


def _columns(label: str, signs: str, broken: Container[int], colour: bool) -> str:
    """Lay signs out in columns three cells wide; those at faults are red, or marked with `!` without colour."""
    cells = [
        _painted(sign, _RED, colour) + ("!" if not colour else " ") if position in broken else f"{sign} "
        for position, sign in enumerate(signs, start=1)
    ]
    return (f"{label} " if label else "   ") + "".join(cells).rstrip()


def _painted(text: str, style: str, colour: bool) -> str:
    return f"{style}{text}{_PLAIN}" if colour and text else text
