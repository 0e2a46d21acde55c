"""Judge a poem by the rules of its form or tune: line lengths, tones, rhymes, repetition. Imports no torch.

A regulated poem is judged by the alternation of tones that its own lines determine, a ci by the pattern of its tune.
A poem of regulated shape that breaks the alternation too often is classified as old-style verse (古体), whose tones
are free.

A text matches the pattern of a tune if it has the same number of characters and pauses wherever the pattern rhymes;
other pauses are free. A text that matches no pattern is aligned line by line with the nearest one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from zhseq.errors import InputError, Message
from zhseq.poetry.faults import Fault, Finding, Remark, Review
from zhseq.poetry.forms import form_and_tune, unknown_form, unknown_shape
from zhseq.poetry.prosody import CI, FREE, LEVEL, OBLIQUE, Pattern, Prosody, Tone, TunePattern
from zhseq.poetry.prosody.books import song_of
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.reading import BLANK, cut_lines, fold_verse, read_lines, regular_length
from zhseq.poetry.regulated import (
    PROSE,
    find_rhymes,
    judge_lines,
    judge_mixed,
    judge_song,
    poems_run_together,
    several_poems,
    shifted,
    sort_findings,
    tone_faults,
    tone_of_rhyme,
    two_poems,
    unchecked_review,
    unrhymed,
)
from zhseq.text.normalize import codepoints

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
T = TypeVar("T")

_FEWEST_LINES = 4
_PAUSE = "、"
_REGROUPED, _OTHER_LENGTH, _MISSING = 0.1, 1.0, 1.2  # costs of aligning a line of the text with one of the pattern
_TURNING = ("平仄仄", "平中仄", "中仄仄", "平仄中", "平中中", "中仄中")
"""Expected tones for which a line may end in 仄平仄 instead of 平仄仄."""
_RUN_TOGETHER = (2, 3, 4)  # numbers of ci to one tune that are recognised without a blank line between them
_MOST_JOINED = 3  # lines that may be joined or divided
_MOST_CHANGED = 0.25  # largest share of differing lines in a text that is assigned to a tune
_HARDLY = 0.6  # largest alignment cost per line for a text to count as a poem to a named tune
_FEW_POEMS = 30  # a text is assigned to a tune with fewer training poems only if it has at most one fault
_MOST_FAULTS = 0.12  # faults per character that a text assigned to a tune may have
_MOST_JUDGED = 4  # matching patterns, those with the fewest wrong tones, for which a review is made
_RARE_SHARE, _RARE_PAUSES, _RARE_FAULTS = 0.2, 1000, 1.5  # a rare variant has to be better by more than one fault
_MOST_TRIED = 40  # patterns of any tune with which a text is aligned
_MOST_LAID = 5  # patterns of its own tune with which a text is aligned
_NO_LINE = 10_000  # pads the line lengths of patterns with fewer lines
_EXACTLY = 1e-9  # costs that differ by less are equal
_FEWEST_TO_LACK, _FEW_FAULTS = 6, 2  # fewest lines and most faults of a text accepted with one line too many or too few
_MOST_SHOWN = 12  # lines whose lengths are listed in a message
_FAR = 9  # largest difference in characters between a text and a pattern


def review(text: str, prosody: Prosody, tune: TunePattern | None = None, form: str = "") -> Review:
    """Judge one poem.

    Args:
        text: The poem, in any script, with or without punctuation.
        prosody: Tones, rhymes and tunes.
        tune: Its tune; by default a regulated form or a tune is determined from its lines.
        form: The regulated form whose rules apply; by default a poem of such a shape that follows none of its patterns
            is judged as old-style verse (古体), whose tones are free.

    Raises:
        InputError: The text is no poem of a known shape, or does not have the shape of `form`.
    """
    if form and form not in FORM_SHAPES:
        raise unknown_form(form, FORM_SHAPES)
    if form and tune is not None:
        raise form_and_tune(form, tune.name)
    folded, lines = fold_verse(text), read_lines(text)
    if not lines:
        raise InputError("no_verse", "there is no Chinese character in this text; expected a poem")
    if tune is not None:
        found = review_tune(folded, tune, prosody)
    elif form:
        found = _review_form(lines, form, prosody)
    else:
        found = _review_any(folded, lines, prosody)
    unknown = "".join(dict.fromkeys(prosody.unknown("".join(found.lines)).replace(BLANK, "")))
    if not unknown or found.note is not None:
        return found
    note = Message(
        "unknown_tones",
        "the tones of {characters} are unknown; they are accepted at any position",
        {"characters": "、".join(unknown)},
    )
    return replace(found, note=note)


def _review_any(folded: str, lines: Sequence[str], prosody: Prosody) -> Review:
    """Judge a poem of unknown form by its lines."""
    length = _common_length(lines)
    if length and {len(line) for line in lines} == {length}:
        return _review_even(folded, lines, prosody)
    found = find_tune_of(folded, prosody)
    if found is not None and not found.faults:
        return found
    other = _review_other(folded, prosody)
    if other is not None:
        return other
    if found is not None:
        return found
    nearly = bool(length) and len(lines) in (4, 8)
    apart = [abs(len(line) - length) for line in lines if len(line) != length] if nearly else []
    mixed = judge_mixed(lines, prosody) if sum(apart) > 1 else None
    if mixed is not None and len(apart) == 1:
        return mixed
    nearly = nearly and mixed is None  # one character too many or too few is a likely slip, more are not
    near = None if nearly else find_near_tune(folded, prosody)
    if near is not None:
        return near
    if nearly:
        return judge_lines(lines, prosody, strict=False)
    mixed = judge_mixed(lines, prosody)
    if mixed is not None:
        return mixed
    if len(lines) < _FEWEST_LINES or not "".join(lines).strip(BLANK):
        raise unknown_shape(lines)
    note = Message(
        "uneven_prose",
        "read as prose or free verse: hardly any of its {count} lines, of {lengths} characters, "
        "rhyme, and no known tune has such lines; if it is a ci, name the tune with <tune>",
        {"count": len(lines), "lengths": "、".join(str(len(line)) for line in lines[:_MOST_SHOWN])},
    )
    return unchecked_review(lines, PROSE, PROSE, note, prosody)


def _review_other(folded: str, prosody: Prosody) -> Review | None:
    """Return the review of a song, of several ci or poems in one text, or of prose in even lines; None for others."""
    text = _read(folded, ())
    lengths = _lengths(text.ends)
    lines = _cut(text.characters, text.ends)
    song = song_of(lengths)
    if song:
        return judge_song(lines, song, prosody)
    for count in _RUN_TOGETHER if lines else ():
        if len(lines) % count == 0 and lengths == lengths[: len(lines) // count] * count:
            tune = _tune_of_parts(lines, count, prosody)
            if tune:
                return several_poems(lines, CI, tune, count, prosody)
    two = _two_poems(lines, prosody)
    if two is not None:
        return two
    if len(lines) >= _FEWEST_LINES and len(set(lengths)) == 1 and lengths[0] not in (5, 7) and unrhymed(lines, prosody):
        note = Message(
            "even_prose",
            "reads as prose: no two of its {count} lines of {length} characters rhyme",
            {"count": len(lines), "length": lengths[0]},
        )
        return unchecked_review(lines, PROSE, PROSE, note, prosody)
    return None


def _review_form(lines: Sequence[str], form: str, prosody: Prosody) -> Review:
    """Judge a poem by the rules of a regulated form."""
    expected, length = FORM_SHAPES[form]
    if len(lines) != expected:
        raise InputError(
            "other_form",
            "a {form} has {expected} lines, but this poem has {count}; leave <form> out",
            form=form,
            expected=expected,
            count=len(lines),
        )
    if not regular_length(lines) and _common_length(lines) != length:
        raise unknown_shape(lines)
    return judge_lines(lines, prosody, strict=True)


def _common_length(lines: Sequence[str]) -> int:
    """Return 5 or 7 if there are at least four lines and at least half of them have this length, else 0."""
    length, count = Counter(map(len, lines)).most_common(1)[0]
    return length if len(lines) >= _FEWEST_LINES and length in (5, 7) and 2 * count >= len(lines) else 0


def _review_even(folded: str, lines: Sequence[str], prosody: Prosody) -> Review:
    """Judge a poem whose lines all have 5 or all have 7 characters; a few tunes have such lines, too."""
    found = judge_lines(lines, prosody, strict=False)
    if len(lines) > _FEWEST_LINES and (tone_of_rhyme(found.tones) == OBLIQUE or len(lines) % 4):
        sung = find_tune_of(folded, prosody)
        if sung is not None and not sung.faults:
            return sung
    return poems_run_together(lines, found, prosody) or found


def _two_poems(lines: Sequence[str], prosody: Prosody) -> Review | None:
    """Return the review of a text that is two poems of known shape, both without faults; None for others."""
    known = _every_shape(prosody)
    lengths = tuple(map(len, lines))
    for cut in range(1, len(lines)):
        if lengths[:cut] in known and lengths[cut:] in known:
            names = [_name_of_part(part, prosody) for part in (lines[:cut], lines[cut:])]
            if all(names):
                return two_poems(lines, names[0], names[1], prosody)
    return None


@lru_cache(maxsize=4)
def _every_shape(prosody: Prosody) -> frozenset[tuple[int, ...]]:
    """Return the line lengths of regulated poems and of all patterns of tunes."""
    regulated = {(length,) * count for count, length in FORM_SHAPES.values()}
    sung = {pattern.line_lengths for tune in prosody.tunes.values() for pattern in patterns_of(tune)}
    return frozenset(regulated | sung)


def _name_of_part(lines: Sequence[str], prosody: Prosody) -> str:
    """Return the form or tune of lines that are a poem without faults, else an empty string."""
    shapes = {shape: form for form, shape in FORM_SHAPES.items()}
    form = shapes.get((len(lines), len(lines[0]))) if len(set(map(len, lines))) == 1 else None
    if form is not None:
        return form if not judge_lines(lines, prosody, strict=True).faults else ""
    found = find_tune_of("，".join(lines), prosody)
    return found.tune if found is not None and not found.faults and _has_usual_size(found, prosody) else ""


def _has_usual_size(found: Review, prosody: Prosody) -> bool:
    """Return whether a ci has the number of characters of a common pattern of its tune; a single stanza has not."""
    tune = prosody.tunes[found.tune]
    usual = {sum(pattern.line_lengths) for pattern in patterns_of(tune) if pattern.count >= _RARE_SHARE * tune.count}
    return sum(map(len, found.lines)) in usual


def _tune_of_parts(lines: Sequence[str], count: int, prosody: Prosody) -> str:
    """Return the form or tune that each of `count` equal parts of a text follows without faults, empty if none."""
    size = len(lines) // count
    names = {_name_of_part(lines[start : start + size], prosody) for start in range(0, len(lines), size)}
    return names.pop() if len(names) == 1 else ""


# Ci: which pattern of which tune.


@dataclass(frozen=True)
class _Text:
    """A poem as characters and pauses."""

    characters: str
    ends: tuple[int, ...]
    """Number of characters before each pause, including the end of the text."""
    light: frozenset[int]
    """The pauses marked by 、 only."""


@dataclass(frozen=True)
class _PatternTable:
    """Arrays of all patterns with the same number of characters, to compare a text with all of them at once."""

    pairs: tuple[tuple[TunePattern, Pattern], ...]
    signs: npt.NDArray[np.int8]
    """Tone of each position, 1 level, -1 oblique, 0 either, shape (patterns, characters)."""
    due: Booleans
    """Whether a rhyme, and so a pause, is required after each character, shape (patterns, characters)."""
    ends: Booleans
    """Whether a line ends after each character, shape (patterns, characters)."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[TunePattern, Pattern]]) -> _PatternTable:
        """Stack patterns that all have the same number of characters."""
        shape = (len(pairs), sum(pairs[0][1].line_lengths))
        due, ends = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for row, (_, pattern) in enumerate(pairs):
            due[row, [end - 1 for end in pattern.due_rhymes]] = True
            ends[row, [end - 1 for end in accumulate(pattern.line_lengths)]] = True
        signs = _signs("".join("".join(pattern.tones) for _, pattern in pairs)).reshape(shape)
        return cls(tuple(pairs), signs, due, ends)


