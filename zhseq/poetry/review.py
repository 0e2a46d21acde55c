"""Find the faults of a poem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zhseq.errors import InputError, Message
from zhseq.poetry.faults import (
    Fault,
    Review,
    find_rhymes,
    finished,
    lyric,
    read_lines,
    regular_length,
    repetitions,
    tone_faults,
    tones_of,
)
from zhseq.poetry.forms import form_and_tune, unknown_form, unknown_shape
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Pattern, Prosody, TunePattern
from zhseq.poetry.prosody.patterns import FORM_SHAPES

_MOST_BREACHES = {(4, 5): 1, (4, 7): 2, (8, 5): 3, (8, 7): 4}
"""Lines and characters -> how often a regulated poem may break the alternation in and between lines before it reads as
verse in the old style. Short lines were written in the old style most often."""
_OTHER = {LEVEL: OBLIQUE, OBLIQUE: LEVEL}


def reason_for_old_style(tones: Sequence[str]) -> Message | None:
    """Return why a poem reads as old-style verse, or None if it reads as regulated verse.

    Args:
        tones: Tone of each character, a string of 平, 仄 and 中 for each of 4 or 8 lines.
    """
    ends = [line[-1] for line in tones[1::2]]
    if ends.count(OBLIQUE) > len(ends) / 2:
        return Message("oblique_rhymes", "it rhymes on oblique words")
    if breaches(tones) > _MOST_BREACHES[len(tones), len(tones[0])]:
        return Message("no_pattern", "its tones follow no regulated pattern")
    return None


def breaches(tones: Sequence[str]) -> int:
    """Count lines whose tones do not alternate, couplets not opposed (失对) and couplets not linked (失粘)."""
    starts = [line_starts(line) for line in tones]
    count = sum(not found for found in starts)
    for number in range(1, len(starts)):
        before, here = starts[number - 1], starts[number]
        due = {_OTHER[tone] for tone in before} if number % 2 else before
        count += bool(before) and bool(here) and not due & here
    return count


def turned_end(line: str) -> bool:
    """Tell whether a line ends on 平平仄平仄, which stands for 平平平仄仄."""
    return line[-4] != OBLIQUE and line[-3] != LEVEL and line[-2] == LEVEL and line[-1] == OBLIQUE


def line_starts(line: str) -> set[str]:
    """Return the tones that a line may be said to have at its second place so that its even places alternate."""
    heard = line[1:-1:2]
    if turned_end(line):
        heard = heard[:-1]
    found = set()
    for start in (LEVEL, OBLIQUE):
        wanted = [start if place % 2 == 0 else _OTHER[start] for place in range(len(heard))]
        if all(tone != _OTHER[due] for tone, due in zip(heard, wanted, strict=True)):
            found.add(start)
    return found


OLD_STYLE = "古体"
_SECOND_NAMES = {LEVEL: "平起", OBLIQUE: "仄起"}
_FORMS = {shape: form for form, shape in FORM_SHAPES.items()}


def review_lines(lines: Sequence[str], prosody: Prosody, *, strict: bool) -> Review:
    """Judge a poem whose lines are of one length but for slips.

    Args:
        lines: 4 or 8 normalised lines.
        prosody: Tones and rhymes.
        strict: Hold it to the rules of regulated verse even if it reads as verse in the old style.
    """
    length = Counter(map(len, lines)).most_common(1)[0][0]
    tones = [tones_of(line, prosody) for line in lines]
    faults = [
        Fault("line_length", number + 1, count=len(line), expected_count=length)
        for number, line in enumerate(lines)
        if len(line) != length
    ]
    found = _review_regulated(lines, tones, length, faults, prosody)
    reason = None if strict or faults else reason_for_old_style(tones)
    return found if reason is None else _review_old_style(found, reason, prosody)


def _review_regulated(
    lines: Sequence[str], tones: Sequence[str], length: int, faults: Sequence[Fault], prosody: Prosody
) -> Review:
    whole = [len(line) == length for line in lines]
    # The tone of the second character of the first line decides all others; take the one that is broken least.
    second = min((OBLIQUE, LEVEL), key=lambda tone: _broken(tones, _skeleton(len(lines), length, tone), whole))
    skeleton, more = _turned(_skeleton(len(lines), length, second), tones, whole)
    rhyming = [number % 2 for number in range(len(lines))]
    opening = tones[0][-1] == LEVEL
    rhyming[0] = int(opening)
    expected = []
    for number, (line, places) in enumerate(zip(skeleton, tones, strict=True)):
        end = LEVEL if rhyming[number] or number % 2 else OBLIQUE
        # A first line may rhyme or not: only its own end tells.
        wanted = line[:-1] + (FREE if number == 0 and places[-1] == FREE else end)
        expected.append(_excused(wanted, places) if whole[number] else FREE * len(places))
        more += tone_faults(number, lines[number], places, expected[-1])
        more += _tail_faults(number, lines[number], places) if whole[number] else []
    groups, rhyme_faults = find_rhymes(lines, rhyming, prosody, opening=opening)
    more += rhyme_faults + repetitions(lines, rhyming)
    name = f"{_SECOND_NAMES[second]} {'首句入韵' if opening else '首句不入韵'}"
    form = _FORMS[len(lines), length]
    return finished(lines, form, "", name, tones, expected, groups, rhyming, [*faults, *more])


def _review_old_style(regulated: Review, reason: Message, prosody: Prosody) -> Review:
    """Judge verse in the old style: even lines rhyme, on neighbouring groups as well, and no line stands twice.

    Args:
        regulated: What a reader of regulated verse finds in it.
        reason: Why it reads as old-style verse.
        prosody: Tones and rhymes.
    """
    lines, wide = regulated.lines, lyric(prosody)
    rhyming = [number % 2 for number in range(len(lines))]
    same_tone = regulated.tones[0][-1] in (regulated.tones[1][-1], FREE)
    rhyming[0] = int(same_tone and any(wide.rhyme(lines[0][-1], line[-1]) for line in lines[1::2]))
    _, wide_faults = find_rhymes(lines, rhyming, wide)
    groups, _ = find_rhymes(lines, rhyming, prosody)
    faults = wide_faults + repetitions(lines, rhyming, pairs=False)
    strict = sum(fault.kind == "tone" for fault in regulated.faults)
    note = Message(
        "old_style",
        "reads as old-style verse (古体): {reason}; as a {form} it would have {faults}, which <form={form}> lists",
        {
            "reason": reason,
            "form": regulated.form,
            "count": strict,
            "faults": Message("one_tone_fault", "1 fault of tone")
            if strict == 1
            else Message("tone_faults", "{count} faults of tone", {"count": strict}),
        },
    )
    free = [FREE * len(line) for line in lines]
    return finished(lines, regulated.form, "", OLD_STYLE, regulated.tones, free, groups, rhyming, faults, note)


def _turned(skeleton: Sequence[str], tones: Sequence[str], whole: Sequence[bool]) -> tuple[list[str], list[Fault]]:
    """Let lines that alternate in themselves but begin on the other tone keep it, and say where they part.

    Returns:
        The skeleton with those lines turned, and the faults between lines: couplets that are not opposed (失对) and
        couplets that are not linked (失粘).
    """
    result, faults = list(skeleton), []
    for number, line in enumerate(skeleton):
        starts = line_starts(tones[number]) if whole[number] else set()
        if starts and line[1] not in starts:
            result[number] = "".join(_OTHER.get(tone, FREE) for tone in line)
        if number and (result[number][1] == result[number - 1][1]) == bool(number % 2):
            faults.append(Fault("not_opposed" if number % 2 else "not_linked", number + 1, other_line=number))
    return result, faults


def _skeleton(count: int, length: int, second: str) -> list[str]:
    """Return what the alternation asks for at the even places: turned within a line, opposed in a couplet, taken up."""
    result = []
    for number in range(count):
        tone, line = (second if number % 4 in (0, 3) else _OTHER[second]), ""
        for place in range(length):
            heard = place % 2 == 1 and place < length - 1
            line += tone if heard else FREE
            tone = _OTHER[tone] if heard else tone
        result.append(line)
    return result


def _broken(tones: Sequence[str], skeleton: Sequence[str], whole: Sequence[bool]) -> int:
    return sum(
        {a, b} == {LEVEL, OBLIQUE}
        for line, wanted, regular in zip(tones, skeleton, whole, strict=True)
        if regular
        for a, b in zip(line, wanted, strict=True)
    )


def _excused(wanted: str, tones: str) -> str:
    """Return the expectation, or 平平仄平仄 where a line ends so instead of 平平平仄仄, as poets allow themselves."""
    return wanted[:-5] + "中平仄平仄" if wanted[-4:] == "平中仄仄" and turned_end(tones) else wanted


def _tail_faults(number: int, line: str, tones: str) -> list[Fault]:
    """Return three level tones at the end (三平调) and a level tone left alone (孤平)."""
    if tones.endswith(LEVEL * 3):
        return [Fault("three_level_tones", number + 1, len(line) - 2, line[-3])]
    if tones[-5:] == OBLIQUE + LEVEL + OBLIQUE * 2 + LEVEL:
        return [Fault("lonely_level_tone", number + 1, len(line) - 4, line[-5])]
    return []


def review(text: str, prosody: Prosody, tune: TunePattern | None = None, form: str = "") -> Review:
    """Judge one poem.

    Args:
        text: The poem, in any script, with or without punctuation.
        prosody: Tones, rhymes and tunes.
        tune: The tune it is said to follow; by default a regulated form or a tune is told by its lines.
        form: The regulated form to whose rules it is held; by default a poem of its shape that follows none of its
            patterns is judged as verse in the old style (古体), whose tones are free.

    Raises:
        InputError: The text is no poem of a known shape, or not of the shape of the form.
    """
    if form and form not in FORM_SHAPES:
        raise unknown_form(form, FORM_SHAPES)
    if form and tune is not None:
        raise form_and_tune(form, tune.name)
    lines = read_lines(text)
    if not lines:
        raise InputError("no_verse", "there is no Chinese character in this text; expected a poem")
    if tune is not None:
        fitting = _readings(text, tune)
        least = min(_distance(*item) for item in fitting)
        near = [item for item in fitting if _distance(*item) == least]  # patterns of one shape differ in their tones
        found = [_review_pattern(cut, pattern, tune.name, prosody) for cut, pattern in near]
        return min(found, key=lambda each: len(each.faults))
    if not regular_length(lines):
        tunes = [(p, name) for name, each in prosody.tunes.items() for p in (each, *each.variants)]
        same = [(pattern, name) for pattern, name in tunes if _distance(_recut(text, pattern), pattern) == 0]
        if same:
            found = [_review_pattern(_recut(text, pattern), pattern, name, prosody) for pattern, name in same]
            return min(found, key=lambda each: len(each.faults))
        if not _nearly_regular(lines):
            raise unknown_shape(lines)
    if form and len(lines) != FORM_SHAPES[form][0]:
        raise InputError(
            "other_form",
            "a {form} has {expected} lines, but here are {count}; leave <form> out",
            form=form,
            expected=FORM_SHAPES[form][0],
            count=len(lines),
        )
    return review_lines(lines, prosody, strict=bool(form))


def _nearly_regular(lines: Sequence[str]) -> bool:
    """Tell whether some lines of a regulated poem are only too long or too short."""
    length, count = Counter(map(len, lines)).most_common(1)[0]
    return len(lines) in (4, 8) and length in (5, 7) and 2 * count >= len(lines)


def _recut(text: str, pattern: Pattern) -> list[str]:
    return read_lines(text, pattern.line_lengths)


def _readings(text: str, tune: TunePattern) -> list[tuple[list[str], Pattern]]:
    return [(_recut(text, pattern), pattern) for pattern in (tune, *tune.variants)]


def _distance(lines: Sequence[str], pattern: Pattern) -> int:
    lengths = [len(line) for line in lines]
    shared = zip(lengths, pattern.line_lengths, strict=False)
    return sum(a != b for a, b in shared) + abs(len(lengths) - len(pattern.line_lengths))


def _review_pattern(lines: Sequence[str], pattern: Pattern, tune: str, prosody: Prosody) -> Review:
    prosody = lyric(prosody)
    tones = [tones_of(line, prosody) for line in lines]
    lengths = pattern.line_lengths
    faults = []
    if len(lines) != len(lengths):
        code = "missing_lines" if len(lines) < len(lengths) else "surplus_lines"
        faults.append(Fault(code, len(lines), count=len(lines), expected_count=len(lengths), tune=tune))
    expected, rhyming = [], []
    for number, line in enumerate(lines):
        due = number < len(lengths) and len(line) == lengths[number]
        expected.append(pattern.tones[number] if due else FREE * len(line))
        rhyming.append(pattern.rhymes[number] if number < len(lengths) else 0)
        if due:
            faults += tone_faults(number, line, tones[number], expected[-1])
        elif number < len(lengths):
            due_length = lengths[number]
            faults.append(
                Fault("line_length_of_tune", number + 1, count=len(line), expected_count=due_length, tune=tune)
            )
    groups, rhyme_faults = find_rhymes(lines, rhyming, prosody)
    faults += rhyme_faults + repetitions(lines, rhyming)
    return finished(lines, "词", tune, tune, tones, expected, groups, rhyming, faults)
