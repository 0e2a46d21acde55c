"""Choose the patterns that allow the given characters of a poem. Imports no torch.

If no pattern does and `lenient` is set, the given characters are kept and the rest of the poem follows the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from zhseq.errors import InputError, Message
from zhseq.poetry.faults import TONE_WORDS
from zhseq.poetry.forms import Form
from zhseq.poetry.prosody import (
    FREE,
    LEVEL,
    UNASSIGNED,
    Pattern,
    Prosody,
    RhymeGroup,
    Tone,
    TunePattern,
    regulated_patterns,
)

Given = Sequence[Sequence[str]]
"""For each line and position the normalised character that is fixed there, or an empty string."""

_RHYMED_FIRST = {5: 0.25, 7: 0.75}
"""Share of poems whose first line rhymes, by the length of the line."""
_BEYOND_TONES = 10_000  # reach of a rhyme conflict, which is only found if all tones agree
_LONELY, _RESCUED = "平平中仄平", "仄平平仄平"
"""A line of five whose first position requires a level tone, and its rescued form with an oblique one (孤平拗救)."""


@dataclass(frozen=True)
class PatternChoice:
    """Patterns that a poem may follow, all with the same line lengths."""

    patterns: tuple[Pattern, ...]
    weights: tuple[float, ...]
    """Relative frequency with which each pattern is chosen."""
    groups: tuple[tuple[int, ...], ...]
    """For each pattern the rhyme group of each of its rhymes, or `UNASSIGNED`."""
    note: Message | None = None
    """Which rules were relaxed to keep the given characters; None if none were."""


class _Conflict(Exception):
    """A pattern does not allow the given characters; a larger `reach` means a conflict later in the poem."""

    def __init__(self, reason: Message, reach: int) -> None:
        super().__init__(reason)
        self.reason, self.reach = reason, reach


def choose_for_form(
    prosody: Prosody, form: Form, given: Given, group: RhymeGroup | None, *, lenient: bool
) -> PatternChoice:
    """Choose among the patterns of a regulated form.

    Args:
        prosody: Tones and rhymes.
        form: A form of regulated verse, of lines of equal length.
        given: Fixed characters.
        group: Requested rhyme group, or None.
        lenient: Keep given characters that no pattern allows; not with a rhyme group.

    Raises:
        InputError: No pattern allows the given characters.
    """
    every = regulated_patterns(len(form.line_lengths), form.line_lengths[0])
    if group is not None and group.tone is not Tone.LEVEL:
        raise InputError(
            "oblique_rhyme_group",
            "a {form} rhymes on level tones, but the words of the rhyme group '{group}' are oblique; "
            "choose a level one",
            form=form.name,
            group=group.name,
        )
    rhymed = _RHYMED_FIRST[every[0].line_lengths[0]]
    weights = [rhymed if pattern.rhymes[0] else 1 - rhymed for pattern in every]
    return _choose(prosody, form.name, every, weights, given, group, lenient)


def choose_for_tune(
    prosody: Prosody, tune: TunePattern, given: Given, group: RhymeGroup | None, *, lenient: bool
) -> PatternChoice:
    """Choose among the tone patterns with a tune's most frequent line lengths; see `choose_for_form`."""
    every = [tune, *(variant for variant in tune.variants if variant.line_lengths == tune.line_lengths)]
    weights = [float(max(pattern.count, 1)) for pattern in every]
    return _choose(prosody, tune.name, every, weights, given, group, lenient)


def choose_only(pattern: Pattern) -> PatternChoice:
    """Return the choice of one pattern that has no rhymes."""
    return PatternChoice((pattern,), (1.0,), ((UNASSIGNED,),))


def _choose(
    prosody: Prosody,
    name: str,
    patterns: Iterable[Pattern],
    weights: Iterable[float],
    given: Given,
    group: RhymeGroup | None,
    lenient: bool,
) -> PatternChoice:
    """Choose among weighted patterns of a form or tune called `name`."""
    fitting, conflicts = [], []
    weighted = list(zip(patterns, weights, strict=True))
    for pattern, weight in weighted:
        try:
            mended = _fit_tones(prosody, pattern, given)
            fitting.append((mended, weight, _fit_rhymes(prosody, mended, given, group)))
        except _Conflict as conflict:  # noqa: PERF203 - a handful of patterns
            conflicts.append(conflict)
    note = None
    if not fitting:
        nearest = max(conflicts, key=lambda conflict: conflict.reach)
        if not lenient:
            raise InputError(
                "against_the_pattern",
                "no pattern of {form} allows the given characters: {reason}; change them or use <rhyme=none>",
                form=name,
                reason=nearest.reason,
            )
        note = Message(
            "kept_as_given",
            "no pattern of {form} allows the given characters: {reason}; they are kept, and the rest follows the rules",
            {"form": name, "reason": nearest.reason},
        )
        relaxed = [(*_relax(prosody, pattern, given), weight) for pattern, weight in weighted]
        fewest = min(changes for _, changes, _ in relaxed)
        fitting = [
            (pattern, weight, _fit_rhymes(prosody, pattern, given, None))
            for pattern, changes, weight in relaxed
            if changes == fewest
        ]
    taken, shares, groups = zip(*fitting, strict=True)
    return PatternChoice(taken, shares, groups, note)