def _signs(tones: str) -> npt.NDArray[np.int8]:
    """Return tones as numbers: 1 level, -1 oblique, 0 either, shape (characters,)."""
    points = codepoints(tones)
    return np.asarray((points == ord(LEVEL)).astype(np.int8) - (points == ord(OBLIQUE)).astype(np.int8))


def _pattern_tables(pairs: Iterable[tuple[TunePattern, Pattern]]) -> dict[int, _PatternTable]:
    """Return patterns by their number of characters, common tunes first."""
    result: dict[int, list[tuple[TunePattern, Pattern]]] = {}
    for pair in pairs:
        result.setdefault(sum(pair[1].line_lengths), []).append(pair)
    return {size: _PatternTable.of(each) for size, each in result.items()}


@lru_cache(maxsize=4)
def _all_pattern_tables(prosody: Prosody) -> dict[int, _PatternTable]:
    """Return the patterns of all tunes by their number of characters."""
    return _pattern_tables((tune, pattern) for tune in prosody.tunes.values() for pattern in patterns_of(tune))


def patterns_of(tune: TunePattern) -> tuple[Pattern, ...]:
    """Return the most frequent pattern of a tune, followed by its variants."""
    return (tune, *tune.variants)


def review_tune(folded: str, tune: TunePattern, prosody: Prosody) -> Review:
    """Judge a ci by the pattern of its tune that fits best.

    Args:
        folded: What `fold_verse` returns.
        tune: The tune.
        prosody: Tones and rhymes.
    """
    pairs = [(tune, pattern) for pattern in patterns_of(tune)]
    exact = _best(_exact(folded, _pattern_tables(pairs), prosody))
    if exact is not None:
        return exact
    text = _read(folded, ())
    nearly = _with_another_line(folded, _pattern_tables(pairs), pairs, prosody)
    if nearly is not None:
        return nearly
    size = len(text.characters)
    pairs.sort(key=lambda pair: abs(sum(pair[1].line_lengths) - size))
    laid = list(_near(folded, pairs[:_MOST_LAID], prosody, float("inf")))
    cost, found = min(laid, key=lambda each: len(each[1].faults))
    count, due = len(found.lines), len(tune.line_lengths)
    if cost <= _HARDLY * max(count, due):
        return found
    return replace(
        found,
        expected=tuple(FREE * len(line) for line in found.lines),
        rhyming=(0,) * count,
        rhymes=(-1,) * count,
        faults=(Fault("other_poem", count, count=count, expected_count=due, tune=tune.name),),
        remarks=(),
    )


