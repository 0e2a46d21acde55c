"""What is asked of a poem, how it is written, and the poem that comes of it. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Literal, get_args

from zhseq.errors import InputError, Message
from zhseq.poetry.forms import FORMS, Form, long_form
from zhseq.poetry.picture import heading_of, write_picture
from zhseq.poetry.pinyin import pinyin_of
from zhseq.poetry.prosody import Pattern

Rhyme = Literal["auto", "classical", "ci", "modern", "none"]
RHYMES: tuple[str, ...] = get_args(Rhyme)
"""What `Request.rhyme` may be."""
MOST_CANDIDATES = 256

_KINDS: dict[str, type] = {"str": str, "int": Integral, "float": Real, "bool": bool}


def expect(name: str, value: object, kind: str) -> None:
    """Refuse an argument of a wrong type.

    Args:
        name: Name of the argument.
        value: What was given.
        kind: `str`, `int`, `float`, `bool` or `tuple[str, ...]`.

    Raises:
        TypeError: The value is of another type.
    """
    if kind == "tuple[str, ...]":
        fits = isinstance(value, (tuple, list)) and all(isinstance(each, str) for each in value)
    else:
        fits = isinstance(value, _KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))
    if not fits:
        raise TypeError(f"expected {name} of type {kind}, but got {type(value).__name__}")


def _expect_fields(record: Sampling | Ranking | Request) -> None:
    for each in dataclasses.fields(record):
        if each.name not in ("sampling", "ranking"):
            expect(each.name, getattr(record, each.name), str(each.type))


@dataclass(frozen=True)
class Sampling:
    """How characters are drawn.

    Raises:
        InputError: A value is out of range.
        TypeError: A value is of a wrong type.
    """

    temperature: float = 0.95
    """Below 1 the model's favourites win more often, above 1 less; 0 always takes the best."""
    top_p: float = 0.95
    """Draw only from the smallest set of characters that holds this much probability."""
    top_k: int = 0
    """Draw only from this many characters; 0: no such limit."""
    seed: int = 0
    """The same seed gives the same poems; poem number i does not depend on how many are asked for."""

    def __post_init__(self) -> None:
        _expect_fields(self)
        if not 0 <= self.temperature <= 10:
            raise InputError(
                "bad_temperature",
                "the temperature must lie in 0 to 10, but is {temperature}; 0.8 is a good start",
                temperature=self.temperature,
            )
        if not 0 < self.top_p <= 1:
            raise InputError(
                "bad_top_p", "<top_p> must be greater than 0 and at most 1, but is {top_p}", top_p=self.top_p
            )
        if self.top_k < 0:
            raise InputError(
                "bad_top_k", "<top_k> must not be negative, but is {top_k}; 0 sets no limit", top_k=self.top_k
            )
        if self.seed < 0:
            raise InputError("bad_seed", "the seed must not be negative, but is {seed}", seed=self.seed)


@dataclass(frozen=True)
class Ranking:
    """How candidates for a line are made and judged.

    Raises:
        InputError: There are too few or too many candidates.
        TypeError: A value is of a wrong type.
    """

    best_of: int = 16
    """Candidates for each line."""
    typical: float = 5.0
    """Surprise, in nats a character, below which a line gains nothing more: it is worn out or copied."""
    rarity: float = 0.6
    """How far the commonest characters are held back when one is drawn, 0 to 1. A temperature below 1 favours them far
    beyond what people do; this gives back the variety."""
    seasons: float = 24.0
    """Weight of the nats by which seasons, hours and weathers are kept apart in verse, for a line that brings them
    together."""
    guidance: float = 1.0
    """How strongly subject and author pull: this share of the difference they make is added to the scores."""
    parallel: float = 2.0
    """Weight of the likeness of facing characters in a couplet whose lines answer each other, for a model that comes
    without a table of facing words."""
    facing: float = 0.1
    """Weight of the nats by which characters face each other oftener than by chance in people's couplets, when a
    character of such a line is drawn and when the line is judged."""
    facing_words: float = 0.0
    """The same for words of two characters."""
    coherence: float = 1.0
    """Weight of the nats by which a line of regulated verse is likelier behind the lines before it than elsewhere, by
    the critic of whole poems."""
    unheard: float = 4.0
    """Nats against each two neighbours in a line that no poem has from which the model learned."""
    rating: float = 2.0
    """Nats a character for each point that a reader would give a line of regulated verse, on a scale of 0 to 3, as the
    rater that comes with a model guesses."""
    subject: float = 2.0
    """Nats for the first line that holds a word of the subject, more with each line that has none."""

    def __post_init__(self) -> None:
        _expect_fields(self)
        if not 1 <= self.best_of <= MOST_CANDIDATES:
            raise InputError(
                "bad_best_of",
                "<best_of> must lie in 1 to {most}, but is {best_of}",
                most=MOST_CANDIDATES,
                best_of=self.best_of,
            )


