"""A lower line to an upper one (对联): tones opposed, words facing each other, no character shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zhseq.errors import InputError
from zhseq.generation.drafting import BETWEEN_LINES, split_lines
from zhseq.generation.plan import Plan, opposite
from zhseq.generation.rerank import Ranking
from zhseq.generation.rules import OPEN
from zhseq.prosody import FREE, LEVEL, Pattern, Prosody
from zhseq.text.normalize import codepoints, is_han, normalize

LONGEST = 24
COUPLET_RANKING = Ranking(best_of=96, typical=4.2, rarity=0.1)
"""A single answer can be chosen with more care than the lines of a poem, and need not be varied."""
_FORMS = {5: "五律", 7: "七律"}


@dataclass(frozen=True)
class CoupletDraft:
    """An upper line and the shape of its answer."""

    clauses: tuple[str, ...]
    """The upper line, cut at its punctuation."""
    marks: tuple[str, ...]
    """What stands behind each clause."""
    plan: Plan
    """A pattern of the clauses and, after them, their answers."""

    @property
    def form(self) -> str:
        """The form in which the model has read such lines, or an empty string."""
        return _FORMS.get(len(self.clauses[0]), "") if len(self.clauses) == 1 else ""

    @property
    def given(self) -> list[list[str]]:
        """The clauses and as many open lines."""
        return [*map(list, self.clauses), *([""] * len(clause) for clause in self.clauses)]

    @property
    def answers(self) -> dict[int, int]:
        """Number of each answering line -> number of the line it answers."""
        count = len(self.clauses)
        return {count + number: number for number in range(count)}

    def lower(self, lines: Sequence[str]) -> str:
        """Return the answer with the punctuation of the upper line."""
        marks = [*self.marks[:-1], self.marks[-1].replace("，", "。").replace(",", "。")]
        return "".join(line + mark for line, mark in zip(lines[len(self.clauses) :], marks, strict=True))


def draft_couplet(upper: str, prosody: Prosody) -> CoupletDraft:
    """Plan the answer to an upper line.

    Raises:
        InputError: It is empty, too long or holds something that is no Chinese character.
    """
    clauses = split_lines(upper)
    marks = [mark if mark.strip() else "" for mark in BETWEEN_LINES.findall(upper.strip())]
    marks += [""] * (len(clauses) - len(marks))
    characters = "".join(clauses)
    foreign = [character for character in characters if not bool(is_han(codepoints(character))[0])]
    if foreign or not characters:
        shown = f"'{foreign[0]}'" if foreign and foreign[0].isprintable() else "no Chinese character"
        raise InputError(f"an upper line is made of Chinese characters, but this one has {shown}")
    if not 2 <= len(characters) <= LONGEST:
        raise InputError(f"an upper line has 2 to {LONGEST} characters, but this one has {len(characters)}")
    folded = [normalize(clause) for clause in clauses]
    tones = [opposite(clause, prosody) for clause in folded]
    if tones[-1][-1] == FREE:
        tones[-1] = tones[-1][:-1] + LEVEL
    lengths = tuple(map(len, clauses)) * 2
    free = [FREE * len(clause) for clause in clauses]
    pattern = Pattern(lengths, (*free, *tones), (0,) * len(lengths))
    return CoupletDraft(tuple(clauses), tuple(marks), Plan((pattern,), (1.0,), ((OPEN,),)))
