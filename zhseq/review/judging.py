"""Find the faults of a poem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from zhseq.errors import InputError
from zhseq.prosody import FREE, LEVEL, OBLIQUE, Pattern, Prosody, Tone, TunePattern
from zhseq.review.reading import BLANK, read_lines, regular_length
from zhseq.verse import form_of

_SECOND_NAMES = {LEVEL: "平起", OBLIQUE: "仄起"}
_OTHER = {LEVEL: OBLIQUE, OBLIQUE: LEVEL}
_WORDS = {LEVEL: "level", OBLIQUE: "oblique"}


@dataclass(frozen=True)
class Fault:
    """Something that a rule does not allow."""

    kind: str
    """`form`, `tone`, `rhyme` or `repetition`."""
    line: int
    """Number of the line, from 1."""
    place: int
    """Place in the line, from 1; 0 for the line as a whole."""
    character: str
    reason: str
    """One sentence without the place."""

    def __str__(self) -> str:
        place = f", character {self.place} '{self.character}'" if self.place else ""
        return f"line {self.line}{place}: {self.reason}"


@dataclass(frozen=True)
class Review:
    """What was found in a poem."""

    lines: tuple[str, ...]
    """Normalised lines; marked places are `?`."""
    form: str
    tune: str
    pattern: str
    """What kind of pattern it follows, in the words of the field (平起 首句入韵 for example)."""
    tones: tuple[str, ...]
    """Tone of each character: 平, 仄, or 中 where it has both or is not known."""
    expected: tuple[str, ...]
    """What the rules ask for at each place, likewise; 中: nothing."""
    rhymes: tuple[int, ...]
    """Rhyme group of each line; -1 where the line does not rhyme or nothing is known."""
    rhyming: tuple[int, ...]
    """Rhyme class of each line, 0 where it need not rhyme."""
    faults: tuple[Fault, ...]


def review(text: str, prosody: Prosody, tune: TunePattern | None = None) -> Review:
    """Judge one poem.

    Args:
        text: The poem, in any script, with or without punctuation.
        prosody: Tones, rhymes and tunes.
        tune: The tune it is said to follow; by default a regulated form or a tune is told by its lines.

    Raises:
        InputError: The text is no poem of a known shape.
    """
    if tune is not None:
        fitting = _readings(text, tune)
        lines, pattern = min(fitting, key=lambda item: _distance(item[0], item[1]))
        return _review_pattern(lines, pattern, tune.name, prosody)
    lines = read_lines(text)
    if not lines:
        raise InputError("there is no Chinese character in this text; expected a poem")
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
                f"{len(lines)} line{'s' * (len(lines) != 1)} of {lengths} characters; name the tune with --tune"
            )
    return _review_regulated(lines, prosody)


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


def _review_regulated(lines: Sequence[str], prosody: Prosody) -> Review:
    length = Counter(map(len, lines)).most_common(1)[0][0]
    tones = [_tones(line, prosody) for line in lines]
    whole = [len(line) == length for line in lines]
    # The tone of the second character of the first line decides all others; take the one that is broken least.
    second = min((OBLIQUE, LEVEL), key=lambda tone: _broken(tones, _skeleton(len(lines), length, tone), whole))
    skeleton = _skeleton(len(lines), length, second)
    faults = [
        Fault("form", number + 1, 0, "", f"it has {len(line)} characters, but the poem has lines of {length}")
        for number, line in enumerate(lines)
        if not whole[number]
    ]
    rhyming = [number % 2 for number in range(len(lines))]
    opening = tones[0][-1] == LEVEL
    rhyming[0] = int(opening)
    expected = []
    for number, (line, places) in enumerate(zip(skeleton, tones, strict=True)):
        end = LEVEL if rhyming[number] or number % 2 else OBLIQUE
        # A first line may rhyme or not: only its own end tells.
        wanted = line[:-1] + (FREE if number == 0 and places[-1] == FREE else end)
        expected.append(_excused(wanted, places) if whole[number] else FREE * len(places))
        faults += _tone_faults(number, lines[number], places, expected[-1])
        faults += _tail_faults(number, lines[number], places) if whole[number] else []
    groups, rhyme_faults = _rhymes(lines, rhyming, prosody, opening=opening)
    faults += rhyme_faults + _repetitions(lines, rhyming)
    name = f"{_SECOND_NAMES[second]} {'首句入韵' if opening else '首句不入韵'}"
    form = form_of(lines) or {(4, 5): "五绝", (4, 7): "七绝", (8, 5): "五律", (8, 7): "七律"}[len(lines), length]
    return _finished(lines, form, "", name, tones, expected, groups, rhyming, faults)


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
    return wanted[:-5] + "中平仄平仄" if wanted[-4:] == "平中仄仄" and tones[-4:] == "平仄平仄" else wanted


def _tone_faults(number: int, line: str, tones: str, expected: str) -> list[Fault]:
    return [
        Fault(
            "tone", number + 1, place + 1, line[place], f"its tone is {_WORDS[tone]}, but {_WORDS[wanted]} is due here"
        )
        for place, (tone, wanted) in enumerate(zip(tones, expected, strict=True))
        if {tone, wanted} == {LEVEL, OBLIQUE}
    ]


def _tail_faults(number: int, line: str, tones: str) -> list[Fault]:
    """Return three level tones at the end (三平调) and a level tone left alone (孤平)."""
    if tones.endswith(LEVEL * 3):
        return [Fault("tone", number + 1, len(line) - 2, line[-3], "the line ends on three level tones (三平调)")]
    if tones[-5:] == OBLIQUE + LEVEL + OBLIQUE * 2 + LEVEL:
        return [Fault("tone", number + 1, len(line) - 4, line[-5], "it leaves a level tone alone (孤平)")]
    return []


def _review_pattern(lines: Sequence[str], pattern: Pattern, tune: str, prosody: Prosody) -> Review:
    prosody = _lyric(prosody)
    tones = [_tones(line, prosody) for line in lines]
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
            faults += _tone_faults(number, line, tones[number], expected[-1])
        elif number < len(lengths):
            reason = f"it has {len(line)} characters, but {tune} has {lengths[number]} here"
            faults.append(Fault("form", number + 1, 0, "", reason))
    groups, rhyme_faults = _rhymes(lines, rhyming, prosody)
    faults += rhyme_faults + _repetitions(lines, rhyming)
    return _finished(lines, "词", tune, tune, tones, expected, groups, rhyming, faults)


def _rhymes(
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
        group = votes.most_common(1)[0][0]
        for number in known:
            word = lines[number][-1]
            groups[number] = group if group in prosody.groups(word) else prosody.groups(word)[0]
            near = number == 0 and opening and _lyric(prosody).rhyme(word, _example(prosody, group))
            if groups[number] != group and not near:
                reason = f"it does not rhyme with the others (group {prosody.rhyme_groups[group].name})"
                faults.append(Fault("rhyme", number + 1, len(lines[number]), word, reason))
    return groups, faults


def rhymes_of(found: Review, prosody: Prosody) -> Prosody:
    """Return the system of rhymes whose groups a review speaks of."""
    return _lyric(prosody) if found.tune else prosody


def _lyric(prosody: Prosody) -> Prosody:
    """Return the rhymes of ci, where neighbouring groups are one, or what there is."""
    return prosody.views.get("lyric", prosody)


def _example(prosody: Prosody, group: int) -> str:
    row = prosody.rhyme_groups[group]
    return (row.certain or row.characters)[0]


def _repetitions(lines: Sequence[str], rhyming: Sequence[int]) -> list[Fault]:
    """Return lines, rhyme words and pairs of characters that stand twice."""
    faults = []
    for number, line in enumerate(lines):
        earlier = lines[:number]
        if line in earlier and BLANK not in line:
            faults.append(
                Fault("repetition", number + 1, 0, "", f"the line stands already in line {earlier.index(line) + 1}")
            )
            continue
        word = line[-1]
        twice = [n + 1 for n in range(number) if rhyming[n] and rhyming[n] == rhyming[number] and lines[n][-1] == word]
        if twice and word != BLANK:
            reason = f"the rhyme word stands already in line {twice[0]}"
            faults.append(Fault("repetition", number + 1, len(line), word, reason))
        for place in range(len(line) - 1):
            pair = line[place : place + 2]
            found = next((n + 1 for n, other in enumerate(earlier) if pair in other), 0)
            if found and BLANK not in pair and len(set(pair)) > 1:
                reason = f"'{pair}' stands already in line {found}"
                faults.append(Fault("repetition", number + 1, place + 1, line[place], reason))
    return faults


def _tones(line: str, prosody: Prosody) -> str:
    return "".join(Tone.EITHER.value if c == BLANK else prosody.tone_class(c).value for c in line)


def _finished(
    lines: Sequence[str],
    form: str,
    tune: str,
    pattern: str,
    tones: Sequence[str],
    expected: Sequence[str],
    groups: Sequence[int],
    rhyming: Sequence[int],
    faults: Sequence[Fault],
) -> Review:
    ordered = tuple(sorted(faults, key=lambda fault: (fault.line, fault.place)))
    parts = (tuple(lines), form, tune, pattern, tuple(tones), tuple(expected), tuple(groups), tuple(rhyming), ordered)
    return Review(*parts)
