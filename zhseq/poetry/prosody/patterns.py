"""Patterns of verse: line lengths, the tone of each position, and rhymes.

The patterns of regulated verse are derived here from three rules: tones alternate at the even positions of a line, the
two lines of a couplet have opposite tones (对), and each couplet begins with the tone of the line before it (粘). The
patterns of ci tunes are learned, see `zhseq.poetry.prosody.tunes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

from zhseq.errors import InputError

LEVEL, OBLIQUE, FREE = "平", "仄", "中"
"""Signs of a pattern: level tone, oblique tone, either."""
OPPOSITE = {LEVEL: OBLIQUE, OBLIQUE: LEVEL}
CI = "词"
"""The form of poems to a tune."""
FORM_SHAPES = {"五绝": (4, 5), "七绝": (4, 7), "五律": (8, 5), "七律": (8, 7)}
"""Regulated form -> number of lines and characters per line."""

_FIVE = {
    (OBLIQUE, OBLIQUE): "中仄平平仄",
    (OBLIQUE, LEVEL): "中仄仄平平",
    (LEVEL, OBLIQUE): "中平平仄仄",
    (LEVEL, LEVEL): "平平中仄平",
}
"""The four types of five-character lines by the tones of the second and the last character.

Only positions that are commonly free are free. In addition to the alternation, no line ends in three level or three
oblique tones, and a level second character is not isolated (孤平).
"""


UNASSIGNED = -1
"""Rhyme group of a rhyme that is not determined yet, and rhyme number of a line that does not rhyme."""


@dataclass(frozen=True)
class Echo:
    """Characters that repeat earlier ones (叠句, 叠字), as in 争渡，争渡; positions count from 0 through all lines."""

    place: int
    """Position of the first repeating character."""
    source: int
    """Position of the first repeated character."""
    length: int
    """Number of characters."""


@dataclass(frozen=True)
class Pattern:
    """Line lengths, tones and rhymes of a poem.

    Raises:
        ValueError: The fields have different numbers of lines or characters, or a sign is unknown.
    """

    line_lengths: tuple[int, ...]
    """Characters in each line."""
    tones: tuple[str, ...]
    """One string of 平 (level), 仄 (oblique) and 中 (either) per line, one sign per character."""
    rhymes: tuple[int, ...]
    """Rhyme class of each line: lines of one class rhyme with each other; 0: no rhyme."""
    marks: str = ""
    """The usual punctuation mark after each line; empty if the form has none of its own."""
    breaks: tuple[int, ...] = ()
    """Numbers, from 1, of the lines after which a stanza ends, without the last line of the poem."""
    count: int = 0
    """Number of training poems that follow it; 0 if they were not counted."""
    loose: tuple[int, ...] = ()
    """Positions, from 0 through all lines, whose tone (and, at the end of a line, rhyme) some poems do not keep."""
    echoes: tuple[Echo, ...] = ()
    """Repetitions that the pattern requires (叠句)."""

    def __post_init__(self) -> None:
        if tuple(len(line) for line in self.tones) != self.line_lengths or len(self.rhymes) != len(self.tones):
            raise ValueError("a pattern needs one sign for each character and one rhyme class for each line")
        if set("".join(self.tones)) - {LEVEL, OBLIQUE, FREE}:
            raise ValueError(f"a pattern is made of {LEVEL}, {OBLIQUE} and {FREE}")
        if self.marks and len(self.marks) != len(self.tones):
            raise ValueError("a pattern needs one punctuation mark for each line")

    @cached_property
    def rhyme_places(self) -> dict[int, int]:
        """Number of characters up to the end of a rhyming line -> rhyme class."""
        ends = accumulate(self.line_lengths)
        return {end: rhyme for end, rhyme in zip(ends, self.rhymes, strict=True) if rhyme}

    @cached_property
    def due_rhymes(self) -> dict[int, int]:
        """The entries of `rhyme_places` that are not at `loose` positions."""
        return {end: rhyme for end, rhyme in self.rhyme_places.items() if end - 1 not in self.loose}

    @property
    def rhyme_slots(self) -> tuple[int, ...]:
        """For each line the number of its rhyme, from 0, or `UNASSIGNED` if it does not rhyme.

        Lines of the same rhyme class and tone share a rhyme: if a class of a tune has both tones, each tone has its own
        rhyme.
        """
        order: dict[tuple[int, str], int] = {}
        return tuple(
            order.setdefault((rhyme, tones[-1]), len(order)) if rhyme else UNASSIGNED
            for tones, rhyme in zip(self.tones, self.rhymes, strict=True)
        )


@dataclass(frozen=True)
class TunePattern(Pattern):
    """The most frequent pattern of a ci tune (词牌), with its variants."""

    name: str = ""
    total: int = 0
    """Number of training poems to this tune; `count` of them follow this pattern."""
    variants: tuple[Pattern, ...] = ()
    """Other patterns, the most frequent first."""


def templates(form: str) -> tuple[Pattern, ...]:
    """Return the four patterns of a regulated form.

    Args:
        form: 五绝, 七绝, 五律 or 七律.

    Returns:
        Patterns without rhyme in the first line, then with it; of each first the one whose second character is oblique,
        then level.

    Raises:
        InputError: `form` is not a regulated form.
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
    """Return the patterns of regulated verse with `lines` lines of 5 or 7 characters, in the order of `templates`."""
    return tuple(_regulated(lines, length, second, rhymed) for rhymed in (False, True) for second in (OBLIQUE, LEVEL))


def _regulated(lines: int, length: int, second: str, rhymed: bool) -> Pattern:
    """Build the pattern whose first line has the tone `second` at its second position."""
    tones, rhymes = [], []
    for line in range(lines):
        # The second tones are x, opposite, opposite, x, x, opposite ...: opposite in a couplet, equal across couplets.
        start = second if line % 4 in (0, 3) else OPPOSITE[second]
        rhymes.append(int(line % 2 == 1 or (line == 0 and rhymed)))
        tones.append(line_pattern(length, start, LEVEL if rhymes[-1] else OBLIQUE))
    return Pattern((length,) * lines, tuple(tones), tuple(rhymes))


def line_pattern(length: int, second: str, end: str) -> str:
    """Return the pattern of a regulated line of 5 or 7 characters by the tones of its second and last position."""
    if length == 5:
        return _FIVE[second, end]
    return FREE + second + _FIVE[OPPOSITE[second], end]
