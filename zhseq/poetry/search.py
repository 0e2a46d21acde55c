"""Write verse that keeps its rules: line by line, several candidates side by side, the best one stays.

The work is bounded: one step of the model for each position, for all poems and candidates at once; nothing is undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zhseq.poetry.fitting import PatternChoice
from zhseq.poetry.model import LanguageModel
from zhseq.poetry.planning import Plan
from zhseq.poetry.prosody import UNASSIGNED
from zhseq.poetry.request import Ranking, Sampling
from zhseq.poetry.rules import CharacterMasks, SenseTables, tone_demands
from zhseq.poetry.sampling import draw, random_streams

USED = 1e4
"""Nats against a character that the poem has already: it returns only where nothing else is left."""

_NEVER = 1e6  # nats against a rhyme word that rhymes with itself
_REPEATED_IN_CI = 1.5  # nats likewise in a ci; ci repeat words, regulated verse hardly does
_HEAD = 25.0  # ranks within which frequencies hardly differ
_TAIL = 1500  # rank beyond which characters are rare enough not to be favoured over each other
_BRANCHES = 128  # best characters at a position among which one is drawn


@dataclass(frozen=True)
class Task:
    """What the search shall write: a plan as tensors.

    Attributes:
        forced: For each line and position the id of a character that must stand there, or -1.
        prefix: What the model reads first, shape (length,), int64.
        background: The same without subject and author, or None. What the poem shall be about counts the more the
            less likely it is without being asked for.
        line_id: Symbol between two lines.
        masks: What characters may do.
        weights: How often each pattern is taken, shape (patterns,).
        demands: What each position asks for, shape (patterns, lines, longest line), int64; see `tone_demands`.
        slots: Rhyme of each line, shape (patterns, lines), int64; `UNASSIGNED` for none.
        groups: Rhyme groups fixed beforehand, shape (patterns, rhymes), int64; `UNASSIGNED` where open.
        first_words: Words with which a rhyme may begin, shape (patterns, rhymes, output_size), float32.
        repeated: Nats against a character that the poem has already.
        answers: Line that answers another word for word (对仗) -> the line it answers.
        rarity: How far the commonest characters are held back, see `Ranking`.
        sense: What verse takes for granted, or None.
        title: Ids of title or subject, which speaks of a season or hour as lines do, shape (length,), int64.
    """

    forced: Sequence[Sequence[int]]
    prefix: Tensor
    background: Tensor | None
    line_id: int
    masks: CharacterMasks
    weights: Tensor
    demands: Tensor
    slots: Tensor
    groups: Tensor
    first_words: Tensor
    repeated: float
    answers: Mapping[int, int]
    rarity: float
    sense: SenseTables | None
    title: Tensor

    @classmethod
    def build(
        cls,
        plan: Plan,
        choice: PatternChoice,
        masks: CharacterMasks,
        *,
        forced: Sequence[Sequence[int]],
        prefix: Tensor,
        background: Tensor | None,
        line_id: int,
        sense: SenseTables | None,
        title: Tensor,
    ) -> Task:
        """Turn a plan into tensors.

        Args:
            plan: What to write.
            choice: Its patterns.
            masks: What characters may do.
            forced: As in the task, likewise below.
            prefix: See there.
            background: See there.
            line_id: See there.
            sense: See there.
            title: See there.

        Raises:
            InputError: A rhyme has more words than any rhyme group.
        """
        patterns, device = choice.patterns, masks.by_demand.device
        lengths = patterns[0].line_lengths
        slots = [pattern.rhyme_slots for pattern in patterns]
        rhymes = max(1, *(max(row) + 1 for row in slots))
        demands = torch.zeros(len(patterns), len(lengths), max(lengths), dtype=torch.int64)
        groups = torch.full((len(patterns), rhymes), UNASSIGNED)
        first_words = torch.zeros(len(patterns), rhymes, masks.by_demand.shape[1], device=device)
        for row, pattern in enumerate(patterns):
            for line, values in enumerate(tone_demands(pattern)):
                demands[row, line, : len(values)] = torch.tensor(values)
            for slot, needed in Counter(slot for slot in slots[row] if slot != UNASSIGNED).items():
                groups[row, slot] = choice.groups[row][slot]
                if choice.groups[row][slot] != UNASSIGNED:
                    masks.require(choice.groups[row][slot], needed)
                tone = pattern.tones[slots[row].index(slot)][-1]
                first_words[row, slot] = masks.first_rhyme_words(needed, tone)
        return cls(
            forced,
            prefix,
            background,
            line_id,
            masks,
            weights=torch.tensor(choice.weights, device=device),
            demands=demands.to(device),
            slots=torch.tensor(slots, device=device),
            groups=groups.to(device),
            first_words=first_words,
            repeated=_REPEATED_IN_CI if plan.tune else USED,
            answers=plan.answers,
            rarity=plan.request.ranking.rarity,
            sense=sense,
            title=title,
        )

    def allowed(self, pattern: Tensor, groups: Tensor, line: int, position: int) -> Tensor:
        """Return what tone and rhyme allow at a position, an additive mask (poems, output_size) float32.

        Args:
            pattern: Pattern that each poem follows, (poems,) int64.
            groups: Rhyme groups chosen so far, (poems, rhymes) int64.
            line: Number of the line.
            position: Position in the line.
        """
        by_tone = self.masks.by_demand[self.demands[pattern, line, position]]
        slot = self.slots[pattern, line]
        rhyming = slot != UNASSIGNED
        if position < len(self.forced[line]) - 1 or not bool(rhyming.any()):
            return by_tone
        index = slot.clamp(min=0)
        group = groups.gather(1, index.unsqueeze(1))[:, 0]
        is_open = (group == UNASSIGNED).unsqueeze(1)
        words = torch.where(is_open, self.first_words[pattern, index], self.masks.by_group[group.clamp(min=0)])
        # A word with a rhyme has the tone of its group, so the tone mask need not be asked as well.
        return torch.where(rhyming.unsqueeze(1), words, by_tone)


@torch.inference_mode()
def search(
    model: LanguageModel, task: Task, sampling: Sampling, ranking: Ranking, poems: range
) -> Iterator[tuple[Tensor, Tensor]]:
    """Write poems of one shape side by side, line by line.

    Args:
        model: In evaluation mode.
        task: What to write.
        sampling: How to draw.
        ranking: How many candidates each line has and how they are judged.
        poems: Numbers of these poems among all that the seed gives.

    Yields:
        After each line: character ids, (poems, lines, longest line) int64, 0 beyond the end of a shorter line and in
        lines to come; and the pattern that each poem follows, (poems,) int64. What is written never changes again.
    """
    state = _Search(model, task, sampling, ranking, poems)
    for line in range(len(task.forced)):
        state.write_line(line)
        yield state.poems, state.pattern


class _Search:
    """The state of a batch between two lines."""

    def __init__(self, model: LanguageModel, task: Task, sampling: Sampling, ranking: Ranking, numbers: range) -> None:
        self.task, self.sampling, self.ranking = task, sampling, ranking
        self.score = LineScore(model, ranking)
        self.device = task.prefix.device
        # Vocabularies list characters by frequency, and frequency falls with rank as Zipf and Mandelbrot describe.
        ranks = torch.arange(task.masks.by_demand.shape[1], device=self.device).clamp(max=_TAIL)
        self.rarity = task.rarity * (ranks + _HEAD).log()
        count = len(numbers)
        free = sum(character < 0 for characters in task.forced for character in characters)
        chances = random_streams(sampling.seed, numbers, 1 + free * ranking.best_of).to(self.device)
        shares = task.weights.cumsum(0)
        self.pattern = (chances[:, :1] * shares[-1] >= shares).sum(dim=1).clamp(max=len(task.weights) - 1)
        self.chances = chances[:, 1:].reshape(count, -1, ranking.best_of)  # (poems, draws, candidates)
        self.drawn = 0
        self.groups = task.groups[self.pattern]  # (poems, rhymes)
        longest = max(len(characters) for characters in task.forced)
        self.poems = torch.zeros(count, len(task.forced), longest, dtype=torch.int64, device=self.device)
        forced = [character for characters in task.forced for character in characters if character >= 0]
        self.reserved = torch.tensor(forced, dtype=torch.int64, device=self.device).expand(count, -1)
        self.sense = task.sense
        if self.sense is not None:
            self.spoken = self.sense.times(task.title).expand(count, -1)
        self.readers = [_Reader(model, task.prefix, count)]
        if task.background is not None:
            self.readers.append(_Reader(model, task.background, count))

    def write_line(self, line: int) -> None:
        """Write one line of every poem: candidates character by character, then the choice among them."""
        if line:
            self._end_line(line - 1)
        characters = self.task.forced[line]
        width = 1 if min(characters) >= 0 else self.ranking.best_of
        rows = torch.arange(len(self.poems), device=self.device).repeat_interleave(width)
        for reader in self.readers:
            reader.select(rows)
        candidates = torch.zeros(len(rows), len(characters), dtype=torch.int64, device=self.device)
        surprise = torch.zeros(len(rows), len(characters), device=self.device)
        for position, character in enumerate(characters):
            if position:
                for reader in self.readers:
                    reader.read(candidates[:, position - 1 : position])
            logits = self._logits()
            if character < 0:
                scores = self._masked(logits, rows, candidates, line, position)
                chances = self.chances[:, self.drawn, :width].reshape(-1)
                candidates[:, position] = draw(scores, self.sampling, chances, _BRANCHES)
                self.drawn += 1
            else:
                candidates[:, position] = character
            chosen = logits.gather(1, candidates[:, position : position + 1])[:, 0]
            surprise[:, position] = _log_total(logits) - chosen
        shape = (-1, width, len(characters))
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

    def _masked(self, logits: Tensor, rows: Tensor, candidates: Tensor, line: int, position: int) -> Tensor:
        """Apply tone, rhyme and repetition to the scores, (rows, output_size)."""
        allowed = self.task.allowed(self.pattern, self.groups, line, position)
        by_poem = logits.view(len(self.poems), -1, logits.shape[1])
        scores = (by_poem + (allowed + self.rarity).unsqueeze(1)).view_as(logits)
        before = torch.cat([self.poems[:, :line].flatten(1), self.reserved], dim=1)[rows]
        last = position == len(self.task.forced[line]) - 1
        # A word of two characters may double one (悠悠); words begin at even positions, or fill the end of the line.
        current = candidates[:, : max(position - 1, 0) if position % 2 or last else position]
        seen = torch.cat([before, current], dim=1)
        penalty = torch.full(seen.shape, -(USED if last else self.task.repeated), device=self.device)
        scores.scatter_add_(1, seen, penalty)
        if self.sense is not None and position:
            # Worse than a character that returns.
            twice = candidates[:, position - 1 : position]
            scores.scatter_add_(1, twice, torch.where(self.sense.doubled[twice], 0.0, -2 * USED))
        if last and line:
            # Words that have ended a line are the last resort of all: a rhyme word is not its own rhyme.
            ends = torch.stack([self.poems[:, n, len(p) - 1] for n, p in enumerate(self.task.forced[:line])], dim=1)
            scores.scatter_add_(1, ends[rows], torch.full((len(rows), line), -_NEVER, device=self.device))
        return scores

    def _choose(self, line: int, candidates: Tensor, surprise: Tensor) -> None:
        """Keep the best candidate of each poem: (poems, candidates, length) twice."""
        answers = self.task.answers
        answered = self.poems[:, answers[line]] if line in answers else None
        same = self._repeats(line, candidates)
        count, width, length = candidates.shape
        score = self.score(candidates, surprise, answered) - USED * same
        if self.sense is not None:
            score -= self.ranking.seasons / length * self.sense.clash(self.spoken, candidates)
        best = score.argmax(dim=1)
        chosen = candidates[torch.arange(count, device=self.device), best]
        self.poems[:, line, :length] = chosen
        if self.sense is not None:
            self.spoken = self.spoken | self.sense.times(chosen)
        kept = torch.arange(count, device=self.device) * width + best
        for reader in self.readers:
            reader.select(kept)
        slot = self.task.slots[self.pattern, line]
        group_of = self.task.masks.group_of
        found = group_of[chosen[:, -1].clamp(max=len(group_of) - 1)]
        index = slot.clamp(min=0).unsqueeze(1)
        old = self.groups.gather(1, index)[:, 0]
        new = torch.where((slot != UNASSIGNED) & (old == UNASSIGNED), found, old)
        self.groups = self.groups.scatter(1, index, new.unsqueeze(1))

    def _repeats(self, line: int, candidates: Tensor) -> Tensor:
        """Tell which candidates are equal to an earlier line of their poem, (poems, candidates) bool."""
        length = candidates.shape[2]
        earlier = [n for n, characters in enumerate(self.task.forced[:line]) if len(characters) == length]
        lines = self.poems[:, earlier, :length].unsqueeze(1)
        return (lines == candidates.unsqueeze(2)).all(dim=3).any(dim=2)


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


def _log_total(logits: Tensor) -> Tensor:
    """Return the logarithm of the summed exponentials of each row; twice as fast as `logsumexp` on a CPU."""
    peak = logits.amax(dim=1)
    return (logits - peak.unsqueeze(1)).exp_().sum(dim=1).log_() + peak
