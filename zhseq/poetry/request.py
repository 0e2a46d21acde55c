"""What is asked of a poem, and the poem that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zhseq.errors import Message
from zhseq.poetry.forms import FORMS, Form
from zhseq.poetry.prosody import Pattern
from zhseq.poetry.search import Ranking, Sampling

RHYMES = ("auto", "classical", "modern", "none")


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
    def text(self) -> str:
        """The poem as it is printed: one couplet a row, or one stanza of a tune, with punctuation."""
        if self.tune and self.pattern is not None:
            return "\n".join(stanzas(self.lines, self.pattern))
        return "\n".join(FORMS[self.form].layout(self.lines))


@dataclass(frozen=True)
class Request:
    """What is asked of a poem; an empty string leaves it to the model."""

    start: str = ""
    """How the poem begins: characters, punctuation allowed where the form has it. Kept exactly as given."""
    lines: tuple[str, ...] = ()
    """Lines to go on from, without punctuation; the last may be unfinished. Another way to give a start."""
    form: str = "auto"
    """`auto` or one of the forms 五绝, 七绝, 五律, 七律."""
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
    """`classical` or `modern` tones and rhymes, or `none`. `auto` is classical where the model comes with a prosody,
    and leaves a start as it is where that breaks the rules; the others refuse it."""
    tune: str = ""
    """Write ci to this tune; one of `Poet.tunes`."""
    acrostic: str = ""
    """Characters with which the lines begin (藏头)."""
    acrostic_at: str = "start"
    """`start` or `end` (藏尾)."""
    rhyme_group: str = ""
    """Rhyme group, called by one of its words."""
    sampling: Sampling = field(default_factory=Sampling)
    ranking: Ranking = field(default_factory=Ranking)


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
