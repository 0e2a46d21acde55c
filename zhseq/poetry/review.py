"""Judge a poem by the rules of its form or tune: line lengths, tones, rhymes, repetition. Imports no torch.

A regulated poem is judged by the alternation of tones that its own lines begin, a ci by the pattern of its tune. A poem
of regulated shape that breaks the alternation too often for slips reads as verse in the old style (古体): its tones are
free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zhseq.errors import InputError, Message
from zhseq.poetry.faults import Fault, Review
from zhseq.poetry.forms import form_and_tune, form_of_shape, unknown_form, unknown_shape
from zhseq.poetry.prosody import CI, FREE, LEVEL, OBLIQUE, OPPOSITE, Pattern, Prosody, Tone, TunePattern
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.reading import BLANK, cut_lines, fold_verse, read_lines, regular_length

OLD_STYLE = "古体"
"""The pattern of a poem whose tones are free."""

_MOST_BREACHES = {(4, 5): 1, (4, 7): 2, (8, 5): 3, (8, 7): 4}
"""Lines and characters -> how often a regulated poem may break the alternation in and between lines before it reads as
verse in the old style. Short lines were written in the old style most often."""
_SECOND_NAMES = {LEVEL: "平起", OBLIQUE: "仄起"}


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
    folded, lines = fold_verse(text), read_lines(text)
    if not lines:
        raise InputError("no_verse", "there is no Chinese character in this text; expected a poem")
    if tune is not None:
        return _review_tune(folded, [tune], prosody)
    if not regular_length(lines):
        exact = [each for each in prosody.tunes.values() if _distance_to_tune(folded, each) == 0]
        if exact:
            return _review_tune(folded, exact, prosody)
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
    return _review_regular(lines, prosody, strict=bool(form))


def _nearly_regular(lines: Sequence[str]) -> bool:
    """Tell whether some lines of a regulated poem are only too long or too short."""
    length, count = Counter(map(len, lines)).most_common(1)[0]
    return len(lines) in (4, 8) and length in (5, 7) and 2 * count >= len(lines)


# Regulated verse and verse in the old style.


def _review_regular(lines: Sequence[str], prosody: Prosody, *, strict: bool) -> Review:
    """Judge a poem whose lines are of one length but for slips.

    Args:
        lines: 4 or 8 normalised lines.
        prosody: Tones and rhymes.
        strict: Hold it to the rules of regulated verse even if it reads as verse in the old style.
    """
    length = Counter(map(len, lines)).most_common(1)[0][0]
    tones = [_tones_of(line, prosody) for line in lines]
    faults = [
        Fault("line_length", number + 1, count=len(line), expected_count=length)
        for number, line in enumerate(lines)
        if len(line) != length
    ]
    found = _review_regulated(lines, tones, length, faults, prosody)
    reason = None if strict or faults else _reason_for_old_style(tones)
    return found if reason is None else _review_old_style(found, reason, prosody)


def _review_regulated(
    lines: Sequence[str], tones: Sequence[str], length: int, faults: Sequence[Fault], prosody: Prosody
) -> Review:
    """Judge a poem as regulated verse; `faults` are those of its line lengths."""
    whole = [len(line) == length for line in lines]
    # The tone of the second character of the first line decides all others; take the one that is broken least.
    second = min((OBLIQUE, LEVEL), key=lambda tone: _count_broken(tones, _skeleton(len(lines), length, tone), whole))
    skeleton, more = _turned(_skeleton(len(lines), length, second), tones, whole)
    rhyming = [number % 2 for number in range(len(lines))]
    opening = tones[0][-1] == LEVEL
    rhyming[0] = int(opening)
    expected = []
    for number, (wanted, found) in enumerate(zip(skeleton, tones, strict=True)):
        end = LEVEL if rhyming[number] or number % 2 else OBLIQUE
        # A first line may rhyme or not: only its own end tells.
        wanted = wanted[:-1] + (FREE if number == 0 and found[-1] == FREE else end)
        expected.append(_excused(wanted, found) if whole[number] else FREE * len(found))
        more += _tone_faults(number, lines[number], found, expected[-1])
        more += _tail_faults(number, lines[number], found) if whole[number] else []
    groups, rhyme_faults = _find_rhymes(lines, rhyming, prosody, opening=opening)
    return Review(
        lines=tuple(lines),
        form=form_of_shape(len(lines), length),
        tune="",
        pattern=f"{_SECOND_NAMES[second]} {'首句入韵' if opening else '首句不入韵'}",
        tones=tuple(tones),
        expected=tuple(expected),
        rhymes=tuple(groups),
        rhyming=tuple(rhyming),
        faults=_in_order([*faults, *more, *rhyme_faults, *_repetitions(lines, rhyming)]),
    )


def _review_old_style(regulated: Review, reason: Message, prosody: Prosody) -> Review:
    """Judge verse in the old style: even lines rhyme, on neighbouring groups as well, and no line stands twice.

    Args:
        regulated: The poem judged as regulated verse.
        reason: Why it reads as old-style verse.
        prosody: Tones and rhymes.
    """
    lines, lyric = regulated.lines, prosody.lyric()
    rhyming = [number % 2 for number in range(len(lines))]
    same_tone = regulated.tones[0][-1] in (regulated.tones[1][-1], FREE)
    rhyming[0] = int(same_tone and any(lyric.rhyme(lines[0][-1], line[-1]) for line in lines[1::2]))
    _, rhyme_faults = _find_rhymes(lines, rhyming, lyric)
    groups, _ = _find_rhymes(lines, rhyming, prosody)
    count = sum(fault.kind == "tone" for fault in regulated.faults)
    note = Message(
        "old_style",
        "reads as old-style verse (古体): {reason}; as a {form} it would have {faults}, which <form={form}> lists",
        {
            "reason": reason,
            "form": regulated.form,
            "count": count,
            "faults": Message("one_tone_fault", "1 fault of tone")
            if count == 1
            else Message("tone_faults", "{count} faults of tone", {"count": count}),
        },
    )
    return Review(
        lines=lines,
        form=regulated.form,
        tune="",
        pattern=OLD_STYLE,
        tones=regulated.tones,
        expected=tuple(FREE * len(line) for line in lines),
        rhymes=tuple(groups),
        rhyming=tuple(rhyming),
        faults=_in_order([*rhyme_faults, *_repetitions(lines, rhyming, pairs=False)]),
        note=note,
    )


def _reason_for_old_style(tones: Sequence[str]) -> Message | None:
    """Return why a poem reads as old-style verse, or None if it reads as regulated verse.

    Args:
        tones: Tone of each character, a string of 平, 仄 and 中 for each of 4 or 8 lines.
    """
    ends = [line[-1] for line in tones[1::2]]
    if ends.count(OBLIQUE) > len(ends) / 2:
        return Message("oblique_rhymes", "it rhymes on oblique words")
    if _count_breaches(tones) > _MOST_BREACHES[len(tones), len(tones[0])]:
        return Message("no_pattern", "its tones follow no regulated pattern")
    return None


def _count_breaches(tones: Sequence[str]) -> int:
    """Count lines whose tones do not alternate, couplets not opposed (失对) and couplets not linked (失粘)."""
    starts = [_possible_starts(line) for line in tones]
    count = sum(not found for found in starts)
    for number in range(1, len(starts)):
        before, here = starts[number - 1], starts[number]
        due = {OPPOSITE[tone] for tone in before} if number % 2 else before
        count += bool(before) and bool(here) and not due & here
    return count


def _possible_starts(tones: str) -> set[str]:
    """Return the tones at the second position from which the even positions of a line may be said to alternate."""
    heard = tones[1:-1:2]
    if _is_turned_end(tones):
        heard = heard[:-1]
    found = set()
    for start in (LEVEL, OBLIQUE):
        wanted = [start if position % 2 == 0 else OPPOSITE[start] for position in range(len(heard))]
        if all(tone != OPPOSITE[due] for tone, due in zip(heard, wanted, strict=True)):
            found.add(start)
    return found


def _is_turned_end(tones: str) -> bool:
    """Tell whether a line ends on 平平仄平仄, which stands for 平平平仄仄."""
    return tones[-4] != OBLIQUE and tones[-3] != LEVEL and tones[-2] == LEVEL and tones[-1] == OBLIQUE


def _skeleton(count: int, length: int, second: str) -> list[str]:
    """Return the tones due at the even positions: alternating in a line, opposed in a couplet, taken up by the next."""
    result = []
    for number in range(count):
        tone, line = (second if number % 4 in (0, 3) else OPPOSITE[second]), ""
        for position in range(length):
            heard = position % 2 == 1 and position < length - 1
            line += tone if heard else FREE
            tone = OPPOSITE[tone] if heard else tone
        result.append(line)
    return result


def _count_broken(tones: Sequence[str], skeleton: Sequence[str], whole: Sequence[bool]) -> int:
    """Count the positions of lines of the due length whose tone is not that of the skeleton."""
    return sum(
        {found, due} == {LEVEL, OBLIQUE}
        for line, wanted, regular in zip(tones, skeleton, whole, strict=True)
        if regular
        for found, due in zip(line, wanted, strict=True)
    )


def _turned(skeleton: Sequence[str], tones: Sequence[str], whole: Sequence[bool]) -> tuple[list[str], list[Fault]]:
    """Turn the lines of a skeleton that alternate in themselves but begin on the other tone.

    Returns:
        The skeleton with those lines turned, and the faults between lines: couplets that are not opposed (失对) and
        couplets that are not linked (失粘).
    """
    result, faults = list(skeleton), []
    for number, line in enumerate(skeleton):
        starts = _possible_starts(tones[number]) if whole[number] else set()
        if starts and line[1] not in starts:
            result[number] = "".join(OPPOSITE.get(tone, FREE) for tone in line)
        if number and (result[number][1] == result[number - 1][1]) == bool(number % 2):
            faults.append(Fault("not_opposed" if number % 2 else "not_linked", number + 1, other_line=number))
    return result, faults


def _excused(wanted: str, tones: str) -> str:
    """Return the expectation, or 平平仄平仄 where a line ends so instead of 平平平仄仄, as poets allow themselves."""
    return wanted[:-5] + "中平仄平仄" if wanted[-4:] == "平中仄仄" and _is_turned_end(tones) else wanted


def _tail_faults(number: int, line: str, tones: str) -> list[Fault]:
    """Return three level tones at the end (三平调) and a level tone left alone (孤平)."""
    if tones.endswith(LEVEL * 3):
        return [Fault("three_level_tones", number + 1, len(line) - 2, line[-3])]
    if tones[-5:] == OBLIQUE + LEVEL + OBLIQUE * 2 + LEVEL:
        return [Fault("lonely_level_tone", number + 1, len(line) - 4, line[-5])]
    return []


# Ci.


def _review_tune(folded: str, tunes: Sequence[TunePattern], prosody: Prosody) -> Review:
    """Judge a ci by the nearest pattern of some tunes: that of its line lengths, and of those the one it keeps best."""
    readings = [
        (cut_lines(folded, pattern.line_lengths), pattern, tune.name) for tune in tunes for pattern in _patterns(tune)
    ]
    distances = [_distance(lines, pattern) for lines, pattern, _ in readings]
    least = min(distances)
    found = [
        _review_pattern(lines, pattern, name, prosody.lyric())
        for (lines, pattern, name), distance in zip(readings, distances, strict=True)
        if distance == least
    ]
    return min(found, key=lambda each: len(each.faults))


def _patterns(tune: TunePattern) -> tuple[Pattern, ...]:
    return (tune, *tune.variants)


def _distance_to_tune(folded: str, tune: TunePattern) -> int:
    return min(_distance(cut_lines(folded, pattern.line_lengths), pattern) for pattern in _patterns(tune))


def _distance(lines: Sequence[str], pattern: Pattern) -> int:
    """Count the lines that have not the length of a pattern, those that are missing or too many among them."""
    lengths = [len(line) for line in lines]
    shared = zip(lengths, pattern.line_lengths, strict=False)
    return sum(a != b for a, b in shared) + abs(len(lengths) - len(pattern.line_lengths))


def _review_pattern(lines: Sequence[str], pattern: Pattern, tune: str, prosody: Prosody) -> Review:
    """Judge lines by one pattern of a tune."""
    tones = [_tones_of(line, prosody) for line in lines]
    lengths = pattern.line_lengths
    faults, expected, rhyming = [], [], []
    if len(lines) != len(lengths):
        code = "missing_lines" if len(lines) < len(lengths) else "surplus_lines"
        faults.append(Fault(code, len(lines), count=len(lines), expected_count=len(lengths), tune=tune))
    for number, line in enumerate(lines):
        due = lengths[number] if number < len(lengths) else 0
        expected.append(pattern.tones[number] if due == len(line) else FREE * len(line))
        rhyming.append(pattern.rhymes[number] if due else 0)
        if due == len(line):
            faults += _tone_faults(number, line, tones[number], expected[-1])
        elif due:
            faults.append(Fault("line_length_of_tune", number + 1, count=len(line), expected_count=due, tune=tune))
    groups, rhyme_faults = _find_rhymes(lines, rhyming, prosody)
    return Review(
        lines=tuple(lines),
        form=CI,
        tune=tune,
        pattern=tune,
        tones=tuple(tones),
        expected=tuple(expected),
        rhymes=tuple(groups),
        rhyming=tuple(rhyming),
        faults=_in_order([*faults, *rhyme_faults, *_repetitions(lines, rhyming)]),
    )


# Rules of all verse.


def _tones_of(line: str, prosody: Prosody) -> str:
    """Return the tone of each character of a line, 中 at marked places."""
    return "".join(Tone.EITHER.value if c == BLANK else prosody.tone_class(c).value for c in line)


def _tone_faults(number: int, line: str, tones: str, expected: str) -> list[Fault]:
    """Return the positions of a line, number `number` from 0, whose tone is not the expected one."""
    return [
        Fault("wrong_tone", number + 1, position + 1, line[position], tone=tone, expected=due)
        for position, (tone, due) in enumerate(zip(tones, expected, strict=True))
        if {tone, due} == {LEVEL, OBLIQUE}
    ]


def _find_rhymes(
    lines: Sequence[str], rhyming: Sequence[int], prosody: Prosody, *, opening: bool = False
) -> tuple[list[int], list[Fault]]:
    """Return the rhyme group of each line, and the words that leave the group of their rhyme.

    Args:
        lines: The poem.
        rhyming: Rhyme class of each line, 0 for none.
        prosody: Rhyme groups.
        opening: The first line may rhyme with a neighbouring group, as it may in regulated verse.
    """
    groups, faults = [-1] * len(lines), []
    for rhyme in sorted(set(rhyming) - {0}):
        members = [number for number, class_ in enumerate(rhyming) if class_ == rhyme]
        known = [number for number in members if lines[number][-1] != BLANK and prosody.groups(lines[number][-1])]
        votes = Counter(group for number in known for group in prosody.groups(lines[number][-1]))
        if not votes:
            continue
        due = prosody.rhyme_groups[votes.most_common(1)[0][0]]
        for number in known:
            word = lines[number][-1]
            groups[number] = due.id if due.id in prosody.groups(word) else prosody.groups(word)[0]
            example = (due.certain or due.characters)[0]
            near = number == 0 and opening and prosody.lyric().rhyme(word, example)
            if groups[number] != due.id and not near:
                faults.append(Fault("no_rhyme", number + 1, len(lines[number]), word, group=due.name))
    return groups, faults


def _repetitions(lines: Sequence[str], rhyming: Sequence[int], *, pairs: bool = True) -> list[Fault]:
    """Return lines, rhyme words and, if asked for, pairs of characters that stand twice."""
    faults = []
    for number, line in enumerate(lines):
        earlier = lines[:number]
        if line in earlier and BLANK not in line:
            faults.append(Fault("repeated_line", number + 1, other_line=earlier.index(line) + 1))
            continue
        word = line[-1]
        twice = [n + 1 for n in range(number) if rhyming[n] and rhyming[n] == rhyming[number] and lines[n][-1] == word]
        if twice and word != BLANK:
            faults.append(Fault("repeated_rhyme_word", number + 1, len(line), word, other_line=twice[0]))
        for position in range(len(line) - 1) if pairs else ():
            pair = line[position : position + 2]
            found = next((n + 1 for n, other in enumerate(earlier) if pair in other), 0)
            if found and BLANK not in pair and len(set(pair)) > 1:
                faults.append(
                    Fault("repeated_pair", number + 1, position + 1, line[position], other_line=found, text=pair)
                )
    return faults


def _in_order(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return faults in the order in which a reader meets them."""
    return tuple(sorted(faults, key=lambda fault: (fault.line, fault.position)))
