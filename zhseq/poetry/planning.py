"""Turn a request into a plan: shape of the poem, given characters, allowed patterns. Imports no torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from zhseq.errors import InputError, Message
from zhseq.poetry.fitting import PatternChoice, choose_for_form, choose_for_tune, choose_only
from zhseq.poetry.forms import (
    FORMS,
    LONG_FORMS,
    WRITTEN_DYNASTY,
    Controls,
    Form,
    form_and_tune,
    long_form,
    not_chinese,
    place_start,
    unknown_form,
    unknown_shape,
)
from zhseq.poetry.prosody import CI, FREE, LEVEL, OBLIQUE, Pattern, Prosody, Tone, TunePattern
from zhseq.poetry.prosody.books import SONGS, standard_name
from zhseq.poetry.reading import BETWEEN_LINES, split_lines
from zhseq.poetry.request import RHYMES, Request, pattern_form
from zhseq.poetry.sense import Sense
from zhseq.poetry.wishes import control_values, read_author, read_subject
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import Vocab

_MOST_LINES = 8  # most lines of the forms with a fixed number of lines
AUTO_FORMS = ("七绝", "五绝", "七律", "五律")
"""Forms in the order in which `form="auto"` tries them; the first that the given characters fit is used.

An acrostic of more than eight characters selects one of `LONG_FORMS` instead."""
LONGEST_COUPLET = 24
"""Most characters of an upper line of a couplet."""


Given = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Known:
    """Tables of a model that planning needs."""

    vocab: Vocab
    """Vocabulary with control symbols for authors and dynasties."""
    sense: Sense | None = None
    """Statistics of verse, including topics and authors without a control symbol."""


@dataclass(frozen=True)
class Plan:
    """Everything that is fixed before a poem is sampled."""

    request: Request
    form: Form
    """Shape of the poem; its name is that of the form, or 词 for a poem to a tune."""
    given: Given
    """For each line and position the character that is fixed there, as the user wrote it, or an empty string."""
    controls: Controls
    """Conditions of the model, in names that it knows."""
    prosody: Prosody | None
    """Tones and rhymes; None: only the shape is kept."""
    choice: PatternChoice | None
    """Allowed patterns; None: only the shape is kept."""
    tune: str = ""
    answers: Mapping[int, int] = field(default_factory=dict)
    """Index of a line that is parallel to an earlier one (对仗) -> index of the earlier line."""
    echoes: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """Line and position that must repeat a character -> line and position of its first occurrence; for couplets."""
    subject: str = ""
    """Characters of the topic, one of which the poem should contain."""
    manner: Mapping[str, float] = field(default_factory=dict)
    """Character -> nats added to its score in sampling."""
    leads: frozenset[int] = frozenset()
    """Indices of lines with a caesura after their first character (领字)."""
    notes: tuple[Message, ...] = ()
    """Rules that were relaxed, and options that could only be followed in part."""


def plan_poem(request: Request, model: Known, prosody: Prosody | None) -> Plan:
    """Plan a poem in the first form that the request fits.

    Args:
        request: Options of the poem.
        model: Tables of the model.
        prosody: Result of `wanted_prosody`.

    Raises:
        InputError: Options contradict each other or the rules; the message says how.
    """
    _check(request, prosody)
    if request.tune:
        assert prosody is not None, "a tune needs a prosody"
        return _plan_tune(request, model, prosody, find_tune(request.tune, prosody))
    if request.form != "auto":
        return _plan_form(request, model, request.form, prosody, lenient=True)
    last: InputError | None = None
    # A form with a pattern that allows all given characters is preferred to relaxing the rules.
    for lenient in (False, True) if prosody is not None and request.rhyme == "auto" else (False,):
        for form in LONG_FORMS if len(request.acrostic) > _MOST_LINES else AUTO_FORMS:
            try:
                return _plan_form(request, model, form, prosody, lenient=lenient)
            except InputError as error:  # noqa: PERF203 - few forms; the error for 七律 explains best why nothing fits
                last = error if last is None or form == "七律" else last
    assert last is not None
    raise last


def wanted_prosody(request: Request, load: Callable[[], Prosody | None]) -> Prosody | None:
    """Return the tones and rhymes for a request, or None if it has no rules.

    Args:
        request: Options of the poem.
        load: Returns the prosody of the model, or None.

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
    if request.rhyme == "none" and not request.tune:
        return None
    prosody = load()
    if prosody is None and (request.rhyme != "auto" or request.tune or request.rhyme_group or request.rhyme_with):
        raise InputError(
            "no_rules",
            "this model has no tones, rhymes and tunes; learn them with `zhseq train prosody` or use "
            "<rhyme=none> without a tune",
        )
    if prosody is None or request.rhyme == "none":
        return prosody
    if request.rhyme == "modern":
        return prosody.modern()
    return prosody.lyric() if request.rhyme == "ci" or (request.tune and request.rhyme == "auto") else prosody


