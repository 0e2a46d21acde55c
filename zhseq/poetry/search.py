"""Write verse under constraints, line by line: sample several candidates in parallel and keep the best.

There is no backtracking, so the cost is bounded: one step of the model per position, for all poems and candidates at
once. Imports no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zhseq.batching import Ints
from zhseq.poetry.coherence import TAIL, Critic, Rater, Usage, WornPairs
from zhseq.poetry.fitting import PatternChoice
from zhseq.poetry.network import Booleans, Floats, Network, log_total
from zhseq.poetry.planning import Plan
from zhseq.poetry.prosody import UNASSIGNED
from zhseq.poetry.request import Ranking, Sampling
from zhseq.poetry.rules import CharacterMasks, FacingTables, SenseTables, tone_demands
from zhseq.poetry.sampling import Choices, random_streams

USED = 1e4
"""Penalty in nats of a character that is already in the poem: it is only repeated if nothing else is allowed."""

_NEVER = 1e6  # penalty in nats of a character that already ends a line
_REPEATED_IN_CI = 1.5  # penalty in nats of a repeated character in ci, which repeat words; regulated verse hardly does
_HEAD = 25.0  # offset of ranks, within which frequencies hardly differ
_TAIL = 1500  # rank from which characters are not favoured further for being rare
_SHORTEST_HEAD = 2  # fewest characters of a head that is scored before the rest of the line is drawn
_BRANCHES = 128  # characters from which one is drawn at each position, the best ones


@dataclass(frozen=True)
class Task:
    """Input of the search: a plan as arrays.

    Attributes:
        forced: For each line and position the id of a fixed character, or -1.
        prefix: Ids that the model reads first, shape (length,).
        background: The prefix without topic and author, for guidance (see `Ranking.guidance`), or None.
        line_id: Id of the symbol between two lines.
        masks: Masks of the characters that the prosody allows.
        weights: Relative frequency of each pattern, shape (patterns,).
        demands: Requirement of each position, shape (patterns, lines, longest line); see `tone_demands`.
        slots: Rhyme of each line, shape (patterns, lines); `UNASSIGNED` for none.
        groups: Rhyme groups that are fixed in advance, shape (patterns, rhymes); `UNASSIGNED` if open.
        first_words: Additive masks of the words that may be the first of a rhyme, shape (patterns, rhymes,
            output_size).
        repeated: Penalty in nats of a character that is already in the poem.
        answers: Index of a line parallel to an earlier one (对仗) -> index of the earlier line.
        favour: Nats added to the scores of characters in sampling, shape (output_size,).
        lead: Nats added at the first position of lines with a caesura after it, shape (output_size,).
        leads: Indices of these lines.
        subject: Which symbols are characters of the topic, shape (vocab_size,), or None.
        sense: Seasons, hours, weathers and doublings, or None.
        title: Ids of title or topic, which may mention a season or hour as lines do, shape (length,).
        facing: Nats of parallel characters, or None.
        critic: Estimate of how well lines follow previous ones, or None.
        usage: Usage statistics, or None.
        rater: Predictions of reader ratings, or None; needs `usage`.
        worn: Penalties of overused bigrams, which apply if `Ranking.rating` is not 0, or None.
        coherence: Weight of the nats of the critic; see `Ranking`.
        echoes: Line and position that repeat an earlier character -> its line and position.
    """

    forced: Sequence[Sequence[int]]
    prefix: Ints
    background: Ints | None
    line_id: int
    masks: CharacterMasks
    weights: Floats
    demands: Ints
    slots: Ints
    groups: Ints
    first_words: Floats
    repeated: float
    answers: Mapping[int, int]
    favour: Floats
    lead: Floats
    leads: frozenset[int]
    subject: Booleans | None
    sense: SenseTables | None
    title: Ints
    facing: FacingTables | None
    critic: Critic | None
    usage: Usage | None
    rater: Rater | None
    worn: WornPairs | None
    coherence: float
    echoes: Mapping[tuple[int, int], tuple[int, int]]

    @classmethod
    def build(
        cls,
        plan: Plan,
        choice: PatternChoice,
        masks: CharacterMasks,
        *,
        forced: Sequence[Sequence[int]],
        prefix: Ints,
        background: Ints | None,
        line_id: int,
        favour: Floats,
        lead: Floats,
        subject: Booleans | None,
        sense: SenseTables | None,
        title: Ints,
        facing: FacingTables | None,
        critic: Critic | None,
        usage: Usage | None,
        rater: Rater | None,
        worn: WornPairs | None,
    ) -> Task:
        """Turn a plan into arrays.

        Args:
            plan: The plan.
            choice: Its patterns.
            masks: See `Task`.
            forced: See `Task`.
            prefix: See `Task`.
            background: See `Task`.
            line_id: See `Task`.
            favour: See `Task`, but without the penalty of frequent characters, which is added here.
            lead: See `Task`.
            subject: See `Task`.
            sense: See `Task`.
            title: See `Task`.
            facing: See `Task`.
            critic: See `Task`.
            usage: See `Task`.
            rater: See `Task`.
            worn: See `Task`.

        Raises:
            InputError: A rhyme needs more words than any rhyme group, or the group fixed for it, has.
        """
        # A vocabulary lists characters by frequency, which falls with rank by the law of Zipf and Mandelbrot.
        ranks = np.minimum(np.arange(len(favour), dtype=np.float32), _TAIL)
        rarity = np.float32(plan.request.ranking.rarity) * np.log(ranks + np.float32(_HEAD))
        patterns = choice.patterns
        lengths = patterns[0].line_lengths
        slots = [pattern.rhyme_slots for pattern in patterns]
        rhymes = max(1, *(max(row) + 1 for row in slots))
        demands = np.zeros((len(patterns), len(lengths), max(lengths)), dtype=np.int64)
        groups = np.full((len(patterns), rhymes), UNASSIGNED, dtype=np.int64)
        first_words = np.zeros((len(patterns), rhymes, masks.by_demand.shape[1]), dtype=np.float32)
        for row, pattern in enumerate(patterns):
            for line, values in enumerate(tone_demands(pattern)):
                demands[row, line, : len(values)] = values
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
            weights=np.array(choice.weights, dtype=np.float32),
            demands=demands,
            slots=np.array(slots, dtype=np.int64),
            groups=groups,
            first_words=first_words,
            repeated=_REPEATED_IN_CI if plan.tune else USED,
            answers=plan.answers,
            favour=favour + rarity,
            lead=lead,
            leads=plan.leads,
            subject=subject,
            sense=sense,
            title=title,
            facing=facing,
            critic=critic,
            usage=usage,
            rater=rater,
            worn=worn,
            coherence=0.0 if plan.tune else plan.request.ranking.coherence,
            echoes=plan.echoes,
        )

    def allowed(self, pattern: Ints, groups: Ints, line: int, position: int) -> Floats:
        """Return the characters that tone and rhyme allow at a position, an additive mask (poems, output_size).

        Args:
            pattern: Index of the pattern of each poem, (poems,).
            groups: Rhyme groups chosen so far, (poems, rhymes).
            line: Index of the line.
            position: Index in the line.
        """
        by_tone: Floats = self.masks.by_demand[self.demands[pattern, line, position]]
        slot = self.slots[pattern, line]
        if position < len(self.forced[line]) - 1 or (slot == UNASSIGNED).all():
            return by_tone
        # All words of a rhyme group have its tone, so the tone mask is not needed as well.
        for poem in np.flatnonzero(slot != UNASSIGNED).tolist():
            group = groups[poem, slot[poem]]
            is_open = group == UNASSIGNED
            by_tone[poem] = self.first_words[pattern[poem], slot[poem]] if is_open else self.masks.by_group[group]
        return by_tone


class Written(NamedTuple):
    """A batch of poems, complete or in progress.

    Attributes:
        poems: Character ids, (poems, lines, longest line), 0 where nothing is written.
        patterns: Index of the pattern of each poem in the plan, (poems,), 0 without patterns.
        worth: Predicted rating of each poem, see `Rater.whole`, (poems,); 0 if there is none or the poem is incomplete.
    """

    poems: Ints
    patterns: Ints
    worth: Floats


def search(
    network: Network, task: Task, sampling: Sampling, ranking: Ranking, poems: Sequence[int]
) -> Iterator[Written | None]:
    """Write poems of one shape in parallel, line by line; yield None after each position of a line.

    Args:
        network: The language model.
        task: The plan as arrays.
        sampling: Sampling parameters.
        ranking: Number of candidates per line and weights of their scores.
        poems: Numbers of the random streams of these poems.

    Yields:
        The poems after each line, with 0 after the end of a shorter line and in unwritten lines. Written characters do
        not change.
    """
    state = _Search(network, task, sampling, ranking, poems)
    for line in range(len(task.forced)):
        for _ in state.write_line(line):
            yield None
        yield Written(state.poems, state.pattern, state.worth())


@dataclass
class _Drawn:
    """Candidates for a line, possibly incomplete: one row each, with those of a poem in consecutive rows.

    Attributes:
        candidates: Character ids, (rows, length), 0 where none is drawn yet.
        surprise: Surprise of each character in nats, (rows, length).
        outputs: Sum of the network's outputs that predict the characters, (rows, embedding_dim).
    """

    candidates: Ints
    surprise: Floats
    outputs: Floats

    @classmethod
    def nothing(cls, rows: int, length: int, dim: int) -> _Drawn:
        """Return candidates without characters."""
        surprise, outputs = (np.zeros((rows, size), dtype=np.float32) for size in (length, dim))
        return cls(np.zeros((rows, length), dtype=np.int64), surprise, outputs)

    def select(self, rows: Ints) -> None:
        """Keep the given rows; a row may be chosen several times."""
        self.candidates, self.surprise, self.outputs = self.candidates[rows], self.surprise[rows], self.outputs[rows]


class _Search:
    """The state of a batch between two lines."""

    def __init__(
        self, network: Network, task: Task, sampling: Sampling, ranking: Ranking, numbers: Sequence[int]
    ) -> None:
        self.task, self.sampling, self.ranking = task, sampling, ranking
        self.score = LineScore(network.vectors, ranking, task.facing)
        count = len(numbers)
        free = sum(character < 0 for characters in task.forced for character in characters)
        chances = random_streams(sampling.seed, numbers, 1 + free * ranking.best_of)
        shares = task.weights.cumsum()
        self.pattern = np.minimum((chances[:, :1] * shares[-1] >= shares).sum(axis=1), len(task.weights) - 1)
        self.chances = chances[:, 1:].reshape(count, -1, ranking.best_of)  # (poems, draws, candidates)
        self.drawn = 0
        self.groups = task.groups[self.pattern]  # (poems, rhymes)
        longest = max(len(characters) for characters in task.forced)
        self.poems = np.zeros((count, len(task.forced), longest), dtype=np.int64)
        forced = [character for characters in task.forced for character in characters if character >= 0]
        self.reserved = np.tile(np.array(forced, dtype=np.int64), (count, 1))
        self.sense = task.sense
        if self.sense is not None:
            self.spoken = np.tile(self.sense.times(task.title), (count, 1))
        self.judged: list[tuple[Floats, Floats]] = []  # points, less worn pairs, and coherence of each line
        self.carried = np.zeros(count, dtype=bool)  # whether each poem has a character of its topic
        self.readers = [_Reader(network, task.prefix, count)]
        if task.background is not None:
            self.readers.append(_Reader(network, task.background, count))

    def write_line(self, line: int) -> Iterator[None]:
        """Write one line of every poem: sample candidates character by character, each a step, then keep the best."""
        if line:
            self._end_line(line - 1)
        characters = self.task.forced[line]
        width = 1 if min(characters) >= 0 else self.ranking.best_of
        rows = np.arange(len(self.poems)).repeat(width)
        for reader in self.readers:
            reader.select(rows)
        drawn = _Drawn.nothing(len(rows), len(characters), self.score.vectors.shape[1])
        for position, character in enumerate(characters):
            if position:
                for reader in self.readers:
                    reader.read(drawn.candidates[:, position - 1 : position])
            if position == len(characters) - TAIL:
                self._keep_good_heads(line, drawn, position, width)
            logits = self._logits()
            drawn.outputs += self.readers[0].output
            if (line, position) in self.task.echoes:
                earlier, source = self.task.echoes[line, position]
                same = drawn.candidates[:, source] if earlier == line else self.poems[rows, earlier, source]
                drawn.candidates[:, position] = same
            elif character < 0:
                choices = self._choices(logits, rows, drawn.candidates, line, position)
                chances = self.chances[:, self.drawn, :width].ravel()
                drawn.candidates[:, position] = choices.draw(self.sampling, chances, _BRANCHES)
                self.drawn += 1
            else:
                drawn.candidates[:, position] = character
            chosen = logits[np.arange(len(rows)), drawn.candidates[:, position]]
            drawn.surprise[:, position] = log_total(logits) - chosen
            yield None
        self._choose(line, drawn, width)

    def _keep_good_heads(self, line: int, drawn: _Drawn, position: int, width: int) -> None:
        """Keep the better half of the heads of a line and continue each of them with two candidates.

        Args:
            line: Index of the line.
            drawn: The candidates; the heads that are kept replace the others.
            position: Number of characters drawn so far.
            width: Candidates per poem.
        """
        if self.task.rater is None or not self.ranking.rating or position < _SHORTEST_HEAD or width == 1:
            return
        kept = (width + 1) // 2
        order = np.argsort(-self._judge(line, drawn, position, width), axis=1, kind="stable")
        kept_rows = order[:, np.arange(width) % kept]
        rows = (kept_rows + np.arange(len(kept_rows))[:, None] * width).ravel()
        drawn.select(rows)
        for reader in self.readers:
            reader.select(rows)

    def _end_line(self, line: int) -> None:
        """Read the end of a line; called only before the next line, so that a finished line is returned earlier."""
        ends = self.poems[:, line, len(self.task.forced[line]) - 1]
        symbols = np.stack([ends, np.full_like(ends, self.task.line_id)], axis=1)
        for reader in self.readers:
            reader.read(symbols)

    def _logits(self) -> Floats:
        """Return the logits of the next character after guidance by topic and author, (rows, output_size)."""
        logits = self.readers[0].logits
        if len(self.readers) == 2:
            pulled = logits - self.readers[1].logits
            pulled *= np.float32(self.ranking.guidance)
            pulled += logits
            return pulled
        return logits

    def _choices(self, logits: Floats, rows: Ints, candidates: Ints, line: int, position: int) -> Choices:
        """Return the scores of the next character with the constraints by tone, rhyme and repetition."""
        allowed = self.task.allowed(self.pattern, self.groups, line, position)
        allowed += self.task.favour
        if not position and line in self.task.leads:
            allowed += self.task.lead
        if self.task.facing is not None and line in self.task.answers:
            for poem, upper in enumerate(self.poems[:, self.task.answers[line], position].tolist()):
                others, lifts = self.task.facing.partners(upper)
                writable = others < allowed.shape[1]
                allowed[poem, others[writable]] += np.float32(self.ranking.facing) * lifts[writable]
        against: list[tuple[Ints, Floats]] = []  # characters and nats, (rows, some) both

        def subtract(ids: Ints, nats: float | Floats) -> None:
            against.append((ids, np.broadcast_to(np.float32(nats), ids.shape)))

        if position and self.task.facing is not None and self.ranking.facing_words and line in self.task.answers:
            subtract(*self._favoured_endings(rows, candidates, line, position, logits.shape[1]))
        before = np.concatenate([self.poems[:, :line].reshape(len(self.poems), -1), self.reserved], axis=1)[rows]
        last = position == len(self.task.forced[line]) - 1
        # A two-character word may be doubled (悠悠); words begin at even indices or fill the end of the line.
        current = candidates[:, : max(position - 1, 0) if position % 2 or last else position]
        subtract(np.concatenate([before, current], axis=1), USED if last else self.task.repeated)
        if position:
            # The penalty is larger than that of a repeated character.
            twice = candidates[:, position - 1]
            subtract(twice[:, None], self._against_doubling(twice, rows, line, position)[:, None])
        if last and line:
            # The largest penalty is for words that already end a line: a word does not rhyme with itself.
            ends = np.stack([self.poems[:, n, len(p) - 1] for n, p in enumerate(self.task.forced[:line])], axis=1)
            subtract(ends[rows], _NEVER)
        columns, nats = (np.concatenate(part, axis=1) for part in zip(*against, strict=True))
        return Choices(logits, allowed, columns, nats)

    def _favoured_endings(
        self, rows: Ints, candidates: Ints, line: int, position: int, size: int
    ) -> tuple[Ints, Floats]:
        """Return characters below `size` that complete a word parallel to one of the upper line, with their penalties.

        Both are (rows, most endings), padded with character 0 and penalty 0; penalties are negative.
        """
        assert self.task.facing is not None
        words = self.poems[rows, self.task.answers[line], position - 1 : position + 1]
        found = []
        for row, begin in enumerate(candidates[:, position - 1].tolist()):
            others, lifts = self.task.facing.endings(words[row], begin)
            found.append((others[others < size], lifts[others < size]))
        ids = np.zeros((len(rows), max(len(others) for others, _ in found)), dtype=np.int64)
        nats = np.zeros(ids.shape, dtype=np.float32)
        for row, (others, lifts) in enumerate(found):
            ids[row, : len(others)], nats[row, : len(others)] = others, np.float32(-self.ranking.facing_words) * lifts
        return ids, nats

    def _against_doubling(self, characters: Ints, rows: Ints, line: int, position: int) -> Floats:
        """Return the penalty of doubling a character that is not doubled in verse or in the parallel line, (rows,).

        Args:
            characters: Characters at the previous position, (rows,).
            rows: Index of the poem of each row, (rows,).
            line: Index of the line.
            position: Index in the line, at least 1.
        """
        doubled = self.sense.doubled[characters] if self.sense is not None else np.ones(len(rows), dtype=bool)
        if line in self.task.answers:
            upper = self.poems[rows, self.task.answers[line]]
            doubled = doubled & (upper[:, position] == upper[:, position - 1])
        return np.where(doubled, np.float32(0), np.float32(2 * USED))

    def _judge(self, line: int, drawn: _Drawn, length: int, width: int) -> Floats:
        """Return scores of candidates or of their heads in nats per character, (poems, candidates).

        Args:
            line: Index of the line.
            drawn: The candidates.
            length: Number of characters to score.
            width: Candidates per poem.
        """
        task, ranking, answers, count = self.task, self.ranking, self.task.answers, len(self.poems)
        candidates = drawn.candidates[:, :length].reshape(count, width, length)
        surprise = drawn.surprise[:, :length].reshape(count, width, length)
        score = self.score(candidates, surprise, self.poems[:, answers[line]] if line in answers else None)
        if self.sense is not None:
            score -= np.float32(ranking.seasons / length) * self.sense.clash(self.spoken, candidates)
        if task.rater is not None and task.usage is not None:
            guess = task.rater.line if length == len(task.forced[line]) else task.rater.head
            outputs = drawn.outputs.reshape(count, width, -1) / np.float32(length)
            score += np.float32(ranking.rating) * guess(outputs, surprise, task.usage.habits(candidates))
        if task.worn is not None and ranking.rating:
            score -= task.worn(candidates) / np.float32(length)
        if task.usage is not None:
            score -= np.float32(ranking.unheard / length) * task.usage.unheard(candidates)
        if task.critic is not None:
            before = self.poems[:, :line].reshape(count, 1, -1)
            score += np.float32(task.coherence / length) * task.critic.lift(before, candidates)
        if task.subject is not None:
            missed = (line + 1) / len(task.forced)
            gain = np.where(self.carried, np.float32(0), np.float32(ranking.subject * missed / length))
            score += gain[:, None] * task.subject[candidates].any(axis=2)
        return score

    def _choose(self, line: int, drawn: _Drawn, width: int) -> None:
        """Keep the best candidate of each poem.

        Args:
            line: Index of the line.
            drawn: The candidates.
            width: Candidates per poem.
        """
        count, length = len(self.poems), drawn.candidates.shape[1]
        candidates = drawn.candidates.reshape(count, width, length)
        score = self._judge(line, drawn, length, width) - np.float32(USED) * self._repeats(line, candidates)
        best = score.argmax(axis=1)
        poems = np.arange(count)
        chosen = candidates[poems, best]
        self._remember(line, drawn, poems * width + best)
        if self.task.subject is not None:
            self.carried |= self.task.subject[chosen].any(axis=1)
        self.poems[:, line, :length] = chosen
        if self.sense is not None:
            self.spoken = self.spoken | self.sense.times(chosen)
        for reader in self.readers:
            reader.select(poems * width + best)
        slot = self.task.slots[self.pattern, line]
        index = np.maximum(slot, 0)
        group_of = self.task.masks.group_of
        found = group_of[np.minimum(chosen[:, -1], len(group_of) - 1)]
        old = self.groups[poems, index]
        self.groups[poems, index] = np.where((slot != UNASSIGNED) & (old == UNASSIGNED), found, old)

    def _remember(self, line: int, drawn: _Drawn, rows: Ints) -> None:
        """Store points and coherence of the chosen candidates for the rating of whole poems.

        Args:
            line: Index of the line, which is not yet in `poems`.
            drawn: The candidates.
            rows: Rows of the chosen candidates, (poems,).
        """
        task = self.task
        if task.rater is None or task.rater.whole is None or task.usage is None or task.critic is None:
            return
        chosen, length = drawn.candidates[rows], drawn.candidates.shape[1]
        parts = drawn.outputs[rows] / np.float32(length), drawn.surprise[rows], task.usage.habits(chosen)
        before = self.poems[:, :line].reshape(len(self.poems), -1)
        lift = task.critic.lift(before, chosen) if line else np.zeros(len(chosen), dtype=np.float32)
        points = task.rater.line(*parts)
        if task.worn is not None and self.ranking.rating:  # worth as much as in the choice of lines
            points -= task.worn(chosen) / np.float32(length * self.ranking.rating)
        self.judged.append((points, lift / np.float32(length)))

    def worth(self) -> Floats:
        """Return the predicted ratings of the poems, (poems,); 0 before they are complete."""
        if self.task.rater is None or self.task.rater.whole is None or len(self.judged) < len(self.task.forced):
            return np.zeros(len(self.poems), dtype=np.float32)
        points, lift = (np.stack(part, axis=1) for part in zip(*self.judged, strict=True))
        return self.task.rater.whole(points, lift)

    def _repeats(self, line: int, candidates: Ints) -> Floats:
        """Return 1 for candidates that repeat an earlier line of their poem, else 0, (poems, candidates)."""
        length = candidates.shape[2]
        earlier = [n for n, characters in enumerate(self.task.forced[:line]) if len(characters) == length]
        lines = self.poems[:, None, earlier, :length]
        same: Floats = (lines == candidates[:, :, None]).all(axis=3).any(axis=2).astype(np.float32)
        return same


class LineScore:
    """Score candidates for a line; higher is better."""

    def __init__(self, vectors: Floats, ranking: Ranking, facing: FacingTables | None = None) -> None:
        self.vectors = vectors
        self.ranking = ranking
        self.facing = facing

    def __call__(self, candidates: Ints, surprise: Floats, answered: Ints | None) -> Floats:
        """Return scores in nats per character, (poems, candidates).

        Args:
            candidates: Character ids, (poems, candidates, length).
            surprise: Surprise of each character in nats, (poems, candidates, length).
            answered: The line to which this one is parallel, (poems, at least length), or None.
        """
        # The worst character counts in addition to the mean, because one bad word spoils a line.
        typical = np.float32(self.ranking.typical)
        score: Floats = -np.maximum(surprise.mean(axis=2), typical) - np.float32(0.1) * surprise.max(axis=2)
        if answered is not None:
            upper = answered[:, None, : candidates.shape[2]]  # (poems, 1, length)
            if self.facing is not None:
                score += np.float32(self.ranking.facing) * self.facing.lift(upper, candidates)
                if self.ranking.facing_words:
                    score += np.float32(self.ranking.facing_words) * self.facing.word_lift(upper, candidates)
            else:
                alike = (self._directions(candidates) * self._directions(upper)).sum(axis=3).mean(axis=2)
                score += np.float32(self.ranking.parallel) * alike
        return score

    def _directions(self, ids: Ints) -> Floats:
        """Return the normalised embeddings of characters, (...) -> (..., embedding_dim)."""
        found = self.vectors[ids]
        directions: Floats = found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)
        return directions


class _Reader:
    """Incremental state of the model for the rows of a batch, with the logits of the next character."""

    def __init__(self, network: Network, prefix: Ints, rows: int) -> None:
        self.network = network
        self.logits, self.state = network.step(prefix[None])
        self.select(np.zeros(rows, dtype=np.int64))

    def select(self, rows: Ints) -> None:
        """Keep the given rows; a row may be chosen several times."""
        self.logits = self.logits[rows]
        self.state = self.network.select(self.state, rows)

    @property
    def output(self) -> Floats:
        """The network's output vector at the last symbol read, (rows, embedding_dim)."""
        return self.network.output(self.state)

    def read(self, ids: Ints) -> None:
        """Read symbols, (rows, length)."""
        self.logits, self.state = self.network.step(ids, self.state)
