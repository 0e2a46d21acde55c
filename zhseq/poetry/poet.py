"""Write, rewrite, answer, check and score verse: `Poet.load().write(start="春", form="七绝", seed=1)`."""

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
    """Write, check and correct classical Chinese poems with a language model. Thread-safe."""

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
        """Store a network, its vocabulary and tables, see `load`; a prosody given as a path is read on first use."""
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
            model: Checkpoint directory or Hugging Face repository name; by default the shipped model.
            backend: `native` (numpy and compiled loops), `torch`, or `auto`: `native` on a CPU. `onnx` is the same as
                `native`, which is as fast.
            device: `cpu`, `cuda`, `mps` or `auto`.
            threads: CPU threads of PyTorch or of numpy's matrix products, for the whole process. By default one, unless
                OMP_NUM_THREADS sets another number, see `zhseq.device.set_threads`.

        Raises:
            CheckpointError: The model is missing, damaged, or no poem model.
            ConfigError: The backend or device is not available, or `threads` is less than 1.
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
        """Authors whose style can be requested: those with a control symbol by number of poems, then `manners`."""
        return (*control_values(self.vocab, "author"), *self.manners)

    @property
    def manners(self) -> Mapping[str, Manner]:
        """Authors without a control symbol, because of few poems, and statistics of their vocabulary."""
        return self.sense.manners if self.sense is not None else {}

    @property
    def dynasties(self) -> tuple[str, ...]:
        """Dynasties whose style can be requested."""
        return control_values(self.vocab, "dynasty")

    @property
    def tunes(self) -> tuple[str, ...]:
        """Tunes to which ci can be written, most poems first."""
        tunes = self.prosody.tunes.values() if self.prosody is not None else ()
        return tuple(tune.name for tune in sorted(tunes, key=lambda tune: -tune.total))

    @cached_property
    def prosody(self) -> Prosody | None:
        """Tones, rhymes and tunes of the model, or None.

        Raises:
            CheckpointError: The file is damaged.
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
        drafts: int | None = None,
    ) -> Poem:
        """Write one poem. Options that are left out are chosen by the model.

        Args:
            start: First characters of the poem, kept unchanged.
            lines: First lines, to be continued, without punctuation; the last may be incomplete.
            form: `auto` (the first that the given characters fit) or 五绝, 七绝, 五律, 七律, 五言排律, 七言排律.
            tune: Write ci to this tune, one of `tunes`.
            title: Title of the poem.
            about: Topic; has a stronger effect than a title.
            author: Style of an author, one of `authors`.
            dynasty: Style of a period, one of `dynasties`.
            acrostic: One character per line (藏头), up to 40.
            acrostic_at: Position of these characters in the lines: `start`, or `end` (藏尾).
            rhyme: `classical`, `ci` or `modern` tones and rhymes, or `none`; `auto` is `ci` for a tune and otherwise
                `classical` if the model has a prosody, and accepts a start that breaks the rules.
            rhyme_group: Rhyme group, given by one of its characters.
            rhyme_with: A character to rhyme with, another way to give the rhyme group.
            traditional: Write in traditional characters.
            seed: Random seed; the same seed and options give the same poem.
            temperature: Sampling temperature, 0 to 10; 0 always takes the most probable character.
            top_p: Sample from the smallest set of characters with this probability mass, above 0 up to 1.
            top_k: Sample from this many characters; 0: no limit.
            best_of: Candidates per line, 1 to 256, of which the best is kept.
            drafts: Drafts, 1 to 16, of which the one is kept that readers may like best; by default 4. Ci, 排律 and
                verse without tones have one. Draft 0 is the poem of `drafts=1`.

        Raises:
            InputError: A request cannot be fulfilled; the message says why and what would work.
            TypeError: An argument has the wrong type.
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
            drafts=drafts,
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
        drafts: int | None = None,
    ) -> list[Poem]:
        """Write `num` poems in parallel, with the options of `write`; of several, each has two drafts by default.

        Poem i does not depend on `num` where `drafts` are given.

        Raises:
            InputError: A request cannot be fulfilled; the message says why and what would work.
            TypeError: An argument has the wrong type.
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
            drafts=drafts,
            sampling=Sampling(temperature, top_p, top_k, seed),
            ranking=Ranking(best_of),
        )
        return list(self.stream(request, num))

    def stream(self, request: Request, num: int) -> Iterator[Poem]:
        """Yield the poems of `write_many` as they are finished, in constant memory.

        Raises:
            InputError: As for `write_many`, when the first poem is asked for.
        """
        _expect_count(num)
        yield from self._writer.poems(plan_poem(request, self._known, self._prosody_for(request)), num)

    def steps(self, request: Request, num: int) -> Iterator[Poem | None]:
        """Yield the poems of `stream`, and None after each step, so that a caller can interleave other work.

        Raises:
            InputError: As for `write_many`, when the first poem is asked for.
        """
        _expect_count(num)
        yield from self._writer.steps(plan_poem(request, self._known, self._prosody_for(request)), num)

    def lines(self, request: Request, number: int = 0) -> Iterator[Poem]:
        """Yield a poem after each of its lines, as far as it is written; the last one is complete.

        Finished lines do not change. The complete poem is number `number` of `stream` with as many drafts, by default
        4; where it has several, all its lines come once the best draft is known.

        Raises:
            InputError: As for `write_many`, when the first line is asked for.
        """
        yield from (poem for poem in self.growing(request, number) if poem is not None)

    def growing(self, request: Request, number: int = 0) -> Iterator[Poem | None]:
        """Yield the poems of `lines`, and None after each step, so that a caller can interleave other work.

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
        """Write alternatives for one line of a poem that keep form, tones and rhyme and repeat nothing.

        Args:
            lines: The whole poem, without punctuation; the line to rewrite may have any text.
            index: Index of the line, from 0.
            num: Number of alternatives.
            start: The start that the poem was requested with, see `write`; its characters in this line are kept.
            form: See `write`.
            tune: See `write`.
            title: See `write`.
            about: See `write`.
            author: See `write`.
            dynasty: See `write`.
            acrostic: See `write`; its character in this line is kept.
            acrostic_at: See `write`.
            rhyme: See `write`.
            rhyme_group: See `write`; the other lines determine the rhyme.
            rhyme_with: See `write`.
            traditional: See `write`.
            seed: Random seed; the same seed gives the same alternatives.
            temperature: See `write`.

        Returns:
            Up to `num` alternatives, those that fit the other lines best first.

        Raises:
            InputError: There is no such line, or the other lines have no known form.
            TypeError: An argument has the wrong type.
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
        """Yield None after each step of `rewrite`, so that a caller can interleave other work, then its result.

        Raises:
            InputError: As for `rewrite`, when the first step is asked for.
            TypeError: An argument has the wrong type, when the first step is asked for.
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
        """Answer an upper line with lower lines (对联) of opposite tones and without shared characters.

        Args:
            upper: Upper line of up to 24 characters, with or without punctuation.
            num: Number of lower lines.
            rhyme: `classical` or `modern` tones; `auto` is classical.
            seed: Random seed; the same seed gives the same answers.
            temperature: See `write`.
            top_p: See `write`.
            top_k: See `write`.

        Raises:
            InputError: The upper line is not valid, or the model has no prosody.
            TypeError: An argument has the wrong type.
        """
        answers = self.answers(upper, num, rhyme, Sampling(temperature, top_p, top_k, seed))
        return [answer for answer in answers if answer is not None]

    def answers(self, upper: str, num: int, rhyme: str, sampling: Sampling) -> Iterator[str | None]:
        """Yield the lines of `couplet`, and None after each step, so that a caller can interleave other work.

        Args:
            upper: See `couplet`.
            num: See `couplet`.
            rhyme: See `couplet`.
            sampling: Sampling parameters.

        Raises:
            InputError: As for `couplet`.
            TypeError: An argument has the wrong type.
        """
        expect("upper", upper, "str")
        prosody = self.reviewing("classical" if rhyme == "auto" else rhyme)
        _expect_count(num)
        request = Request(sampling=sampling, ranking=COUPLET_RANKING)
        yield from self._writer.answers(plan_couplet(request, upper, prosody), upper, num)

    def check(self, text: str, *, tune: str = "", form: str = "", rhyme: str = "classical") -> Review:
        """Check one poem: form, tones, rhymes, repetitions.

        Args:
            text: The poem, in any script, with or without punctuation; title and author may be above it.
            tune: Its tune; by default that of the title, otherwise determined from its lines.
            form: The regulated form whose rules are applied; by default determined from its lines, and old-style verse
                (古体) is checked as such.
            rhyme: `classical`, `ci` or `modern`; ci are always checked by the rhymes of ci or modern ones.

        Raises:
            InputError: The text is not a poem of a known shape, or the model has no prosody.
            TypeError: An argument has the wrong type.
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
        """Propose characters that keep the rules, best first, for positions marked `？`, or else for the faults.

        Args:
            text: The poem, see `check`.
            tune: See `check`.
            form: See `check`.
            rhyme: See `check`.
            num: Characters per position.

        Raises:
            InputError: As for `check`.
            TypeError: An argument has the wrong type.
        """
        expect("num", num, "int")
        found = self.check(text, tune=tune, form=form, rhyme=rhyme)
        return [mark for mark in self.suggestions(found, rhyme=rhyme, num=num) if mark is not None]

    def suggestions(self, found: Review, *, rhyme: str = "classical", num: int = 8) -> Iterator[Suggestion | None]:
        """Yield the suggestions of `suggest` for a checked poem, and None between the steps of the search."""
        return suggest(self.network, self.vocab, self.reviewing(rhyme), found, num)

    def surprise(self, found: Review) -> list[list[float]]:
        """Return the bits of each character of a checked poem under the model, one list per line."""
        *_, bits = self.surprising(found)
        assert bits is not None
        return bits

    def surprising(self, found: Review) -> Iterator[list[list[float]] | None]:
        """Yield None after each step of `surprise`, so that a caller can interleave other work, then its result."""
        return surprise(self.network, self.vocab, found.lines, Controls(found.form, title=found.tune))

    def pinyin(self, found: Review) -> list[list[str]]:
        """Return the pinyin of each character of a checked poem; tone and rhyme decide between readings.

        Raises:
            ConfigError: pypinyin is not installed.
        """
        pattern = Pattern(tuple(map(len, found.lines)), found.expected, found.rhyming)
        return pinyin_of(found.lines, pattern, self.prosody)

    def reviewing(self, rhyme: str = "classical") -> Prosody:
        """Return the tones and rhymes used for checking.

        Raises:
            InputError: The model has none.
        """
        prosody = self._prosody_for(Request(rhyme=rhyme))
        if prosody is None:
            raise InputError(
                "judged_by_no_rhyme", "a poem is checked by classical or modern rhymes; leave <rhyme=none> out"
            )
        return prosody

    def score(self, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> list[Score]:
        """Return the bits of poems.

        Args:
            poems: Normalised lines of each poem, without punctuation.
            forms: Form of each poem, or "".
        """
        return score_poems(self.network, self.vocab, poems, forms)

    def _prosody_for(self, request: Request) -> Prosody | None:
        return wanted_prosody(request, lambda: self.prosody)


def _listed(lines: Sequence[str]) -> tuple[str, ...]:
    """Return lines as a tuple; raise TypeError for a single string."""
    expect("lines", lines, "tuple[str, ...]")
    return tuple(lines)


def _expect_count(num: int) -> None:
    expect("num", num, "int")
    if num < 1:
        raise InputError("bad_num", "<num> must be at least 1, but is {num}", num=num)
