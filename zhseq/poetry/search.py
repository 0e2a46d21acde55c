"""Write verse that keeps its rules: line by line, several candidates side by side, the best one stays.

The work is bounded: one step of the model for each place, for all poems and candidates at once; nothing is undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from zhseq.errors import InputError
from zhseq.poetry.model import LanguageModel
from zhseq.poetry.rules import OPEN, RuleTables, Template

# Characters that can be drawn at one place; what lies beyond has almost no probability, and sorting it would cost time.
_CANDIDATES = 256


@dataclass(frozen=True)
class Sampling:
    """How characters are drawn."""

    temperature: float = 0.8
    """Below 1 the model's favourites win more often, above 1 less; 0 always takes the best."""
    top_p: float = 0.95
    """Draw only from the smallest set of characters that holds this much probability."""
    top_k: int = 0
    """Draw only from this many characters; 0: no such limit."""
    seed: int = 0
    """The same seed gives the same poems; poem number i does not depend on how many are asked for."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise InputError(
                "bad_temperature",
                "the temperature must lie in 0 to 10, but is {temperature}; 0.8 is a good start",
                temperature=self.temperature,
            )
        if not 0 < self.top_p <= 1:
            raise InputError(
                "bad_top_p", "<top_p> must be greater than 0 and at most 1, but is {top_p}", top_p=self.top_p
            )
        if self.top_k < 0:
            raise InputError(
                "bad_top_k", "<top_k> must not be negative, but is {top_k}; 0 sets no limit", top_k=self.top_k
            )
        if self.seed < 0:
            raise InputError("bad_seed", "the seed must not be negative, but is {seed}", seed=self.seed)


class Constraint(Protocol):
    """A rule of verse: it forbids characters at a place, given what stands before it."""

    def forbid(self, scores: Tensor, poems: Tensor, line: int, place: int) -> None:
        """Set the scores of forbidden characters to minus infinity, in place.

        Args:
            scores: (rows, output_size) float32.
            poems: Characters so far, (rows, lines, longest line) int64; 0 where none is yet.
            line: Number of the line, from 0.
            place: Place in the line, from 0.
        """


class NoRepeatedLine:
    """Forbid the character that would make a line equal to an earlier one of the same poem."""

    def __init__(self, line_lengths: Sequence[int]) -> None:
        self.line_lengths = line_lengths

    def forbid(self, scores: Tensor, poems: Tensor, line: int, place: int) -> None:
        """Act at the last place of a line only; see `Constraint`."""
        if place != self.line_lengths[line] - 1:
            return
        for earlier in range(line):
            if self.line_lengths[earlier] == self.line_lengths[line]:
                same = (poems[:, earlier, :place] == poems[:, line, :place]).all(dim=1).nonzero()[:, 0]
                scores[same, poems[same, earlier, place]] = -torch.inf


@torch.inference_mode()
def sample(
    model: LanguageModel,
    *,
    prefix: Tensor,
    forced: Sequence[Sequence[int]],
    allowed: Tensor,
    line_id: int,
    constraints: Sequence[Constraint],
    sampling: Sampling,
    first: int = 0,
) -> Iterator[Tensor]:
    """Write poems of one shape side by side, line by line.

    Args:
        model: In evaluation mode.
        prefix: What the model reads first, (rows, length) int64.
        forced: For each line and place the id of a character that must stand there, or -1 where the model is free.
        allowed: Characters that may be drawn, (output_size,) bool.
        line_id: Symbol between two lines.
        constraints: Rules that are applied at each free place.
        sampling: How to draw.
        first: Number of the first of these poems among all that the seed gives.

    Yields:
        After each line: character ids, (rows, lines, longest line) int64, 0 beyond the end of a shorter line and in
        lines to come. What is written never changes again.
    """
    rows, device = prefix.shape[0], prefix.device
    poems = torch.zeros(rows, len(forced), max(len(places) for places in forced), dtype=torch.int64, device=device)
    free = sum(character < 0 for places in forced for character in places)
    chances = _chances(sampling.seed, range(first, first + rows), free).to(device)
    closed = torch.where(allowed, 0.0, -torch.inf)
    pending, state, drawn = [prefix], None, 0
    for line, places in enumerate(forced):
        for place, character in enumerate(places):
            if character < 0:
                logits, state = model.step(torch.cat(pending, dim=1), state)
                pending.clear()
                scores = logits + closed
                for constraint in constraints:
                    constraint.forbid(scores, poems, line, place)
                poems[:, line, place] = draw(scores, sampling, chances[:, drawn])
                drawn += 1
            else:
                poems[:, line, place] = character
            pending.append(poems[:, line, place : place + 1])
        yield poems
        pending.append(torch.full((rows, 1), line_id, device=device))


def _chances(seed: int, poems: range, draws: int) -> Tensor:
    """Return one number in [0, 1) for each poem and draw, (poems, draws) float32; each poem has a stream of its own."""
    streams = [np.random.default_rng([seed, poem]).random(draws, dtype=np.float32) for poem in poems]
    return torch.from_numpy(np.stack(streams))


def draw(scores: Tensor, sampling: Sampling, chances: Tensor, branches: int = 0) -> Tensor:
    """Draw a character for each row by its chance: the inverse of the cumulated distribution.

    Args:
        scores: (rows, output_size) float32.
        sampling: Temperature and limits.
        chances: (rows,) float32 in [0, 1).
        branches: Look only at this many of the best characters, which is quicker; 0: shares are taken of all.
    """
    if sampling.temperature == 0:
        return scores.argmax(dim=1)
    most = branches or _CANDIDATES
    best, ids = scores.topk(min(sampling.top_k or most, most, scores.shape[1]), dim=1)
    if branches:
        shares = (best / sampling.temperature).softmax(dim=1)
    else:
        # The share of each candidate is taken of all characters, so that top-p means what it says.
        total = (scores / sampling.temperature).logsumexp(dim=1, keepdim=True)
        shares = (best / sampling.temperature - total).exp()  # (rows, candidates), falling
    cumulated = shares.cumsum(dim=1)
    kept = cumulated - shares < sampling.top_p  # the best one is always kept
    limit = (shares * kept).sum(dim=1)
    choice = (cumulated < (chances * limit).unsqueeze(1)).sum(dim=1)
    last = (kept & (shares > 0)).sum(dim=1) - 1
    return ids.gather(1, torch.minimum(choice, last.clamp(min=0)).unsqueeze(1))[:, 0]


MOST_CANDIDATES = 256


@dataclass(frozen=True)
class Ranking:
    """How candidates are made and judged."""

    best_of: int = 4
    """Candidates for each line."""
    typical: float = 5.5
    """Surprise of verse by people, in nats a character; a line that surprises less is worn out or copied, and gains
    nothing by it."""
    rarity: float = 0.6
    """How far the commonest characters are held back when one is drawn, 0 to 1. A temperature below 1 favours them far
    beyond what people do; this gives back the variety without giving up the sense."""
    guidance: float = 0.6
    """How strongly subject and author pull: this share of the difference they make is added to the scores."""
    parallel: float = 2.0
    """Weight of the likeness of facing characters in a couplet whose lines answer each other."""

    def __post_init__(self) -> None:
        if not 1 <= self.best_of <= MOST_CANDIDATES:
            raise InputError(
                "bad_best_of",
                "<best_of> must lie in 1 to {most}, but is {best_of}",
                most=MOST_CANDIDATES,
                best_of=self.best_of,
            )


class LineScore:
    """Judge candidates for a line; higher is better."""

    def __init__(self, model: LanguageModel, ranking: Ranking) -> None:
        self.model = model
        self.ranking = ranking

    def __call__(self, candidates: Tensor, surprise: Tensor, answered: Tensor | None) -> Tensor:
        """Return scores in nats a character, (poems, candidates) float32.

        Args:
            candidates: (poems, candidates, length) int64.
            surprise: What each character cost, likewise, in nats.
            answered: The line that this one answers word for word, (poems, at least length) int64, or None.
        """
        mean = surprise.mean(dim=2)
        # The worst character counts beside the mean: one false word spoils a line.
        score = -mean.clamp(min=self.ranking.typical) - 0.1 * surprise.amax(dim=2)
        if answered is not None:
            vectors = torch.nn.functional.normalize(self.model.embedding.characters.weight, dim=1)
            facing = vectors[answered[:, : candidates.shape[2]]].unsqueeze(1)  # (poems, 1, length, embed)
            score = score + self.ranking.parallel * (vectors[candidates] * facing).sum(dim=3).mean(dim=2)
        return score


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
