"""From wishes to a plan: which pattern a poem can follow, which characters are given, which rhyme is open.

Given characters are always honoured; only patterns that allow them are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from zhseq.errors import InputError
from zhseq.generation.rules import OPEN, roomy, slots
from zhseq.prosody import FREE, LEVEL, OBLIQUE, Pattern, Prosody, RhymeGroup, Tone, TunePattern

Given = Sequence[Sequence[str]]
"""For each line and place the character that must stand there, or an empty string."""

_RHYMED_FIRST = {5: 0.25, 7: 0.75}
"""How often poets rhyme the first line too, by the length of the line."""
_BEYOND_TONES = 10_000  # place of a conflict of rhymes, which is found when all tones agree
_LONELY, _RESCUED = "平平中仄平", "仄平平仄平"
"""A line of five whose first place demands a level tone, and how poets mend it where that cannot be (孤平拗救)."""


@dataclass(frozen=True)
class Plan:
    """Patterns that a poem may follow, all of one shape."""

    patterns: tuple[Pattern, ...]
    weights: tuple[float, ...]
    """How often each pattern is taken."""
    presets: tuple[tuple[int, ...], ...]
    """For each pattern the group of each of its rhymes, or -1 where it is open."""
    note: str = ""
    """What of the rules had to give way to given characters, one sentence; empty if nothing had to."""


class _Conflict(Exception):
    """A pattern and the given characters do not agree; the later in the poem, the nearer they came."""

    def __init__(self, reason: str, place: int) -> None:
        super().__init__(reason)
        self.place = place


def plan_regulated(prosody: Prosody, form: str, given: Given, group: RhymeGroup | None, *, lenient: bool) -> Plan:
    """Plan a poem of a regulated form.

    Args:
        prosody: Tones and rhymes.
        form: 五绝, 七绝, 五律 or 七律.
        given: Characters that must stand.
        group: Rhyme group that was asked for.
        lenient: Leave given characters as they are where no pattern allows them; not with a rhyme group.

    Raises:
        InputError: No pattern allows the given characters.
    """
    every = prosody.templates(form)
    if group is not None and group.tone is not Tone.LEVEL:
        raise InputError(
            f"a {form} rhymes on level tones, but the words of the rhyme group '{group.name}' are oblique; "
            "choose a level one",
            code="oblique_rhyme_group",
        )
    length = every[0].line_lengths[0]
    weights = [_RHYMED_FIRST[length] if pattern.rhymes[0] else 1 - _RHYMED_FIRST[length] for pattern in every]
    return _plan(prosody, form, every, weights, given, group, lenient)


def plan_tune(prosody: Prosody, tune: TunePattern, given: Given, group: RhymeGroup | None, *, lenient: bool) -> Plan:
    """Plan a ci; as `plan_regulated`. Only its commonest line lengths are written, with all tone patterns of them."""
    every = [tune, *(variant for variant in tune.variants if variant.line_lengths == tune.line_lengths)]
    weights = [float(max(pattern.count, 1)) for pattern in every]
    return _plan(prosody, tune.name, every, weights, given, group, lenient)


def free_pattern(pattern: Pattern) -> Pattern:
    """Return a pattern of the same shape without tones and rhymes."""
    lengths = pattern.line_lengths
    return Pattern(lengths, tuple(FREE * n for n in lengths), (0,) * len(lengths), pattern.marks, pattern.breaks)


def _plan(
    prosody: Prosody,
    name: str,
    patterns: Iterable[Pattern],
    weights: Iterable[float],
    given: Given,
    group: RhymeGroup | None,
    lenient: bool,
) -> Plan:
    fitting, conflicts = [], []
    weighted = list(zip(patterns, weights, strict=True))
    for pattern, weight in weighted:
        try:
            mended = _fit_tones(prosody, pattern, given)
            fitting.append((mended, weight, _fit_rhymes(prosody, mended, given, group)))
        except _Conflict as conflict:  # noqa: PERF203 - a handful of patterns
            conflicts.append(conflict)
    nearest = max(conflicts, key=lambda conflict: conflict.place, default=None)
    note = ""
    if not fitting and lenient:
        note = f"no pattern of {name} allows what is given: {nearest}; it stands as it is, and the rest keeps the rules"
        relaxed = [(_relax(prosody, pattern, given), weight) for pattern, weight in weighted]
        fewest = min(changes for (_, changes), _ in relaxed)
        for (pattern, changes), weight in relaxed:
            if changes == fewest:
                fitting.append((pattern, weight, _fit_rhymes(prosody, pattern, given, None)))
    if not fitting:
        message = f"no pattern of {name} allows what is given: {nearest}; change it or use --rhyme none"
        raise InputError(message, code="against_the_pattern")
    taken, shares, presets = zip(*fitting, strict=True)
    return Plan(taken, shares, presets, note)


def _fit_tones(prosody: Prosody, pattern: Pattern, given: Given) -> Pattern:
    """Return the pattern, mended where a given character calls for it, or raise a conflict."""
    tones = list(pattern.tones)
    for number, (line, places) in enumerate(zip(pattern.tones, given, strict=True)):
        wrong = [place for place, character in enumerate(places) if _against(prosody, character, line[place])]
        if not wrong:
            continue
        third = len(line) - 3
        if wrong == [len(line) - 5] and line.endswith(_LONELY) and not _against(prosody, places[third], LEVEL):
            tones[number] = line[:-5] + _RESCUED
            continue
        place = wrong[0]
        wanted = "level" if line[place] == LEVEL else "oblique"
        raise _Conflict(f"'{places[place]}' in line {number + 1} would have to be {wanted}", number * 100 + place)
    return replace(pattern, tones=tuple(tones)) if tuple(tones) != pattern.tones else pattern


def _fit_rhymes(prosody: Prosody, pattern: Pattern, given: Given, wanted: RhymeGroup | None) -> tuple[int, ...]:
    """Return the group of each rhyme, -1 where it is open, or raise a conflict."""
    by_line = slots(pattern)
    result = []
    for slot in range(max(by_line) + 1):
        lines = [line for line, number in enumerate(by_line) if number == slot]
        tone = pattern.tones[lines[0]][-1]
        words = [given[line][-1] for line in lines if given[line][-1]]
        known = [set(prosody.groups(word)) for word in words if prosody.groups(word)]
        shared = set.intersection(*known) if known else set()
        if wanted is not None and tone in (FREE, wanted.tone.value):
            if known and wanted.id not in shared:
                raise _Conflict(f"{'、'.join(words)} is not in the rhyme group '{wanted.name}'", _BEYOND_TONES)
            known = [{wanted.id}]
            shared = known[0]
        if len(set(words)) < len(words):
            raise _Conflict(f"the rhyme word {'、'.join(words)} stands twice", _BEYOND_TONES)
        fitting = [i for i in sorted(shared) if roomy(prosody.rhyme_groups[i], len(lines) - len(words), tone)]
        if known and not fitting:
            raise _Conflict(f"{'、'.join(words)} do not rhyme on one tone", _BEYOND_TONES)
        certain = [i for word in words for i in prosody.certain_groups(word) if i in fitting]
        result.append((certain or fitting or [OPEN])[0])
    if wanted is not None and wanted.id not in result:
        raise _Conflict(f"none of its rhymes has the tone of the rhyme group '{wanted.name}'", 0)
    return tuple(result)


def _relax(prosody: Prosody, pattern: Pattern, given: Given) -> tuple[Pattern, int]:
    """Free the places, and if need be the rhymes, of given characters; also return how many."""
    tones, rhymes, changes = [], list(pattern.rhymes), 0
    for number, (line, places) in enumerate(zip(pattern.tones, given, strict=True)):
        wrong = {place for place, character in enumerate(places) if _against(prosody, character, line[place])}
        tones.append("".join(FREE if place in wrong else tone for place, tone in enumerate(line)))
        changes += len(wrong)
        if len(line) - 1 in wrong:
            rhymes[number] = 0
    relaxed = replace(pattern, tones=tuple(tones), rhymes=tuple(rhymes))
    try:
        _fit_rhymes(prosody, relaxed, given, None)
    except _Conflict:
        ends = [bool(places[-1]) for places in given]
        free = [0 if end else rhyme for end, rhyme in zip(ends, rhymes, strict=True)]
        return replace(relaxed, rhymes=tuple(free)), changes + sum(ends)
    return relaxed, changes


def _against(prosody: Prosody, character: str, tone: str) -> bool:
    """Tell whether a given character cannot stand at a place of this tone."""
    if not character or tone == FREE:
        return False
    return prosody.tone_class(character) is (Tone.OBLIQUE if tone == LEVEL else Tone.LEVEL)


def opposite(line: str, prosody: Prosody) -> str:
    """Return the tones of a line that answers a given one: opposed at the even places and at the end."""
    tones = []
    for place, character in enumerate(line):
        tone = prosody.tone_class(character)
        heard = place % 2 == 1 or place == len(line) - 1
        tones.append({Tone.LEVEL: OBLIQUE, Tone.OBLIQUE: LEVEL}.get(tone, FREE) if heard else FREE)
    return "".join(tones)