def find_tune_of(folded: str, prosody: Prosody) -> Review | None:
    """Judge a text by the tune whose pattern it matches, or return None if it matches none well."""
    size = len(_read(folded, ()).characters)
    found = _best(_exact(folded, _all_pattern_tables(prosody), prosody))
    return found if found is not None and _is_likely(found, size, 2, prosody) else None


def _is_likely(found: Review, size: int, most: int, prosody: Prosody) -> bool:
    """Return whether a text of `size` characters is likely a ci to a tune, given its faults.

    At most one fault is allowed for a rare tune, otherwise `most` or a share of the characters.
    """
    if prosody.tunes[found.tune].total < _FEW_POEMS:
        return len(found.faults) <= 1
    return len(found.faults) <= max(most, _MOST_FAULTS * size)


def find_near_tune(folded: str, prosody: Prosody) -> Review | None:
    """Judge a text by the nearest tune, which is named in a note, or return None if no tune is near."""
    text = _read(folded, ())
    lengths = _lengths(text.ends)
    size, tables = len(text.characters), _all_pattern_tables(prosody)
    pairs = [
        pair
        for each in sorted(range(size - _FAR, size + _FAR + 1), key=lambda each: abs(each - size))
        if each in tables
        for pair in tables[each].pairs
        if pair[1].line_lengths[:2] == lengths[:2] or pair[1].line_lengths[-2:] == lengths[-2:]
    ]
    found = _with_another_line(folded, tables, pairs, prosody)
    found = found or _best(_near(folded, pairs[:_MOST_TRIED], prosody, _MOST_CHANGED))
    if found is None or not _is_likely(found, size, 3, prosody):
        return None
    note = Message(
        "taken_for_tune",
        "read as {tune}, the closest tune; if that is wrong, name the tune with <tune>",
        {"tune": found.tune},
    )
    return replace(found, note=note)


