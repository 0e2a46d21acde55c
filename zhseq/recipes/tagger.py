"""Train the tagger: corpora by head, features from vectors, evaluation in F1, checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zhseq.config import override, to_dict
from zhseq.errors import CheckpointError, ConfigError, CorpusError
from zhseq.training.config import Evaluation, TrainingConfig

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from zhseq.corpus.tagging import TaggedText
    from zhseq.features import TaggerFeatures
    from zhseq.models.sequence_tagger import SequenceTagger
    from zhseq.recipes.tagged_texts import EncodedTexts

TASKS = ("pos", "ner")


@dataclass(frozen=True)
class TaggerDataConfig:
    """What the model reads in training."""

    tokens_per_batch: int = 3072
    """Padded characters in a batch."""
    max_characters: int = 120
    """Longer texts are cut at punctuation."""
    max_vocab: int = 7000
    """Characters in the vocabulary; likewise below."""
    max_bigrams: int = 30000
    max_words: int = 40000
    drop_mark: float = 0.2
    """Share of the texts whose final punctuation mark is dropped in training."""
    dev_share: float = 0.03
    """Share of the training texts that becomes the dev set where none is given."""

    def __post_init__(self) -> None:
        for name in ("tokens_per_batch", "max_characters", "max_vocab"):
            if getattr(self, name) < 8:
                raise ConfigError(f"data.{name} must be at least 8, but is {getattr(self, name)}")
        if min(self.max_bigrams, self.max_words) < 0 or not 0 <= self.drop_mark <= 1 or not 0 < self.dev_share < 1:
            raise ConfigError("data: sizes must not be negative, drop_mark must lie in 0 to 1, dev_share between them")


@dataclass(frozen=True)
class TaggerModelConfig:
    """Shape of the model; vocabularies and tags come from the corpora."""

    embedding_dim: int = 64
    bigram_dim: int = 32
    word_dim: int = 32
    hidden_size: int = 192
    num_layers: int = 1
    channels: int = 128
    width: int = 3
    unknown_rate: float = 0.01
    input_dropout: float = 0.4
    output_dropout: float = 0.4


@dataclass(frozen=True)
class TaggerRecipe:
    """All settings of a training of the tagger; the defaults made the shipped one."""

    data: TaggerDataConfig = field(default_factory=TaggerDataConfig)
    model: TaggerModelConfig = field(default_factory=TaggerModelConfig)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            epochs=8, learning_rate=2e-3, warmup_steps=300, evaluate_every=1000, weight_decay=0.02
        )
    )


Sources = dict[str, tuple[str, str]]
"""Corpus or file to train on and to evaluate on (or empty: cut off from the former) by head."""


@dataclass(frozen=True)
class Named:
    """A recipe by name.

    Attributes:
        sources: What it trains and evaluates on.
        settings: How its settings differ from the defaults.
        transfer: Whether it starts from `tagger-start`, which comes with zhseq, unless told otherwise: that helps small
            corpora most. `pos-ud` does not, so that all it learned from is openly licensed.
    """

    sources: Sources
    settings: tuple[str, ...] = ()
    transfer: bool = False


def _small(epochs: int, size: int = 1024) -> tuple[str, ...]:
    """Settings for corpora of less than a million characters: small batches, much dropout, a look after each epoch."""
    training = (f"training.epochs={epochs}", "training.warmup_steps=100", "training.evaluate_every=0")
    return (f"data.tokens_per_batch={size}", *training, "model.input_dropout=0.5", "model.output_dropout=0.5")


_GENTLY = (*_small(10), "training.learning_rate=1e-3")  # from a trained encoder; longer or faster, it over-fits
RECIPES = {
    "default": Named({"pos": ("pfr199801", ""), "ner": ("msra_ner", "")}),
    "pos-pku": Named({"pos": ("pfr199801", "")}),
    "pos-ud": Named({"pos": ("ud_chinese_gsd", "ud_chinese_gsd:dev")}, _small(20)),
    "ner-msra": Named({"ner": ("msra_ner", "")}),
    "ner-weibo": Named({"ner": ("weibo_ner", "weibo_ner:dev")}, _GENTLY, transfer=True),
    "ner-resume": Named({"ner": ("resume_ner", "resume_ner:dev")}, _GENTLY, transfer=True),
    "ner-cluener": Named({"ner": ("cluener2020", "cluener2020:dev")}, _GENTLY, transfer=True),
    "ner-classical": Named({"ner": ("cclue_ner", "cclue_ner:dev")}, _GENTLY, transfer=True),
}


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tagger` to the commands of `python -m zhseq.train`."""
    parser = commands.add_parser("tagger", help="train the tagger of words, parts of speech and named entities")
    parser.add_argument("--recipe", choices=RECIPES, help="corpora and settings by name (default: default)")
    parser.add_argument("--task", choices=(*TASKS, "both"), help="what --train holds: words, names or both")
    parser.add_argument("--train", metavar="FILE|CORPUS", help="texts to train on, instead of those of a recipe")
    parser.add_argument("--dev", metavar="FILE|CORPUS", default="", help="texts to evaluate on (default: a share)")
    parser.add_argument("--format", default="auto", help="format of the files (default: told from their content)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the run is kept")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--vectors", type=Path, metavar="DIR", help="vectors to start from (train vectors makes them)")
    start.add_argument("--init", metavar="CHECKPOINT", help="go on from this tagger; new labels are allowed")
    start.add_argument("--scratch", action="store_true", help="start from nothing, not from the tagger of zhseq")
    parser.add_argument("--words", type=Path, metavar="FILE", help="your own words, beside those of the dictionary")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Train a tagger as the command line asks; return the exit status."""
    named = _choose(options)
    recipe = override(override(TaggerRecipe(), named.settings), options.set)
    init = options.init
    if named.transfer and not (init or options.vectors or options.words or options.scratch):
        init = _own_tagger()
    start = Start(options.vectors, init, options.words)
    result = train_tagger(recipe, named.sources, options.out, start=start, format=options.format, resume=options.resume)
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result.details.items())
    print(f"best: {scores} on dev; model in {options.out / 'best'}")
    print(f"curves: python -m zhseq.train plot {options.out}", file=sys.stderr)
    return 0


def _choose(options: argparse.Namespace) -> Named:
    """Return the recipe that the command line asks for, or one for the texts that it names."""
    if not options.train:
        if options.task or options.dev:
            raise ConfigError("--task and --dev go with --train; a --recipe has texts of its own")
        return RECIPES[options.recipe or "default"]
    if not options.task:
        raise ConfigError("--train needs --task pos, ner or both: which labels of the texts are to be learned")
    heads = TASKS if options.task == "both" else (options.task,)
    sources: Sources = dict.fromkeys(heads, (options.train, options.dev))
    if options.recipe:
        return dataclasses.replace(RECIPES[options.recipe], sources=sources)
    from zhseq.corpus.tagging import read_tagged

    corpus = read_tagged(options.train, format=options.format, task=heads[0])
    characters = sum(len(text.text) for text in corpus.texts)
    if characters >= _LARGE:
        return Named(sources, (), transfer=True)
    epochs = min(40, max(10, _SEEN // max(1, characters)))
    return Named(sources, _small(epochs, min(1024, max(128, characters // 20))), transfer=True)


_LARGE = 1_000_000  # characters of a corpus for which the default settings are right
_SEEN = 3_000_000  # characters, epochs together, that a smaller one is read for


def _own_tagger() -> str | None:
    from zhseq.checkpoint import shipped

    try:
        directory = str(shipped("tagger-start"))
    except CheckpointError:
        print("this installation has no tagger to start from: starting from nothing", file=sys.stderr)
        return None
    print(f"starting from {directory} (--scratch: from nothing)", file=sys.stderr)
    return directory


@dataclass(frozen=True)
class Start:
    """What a training starts from: a directory of vectors, or a checkpoint, or (both None) nothing.

    `words` is a list of a user's own words, which are looked for beside those of the dictionary.
    """

    vectors: Path | None = None
    init: str | None = None
    words: Path | None = None


def train_tagger(
    recipe: TaggerRecipe,
    sources: Sources,
    directory: Path,
    *,
    start: Start | None = None,
    format: str = "auto",
    resume: bool = False,
) -> Evaluation:
    """Train a tagger and keep the best checkpoint in `directory`/best.

    Args:
        recipe: All settings.
        sources: What to train and to evaluate on, by head.
        directory: The run.
        start: What to start from.
        format: Format of the files.
        resume: Go on with the run that is there.

    Raises:
        CorpusError: A corpus is missing, broken, or has nothing for its head.
    """
    import torch

    from zhseq.recipes.tagged_texts import TaggerBatches
    from zhseq.recipes.tagger_start import build
    from zhseq.tagger import save
    from zhseq.training import train

    splits = {head: read_split(head, source, recipe.data, format) for head, source in sources.items()}
    torch.manual_seed(recipe.training.seed)
    training = {head: parts[0] for head, parts in splits.items()}
    model, features, tables = build(training, recipe, start or Start())
    tagged = {head: texts.with_tags(tables[head]) for head, texts in training.items()}

    def batches(epoch: int) -> TaggerBatches:
        size, seed = recipe.data.tokens_per_batch, (recipe.training.seed, epoch)
        return TaggerBatches(tagged, features, size, drop_mark=recipe.data.drop_mark, seed=seed)

    def save_best(best: SequenceTagger, evaluation: Evaluation) -> None:
        record = {"recipe": to_dict(recipe), "sources": sources, "evaluation": evaluation.details}
        save(directory / "best", best, features, record)

    evaluate = evaluator({head: parts[1] for head, parts in splits.items()}, features, recipe)
    return train(model, batches, evaluate, save_best, recipe.training, directory=directory, resume=resume)


def read_split(
    head: str, source: tuple[str, str], config: TaggerDataConfig, format: str = "auto"
) -> tuple[EncodedTexts, EncodedTexts]:
    """Read the training and dev texts of a head; nothing in dev occurs in training."""
    from zhseq.corpus.tagging import drop_repeats, read_tagged, split_dev

    corpus = read_tagged(source[0], format=format, task=head)
    print(corpus.report(), file=sys.stderr)
    if source[1]:
        held_out = read_tagged(source[1], format=format, task=head)
        print(held_out.report(), file=sys.stderr)
        train: Sequence[TaggedText] = drop_repeats(corpus.texts)
        dev: Sequence[TaggedText] = drop_repeats(held_out.texts, seen=train)
    else:
        train, dev = split_dev(corpus.texts, config.dev_share, seed=1)
    pieces = (encode_head(head, texts, config.max_characters) for texts in (train, dev))
    encoded_train, encoded_dev = pieces
    if not len(encoded_train) or not len(encoded_dev):
        counts = f"{len(encoded_train)} training and {len(encoded_dev)} dev texts"
        raise CorpusError(f"{source[0]}: expected texts to train and to evaluate on, found {counts} for '{head}'")
    return encoded_train, encoded_dev


def encode_head(head: str, texts: Sequence[TaggedText], limit: int) -> EncodedTexts:
    """Turn texts into pieces with the spans that a head learns."""
    from zhseq.recipes.tagged_texts import encode_pieces

    pairs = [(text.text, (text.words if head == "pos" else text.entities) or ()) for text in texts]
    return encode_pieces(pairs, limit, covered=head == "pos")


def evaluator(
    texts: dict[str, EncodedTexts], features: TaggerFeatures, recipe: TaggerRecipe
) -> Callable[[SequenceTagger], Evaluation]:
    """Return a function that gives a model's F1 of each head on `texts`; the score is their mean."""
    from zhseq.recipes.tagger_start import span_scores

    def evaluate(model: SequenceTagger) -> Evaluation:
        details: dict[str, float] = {}
        for head, part in texts.items():
            details.update(span_scores(model, features, head, part, recipe.training.precision))
        scores = [details[f"{head}_f1"] for head in texts]
        return Evaluation(sum(scores) / len(scores), details)

    return evaluate
