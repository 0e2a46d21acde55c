"""From a request to a draft: the shape of the poem, the characters that are given, and the plan to keep the rules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from zhseq.errors import InputError, Message
from zhseq.poetry.faults import TONE_WORDS
from zhseq.poetry.forms import CI, FORMS, Form, form_and_tune, not_chinese, place_start, unknown_form
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Pattern, Prosody, RhymeGroup, Tone, TunePattern
from zhseq.poetry.reading import BETWEEN_LINES, split_lines
from zhseq.poetry.request import RHYMES, Request, pattern_form
from zhseq.poetry.rules import OPEN, roomy, slots
from zhseq.poetry.search import Ranking
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import Vocab

Given = Sequence[Sequence[str]]
"""For each line and place the character that must stand there, or an empty string."""

_RHYMED_FIRST = {5: 0.25, 7: 0.75}
"""How often poets rhyme the first line too, by the length of the line."""
_BEYOND_TONES = 10_000  # reach of a conflict of rhymes, which is found when all tones agree
_LONELY, _RESCUED = "平平中仄平", "仄平平仄平"
"""A line of five whose first place demands a level tone, and how poets mend it where that cannot be (孤平拗救)."""


@dataclass(frozen=True)
class Plan:
    """Patterns that a poem may follow, all of one shape."""

    patterns: tuple[Pattern, ...]
    weights: tuple[float, ...]
    """How often each pattern is taken."""
    presets: tuple[tuple[int, ...], ...]
    """For each pattern the group of each of its rhymes, or -1 where it is open."""
    note: Message | None = None
    """Which rules were relaxed to keep the given characters; None if none were."""


class _Conflict(Exception):
    """A pattern and the given characters do not agree; the later in the poem (`reach`), the nearer they came."""

    def __init__(self, reason: Message, reach: int) -> None:
        super().__init__(reason)
        self.reason, self.reach = reason, reach


def plan_regulated(prosody: Prosody, form: str, given: Given, group: RhymeGroup | None, *, lenient: bool) -> Plan:
    """Plan a poem of a regulated form.

    Args:
        prosody: Tones and rhymes.
        form: 五绝, 七绝, 五律 or 七律.
        given: Characters that must stand.
        group: Rhyme group that was asked for.
        lenient: Leave given characters as they are where no pattern allows them; not with a rhyme group.

    Raises:
        InputError: No pattern allows the given characters.
    """
    every = prosody.templates(form)
    if group is not None and group.tone is not Tone.LEVEL:
        raise InputError(
            "oblique_rhyme_group",
            "a {form} rhymes on level tones, but the words of the rhyme group '{group}' are oblique; "
            "choose a level one",
            form=form,
            group=group.name,
        )
    length = every[0].line_lengths[0]
    weights = [_RHYMED_FIRST[length] if pattern.rhymes[0] else 1 - _RHYMED_FIRST[length] for pattern in every]
    return _plan(prosody, form, every, weights, given, group, lenient)


def plan_tune(prosody: Prosody, tune: TunePattern, given: Given, group: RhymeGroup | None, *, lenient: bool) -> Plan:
    """Plan a ci; as `plan_regulated`. Only its commonest line lengths are written, with all tone patterns of them."""
    every = [tune, *(variant for variant in tune.variants if variant.line_lengths == tune.line_lengths)]
    weights = [float(max(pattern.count, 1)) for pattern in every]
    return _plan(prosody, tune.name, every, weights, given, group, lenient)


def free_pattern(pattern: Pattern) -> Pattern:
    """Return a pattern of the same shape without tones and rhymes."""
    lengths = pattern.line_lengths
    return Pattern(lengths, tuple(FREE * n for n in lengths), (0,) * len(lengths), pattern.marks, pattern.breaks)


def _plan(
    prosody: Prosody,
    name: str,
    patterns: Iterable[Pattern],
    weights: Iterable[float],
    given: Given,
    group: RhymeGroup | None,
    lenient: bool,
) -> Plan:
    fitting, conflicts = [], []
    weighted = list(zip(patterns, weights, strict=True))
    for pattern, weight in weighted:
        try:
            mended = _fit_tones(prosody, pattern, given)
            fitting.append((mended, weight, _fit_rhymes(prosody, mended, given, group)))
        except _Conflict as conflict:  # noqa: PERF203 - a handful of patterns
            conflicts.append(conflict)
    nearest = max(conflicts, key=lambda conflict: conflict.reach, default=None)
    note = None
    if not fitting and lenient and nearest is not None:
        note = Message(
            "kept_as_given",
            "no pattern of {form} allows what is given: {reason}; it stands as it is, and the rest keeps the rules",
            {"form": name, "reason": nearest.reason},
        )
        relaxed = [(_relax(prosody, pattern, given), weight) for pattern, weight in weighted]
        fewest = min(changes for (_, changes), _ in relaxed)
        for (pattern, changes), weight in relaxed:
            if changes == fewest:
                fitting.append((pattern, weight, _fit_rhymes(prosody, pattern, given, None)))
    if not fitting:
        assert nearest is not None, "there is a pattern, and each either fits or conflicts"
        raise InputError(
            "against_the_pattern",
            "no pattern of {form} allows what is given: {reason}; change it or use <rhyme=none>",
            form=name,
            reason=nearest.reason,
        )
    taken, shares, presets = zip(*fitting, strict=True)
    return Plan(taken, shares, presets, note)


def _fit_tones(prosody: Prosody, pattern: Pattern, given: Given) -> Pattern:
    """Return the pattern, mended where a given character calls for it, or raise a conflict."""
    tones = list(pattern.tones)
    for number, (line, places) in enumerate(zip(pattern.tones, given, strict=True)):
        wrong = [place for place, character in enumerate(places) if _against(prosody, character, line[place])]
        if not wrong:
            continue
        third = len(line) - 3
        if wrong == [len(line) - 5] and line.endswith(_LONELY) and not _against(prosody, places[third], LEVEL):
            tones[number] = line[:-5] + _RESCUED
            continue
        place = wrong[0]
        reason = Message(
            "wrong_given_tone",
            "'{character}' in line {line} would have to be {tone}",
            {"character": places[place], "line": number + 1, "tone": TONE_WORDS[line[place]]},
        )
        raise _Conflict(reason, number * 100 + place)
    return replace(pattern, tones=tuple(tones)) if tuple(tones) != pattern.tones else pattern


def _fit_rhymes(prosody: Prosody, pattern: Pattern, given: Given, wanted: RhymeGroup | None) -> tuple[int, ...]:
    """Return the group of each rhyme, -1 where it is open, or raise a conflict."""
    by_line = slots(pattern)
    result = []
    for slot in range(max(by_line) + 1):
        lines = [line for line, number in enumerate(by_line) if number == slot]
        tone = pattern.tones[lines[0]][-1]
        words = [given[line][-1] for line in lines if given[line][-1]]
        known = [set(prosody.groups(word)) for word in words if prosody.groups(word)]
        shared = set.intersection(*known) if known else set()
        if wanted is not None and tone in (FREE, wanted.tone.value):
            if known and wanted.id not in shared:
                values = {"words": "、".join(words), "group": wanted.name}
                reason = Message("not_in_group", "{words} is not in the rhyme group '{group}'", values)
                raise _Conflict(reason, _BEYOND_TONES)
            known = [{wanted.id}]
            shared = known[0]
        if len(set(words)) < len(words):
            values = {"words": "、".join(words)}
            raise _Conflict(Message("rhyme_word_twice", "the rhyme word {words} stands twice", values), _BEYOND_TONES)
        fitting = [i for i in sorted(shared) if roomy(prosody.rhyme_groups[i], len(lines) - len(words), tone)]
        if known and not fitting:
            values = {"words": "、".join(words)}
            raise _Conflict(Message("no_common_rhyme", "{words} do not rhyme on one tone", values), _BEYOND_TONES)
        certain = [i for word in words for i in prosody.certain_groups(word) if i in fitting]
        result.append((certain or fitting or [OPEN])[0])
    if wanted is not None and wanted.id not in result:
        reason = Message(
            "no_rhyme_of_tone", "none of its rhymes has the tone of the rhyme group '{group}'", {"group": wanted.name}
        )
        raise _Conflict(reason, 0)
    return tuple(result)


def _relax(prosody: Prosody, pattern: Pattern, given: Given) -> tuple[Pattern, int]:
    """Free the places, and if need be the rhymes, of given characters; also return how many."""
    tones, rhymes, changes = [], list(pattern.rhymes), 0
    for number, (line, places) in enumerate(zip(pattern.tones, given, strict=True)):
        wrong = {place for place, character in enumerate(places) if _against(prosody, character, line[place])}
        tones.append("".join(FREE if place in wrong else tone for place, tone in enumerate(line)))
        changes += len(wrong)
        if len(line) - 1 in wrong:
            rhymes[number] = 0
    relaxed = replace(pattern, tones=tuple(tones), rhymes=tuple(rhymes))
    try:
        _fit_rhymes(prosody, relaxed, given, None)
    except _Conflict:
        ends = [bool(places[-1]) for places in given]
        free = [0 if end else rhyme for end, rhyme in zip(ends, rhymes, strict=True)]
        return replace(relaxed, rhymes=tuple(free)), changes + sum(ends)
    return relaxed, changes


def _against(prosody: Prosody, character: str, tone: str) -> bool:
    """Tell whether a given character cannot stand at a place of this tone."""
    if not character or tone == FREE:
        return False
    return prosody.tone_class(character) is (Tone.OBLIQUE if tone == LEVEL else Tone.LEVEL)


def opposite(line: str, prosody: Prosody) -> str:
    """Return the tones of a line that answers a given one: opposed at the even places and at the end."""
    tones = []
    for place, character in enumerate(line):
        tone = prosody.tone_class(character)
        heard = place % 2 == 1 or place == len(line) - 1
        tones.append({Tone.LEVEL: OBLIQUE, Tone.OBLIQUE: LEVEL}.get(tone, FREE) if heard else FREE)
    return "".join(tones)


AUTO_FORMS = ("七绝", "五绝", "七律", "五律")
"""Forms in the order in which `form="auto"` tries them: the first that the given characters fit into."""


@dataclass(frozen=True)
class Draft:
    """A poem before it is written."""

    form: Form
    """Its shape; the name of the form, or of the tune."""
    given: tuple[tuple[str, ...], ...]
    """For each line and place the character that must stand there as the user wrote it, or an empty string."""
    plan: Plan | None
    """None: only the shape is kept."""
    tune: str = ""


def draft(request: Request, prosody: Prosody | None) -> Draft:
    """Find the first shape that a request fits into.

    Args:
        request: What is asked for.
        prosody: Tones, rhymes and tunes that `rhyme` stands for; None if only the shape is to be kept.

    Raises:
        InputError: Wishes contradict each other or the rules; the message says how.
    """
    check_wishes(request, prosody)
    if request.tune:
        assert prosody is not None
        return _draft_tune(request, prosody, find_tune(request.tune, prosody))
    if request.form != "auto":
        return _draft_form(request, request.form, prosody, lenient=True)
    last: InputError | None = None
    # A pattern that allows everything is better than one that must leave what is given as it is.
    for lenient in (False, True) if prosody is not None and request.rhyme == "auto" else (False,):
        for form in AUTO_FORMS:
            try:
                return _draft_form(request, form, prosody, lenient=lenient)
            except InputError as error:  # noqa: PERF203 - four forms, and the largest says best why nothing fits
                last = error if last is None or form == "七律" else last
    assert last is not None
    raise last


def wanted_prosody(request: Request, load: Callable[[], Prosody | None]) -> Prosody | None:
    """Return the tones and rhymes that a request asks for, or None if it asks for none.

    Args:
        request: What is asked for.
        load: Returns the prosody that comes with the model, or None.

    Raises:
        InputError: The request needs a prosody, and the model has none.
    """
    if request.rhyme not in RHYMES:
        raise InputError(
            "unknown_rhyme",
            "there is no rhyme '{rhyme}'; choose one of {rhymes}",
            rhyme=request.rhyme,
            rhymes=", ".join(RHYMES[1:]),
        )
    needed = request.rhyme in ("classical", "modern") or request.tune or request.rhyme_group
    if request.rhyme == "none" and not request.tune:
        return None
    prosody = load()
    if prosody is None and needed:
        raise InputError(
            "no_rules",
            "this model comes without tones, rhymes and tunes; learn them with `python -m zhseq.train prosody` "
            "or use <rhyme=none> without a tune",
        )
    if prosody is None or request.rhyme == "none":
        return prosody
    if request.rhyme == "modern":
        return prosody.modern()
    return prosody.lyric() if request.tune else prosody


def find_tune(name: str, prosody: Prosody) -> TunePattern:
    """Return a tune by its name.

    Raises:
        InputError: It is not known; the message names those that come near.
    """
    folded = normalize(name)
    if folded in prosody.tunes:
        return prosody.tunes[folded]
    known = list(prosody.tunes)
    near = difflib.get_close_matches(folded, known, n=3, cutoff=0.3) or known[:3]
    raise InputError(
        "unknown_tune",
        "there is no tune '{name}' among the {count} that are known; near are {near}",
        name=name,
        count=len(known),
        near="、".join(near),
    )


def control_values(vocab: Vocab, kind: str) -> tuple[str, ...]:
    """Return what a control symbol can say, all authors for example, in the order of the vocabulary."""
    head = f"<{kind}:"
    return tuple(symbol[len(head) : -1] for symbol in vocab.symbols if symbol.startswith(head))


def known_name(kind: str, value: str, known: Sequence[str]) -> str:
    """Return the model's spelling of an author or dynasty, or say which ones come near."""
    folded = normalize(value)
    by_fold = {normalize(name): name for name in known}
    if not value or folded in by_fold:
        return by_fold.get(folded, "")
    near = difflib.get_close_matches(folded, by_fold, n=3, cutoff=0.3) or list(by_fold)[:3]
    values = {"name": value, "count": len(known), "near": "、".join(near)}
    if kind == "author":
        raise InputError(
            "unknown_author", "the model knows no author '{name}'; it knows {count}, among them {near}", **values
        )
    raise InputError(
        "unknown_dynasty", "the model knows no dynasty '{name}'; it knows {count}, among them {near}", **values
    )