def _with_another_line(
    folded: str, tables: Mapping[int, _PatternTable], pairs: Iterable[tuple[TunePattern, Pattern]], prosody: Prosody
) -> Review | None:
    """Judge a text by a tune that it matches apart from one line too many or too few, or return None.

    Args:
        folded: What `fold_verse` returns.
        tables: Patterns to compare with the text without one of its lines.
        pairs: Patterns of which one line may be missing in the text.
        prosody: Tones and rhymes.
    """
    text = _read(folded, ())
    if len(text.ends) < _FEWEST_TO_LACK:
        return None
    found = _best([*_with_line_too_many(text, tables, prosody), *_with_line_missing(text, pairs, prosody)])
    return found if found is not None and len(found.faults) <= _FEW_FAULTS else None


def _with_line_too_many(
    text: _Text, tables: Mapping[int, _PatternTable], prosody: Prosody
) -> Iterable[tuple[float, Review]]:
    """Yield reviews by the patterns that a text matches without one of its lines, leaving out the last line first.

    The number before each review ranks reviews with equally many faults: tunes with more poems go first.
    """
    lines = _cut(text.characters, text.ends)
    for number in reversed(range(len(lines))):
        rest = [*lines[:number], *lines[number + 1 :]]
        if len(text.characters) - len(lines[number]) not in tables:
            continue
        found = _best(_exact("，".join(rest), tables, prosody, most=2 * _FEW_FAULTS))
        ends = (0, *accumulate(map(len, found.lines))) if found is not None else ()
        start = sum(map(len, lines[:number]))
        if found is not None and start in ends:
            rank = -float(prosody.tunes[found.tune].total)
            yield rank, _with_line(found, ends.index(start), lines[number], prosody)


