"""Find the faults of a poem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zhseq.errors import InputError
from zhseq.prosody import FREE, Pattern, Prosody, TunePattern
from zhseq.prosody.patterns import FORM_SHAPES
from zhseq.review.faults import Fault, Review, find_rhymes, finished, lyric, repetitions, tone_faults, tones_of
from zhseq.review.reading import read_lines, regular_length
from zhseq.review.regulated import review_lines


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
        message = f"there is no regulated form '{form}'; choose one of {', '.join(FORM_SHAPES)}"
        raise InputError(message, code="unknown_form")
    if form and tune is not None:
        message = f"a tune has a form of its own, so --form {form} and --tune {tune.name} exclude each other"
        raise InputError(message, code="form_and_tune")
    lines = read_lines(text)
    if not lines:
        message = "there is no Chinese character in this text; expected a poem"
        raise InputError(message, code="no_verse")
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
            lengths = "、".join(str(len(line)) for line in lines[:12])
            raise InputError(
                "expected a regulated poem (4 or 8 lines of 5 or 7 characters) or a ci to a known tune, but found "
                f"{len(lines)} line{'s' * (len(lines) != 1)} of {lengths} characters; name the tune with --tune",
                code="unknown_shape",
            )
    if form and len(lines) != FORM_SHAPES[form][0]:
        message = f"a {form} has {FORM_SHAPES[form][0]} lines, but here are {len(lines)}; leave --form out"
        raise InputError(message, code="other_form")
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
        faults.append(Fault("form", len(lines), 0, "", f"the poem ends here, but {tune} has {len(lengths)} lines"))
    expected, rhyming = [], []
    for number, line in enumerate(lines):
        due = number < len(lengths) and len(line) == lengths[number]
        expected.append(pattern.tones[number] if due else FREE * len(line))
        rhyming.append(pattern.rhymes[number] if number < len(lengths) else 0)
        if due:
            faults += tone_faults(number, line, tones[number], expected[-1])
        elif number < len(lengths):
            reason = f"it has {len(line)} characters, but {tune} has {lengths[number]} here"
            faults.append(Fault("form", number + 1, 0, "", reason))
    groups, rhyme_faults = find_rhymes(lines, rhyming, prosody)
    faults += rhyme_faults + repetitions(lines, rhyming)
    return finished(lines, "词", tune, tune, tones, expected, groups, rhyming, faults)