def check_wishes(request: Request, prosody: Prosody | None) -> None:
    """Refuse wishes that no poem can fulfil.

    Raises:
        InputError: They cannot be fulfilled; the message says why.
    """
    if request.form != "auto" and request.form not in FORMS:
        raise unknown_form(request.form, ("auto", *FORMS))
    if request.tune and request.form != "auto":
        raise form_and_tune(request.form, request.tune)
    if request.rhyme_group and prosody is None:
        raise InputError("unused_rhyme_group", "a rhyme group is of no use with <rhyme=none>; leave one of the two out")
    if request.acrostic_at not in ("start", "end"):
        raise InputError(
            "unknown_acrostic_place",
            "an acrostic stands at the start or at the end of the lines, not at '{place}'",
            place=request.acrostic_at,
        )
    if request.lines and request.start:
        raise InputError("lines_and_start", "a poem goes on either from lines or from a start; leave one out")
    for character in request.acrostic:
        if not bool(is_han(codepoints(character))[0]):
            raise not_chinese(Message("the_acrostic", "the acrostic"), character)


def _draft_form(request: Request, name: str, prosody: Prosody | None, *, lenient: bool) -> Draft:
    form = FORMS[name]
    given = given_characters(request, form)
    if prosody is None:
        return Draft(form, given, None)
    group = _group(request, prosody)
    lenient = lenient and request.rhyme == "auto" and group is None and not request.acrostic
    return Draft(form, given, plan_regulated(prosody, name, _normalized(given), group, lenient=lenient))


