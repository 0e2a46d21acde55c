"""Recipe of the poem model: training data with control prefixes, evaluation in bits per Han character, checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zhseq import checkpoint
from zhseq.batching import Batch, length_buckets
from zhseq.config import to_dict
from zhseq.corpus.registry import corpora_root, corpus_folder
from zhseq.errors import ConfigError, CorpusError
from zhseq.poetry.forms import FORMS, LINE_MARK, MAX_TITLE, WRITTEN_DYNASTY, control_symbol, encode_texts, form_of
from zhseq.poetry.model import LanguageModel, TorchNetwork, load_model
from zhseq.poetry.network import KIND, VOCAB_FILE, LanguageModelConfig, LanguageModelShape
from zhseq.poetry.scoring import EncodedPoems, make_batch, score_poems
from zhseq.recipes.card import write_card
from zhseq.text.normalize import normalize
from zhseq.text.vocab import LINE, Vocab
from zhseq.training import Evaluation, TrainingConfig, train

if TYPE_CHECKING:
    from datasets import Dataset

CONTROL_FIELDS = ("form", "dynasty", "author")
WRITTEN = "verse_written"
"""Corpus of poems that were written for this project."""


@dataclass(frozen=True)
class PoemDataConfig:
    """Settings of the training data."""

    tokens_per_batch: int = 4096
    """Maximum number of padded symbols in a batch."""
    max_symbols: int = 100
    """Maximum length of a poem in symbols; longer poems are cut after the last line that fits."""
    vocab_size: int = 8800
    """Maximum size of the output vocabulary: special symbols and the most frequent characters."""
    max_authors: int = 1000
    """Maximum number of authors with a control symbol; those with the most poems are chosen."""
    drop_form: float = 0.1
    """Share of training poems without their form symbol."""
    drop_dynasty: float = 0.5
    """Share of training poems without their dynasty symbol."""
    drop_author: float = 0.6
    """Share of training poems without their author symbol."""
    drop_title: float = 0.6
    """Share of training poems without their title."""
    poems: int = 0
    """Poems of an epoch, drawn anew for each; 0 for all."""
    written: int = 0
    """Passes over the corpus `verse_written` in each epoch. Its poems keep their dynasty symbol, and the best model is
    the one that predicts its dev poems best."""
    dev_poems: int = 2000
    """Maximum number of dev poems, all in one of the four regulated forms."""

    def __post_init__(self) -> None:
        for name in ("drop_form", "drop_dynasty", "drop_author", "drop_title"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    "bad_share", "data.{name} must lie in 0 to 1, but is {value}", name=name, value=getattr(self, name)
                )
        for name in ("tokens_per_batch", "max_symbols", "vocab_size", "dev_poems"):
            if getattr(self, name) < 8:
                raise ConfigError(
                    "bad_size", "data.{name} must be at least 8, but is {value}", name=name, value=getattr(self, name)
                )
        for name in ("poems", "written"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    "bad_number_of_poems",
                    "data.{name} must not be negative, but is {value}",
                    name=name,
                    value=getattr(self, name),
                )
        if self.max_authors < 0:
            raise ConfigError(
                "bad_max_authors", "data.max_authors must not be negative, but is {value}", value=self.max_authors
            )


@dataclass(frozen=True)
class PoemRecipe:
    """Settings of a training of the poem model; the defaults are those of the shipped model."""

    data: PoemDataConfig = field(default_factory=PoemDataConfig)
    model: LanguageModelShape = field(default_factory=LanguageModelShape)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            max_steps=8500, learning_rate=2e-3, warmup_steps=400, ema_decay=0.999, evaluate_every=1000
        )
    )


def build_vocab(poems: Dataset, config: PoemDataConfig) -> tuple[Vocab, int]:
    """Build the vocabulary of a training set.

    Returns:
        The vocabulary, and the size of the output vocabulary: its first symbols, which the control symbols follow.
    """
    texts = column(poems, "lines", joined_by="")
    characters = Vocab.build((text for text in texts if text), config.vocab_size, symbols=(LINE,))
    forms = sorted(set(column(poems, "form")))
    dynasties = sorted(set(column(poems, "dynasty")) - {""})
    named = Counter(author for author in column(poems, "author") if author not in ("", "佚名", "无名氏"))
    authors = [
        author for author, _ in sorted(named.most_common(config.max_authors), key=lambda item: (-item[1], item[0]))
    ]
    groups = zip(CONTROL_FIELDS, (forms, dynasties, authors), strict=True)
    controls = [control_symbol(kind, value) for kind, values in groups for value in values]
    return Vocab([*characters.symbols, *controls]), len(characters)


def encode(poems: Dataset, vocab: Vocab, max_symbols: int) -> EncodedPoems:
    """Encode a dataset of poems as flat arrays."""
    symbols, symbol_offsets = encode_texts(vocab, column(poems, "lines", joined_by=LINE_MARK), max_symbols)
    tunes = zip(column(poems, "tune"), column(poems, "title"), strict=True)
    named = [tune + title if tune not in title else title for tune, title in tunes]
    titles = [title[:MAX_TITLE] for title in normalize("\n".join(named)).split("\n")]
    controls = [
        [vocab.id(symbol) if (symbol := control_symbol(kind, value)) in vocab else 0 for value in column(poems, kind)]
        for kind in CONTROL_FIELDS
    ]
    return EncodedPoems(
        symbols=symbols,
        symbol_offsets=symbol_offsets,
        titles=vocab.encode("".join(titles)),
        title_offsets=np.concatenate([[0], np.cumsum([len(title) for title in titles])]).astype(np.int64),
        controls=np.array(controls, dtype=np.int64).T.reshape(-1, len(CONTROL_FIELDS)),
    )


def column(poems: Dataset, name: str, *, joined_by: str | None = None) -> list[str]:
    """Return a column as a list of strings; lists of strings are joined by Arrow, which is faster than Python."""
    import pyarrow.compute

    values = poems.select_columns([name]).with_format("arrow")[:][name]
    if joined_by is not None:
        values = pyarrow.compute.binary_join(values, joined_by)
    return list(values.to_pylist())


class PoemBatches(Sequence[Batch[Tensor]]):
    """Batches of an epoch: each poem occurs once, with parts of its control prefix dropped at random.

    Of the poems before `written`, `config.poems` are drawn; those from there on occur `config.written` times.
    """

    def __init__(
        self,
        poems: EncodedPoems,
        config: PoemDataConfig,
        bos_id: int,
        seed: int,
        epoch: int,
        written: int | None = None,
    ) -> None:
        self.poems = poems
        self.bos_id = bos_id
        others = len(poems) if written is None else written
        rng = np.random.default_rng([seed, epoch, 1])
        drop = np.array([config.drop_form, config.drop_dynasty, config.drop_author])
        kept = rng.random(poems.controls.shape) >= drop
        kept[others:, CONTROL_FIELDS.index("dynasty")] = True
        self.controls = np.where(kept, poems.controls, 0)
        keep_title = rng.random(len(poems)) >= config.drop_title
        self.title_lengths = np.diff(poems.title_offsets) * keep_title
        rows = np.arange(others)
        if 0 < config.poems < others:
            rows = rng.choice(others, config.poems, replace=False)
        rows = np.concatenate([rows, *[np.arange(others, len(poems))] * config.written])
        lengths = (self.controls > 0).sum(axis=1) + self.title_lengths + np.diff(poems.symbol_offsets)
        buckets = length_buckets(lengths[rows], config.tokens_per_batch, seed=(seed, epoch, 2))
        self.buckets = [rows[bucket] for bucket in buckets]

    def __len__(self) -> int:
        return len(self.buckets)

    def __getitem__(self, index: int) -> Batch[Tensor]:  # type: ignore[override]
        rows = self.buckets[index]
        return make_batch(self.poems, rows, self.controls[rows], self.title_lengths[rows], self.bos_id).to("cpu")


def evaluator(poems: Dataset, vocab: Vocab, recipe: PoemRecipe) -> Callable[[LanguageModel], Evaluation]:
    """Return a function that evaluates a model on `poems`, in bits per Han character given the form."""
    lines, forms = list(poems["lines"]), list(poems["form"])

    def evaluate(model: LanguageModel) -> Evaluation:
        scores = score_poems(TorchNetwork(model, recipe.training.precision), vocab, lines, forms)
        bits = sum(score.bits for score in scores) / sum(score.han for score in scores)
        return Evaluation(-bits, {"bits_per_han": bits})

    return evaluate


def written_evaluator(
    poems: EncodedPoems, vocab: Vocab, recipe: PoemRecipe, others: Callable[[LanguageModel], Evaluation]
) -> Callable[[LanguageModel], Evaluation]:
    """Return a function that evaluates a model on poems of `verse_written`, given form and dynasty, without title.

    Its score is minus their bits per symbol; the details of `others` are added.
    """
    no_titles = np.zeros(len(poems), dtype=np.int64)
    buckets = length_buckets(np.diff(poems.symbol_offsets), recipe.data.tokens_per_batch, seed=(0,))

    def evaluate(model: LanguageModel) -> Evaluation:
        network = TorchNetwork(model, recipe.training.precision)
        nats = 0.0
        for rows in buckets:
            batch = make_batch(poems, rows, poems.controls[rows], no_titles[rows], vocab.bos_id)
            nats += float(network.token_losses(batch).sum(dtype=np.float64))
        bits = nats / math.log(2) / len(poems.symbols)
        return Evaluation(-bits, {**others(model).details, "bits_per_symbol_of_written_verse": bits})

    return evaluate


def select_dev(poems: Dataset, limit: int) -> Dataset:
    """Return the first `limit` poems, ordered by id, that have one of the four regulated forms."""
    forms, ids = poems["form"], poems["id"]
    rows = sorted((row for row in range(len(poems)) if forms[row] in FORMS), key=lambda row: ids[row])
    return poems.select(rows[:limit])


def load_written() -> Dataset:
    """Load the corpus `verse_written`, with the columns of `load_poems` except `id` and `marks`.

    The author is empty and the dynasty is `WRITTEN_DYNASTY`; every twentieth poem is in the split dev, the others are
    in train.

    Raises:
        CorpusError: The corpus is missing, or a line is not a form, a title and the lines of a poem of that form.
    """
    from datasets import Dataset

    path = corpus_folder(WRITTEN, corpora_root()) / f"{WRITTEN}.tsv"
    records = []
    for number, row in enumerate(path.read_text(encoding="utf-8").splitlines()):
        form, title, lines = (*row.split("\t"), "", "", "")[:3]
        if form not in FORMS or form_of(lines.split()) != form:
            raise CorpusError(
                "written_verse_broken",
                "{path}, line {number}: expected a form, a title and the lines of a poem of this form, separated by "
                "tabs and spaces; get the corpus again or repair the file",
                path=path,
                number=number + 1,
            )
        records.append(
            {
                "form": form,
                "title": title,
                "author": "",
                "dynasty": WRITTEN_DYNASTY,
                "lines": lines.split(),
                "tune": "",
                "source": WRITTEN,
                "split": "train" if number % 20 else "dev",
            }
        )
    return Dataset.from_list(records)


def train_poem(
    recipe: PoemRecipe,
    directory: Path,
    *,
    init: str | None = None,
    resume: bool = False,
    poems: Dataset | None = None,
) -> Evaluation:
    """Train a poem model and save the best checkpoint in `directory`/best.

    Args:
        recipe: Settings.
        directory: Output directory.
        init: Checkpoint to continue from, a directory or a Hugging Face repository name. Its vocabulary and sizes are
            kept; the dropout rates are those of `recipe`.
        resume: Whether to resume the run in `directory`.
        poems: Poem records with a `split` column; by default those of the poetry corpora.

    Raises:
        ConfigError: `directory` or one of its parents is a file.
        CorpusError: The corpora are missing, or have no training or no dev poems.
        CheckpointError: `init` is missing, damaged, or not a poem model.
    """
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ConfigError(
            "run_is_a_file", "a run is stored in a directory, but {path} is a file; give another <out>", path=existing
        )
    from datasets import concatenate_datasets

    from zhseq.corpus import load_poems, select_split

    if poems is None:
        poems = load_poems()
    splits = np.array(poems["split"])
    training, dev = (poems.select(np.flatnonzero(splits == name)) for name in ("train", "dev"))
    if len(training) == 0 or len(dev) == 0:
        raise CorpusError(
            "too_few_poems",
            "the corpus has {training} training and {dev} dev poems; both must be above 0",
            training=len(training),
            dev=len(dev),
        )
    others, written = len(training), None
    if recipe.data.written:
        written = load_written()
        fields = [*CONTROL_FIELDS, "title", "lines", "tune"]
        more = select_split(written, "train")
        if "source" in training.column_names:
            fields.append("source")
        training = concatenate_datasets([training.select_columns(fields), more.select_columns(fields)])
    torch.manual_seed(recipe.training.seed)
    if init is None:
        vocab, output_size = build_vocab(training, recipe.data)
        model = LanguageModel(
            LanguageModelConfig(**to_dict(recipe.model), vocab_size=len(vocab), output_size=output_size)
        )
    else:
        model, vocab = continue_from(init, recipe.model, control_symbol("dynasty", WRITTEN_DYNASTY) if written else "")
    encoded = encode(training, vocab, recipe.data.max_symbols)

    def batches(epoch: int) -> PoemBatches:
        return PoemBatches(encoded, recipe.data, vocab.bos_id, recipe.training.seed, epoch, others)

    sources = sorted(set(training["source"])) if "source" in training.column_names else ["your own"]

    def save_best(best: LanguageModel, evaluation: Evaluation) -> None:
        save(directory / "best", best, vocab, {"recipe": to_dict(recipe), "evaluation": evaluation.details})
        write_card(directory / "best", recipe, [f"poems of {source}" for source in sources])

    evaluate = evaluator(select_dev(dev, recipe.data.dev_poems), vocab, recipe)
    if written is not None:
        unseen = encode(select_split(written, "dev"), vocab, recipe.data.max_symbols)
        evaluate = written_evaluator(unseen, vocab, recipe, evaluate)
    return train(model, batches, evaluate, save_best, recipe.training, directory=directory, resume=resume)


def continue_from(name: str, config: LanguageModelShape, symbol: str = "") -> tuple[LanguageModel, Vocab]:
    """Load a poem model for further training; its sizes are kept, the dropout rates are those of `config`.

    If `config` has attention heads and the model has none, attention is added to the model. If the vocabulary lacks
    the control symbol `symbol`, it takes the place of the last control symbol, that of the author with the fewest
    poems, so that sizes, and tables for this vocabulary, stay valid.

    Raises:
        CheckpointError: The checkpoint is missing, damaged, or not a poem model.
    """
    trained, vocab = load_model(checkpoint.resolve(name))
    had = trained.config
    wanted = {rate: getattr(config, rate) for rate in ("input_dropout", "hidden_dropout", "output_dropout")}
    heads = had.attention_heads or config.attention_heads
    model = LanguageModel(dataclasses.replace(had, attention_heads=heads, **wanted))
    model.load_state_dict(trained.state_dict(), strict=heads == had.attention_heads)
    if symbol and symbol not in vocab:
        vocab = Vocab([*vocab.symbols[:-1], symbol])
    return model, vocab


def save(directory: Path, model: LanguageModel, vocab: Vocab, training: dict[str, Any]) -> None:
    """Save a poem model as a checkpoint directory, with a record of its training."""
    config = {"kind": KIND, "version": 1, "model": to_dict(model.config), "training": training}
    checkpoint.save(directory, config=config, tensors=model.state_dict(), files={VOCAB_FILE: vocab.save})
