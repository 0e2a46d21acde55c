"""Recipe of the text classifier: training on a table of texts and labels, evaluation by accuracy and macro F1."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zhseq import checkpoint
from zhseq.batching import length_buckets
from zhseq.classifier import (
    Classifier,
    ClassifierConfig,
    ClassifierShape,
    TextClassifier,
    encode,
    pad,
    save,
)
from zhseq.cli import SettingsParser, add_run_options, note, program, unreadable_file
from zhseq.config import override, to_dict
from zhseq.errors import ConfigError, InputError
from zhseq.poetry.model import load_model
from zhseq.poetry.network import KIND as POEM
from zhseq.recipes.card import write_card
from zhseq.tagging.model import load_parts
from zhseq.text.encoding import decode_text
from zhseq.text.normalize import normalize
from zhseq.text.vocab import LINE, Vocab
from zhseq.training import train as run
from zhseq.training.loop import Evaluation, TrainingConfig
from zhseq.training.plot import plot_confusions
from zhseq.training.state import PRODUCTS

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from zhseq.batching import Array, Batch, Ints

TEXT_NAMES, LABEL_NAMES = ("text", "文本"), ("label", "标签")
"""Names of the two columns. In a table without a header, the first column is the text."""


@dataclass(frozen=True)
class ClassifierDataConfig:
    """Settings of the training data."""

    tokens_per_batch: int = 4096
    """Maximum number of padded characters in a batch."""
    vocab_size: int = 6000
    """Maximum number of symbols in the vocabulary; with `--init` the vocabulary of that model is used."""
    max_characters: int = 512
    """Number of characters after which a text is truncated."""
    verse: bool = False
    """Whether the texts are poems: then punctuation ends lines, and a title in 《》 may precede the text."""
    dev_share: float = 0.1
    """Share of the texts held out as dev set if `--dev` is not given."""

    def __post_init__(self) -> None:
        if not 0 < self.dev_share < 1:
            raise ConfigError(
                "bad_dev_share",
                "data.dev_share must lie between 0 and 1, but is {value}",
                value=self.dev_share,
            )
        for name in ("tokens_per_batch", "vocab_size", "max_characters"):
            if getattr(self, name) < 8:
                raise ConfigError(
                    "bad_size", "data.{name} must be at least 8, but is {value}", name=name, value=getattr(self, name)
                )


@dataclass(frozen=True)
class ClassifierRecipe:
    """Settings of the training of a classifier."""

    data: ClassifierDataConfig = field(default_factory=ClassifierDataConfig)
    model: ClassifierShape = field(default_factory=ClassifierShape)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(epochs=8, learning_rate=3e-3, warmup_steps=100)
    )


@dataclass(frozen=True)
class Labelled:
    """Texts with their labels."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