def _draft_tune(request: Request, prosody: Prosody, tune: TunePattern) -> Draft:
    form = pattern_form(tune.name, tune)
    given = given_characters(request, form)
    if request.rhyme == "none":
        free = free_pattern(tune)
        return Draft(Form(CI, form.line_lengths, form.marks), given, Plan((free,), (1.0,), ((OPEN,),)), tune.name)
    group = _group(request, prosody)
    lenient = request.rhyme == "auto" and group is None and not request.acrostic
    plan = plan_tune(prosody, tune, _normalized(given), group, lenient=lenient)
    return Draft(Form(CI, form.line_lengths, form.marks), given, plan, tune.name)


def _group(request: Request, prosody: Prosody) -> RhymeGroup | None:
    return prosody.group(request.rhyme_group) if request.rhyme_group else None


def given_characters(request: Request, form: Form) -> tuple[tuple[str, ...], ...]:
    """Lay the given characters of a request out in a form; see `Draft.given`.

    Raises:
        InputError: They do not fit into it or contradict each other.
    """
    grid = [[""] * length for length in form.line_lengths]
    start = _joined(request.lines, form) if request.lines else place_start(request.start, form)
    places = [(line, place) for line, length in enumerate(form.line_lengths) for place in range(length)]
    for (line, place), character in zip(places, start, strict=False):
        grid[line][place] = character
    if len(request.acrostic) > len(grid):
        raise InputError(
            "acrostic_too_long",
            "the acrostic has {count} characters, but a {form} has {lines} lines; give fewer",
            count=len(request.acrostic),
            form=form.name,
            lines=len(grid),
        )
    for number, character in enumerate(request.acrostic):
        place = 0 if request.acrostic_at == "start" else len(grid[number]) - 1
        if grid[number][place] not in ("", character):
            raise InputError(
                "acrostic_clash",
                "line {line} cannot have '{given}' of the start and '{character}' of the acrostic in one place; "
                "change one of the two",
                line=number + 1,
                given=grid[number][place],
                character=character,
            )
        grid[number][place] = character
    return tuple(map(tuple, grid))


