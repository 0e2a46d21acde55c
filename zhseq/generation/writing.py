"""From a draft to poems: what the model reads, which characters stand, and ids turned back into lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zhseq.generation.drafting import Draft
from zhseq.generation.finishing import to_text
from zhseq.generation.plan import Plan
from zhseq.generation.request import CI, Poem, Request
from zhseq.generation.rules import RuleTables, Template
from zhseq.generation.sampling import NoRepeatedLine, sample
from zhseq.generation.search import Task, write
from zhseq.models.language_model import LanguageModel
from zhseq.prosody import Prosody
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import Vocab
from zhseq.verse import LINE, Controls, encode_prefix

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
        followed, note = None, ""
        if outline.plan is not None:
            followed, note = outline.plan.patterns[pattern], outline.plan.note
        lines = self.text(order, ids, count)
        return Poem(lines, form, request.title or request.about, request.author, outline.tune, followed, note)
