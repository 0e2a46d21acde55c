"""What a review says of a poem: findings as data, the sentences they are put into, rows for a terminal.

Imports no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zhseq.errors import Door, Message, command_line, library
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Prosody
from zhseq.poetry.prosody.books import BOOK_NAMES, CLASSICAL, LYRIC

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
    "missing_line": (
        "form",
        Message("missing_line", "{tune} has a line of {expected_count} characters after it", _LATER),
    ),
    "surplus_line": ("form", Message("surplus_line", "{tune} has no such line here", _LATER)),
    "other_poem": (
        "form",
        Message("other_poem", "this is no {tune}, which has {expected_count} lines of other lengths", _LATER),
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
    "no_repetition": ("repetition", Message("no_repetition", "'{text}' has to be repeated here (叠句)", _LATER)),
    "repeated_rhyme_word": (
        "repetition",
        Message("repeated_rhyme_word", "the rhyme word stands already in line {other_line}", _LATER),
    ),
}
"""Code of a fault -> its kind, and why it is one."""
LICENCES: dict[str, tuple[str, Message]] = {
    "turned_end": ("rescue", Message("turned_end", "拗: 平平仄平仄 stands for 平平平仄仄, as it may", _LATER)),
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
            "拗, it leaves the next character alone (孤平), rescued by '{text}' in line {other_line} (对句相救)",
            _LATER,
        ),
    ),
    "lonely_open": (
        "rescue",
        Message(
            "lonely_open",
            "拗, it leaves the next character alone (孤平) and is not rescued, as it may be in a line without rhyme",
            _LATER,
        ),
    ),
    "broken_waist": (
        "licence",
        Message("broken_waist", "its tones do not take up those of the line before, as they may here (折腰体)", _LATER),
    ),
    "neighbouring_rhyme": (
        "licence",
        Message(
            "neighbouring_rhyme", "it rhymes on {text}, a neighbour of {group}, as a first line may (首句邻韵)", _LATER
        ),
    ),
    "rhyme_word_again": (
        "licence",
        Message(
            "rhyme_word_again",
            "the rhyme word stands already in line {other_line}, as it may in ci and in old-style verse",
            _LATER,
        ),
    ),
    "repeated_pair": (
        "licence",
        Message("repeated_pair", "'{text}' stands already in line {other_line}, if that is meant", _LATER),
    ),
}
"""Code of a remark -> its kind, and what a rule allows here."""


@dataclass(frozen=True)
class Finding:
    """Something that a critic has to say of a place in a poem, as data; `message` puts it into words."""

    code: str
    """Which rule it is about."""
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
    """Number of the line that this one repeats, should answer or is rescued by, from 1; 0 if there is none."""
    group: str = ""
    """Name of the rhyme group that is due."""
    count: int = 0
    """Characters of the line, or lines of the poem, where their number is wrong."""
    expected_count: int = 0
    """How many are due."""
    text: str = ""
    """The characters that stand twice, the character that rescues, or the group that rhymes instead."""
    tune: str = ""
    """The tune that asks for that number."""

    @property
    def kind(self) -> str:
        """What the rule is about."""
        return (REASONS | LICENCES)[self.code][0]

    @property
    def reason(self) -> Message:
        """What is to be said, without where."""
        words = {name: TONE_WORDS[sign] for name in ("tone", "expected") if (sign := getattr(self, name))}
        return replace((REASONS | LICENCES)[self.code][1], values={**vars(self), **words})

    @property
    def message(self) -> Message:
        """Where it is and what is to be said."""
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
        """Return it as values of JSON, data and words; see `Message.render`."""
        data = vars(self) | {"kind": self.kind, "reason": self.reason.render(door, language)}
        data["place"] = data.pop("position")  # as clients of the service know it
        return data


class Fault(Finding):
    """Something that a rule does not allow.

    The codes are `line_length`, `line_length_of_tune`, `missing_line`, `missing_lines`, `surplus_line`,
    `surplus_lines` and `other_poem` (form); `wrong_tone`,
    `three_level_tones` (三平调), `lonely_level_tone` (孤平), `not_opposed` (失对) and `not_linked` (失粘); `no_rhyme`
    (出韵); `repeated_line`, `repeated_rhyme_word` and `no_repetition` (叠句). The kinds are `form`,
    `tone`, `rhyme` and `repetition`.
    """


class Remark(Finding):
    """Something that looks like a fault and is none.

    Of the kind `rescue` are `turned_end` (平平仄平仄), `rescued_within` (本句自救), `rescued_by_next` and
    `lonely_rescued` (对句相救) and `lonely_open`; of the kind `licence` are `broken_waist` (折腰体),
    `neighbouring_rhyme` (首句邻韵), `rhyme_word_again` and `repeated_pair`.
    """


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
    remarks: tuple[Remark, ...] = ()
    """What looks like a fault and is none: tones out of place that others rescue, for example."""
    book: str = CLASSICAL
    """The book of rhyme that judged: `classical`, `ci` or `modern`."""
    otherwise: Review | None = None
    """The poem held to the rules of regulated verse, where it reads as verse in the old style."""

    def __str__(self) -> str:
        return "\n".join(str(each) for each in (self.note, *self.faults) if each is not None)

    def rhymes_in(self, prosody: Prosody) -> Prosody:
        """Return the view of a prosody whose rhyme groups `rhymes` numbers: that of the book that judged."""
        return prosody.lyric() if self.book == LYRIC else prosody

    def rhyme_name(self, line: int, prosody: Prosody) -> str:
        """Return the name of the rhyme group of a line, from 0; empty where it has none."""
        names = self._group_names(line, prosody)
        if len(names) < 2:
            return "".join(names)
        shared = Counter(name for number in range(len(self.lines)) for name in self._group_names(number, prosody))
        return max(names, key=lambda name: shared[name])

    def _group_names(self, line: int, prosody: Prosody) -> tuple[str, ...]:
        """Return the names of the rhyme group of a line, from 0; of an oblique word that has two tones, two."""
        group = self.rhymes[line]
        return self.rhymes_in(prosody).group_names(self.lines[line][-1], group) if group >= 0 else ()

    def fields(self, door: Door = library, language: str | None = None) -> dict[str, Any]:
        """Return the review as values of JSON, data and words; see `Message.render`."""
        return {
            **vars(self),
            "faults": [fault.fields(door, language) for fault in self.faults],
            "remarks": [remark.fields(door, language) for remark in self.remarks],
            "note": self.note.render(door, language) if self.note is not None else "",
            "otherwise": [fault.fields(door, language) for fault in (self.otherwise.faults if self.otherwise else ())],
        }


# A review for a terminal.


_RED, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


def explain(
    found: Review,
    surprise: Sequence[Sequence[float]],
    prosody: Prosody,
    *,
    colour: bool,
    door: Door = command_line,
) -> list[str]:
    """Return the rows to print.

    Args:
        found: The poem.
        surprise: Bits of each character, as a list for each line.
        prosody: That of the review; names the rhymes.
        colour: Use the escape sequences of terminals.
        door: How arguments are written in the note.
    """
    rhymes = [found.rhyme_name(number, prosody) for number in range(len(found.lines))]
    mean = sum(map(sum, surprise)) / max(1, sum(map(len, found.lines)))
    bits = Message("mean_surprise", "{bits} bits a character", {"bits": f"{mean:.1f}"}).render(door)
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
    """Lay signs out in columns of three; those at broken positions are red, or marked where there is no colour."""
    cells = [
        _painted(sign, _RED, colour) + ("!" if not colour else " ") if position in broken else f"{sign} "
        for position, sign in enumerate(signs, start=1)
    ]
    return (f"{label} " if label else "   ") + "".join(cells).rstrip()


def _painted(text: str, style: str, colour: bool) -> str:
    return f"{style}{text}{_PLAIN}" if colour and text else text