def _with_line(found: Review, index: int, line: str, prosody: Prosody) -> Review:
    """Return a review with the surplus line reinserted at its index."""

    def put(values: Sequence[T], value: T) -> tuple[T, ...]:
        return (*values[:index], value, *values[index:])

    code = "surplus_line" if index < len(found.lines) else "surplus_lines"
    surplus = Fault(code, index + 1, count=len(found.lines) + 1, expected_count=len(found.lines), tune=found.tune)
    faults = [shifted(each, int(each.line > index)) for each in found.faults]
    return replace(
        found,
        lines=put(found.lines, line),
        tones=put(found.tones, prosody.sounds(line)),
        expected=put(found.expected, FREE * len(line)),
        rhymes=put(found.rhymes, -1),
        rhyming=put(found.rhyming, 0),
        faults=tuple(sort_findings([*faults, surplus])),
        remarks=tuple(shifted(each, int(each.line > index)) for each in found.remarks),
    )


def _with_line_missing(
    text: _Text, pairs: Iterable[tuple[TunePattern, Pattern]], prosody: Prosody
) -> Iterable[tuple[float, Review]]:
    """Yield reviews by the patterns that have exactly one line more than the text, trying the last line first."""
    lengths = _lengths(text.ends)
    for tune, pattern in pairs:
        due = pattern.line_lengths
        for index in reversed(range(len(due))) if len(due) == len(lengths) + 1 else ():
            if due[:index] + due[index + 1 :] == lengths:
                before = [(n, n + 1, n, n + 1) for n in range(index)]
                behind = [(n, n + 1, n + 1, n + 2) for n in range(index, len(lengths))]
                yield (
                    0.0,
                    _review_near(text, tune, pattern, [*before, (index, index, index, index + 1), *behind], prosody),
                )


def _best(found: Iterable[tuple[float, Review]]) -> Review | None:
    """Return the review with the fewest faults; rare variants count as worse, ties go to the lowest rank."""
    ranked = sorted(
        found, key=lambda each: (_faulty_positions(each[1]) + (each[0] >= _RARE_PAUSES) * _RARE_FAULTS, each[0])
    )
    return ranked[0][1] if ranked else None


def _faulty_positions(found: Review) -> int:
    """Count the positions with faults: one wrong character may break tone, rhyme and repetition."""
    positions = {(fault.line, fault.position) for fault in found.faults if fault.code != "no_repetition"}
    return len(positions) or min(1, len(found.faults))


def _read(folded: str, lengths: Sequence[int]) -> _Text:
    """Split a text into characters and pauses.

    If `lengths` of lines are given, `BLANK` is a pause after a full line and else a character; without them it is
    always a pause.
    """
    if lengths and BLANK in folded:
        lines = cut_lines(folded, lengths)
        return _Text("".join(lines), tuple(accumulate(map(len, lines))), frozenset())
    characters: list[str] = []
    ends: list[int] = []
    light: set[int] = set()
    for character in folded:
        if character in "，。、；：！,.;:!|" or character == BLANK or character.isspace():
            length = len(characters)
            if length and (not ends or ends[-1] != length):
                ends.append(length)
                if character == _PAUSE:
                    light.add(length)
            elif character != _PAUSE:
                light.discard(length)
        else:
            characters.append(character)
    if characters and (not ends or ends[-1] != len(characters)):
        ends.append(len(characters))
    return _Text("".join(characters), tuple(ends), frozenset(light))


def _cut(characters: str, ends: Sequence[int]) -> list[str]:
    """Return the lines of a text, cut at its pauses."""
    return [characters[start:end] for start, end in pairwise((0, *ends))]


def _lengths(ends: Sequence[int]) -> tuple[int, ...]:
    return tuple(end - start for start, end in pairwise((0, *ends)))


# Texts that match a pattern.


