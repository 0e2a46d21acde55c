"""One line of a poem written anew: the search writes it after those before, and those behind say what fits best."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from zhseq.errors import InputError
from zhseq.generation.drafting import Draft, check_wishes, find_tune, given_characters
from zhseq.generation.plan import Plan, free_pattern, plan_regulated, plan_tune
from zhseq.generation.request import CI, Request, pattern_form
from zhseq.generation.rules import OPEN
from zhseq.generation.writing import Order, Writer
from zhseq.prosody import Prosody, TunePattern
from zhseq.scoring import score_poems
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.verse import FORMS, Form

MOST_VERSIONS = 64
_ROUNDS = 4  # times that lines are written before fewer versions than asked for are given


def draft_rewriting(request: Request, lines: Sequence[str], index: int, prosody: Prosody | None) -> Draft:
    """Plan a poem of which one line is open.

    Args:
        request: As the poem was asked for; characters of its start and acrostic stay in the open line.
        lines: The poem, without punctuation.
        index: Number of the open line, from 0.
        prosody: Tones, rhymes and tunes; None: only the shape is kept.

    Raises:
        InputError: There is no such line, or the others have another form than they should.
    """
    check_wishes(request, prosody)
    if not 0 <= index < len(lines):
        raise InputError(f"there is no line {index} in a poem of {len(lines)} lines; they are numbered from 0")
    for number, line in enumerate(lines):
        if number != index and not is_han(codepoints(line)).all():
            raise InputError(
                f"line {number + 1} of the poem holds something else than Chinese characters; leave it out",
                code="open_places",
            )
    tune = find_tune(request.tune, prosody) if request.tune and prosody is not None else None
    form = _form(request, lines, index, tune)
    kept = given_characters(request, form)[index]
    given = tuple(kept if number == index else tuple(line) for number, line in enumerate(lines))
    whole = tuple(map(tuple, lines)) if len(lines[index]) == form.line_lengths[index] else given
    shape = Form(CI, form.line_lengths, form.marks) if tune else form
    plan = None
    if tune is not None and request.rhyme == "none":
        plan = Plan((free_pattern(tune),), (1.0,), ((OPEN,),))
    elif prosody is not None:
        try:  # the pattern of the poem as it is
            plan = _plan(form, tune, whole, prosody, lenient=False)
        except InputError:
            plan = _plan(form, tune, given, prosody, lenient=request.rhyme == "auto")
    return Draft(shape, given, plan, tune.name if tune else "")


def rewrite(writer: Writer, order: Order, old: str, index: int, num: int) -> list[str]:
    """Write the open line.

    Args:
        writer: The model.
        order: Its outline has one open line, see `draft_rewriting`.
        old: How this line reads now; it is not among the versions.
        index: Number of the open line, from 0.
        num: How many versions.

    Returns:
        The versions, those that go best with the other lines first.

    Raises:
        InputError: The number is out of range.
    """
    if not 1 <= num <= MOST_VERSIONS:
        raise InputError(f"the number of versions must lie in 1 to {MOST_VERSIONS}, but is {num}")
    given = ["".join(map(normalize, line)) for line in order.outline.given]
    taken = {normalize(old), *given}
    found: dict[str, str] = {}
    for turn in range(_ROUNDS):
        poems, _ = next(islice(writer.write(order, range(turn * num, (turn + 1) * num)), index, None))
        before = len(found)
        for ids in poems:
            line = writer.text(order, ids, index + 1)[index]
            if normalize(line) not in taken:
                found.setdefault(normalize(line), line)
        if len(found) >= num or len(found) == before:
            break
    drafts = [[*given[:index], line, *given[index + 1 :]] for line in found]
    bits = [
        score.bits for score in score_poems(writer.model, writer.vocab, drafts, [order.controls.form] * len(drafts))
    ]
    versions = list(found.values())
    return [versions[number] for number in np.argsort(bits, kind="stable")[:num]]


def _form(request: Request, lines: Sequence[str], index: int, tune: TunePattern | None) -> Form:
    """Return the form that all lines but the open one have."""
    known = [pattern_form(tune.name, tune)] if tune else list(FORMS.values())
    wanted = [form for form in known if tune or request.form in ("auto", form.name)]
    for form in wanted:
        pairs = list(zip(form.line_lengths, map(len, lines), strict=False))
        if len(form.line_lengths) == len(lines) and all(a == b for n, (a, b) in enumerate(pairs) if n != index):
            return form
    name = wanted[0].name if len(wanted) == 1 else "regulated poem (of 4 or 8 lines of 5 or 7 characters)"
    lengths = "、".join(str(len(line)) for line in lines[:24])
    hint = "" if request.tune or request.form != "auto" else "; name the tune if it is a ci"
    message = f"expected the lines of a {name}, but they have {lengths} characters{hint}"
    raise InputError(message, code="unknown_shape")


def _plan(
    form: Form, tune: TunePattern | None, given: Sequence[Sequence[str]], prosody: Prosody, *, lenient: bool
) -> Plan:
    folded = [[normalize(character) for character in line] for line in given]
    if tune is not None:
        return plan_tune(prosody, tune, folded, None, lenient=lenient)
    return plan_regulated(prosody, form.name, folded, None, lenient=lenient)
