"""From a draft to poems: what the model reads, which characters stand, and ids turned back into lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zhseq.errors import InputError
from zhseq.poetry.forms import CI, FORMS, LINE, Controls, Form, encode_prefix, unknown_shape
from zhseq.poetry.model import LanguageModel
from zhseq.poetry.planning import (
    Draft,
    Plan,
    check_wishes,
    find_tune,
    free_pattern,
    given_characters,
    plan_regulated,
    plan_tune,
)
from zhseq.poetry.prosody import Prosody, TunePattern
from zhseq.poetry.request import Poem, Request, pattern_form
from zhseq.poetry.rules import OPEN, RuleTables, Template
from zhseq.poetry.scoring import score_poems
from zhseq.poetry.search import NoRepeatedLine, Task, sample, write
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import Vocab


def to_text(vocab: Vocab, ids: Tensor, given: Sequence[Sequence[str]], *, traditional: bool) -> tuple[str, ...]:
    """Turn one poem into lines.

    Args:
        vocab: The model's vocabulary.
        ids: (lines, longest line) int64.
        given: Characters that stand as they are, see `Draft.given`.
        traditional: Write the others in traditional script.
    """
    # A given character that the vocabulary lacks is held by a placeholder until it is put back.
    lines = [
        "".join(symbol if len(symbol := vocab.symbol(index)) == 1 else "□" for index in line[: len(places)])
        for line, places in zip(ids.tolist(), given, strict=True)
    ]
    written = to_traditional(lines) if traditional else lines
    return tuple(
        "".join(kept or character for kept, character in zip(places, line, strict=True))
        for places, line in zip(given, written, strict=True)
    )


def to_traditional(lines: Sequence[str]) -> list[str]:
    """Return lines in traditional characters, by phrase where that keeps their length, else by character."""
    converter = _converter()
    converted = [(line, converter.convert(line)) for line in lines]
    return [
        new if len(new) == len(line) else "".join(converter.convert(character)[0] for character in line)
        for line, new in converted
    ]


@lru_cache(maxsize=1)
def _converter() -> Any:
    """Return what turns simplified phrases into traditional ones; its dictionaries are slow to load."""
    from opencc import OpenCC

    return OpenCC("s2t")


_SIDE_BY_SIDE = 256  # lines written at once: more are not faster on a CPU, and memory stays flat
_AGAIN_IN_CI = 1.5  # nats against a character that a ci has already; ci repeat words, regulated verse hardly does
_ANSWERS = {3: 2, 5: 4}  # the two middle couplets of eight lines face each other word for word


@dataclass(frozen=True)
class Order:
    """A request that has been understood."""

    request: Request
    outline: Draft
    controls: Controls
    """What the poem is asked to be, in names that the model knows."""
    prosody: Prosody | None
    """Tones and rhymes by which it is written; None: only the shape is kept."""


class Writer:
    """A language model that writes what is ordered. One object may be used from several threads."""

    def __init__(self, model: LanguageModel, vocab: Vocab) -> None:
        """Wrap a model in evaluation mode and its vocabulary."""
        self.model = model
        self.vocab = vocab
        self.device = model.output_bias.device
        self._tables: dict[int, RuleTables] = {}
        characters = "".join(
            symbol if len(symbol) == 1 else " " for symbol in vocab.symbols[: model.config.output_size]
        )
        self._allowed = torch.from_numpy(is_han(codepoints(characters))).to(self.device)

    def poems(self, order: Order, num: int) -> Iterator[Poem]:
        """Yield `num` poems; number i is the same whatever `num` is."""
        block = max(1, _SIDE_BY_SIDE // (order.request.ranking.best_of if order.outline.plan else 1))
        for first in range(0, num, block):
            *_, (poems, pattern) = self.write(order, range(first, min(first + block, num)))
            for ids, index in zip(poems, pattern.tolist(), strict=True):
                yield self._poem(order, ids, index, len(order.outline.given))

    def lines(self, order: Order, number: int) -> Iterator[Poem]:
        """Yield the poem of a number after each of its lines, as far as it is written."""
        for count, (poems, pattern) in enumerate(self.write(order, range(number, number + 1)), start=1):
            yield self._poem(order, poems[0], int(pattern[0]), count)

    def write(self, order: Order, numbers: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Write poems side by side.

        Yields:
            After each line: character ids, (poems, lines, longest line) int64, 0 where nothing is written; and the
            pattern of the plan that each poem follows, (poems,) int64, 0 without a plan.
        """
        outline, request = order.outline, order.request
        if outline.plan is not None:
            task = self.task(order, outline.plan)
            yield from write(self.model, self.rules(order.prosody), task, request.sampling, request.ranking, numbers)
            return
        shaped = sample(
            self.model,
            prefix=self.prefix(order.controls).expand(len(numbers), -1),
            forced=self.ids(outline.given),
            allowed=self._allowed,
            line_id=self.vocab.id(LINE),
            constraints=[NoRepeatedLine(outline.form.line_lengths)],
            sampling=request.sampling,
            first=numbers.start,
        )
        for poems in shaped:
            yield poems, torch.zeros(len(numbers), dtype=torch.int64)

    def task(self, order: Order, plan: Plan) -> Task:
        """Return what the search shall write."""
        outline, request, controls = order.outline, order.request, order.controls
        general = replace(controls, author="", title=outline.tune)
        return Task(
            template=Template.build(plan.patterns, plan.presets, self.rules(order.prosody)),
            weights=plan.weights,
            forced=self.ids(outline.given),
            prefix=self.prefix(controls),
            background=self.prefix(general) if request.about or request.author else None,
            line_id=self.vocab.id(LINE),
            again=_AGAIN_IN_CI if outline.tune else Task.again,
            answers=_ANSWERS if len(outline.given) == 8 and not outline.tune else {},
        )

    def rules(self, prosody: Prosody | None) -> RuleTables:
        """Return what characters may do under a prosody or one of its views, made when first needed."""
        assert prosody is not None
        if id(prosody) not in self._tables:  # all of them live as long as the prosody of the poet
            self._tables[id(prosody)] = RuleTables(prosody, self.vocab, self._allowed)
        return self._tables[id(prosody)]

    def prefix(self, controls: Controls) -> Tensor:
        """Return what the model reads first, (length,) int64."""
        return torch.tensor(encode_prefix(self.vocab, controls), device=self.device)

    def ids(self, given: Sequence[Sequence[str]]) -> list[list[int]]:
        """Return the ids of given characters, -1 where there is none."""
        return [[self.vocab.id(normalize(character)) if character else -1 for character in line] for line in given]

    def text(self, order: Order, ids: Tensor, count: int) -> tuple[str, ...]:
        """Return the first `count` lines of a poem, (lines, longest line) int64, as text."""
        return to_text(self.vocab, ids[:count], order.outline.given[:count], traditional=order.request.traditional)

    def _poem(self, order: Order, ids: Tensor, pattern: int, count: int) -> Poem:
        outline, request = order.outline, order.request
        form = CI if outline.tune else outline.form.name
        followed, note = None, None
        if outline.plan is not None:
            followed, note = outline.plan.patterns[pattern], outline.plan.note
        lines = self.text(order, ids, count)
        return Poem(lines, form, request.title or request.about, request.author, outline.tune, followed, note)


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
                "line {line} of the poem holds something else than Chinese characters; leave it out",
                line=number + 1,
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
        raise InputError(
            "number_of_versions",
            "the number of versions must lie in 1 to {most}, but is {num}",
            most=MOST_VERSIONS,
            num=num,
        )
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
    if len(wanted) > 1:
        raise unknown_shape(lines)
    raise InputError(
        "lines_of_other_form",
        "expected the lines of a {form}, but they have {lengths} characters",
        form=wanted[0].name,
        lengths="、".join(str(len(line)) for line in lines[:24]),
    )


def _plan(
    form: Form, tune: TunePattern | None, given: Sequence[Sequence[str]], prosody: Prosody, *, lenient: bool
) -> Plan:
    folded = [[normalize(character) for character in line] for line in given]
    if tune is not None:
        return plan_tune(prosody, tune, folded, None, lenient=lenient)
    return plan_regulated(prosody, form.name, folded, None, lenient=lenient)
