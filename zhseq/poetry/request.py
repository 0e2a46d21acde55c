"""Requests for poems, sampling and ranking parameters, and the poems written. Imports no torch."""

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
"""Values of `Request.rhyme`."""
MOST_CANDIDATES = 256
MOST_DRAFTS = 16
DRAFTS, DRAFTS_OF_SEVERAL = 4, 2
"""Default number of drafts of a single poem, and of each of several."""

_KINDS: dict[str, type] = {"str": str, "int": Integral, "float": Real, "bool": bool}


def expect(name: str, value: object, kind: str) -> None:
    """Check the type of an argument.

    Args:
        name: Name of the argument.
        value: What was given.
        kind: `str`, `int`, `int | None`, `float`, `bool` or `tuple[str, ...]`.

    Raises:
        TypeError: The value is of another type.
    """
    if kind == "tuple[str, ...]":
        fits = isinstance(value, (tuple, list)) and all(isinstance(each, str) for each in value)
    elif kind == "int | None" and value is None:
        fits = True
    else:
        kind = kind.removesuffix(" | None")
        fits = isinstance(value, _KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))
    if not fits:
        raise TypeError(f"expected {name} of type {kind}, but got {type(value).__name__}")


def _expect_fields(record: Sampling | Ranking | Request) -> None:
    for each in dataclasses.fields(record):
        if each.name not in ("sampling", "ranking"):
            expect(each.name, getattr(record, each.name), str(each.type))


@dataclass(frozen=True)
class Sampling:
    """Parameters of sampling.

    Raises:
        InputError: A value is out of range.
        TypeError: A value has the wrong type.
    """

    temperature: float = 0.95
    """Sampling temperature, 0 to 10; 0 always takes the most probable character."""
    top_p: float = 0.95
    """Sample from the smallest set of characters with this probability mass, above 0 up to 1."""
    top_k: int = 0
    """Sample from this many characters; 0: no limit."""
    seed: int = 0
    """Random seed; the same seed gives the same poems, and poem i does not depend on their number."""

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
    """Weights by which candidates for a line are generated and ranked.

    Raises:
        InputError: `best_of` is out of range.
        TypeError: A value has the wrong type.
    """

    best_of: int = 16
    """Candidates per line, 1 to 256."""
    typical: float = 5.0
    """Surprisal in nats per character below which a line gains nothing more, since it is a cliché or copied."""
    rarity: float = 0.6
    """Penalty of frequent characters in sampling, 0 to 1. A temperature below 1 favours them more than people do; this
    restores the variety."""
    seasons: float = 24.0
    """Weight of the penalty of a line that combines seasons, hours or weathers: the nats by which verse avoids it."""
    guidance: float = 1.0
    """Guidance by topic and author: this multiple of the change of the logits that they cause is added."""
    parallel: float = 2.0
    """Weight of the similarity of parallel characters in a parallel couplet, for a model without a table of parallel
    words."""
    facing: float = 0.1
    """Weight of the pointwise mutual information, in nats, of parallel characters in couplets, in sampling and in
    ranking."""
    facing_words: float = 0.0
    """The same for two-character words."""
    coherence: float = 1.0
    """Weight of the log odds, in nats, that a line of regulated verse follows the lines before it, by the critic."""
    unheard: float = 4.0
    """Penalty in nats for each bigram of a line that no training poem has."""
    rating: float = 2.0
    """Nats per character for each point of the predicted reader rating (0 to 3) of a line of regulated verse."""
    subject: float = 2.0
    """Nats for the first line with a character of the topic, scaled by its number divided by the number of lines."""

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
"""Ranking of couplets: more candidates than for a line of a poem, and less variety."""


