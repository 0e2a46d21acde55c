"""Patterns of verse: how long the lines are, which tone stands where, which lines rhyme.

The patterns of regulated verse are derived here from three rules: tones alternate at the even places of a line, the
two lines of a couplet oppose each other (对), and each couplet takes up the tone of the one before (粘). Those of ci
tunes are learned, see `zhseq.poetry.prosody.tunes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

from zhseq.errors import InputError

LEVEL, OBLIQUE, FREE = "平", "仄", "中"
"""Signs of a pattern: a level tone, an oblique tone, either."""
OPPOSITE = {LEVEL: OBLIQUE, OBLIQUE: LEVEL}
CI = "词"
"""The form of poems to a tune."""
FORM_SHAPES = {"五绝": (4, 5), "七绝": (4, 7), "五律": (8, 5), "七律": (8, 7)}
"""Lines and characters a line of the regulated forms."""

_FIVE = {
    (OBLIQUE, OBLIQUE): "中仄平平仄",
    (OBLIQUE, LEVEL): "中仄仄平平",
    (LEVEL, OBLIQUE): "中平平仄仄",
    (LEVEL, LEVEL): "平平中仄平",
}
"""The four kinds of line of five by the tones of its second and last character.

Free are the places where poets are free without a second thought. Beyond the alternation three habits are kept: no
line ends on three level or three oblique characters, and a level second character is not left alone (孤平).
"""


UNASSIGNED = -1
"""Rhyme group of a rhyme that is not assigned yet, and rhyme number of a line that does not rhyme."""


@dataclass(frozen=True)
class Echo:
    """Characters that repeat earlier ones (叠句, 叠字): 争渡，争渡; places are counted from 0 through all lines."""

    place: int
    source: int
    length: int


@dataclass(frozen=True)
class Pattern:
    """One way in which a poem of some form may be built.

    Raises:
        ValueError: The parts do not belong to the same lines.
    """

    line_lengths: tuple[int, ...]
    """Characters in each line."""
    tones: tuple[str, ...]
    """One string for each line, of 平 (level), 仄 (oblique) and 中 (either), one sign a character."""
    rhymes: tuple[int, ...]
    """Rhyme class of each line: lines of one class rhyme with each other, 0 stands for no rhyme."""
    marks: str = ""
    """The usual punctuation mark behind each line; empty where the form has none of its own."""
    breaks: tuple[int, ...] = ()
    """Lines after which a stanza ends, counted from 1; the end of the poem is not among them."""
    count: int = 0
    """Training poems that follow it; 0 if it was not counted."""
    loose: tuple[int, ...] = ()
    """Places, counted from 0 through all lines, whose tone (and at the end of a line rhyme) some poets do not keep."""
    echoes: tuple[Echo, ...] = ()
    """Repetitions that the pattern demands (叠句)."""

    def __post_init__(self) -> None:
        if tuple(len(line) for line in self.tones) != self.line_lengths or len(self.rhymes) != len(self.tones):
            raise ValueError("a pattern needs one sign for each character and one rhyme class for each line")
        if set("".join(self.tones)) - {LEVEL, OBLIQUE, FREE}:
            raise ValueError(f"a pattern is made of {LEVEL}, {OBLIQUE} and {FREE}")
        if self.marks and len(self.marks) != len(self.tones):
            raise ValueError("a pattern needs one punctuation mark for each line")

    @cached_property
    def rhyme_places(self) -> dict[int, int]:
        """Rhyme class by the number of characters up to the end of a line that rhymes."""
        ends = accumulate(self.line_lengths)
        return {end: rhyme for end, rhyme in zip(ends, self.rhymes, strict=True) if rhyme}

    @cached_property
    def due_rhymes(self) -> dict[int, int]:
        """Those of `rhyme_places` that no poet leaves."""
        return {end: rhyme for end, rhyme in self.rhyme_places.items() if end - 1 not in self.loose}

    @property
    def rhyme_slots(self) -> tuple[int, ...]:
        """For each line the number of its rhyme, from 0, or `UNASSIGNED` if it does not rhyme.

        Lines of one rhyme class and one tone share a rhyme: where a tune mixes both tones in a class, each has a group
        of its own.
        """
        order: dict[tuple[int, str], int] = {}
        return tuple(
            order.setdefault((rhyme, tones[-1]), len(order)) if rhyme else UNASSIGNED
            for tones, rhyme in zip(self.tones, self.rhymes, strict=True)
        )


@dataclass(frozen=True)
class TunePattern(Pattern):
    """The commonest pattern of a ci tune (词牌) and the others that poets use."""

    name: str = ""
    total: int = 0
    """All training poems to this tune; `count` of them follow this pattern."""
    variants: tuple[Pattern, ...] = ()
    """Other common patterns, the commonest first."""


def templates(form: str) -> tuple[Pattern, ...]:
    """Return the four patterns of a regulated form.

    Args:
        form: 五绝, 七绝, 五律 or 七律.

    Returns:
        Patterns that begin on a level and on an oblique second character, without and with rhyme in the first line.

    Raises:
        InputError: It is not a regulated form.
    """
    if form not in FORM_SHAPES:
        raise InputError(
            "form_without_pattern",
            "'{form}' has no tone pattern; the regulated forms are {forms}",
            form=form,
            forms=", ".join(FORM_SHAPES),
        )
    return regulated_patterns(*FORM_SHAPES[form])


@lru_cache(maxsize=32)
def regulated_patterns(lines: int, length: int) -> tuple[Pattern, ...]:
    """Return the patterns of regulated verse of so many lines of 5 or 7 characters, in the order of `templates`."""
    return tuple(_regulated(lines, length, second, rhymed) for rhymed in (False, True) for second in (OBLIQUE, LEVEL))


def _regulated(lines: int, length: int, second: str, rhymed: bool) -> Pattern:
    """Build the pattern whose first line has the tone `second` at its second place."""
    tones, rhymes = [], []
    for line in range(lines):
        # The second characters run x, opposite, opposite, x, x, opposite ...: opposed in a couplet, then taken up.
        start = second if line % 4 in (0, 3) else OPPOSITE[second]
        rhymes.append(int(line % 2 == 1 or (line == 0 and rhymed)))
        tones.append(line_pattern(length, start, LEVEL if rhymes[-1] else OBLIQUE))
    return Pattern((length,) * lines, tuple(tones), tuple(rhymes))


def line_pattern(length: int, second: str, end: str) -> str:
    """Return the pattern of a regulated line of 5 or 7 characters by the tones of its second and its last place."""
    if length == 5:
        return _FIVE[second, end]
    return FREE + second + _FIVE[OPPOSITE[second], end]