def _joined(lines: Sequence[str], form: Form) -> str:
    """Return the characters of lines to go on from, if the form has lines of such lengths."""
    lines = split_lines("\n".join(lines))
    if not lines:
        raise InputError("no_line", "there is no line to go on from; give at least one")
    for number, (line, length) in enumerate(zip(lines, form.line_lengths, strict=False)):
        unfinished = number == len(lines) - 1 and len(line) < length
        if len(line) != length and not unfinished:
            raise InputError(
                "wrong_line_length",
                "line {line} has {count} characters, but in a {form} it has {expected}",
                line=number + 1,
                count=len(line),
                form=form.name,
                expected=length,
            )
    if len(lines) > len(form.line_lengths):
        raise InputError(
            "too_many_lines",
            "there are {count} lines, but a {form} has {expected}; give fewer",
            count=len(lines),
            form=form.name,
            expected=len(form.line_lengths),
        )
    return place_start("".join(lines), form)


def _normalized(given: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[normalize(character) for character in places] for places in given]


LONGEST = 24
COUPLET_RANKING = Ranking(best_of=96, typical=4.2, rarity=0.1)
"""A single answer can be chosen with more care than the lines of a poem, and need not be varied."""
_FORMS = {5: "五律", 7: "七律"}


@dataclass(frozen=True)
class CoupletDraft:
    """An upper line and the shape of its answer."""

    clauses: tuple[str, ...]
    """The upper line, cut at its punctuation."""
    marks: tuple[str, ...]
    """What stands behind each clause."""
    plan: Plan
    """A pattern of the clauses and, after them, their answers."""

    @property
    def form(self) -> str:
        """The form in which the model has read such lines, or an empty string."""
        return _FORMS.get(len(self.clauses[0]), "") if len(self.clauses) == 1 else ""

    @property
    def given(self) -> list[list[str]]:
        """The clauses and as many open lines."""
        return [*map(list, self.clauses), *([""] * len(clause) for clause in self.clauses)]

    @property
    def answers(self) -> dict[int, int]:
        """Number of each answering line -> number of the line it answers."""
        count = len(self.clauses)
        return {count + number: number for number in range(count)}

    def lower(self, lines: Sequence[str]) -> str:
        """Return the answer with the punctuation of the upper line."""
        marks = [*self.marks[:-1], self.marks[-1].replace("，", "。").replace(",", "。")]
        return "".join(line + mark for line, mark in zip(lines[len(self.clauses) :], marks, strict=True))