@dataclass(frozen=True)
class Request:
    """Options of a poem; an empty string leaves the choice to the model.

    Raises:
        InputError: `drafts` is out of range.
        TypeError: A value has the wrong type.
    """

    start: str = ""
    """First characters, kept exactly as given; punctuation is allowed where the form has it."""
    lines: tuple[str, ...] = ()
    """First lines, to be continued, without punctuation; the last may be incomplete. An alternative to `start`."""
    form: str = "auto"
    """`auto` or one of the forms 五绝, 七绝, 五律, 七律, 五言排律, 七言排律; the last two have as many lines as are
    given, at least ten."""
    title: str = ""
    about: str = ""
    """Topic; has a stronger effect than a title."""
    author: str = ""
    """Style of an author; one of `Poet.authors`."""
    dynasty: str = ""
    """Style of a period; one of `Poet.dynasties`."""
    traditional: bool = False
    """Write in traditional characters."""
    rhyme: str = "auto"
    """`classical` (平水韵), `ci` (词林正韵) or `modern` (中华通韵) tones and rhymes, or `none`.

    `auto` is `ci` for a tune and otherwise `classical` if the model has a prosody, and accepts a start that breaks the
    rules; the others refuse it."""
    tune: str = ""
    """Write ci to this tune; one of `Poet.tunes`."""
    acrostic: str = ""
    """One character per line (藏头); with more than eight, form `auto` is 七言排律."""
    acrostic_at: str = "start"
    """Position of these characters in the lines: `start` or `end` (藏尾)."""
    rhyme_group: str = ""
    """Rhyme group, given by one of its characters."""
    rhyme_with: str = ""
    """A character to rhyme with, another way to give the rhyme group."""
    drafts: int | None = None
    """Drafts of each poem, 1 to 16, of which the one with the best predicted rating is kept; by default 4 for a single
    poem and 1 for several. Ci, 排律 and verse without tones have one."""
    sampling: Sampling = field(default_factory=Sampling)
    ranking: Ranking = field(default_factory=Ranking)

    def __post_init__(self) -> None:
        _expect_fields(self)
        object.__setattr__(self, "lines", tuple(self.lines))
        if self.drafts is not None and not 1 <= self.drafts <= MOST_DRAFTS:
            raise InputError(
                "bad_drafts",
                "<drafts> must lie in 1 to {most}, but is {drafts}",
                most=MOST_DRAFTS,
                drafts=self.drafts,
            )

    def drafts_of(self, num: int) -> int:
        """Return the number of drafts of each poem if `num` poems are requested."""
        return self.drafts or (DRAFTS if num == 1 else DRAFTS_OF_SEVERAL)


@dataclass(frozen=True)
class Poem:
    """A poem, complete or as far as it is written. `str(poem)` is its text."""

    lines: tuple[str, ...]
    """Lines without punctuation."""
    form: str
    title: str = ""
    author: str = ""
    tune: str = ""
    pattern: Pattern | None = None
    """Tonal pattern and rhymes of the poem; None for `rhyme="none"`."""
    note: Message | None = None
    """Rules that were relaxed to keep the given characters; None if none were."""

    def __str__(self) -> str:
        return self.text

    @property
    def pinyin(self) -> list[list[str]]:
        """Pinyin of each character, one list per line; tone and rhyme decide between readings.

        Raises:
            ConfigError: pypinyin is not installed.
        """
        return pinyin_of(self.lines, self.pattern)

    def picture(self, path: Path | str, *, layout: str = "down") -> None:
        """Draw the poem to an `.svg` or `.png` file, see `zhseq.poetry.picture.write_picture`.

        Args:
            path: The file.
            layout: `down` (vertical columns) or `across` (horizontal rows).
        """
        heading = heading_of(self.title or self.tune, self.author)
        write_picture(path, self.text, heading, layout=layout, stanzas=bool(self.tune))

    @property
    def text(self) -> str:
        """The poem with punctuation: one couplet per row, or one stanza of a tune."""
        if self.tune and self.pattern is not None:
            return "\n".join(stanzas(self.lines, self.pattern))
        return "\n".join(self._shape.layout(self.lines))

    @property
    def marks(self) -> str:
        """The punctuation mark after each line in `text`."""
        return self._shape.marks[: len(self.lines)]

    @property
    def _shape(self) -> Form:
        if self.tune and self.pattern is not None:
            return pattern_form(self.tune, self.pattern)
        return FORMS.get(self.form) or long_form(self.form, len(self.lines))


def stanzas(lines: Sequence[str], pattern: Pattern) -> list[str]:
    """Return one row per stanza: the lines with the punctuation of the pattern; `lines` may be incomplete."""
    rows, begin = [], 0
    marks = pattern_form("", pattern).marks
    for end in (*pattern.breaks, len(lines)):
        # The last row is shorter if the poem is not finished.
        rows.append("".join(line + mark for line, mark in zip(lines[begin:end], marks[begin:end], strict=False)))
        begin = end
    return [row for row in rows if row]


def pattern_form(name: str, pattern: Pattern) -> Form:
    """Return the shape of a pattern; if it has no marks, rhyming lines and the last one end in a full stop."""
    marks = pattern.marks or "".join("。" if rhyme else "，" for rhyme in pattern.rhymes[:-1]) + "。"
    return Form(name, pattern.line_lengths, marks)