def add_parser(commands: _SubParsersAction[SettingsParser]) -> None:
    """Add `classifier` to the commands of `python -m zhseq.train`."""
    parser = commands.add_parser("classifier", help="train a text classifier")
    table = "CSV or TSV with the columns text and label; a header is optional"
    parser.add_argument("--train", type=Path, metavar="FILE", required=True, help=table)
    parser.add_argument("--dev", type=Path, metavar="FILE", help="dev texts (default: a share of --train)")
    parser.add_argument(
        "--init",
        metavar="CHECKPOINT",
        help="start from the embeddings of a tagger, or the embeddings and LSTM of a poem model",
    )
    add_run_options(parser, "classifier", ClassifierRecipe(), products=PRODUCTS)
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Train a classifier with the options of the command line, and return the exit status."""
    recipe = override(ClassifierRecipe(), options.set)
    train, dev = read_labelled(options.train), read_labelled(options.dev) if options.dev else None
    if dev is None:
        train, dev = hold_out(train, recipe.data.dev_share, recipe.training.seed)
    train_classifier(recipe, options.output, train, dev, init=options.init, resume=options.resume)
    best = options.output / "best"
    report = score(Classifier.load(best), dev)
    print(as_text(report))
    print(f"model in {best}; use it with: {program('classify')} --model {best}", file=sys.stderr)
    try:
        plot_confusions(report["confusions"], report["labels"], options.output / "confusions.png")
    except ConfigError as error:
        note(error.message)
    return 0


def read_labelled(path: Path) -> Labelled:
    """Read a table of texts and labels.

    Args:
        path: CSV or TSV file, by its extension; with another extension, detected from the first line.

    Raises:
        InputError: The file cannot be read, a line is invalid (the message names it), or there are fewer than two
            labels.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise unreadable_file(path, error) from error
    content = decode_text(encoded, str(path), note)
    first = content.partition("\n")[0]
    tabs = path.suffix.lower() == ".tsv" or (path.suffix.lower() != ".csv" and "\t" in first)
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))
    lines = io.StringIO(content, newline="")
    if tabs:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        rows = csv.reader(lines, strict=True)
    columns: tuple[int, int] | None = None
    wide = 2  # number of columns
    texts, labels, line = list[str](), list[str](), 0
    try:
        for row in rows:
            begin, line = line + 1, rows.line_num
            if columns is None:
                columns = _columns(row)
                if columns != (-1, -1):
                    wide = len(row)
                    continue
                columns = (0, 1)
            where = {"path": path, "line": begin}
            text, label = _cells(row, columns, wide, where, "\t" if tabs else ",")
            texts.append(text)
            labels.append(label)
    except csv.Error as error:
        raise InputError(
            "labels_no_csv",
            "{path}, line {line}: invalid CSV ({reason}); put texts with commas or line breaks into quotation marks",
            path=path,
            line=line + 1,
            reason=error,
        ) from error
    _check_labels(path, labels)
    return Labelled(tuple(texts), tuple(labels))


def _cells(
    row: Sequence[str], columns: tuple[int, int], wide: int, where: Mapping[str, object], mark: str
) -> tuple[str, str]:
    """Return text and label of a row; non-empty cells beyond the columns of the table are an error."""
    if any(cell.strip() for cell in row[wide:]):
        raise InputError(
            "surplus_columns",
            "{path}, line {line}: expected {wide} columns, found {count}; put texts with commas into quotation "
            "marks, or name the columns in the first line, text and label among them",
            **where,
            wide=wide,
            count=len(row),
        )
    if len(row) <= max(columns):
        raise InputError(
            "no_label",
            "{path}, line {line}: expected a text and its label, found {count} columns; write text{mark}label",
            **where,
            count=len([cell for cell in row if cell.strip()]),
            mark=mark,
        )
    text, label = (row[column].strip() for column in columns)
    if not text or not label:
        raise InputError(
            "empty_cell",
            "{path}, line {line}: the {name} is empty; fill it in, or remove the line",
            **where,
            name="label" if text else "text",
        )
    return text, label


def _columns(row: Sequence[str]) -> tuple[int, int]:
    """Return the indices of the columns of text and label from a header, or (-1, -1) if the row is not a header."""
    names = [cell.strip().lstrip("\ufeff").lower() for cell in row]
    columns = [next((names.index(name) for name in known if name in names), -1) for known in (TEXT_NAMES, LABEL_NAMES)]
    return (columns[0], columns[1]) if min(columns) >= 0 else (-1, -1)


def _check_labels(path: Path, labels: Sequence[str]) -> None:
    """Check that at least two different labels occur."""
    counts = Counter(labels)
    if not counts:
        raise InputError("no_labelled_text", "{path}: expected texts and labels, found none", path=path)
    if len(counts) == 1:
        raise InputError(
            "one_label",
            "{path}: expected two or more labels, but all {count} texts have '{label}'",
            path=path,
            label=labels[0],
            count=len(labels),
        )


