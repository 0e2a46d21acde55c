"""Judge a poem by the rules of its form or tune: line lengths, tones, rhymes, repetition. Imports no torch.

A regulated poem is judged by the alternation of tones that its own lines begin, a ci by the pattern of its tune. A poem
of regulated shape that breaks the alternation too often for slips reads as verse in the old style (古体): its tones are
free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zhseq.errors import InputError
from zhseq.poetry.faults import Fault, Review
from zhseq.poetry.forms import form_and_tune, unknown_form, unknown_shape
from zhseq.poetry.prosody import CI, FREE, Pattern, Prosody, TunePattern
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.reading import cut_lines, fold_verse, read_lines, regular_length
from zhseq.poetry.regulated import find_rhymes, in_order, judge_lines, repeated_lines, tone_faults


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
    return judge_lines(lines, prosody, strict=bool(form))


def _nearly_regular(lines: Sequence[str]) -> bool:
    """Tell whether some lines of a regulated poem are only too long or too short."""
    length, count = Counter(map(len, lines)).most_common(1)[0]
    return len(lines) in (4, 8) and length in (5, 7) and 2 * count >= len(lines)


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
    tones = [prosody.sounds(line) for line in lines]
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
            faults += tone_faults(number, line, tones[number], expected[-1])
        elif due:
            faults.append(Fault("line_length_of_tune", number + 1, count=len(line), expected_count=due, tune=tune))
    groups, found = find_rhymes(lines, rhyming, prosody)
    return Review(
        lines=tuple(lines),
        form=CI,
        tune=tune,
        pattern=tune,
        tones=tuple(tones),
        expected=tuple(expected),
        rhymes=tuple(groups),
        rhyming=tuple(rhyming),
        faults=tuple(in_order([*faults, *(f for f in found if isinstance(f, Fault)), *repeated_lines(lines, rhyming)])),
        book=prosody.book,
    )
