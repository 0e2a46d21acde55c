"""The library of the poetry half: `Poet.load().write(start="春", form="七绝", seed=1)`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from zhseq import checkpoint
from zhseq.config import from_dict
from zhseq.errors import CheckpointError, ConfigError, InputError
from zhseq.generation import NoRepeatedLine, Sampling, sample
from zhseq.models.language_model import LanguageModel, LanguageModelConfig
from zhseq.nn.initialization import uninitialized
from zhseq.scoring import Score, score_poems
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import Vocab
from zhseq.training.device import pick_device
from zhseq.verse import FORMS, LINE, Controls, Form, encode_prefix, fits, place_start

KIND = "poem-language-model"
VOCAB_FILE = "vocab.txt"

_SIDE_BY_SIDE = 256  # poems written at once: more are not faster on a CPU, and memory stays flat

AUTO_FORMS = ("七绝", "五绝", "七律", "五律")
"""Forms in the order in which `form="auto"` tries them: the first that the given start fits into."""


@dataclass(frozen=True)
class Poem:
    """A finished poem."""

    lines: tuple[str, ...]
    """Lines without punctuation."""
    form: str
    title: str = ""
    author: str = ""

    @property
    def text(self) -> str:
        """The poem as it is printed: one couplet a row, with punctuation."""
        return "\n".join(FORMS[self.form].layout(self.lines))


@dataclass(frozen=True)
class Request:
    """What is asked of a poem; an empty string leaves it to the model."""

    start: str = ""
    """How the poem begins: characters, punctuation allowed where the form has it. Kept exactly as given."""
    form: str = "auto"
    """`auto` or one of the forms 五绝, 七绝, 五律, 七律."""
    title: str = ""
    author: str = ""
    """In whose manner; one of `Poet.authors`."""
    dynasty: str = ""
    """In the manner of which time; one of `Poet.dynasties`."""
    traditional: bool = False
    """Write in traditional characters."""
    sampling: Sampling = field(default_factory=Sampling)


class Poet:
    """Writes poems with a trained language model. One object may be used from several threads."""

    def __init__(self, model: LanguageModel, vocab: Vocab, device: str = "cpu") -> None:
        """Wrap a model and its vocabulary; `Poet.load` is the usual way to get one."""
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.vocab = vocab
        characters = "".join(
            symbol if len(symbol) == 1 else " " for symbol in vocab.symbols[: model.config.output_size]
        )
        self._allowed = torch.from_numpy(is_han(codepoints(characters))).to(self.device)

    @classmethod
    def load(cls, model: str | os.PathLike[str] | None = None, *, device: str = "cpu") -> Poet:
        """Load a model.

        Args:
            model: A directory, or a Hugging Face repository name; by default the model that comes with zhseq.
            device: `cpu`, `cuda`, `mps` or `auto`.

        Raises:
            CheckpointError: It is missing, damaged, or no poem model.
            ConfigError: The device is not available.
        """
        directory = checkpoint.shipped("poem") if model is None else checkpoint.resolve(model)
        config = checkpoint.read_config(directory, KIND)
        source = str(directory / checkpoint.CONFIG_FILE)
        try:
            settings = from_dict(LanguageModelConfig, config.get("model", {}), source=source)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        vocab = Vocab.load(directory / VOCAB_FILE)
        if len(vocab) != settings.vocab_size or LINE not in vocab:
            raise CheckpointError(
                f"{directory / VOCAB_FILE} has {len(vocab)} symbols, but {source} speaks of {settings.vocab_size}; "
                "they are not of the same model"
            )
        with uninitialized():
            network = LanguageModel(settings)
        checkpoint.read_weights(directory, network)
        return cls(network, vocab, device)

    @property
    def authors(self) -> tuple[str, ...]:
        """Authors in whose manner the model can write, those with the most poems first."""
        return self._controls("author")

    @property
    def dynasties(self) -> tuple[str, ...]:
        """Dynasties in whose manner the model can write."""
        return self._controls("dynasty")

    def write(
        self, *, seed: int = 0, temperature: float = 0.8, top_p: float = 0.95, top_k: int = 0, **wishes: Any
    ) -> Poem:
        """Write one poem.

        Args:
            seed: The same seed and wishes give the same poem.
            temperature: See `Sampling`, as for `top_p` and `top_k`.
            top_p: See `Sampling`.
            top_k: See `Sampling`.
            **wishes: Fields of `Request`: start, form, title, author, dynasty, traditional.

        Raises:
            InputError: A wish cannot be fulfilled; the message says why and what would work.
        """
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed)
        return self.write_many(Request(sampling=sampling, **wishes), 1)[0]

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
            raise InputError(f"the number of poems must be at least 1, but is {num}")
        form = self._form(request)
        start = place_start(request.start, form)
        author = self._known("author", request.author, self.authors)
        dynasty = self._known("dynasty", request.dynasty, self.dynasties)
        controls = Controls(form.name, dynasty, author, request.title)
        prefix = torch.tensor(encode_prefix(self.vocab, controls), device=self.device)
        ids = self.vocab.encode(normalize(start)).tolist()
        ids += [-1] * (sum(form.line_lengths) - len(ids))
        for first in range(0, num, _SIDE_BY_SIDE):
            poems = sample(
                self.model,
                prefix=prefix.expand(min(_SIDE_BY_SIDE, num - first), -1),
                forced=_split(ids, form.line_lengths),
                allowed=self._allowed,
                line_id=self.vocab.id(LINE),
                constraints=[NoRepeatedLine(form.line_lengths)],
                sampling=request.sampling,
                first=first,
            )
            for characters in poems:
                yield self._poem(characters, form, start, request)

    def score(self, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> list[Score]:
        """Return the bits of poems, given as normalised lines without punctuation, and of their forms (or "")."""
        return score_poems(self.model, self.vocab, poems, forms)

    def _form(self, request: Request) -> Form:
        if request.form == "auto":
            fitting = (name for name in AUTO_FORMS if fits(request.start, FORMS[name]))
            # Where none fits, the largest form says best why.
            return FORMS[next(fitting, AUTO_FORMS[2])]
        if request.form not in FORMS:
            raise InputError(f"there is no form '{request.form}'; choose one of auto, {', '.join(FORMS)}")
        return FORMS[request.form]

    def _poem(self, characters: Tensor, form: Form, start: str, request: Request) -> Poem:
        """Turn the ids of one poem, (lines, longest line), into text that begins with `start` to the letter."""
        lengths = form.line_lengths
        # A character of the start that the vocabulary lacks is held by a placeholder until the start is put back.
        lines = [
            "".join(symbol if len(symbol := self.vocab.symbol(index)) == 1 else "□" for index in line[:length])
            for line, length in zip(characters.tolist(), lengths, strict=True)
        ]
        written = "".join(to_traditional(lines) if request.traditional else lines)
        text = start + written[len(start) :]
        return Poem(
            tuple("".join(part) for part in _split(list(text), lengths)), form.name, request.title, request.author
        )

    def _controls(self, kind: str) -> tuple[str, ...]:
        head = f"<{kind}:"
        return tuple(symbol[len(head) : -1] for symbol in self.vocab.symbols if symbol.startswith(head))

    def _known(self, kind: str, value: str, known: Sequence[str]) -> str:
        """Return the model's spelling of an author or dynasty, or say which ones come near."""
        folded = normalize(value)
        by_fold = {normalize(name): name for name in known}
        if not value or folded in by_fold:
            return by_fold.get(folded, "")
        near = difflib.get_close_matches(folded, by_fold, n=3, cutoff=0.3) or list(by_fold)[:3]
        raise InputError(f"the model knows no {kind} '{value}'; it knows {len(known)}, among them {'、'.join(near)}")


def to_traditional(lines: Sequence[str]) -> list[str]:
    """Return lines in traditional characters, by phrase where that keeps their length, else by character."""
    from opencc import OpenCC

    converter = OpenCC("s2t")
    converted = [(line, converter.convert(line)) for line in lines]
    return [
        new if len(new) == len(line) else "".join(converter.convert(character)[0] for character in line)
        for line, new in converted
    ]


def _split(items: list[Any], lengths: Sequence[int]) -> list[list[Any]]:
    """Cut a list into parts of the given lengths."""
    parts, begin = [], 0
    for length in lengths:
        parts.append(items[begin : begin + length])
        begin += length
    return parts