def hold_out(texts: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Split texts into training and dev set, stratified by label; identical texts are in the same set.

    Raises:
        InputError: A label has fewer than two different texts, or would have no training text.
    """
    rng = np.random.default_rng(seed)
    by_label: dict[str, list[str]] = {}
    for text, label in dict.fromkeys(zip(texts.texts, texts.labels, strict=True)):
        by_label.setdefault(label, []).append(text)
    chosen = set[str]()
    for label, own in by_label.items():
        if len(own) < 2:
            raise InputError(
                "label_once",
                "the label '{label}' has only one text, but training and evaluation need one each; "
                "give more, or give <dev>",
                label=label,
            )
        count = min(max(1, round(share * len(own))), len(own) - 1)
        chosen |= {own[row] for row in rng.permutation(len(own))[:count].tolist()}
    parts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for text, label in zip(texts.texts, texts.labels, strict=True):
        parts[text in chosen].append((text, label))
    if {label for _, label in parts[0]} != set(by_label):  # duplicate texts with different labels
        raise InputError(
            "held_out_all", "after holding out texts for evaluation, a label has no text left to train on; give <dev>"
        )
    train, dev = (Labelled(*(tuple(column) for column in zip(*part, strict=True))) for part in parts)
    return train, dev


class LabelledBatches(Sequence["Batch[Array]"]):
    """Batches of an epoch, in which each text occurs once."""

    def __init__(self, texts: Sequence[Ints], labels: Ints, tokens_per_batch: int, seed: tuple[int, int]) -> None:
        self.texts, self.labels = texts, labels
        lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
        self.buckets = length_buckets(lengths, tokens_per_batch, seed=seed)

    def __len__(self) -> int:
        return len(self.buckets)

    def __getitem__(self, index: int) -> Batch[Array]:  # type: ignore[override]
        rows = self.buckets[index]
        return pad([self.texts[row] for row in rows.tolist()], self.labels[rows])


def train_classifier(
    recipe: ClassifierRecipe,
    directory: Path,
    train: Labelled,
    dev: Labelled,
    *,
    init: str | None = None,
    resume: bool = False,
) -> Evaluation:
    """Train a classifier and save the best one, by macro F1 on the dev set, in `directory`/best.

    Args:
        recipe: Settings.
        directory: Output directory.
        train: Training texts.
        dev: Dev texts; a label that does not occur in `train` is never predicted.
        init: Checkpoint of a tagger or poem model to start from.
        resume: Whether to resume the run in `directory`.

    Raises:
        CheckpointError: `init` is missing, damaged, or neither a tagger nor a poem model.
    """
    torch.manual_seed(recipe.training.seed)
    labels = tuple(sorted(set(train.labels)))
    model, vocab = build(recipe, train.texts, labels, init)
    config = model.config
    texts = [encode(text, vocab, verse=config.verse, limit=config.max_characters) for text in train.texts]
    targets = np.array([labels.index(label) for label in train.labels], dtype=np.int64)

    def batches(epoch: int) -> LabelledBatches:
        return LabelledBatches(texts, targets, recipe.data.tokens_per_batch, (recipe.training.seed, epoch))

    def evaluate(trained: TextClassifier) -> Evaluation:
        report = score(Classifier(trained, vocab), dev)
        return Evaluation(report["f1"], {"f1": report["f1"], "accuracy": report["accuracy"]})

    def save_best(best: TextClassifier, evaluation: Evaluation) -> None:
        record = {"recipe": to_dict(recipe), "evaluation": evaluation.details}
        save(directory / "best", best, vocab, record)
        counts = Counter(train.labels)
        told = ", ".join(f"{label} {counts[label]:,}" for label in labels)
        write_card(directory / "best", recipe, [f"{len(train.texts):,} texts: {told}"])

    return run(model, batches, evaluate, save_best, recipe.training, directory=directory, resume=resume)


def build(
    recipe: ClassifierRecipe, texts: Sequence[str], labels: tuple[str, ...], init: str | None
) -> tuple[TextClassifier, Vocab]:
    """Create a classifier and its vocabulary, initialised from another model if given.

    Raises:
        CheckpointError: `init` is missing, damaged, or neither a tagger nor a poem model.
    """
    if init is not None:
        return _start_from(init, recipe, labels)
    vocab = Vocab.build(map(normalize, texts), recipe.data.vocab_size, symbols=(LINE,))
    return TextClassifier(ClassifierConfig(**_config(recipe, vocab, labels))), vocab


def _config(recipe: ClassifierRecipe, vocab: Vocab, labels: tuple[str, ...], **sizes: Any) -> dict[str, Any]:
    reading = {"verse": recipe.data.verse, "max_characters": recipe.data.max_characters}
    return {**to_dict(recipe.model), "vocab_size": len(vocab), "labels": labels, **reading, **sizes}


def _start_from(name: str, recipe: ClassifierRecipe, labels: tuple[str, ...]) -> tuple[TextClassifier, Vocab]:
    """Copy the character embeddings of a tagger, or all weights of a poem model except its output layer."""
    directory = checkpoint.resolve(name)
    if checkpoint.kind_of(directory) == POEM:
        trained, vocab = load_model(directory)
        sizes = {"embedding_dim": trained.config.embedding_dim, "hidden_sizes": trained.config.hidden_sizes}
        model = TextClassifier(ClassifierConfig(**_config(recipe, vocab, labels, verse=True, **sizes)))
        for part in ("embedding", "encoder"):
            getattr(model, part).load_state_dict(getattr(trained, part).state_dict())
        return model, vocab
    tagger, features = load_parts(directory)
    known = features.vocab
    vocab = known if LINE in known else Vocab([*known.symbols, LINE])
    dim = tagger.config.embedding_dim
    model = TextClassifier(ClassifierConfig(**_config(recipe, vocab, labels, embedding_dim=dim)))
    weight = model.embedding.characters.weight.data
    weight[: len(known)] = tagger.embedding.characters.weight.data
    return model, vocab


def score(classifier: Classifier, texts: Labelled) -> dict[str, Any]:
    """Evaluate a classifier.

    Returns:
        `texts`, their number; `accuracy`; `f1`, the mean over the labels that occur in `texts`; `labels`, sorted;
        `by_label`: precision, recall, F1 and number of texts of each label; and `confusions`: numbers of texts by gold
        and predicted label, (labels, labels), in the order of `labels`.
    """
    found = [each.label for each in classifier.classify(texts.texts)]
    labels = sorted({*classifier.labels, *texts.labels})
    row_of = {label: row for row, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(table, ([row_of[label] for label in texts.labels], [row_of[label] for label in found]), 1)
    right, gold, given = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    precision, recall, f1 = (
        times * right / np.maximum(count, 1) for times, count in ((1, given), (1, gold), (2, gold + given))
    )
    columns = zip(labels, precision.tolist(), recall.tolist(), f1.tolist(), gold.tolist(), strict=True)
    by_label = {label: {"precision": p, "recall": r, "f1": f, "texts": n} for label, p, r, f, n in columns}
    return {
        "texts": len(found),
        "accuracy": float(right.sum() / max(1, len(found))),
        "f1": float(np.mean([each["f1"] for each in by_label.values() if each["texts"]])),
        "labels": labels,
        "by_label": by_label,
        "confusions": table.tolist(),
    }


def as_text(report: dict[str, Any]) -> str:
    """Format the result of `score` as a table."""
    rows = [f"{report['texts']:,} texts: accuracy {report['accuracy']:.2%}, mean F1 {report['f1']:.2%}"]
    rows.append(f"{'precision':>9} {'recall':>7} {'F1':>7} {'texts':>7}  label")
    for label, each in report["by_label"].items():
        shares = " ".join(f"{each[name]:{width}.1%}" for name, width in (("precision", 9), ("recall", 7), ("f1", 7)))
        rows.append(f"{shares} {each['texts']:7,}  {label}")
    return "\n".join(rows)
