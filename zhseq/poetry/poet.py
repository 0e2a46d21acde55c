"""The library of the poetry half: `Poet.load().write(start="春", form="七绝", seed=1)`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from zhseq import checkpoint
from zhseq.config import from_dict
from zhseq.device import pick_device, set_threads
from zhseq.errors import CheckpointError, ConfigError, InputError
from zhseq.nn.layers import uninitialized
from zhseq.poetry.faults import Review
from zhseq.poetry.forms import LINE, Controls
from zhseq.poetry.model import LanguageModel, LanguageModelConfig
from zhseq.poetry.planning import (
    AUTO_FORMS,
    COUPLET_RANKING,
    Draft,
    control_values,
    draft,
    draft_couplet,
    find_tune,
    known_name,
    wanted_prosody,
)
from zhseq.poetry.prosody import PROSODY_FILE, Prosody
from zhseq.poetry.request import Poem, Request
from zhseq.poetry.review import review
from zhseq.poetry.rules import Template
from zhseq.poetry.scoring import Score, score_poems, surprise
from zhseq.poetry.search import Ranking, Sampling, Task, write
from zhseq.poetry.suggesting import Suggestion, suggest
from zhseq.poetry.writer import Order, Writer, draft_rewriting, rewrite, to_text
from zhseq.text.vocab import Vocab

__all__ = ["AUTO_FORMS", "KIND", "VOCAB_FILE", "Poem", "Poet", "Request"]

KIND = "poem-language-model"
VOCAB_FILE = "vocab.txt"


class Poet:
    """Writes poems with a trained language model. One object may be used from several threads."""

    def __init__(
        self, model: LanguageModel, vocab: Vocab, device: str = "cpu", prosody: Path | Prosody | None = None
    ) -> None:
        """Wrap a model, its vocabulary and a prosody or the directory of one, read when first needed; see `load`."""
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.vocab = vocab
        self._prosody = prosody
        self._writer = Writer(self.model, vocab)

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] | None = None, *, device: str = "cpu", threads: int | None = None
    ) -> Poet:
        """Load a model.

        Args:
            model: A directory, or a Hugging Face repository name; by default the model that comes with zhseq.
            device: `cpu`, `cuda`, `mps` or `auto`.
            threads: Processor threads for all of PyTorch in this process. By default one, unless OMP_NUM_THREADS or
                `torch.set_num_threads` has asked for another number, see `zhseq.device.set_threads`.

        Raises:
            CheckpointError: It is missing, damaged, or no poem model.
            ConfigError: The device is not available, or there are less than 1 threads.
        """
        set_threads(threads)
        directory = checkpoint.shipped("poem") if model is None else checkpoint.resolve(model)
        config = checkpoint.read_config(directory, KIND)
        source = str(directory / checkpoint.CONFIG_FILE)
        try:
            settings = from_dict(LanguageModelConfig, config.get("model", {}), source=source)
        except ConfigError as error:
            raise CheckpointError(
                "impossible_settings",
                "{path} does not describe a model: {reason}; fetch or train it again",
                path=source,
                reason=error.message,
            ) from error
        vocab = Vocab.load(directory / VOCAB_FILE)
        if len(vocab) != settings.vocab_size or LINE not in vocab:
            raise CheckpointError(
                "other_vocabulary",
                "{vocab} has {count} symbols, but {config} speaks of {expected}; they are not of the same model",
                vocab=directory / VOCAB_FILE,
                count=len(vocab),
                config=source,
                expected=settings.vocab_size,
            )
        with uninitialized():
            network = checkpoint.build(directory, lambda: LanguageModel(settings))
        return cls(network, vocab, device, directory if (directory / PROSODY_FILE).exists() else None)

    @property
    def authors(self) -> tuple[str, ...]:
        """Authors in whose manner the model can write, those with the most poems first."""
        return control_values(self.vocab, "author")

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
        seed: int = 0,
        temperature: float = 0.8,
        top_p: float = 0.95,
        top_k: int = 0,
        best_of: int = Ranking.best_of,
        **wishes: Any,
    ) -> Poem:
        """Write one poem.

        Args:
            seed: The same seed and wishes give the same poem.
            temperature: See `Sampling`, as for `top_p` and `top_k`; for `best_of` see `Ranking`.
            top_p: See there.
            top_k: See there.
            best_of: See there.
            **wishes: Fields of `Request`: start, form, tune, about, author, acrostic, lines and so on.

        Raises:
            InputError: A wish cannot be fulfilled; the message says why and what would work.
        """
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed)
        wishes["lines"] = tuple(wishes.get("lines", ()))
        return self.write_many(Request(sampling=sampling, ranking=Ranking(best_of), **wishes), 1)[0]

    def write_many(self, request: Request, num: int) -> list[Poem]:
        """Write `num` poems side by side; poem number i is the same whatever `num` is.

        Raises:
            InputError: A wish cannot be fulfilled; the message says why and what would work.
        """
        return list(self.stream(request, num))

    def stream(self, request: Request, num: int) -> Iterator[Poem]:
        """Yield the poems of `write_many` as they are finished, in flat memory.

        Raises:
            InputError: As for `write_many`, when the first poem is asked for.
        """
        if num < 1:
            raise InputError("bad_num", "<num> must be at least 1, but is {num}", num=num)
        yield from self._writer.poems(self._order(request), num)

    def lines(self, request: Request, number: int = 0) -> Iterator[Poem]:
        """Yield one poem after each of its lines, as far as it is written; the last time it is whole.

        What stands never changes again: the whole poem is number `number` of `write_many`.

        Raises:
            InputError: As for `write_many`, when the first line is asked for.
        """
        yield from self._writer.lines(self._order(request), number)

    def rewrite(
        self, lines: Sequence[str], index: int, num: int = 5, *, seed: int = 0, temperature: float = 0.8, **wishes: Any
    ) -> list[str]:
        """Write one line of a poem anew, so that it fits into form, tones and rhyme and repeats nothing.

        Args:
            lines: The whole poem, without punctuation; how the line to be written reads now is free.
            index: Number of the line, from 0.
            num: How many other versions.
            seed: The same seed gives the same versions.
            temperature: See `Sampling`.
            **wishes: Fields of `Request`, as the poem was asked for: tune, about, author and so on. Characters of a
                start or an acrostic in this line stay.

        Returns:
            The versions, those that go best with the other lines first; fewer if no more were found.

        Raises:
            InputError: There is no such line, or the other lines have no known form.
        """
        request = Request(sampling=Sampling(temperature=temperature, seed=seed), **wishes)
        prosody = wanted_prosody(request, lambda: self.prosody)
        outline = draft_rewriting(request, tuple(lines), index, prosody)
        order = Order(request, outline, self._controls(request, outline), prosody)
        return rewrite(self._writer, order, lines[index], index, num)

    def couplet(self, upper: str, num: int = 1, *, sampling: Sampling | None = None, rhyme: str = "auto") -> list[str]:
        """Answer an upper line with lower lines (对联): tones opposed, no character shared.

        Args:
            upper: Up to 24 characters, with or without punctuation.
            num: How many answers.
            sampling: How to draw.
            rhyme: `classical` or `modern` tones.

        Raises:
            InputError: It is no upper line, or the model has no prosody.
        """
        prosody = self.reviewing("classical" if rhyme == "auto" else rhyme)
        if num < 1:
            raise InputError("bad_num", "<num> must be at least 1, but is {num}", num=num)
        outline, rules = draft_couplet(upper, prosody), self._writer.rules(prosody)
        task = Task(
            template=Template.build(outline.plan.patterns, outline.plan.presets, rules),
            weights=outline.plan.weights,
            forced=self._writer.ids(outline.given),
            prefix=self._writer.prefix(Controls(outline.form)),
            background=None,
            line_id=self.vocab.id(LINE),
            answers=outline.answers,
        )
        drawing = sampling or Sampling()
        answers = []
        for number in range(num):  # one by one: each has so many candidates
            *_, (poems, _) = write(self.model, rules, task, drawing, COUPLET_RANKING, range(number, number + 1))
            answers.append(outline.lower(to_text(self.vocab, poems[0], outline.given, traditional=False)))
        return answers

    def check(self, text: str, *, tune: str = "", form: str = "", rhyme: str = "classical") -> Review:
        """Judge one poem of a person: form, tones, rhymes, repetition.

        Args:
            text: The poem, in any script, with or without punctuation.
            tune: The tune it follows; by default told by its lines.
            form: The regulated form to whose rules it is held; by default told by its lines, and verse in the old
                style (古体) is judged as such.
            rhyme: `classical` or `modern`.

        Raises:
            InputError: It is no poem of a known shape, or the model has no prosody.
        """
        prosody = self.reviewing(rhyme)
        return review(text, prosody, find_tune(tune, prosody) if tune else None, form)

    def suggest(
        self, text: str, *, tune: str = "", form: str = "", rhyme: str = "classical", num: int = 8
    ) -> list[Suggestion]:
        """Propose characters that keep the rules, the best first, for places marked `？`, or else for the faults.

        Raises:
            InputError: As for `check`.
        """
        found = self.check(text, tune=tune, form=form, rhyme=rhyme)
        return suggest(self.model, self.vocab, self.reviewing(rhyme), found, num)

    def surprise(self, found: Review) -> list[list[float]]:
        """Return the bits that each character of a reviewed poem costs, as a list for each line."""
        return surprise(self.model, self.vocab, found.lines, found.form, found.tune)

    def reviewing(self, rhyme: str = "classical") -> Prosody:
        """Return the tones and rhymes by which poems are judged.

        Raises:
            InputError: The model has none.
        """
        prosody = wanted_prosody(Request(rhyme=rhyme), lambda: self.prosody)
        if prosody is None:
            raise InputError(
                "judged_by_no_rhyme", "a poem is judged by classical or modern rhyme; leave <rhyme=none> out"
            )
        return prosody

    def score(self, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> list[Score]:
        """Return the bits of poems, given as normalised lines without punctuation, and of their forms (or "")."""
        return score_poems(self.model, self.vocab, poems, forms)

    def _order(self, request: Request) -> Order:
        """Understand a request, or say why it cannot be fulfilled."""
        prosody = wanted_prosody(request, lambda: self.prosody)
        outline = draft(request, prosody)
        return Order(request, outline, self._controls(request, outline), prosody)

    def _controls(self, request: Request, outline: Draft) -> Controls:
        author = known_name("author", request.author, self.authors)
        dynasty = known_name("dynasty", request.dynasty, self.dynasties)
        return Controls(outline.form.name, dynasty, author, outline.tune + (request.about or request.title))