def _fit_tones(prosody: Prosody, pattern: Pattern, given: Given) -> Pattern:
    """Return the pattern, with rescued lines where given characters need them, or raise a conflict."""
    tones = list(pattern.tones)
    for number, (line, characters) in enumerate(zip(pattern.tones, given, strict=True)):
        wrong = [n for n, character in enumerate(characters) if _conflicts(prosody, character, line[n])]
        if not wrong:
            continue
        third = len(line) - 3
        if wrong == [len(line) - 5] and line.endswith(_LONELY) and not _conflicts(prosody, characters[third], LEVEL):
            tones[number] = line[:-5] + _RESCUED
            continue
        position = wrong[0]
        reason = Message(
            "wrong_given_tone",
            "'{character}' in line {line} would have to be {tone}",
            {"character": characters[position], "line": number + 1, "tone": TONE_WORDS[line[position]]},
        )
        raise _Conflict(reason, number * 100 + position)
    return replace(pattern, tones=tuple(tones)) if tuple(tones) != pattern.tones else pattern


def _fit_rhymes(prosody: Prosody, pattern: Pattern, given: Given, wanted: RhymeGroup | None) -> tuple[int, ...]:
    """Return the group of each rhyme, `UNASSIGNED` if the given words do not determine it, or raise a conflict."""
    slots = pattern.rhyme_slots
    result = []
    for slot in range(max(slots) + 1):
        lines = [line for line, number in enumerate(slots) if number == slot]
        tone = pattern.tones[lines[0]][-1]
        words = [given[line][-1] for line in lines if given[line][-1]]
        result.append(_fit_rhyme(prosody, words, len(lines), tone, wanted))
    if wanted is not None and wanted.id not in result:
        reason = Message(
            "no_rhyme_of_tone", "none of its rhymes has the tone of the rhyme group '{group}'", {"group": wanted.name}
        )
        raise _Conflict(reason, 0)
    return tuple(result)


def _fit_rhyme(prosody: Prosody, words: Sequence[str], count: int, tone: str, wanted: RhymeGroup | None) -> int:
    """Return the group of one rhyme.

    Args:
        prosody: Rhyme groups.
        words: Given rhyme words.
        count: Number of rhyme words, including the given ones.
        tone: 平, 仄 or 中.
        wanted: Requested group, used if it has this tone.
    """
    known = [set(prosody.groups(word)) for word in words if prosody.groups(word)]
    shared = set.intersection(*known) if known else set()
    listed = {"words": "、".join(words)}
    if wanted is not None and tone in (FREE, wanted.tone.value):
        if known and wanted.id not in shared:
            values = {**listed, "group": wanted.name}
            raise _Conflict(
                Message("not_in_group", "{words} is not in the rhyme group '{group}'", values), _BEYOND_TONES
            )
        known = [{wanted.id}]
        shared = known[0]
    if len(set(words)) < len(words):
        raise _Conflict(Message("rhyme_word_twice", "the rhyme word {words} occurs twice", listed), _BEYOND_TONES)
    fitting = [i for i in sorted(shared) if _has_words(prosody.rhyme_groups[i], count - len(words), tone)]
    if known and not fitting:
        raise _Conflict(Message("no_common_rhyme", "{words} do not rhyme on one tone", listed), _BEYOND_TONES)
    certain = [i for word in words for i in prosody.certain_groups(word) if i in fitting]
    return (certain or fitting or [UNASSIGNED])[0]


def _has_words(group: RhymeGroup, needed: int, tone: str) -> bool:
    """Return whether a group has at least `needed` certain words and this tone (平, 仄 or 中)."""
    return len(group.certain) >= needed and tone in (FREE, group.tone.value)


def _relax(prosody: Prosody, pattern: Pattern, given: Given) -> tuple[Pattern, int]:
    """Free the positions and, if needed, the rhymes of given characters; also return the number of changes."""
    tones, rhymes, changes = [], list(pattern.rhymes), 0
    for number, (line, characters) in enumerate(zip(pattern.tones, given, strict=True)):
        wrong = {n for n, character in enumerate(characters) if _conflicts(prosody, character, line[n])}
        tones.append("".join(FREE if n in wrong else tone for n, tone in enumerate(line)))
        changes += len(wrong)
        if len(line) - 1 in wrong:
            rhymes[number] = 0
    relaxed = replace(pattern, tones=tuple(tones), rhymes=tuple(rhymes))
    try:
        _fit_rhymes(prosody, relaxed, given, None)
    except _Conflict:
        ends = [bool(characters[-1]) for characters in given]
        free = [0 if end else rhyme for end, rhyme in zip(ends, rhymes, strict=True)]
        return replace(relaxed, rhymes=tuple(free)), changes + sum(ends)
    return relaxed, changes


def _conflicts(prosody: Prosody, character: str, tone: str) -> bool:
    """Return whether a given character is not allowed at a position of this tone."""
    if not character or tone == FREE:
        return False
    return prosody.tone_class(character) is (Tone.OBLIQUE if tone == LEVEL else Tone.LEVEL)
