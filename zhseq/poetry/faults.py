"""What a review says of a poem, and the faults that all kinds of verse share: tones, rhymes, repetition."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from zhseq.errors import InputError
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Prosody, Tone
from zhseq.text.normalize import codepoints, is_han, normalize

BLANK = "?"
"""A marked place; in the user's text `？`, `?` or `□`."""

_SEPARATORS = frozenset("，。！；：、,.!;:|\n\r\t 　")
_REGULAR = (5, 7)


def read_blocks(text: str, place: str) -> list[str]:
    """Cut a file into poems at its blank lines, if each part has the shape of a regulated poem; else leave it whole.

    Args:
        text: The text of the file.
        place: Its name, for messages.

    Raises:
        InputError: There is no verse in it.
    """
    if not text.strip():
        raise InputError(f"{place} is empty; expected a poem, one couplet or line a row")
    blocks = [block for block in re.split(r"\n[ \t　]*\n", text.replace("\r\n", "\n")) if block.strip()]
    if len(blocks) > 1 and all(regular_length(_lines(block, length)) for block in blocks for length in (5, 7)):
        return blocks
    return blocks if len(blocks) > 1 and all(regular_length(read_lines(block)) for block in blocks) else [text]


def read_lines(text: str, lengths: Sequence[int] = ()) -> list[str]:
    """Return the lines of a poem, normalised, without punctuation, marked places as `BLANK`.

    A question mark is punctuation where a line is full, else a marked place.

    Args:
        text: The poem.
        lengths: Characters of each line, if they are known; else lines of 5 and of 7 are tried.

    Raises:
        InputError: The text holds something that belongs into no poem.
    """
    folded = normalize(text).replace("□", BLANK).replace("？", BLANK)
    points = codepoints(folded)
    for character, han in zip(folded, is_han(points).tolist(), strict=True):
        if not han and character not in _SEPARATORS and character != BLANK:
            shown = f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
            message = f"a poem is made of Chinese characters and punctuation, but this text holds {shown}"
            raise InputError("not_chinese", message)
    if lengths:
        return _cut(folded, lengths)
    readings = [_lines(folded, length) for length in _REGULAR]
    return next((lines for lines in readings if regular_length(lines)), max(readings, key=_evenness))


def regular_length(lines: Sequence[str]) -> int:
    """Return the length of the lines if they are 4 or 8 and all of 5 or 7 characters, else 0."""
    lengths = {len(line) for line in lines}
    return next(iter(lengths)) if len(lines) in (4, 8) and lengths in ({5}, {7}) else 0


def _lines(text: str, length: int) -> list[str]:
    return _cut(text, (length,) * len(text))


def _cut(text: str, lengths: Sequence[int]) -> list[str]:
    lines = [""]
    for character in text:
        full = len(lines) <= len(lengths) and len(lines[-1]) == lengths[len(lines) - 1]
        if character in _SEPARATORS or (character == BLANK and full):
            lines.extend([""] if lines[-1] else [])
        elif full and lines[-1].endswith(BLANK):  # the mark stood for a character and not for a pause
            lines.append(character)
        else:
            lines[-1] += character
    return [line for line in lines if line]


def _evenness(lines: Sequence[str]) -> int:
    """Return how many lines have the commonest length."""
    return max(chain(Counter(map(len, lines)).values(), (0,)))


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
    note: str = ""
    """What should be known first, one sentence: that the poem reads as verse in the old style for example."""


def tone_faults(number: int, line: str, tones: str, expected: str) -> list[Fault]:
    """Return the places of a line, number `number` from 0, whose tone is not the expected one."""
    return [
        Fault(
            "tone", number + 1, place + 1, line[place], f"its tone is {_WORDS[tone]}, but {_WORDS[wanted]} is due here"
        )
        for place, (tone, wanted) in enumerate(zip(tones, expected, strict=True))
        if {tone, wanted} == {LEVEL, OBLIQUE}
    ]


def find_rhymes(
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
            near = number == 0 and opening and lyric(prosody).rhyme(word, _example(prosody, group))
            if groups[number] != group and not near:
                reason = f"it does not rhyme with the others (group {prosody.rhyme_groups[group].name})"
                faults.append(Fault("rhyme", number + 1, len(lines[number]), word, reason))
    return groups, faults


def rhymes_of(found: Review, prosody: Prosody) -> Prosody:
    """Return the system of rhymes whose groups a review speaks of."""
    return lyric(prosody) if found.tune else prosody


def lyric(prosody: Prosody) -> Prosody:
    """Return the rhymes of ci, where neighbouring groups are one, or what there is."""
    return prosody.views.get("lyric", prosody)


def _example(prosody: Prosody, group: int) -> str:
    row = prosody.rhyme_groups[group]
    return (row.certain or row.characters)[0]


def repetitions(lines: Sequence[str], rhyming: Sequence[int], *, pairs: bool = True) -> list[Fault]:
    """Return lines, rhyme words and, if asked for, pairs of characters that stand twice."""
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
        for place in range(len(line) - 1) if pairs else ():
            pair = line[place : place + 2]
            found = next((n + 1 for n, other in enumerate(earlier) if pair in other), 0)
            if found and BLANK not in pair and len(set(pair)) > 1:
                reason = f"'{pair}' stands already in line {found}"
                faults.append(Fault("repetition", number + 1, place + 1, line[place], reason))
    return faults


def tones_of(line: str, prosody: Prosody) -> str:
    """Return the tone of each character of a line, 中 at marked places."""
    return "".join(Tone.EITHER.value if c == BLANK else prosody.tone_class(c).value for c in line)


def finished(
    lines: Sequence[str],
    form: str,
    tune: str,
    pattern: str,
    tones: Sequence[str],
    expected: Sequence[str],
    groups: Sequence[int],
    rhyming: Sequence[int],
    faults: Sequence[Fault],
    note: str = "",
) -> Review:
    """Put a review together, its faults in the order of their places."""
    ordered = tuple(sorted(faults, key=lambda fault: (fault.line, fault.place)))
    parts = (tuple(lines), form, tune, pattern, tuple(tones), tuple(expected), tuple(groups), tuple(rhyming), ordered)
    return Review(*parts, note)


@dataclass(frozen=True)
class Suggestion:
    """What could stand at a place."""

    line: int
    """Number of the line, from 1."""
    place: int
    """Place in the line, from 1."""
    character: str
    """What stands there; `?` at a marked place."""
    characters: tuple[str, ...]
    """What could stand there, the best first."""


def candidates(found: Review, line: int, place: int, alphabet: Iterable[str], prosody: Prosody) -> list[str]:
    """Return the characters that keep tone, rhyme and freedom from repetition at a place.

    Args:
        found: The poem.
        line: Number of the line, from 0.
        place: Place in the line, from 0.
        alphabet: Characters to choose from.
        prosody: Tones and rhymes.
    """
    prosody = rhymes_of(found, prosody)
    used = set("".join(found.lines))
    wanted = found.expected[line][place] if place < len(found.expected[line]) else FREE
    unused = [character for character in alphabet if character not in used]
    # Only certain tones are proposed: a character of two readings leaves the reader to guess.
    fitting = [c for c in unused if wanted in (FREE, prosody.tone_class(c).value)]
    rhyme = found.rhyming[line]
    if not rhyme or place != len(found.lines[line]) - 1:
        return fitting
    groups = [group for n, group in enumerate(found.rhymes) if found.rhyming[n] == rhyme and n != line and group >= 0]
    if not groups:
        return fitting
    group = max(set(groups), key=groups.count)
    return [character for character in fitting if group in prosody.groups(character)]
