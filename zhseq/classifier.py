"""Text classifier for prose and verse: an LSTM over characters with a linear output layer."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zhseq import checkpoint
from zhseq.batching import Batch, Ints, length_buckets, scatter_rows
from zhseq.config import check_layers, to_dict
from zhseq.device import pick_device, set_threads
from zhseq.errors import CheckpointError, ConfigError, InputError
from zhseq.nn.layers import EmbeddingConfig, LockedDropout, SequenceEmbedding, StackedLSTM, uninitialized
from zhseq.text.normalize import codepoints, normalize
from zhseq.text.vocab import LINE, Vocab

KIND = "text-classifier"
VOCAB_FILE = "vocab.txt"

_BREAKS = re.compile(r"[\r\n]+")
_VERSE = str.maketrans(dict.fromkeys("，。、；：？！,.;:?!", "\n") | dict.fromkeys("“”‘’\"'《》〈〉 ", ""))
"""For verse: map punctuation to line breaks, and remove quotation marks, title marks and blanks."""
_TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class ClassifierShape:
    """Layer sizes and dropout rates of a classifier."""

    embedding_dim: int = 64
    """Embedding size of characters."""
    hidden_sizes: tuple[int, ...] = (160, 160)
    """Units of each LSTM layer, from the input up; their number is the number of layers."""
    input_dropout: float = 0.1
    """Dropout rate of the embeddings."""
    hidden_dropout: float = 0.2
    """Dropout rate between the layers."""
    output_dropout: float = 0.3
    """Dropout rate of the last state."""

    def __post_init__(self) -> None:
        check_layers(
            self.hidden_sizes,
            input_dropout=self.input_dropout,
            hidden_dropout=self.hidden_dropout,
            output_dropout=self.output_dropout,
        )


@dataclass(frozen=True)
class ClassifierConfig(ClassifierShape):
    """Configuration of a trained classifier."""

    vocab_size: int = field(kw_only=True)
    """Size of the vocabulary."""
    labels: tuple[str, ...] = field(kw_only=True)
    """Labels, at least two."""
    verse: bool = False
    """Whether the texts are poems: then punctuation ends lines, and a title in 《》 may precede the text."""
    max_characters: int = 512
    """Number of characters after which a text is truncated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.labels)) < 2 or len(set(self.labels)) < len(self.labels):
            raise ConfigError(
                "bad_labels", "a classifier needs two or more different labels, but got {labels}", labels=self.labels
            )
        if min(self.vocab_size, self.max_characters) < 8:
            raise ConfigError("classifier_sizes", "vocab_size and max_characters must be at least 8")


class TextClassifier(nn.Module):
    """LSTM layers over embedded characters; a linear layer over the last state and the mean of all states.

    Differs from the usual classifier, which reads only the last state: the mean gives gradients a short path to each
    character.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = SequenceEmbedding(EmbeddingConfig(config.vocab_size, config.embedding_dim))
        self.input_dropout = LockedDropout(config.input_dropout)
        self.encoder = StackedLSTM(config.embedding_dim, config.hidden_sizes, config.hidden_dropout)
        self.output_dropout = nn.Dropout(config.output_dropout)
        self.projection = nn.Linear(2 * config.hidden_sizes[-1], len(config.labels))

    def forward(self, batch: Batch[Tensor]) -> Tensor:
        """Return the logits of each text, (batch, labels)."""
        vectors, _ = self.encoder(self.input_dropout(self.embedding(batch)))
        last = vectors[torch.arange(len(batch), device=vectors.device), batch.lengths - 1]
        mean = (vectors * batch.mask.unsqueeze(2)).sum(dim=1) / batch.lengths.unsqueeze(1)
        scores: Tensor = self.projection(self.output_dropout(torch.cat([last, mean.to(last.dtype)], dim=1)))
        return scores

    def loss(self, batch: Batch[Tensor]) -> Tensor:
        """Return the mean cross-entropy of `batch.targets`, the label id of each text, (batch,), in nats."""
        assert batch.targets is not None, "a loss needs targets"
        return nn.functional.cross_entropy(self(batch).float(), batch.targets)


def encode(text: str, vocab: Vocab, *, verse: bool, limit: int) -> Ints:
    """Return the symbol ids of a text, (symbols,), with `<bos>` before the text, in verse after the title.

    Args:
        text: Text in simplified or traditional script.
        vocab: Vocabulary with `<line>`, the symbol for line ends.
        verse: See `ClassifierConfig`.
        limit: Number of characters after which the text is truncated.
    """
    text = normalize(text).strip()
    title = ""
    if verse and text.startswith("《") and "》" in text:
        title, _, text = text[1:].partition("》")
    lines = _BREAKS.sub("\n", text.strip().translate(_VERSE if verse else {})).strip("\n")
    kept = f"{title}\t{lines}"[: limit + len(title) + 1]
    ids = vocab.encode(kept)
    ids[codepoints(kept) == ord("\n")] = vocab.id(LINE)
    ids[len(title)] = vocab.bos_id
    return ids


def pad(texts: Sequence[Ints], targets: Ints | None = None) -> Batch[Any]:
    """Make a padded batch of encoded texts, with a target label for each, (texts,), if given."""
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    ids = np.zeros((len(texts), int(lengths.max())), dtype=np.int64)
    scatter_rows(ids, np.concatenate(texts), np.zeros_like(lengths), lengths)
    return Batch(ids, np.arange(ids.shape[1]) < lengths[:, None], targets)


@torch.inference_mode()
def probabilities(model: TextClassifier, texts: Sequence[Ints]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the probability of each label, (texts, labels), for a model in evaluation mode."""
    result = np.zeros((len(texts), len(model.config.labels)))
    device = model.projection.weight.device
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    for rows in length_buckets(lengths, _TOKENS_PER_BATCH, seed=(0,)):
        scores = model(pad([texts[row] for row in rows.tolist()]).to(device))
        result[rows] = scores.float().softmax(dim=1).cpu().numpy()
    return result


