"""Judge regulated verse and verse in the old style: alternation of tones, rescue (拗救), rhymes. Imports no torch.

As in handbooks, a line is classified by its last five characters and the tone of the second of them: 仄仄平平仄,
平平仄仄平, 平平平仄仄, 仄仄仄平平. A wrong tone (拗) is not a fault if another tone compensates for it (救).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, TypeVar

from zhseq.errors import Message
from zhseq.poetry.faults import Fault, Finding, Remark, Review
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, OPPOSITE, Prosody
from zhseq.poetry.prosody.books import CLASSICAL, LYRIC, MODERN, neighbours
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.reading import BLANK

OLD_STYLE = "古体"
"""Value of `Review.pattern` for a poem whose tones are free."""
CHANGED_RHYME = "换韵"
"""Appended to `OLD_STYLE` if the rhyme changes."""
PROSE, SONG, MIXED = "散文", "曲", "杂言"
"""Values of `Review.form` for prose, for songs, which follow other rules than ci, and for lines of mixed lengths."""
BROKEN_WAIST = "折腰体"
"""A quatrain whose second couplet is not linked to the first by its tones."""

Found = TypeVar("Found", bound=Finding)

_MOST_BREACHES = {5: {4: 1, 8: 3}, 7: {4: 2, 8: 4}}
"""Characters per line -> lines -> violations of the alternation in and between lines that are tolerated. A poem with
more is classified as old-style verse, which most often has short lines."""
_BEGINNINGS = {LEVEL: "平起", OBLIQUE: "仄起"}
_NUMERALS = {5: "五", 7: "七"}
_FEWEST, _LONGEST_LINE, _RHYMED = 4, 12, 0.4  # lines, characters and rhyming lines of verse of mixed lengths
_CHANGED = 0.5  # share of couplets ending on the other tone from which the rhyme is taken to change
_SHORTEST, _LONG = 4, 10  # lines of a quatrain; fewest lines of long regulated verse (排律)


def form_of_lines(count: int, length: int, *, regulated: bool) -> str:
    """Return the name of the form with `count` lines of 5 or 7 characters."""
    named = next((name for name, shape in FORM_SHAPES.items() if shape == (count, length)), "")
    if named:
        return named
    if regulated:
        return _NUMERALS[length] + ("言排律" if count >= _LONG else "言小律")
    return _NUMERALS[length] + "古"


def judge_lines(lines: Sequence[str], prosody: Prosody, *, strict: bool) -> Review:
    """Judge a poem whose lines have one length, 5 or 7 characters, apart from slips.

    Args:
        lines: Normalised lines, at least 4.
        prosody: Tones and rhymes.
        strict: Apply the rules of regulated verse even if the poem reads as old-style verse.
    """
    length = Counter(map(len, lines)).most_common(1)[0][0]
    tones = [prosody.sounds(line) for line in lines]
    faults = [
        Fault("line_length", number + 1, count=len(line), expected_count=length)
        for number, line in enumerate(lines)
        if len(line) != length
    ]
    if len(lines) % 2:
        note = Message(
            "odd_lines",
            "reads as old-style verse (古体): its {count} lines do not form pairs, so its rhymes are not checked",
            {"count": len(lines)},
        )
        form = form_of_lines(len(lines), length, regulated=False)
        return replace(unchecked_review(lines, form, OLD_STYLE, note, prosody), faults=tuple(faults))
    found = _judge_regulated(lines, tones, length, faults, prosody)
    reason = None if strict or faults else _reason_for_old_style(tones)
    if reason is None:
        return found
    values = {"reason": reason, "form": found.form, "faults": _number_of(found.faults)}
    if unrhymed(lines, prosody):
        note = Message(
            "prose",
            "reads as prose: no two of its lines rhyme, and {reason}; "
            "as a {form} it would have {faults}, which <form={form}> lists",
            values,
        )
        return replace(unchecked_review(lines, PROSE, PROSE, note, prosody), otherwise=found)
    if not found.faults:
        note = Message(
            "old_or_regulated",
            "reads as old-style verse (古体): {reason}; it would have no fault as a {form} ({pattern}), either",
            {**values, "pattern": found.pattern},
        )
        return replace(_old_style(lines, tones, prosody), note=note, otherwise=found)
    note = Message(
        "old_style",
        "reads as old-style verse (古体): {reason}; as a {form} it would have {faults}, which <form={form}> lists",
        values,
    )
    return replace(_old_style(lines, tones, prosody), note=note, otherwise=found)


def _number_of(faults: Sequence[Fault]) -> Message:
    """Return the number of faults in words."""
    if len(faults) == 1:
        return Message("one_fault", "1 fault")
    return Message("fault_count", "{count} faults", {"count": len(faults)})


# Regulated verse.


@dataclass(frozen=True)
class _Reading:
    """Expected tones of a line and the findings about it."""

    expected: str
    findings: tuple[Finding, ...]


def _judge_regulated(
    lines: Sequence[str], tones: Sequence[str], length: int, faults: Sequence[Fault], prosody: Prosody
) -> Review:
    """Judge a poem as regulated verse; `faults` are the line lengths that are wrong."""
    whole = [len(line) == length for line in lines]
    rhyme_tone = tone_of_rhyme(tones)
    starts = [_possible_starts(tones, number) if fits else set() for number, fits in enumerate(whole)]
    first = _first_start(starts)
    dues, between = _required_second_tones(starts, first)
    opening = tones[0][-1] == rhyme_tone
    rhyming = [number % 2 for number in range(len(lines))]
    rhyming[0] = int(opening)
    expected: list[str] = []
    findings: list[Finding] = [*faults]
    for number, line in enumerate(lines):
        end = rhyme_tone if rhyming[number] else OPPOSITE[rhyme_tone]
        if number == 0 and tones[0][-1] == FREE:
            end = FREE
        reading = (
            _read_line(lines, tones, number, dues[number], end) if whole[number] else _Reading(FREE * len(line), ())
        )
        expected.append(reading.expected)
        findings += reading.findings
    rhymes, of_rhyme = find_rhymes(lines, rhyming, prosody, opening=opening)
    findings += [*of_rhyme, *repeated_lines(lines, rhyming), *repeated_pairs(lines)]
    waist = len(lines) == _SHORTEST and [fault.line for fault in between] == [3]
    findings += [Remark("broken_waist", 3)] if waist else between
    parts = (_BEGINNINGS[first], "首句入韵" if opening else "首句不入韵", "仄韵" * (rhyme_tone == OBLIQUE))
    return Review(
        lines=tuple(lines),
        form=form_of_lines(len(lines), length, regulated=True),
        tune="",
        pattern=" ".join(filter(None, (*parts, BROKEN_WAIST * waist))),
        tones=tuple(tones),
        expected=tuple(expected),
        rhymes=tuple(rhymes),
        rhyming=tuple(rhyming),
        faults=tuple(each for each in sort_findings(findings) if isinstance(each, Fault)),
        remarks=tuple(each for each in sort_findings(findings) if isinstance(each, Remark)),
        book=prosody.book,
    )


def tone_of_rhyme(tones: Sequence[str]) -> str:
    """Return the tone on which the even lines of a poem end."""
    ends = [line[-1] for line in tones[1::2]]
    return OBLIQUE if ends.count(OBLIQUE) > len(ends) / 2 else LEVEL


def _first_start(starts: Sequence[set[str]]) -> str:
    """Return the tone that begins the pattern: that of the first line if unambiguous, else that of most lines."""
    if len(starts[0]) == 1:
        return next(iter(starts[0]))
    votes = Counter[str]()
    for number, found in enumerate(starts):
        if len(found) == 1:
            tone = next(iter(found))
            votes[tone if number % 4 in (0, 3) else OPPOSITE[tone]] += 1
    return LEVEL if votes[LEVEL] > votes[OBLIQUE] else OBLIQUE


def _required_second_tones(starts: Sequence[set[str]], first: str) -> tuple[list[str], list[Fault]]:
    """Return the required tone of the second position of each line, and the faults between lines.

    A line that alternates keeps its own tone, even if it does not oppose (失对) or link to (失粘) the line before. Any
    other line is expected to have the tone that the line before requires.
    """
    dues: list[str] = []
    faults: list[Fault] = []
    for number, found in enumerate(starts):
        tone = first if number == 0 else OPPOSITE[dues[-1]] if number % 2 else dues[-1]
        if found and tone not in found:
            faults.append(Fault("not_opposed" if number % 2 else "not_linked", number + 1, other_line=number))
            tone = OPPOSITE[tone]
        dues.append(tone)
    return dues, faults


def _possible_starts(tones: Sequence[str], number: int) -> set[str]:
    """Return the tones of the second position for which the even positions of a line alternate."""
    line = tones[number]
    heard = line[1:-1:2]
    if _ends_in_exchanged_tones(line) or _rescues(tones, number):
        heard = heard[:-1]
    found = set()
    for start in (LEVEL, OBLIQUE):
        wanted = [start if position % 2 == 0 else OPPOSITE[start] for position in range(len(heard))]
        if all(tone != OPPOSITE[due] for tone, due in zip(heard, wanted, strict=True)):
            found.add(start)
    return found


def _ends_in_exchanged_tones(tones: str) -> bool:
    """Return whether a line ends in 平仄平仄, the end of 平平仄平仄, an accepted variant of 平平平仄仄."""
    return tones[-4] != OBLIQUE and tones[-3] != LEVEL and tones[-2] == LEVEL and tones[-1] != LEVEL


def _rescues(tones: Sequence[str], number: int) -> bool:
    """Return whether the next line compensates for 仄仄平仄仄, 仄仄仄仄仄 etc. by the level tone of 平平平仄平."""
    if number % 2 or number + 1 >= len(tones):
        return False
    upper, lower = tones[number], tones[number + 1]
    broken = upper[-4] != LEVEL and upper[-2] == OBLIQUE and upper[-1] != LEVEL
    answer = len(lower) == len(upper) and lower[-4] != OBLIQUE and lower[-3] != OBLIQUE
    return broken and answer and lower[-2] == OBLIQUE and lower[-1] != OBLIQUE


def _read_line(lines: Sequence[str], tones: Sequence[str], number: int, start: str, end: str) -> _Reading:
    """Judge one line of regulated verse.

    Args:
        lines: The poem.
        tones: Its tones.
        number: Number of the line, from 0.
        start: Tone required at its second position.
        end: Tone required at its end; 中: either.
    """
    line, own = lines[number], tones[number]
    last = len(line) - 5  # index of the first of the last five characters
    inner = OPPOSITE[start] if last else start  # the tone required at the second of them
    demanded = (FREE + start if last else "") + f"中{inner}中{OPPOSITE[inner]}{end}"
    findings: list[Finding] = []
    core = own[last:]
    if inner == LEVEL and end != LEVEL and _ends_in_exchanged_tones(own):
        demanded = demanded[:-3] + OBLIQUE + LEVEL + demanded[-1]
        findings.append(Remark("turned_end", number + 1, last + 4, line[last + 3]))
    elif inner == OBLIQUE and end != LEVEL:
        demanded, answered = _read_open(lines, tones, number, demanded)
        findings += answered
    elif end == LEVEL and inner == LEVEL and core[0] == OBLIQUE and core[1] == LEVEL:
        demanded = demanded[:-3] + LEVEL + demanded[-2:]
        if core[2:] == "仄仄平":
            findings.append(Fault("lonely_level_tone", number + 1, last + 1, line[last]))
        elif core[2] == LEVEL:
            findings.append(
                Remark("rescued_within", number + 1, last + 1, line[last], other_line=number + 1, text=line[last + 2])
            )
    elif end == LEVEL and inner == OBLIQUE:
        demanded = demanded[:-3] + OBLIQUE + demanded[-2:]
    if own.endswith(LEVEL * 3) and end == LEVEL:
        findings.append(Fault("three_level_tones", number + 1, last + 3, line[last + 2]))
    told = {finding.position - 1 for finding in findings if isinstance(finding, Fault)} | {last + 2, last}
    findings += [fault for fault in tone_faults(number, line, own, demanded) if fault.position - 1 not in told]
    return _Reading(demanded, tuple(findings))


def _read_open(lines: Sequence[str], tones: Sequence[str], number: int, demanded: str) -> tuple[str, list[Finding]]:
    """Judge a line of the type 仄仄平平仄, which the next line may rescue; return the required tones and findings."""
    line, own = lines[number], tones[number]
    last = len(line) - 5
    if _rescues(tones, number):
        answer = lines[number + 1][-3]
        said = Remark("rescued_by_next", number + 1, last + 4, line[last + 3], other_line=number + 2, text=answer)
        return demanded[:-2] + OBLIQUE + demanded[-1], [said]
    if own[last + 2 :] == "仄平仄":
        lower = tones[number + 1] if number + 1 < len(tones) else ""
        if len(lower) == len(own) and lower[-4] == LEVEL and lower[-3] == LEVEL and lower[-2] == OBLIQUE:
            answer = lines[number + 1][-3]
            said = Remark("lonely_rescued", number + 1, last + 3, line[last + 2], other_line=number + 2, text=answer)
            return demanded, [said]
        return demanded, [Remark("lonely_open", number + 1, last + 3, line[last + 2])]
    return demanded, []


# Several poems of one line length without a blank line between them.


def poems_run_together(lines: Sequence[str], whole: Review, prosody: Prosody) -> Review | None:
    """Judge a text as several poems of four or eight lines in a row, or return None if it is one poem.

    The text is split if the parts have at least two faults fewer than the whole and each part after the first has
    another rhyme than the part before it or a rhyming first line.

    Args:
        lines: Lines of one length, 5 or 7.
        whole: The text judged as one poem.
        prosody: Tones and rhymes.
    """
    cuts = _fewest_faults(lines, prosody) if len(lines) % _SHORTEST == 0 and whole.faults else []
    if len(cuts) < 2 or not all(_has_new_rhyme(one.lines, other.lines, prosody) for one, other in pairwise(cuts)):
        return None
    count = sum(len(part.faults) for part in cuts)
    return _joined(cuts, prosody) if len(whole.faults) >= 2 + count else None


def _fewest_faults(lines: Sequence[str], prosody: Prosody) -> list[Review]:
    """Cut a text into poems of 4 and 8 lines with the fewest faults; of equal cuts, take the one with fewest poems."""
    best: dict[int, tuple[float, int, list[Review]]] = {0: (0, 0, [])}
    for end in range(_SHORTEST, len(lines) + 1, _SHORTEST):
        for size in (_SHORTEST, 2 * _SHORTEST):
            if size > end or size == len(lines):
                continue
            cost, count, before = best[end - size]
            part = judge_lines(lines[end - size : end], prosody, strict=False)
            cost += len(part.faults) if part.form != PROSE else len(lines)
            if end not in best or (cost, count + 1) < best[end][:2]:
                best[end] = (cost, count + 1, [*before, part])
    return best[len(lines)][2] if len(lines) in best else []


def _has_new_rhyme(before: Sequence[str], after: Sequence[str], prosody: Prosody) -> bool:
    """Return whether a part of a text has another rhyme than the part before it, or rhymes again in its first line."""
    if not prosody.lyric().rhyme(before[1][-1], after[1][-1]):
        return True
    return tone_of_rhyme([prosody.sounds(line) for line in after]) == LEVEL and prosody.rhyme(
        after[0][-1], after[1][-1]
    )


def _joined(parts: Sequence[Review], prosody: Prosody) -> Review:
    """Return the reviews of several poems as one review, whose note names them."""
    forms = list(dict.fromkeys(part.form for part in parts))
    lines = [line for part in parts for line in part.lines]
    starts = [0, *accumulate(len(part.lines) for part in parts)]
    same = all(part.book == prosody.book for part in parts)
    if len(forms) == 2 == len(parts):
        told = two_poems(lines, forms[0], forms[1], prosody)
    else:
        form = forms[0] if len(forms) == 1 else MIXED
        told = several_poems(lines, form, "、".join(forms), len(parts), prosody)
    return replace(
        told,
        expected=tuple(line for part in parts for line in part.expected),
        rhymes=tuple(group for part in parts for group in part.rhymes) if same else (-1,) * starts[-1],
        faults=tuple(shifted(each, start) for start, part in zip(starts, parts, strict=False) for each in part.faults),
        remarks=tuple(
            shifted(each, start) for start, part in zip(starts, parts, strict=False) for each in part.remarks
        ),
    )


def shifted(finding: Found, lines: int) -> Found:
    """Return a finding of a part of a text with its line numbers increased by `lines`."""
    return replace(finding, line=finding.line + lines, other_line=finding.other_line and finding.other_line + lines)


def two_poems(lines: Sequence[str], first: str, second: str, prosody: Prosody) -> Review:
    """Return a review whose note says that a text is two poems of different forms or tunes."""
    note = Message(
        "forms_run_together",
        "reads as a {first} and a {second} run together; separate them with a blank line",
        {"first": first, "second": second},
    )
    return unchecked_review(lines, MIXED, MIXED, note, prosody)


def several_poems(lines: Sequence[str], form: str, name: str, count: int, prosody: Prosody) -> Review:
    """Return a review whose note says that a text is `count` poems of a form or to a tune."""
    note = Message(
        "poems_run_together",
        "reads as {count} {form} run together; separate them with a blank line",
        {"count": count, "form": name},
    )
    return unchecked_review(lines, form, name, note, prosody)


# Verse in the old style.


def _old_style(lines: Sequence[str], tones: Sequence[str], prosody: Prosody) -> Review:
    """Judge old-style verse: even lines rhyme, also across neighbouring groups, and no line is repeated.

    The rhyme may change (换韵): a line that rhymes with a nearby line need not rhyme with the others.
    """
    wide = prosody.lyric()
    rhyming = [number % 2 for number in range(len(lines))]
    same_tone = tones[0][-1] in (tones[1][-1], FREE)
    rhyming[0] = int(same_tone and any(wide.rhyme(lines[0][-1], line[-1]) for line in lines[1::2]))
    groups, of_rhyme = find_rhymes(lines, rhyming, wide)
    alone = [each for each in of_rhyme if not _rhymes_nearby(lines, each.line - 1, wide)]
    changes, of_rhyme = len(alone) < len(of_rhyme), alone
    if changes:
        groups = [(wide.groups(line[-1]) or (-1,))[0] if number % 2 else -1 for number, line in enumerate(lines)]
    elif not of_rhyme:
        groups, _ = find_rhymes(lines, rhyming, prosody)
    again = repeated_lines(lines, rhyming)
    findings = sort_findings([*of_rhyme, *(_as_remark(each) if len(lines) > _SHORTEST else each for each in again)])
    return Review(
        lines=tuple(lines),
        form=form_of_lines(len(lines), len(lines[0]), regulated=False),
        tune="",
        pattern=f"{OLD_STYLE} {CHANGED_RHYME}" if changes else OLD_STYLE,
        tones=tuple(tones),
        expected=tuple(FREE * len(line) for line in lines),
        rhymes=tuple(groups),
        rhyming=tuple(rhyming),
        faults=tuple(each for each in findings if isinstance(each, Fault)),
        remarks=tuple(each for each in findings if isinstance(each, Remark)),
        book=wide.book if of_rhyme or changes else prosody.book,
    )


def _as_remark(fault: Fault) -> Finding:
    """Return a repeated rhyme word as a remark: it is not a fault in old-style verse longer than a quatrain."""
    if fault.code != "repeated_rhyme_word":
        return fault
    return Remark("rhyme_word_again", fault.line, fault.position, fault.character, other_line=fault.other_line)


def _rhymes_nearby(lines: Sequence[str], number: int, prosody: Prosody) -> bool:
    """Return whether line `number`, from 0, rhymes with the line before it or with a line two before or after it."""
    near = (number - 2, number - 1, number + 2)
    return any(0 <= other < len(lines) and prosody.rhyme(lines[number][-1], lines[other][-1]) for other in near)


def judge_mixed(lines: Sequence[str], prosody: Prosody) -> Review | None:
    """Judge verse with lines of different lengths (杂言), or return None if too few lines rhyme for verse."""
    if not len(lines) >= _FEWEST or max(map(len, lines)) > _LONGEST_LINE:
        return None
    wide = prosody.lyric()
    ends = [set(wide.groups(line[-1])) for line in lines]
    rhymed = sum(any(ends[n] & other for other in ends[max(0, n - 3) : n]) for n in range(1, len(lines)))
    if rhymed < _RHYMED * (len(lines) - 1):
        return None
    note = Message("mixed_lengths", "read as verse of mixed lengths (杂言), whose tones and rhymes are free")
    return unchecked_review(lines, MIXED, OLD_STYLE, note, prosody)


def judge_song(lines: Sequence[str], song: str, prosody: Prosody) -> Review:
    """Return a review whose note says that a text is a song (曲); its tones and rhymes are not judged."""
    note = Message(
        "song",
        "read as {song}, a tune of songs (曲), whose tones and rhymes differ from those of ci and are not checked",
        {"song": song},
    )
    return unchecked_review(lines, SONG, song, note, prosody)


def unchecked_review(lines: Sequence[str], form: str, pattern: str, note: Message, prosody: Prosody) -> Review:
    """Return a review without required tones, rhymes and faults, for a text that is only classified."""
    return Review(
        lines=tuple(lines),
        form=form,
        tune="",
        pattern=pattern,
        tones=tuple(prosody.sounds(line) for line in lines),
        expected=tuple(FREE * len(line) for line in lines),
        rhymes=(-1,) * len(lines),
        rhyming=(0,) * len(lines),
        faults=(),
        note=note,
        book=prosody.book,
    )


def unrhymed(lines: Sequence[str], prosody: Prosody) -> bool:
    """Return whether no line rhymes with the next or the one after it, by the rhymes of ci or modern ones."""
    books = [prosody.lyric(), *(view for name, view in prosody.views.items() if name == MODERN)]
    for book in books:
        names = _parts(book) if book.book == LYRIC else [group.title or group.name for group in book.rhyme_groups]
        ends = [{names[group] for group in book.groups(line[-1])} for line in lines]
        if not all(ends[1::2]) or any(one & other for n in (1, 2) for one, other in zip(ends[n:], ends, strict=False)):
            return False
    return True


def _reason_for_old_style(tones: Sequence[str]) -> Message | None:
    """Return why a poem reads as old-style verse, or None if it reads as regulated verse.

    Args:
        tones: One string of 平, 仄 and 中 per line, one sign per character; an even number of lines.
    """
    breaches = _count_breaches(tones)
    if tone_of_rhyme(tones) == OBLIQUE and (breaches or any(line[-1] == OBLIQUE for line in tones[2::2])):
        return Message("oblique_rhymes", "it rhymes on oblique words")
    changed = sum(line[-1] == OPPOSITE[tone_of_rhyme(tones)] for line in tones[1::2])
    if len(tones) > _SHORTEST and changed >= _CHANGED * len(tones) / 2:
        return Message("changed_rhyme", "its rhyme changes")
    known, length = _MOST_BREACHES[len(tones[0])], len(tones)
    if breaches > known.get(length, known[8] * length // 8):
        return Message("no_pattern", "its tones follow no regulated pattern")
    return None


def _count_breaches(tones: Sequence[str]) -> int:
    """Count lines whose tones do not alternate, lines not opposed (失对) and lines not linked (失粘)."""
    starts = [_possible_starts(tones, number) for number in range(len(tones))]
    count = sum(not found for found in starts)
    for number in range(1, len(starts)):
        before, here = starts[number - 1], starts[number]
        due = {OPPOSITE[tone] for tone in before} if number % 2 else before
        count += bool(before) and bool(here) and not due & here
    return count


# Rules of all verse.


def tone_faults(number: int, line: str, tones: str, expected: str) -> list[Fault]:
    """Return a fault for each position of line `number` (from 0) with the opposite of the expected tone."""
    return [
        Fault("wrong_tone", number + 1, position + 1, line[position], tone=tone, expected=due)
        for position, (tone, due) in enumerate(zip(tones, expected, strict=True))
        if {tone, due} == {LEVEL, OBLIQUE}
    ]


def find_rhymes(
    lines: Sequence[str], rhyming: Sequence[int], prosody: Prosody, *, opening: bool = False
) -> tuple[list[int], list[Finding]]:
    """Return the rhyme group of each line, and findings for rhyme words outside the group of their rhyme.

    Args:
        lines: The poem.
        rhyming: Rhyme class of each line, 0 for none.
        prosody: Rhyme groups.
        opening: The first line may rhyme with a neighbouring group (首句邻韵), as it may in regulated verse.
    """
    groups: list[int] = [-1] * len(lines)
    findings: list[Finding] = []
    for rhyme in sorted(set(rhyming) - {0}):
        members = [number for number, class_ in enumerate(rhyming) if class_ == rhyme]
        known = [number for number in members if lines[number][-1] != BLANK and prosody.groups(lines[number][-1])]
        parts = _parts(prosody)
        votes = Counter(group for number in known for group in _readings(lines[number][-1], prosody))
        if not votes:
            continue
        if opening and len(known) > 2:  # the other lines determine the group, the first one does not
            votes.subtract(_readings(lines[known[0]][-1], prosody) if known[0] == 0 else ())
        due = prosody.rhyme_groups[votes.most_common(1)[0][0]]
        for number in known:
            word = lines[number][-1]
            own = prosody.groups(word)
            groups[number] = next((group for group in own if parts[group] == parts[due.id]), own[0])
            if parts[groups[number]] == parts[due.id]:
                continue
            values: dict[str, Any] = {"line": number + 1, "position": len(lines[number]), "character": word}
            values["group"] = due.full_name
            near = next((group for group in own if number == 0 and opening and _near(prosody, group, due.id)), None)
            if near is None:
                findings.append(Fault("no_rhyme", **values))
            else:
                groups[number] = near
                findings.append(Remark("neighbouring_rhyme", **values, text=prosody.rhyme_groups[near].full_name))
    return groups, findings


@lru_cache(maxsize=8)
def _parts(prosody: Prosody) -> tuple[str, ...]:
    """Return for each group the unit of comparison: several learned groups may belong to one part (部) of ci."""
    return tuple(
        group.title.split(" ")[0] if prosody.book == LYRIC and group.title else str(group.id)
        for group in prosody.rhyme_groups
    )


def _readings(word: str, prosody: Prosody) -> set[int]:
    """Return the groups that a rhyme word votes for, one per part."""
    parts = _parts(prosody)
    return set({parts[group]: parts.index(parts[group]) for group in prosody.groups(word)}.values())


def _near(prosody: Prosody, one: int, other: int) -> bool:
    """Return whether two groups are neighbours: by their names in the book, else if they rhyme in ci."""
    first, second = prosody.rhyme_groups[one], prosody.rhyme_groups[other]
    if prosody.book == CLASSICAL and first.title and second.title:
        return neighbours(first.title, second.title)
    return prosody.lyric().rhyme(*((group.certain or group.characters)[0] for group in (first, second)))


def repeated_lines(lines: Sequence[str], rhyming: Sequence[int]) -> list[Fault]:
    """Return faults for lines and rhyme words that occur twice."""
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
    return faults


def repeated_pairs(lines: Sequence[str]) -> list[Remark]:
    """Return remarks for character pairs that occur in two lines: no rule forbids them, but they may be unintended."""
    remarks = []
    first: dict[str, int] = {}  # line of each pair, from 1
    for number, line in enumerate(lines, start=1):
        end, pairs = 0, [line[position : position + 2] for position in range(len(line) - 1)]
        known = line in lines[: number - 1]
        for position, pair in enumerate(pairs):
            found = first.get(pair, 0)
            if found and position >= end and BLANK not in pair and len(set(pair)) > 1 and not known:
                remarks.append(
                    Remark("repeated_pair", number, position + 1, line[position], other_line=found, text=pair)
                )
                end = position + 2
        for pair in pairs:
            first.setdefault(pair, number)
    return remarks


def sort_findings(findings: Sequence[Found]) -> list[Found]:
    """Return findings sorted by line and position."""
    return sorted(findings, key=lambda finding: (finding.line, finding.position))
