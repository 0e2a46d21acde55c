"""Write verse that keeps its rules: line by line, several candidates side by side, the best one stays.

The work is bounded: one step of the model for each place, for all poems and candidates at once; nothing is undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from zhseq.generation.rerank import LineScore, Ranking
from zhseq.generation.rules import OPEN, RuleTables, Template
from zhseq.generation.sampling import Sampling, draw
from zhseq.models.language_model import LanguageModel

_USED = 1e4  # nats against a character that the poem has already: it returns only where nothing else is left
_HEAD = 25.0  # ranks within which frequencies hardly differ
_TAIL = 1500  # rank beyond which characters are rare enough not to be favoured over each other
_BRANCHES = 256  # best characters at a place among which one is drawn


@dataclass(frozen=True)
class Task:
    """What the search shall write.

    Attributes:
        template: The rules.
        weights: How often each pattern is taken, shape (patterns,).
        forced: For each line and place the id of a character that must stand there, or -1.
        prefix: What the model reads first, shape (length,), int64.
        background: The same without subject and author, or None. What the poem shall be about counts the more the
            less likely it is without being asked for.
        line_id: Symbol between two lines.
        again: Nats against a character that the poem has already.
        answers: Line that answers another word for word (对仗) -> the line it answers.
    """

    template: Template
    weights: Sequence[float]
    forced: Sequence[Sequence[int]]
    prefix: Tensor
    background: Tensor | None
    line_id: int
    again: float = _USED
    answers: Mapping[int, int] = field(default_factory=dict)


@torch.inference_mode()
def write(
    model: LanguageModel, tables: RuleTables, task: Task, sampling: Sampling, ranking: Ranking, poems: range
) -> Iterator[tuple[Tensor, Tensor]]:
    """Write poems of one shape side by side, line by line.

    Args:
        model: In evaluation mode.
        tables: What characters may do.
        task: What to write.
        sampling: How to draw.
        ranking: How many candidates each line has and how they are judged.
        poems: Numbers of these poems among all that the seed gives.

    Yields:
        After each line: character ids, (poems, lines, longest line) int64, 0 beyond the end of a shorter line and in
        lines to come; and the pattern that each poem follows, (poems,) int64. What is written never changes again.
    """
    search = _Search(model, tables, task, sampling, ranking, poems)
    for line in range(len(task.forced)):
        search.write_line(line)
        yield search.poems, search.pattern


class _Search:
    """The state of a batch between two lines."""

    def __init__(
        self,
        model: LanguageModel,
        tables: RuleTables,
        task: Task,
        sampling: Sampling,
        ranking: Ranking,
        numbers: range,
    ) -> None:
        self.tables, self.task, self.sampling, self.ranking = tables, task, sampling, ranking
        self.score = LineScore(model, ranking)
        self.device = task.prefix.device
        # Vocabularies list characters by frequency, and frequency falls with rank as Zipf and Mandelbrot describe.
        ranks = torch.arange(tables.by_kind.shape[1], device=self.device).clamp(max=_TAIL)
        self.rarity = ranking.rarity * (ranks + _HEAD).log()
        free = sum(character < 0 for places in task.forced for character in places)
        streams = [
            np.random.default_rng([sampling.seed, poem]).random(1 + free * ranking.best_of, dtype=np.float32)
            for poem in numbers
        ]
        chances = torch.from_numpy(np.stack(streams)).to(self.device)
        shares = torch.tensor(task.weights, device=self.device).cumsum(0)
        self.pattern = (chances[:, :1] * shares[-1] >= shares).sum(dim=1).clamp(max=len(task.weights) - 1)
        self.chances = chances[:, 1:].reshape(len(numbers), -1, ranking.best_of)  # (poems, draws, candidates)
        self.drawn = 0
        count = len(numbers)
        self.groups = task.template.groups[self.pattern]  # (poems, rhymes)
        longest = max(len(places) for places in task.forced)
        self.poems = torch.zeros(count, len(task.forced), longest, dtype=torch.int64, device=self.device)
        forced = [character for places in task.forced for character in places if character >= 0]
        self.reserved = torch.tensor(forced, dtype=torch.int64, device=self.device).expand(count, -1)
        self.readers = [_Reader(model, task.prefix, count)]
        if task.background is not None:
            self.readers.append(_Reader(model, task.background, count))

    def write_line(self, line: int) -> None:
        """Write one line of every poem: candidates character by character, then the choice among them."""
        if line:
            self._end_line(line - 1)
        places = self.task.forced[line]
        width = 1 if min(places) >= 0 else self.ranking.best_of
        rows = torch.arange(len(self.poems), device=self.device).repeat_interleave(width)
        for reader in self.readers:
            reader.select(rows)
        candidates = torch.zeros(len(rows), len(places), dtype=torch.int64, device=self.device)
        surprise = torch.zeros(len(rows), len(places), device=self.device)
        for place, character in enumerate(places):
            if place:
                for reader in self.readers:
                    reader.read(candidates[:, place - 1 : place])
            logits = self._logits()
            if character < 0:
                scores = self._masked(logits, rows, candidates, line, place)
                chances = self.chances[:, self.drawn, :width].reshape(-1)
                candidates[:, place] = draw(scores, self.sampling, chances, _BRANCHES)
                self.drawn += 1
            else:
                candidates[:, place] = character
            chosen = logits.gather(1, candidates[:, place : place + 1])[:, 0]
            surprise[:, place] = _log_total(logits) - chosen
        shape = (-1, width, len(places))
        self._choose(line, candidates.reshape(shape), surprise.reshape(shape))

    def _end_line(self, line: int) -> None:
        """Read the end of a line; only when the next one is due, since whoever waits for this one has it already."""
        ends = self.poems[:, line, len(self.task.forced[line]) - 1]
        symbols = torch.stack([ends, torch.full_like(ends, self.task.line_id)], dim=1)
        for reader in self.readers:
            reader.read(symbols)

    def _logits(self) -> Tensor:
        """Return the scores of the next character, (rows, output_size), sharpened towards what is asked for."""
        logits = self.readers[0].logits
        if len(self.readers) == 2:
            return logits + self.ranking.guidance * (logits - self.readers[1].logits)
        return logits

    def _masked(self, logits: Tensor, rows: Tensor, candidates: Tensor, line: int, place: int) -> Tensor:
        """Apply tone, rhyme and repetition to the scores, (rows, output_size)."""
        allowed = self.task.template.allow(self.tables, self.pattern, self.groups, line, place)
        width = len(rows) // len(self.poems)
        scores = logits + (allowed + self.rarity).repeat_interleave(width, dim=0)
        before = torch.cat([self.poems[:, :line].flatten(1), self.reserved], dim=1)[rows]
        length = len(self.task.forced[line])
        # A word of two characters may double one (悠悠); words begin at even places, or fill the end of the line.
        current = candidates[:, : max(place - 1, 0) if place % 2 or place == length - 1 else place]
        again = self.task.again if place < length - 1 else _USED
        seen = torch.cat([before, current], dim=1)
        penalty = torch.full(seen.shape, -again, device=self.device)
        scores.scatter_add_(1, seen, penalty)
        if place == length - 1 and line:
            # Words that have ended a line are the last resort of all: a rhyme word is not its own rhyme.
            ends = torch.stack([self.poems[:, n, len(p) - 1] for n, p in enumerate(self.task.forced[:line])], dim=1)
            scores.scatter_add_(1, ends[rows], torch.full((len(rows), line), -_USED, device=self.device))
        return scores

    def _choose(self, line: int, candidates: Tensor, surprise: Tensor) -> None:
        """Keep the best candidate of each poem: (poems, candidates, length) twice."""
        answers = self.task.answers
        answered = self.poems[:, answers[line]] if line in answers else None
        same = self._repeats(line, candidates)
        best = (self.score(candidates, surprise, answered) - _USED * same).argmax(dim=1)
        count, width, length = candidates.shape
        chosen = candidates[torch.arange(count, device=self.device), best]
        self.poems[:, line, :length] = chosen
        kept = torch.arange(count, device=self.device) * width + best
        for reader in self.readers:
            reader.select(kept)
        slot = self.task.template.slots[self.pattern, line]
        found = self.tables.group_of[chosen[:, -1].clamp(max=len(self.tables.group_of) - 1)]
        index = slot.clamp(min=0).unsqueeze(1)
        old = self.groups.gather(1, index)[:, 0]
        new = torch.where((slot != OPEN) & (old == OPEN), found, old)
        self.groups = self.groups.scatter(1, index, new.unsqueeze(1))

    def _repeats(self, line: int, candidates: Tensor) -> Tensor:
        """Tell which candidates are equal to an earlier line of their poem, (poems, candidates) bool."""
        length = candidates.shape[2]
        earlier = [n for n, places in enumerate(self.task.forced[:line]) if len(places) == length]
        lines = self.poems[:, earlier, :length].unsqueeze(1)
        return (lines == candidates.unsqueeze(2)).all(dim=3).any(dim=2)


def _log_total(logits: Tensor) -> Tensor:
    """Return the logarithm of the summed exponentials of each row; twice as fast as `logsumexp` on a CPU."""
    peak = logits.amax(dim=1)
    return (logits - peak.unsqueeze(1)).exp_().sum(dim=1).log_() + peak


class _Reader:
    """The model reading along: scores of the next character and state, for the rows of a batch."""

    def __init__(self, model: LanguageModel, prefix: Tensor, rows: int) -> None:
        self.model = model
        self.logits, self.state = model.step(prefix.unsqueeze(0))
        self.select(torch.zeros(rows, dtype=torch.int64, device=prefix.device))

    def select(self, rows: Tensor) -> None:
        """Go on with these rows, some of them several times."""
        self.logits = self.logits[rows]
        self.state = [(hidden[:, rows], cell[:, rows]) for hidden, cell in self.state]

    def read(self, ids: Tensor) -> None:
        """Read symbols, (rows, length)."""
        self.logits, self.state = self.model.step(ids, self.state)