def _exact(
    folded: str, tables: Mapping[int, _PatternTable], prosody: Prosody, most: float = np.inf
) -> Iterable[tuple[float, Review]]:
    """Yield reviews by the patterns that a text matches, each with the number of differing pauses.

    `_RARE_PAUSES` is added to it for rare variants. Patterns with more than `most` wrong tones are left out.
    """
    kept: list[tuple[int, int, int, _Text, TunePattern, Pattern]] = []
    for text, table, rows in _held(folded, tables):
        ends, light = _marked(text.ends, table), _marked(text.light, table)
        rows = rows[(ends | ~table.due[rows]).all(axis=1)]
        against = (table.signs[rows] * _signs(prosody.sounds(text.characters)) < 0).sum(axis=1)
        rows, against = rows[against <= most], against[against <= most]
        pauses = (table.ends[rows] ^ (ends & ~(light & ~table.ends[rows]))).sum(axis=1)
        order = np.lexsort((pauses, against))[:_MOST_JUDGED]
        for wrong, other, row in zip(*(each[order].tolist() for each in (against, pauses, rows)), strict=True):
            kept.append((wrong, other, len(kept), text, *table.pairs[row]))
    common = max((each[-1].count for each in kept), default=0)
    for _, other, _, text, tune, pattern in sorted(kept, key=lambda each: each[:3])[:_MOST_JUDGED]:
        rare = pattern.count < _RARE_SHARE * common
        yield other + _RARE_PAUSES * rare, _review_exact(text, tune, pattern, prosody)


def _marked(positions: Iterable[int], table: _PatternTable) -> Booleans:
    """Return a mask of the characters after which one of `positions` lies, shape (characters,)."""
    marks = np.zeros(table.signs.shape[1], dtype=bool)
    marks[[position - 1 for position in positions]] = True
    return marks


def _held(folded: str, tables: Mapping[int, _PatternTable]) -> Iterable[tuple[_Text, _PatternTable, Ids]]:
    """Yield the readings of a text with the table and rows of the patterns to compare each with.

    First, all `BLANK`s are read as pauses; then, for each pattern, as characters wherever a line is not yet full.
    """
    plain = _read(folded, ())
    size = len(plain.characters)
    if size in tables:
        yield plain, tables[size], np.arange(len(tables[size].pairs))
    for count in range(size - folded.count(BLANK), size + 1) if BLANK in folded else ():
        cuts: dict[tuple[int, ...], list[int]] = {}
        for row, (_, pattern) in enumerate(tables[count].pairs if count in tables else ()):
            cuts.setdefault(pattern.line_lengths, []).append(row)
        for lengths, rows in cuts.items():
            text = _read(folded, lengths)
            if len(text.characters) == count:
                yield text, tables[count], np.array(rows)


def _review_exact(text: _Text, tune: TunePattern, pattern: Pattern, prosody: Prosody) -> Review:
    """Judge a text with the length and the rhyme positions of a pattern; 、 within a line does not split it."""
    due = set(accumulate(pattern.line_lengths))
    ends = [end for end in text.ends if end not in text.light or end in due]
    demanded = _required_tones(pattern)
    lines, expected = _cut(text.characters, ends), _cut(demanded, ends)
    rhyming = [pattern.due_rhymes.get(end, 0) for end in ends]
    return _judged(lines, expected, rhyming, _missing_echoes(text.characters, pattern, ends), tune, prosody)


def _required_tones(pattern: Pattern) -> str:
    """Return the required tones of a pattern; `Pattern.loose` positions are free."""
    loose = set(pattern.loose)
    return "".join(FREE if position in loose else tone for position, tone in enumerate("".join(pattern.tones)))


def _missing_echoes(characters: str, pattern: Pattern, ends: Sequence[int]) -> list[Finding]:
    """Return a fault for each repetition (叠句) of the pattern that the text lacks."""
    findings: list[Finding] = []
    for echo in pattern.echoes:
        own = characters[echo.place : echo.place + echo.length]
        due = characters[echo.source : echo.source + echo.length]
        if own != due and BLANK not in own + due:
            line = sum(end <= echo.place for end in ends)
            position = echo.place - (ends[line - 1] if line else 0)
            findings.append(Fault("no_repetition", line + 1, position + 1, own[0], text=due))
    return findings