def _check(request: Request, prosody: Prosody | None) -> None:
    """Raise InputError for options that no poem can satisfy."""
    if request.form != "auto" and request.form not in FORMS and request.form not in LONG_FORMS:
        raise unknown_form(request.form, ("auto", *FORMS, *LONG_FORMS))
    if request.tune and request.form != "auto":
        raise form_and_tune(request.form, request.tune)
    if request.rhyme_group and request.rhyme_with:
        raise InputError("two_rhyme_groups", "<rhyme_group> and <rhyme_with> mean the same; give one of them")
    if (request.rhyme_group or request.rhyme_with) and prosody is None:
        raise InputError(
            "unused_rhyme_group", "a rhyme group cannot be used with <rhyme=none>; leave one of the two out"
        )
    if request.acrostic_at not in ("start", "end"):
        raise InputError(
            "unknown_acrostic_place",
            "an acrostic must be at the start or at the end of the lines, not at '{place}'",
            place=request.acrostic_at,
        )
    if request.lines and request.start:
        raise InputError("lines_and_start", "a poem continues either lines or a start; leave one out")
    for character in request.acrostic:
        if not bool(is_han(codepoints(character))[0]):
            raise not_chinese(Message("the_acrostic", "the acrostic"), character)


def _plan_form(request: Request, model: Known, name: str, prosody: Prosody | None, *, lenient: bool) -> Plan:
    form = FORMS.get(name) or long_form(name, _lines_wanted(request, LONG_FORMS[name]))
    given = given_characters(request, form)
    choice = None
    if prosody is not None:
        choice = _choose(request, form, None, given, prosody, lenient=lenient)
    return _regulated(request, form, given, model, prosody, choice)


