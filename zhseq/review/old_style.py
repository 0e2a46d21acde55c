"""Tell verse in the old style (古体), which keeps no tone pattern, from regulated verse with faults."""

from __future__ import annotations

from collections.abc import Sequence

from zhseq.prosody import LEVEL, OBLIQUE

_MOST_BREACHES = {(4, 5): 1, (4, 7): 2, (8, 5): 3, (8, 7): 4}
"""Lines and characters -> how often a regulated poem may break the alternation in and between lines before it reads as
verse in the old style. Short lines were written in the old style most often."""
_OTHER = {LEVEL: OBLIQUE, OBLIQUE: LEVEL}


def reason_for_old_style(tones: Sequence[str]) -> str:
    """Return why a poem reads as old-style verse, or nothing if it reads as regulated verse.

    Args:
        tones: Tone of each character, a string of 平, 仄 and 中 for each of 4 or 8 lines.
    """
    ends = [line[-1] for line in tones[1::2]]
    if ends.count(OBLIQUE) > len(ends) / 2:
        return "it rhymes on oblique words"
    if breaches(tones) > _MOST_BREACHES[len(tones), len(tones[0])]:
        return "its tones follow no regulated pattern"
    return ""


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