def _judged(
    lines: Sequence[str],
    expected: Sequence[str],
    rhyming: Sequence[int],
    findings: list[Finding],
    tune: TunePattern,
    prosody: Prosody,
) -> Review:
    """Return the review of lines by required tones and rhymes; `findings` concern form and repetition."""
    lyric = prosody.lyric()
    tones = [prosody.sounds(line) for line in lines]
    for number, line in enumerate(lines):
        findings += _tone_findings(number, line, tones[number], expected[number], prosody)
    groups, of_rhyme = find_rhymes(lines, rhyming, lyric)
    findings = sort_findings([*findings, *of_rhyme, *_repeated(lines, rhyming)])
    return Review(
        lines=tuple(lines),
        form=CI,
        tune=tune.name,
        pattern=tune.name,
        tones=tuple(tones),
        expected=tuple(expected),
        rhymes=tuple(groups),
        rhyming=tuple(rhyming),
        faults=tuple(each for each in findings if isinstance(each, Fault)),
        remarks=tuple(each for each in findings if isinstance(each, Remark)),
        book=lyric.book,
    )


def _tone_findings(number: int, line: str, tones: str, expected: str, prosody: Prosody) -> list[Finding]:
    """Return the tone faults of a line; 平平仄平仄 may replace 平平平仄仄, and characters of both tones always fit."""
    faults = [
        fault
        for fault in tone_faults(number, line, tones, expected)
        if prosody.tone_class(fault.character) is not Tone.EITHER
    ]
    turned = len(line) - 2  # position, from 1, of the oblique tone in the middle of 平平仄平仄
    positions = {fault.position for fault in faults}
    whole = {turned, turned + 1} <= positions or (len(line) in (5, 7) and expected[-4] == LEVEL)
    ends_turned = tones[-3:-1] == "仄平" and tones[-4:-3] != OBLIQUE and tones[-1] != LEVEL
    if ends_turned and whole and expected[-3:] in _TURNING and positions & {turned, turned + 1}:
        kept = [fault for fault in faults if fault.position not in (turned, turned + 1)]
        return [*kept, Remark("turned_end", number + 1, turned + 1, line[-2])]
    return [*faults]


def _repeated(lines: Sequence[str], rhyming: Sequence[int]) -> list[Remark]:
    """Return remarks for rhyme words used twice, except in adjacent lines, where repetition is an ornament."""
    remarks = []
    for number, line in enumerate(lines):
        same = [
            n for n in range(number - 1) if rhyming[n] and rhyming[n] == rhyming[number] and lines[n][-1] == line[-1]
        ]
        if same and line[-1] != BLANK and lines[same[-1]] != line:
            remarks.append(Remark("rhyme_word_again", number + 1, len(line), line[-1], other_line=same[0] + 1))
    return remarks


# Texts that match no pattern.


def _near(
    folded: str, pairs: Iterable[tuple[TunePattern, Pattern]], prosody: Prosody, most: float
) -> Iterable[tuple[float, Review]]:
    """Yield reviews by the nearest patterns with their alignment costs, at most 1.5 or, if more, `most` per line."""
    chosen = list(pairs)
    texts = [_read(folded, ())] * len(chosen)
    if BLANK in folded:
        texts += [_read(folded, pattern.line_lengths) for _, pattern in chosen]
        chosen += chosen
        chosen = [pair for pair, text in zip(chosen, texts, strict=True) if text.ends]
        texts = [text for text in texts if text.ends]  # a text of `BLANK`s alone may be read as pauses only
    laid: list[tuple[float, int]] = []
    grids: dict[int, Floats] = {}
    for ends in dict.fromkeys(text.ends for text in texts):
        rows = [row for row, text in enumerate(texts) if text.ends == ends]
        costs = _alignment_costs(_lengths(ends), [chosen[row][1].line_lengths for row in rows])
        for row, grid in zip(rows, costs, strict=True):
            grids[row] = grid[:, : len(chosen[row][1].line_lengths) + 1]
            laid.append((float(grids[row][-1, -1]), row))
    laid.sort()
    for cost, row in laid[:3]:
        (tune, pattern), text = chosen[row], texts[row]
        if cost <= laid[0][0] + _EXACTLY and cost <= max(1.5, most * len(pattern.line_lengths)):
            groups = _alignment(_lengths(text.ends), pattern.line_lengths, grids[row])
            yield cost, _review_near(text, tune, pattern, groups, prosody)


_Group = tuple[int, int, int, int]
"""Aligned half-open ranges: start and end line of the text, start and end line of the pattern."""
_JOINS = [
    (many, few)
    for many in range(1, _MOST_JOINED + 1)
    for few in range(1, _MOST_JOINED + 1)
    if many + few > 2
]  # fmt: skip
"""Numbers of lines of a text and of a pattern that may be aligned if they have equally many characters."""


