"""The poet: write, rewrite, answer, check and score verse: `Poet.load().write(start="春", form="七绝", seed=1)`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from zhseq import checkpoint
from zhseq.device import pick_backend, set_blas_threads
from zhseq.errors import InputError
from zhseq.poetry.coherence import CRITIC_FILE, RATER_FILE, USAGE_FILE, Critic, Rater, Usage
from zhseq.poetry.faults import Review
from zhseq.poetry.forms import FORMS, Controls
from zhseq.poetry.network import Network, NumpyNetwork, read_settings
from zhseq.poetry.pinyin import pinyin_of
from zhseq.poetry.planning import (
    Known,
    find_tune,
    plan_couplet,
    plan_poem,
    plan_rewriting,
    wanted_prosody,
)
from zhseq.poetry.prosody import PROSODY_FILE, Pattern, Prosody
from zhseq.poetry.reading import named_tune, read_poem
from zhseq.poetry.request import COUPLET_RANKING, Poem, Ranking, Request, Sampling, expect
from zhseq.poetry.review import review
from zhseq.poetry.scoring import Score, Suggestion, score_poems, suggest, surprise
from zhseq.poetry.sense import SENSE_FILE, Manner, Sense
from zhseq.poetry.wishes import control_values
from zhseq.poetry.writer import Writer
from zhseq.text.vocab import Vocab

__all__ = ["Poem", "Poet", "Request"]


class Poet:
    """Writes poems with a trained language model. One object may be used from several threads."""

    def __init__(
        self,
        network: Network,
        vocab: Vocab,
        prosody: Path | Prosody | None = None,
        name: str = "",
        sense: Sense | None = None,
        critic: Critic | None = None,
        usage: Usage | None = None,
        rater: Rater | None = None,
    ) -> None:
        """Wrap a model, its vocabulary and tables; see `load`. A directory of a prosody is read when first needed."""
        self.name = name
        self.network = network
        self.vocab = vocab
        self._prosody = prosody
        self.sense = sense
        self._known = Known(vocab, sense)
        self.critic = critic
        self.usage = usage
        self._writer = Writer(network, vocab, sense, critic, usage, rater)

    def __repr__(self) -> str:
        holds = f"{len(FORMS)} forms, {len(self.tunes)} tunes, {len(self.authors)} authors"
        return f"<Poet {self.name or 'without a name'} ({holds}) by {self.network}>"

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        backend: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
    ) -> Poet:
        """Load a model.

        Args:
            model: A directory, or a Hugging Face repository name; by default the model that comes with zhseq.
            backend: What computes the network: `native`, which is numpy for this network; `torch`; or `auto`: numpy on
                a processor. `onnx` is numpy, too, because it is as quick.
            device: `cpu`, `cuda`, `mps` or `auto`.
            threads: Processor threads for all of PyTorch, or for the matrix products of all of numpy, in this process.
                By default one, unless OMP_NUM_THREADS has asked for another number, see `zhseq.device.set_threads`.

        Raises:
            CheckpointError: It is missing, damaged, or no poem model.
            ConfigError: The backend or the device is not available, or there are less than 1 threads.
        """
        computing = pick_backend("native" if backend == "onnx" else backend, device, native="numpy")
        directory = checkpoint.shipped("poem") if model is None else checkpoint.resolve(model)
        settings, vocab = read_settings(directory)
        network: Network
        if computing == "torch":
            from zhseq.poetry.model import TorchNetwork

            network = TorchNetwork.load(directory, device, threads)
        else:
            set_blas_threads(threads)
            network = NumpyNetwork.load(directory, settings)
        prosody = directory if (directory / PROSODY_FILE).exists() else None
        sense = Sense.load(directory) if (directory / SENSE_FILE).exists() else None
        critic = Critic.load(directory, len(vocab)) if (directory / CRITIC_FILE).exists() else None
        usage = Usage.load(directory, len(vocab)) if (directory / USAGE_FILE).exists() else None
        rater = Rater.load(directory, settings.embedding_dim) if (directory / RATER_FILE).exists() else None
        return cls(network, vocab, prosody, directory.name, sense, critic, usage, rater)

    @property
    def authors(self) -> tuple[str, ...]:
        """Authors in whose manner the model can write, those with the most poems first.

        Behind them stand those whom it does not know by name: it follows their words, see `manners`.
        """
        return (*control_values(self.vocab, "author"), *self.manners)

    @property
    def manners(self) -> Mapping[str, Manner]:
        """Authors of whom the model has read too little to know the name, and how they write."""
        return self.sense.manners if self.sense is not None else {}

    @property
    def dynasties(self) -> tuple[str, ...]:
        """Dynasties in whose manner the model can write."""
        return control_values(self.vocab, "dynasty")

    @property
    def tunes(self) -> tuple[str, ...]:
        """Tunes to which ci can be written, those with the most poems first."""
        tunes = self.prosody.tunes.values() if self.prosody is not None else ()
        return tuple(tune.name for tune in sorted(tunes, key=lambda tune: -tune.total))

    @cached_property
    def prosody(self) -> Prosody | None:
        """Tones, rhymes and tunes that come with the model, or None.

        Raises:
            CheckpointError: They are damaged.
        """
        return Prosody.load(self._prosody) if isinstance(self._prosody, Path) else self._prosody

    def write(
        self,
        *,
        start: str = "",
        lines: Sequence[str] = (),
        form: str = "auto",
        tune: str = "",
        title: str = "",
        about: str = "",
        author: str = "",
        dynasty: str = "",
        acrostic: str = "",
        acrostic_at: str = "start",
        rhyme: str = "auto",
        rhyme_group: str = "",
        rhyme_with: str = "",
        traditional: bool = False,
        seed: int = Sampling.seed,
        temperature: float = Sampling.temperature,
        top_p: float = Sampling.top_p,
        top_k: int = Sampling.top_k,
        best_of: int = Ranking.best_of,
    ) -> Poem:
        """Write one poem. What is left out is left to the model.

        Args:
            start: How the poem begins, one or more characters; they stay as they are.
            lines: Lines to go on from, without punctuation; the last may be unfinished.
            form: `auto` (the first that the given characters fit into) or 五绝, 七绝, 五律, 七律, 五言排律, 七言排律.
            tune: Write ci to this tune, one of `tunes`.
            title: Title of the poem.
            about: Subject; pulls the poem harder than a title.
            author: In whose manner, one of `authors`.
            dynasty: In the manner of which time, one of `dynasties`.
            acrostic: Characters with which the lines begin (藏头), up to 40.
            acrostic_at: Where in the lines they stand: `start`, or `end` (藏尾).
            rhyme: `classical` or `modern` tones and rhymes, or `none`; `auto` is classical where the model has a
                prosody, and keeps a start that breaks the rules.
            rhyme_group: Rhyme group, called by one of its words.
            rhyme_with: A character to rhyme with: the same, said otherwise.
            traditional: Write in traditional characters.
            seed: The same seed and wishes give the same poem.
            temperature: Lower is safer, higher bolder; 0 always takes the best.
            top_p: Draw only from this share of the probability.
            top_k: Draw only from this many characters; 0: no limit.
            best_of: Candidates for each line, of which the best stays.

        Raises:
            InputError: A wish cannot be fulfilled; the message says why and what would work.
            TypeError: A wish is of a wrong type.
        """
        request = Request(
            start=start,
            lines=_listed(lines),
            form=form,
            tune=tune,
            title=title,
            about=about,
            author=author,
            dynasty=dynasty,
            acrostic=acrostic,
            acrostic_at=acrostic_at,
            rhyme=rhyme,
            rhyme_group=rhyme_group,
            rhyme_with=rhyme_with,
            traditional=traditional,
            sampling=Sampling(temperature, top_p, top_k, seed),
            ranking=Ranking(best_of),
        )
        return next(self.stream(request, 1))

    def write_many(
        self,
        num: int,
        *,
        start: str = "",
        lines: Sequence[str] = (),
        form: str = "auto",
        tune: str = "",
        title: str = "",
        about: str = "",
        author: str = "",
        dynasty: str = "",
        acrostic: str = "",
        acrostic_at: str = "start",
        rhyme: str = "auto",
        rhyme_group: str = "",
        rhyme_with: str = "",
        traditional: bool = False,
        seed: int = Sampling.seed,
        temperature: float = Sampling.temperature,
        top_p: float = Sampling.top_p,
        top_k: int = Sampling.top_k,
        best_of: int = Ranking.best_of,
    ) -> list[Poem]:
        """Write `num` poems side by side, with the wishes of `write`; number i is the same whatever `num` is.

        Raises:
            InputError: A wish cannot be fulfilled; the message says why and what would work.
            TypeError: A wish is of a wrong type.
        """
        request = Request(
            start=start,
            lines=_listed(lines),
            form=form,
            tune=tune,
            title=title,
            about=about,
            author=author,
            dynasty=dynasty,
            acrostic=acrostic,
            acrostic_at=acrostic_at,
            rhyme=rhyme,
            rhyme_group=rhyme_group,
            rhyme_with=rhyme_with,
            traditional=traditional,
            sampling=Sampling(temperature, top_p, top_k, seed),
            ranking=Ranking(best_of),
        )
        return list(self.stream(request, num))

    def stream(self, request: Request, num: int) -> Iterator[Poem]:
        """Yield the poems that `write_many` would return as they are finished, in flat memory.

        Raises:
            InputError: As for `write_many`, when the first poem is asked for.
        """
        _expect_count(num)
        yield from self._writer.poems(plan_poem(request, self._known, self._prosody_for(request)), num)

    def steps(self, request: Request, num: int) -> Iterator[Poem | None]:
        """Yield what `stream` yields, and None after each step, so that a caller can do something else in between.

        Raises:
            InputError: As for `write_many`, when the first poem is asked for.
        """
        _expect_count(num)
        yield from self._writer.steps(plan_poem(request, self._known, self._prosody_for(request)), num)

    def lines(self, request: Request, number: int = 0) -> Iterator[Poem]:
        """Yield one poem after each of its lines, as far as it is written; the last time it is whole.

        What stands never changes again: the whole poem is number `number` of `stream`.

        Raises:
            InputError: As for `write_many`, when the first line is asked for.
        """
        yield from (poem for poem in self.growing(request, number) if poem is not None)

    def growing(self, request: Request, number: int = 0) -> Iterator[Poem | None]:
        """Yield what `lines` yields, and None after each step, so that a caller can do something else in between.

        Raises:
            InputError: As for `lines`.
        """
        yield from self._writer.lines(plan_poem(request, self._known, self._prosody_for(request)), number)

    def rewrite(
        self,
        lines: Sequence[str],
        index: int,
        num: int = 5,
        *,
        start: str = "",
        form: str = "auto",
        tune: str = "",
        title: str = "",
        about: str = "",
        author: str = "",
        dynasty: str = "",
        acrostic: str = "",
        acrostic_at: str = "start",
        rhyme: str = "auto",
        rhyme_group: str = "",
        rhyme_with: str = "",
        traditional: bool = False,
        seed: int = Sampling.seed,
        temperature: float = Sampling.temperature,
    ) -> list[str]:
        """Write one line of a poem anew, so that it fits into form, tones and rhyme and repeats nothing.

        Args:
            lines: The whole poem, without punctuation; how the line to be written reads now is free.
            index: Number of the line, from 0.
            num: How many other versions.
            start: As the poem was asked for, see `write`, and so on; its characters in this line stay.
            form: See `write`, likewise below.
            tune: See there.
            title: See there.
            about: See there.
            author: See there.
            dynasty: See there.
            acrostic: See there; its character in this line stays.
            acrostic_at: See there.
            rhyme: See there.
            rhyme_group: See there; the other lines tell the rhyme.
            rhyme_with: See there.
            traditional: See there.
            seed: The same seed gives the same versions.
            temperature: See there.

        Returns:
            The versions, those that go best with the other lines first; fewer if no more were found.

        Raises:
            InputError: There is no such line, or the other lines have no known form.
            TypeError: An argument is of a wrong type.
        """
        request = Request(
            start=start,
            form=form,
            tune=tune,
            title=title,
            about=about,
            author=author,
            dynasty=dynasty,
            acrostic=acrostic,
            acrostic_at=acrostic_at,
            rhyme=rhyme,
            rhyme_group=rhyme_group,
            rhyme_with=rhyme_with,
            traditional=traditional,
            sampling=Sampling(temperature, seed=seed),
        )
        *_, found = self.rewriting(request, lines, index, num)
        assert found is not None
        return found

    def rewriting(self, request: Request, lines: Sequence[str], index: int, num: int) -> Iterator[list[str] | None]:
        """Yield None after each step of `rewrite`, so that a caller can do something else in between, then its result.

        Raises:
            InputError: As for `rewrite`, when the first step is asked for.
            TypeError: An argument is of a wrong type; likewise.
        """
        expect("index", index, "int")
        expect("num", num, "int")
        poem = _listed(lines)
        plan = plan_rewriting(request, poem, index, self._known, self._prosody_for(request))
        yield from self._writer.versions(plan, index, poem[index], num)

    def couplet(
        self,
        upper: str,
        num: int = 1,
        *,
        rhyme: str = "auto",
        seed: int = Sampling.seed,
        temperature: float = Sampling.temperature,
        top_p: float = Sampling.top_p,
        top_k: int = Sampling.top_k,
    ) -> list[str]:
        """Answer an upper line with lower lines (对联): tones opposed, no character shared.

        Args:
            upper: Up to 24 characters, with or without punctuation.
            num: How many answers.
            rhyme: `classical` or `modern` tones; `auto` is classical.
            seed: The same seed gives the same answers.
            temperature: See `write`, likewise below.
            top_p: See there.
            top_k: See there.

        Raises:
            InputError: It is no upper line, or the model has no prosody.
            TypeError: An argument is of a wrong type.
        """
        answers = self.answers(upper, num, rhyme, Sampling(temperature, top_p, top_k, seed))
        return [answer for answer in answers if answer is not None]

    def answers(self, upper: str, num: int, rhyme: str, sampling: Sampling) -> Iterator[str | None]:
        """Yield what `couplet` returns, and None after each step, so that a caller can do something else in between.

        Args:
            upper: See `couplet`.
            num: See there.
            rhyme: See there.
            sampling: How to draw.

        Raises:
            InputError: As `couplet`.
            TypeError: An argument is of a wrong type.
        """
        expect("upper", upper, "str")
        prosody = self.reviewing("classical" if rhyme == "auto" else rhyme)
        _expect_count(num)
        request = Request(sampling=sampling, ranking=COUPLET_RANKING)
        yield from self._writer.answers(plan_couplet(request, upper, prosody), upper, num)

    def check(self, text: str, *, tune: str = "", form: str = "", rhyme: str = "classical") -> Review:
        """Judge one poem of a person: form, tones, rhymes, repetition.

        Args:
            text: The poem, in any script, with or without punctuation; above it may stand its title and its author.
            tune: The tune it follows; by default that of the title, or else told by its lines.
            form: The regulated form to whose rules it is held; by default told by its lines, and verse in the old
                style (古体) is judged as such.
            rhyme: `classical`, `ci` or `modern`; ci to a tune are always judged by the rhymes of ci or of today.

        Raises:
            InputError: It is no poem of a known shape, or the model has no prosody.
            TypeError: An argument is of a wrong type.
        """
        for name, value in (("text", text), ("tune", tune), ("form", form)):
            expect(name, value, "str")
        prosody = self.reviewing(rhyme)
        poem = read_poem(text, prosody.tunes)
        tune = tune or (named_tune(poem, prosody.tunes) if not form else "")
        return review(poem.verse, prosody, find_tune(tune, prosody) if tune else None, form)

    def suggest(
        self, text: str, *, tune: str = "", form: str = "", rhyme: str = "classical", num: int = 8
    ) -> list[Suggestion]:
        """Propose characters that keep the rules, the best first, for places marked `？`, or else for the faults.

        Args:
            text: The poem; see `check`, likewise for `tune`, `form` and `rhyme`.
            tune: See there.
            form: See there.
            rhyme: See there.
            num: Characters for each place.

        Raises:
            InputError: As for `check`.
            TypeError: An argument is of a wrong type.
        """
        expect("num", num, "int")
        found = self.check(text, tune=tune, form=form, rhyme=rhyme)
        return [mark for mark in self.suggestions(found, rhyme=rhyme, num=num) if mark is not None]

    def suggestions(self, found: Review, *, rhyme: str = "classical", num: int = 8) -> Iterator[Suggestion | None]:
        """Yield what `suggest` returns for a poem that was checked, and None between the steps of its search."""
        return suggest(self.network, self.vocab, self.reviewing(rhyme), found, num)

    def surprise(self, found: Review) -> list[list[float]]:
        """Return the bits that each character of a reviewed poem costs, as a list for each line."""
        *_, bits = self.surprising(found)
        assert bits is not None
        return bits

    def surprising(self, found: Review) -> Iterator[list[list[float]] | None]:
        """Yield what `surprise` returns, and None after each step before, so that a caller can do something else."""
        return surprise(self.network, self.vocab, found.lines, Controls(found.form, title=found.tune))

    def pinyin(self, found: Review) -> list[list[str]]:
        """Return pinyin of each character of a judged poem; of several readings the one that tone and rhyme decide.

        Raises:
            ConfigError: pypinyin is not installed.
        """
        pattern = Pattern(tuple(map(len, found.lines)), found.expected, found.rhyming)
        return pinyin_of(found.lines, pattern, self.prosody)

    def reviewing(self, rhyme: str = "classical") -> Prosody:
        """Return the tones and rhymes by which poems are judged.

        Raises:
            InputError: The model has none.
        """
        prosody = self._prosody_for(Request(rhyme=rhyme))
        if prosody is None:
            raise InputError(
                "judged_by_no_rhyme", "a poem is judged by classical or modern rhyme; leave <rhyme=none> out"
            )
        return prosody

    def score(self, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> list[Score]:
        """Return the bits of poems, given as normalised lines without punctuation, and of their forms (or "")."""
        return score_poems(self.network, self.vocab, poems, forms)

    def _prosody_for(self, request: Request) -> Prosody | None:
        return wanted_prosody(request, lambda: self.prosody)


def _listed(lines: Sequence[str]) -> tuple[str, ...]:
    """Return lines as a tuple; one text is not several lines."""
    expect("lines", lines, "tuple[str, ...]")
    return tuple(lines)


def _expect_count(num: int) -> None:
    expect("num", num, "int")
    if num < 1:
        raise InputError("bad_num", "<num> must be at least 1, but is {num}", num=num)