def draft_couplet(upper: str, prosody: Prosody) -> CoupletDraft:
    """Plan the answer to an upper line.

    Raises:
        InputError: It is empty, too long or holds something that is no Chinese character.
    """
    clauses = split_lines(upper)
    marks = [mark if mark.strip() else "" for mark in BETWEEN_LINES.findall(upper.strip())]
    marks += [""] * (len(clauses) - len(marks))
    characters = "".join(clauses)
    foreign = [character for character in characters if not bool(is_han(codepoints(character))[0])]
    if foreign:
        raise not_chinese(Message("the_upper_line", "the upper line"), foreign[0])
    if not 2 <= len(characters) <= LONGEST:
        raise InputError(
            "upper_line_length",
            "an upper line has 2 to {most} characters, but this one has {count}",
            most=LONGEST,
            count=len(characters),
        )
    folded = [normalize(clause) for clause in clauses]
    tones = [opposite(clause, prosody) for clause in folded]
    if tones[-1][-1] == FREE:
        tones[-1] = tones[-1][:-1] + LEVEL
    lengths = tuple(map(len, clauses)) * 2
    free = [FREE * len(clause) for clause in clauses]
    pattern = Pattern(lengths, (*free, *tones), (0,) * len(lengths))
    return CoupletDraft(tuple(clauses), tuple(marks), Plan((pattern,), (1.0,), ((OPEN,),)))
