"""From a request to a draft: the shape of the poem, the characters that are given, and the plan to keep the rules."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zhseq.errors import InputError
from zhseq.generation.plan import Plan, free_pattern, plan_regulated, plan_tune
from zhseq.generation.request import CI, RHYMES, Request, pattern_form
from zhseq.generation.rules import OPEN
from zhseq.prosody import Prosody, RhymeGroup, TunePattern
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import Vocab
from zhseq.verse import FORMS, Form, place_start

AUTO_FORMS = ("七绝", "五绝", "七律", "五律")
"""Forms in the order in which `form="auto"` tries them: the first that the given characters fit into."""

BETWEEN_LINES = re.compile(r"[|，。！？；：、,.!?;:\s]+")
"""What may stand between two lines of a text."""


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
        raise InputError(f"there is no rhyme '{request.rhyme}'; choose one of {', '.join(RHYMES[1:])}")
    needed = request.rhyme in ("classical", "modern") or request.tune or request.rhyme_group
    if request.rhyme == "none" and not request.tune:
        return None
    prosody = load()
    if prosody is None and needed:
        raise InputError(
            "this model comes without tones, rhymes and tunes; learn them with `python -m zhseq.train prosody` "
            "or use --rhyme none without a tune",
            code="no_rules",
        )
    if prosody is None or request.rhyme == "none":
        return prosody
    if request.rhyme == "modern":
        return prosody.modern()
    return prosody.views.get("lyric", prosody) if request.tune else prosody


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
        f"there is no tune '{name}' among the {len(known)} that are known (--list-tunes); near are {'、'.join(near)}",
        code="unknown_tune",
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
    message = f"the model knows no {kind} '{value}'; it knows {len(known)}, among them {'、'.join(near)}"
    raise InputError(message, code=f"unknown_{kind}")


def check_wishes(request: Request, prosody: Prosody | None) -> None:
    """Refuse wishes that no poem can fulfil.

    Raises:
        InputError: They cannot be fulfilled; the message says why.
    """
    if request.form != "auto" and request.form not in FORMS:
        message = f"there is no form '{request.form}'; choose one of auto, {', '.join(FORMS)}"
        raise InputError(message, code="unknown_form")
    if request.tune and request.form != "auto":
        message = f"a tune has a form of its own, so --form {request.form} and --tune {request.tune} exclude each other"
        raise InputError(f"{message}; leave one out", code="form_and_tune")
    if request.rhyme_group and prosody is None:
        message = "a rhyme group is of no use with --rhyme none; leave one of the two out"
        raise InputError(message, code="unused_rhyme_group")
    if request.acrostic_at not in ("start", "end"):
        raise InputError(f"an acrostic stands at the start or at the end of the lines, not at '{request.acrostic_at}'")
    if request.lines and request.start:
        raise InputError("a poem goes on either from lines or from a start; leave one out")
    for character in request.acrostic:
        if not bool(is_han(codepoints(character))[0]):
            shown = f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
            message = f"an acrostic is made of Chinese characters, but holds {shown}; leave it out"
            raise InputError(message, code="not_chinese")


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
            f"the acrostic has {len(request.acrostic)} characters, but a {form.name} has {len(grid)} lines; give fewer",
            code="acrostic_too_long",
        )
    for number, character in enumerate(request.acrostic):
        place = 0 if request.acrostic_at == "start" else len(grid[number]) - 1
        if grid[number][place] not in ("", character):
            raise InputError(
                f"line {number + 1} cannot have '{grid[number][place]}' of the start and '{character}' of the acrostic "
                "in one place; change one of the two",
                code="acrostic_clash",
            )
        grid[number][place] = character
    return tuple(map(tuple, grid))


def split_lines(text: str) -> list[str]:
    """Cut a text at its punctuation into lines."""
    return [line for line in BETWEEN_LINES.split(text) if line]


def _joined(lines: Sequence[str], form: Form) -> str:
    """Return the characters of lines to go on from, if the form has lines of such lengths."""
    lines = split_lines("\n".join(lines))
    if not lines:
        raise InputError("there is no line to go on from; give at least one")
    for number, (line, length) in enumerate(zip(lines, form.line_lengths, strict=False)):
        unfinished = number == len(lines) - 1 and len(line) < length
        if len(line) != length and not unfinished:
            raise InputError(f"line {number + 1} has {len(line)} characters, but in a {form.name} it has {length}")
    if len(lines) > len(form.line_lengths):
        raise InputError(f"there are {len(lines)} lines, but a {form.name} has {len(form.line_lengths)}; give fewer")
    return place_start("".join(lines), form)


def _normalized(given: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[normalize(character) for character in places] for places in given]
