"""Write verse that keeps its rules: line by line, several candidates side by side, the best one stays.

The work is bounded: one step of the model for each position, for all poems and candidates at once; nothing is undone.
Imports no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zhseq.batching import Ints
from zhseq.poetry.coherence import TAIL, Critic, Rater, Usage, WornPairs, features_of
from zhseq.poetry.fitting import PatternChoice
from zhseq.poetry.network import Booleans, Floats, Network, log_total
from zhseq.poetry.planning import Plan
from zhseq.poetry.prosody import UNASSIGNED
from zhseq.poetry.request import Ranking, Sampling
from zhseq.poetry.rules import CharacterMasks, FacingTables, SenseTables, tone_demands
from zhseq.poetry.sampling import Choices, random_streams

USED = 1e4
"""Nats against a character that the poem has already: it returns only where nothing else is left."""

_NEVER = 1e6  # nats against a rhyme word that rhymes with itself
_REPEATED_IN_CI = 1.5  # nats likewise in a ci; ci repeat words, regulated verse hardly does
_HEAD = 25.0  # ranks within which frequencies hardly differ
_TAIL = 1500  # rank beyond which characters are rare enough not to be favoured over each other
_SHORTEST_HEAD = 2  # characters of a line that can be judged before the rest is drawn
_BRANCHES = 128  # best characters at a position among which one is drawn


@dataclass(frozen=True)
class Task:
    """What the search shall write: a plan as arrays.

    Attributes:
        forced: For each line and position the id of a character that must stand there, or -1.
        prefix: What the model reads first, shape (length,).
        background: The same without subject and author, or None. What the poem shall be about counts the more the
            less likely it is without being asked for.
        line_id: Symbol between two lines.
        masks: What characters may do.
        weights: How often each pattern is taken, shape (patterns,).
        demands: What each position asks for, shape (patterns, lines, longest line); see `tone_demands`.
        slots: Rhyme of each line, shape (patterns, lines); `UNASSIGNED` for none.
        groups: Rhyme groups fixed beforehand, shape (patterns, rhymes); `UNASSIGNED` where open.
        first_words: Words with which a rhyme may begin, shape (patterns, rhymes, output_size).
        repeated: Nats against a character that the poem has already.
        answers: Line that answers another word for word (对仗) -> the line it answers.
        favour: Nats by which characters are favoured when one is drawn, shape (output_size,).
        lead: The same at the first place of lines that are cut behind it, shape (output_size,).
        leads: Those lines.
        subject: Characters one of which poems on the subject hold, shape (vocab_size,), or None.
        sense: What verse takes for granted, or None.
        title: Ids of title or subject, which speaks of a season or hour as lines do, shape (length,).
        facing: Which characters face each other, or None.
        critic: How well lines follow those before them, or None.
        usage: What verse sets together, or None.
        rater: How readers rate lines, or None; asks for `usage`.
        worn: Pairs of characters that are held back where the rater counts, or None.
        coherence: Weight of the nats by which a line follows those before it; see `Ranking`.
        echoes: Place, a line and a position, that repeats the character of an earlier one -> the earlier one.
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
            plan: What to write.
            choice: Its patterns.
            masks: What characters may do.
            forced: As in the task, likewise below.
            prefix: See there.
            background: See there.
            line_id: See there.
            favour: See there, but for what holds the commonest back.
            lead: See there.
            subject: See there.
            sense: See there.
            title: See there.
            facing: See there.
            critic: See there.
            usage: See there.
            rater: See there.
            worn: See there.

        Raises:
            InputError: A rhyme has more words than any rhyme group.
        """
        # Vocabularies list characters by frequency, and frequency falls with rank as Zipf and Mandelbrot describe.
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
        """Return what tone and rhyme allow at a position, an additive mask (poems, output_size).

        Args:
            pattern: Pattern that each poem follows, (poems,).
            groups: Rhyme groups chosen so far, (poems, rhymes).
            line: Number of the line.
            position: Position in the line.
        """
        by_tone: Floats = self.masks.by_demand[self.demands[pattern, line, position]]
        slot = self.slots[pattern, line]
        if position < len(self.forced[line]) - 1 or (slot == UNASSIGNED).all():
            return by_tone
        # A word with a rhyme has the tone of its group, so the tone mask need not be asked as well.
        for poem in np.flatnonzero(slot != UNASSIGNED).tolist():
            group = groups[poem, slot[poem]]
            is_open = group == UNASSIGNED
            by_tone[poem] = self.first_words[pattern[poem], slot[poem]] if is_open else self.masks.by_group[group]
        return by_tone


class Written(NamedTuple):
    """Poems that are written side by side.

    Attributes:
        poems: Character ids, (poems, lines, longest line), 0 where nothing is written.
        patterns: The pattern of the plan that each poem follows, (poems,), 0 without patterns.
        worth: What readers may give each poem, see `Rater.whole`, (poems,); 0 where that is not known, or not yet.
    """

    poems: Ints
    patterns: Ints
    worth: Floats


def search(
    network: Network, task: Task, sampling: Sampling, ranking: Ranking, poems: Sequence[int]
) -> Iterator[Written | None]:
    """Write poems of one shape side by side, line by line; yield None after each place of a line.

    Args:
        network: The language model.
        task: What to write.
        sampling: How to draw.
        ranking: How many candidates each line has and how they are judged.
        poems: Numbers of these poems among all that the seed gives.

    Yields:
        The poems after each line; 0 stands beyond the end of a shorter line and in lines to come. What is written
        never changes again.
    """
    state = _Search(network, task, sampling, ranking, poems)
    for line in range(len(task.forced)):
        for _ in state.write_line(line):
            yield None
        yield Written(state.poems, state.pattern, state.worth())


@dataclass
class _Drawn:
    """Candidates for a line, as far as they are drawn: one row for each, those of a poem together.

    Attributes:
        candidates: Characters, (rows, length), 0 where none is drawn yet.
        surprise: What each cost in nats, likewise.
        outputs: The network's outputs that they were drawn from, their sum, (rows, embedding_dim).
    """

    candidates: Ints
    surprise: Floats
    outputs: Floats

    @classmethod
    def nothing(cls, rows: int, length: int, dim: int) -> _Drawn:
        """Return candidates without a character."""
        surprise, outputs = (np.zeros((rows, size), dtype=np.float32) for size in (length, dim))
        return cls(np.zeros((rows, length), dtype=np.int64), surprise, outputs)

    def select(self, rows: Ints) -> None:
        """Go on with these rows, some of them several times."""
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
        self.judged: list[tuple[Floats, Floats]] = []  # features and points of each line, see `Wholes`
        self.carried = np.zeros(count, dtype=bool)  # whether each poem has a word of its subject
        self.readers = [_Reader(network, task.prefix, count)]
        if task.background is not None:
            self.readers.append(_Reader(network, task.background, count))

    def write_line(self, line: int) -> Iterator[None]:
        """Write one line of every poem: candidates character by character, each a step, then the choice among them."""
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
        """Go on with the better half of the heads of a line, with two candidates for each of them.

        Args:
            line: Number of the line.
            drawn: The candidates; those that are left take the places of the others.
            position: How many characters they have.
            width: Candidates of each poem.
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
        """Read the end of a line; only when the next one is due, since whoever waits for this one has it already."""
        ends = self.poems[:, line, len(self.task.forced[line]) - 1]
        symbols = np.stack([ends, np.full_like(ends, self.task.line_id)], axis=1)
        for reader in self.readers:
            reader.read(symbols)

    def _logits(self) -> Floats:
        """Return the scores of the next character, (rows, output_size), sharpened towards what is asked for."""
        logits = self.readers[0].logits
        if len(self.readers) == 2:
            pulled = logits - self.readers[1].logits
            pulled *= np.float32(self.ranking.guidance)
            pulled += logits
            return pulled
        return logits

    def _choices(self, logits: Floats, rows: Ints, candidates: Ints, line: int, position: int) -> Choices:
        """Return what the scores of the next character are under tone, rhyme and repetition."""
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
        # A word of two characters may double one (悠悠); words begin at even positions, or fill the end of the line.
        current = candidates[:, : max(position - 1, 0) if position % 2 or last else position]
        subtract(np.concatenate([before, current], axis=1), USED if last else self.task.repeated)
        if position:
            # Worse than a character that returns.
            twice = candidates[:, position - 1]
            subtract(twice[:, None], self._against_doubling(twice, rows, line, position)[:, None])
        if last and line:
            # Words that have ended a line are the last resort of all: a rhyme word is not its own rhyme.
            ends = np.stack([self.poems[:, n, len(p) - 1] for n, p in enumerate(self.task.forced[:line])], axis=1)
            subtract(ends[rows], _NEVER)
        columns, nats = (np.concatenate(part, axis=1) for part in zip(*against, strict=True))
        return Choices(logits, allowed, columns, nats)

    def _favoured_endings(
        self, rows: Ints, candidates: Ints, line: int, position: int, size: int
    ) -> tuple[Ints, Floats]:
        """Return characters below `size` that end a word facing one of the upper line, and nats against them.

        Both are (rows, most endings), filled up with character 0 and no nats.
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
        """Return the nats against a character that follows itself where poets, or what it answers, do not double one.

        Args:
            characters: At the place before, (rows,).
            rows: The poem of each row, (rows,).
            line: Number of the line.
            position: Position in the line, from 1.
        """
        doubled = self.sense.doubled[characters] if self.sense is not None else np.ones(len(rows), dtype=bool)
        if line in self.task.answers:
            upper = self.poems[rows, self.task.answers[line]]
            doubled = doubled & (upper[:, position] == upper[:, position - 1])
        return np.where(doubled, np.float32(0), np.float32(2 * USED))

    def _judge(self, line: int, drawn: _Drawn, length: int, width: int) -> Floats:
        """Return how good candidates are, or the heads that they begin with, (poems, candidates), in nats a character.

        Args:
            line: Number of the line.
            drawn: The candidates.
            length: How many characters count.
            width: Candidates of each poem.
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
            line: Number of the line.
            drawn: The candidates.
            width: How many each poem has.
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
        """Keep what the guess of whole poems takes of the chosen candidates.

        Args:
            line: Number of the line, of which none is kept yet.
            drawn: The candidates.
            rows: The chosen ones, (poems,).
        """
        task = self.task
        if task.rater is None or task.rater.whole is None or task.usage is None or task.critic is None:
            return
        chosen, length = drawn.candidates[rows], drawn.candidates.shape[1]
        parts = drawn.outputs[rows] / np.float32(length), drawn.surprise[rows], task.usage.habits(chosen)
        before = self.poems[:, :line].reshape(len(self.poems), -1)
        lift = task.critic.lift(before, chosen) if line else np.zeros(len(chosen), dtype=np.float32)
        self.judged.append((features_of(*parts, lift / np.float32(length)), task.rater.line(*parts)))

    def worth(self) -> Floats:
        """Return what readers may give the poems, (poems,); 0 before they are whole."""
        if self.task.rater is None or self.task.rater.whole is None or len(self.judged) < len(self.task.forced):
            return np.zeros(len(self.poems), dtype=np.float32)
        features, points = (np.stack(part, axis=1) for part in zip(*self.judged, strict=True))
        return self.task.rater.whole(features, points)

    def _repeats(self, line: int, candidates: Ints) -> Floats:
        """Tell which candidates are equal to an earlier line of their poem, (poems, candidates): 1, or else 0."""
        length = candidates.shape[2]
        earlier = [n for n, characters in enumerate(self.task.forced[:line]) if len(characters) == length]
        lines = self.poems[:, None, earlier, :length]
        same: Floats = (lines == candidates[:, :, None]).all(axis=3).any(axis=2).astype(np.float32)
        return same