COUPLET_RANKING = Ranking(
    best_of=96, typical=4.2, rarity=0.1, facing=1.0, facing_words=1.0, coherence=0.0, unheard=0.0, rating=0.0
)
"""A single answer can be chosen with more care than the lines of a poem, and need not be varied."""


@dataclass(frozen=True)
class Request:
    """What is asked of a poem; an empty string leaves it to the model.

    Raises:
        TypeError: A value is of a wrong type.
    """

    start: str = ""
    """How the poem begins: characters, punctuation allowed where the form has it. Kept exactly as given."""
    lines: tuple[str, ...] = ()
    """Lines to go on from, without punctuation; the last may be unfinished. Another way to give a start."""
    form: str = "auto"
    """`auto` or one of the forms 五绝, 七绝, 五律, 七律, 五言排律, 七言排律; the last two have as many lines as are
    given, ten at the least."""
    title: str = ""
    about: str = ""
    """Subject. As a title, but the poem is also pulled towards it."""
    author: str = ""
    """In whose manner; one of `Poet.authors`."""
    dynasty: str = ""
    """In the manner of which time; one of `Poet.dynasties`."""
    traditional: bool = False
    """Write in traditional characters."""
    rhyme: str = "auto"
    """`classical` (平水韵), `ci` (词林正韵) or `modern` (中华通韵) tones and rhymes, or `none`.

    `auto` is `ci` for a tune and else `classical` where the model comes with a prosody, and leaves a start as it is
    where that breaks the rules; the others refuse it."""
    tune: str = ""
    """Write ci to this tune; one of `Poet.tunes`."""
    acrostic: str = ""
    """Characters with which the lines begin (藏头); of more than eight, `auto` makes a 七言排律."""
    acrostic_at: str = "start"
    """`start` or `end` (藏尾)."""
    rhyme_group: str = ""
    """Rhyme group, called by one of its words."""
    rhyme_with: str = ""
    """A character to rhyme with: another way to give the rhyme group."""
    sampling: Sampling = field(default_factory=Sampling)
    ranking: Ranking = field(default_factory=Ranking)

    def __post_init__(self) -> None:
        _expect_fields(self)
        object.__setattr__(self, "lines", tuple(self.lines))


@dataclass(frozen=True)
class Poem:
    """A poem, finished or as far as it is written."""

    lines: tuple[str, ...]
    """Lines without punctuation."""
    form: str
    title: str = ""
    author: str = ""
    tune: str = ""
    pattern: Pattern | None = None
    """Tones and rhymes that the poem keeps; None where it was free."""
    note: Message | None = None
    """Which rules were relaxed to keep the given characters; None if none were."""

    def __str__(self) -> str:
        return self.text

    @property
    def pinyin(self) -> list[list[str]]:
        """Pinyin of each character, as a list for each line; of several readings the one that tone and rhyme decide.

        Raises:
            ConfigError: pypinyin is not installed.
        """
        return pinyin_of(self.lines, self.pattern)

    def picture(self, path: Path | str, *, layout: str = "down") -> None:
        """Draw the poem into a file: see `zhseq.poetry.picture.write_picture`."""
        heading = heading_of(self.title or self.tune, self.author)
        write_picture(path, self.text, heading, layout=layout, stanzas=bool(self.tune))

    @property
    def text(self) -> str:
        """The poem as it is printed: one couplet a row, or one stanza of a tune, with punctuation."""
        if self.tune and self.pattern is not None:
            return "\n".join(stanzas(self.lines, self.pattern))
        return "\n".join(self._shape.layout(self.lines))

    @property
    def marks(self) -> str:
        """The mark that `text` prints behind each line."""
        return self._shape.marks[: len(self.lines)]

    @property
    def _shape(self) -> Form:
        if self.tune and self.pattern is not None:
            return pattern_form(self.tune, self.pattern)
        return FORMS.get(self.form) or long_form(self.form, len(self.lines))


def stanzas(lines: Sequence[str], pattern: Pattern) -> list[str]:
    """Put the punctuation of a pattern behind its lines and print each stanza on a row of its own."""
    rows, begin = [], 0
    marks = pattern_form("", pattern).marks
    for end in (*pattern.breaks, len(lines)):
        # The poem may not be finished; then the last row is cut short.
        rows.append("".join(line + mark for line, mark in zip(lines[begin:end], marks[begin:end], strict=False)))
        begin = end
    return [row for row in rows if row]


def pattern_form(name: str, pattern: Pattern) -> Form:
    """Return the outward shape of a pattern; without marks of its own, rhymes close a sentence."""
    marks = pattern.marks or "".join("。" if rhyme else "，" for rhyme in pattern.rhymes[:-1]) + "。"
    return Form(name, pattern.line_lengths, marks)