def _lines_wanted(request: Request, length: int) -> int:
    """Return the number of lines of this length that the given characters need."""
    start = sum(map(len, split_lines(request.start)))
    return max(len(request.acrostic), len(request.lines), -(-start // length))


def _plan_tune(request: Request, model: Known, prosody: Prosody, tune: TunePattern) -> Plan:
    form = pattern_form(tune.name, tune)
    given = given_characters(request, form)
    choice = _choose(request, form, tune, given, prosody, lenient=True)
    return _ci(request, tune, given, model, prosody, choice)


def _choose(
    request: Request,
    form: Form,
    tune: TunePattern | None,
    given: Sequence[Sequence[str]],
    prosody: Prosody,
    *,
    lenient: bool,
) -> PatternChoice:
    """Choose patterns of a tune, or else of a form, for the given characters."""
    if tune is not None and request.rhyme == "none":
        return choose_only(_without_rules(tune))
    wanted = request.rhyme_group or request.rhyme_with
    group = prosody.group(wanted) if wanted else None
    lenient = lenient and request.rhyme == "auto" and group is None and not request.acrostic
    folded = [[normalize(character) for character in line] for line in given]
    if tune is not None:
        return choose_for_tune(prosody, tune, folded, group, lenient=lenient)
    return choose_for_form(prosody, form, folded, group, lenient=lenient)


def _without_rules(pattern: Pattern) -> Pattern:
    """Return a pattern of the same shape without tones and rhymes."""
    lengths = pattern.line_lengths
    return Pattern(lengths, tuple(FREE * n for n in lengths), (0,) * len(lengths), pattern.marks, pattern.breaks)


def _regulated(
    request: Request, form: Form, given: Given, model: Known, prosody: Prosody | None, choice: PatternChoice | None
) -> Plan:
    count, length = len(form.line_lengths), form.line_lengths[0]
    # All couplets except the first and the last are parallel (对仗).
    answers = {number: number - 1 for number in range(3, count - 2, 2)} if count >= _MOST_LINES else {}
    known = f"{'五' if length == 5 else '七'}言" if form.name in LONG_FORMS else form.name  # name of the control symbol
    plan = _plan(request, form, known, given, model, prosody, choice)
    return replace(plan, answers=answers)


def _ci(
    request: Request,
    tune: TunePattern,
    given: Given,
    model: Known,
    prosody: Prosody | None,
    choice: PatternChoice | None,
) -> Plan:
    plan = _plan(request, pattern_form(CI, tune), CI, given, model, prosody, choice, tune.name)
    leads = model.sense.leads.get(tune.name, ()) if model.sense is not None else ()
    return replace(plan, leads=frozenset(leads))


def _plan(
    request: Request,
    shape: Form,
    form: str,
    given: Given,
    model: Known,
    prosody: Prosody | None,
    choice: PatternChoice | None,
    tune: str = "",
) -> Plan:
    """Build a plan, with topic and author resolved to names that the model knows."""
    about = read_subject(request.about, model.vocab, model.sense)
    named = read_author(request.author, model.vocab, model.sense)
    style = WRITTEN_DYNASTY if form in FORMS and not (named.author or named.dynasty) else named.dynasty
    dynasty = _known_dynasty(request.dynasty, model.vocab) or style
    notes = [choice.note if choice is not None else None, about.note, named.note]
    return Plan(
        request,
        shape,
        given,
        Controls(form, dynasty, named.author, tune + (about.title or request.title)),
        prosody,
        choice,
        tune,
        subject=about.characters,
        manner=named.words,
        notes=tuple(note for note in notes if note is not None),
    )


def _known_dynasty(value: str, vocab: Vocab) -> str:
    """Return the model's spelling of a dynasty; raise InputError with similar names if there is none."""
    if not value:
        return ""
    folded = normalize(value)
    by_fold = {normalize(name): name for name in control_values(vocab, "dynasty")}
    if folded in by_fold:
        return by_fold[folded]
    near = difflib.get_close_matches(folded, by_fold, n=3, cutoff=0.3) or list(by_fold)[:3]
    raise InputError(
        "unknown_dynasty",
        "the model knows no dynasty '{name}'; it knows {count}, among them {near}",
        name=value,
        count=len(by_fold),
        near="、".join(near),
    )


def find_tune(name: str, prosody: Prosody) -> TunePattern:
    """Return a tune by its name or one of its other names.

    Raises:
        InputError: It is unknown; the message lists similar names.
    """
    folded = normalize(name)
    for known_as in (folded, standard_name(folded)):
        if known_as in prosody.tunes:
            return prosody.tunes[known_as]
    if folded in SONGS:
        raise InputError("tune_of_songs", "'{name}' is a tune of songs (曲), not of ci; choose a tune of ci", name=name)
    known = list(prosody.tunes)
    near = difflib.get_close_matches(folded, known, n=3, cutoff=0.3) or known[:3]
    raise InputError(
        "unknown_tune",
        "there is no tune '{name}' among the {count} known ones; similar names: {near}",
        name=name,
        count=len(known),
        near="、".join(near),
    )


def given_characters(request: Request, form: Form) -> Given:
    """Place the given characters of a request in a form; see `Plan.given`.

    Raises:
        InputError: They do not fit the form or contradict each other.
    """
    grid = [[""] * length for length in form.line_lengths]
    start = _joined(request.lines, form) if request.lines else place_start(request.start, form)
    positions = [(line, position) for line, length in enumerate(form.line_lengths) for position in range(length)]
    for (line, position), character in zip(positions, start, strict=False):
        grid[line][position] = character
    if len(request.acrostic) > len(grid):
        raise InputError(
            "acrostic_too_long",
            "the acrostic has {count} characters, but a {form} has {lines} lines; give fewer",
            count=len(request.acrostic),
            form=form.name,
            lines=len(grid),
        )
    for number, character in enumerate(request.acrostic):
        position = 0 if request.acrostic_at == "start" else len(grid[number]) - 1
        if grid[number][position] not in ("", character):
            raise InputError(
                "acrostic_clash",
                "line {line} cannot have both '{given}' of the start and '{character}' of the "
                "acrostic at the same position; change one of the two",
                line=number + 1,
                given=grid[number][position],
                character=character,
            )
        grid[number][position] = character
    return tuple(map(tuple, grid))


def _joined(lines: Sequence[str], form: Form) -> str:
    """Return the characters of the lines to continue; raise InputError if the form has other line lengths."""
    lines = split_lines("\n".join(lines))
    if not lines:
        raise InputError("no_line", "there is no line to continue; give at least one")
    for number, (line, length) in enumerate(zip(lines, form.line_lengths, strict=False)):
        unfinished = number == len(lines) - 1 and len(line) < length
        if len(line) != length and not unfinished:
            others = [character for character in line if not is_han(codepoints(character)).all()]
            if others:  # more likely the cause than a wrong number of characters
                raise not_chinese(Message("this_text", "this text"), others[0])
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


def plan_rewriting(request: Request, lines: Sequence[str], index: int, model: Known, prosody: Prosody | None) -> Plan:
    """Plan a poem of which one line is to be rewritten.

    Args:
        request: Options of the poem; characters of its start and acrostic stay in the open line.
        lines: The poem, without punctuation.
        index: Index of the open line, from 0.
        model: As for `plan_poem`.
        prosody: As for `plan_poem`.

    Raises:
        InputError: There is no such line, or the other lines do not have the expected form.
    """
    _check(request, prosody)
    if not 0 <= index < len(lines):
        raise InputError(
            "no_such_line",
            "there is no line {index} in a poem of {count} lines; they are numbered from 0",
            index=index,
            count=len(lines),
        )
    for number, line in enumerate(lines):
        if number != index and not is_han(codepoints(line)).all():
            raise InputError(
                "open_places",
                "line {line} of the poem contains a missing or non-Chinese character; fill it in or remove it",
                line=number + 1,
            )
    tune = find_tune(request.tune, prosody) if request.tune and prosody is not None else None
    form = _form_but_for(lines, index, request, tune)
    kept = given_characters(request, form)[index]
    given = tuple(kept if number == index else tuple(line) for number, line in enumerate(lines))
    choice = None
    if prosody is not None:
        whole = tuple(map(tuple, lines)) if len(lines[index]) == form.line_lengths[index] else given
        asked = Request(rhyme=request.rhyme)  # without a rhyme group, which the other lines determine
        try:  # a pattern that also allows the old line
            choice = _choose(asked, form, tune, whole, prosody, lenient=False)
        except InputError:
            choice = _choose(asked, form, tune, given, prosody, lenient=True)
    if tune is not None:
        return _ci(request, tune, given, model, prosody, choice)
    return _regulated(request, form, given, model, prosody, choice)


def _form_but_for(lines: Sequence[str], index: int, request: Request, tune: TunePattern | None) -> Form:
    """Return the form of all lines except one."""
    known = [pattern_form(tune.name, tune)] if tune else list(FORMS.values())
    if not tune and len(lines) > _MOST_LINES:
        known = [long_form(name, len(lines)) for name in LONG_FORMS]
    wanted = [form for form in known if tune or request.form in ("auto", form.name)]
    for form in wanted:
        pairs = list(zip(form.line_lengths, map(len, lines), strict=False))
        if len(form.line_lengths) == len(lines) and all(a == b for n, (a, b) in enumerate(pairs) if n != index):
            return form
    if len(wanted) > 1:
        raise unknown_shape(lines)
    raise InputError(
        "lines_of_other_form",
        "expected the lines of a {form}, but they have {lengths} characters",
        form=wanted[0].name,
        lengths="、".join(str(len(line)) for line in lines[:24]),
    )


def plan_couplet(request: Request, upper: str, prosody: Prosody) -> Plan:
    """Plan a couplet: the clauses of the upper line, followed by as many open clauses of the lower line.

    Args:
        request: Sampling and ranking parameters.
        upper: The upper line (上联), with or without punctuation.
        prosody: Tones.

    Raises:
        InputError: The upper line is too short or too long, or contains a character that is not Chinese.
    """
    clauses = split_lines(upper)
    characters = "".join(clauses)
    foreign = next((character for character in characters if not bool(is_han(codepoints(character))[0])), "")
    if foreign:
        raise not_chinese(Message("the_upper_line", "the upper line"), foreign)
    if not 2 <= len(characters) <= LONGEST_COUPLET:
        raise InputError(
            "upper_line_length",
            "an upper line has 2 to {most} characters, but this one has {count}",
            most=LONGEST_COUPLET,
            count=len(characters),
        )
    tones = [_opposite_tones(normalize(clause), prosody) for clause in clauses]
    if tones[-1][-1] == FREE:
        tones[-1] = tones[-1][:-1] + LEVEL
    echoes = _echoes(clauses)
    for later, first in echoes.items():
        tones[first[0]] = _place(tones[first[0]], first[1], tones[later[0]][later[1]])
    lengths = tuple(map(len, clauses)) * 2
    pattern = Pattern(lengths, (*(FREE * len(clause) for clause in clauses), *tones), (0,) * len(lengths))
    read_in = {5: "五律", 7: "七律"}.get(len(clauses[0]), "") if len(clauses) == 1 else ""
    return Plan(
        request,
        Form(read_in, lengths, ""),
        (*map(tuple, clauses), *(("",) * len(clause) for clause in clauses)),
        Controls(read_in),
        prosody,
        choose_only(pattern),
        answers={len(clauses) + number: number for number in range(len(clauses))},
        echoes={
            (len(clauses) + line, position): (len(clauses) + first, place)
            for (line, position), (first, place) in echoes.items()
        },
    )


def _echoes(clauses: Sequence[str]) -> dict[tuple[int, int], tuple[int, int]]:
    """Return clause and position of each repeated character -> clause and position of its first occurrence."""
    first: dict[str, tuple[int, int]] = {}
    result = {}
    for line, clause in enumerate(clauses):
        for position, character in enumerate(normalize(clause)):
            source = first.setdefault(character, (line, position))
            if source != (line, position):
                result[line, position] = source
    return result


def _place(tones: str, position: int, tone: str) -> str:
    """Return tones with the one at a position set to `tone` if it is free there."""
    return tones if tones[position] != FREE else tones[:position] + tone + tones[position + 1 :]


def answer_marks(upper: str) -> list[str]:
    """Return the marks after the clauses of a lower line: those of the upper line, with a final comma as a stop."""
    marks = [mark if mark.strip() else "" for mark in BETWEEN_LINES.findall(upper.strip())]
    marks += [""] * (len(split_lines(upper)) - len(marks))
    return [*marks[:-1], marks[-1].replace("，", "。").replace(",", "。")]


def _opposite_tones(line: str, prosody: Prosody) -> str:
    """Return the tones of a line parallel to a given one: opposite at the even positions and at the end, else free."""
    tones = []
    for position, character in enumerate(line):
        tone = prosody.tone_class(character)
        heard = position % 2 == 1 or position == len(line) - 1
        tones.append({Tone.LEVEL: OBLIQUE, Tone.OBLIQUE: LEVEL}.get(tone, FREE) if heard else FREE)
    return "".join(tones)
