"""Faults of poems of 4 or 8 lines of 5 or 7 characters: regulated verse (近体), or verse in the old style (古体)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zhseq.prosody import FREE, LEVEL, OBLIQUE, Prosody
from zhseq.prosody.patterns import FORM_SHAPES
from zhseq.review.faults import Fault, Review, find_rhymes, finished, lyric, repetitions, tone_faults, tones_of
from zhseq.review.old_style import line_starts, reason_for_old_style, turned_end

OLD_STYLE = "古体"
_SECOND_NAMES = {LEVEL: "平起", OBLIQUE: "仄起"}
_OTHER = {LEVEL: OBLIQUE, OBLIQUE: LEVEL}
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
        Fault("form", number + 1, 0, "", f"it has {len(line)} characters, but the poem has lines of {length}")
        for number, line in enumerate(lines)
        if len(line) != length
    ]
    found = _review_regulated(lines, tones, length, faults, prosody)
    reason = "" if strict or faults else reason_for_old_style(tones)
    return _review_old_style(found, reason, prosody) if reason else found


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


def _review_old_style(regulated: Review, reason: str, prosody: Prosody) -> Review:
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
    note = (
        f"reads as old-style verse ({OLD_STYLE}): {reason}; as a {regulated.form} it would have {strict} "
        f"fault{'s' * (strict != 1)} of tone, which --form {regulated.form} lists"
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
            reason = (
                f"its tones do not oppose those of line {number} (失对)"
                if number % 2
                else f"its tones do not take up those of line {number} (失粘)"
            )
            faults.append(Fault("tone", number + 1, 0, "", reason))
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
        return [Fault("tone", number + 1, len(line) - 2, line[-3], "the line ends on three level tones (三平调)")]
    if tones[-5:] == OBLIQUE + LEVEL + OBLIQUE * 2 + LEVEL:
        return [Fault("tone", number + 1, len(line) - 4, line[-5], "it leaves a level tone alone (孤平)")]
    return []
