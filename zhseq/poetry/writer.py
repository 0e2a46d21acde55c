"""Carry out plans: encode them for the search and convert ids to poems. Imports no torch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

import numpy as np

from zhseq.batching import Ints
from zhseq.errors import InputError, Message
from zhseq.poetry.coherence import Critic, Rater, Usage, WornPairs
from zhseq.poetry.forms import LINE_MARK, Controls, encode_prefix
from zhseq.poetry.network import Booleans, Floats, Network
from zhseq.poetry.planning import Plan, answer_marks
from zhseq.poetry.prosody import Pattern, Prosody
from zhseq.poetry.prosody.patterns import FREE
from zhseq.poetry.request import Poem
from zhseq.poetry.rules import CharacterMasks, FacingTables, SenseTables
from zhseq.poetry.sampling import sample
from zhseq.poetry.scoring import compare
from zhseq.poetry.search import Task, Written, search
from zhseq.poetry.sense import Sense
from zhseq.text.normalize import codepoints, is_han, normalize, printed
from zhseq.text.vocab import LINE, Vocab

MOST_VERSIONS = 64
"""Most versions of a line that can be requested."""

BETWEEN_DRAFTS = 1 << 40  # distance of the random streams of two drafts of a poem, larger than any number of poems
_SIDE_BY_SIDE = 256  # rows of a batch: more are not faster on a CPU, and memory stays bounded
_ALONE = 128  # rows of a batch of drafts of one poem, so that a step stays short
_ROUNDS = 4  # most rounds of sampling before fewer versions than requested are returned


class Writer:
    """Write poems by plans with a language model. Thread-safe."""

    def __init__(
        self,
        network: Network,
        vocab: Vocab,
        sense: Sense | None = None,
        critic: Critic | None = None,
        usage: Usage | None = None,
        rater: Rater | None = None,
    ) -> None:
        """Store a model, its vocabulary and tables.

        Args:
            network: The language model.
            vocab: Its vocabulary.
            sense: Word lists.
            critic: Estimate of how well lines follow previous ones.
            usage: Usage statistics.
            rater: Predictions of reader ratings; only used with `usage`.
        """
        self._usage = usage
        self._rater = rater
        self._sense = sense
        self._critic = critic
        self.network = network
        self.vocab = vocab
        self._masks: dict[int, CharacterMasks] = {}
        symbols = vocab.symbols[: network.output_size]
        characters = "".join(symbol if len(symbol) == 1 else " " for symbol in symbols)
        self._writable = is_han(codepoints(characters))

    @cached_property
    def sense(self) -> SenseTables | None:
        """Seasons, hours and weathers as arrays; None if the model has no word lists."""
        return SenseTables(self._sense, self.vocab) if self._sense is not None else None

    @cached_property
    def worn(self) -> WornPairs | None:
        """Penalties of overused bigrams; None if the model has no rater."""
        return WornPairs(self._rater.worn, self.vocab) if self._rater is not None else None

    @cached_property
    def facing(self) -> FacingTables | None:
        """Parallel words as arrays; None if the model has no such table."""
        facing = self._sense.facing if self._sense is not None else None
        return FacingTables(facing, self.vocab) if facing is not None else None

    def poems(self, plan: Plan, num: int) -> Iterator[Poem]:
        """Yield `num` poems; for a given number of drafts, poem i does not depend on `num`."""
        yield from (poem for poem in self.steps(plan, num) if poem is not None)

    def steps(self, plan: Plan, num: int) -> Iterator[Poem | None]:
        """Yield the poems of `poems`, and None after each step (a position of a line of unfinished poems)."""
        drafts = self._drafts(plan, num)
        for numbers in _blocks(plan, range(num), drafts):
            written = yield from self._best(plan, numbers, drafts)
            for ids, pattern in zip(written.poems, written.patterns.tolist(), strict=True):
                yield self._poem(plan, ids, pattern, len(plan.given))

    def lines(self, plan: Plan, number: int) -> Iterator[Poem | None]:
        """Yield poem `number` after each of its lines, as far as it is written, and None after each step.

        If it is chosen from several drafts, its lines are yielded only after all drafts are written.
        """
        drafts, count = self._drafts(plan, 1), 0
        if drafts > 1:
            best = yield from self._best(plan, range(number, number + 1), drafts)
            for lines in range(1, len(plan.given) + 1):
                yield self._poem(plan, best.poems[0], int(best.patterns[0]), lines)
            return
        for written in self.write(plan, range(number, number + 1)):
            if written is None:
                yield None
                continue
            count += 1
            yield self._poem(plan, written.poems[0], int(written.patterns[0]), count)

    def _drafts(self, plan: Plan, num: int) -> int:
        """Return the number of drafts of each of `num` poems; 1 if ratings of such poems cannot be predicted."""
        rater = self._rater
        if plan.choice is None or plan.tune or rater is None or self._usage is None or self._critic is None:
            return 1
        if rater.whole is None or plan.form.name not in rater.whole.forms:
            return 1
        return plan.request.drafts_of(num)

    def _best(self, plan: Plan, numbers: Sequence[int], drafts: int) -> Generator[None, None, Written]:
        """Write poems in `drafts` drafts, yield None after each step, and return the best draft of each."""
        streams = [number + draft * BETWEEN_DRAFTS for number in numbers for draft in range(drafts)]
        parts = []
        for block in _blocks(plan, streams, most=_ALONE if len(numbers) == 1 else _SIDE_BY_SIDE):
            part = yield from self._last(plan, block, len(plan.given), rate_wholes=drafts > 1)
            parts.append(part)
        written = Written(*(np.concatenate(field) for field in zip(*parts, strict=True)))
        best = written.worth.reshape(-1, drafts).argmax(axis=1) + np.arange(len(numbers)) * drafts
        return Written(*(field[best] for field in written))

    def _last(
        self, plan: Plan, numbers: Sequence[int], lines: int, *, rate_wholes: bool = False
    ) -> Generator[None, None, Written]:
        """Write `lines` lines of poems, yield None after each step, and return the last result of `write`."""
        for written in self.write(plan, numbers, rate_wholes=rate_wholes):
            yield None
            lines -= written is not None
            if not lines:
                break
        assert written is not None
        return written

    def versions(self, plan: Plan, index: int, old: str, num: int) -> Iterator[list[str] | None]:
        """Write versions of the open line of a plan; yield None after each step, then the versions.

        Args:
            plan: See `plan_rewriting`.
            index: Index of the open line.
            old: The current line, which is not among the versions.
            num: Maximum number of versions.

        Yields:
            Finally the versions, those that fit the other lines best first; fewer if no more were found.

        Raises:
            InputError: `num` is out of range.
        """
        if not 1 <= num <= MOST_VERSIONS:
            raise InputError(
                "number_of_versions",
                "the number of versions must lie in 1 to {most}, but is {num}",
                most=MOST_VERSIONS,
                num=num,
            )
        given = ["".join(map(normalize, line)) for line in plan.given]
        taken = {normalize(old), *given}
        found: dict[str, str] = {}
        for turn in range(_ROUNDS):
            before = len(found)
            for numbers in _blocks(plan, range(turn * num, (turn + 1) * num)):
                written = yield from self._last(plan, numbers, index + 1)
                for ids, pattern in zip(written.poems, written.patterns.tolist(), strict=True):
                    line = self.text(plan, ids, pattern, index + 1)[index]
                    if normalize(line) not in taken:
                        found.setdefault(normalize(line), line)
            if len(found) >= num or len(found) == before:
                break
        versions = list(found.values())
        if len(versions) > 1:
            parts = (
                "".join(line + LINE_MARK for line in given[:index]),
                list(found),
                "".join(LINE_MARK + line for line in given[index + 1 :]),
            )
            nats = yield from compare(self.network, self.vocab, Controls(plan.controls.form), *parts)
            versions = [versions[number] for number in np.argsort(nats, kind="stable")[:num]]
        yield versions

    def answers(self, plan: Plan, upper: str, num: int) -> Iterator[str | None]:
        """Yield `num` lower lines of a couplet planned by `plan_couplet`, and None after each step."""
        marks = answer_marks(upper)
        for number in range(num):  # one at a time, because each has many candidates
            written = yield from self._last(plan, range(number, number + 1), len(plan.given))
            lower = self.text(plan, written.poems[0], int(written.patterns[0]), len(plan.given))[len(marks) :]
            yield "".join(line + mark for line, mark in zip(lower, marks, strict=True))

    def write(self, plan: Plan, numbers: Sequence[int], *, rate_wholes: bool = False) -> Iterator[Written | None]:
        """Write poems in parallel; yield them after each line, and None after each step within a line.

        Args:
            plan: The plan.
            numbers: Numbers of the random streams, one per poem.
            rate_wholes: Compute `Written.worth`, which only the choice among drafts needs; otherwise it is 0.
        """
        request = plan.request
        rater = None if plan.tune else self._rater  # no lines of ci were rated
        if rater is not None and not rate_wholes:
            rater = replace(rater, whole=None)
        if plan.choice is not None:
            assert plan.prosody is not None, "patterns come from a prosody"
            general = replace(plan.controls, author="", title=plan.tune)  # without author and topic
            task = Task.build(
                plan,
                plan.choice,
                self._masks_of(plan.prosody),
                forced=self._ids(plan.given),
                prefix=self._prefix(plan.controls),
                background=self._prefix(general) if request.about or request.author else None,
                line_id=self.vocab.id(LINE),
                favour=self._nats(plan.manner),
                lead=self._nats(self._sense.leaders if self._sense is not None and plan.leads else {}),
                subject=self._holds(plan.subject) if plan.subject else None,
                sense=self.sense,
                title=self.vocab.encode(normalize(plan.controls.title)),
                facing=self.facing if plan.answers else None,
                critic=self._critic,
                usage=self._usage,
                rater=rater,
                worn=None if plan.tune else self.worn,
            )
            yield from search(self.network, task, request.sampling, request.ranking, numbers)
            return
        shaped = sample(
            self.network,
            prefix=self._prefix(plan.controls),
            forced=self._ids(plan.given),
            writable=self._writable,
            line_id=self.vocab.id(LINE),
            sampling=request.sampling,
            numbers=numbers,
        )
        for poems in shaped:
            yield Written(poems, np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.float32))

    def text(self, plan: Plan, ids: Ints, pattern: int, count: int) -> tuple[str, ...]:
        """Return the first `count` lines of a poem with ids (lines, longest line) and a pattern of the plan as text."""
        # A given character outside the vocabulary is replaced by a placeholder, and restored at the end.
        lines = [
            "".join(symbol if len(symbol := self.vocab.symbol(index)) == 1 else "□" for index in line[: len(given)])
            for line, given in zip(ids[:count].tolist(), plan.given[:count], strict=True)
        ]
        lines = [_printed(plan, line, pattern, number) for number, line in enumerate(lines)]
        written = to_traditional(lines) if plan.request.traditional else lines
        return tuple(
            "".join(kept or character for kept, character in zip(given, line, strict=True))
            for given, line in zip(plan.given[:count], written, strict=True)
        )

    def _poem(self, plan: Plan, ids: Ints, pattern: int, count: int) -> Poem:
        request, choice = plan.request, plan.choice
        if choice:
            ids = _repeated(ids, choice.patterns[pattern], plan.given)
        return Poem(
            lines=self.text(plan, ids, pattern, count),
            form=plan.form.name,
            title=request.title or request.about,
            author=request.author,
            tune=plan.tune,
            pattern=choice.patterns[pattern] if choice else None,
            note=_joined(plan.notes),
        )

    def _masks_of(self, prosody: Prosody) -> CharacterMasks:
        """Return the character masks of a prosody or one of its views, computed when first needed."""
        if id(prosody) not in self._masks:  # ids are unique, since all views live as long as the prosody of the poet
            self._masks[id(prosody)] = CharacterMasks(prosody, self.vocab, self._writable)
        return self._masks[id(prosody)]

    def _prefix(self, controls: Controls) -> Ints:
        """Return the ids that the model reads first, (length,)."""
        return np.array(encode_prefix(self.vocab, controls), dtype=np.int64)

    def _nats(self, weights: Mapping[str, float]) -> Floats:
        """Return the nats of all characters that can be generated, (output_size,); 0 if not in `weights`."""
        result = np.zeros(self.network.output_size, dtype=np.float32)
        ids = self.vocab.encode("".join(weights))
        known = (ids != self.vocab.unk_id) & (ids < len(result))
        result[ids[known]] = np.array(list(weights.values()), dtype=np.float32)[known]
        return result

    def _holds(self, characters: str) -> Booleans:
        """Return a mask of the symbols that are among `characters`, (vocab_size,)."""
        result = np.zeros(len(self.vocab), dtype=bool)
        result[self.vocab.encode(characters)] = True
        result[self.vocab.unk_id] = False
        return result

    def _ids(self, given: Sequence[Sequence[str]]) -> list[list[int]]:
        """Return the ids of given characters, -1 at free positions."""
        return [[self.vocab.id(normalize(character)) if character else -1 for character in line] for line in given]


def _blocks(plan: Plan, numbers: Sequence[int], drafts: int = 1, most: int = _SIDE_BY_SIDE) -> Iterator[Sequence[int]]:
    """Split poems with `drafts` drafts each into batches of at most `most` rows, or one poem if that has more."""
    block = max(1, most // ((plan.request.ranking.best_of if plan.choice else 1) * drafts))
    rest = iter(numbers)
    while taken := list(islice(rest, block)):
        yield taken


def _joined(notes: Sequence[Message]) -> Message | None:
    """Return several notes as one."""
    if len(notes) < 2:
        return notes[0] if notes else None
    return Message("two_notes", "{first}; {rest}", {"first": notes[0], "rest": _joined(notes[1:])})


def _repeated(ids: Ints, pattern: Pattern, given: Sequence[Sequence[str]]) -> Ints:
    """Return a poem, (lines, longest line), with the repetitions (叠句) of its tune, except at given characters.

    A position repeats the earlier one; if only the later one is at a rhyme, it is copied to the earlier one instead.
    """
    if not pattern.echoes:
        return ids
    positions = [(line, position) for line, length in enumerate(pattern.line_lengths) for position in range(length)]
    ids = ids.copy()
    for echo in pattern.echoes:
        for step in range(echo.length):
            own, source = positions[echo.place + step], positions[echo.source + step]
            gives_way = echo.place + step + 1 in pattern.rhyme_places and (
                echo.source + step + 1 not in pattern.rhyme_places
            )
            target, taken = (source, own) if gives_way else (own, source)
            if ids[taken] and not given[target[0]][target[1]]:  # an incomplete poem ends in zeros
                ids[target] = ids[taken]
    return ids


def _printed(plan: Plan, line: str, pattern: int, number: int) -> str:
    """Return a line in the characters of printed editions, except those that would break its tones or rhyme."""
    shown = printed(line)
    if shown == line or plan.choice is None or plan.prosody is None:
        return shown
    followed, prosody = plan.choice.patterns[pattern], plan.prosody

    def fits(position: int, old: str, new: str) -> bool:
        if normalize(old) == normalize(new):
            return True
        rhymes = position + 1 == len(line) and followed.rhymes[number] > 0
        wanted, tone = followed.tones[number][position], prosody.tone_class(new).value
        return (FREE in (wanted, tone) or wanted == tone) and (not rhymes or prosody.rhyme(old, new))

    pairs = zip(line, shown, strict=True)
    return "".join(new if fits(position, old, new) else old for position, (old, new) in enumerate(pairs))


def to_traditional(lines: Sequence[str]) -> list[str]:
    """Return lines in traditional characters, converted by phrase if that keeps their length, else by character."""
    converter = _converter()
    converted = [(line, converter.convert(line)) for line in lines]
    return [
        new if len(new) == len(line) else "".join(converter.convert(character)[0] for character in line)
        for line, new in converted
    ]


@lru_cache(maxsize=1)
def _converter() -> Any:
    """Return the converter to traditional characters, cached because its dictionaries are slow to load."""
    from opencc import OpenCC

    return OpenCC("s2t")