def _alignment_costs(own: Sequence[int], dues: Sequence[Sequence[int]]) -> Floats:
    """Return the lowest cost of aligning the first i lines of a text with the first j lines of each pattern.

    Args:
        own: Length of each line of the text.
        dues: Length of each line of each pattern.

    Returns:
        Shape (patterns, lines of the text + 1, most lines of a pattern + 1); columns after the last line of a pattern
        are meaningless.
    """
    width = max(map(len, dues))
    due = np.full((len(dues), width), _NO_LINE)
    for number, lengths in enumerate(dues):
        due[number, : len(lengths)] = lengths
    sums = np.pad(due.cumsum(axis=1), ((0, 0), (1, 0)))
    ends = [0, *accumulate(own)]
    alone = _MISSING * np.arange(width + 1)
    cost = np.full((len(dues), len(own) + 1, width + 1), np.inf)
    cost[:, 0] = alone
    for line, length in enumerate(own, start=1):
        least = cost[:, line - 1] + _MISSING
        apart = np.abs(due - length)
        beside = cost[:, line - 1, :-1] + np.where(apart, _OTHER_LENGTH + 0.05 * apart, 0)
        least[:, 1:] = np.minimum(least[:, 1:], beside)
        for many, few in _JOINS:
            if many <= line and few <= width:
                equal = sums[:, few:] - sums[:, :-few] == ends[line] - ends[line - many]
                joined = np.where(equal, cost[:, line - many, :-few] + _REGROUPED * (many + few - 2), np.inf)
                least[:, few:] = np.minimum(least[:, few:], joined)
        cost[:, line] = np.minimum.accumulate(least - alone, axis=1) + alone  # skips lines of the pattern
    return cost


def _alignment(own: Sequence[int], due: Sequence[int], cost: Floats) -> list[_Group]:
    """Return the best alignment of a text with one pattern, from its `_alignment_costs`."""
    groups: list[_Group] = []
    i, j = len(own), len(due)
    while i or j:
        steps = _steps(own, due, i, j)
        _, i2, j2 = min(steps, key=lambda step: cost[step[1], step[2]] + step[0])
        groups.append((i2, i, j2, j))
        i, j = i2, j2
    return groups[::-1]


def _steps(own: Sequence[int], due: Sequence[int], i: int, j: int) -> Iterable[tuple[float, int, int]]:
    """Yield the last steps of an alignment of the first i and j lines: cost, and i and j before the step."""
    if i and j:
        apart = abs(own[i - 1] - due[j - 1])
        yield (_OTHER_LENGTH + 0.05 * apart if apart else 0.0), i - 1, j - 1
    for many, few in _JOINS:
        if many <= i and few <= j and sum(own[i - many : i]) == sum(due[j - few : j]):
            yield _REGROUPED * (many + few - 2), i - many, j - few
    if i:
        yield _MISSING, i - 1, j
    if j:
        yield _MISSING, i, j - 1


def _review_near(
    text: _Text, tune: TunePattern, pattern: Pattern, groups: Sequence[_Group], prosody: Prosody
) -> Review:
    """Judge a text by a pattern whose lines it does not match, from their alignment."""
    lines = _cut(text.characters, text.ends)
    bounds = (0, *accumulate(pattern.line_lengths))
    demanded = _required_tones(pattern)
    expected = [FREE * len(line) for line in lines]
    rhyming = [0] * len(lines)
    findings: list[Finding] = []
    for first, last, start, end in groups:
        if first == last:
            code = "missing_line" if last < len(lines) else "missing_lines"
            shown = pattern.line_lengths[start] if last < len(lines) else len(pattern.line_lengths)
            findings.append(Fault(code, max(last, 1), count=len(lines), expected_count=shown, tune=tune.name))
            continue
        if start == end:
            code = "surplus_line" if last < len(lines) else "surplus_lines"
            shown = len(pattern.line_lengths)
            findings.append(Fault(code, last, count=len(lines), expected_count=shown, tune=tune.name))
            continue
        rhyming[last - 1] = pattern.due_rhymes.get(bounds[end], 0)
        due = demanded[bounds[start] : bounds[end]]
        if sum(map(len, lines[first:last])) != len(due):
            count = len(lines[first])
            findings.append(
                Fault("line_length_of_tune", first + 1, count=count, expected_count=len(due), tune=tune.name)
            )
            continue
        for number in range(first, last):
            expected[number], due = due[: len(lines[number])], due[len(lines[number]) :]
    return _judged(lines, expected, rhyming, _without_duplicates(findings), tune, prosody)


def _without_duplicates(findings: Sequence[Finding]) -> list[Finding]:
    """Remove duplicate findings, which may arise at the end of a poem; keep the order."""
    return list(dict.fromkeys(findings))