@dataclass(frozen=True)
class Classification:
    """Classification of a text."""

    label: str
    """Most probable label."""
    probabilities: dict[str, float]
    """Probability of each label, most probable first; they sum to 1."""


class Classifier:
    """A trained classifier. One classifier may be used from several threads.

    The model shipped with zhseq predicts the dynasty of a poem:

        Classifier.load().classify(["床前明月光，疑是地上霜。举头望明月，低头思故乡。"])[0].label
    """

    def __init__(self, model: TextClassifier, vocab: Vocab, name: str = "") -> None:
        """Create from a model, which is switched to evaluation mode, and its vocabulary."""
        self.model, self.vocab, self.name = model.eval(), vocab, name

    def __repr__(self) -> str:
        return f"<Classifier {self.name or 'without a name'} ({'、'.join(self.labels)})>"

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] | None = None, *, device: str = "cpu", threads: int | None = None
    ) -> Classifier:
        """Load a classifier.

        Args:
            model: A directory or a Hugging Face repository name; by default the classifier of dynasties shipped with
                zhseq.
            device: `cpu`, `cuda`, `mps` or `auto`.
            threads: CPU threads, see `zhseq.device.set_threads`.

        Raises:
            CheckpointError: The checkpoint is missing, damaged, or not that of a classifier.
            ConfigError: The device is not available, or `threads` is less than 1.
        """
        set_threads(threads)
        directory = checkpoint.shipped("dynasty") if model is None else checkpoint.resolve(model)
        settings = checkpoint.read_settings(directory, KIND, ClassifierConfig)
        vocab = Vocab.load(directory / VOCAB_FILE)
        if len(vocab) != settings.vocab_size or LINE not in vocab:
            raise CheckpointError(
                "other_vocabulary",
                "{vocab} has {count} symbols, but {config} expects {expected}; the files belong to different models",
                vocab=directory / VOCAB_FILE,
                count=len(vocab),
                config=directory / checkpoint.CONFIG_FILE,
                expected=settings.vocab_size,
            )
        with uninitialized():
            network = checkpoint.build(directory, lambda: TextClassifier(settings))
        return cls(network.to(pick_device(device)), vocab, directory.name)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the classifier."""
        return self.model.config.labels

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        """Classify texts.

        Args:
            texts: Texts in any script, of any length; see `ClassifierConfig.max_characters`.

        Raises:
            InputError: A text is empty.
            TypeError: `texts` is a single text.
        """
        if isinstance(texts, str):
            raise TypeError("expected several texts, but got one; put it into a list")
        config = self.model.config
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                raise InputError("no_text_to_classify", "text {number} is empty; expected some text", number=number)
        encoded = [encode(text, self.vocab, verse=config.verse, limit=config.max_characters) for text in texts]
        result = []
        for row in probabilities(self.model, encoded).tolist() if encoded else []:
            order = sorted(range(len(row)), key=lambda index: -row[index])
            found = {self.labels[index]: row[index] for index in order}
            result.append(Classification(next(iter(found)), found))
        return result


def save(directory: Path, model: TextClassifier, vocab: Vocab, training: dict[str, Any]) -> None:
    """Save a classifier as a checkpoint directory, with a record of its training."""
    config = {"kind": KIND, "version": 1, "model": to_dict(model.config), "training": training}
    checkpoint.save(directory, config=config, tensors=model.state_dict(), files={VOCAB_FILE: vocab.save})