class LineScore:
    """Judge candidates for a line; higher is better."""

    def __init__(self, vectors: Floats, ranking: Ranking, facing: FacingTables | None = None) -> None:
        self.vectors = vectors
        self.ranking = ranking
        self.facing = facing

    def __call__(self, candidates: Ints, surprise: Floats, answered: Ints | None) -> Floats:
        """Return scores in nats a character, (poems, candidates).

        Args:
            candidates: (poems, candidates, length).
            surprise: What each character cost, likewise, in nats.
            answered: The line that this one answers word for word, (poems, at least length), or None.
        """
        # The worst character counts beside the mean: one false word spoils a line.
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
        """Return the embeddings of characters, (...), divided by their lengths, (..., embedding_dim)."""
        found = self.vectors[ids]
        directions: Floats = found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)
        return directions


class _Reader:
    """The model reading along: scores of the next character and state, for the rows of a batch."""

    def __init__(self, network: Network, prefix: Ints, rows: int) -> None:
        self.network = network
        self.logits, self.state = network.step(prefix[None])
        self.select(np.zeros(rows, dtype=np.int64))

    def select(self, rows: Ints) -> None:
        """Go on with these rows, some of them several times."""
        self.logits = self.logits[rows]
        self.state = self.network.select(self.state, rows)

    @property
    def output(self) -> Floats:
        """What the network made of the last symbol read, (rows, embedding_dim)."""
        return self.network.output(self.state)

    def read(self, ids: Ints) -> None:
        """Read symbols, (rows, length)."""
        self.logits, self.state = self.network.step(ids, self.state)
