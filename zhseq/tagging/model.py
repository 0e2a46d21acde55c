"""The tagger's network: a character BiLSTM-CNN-CRF with one encoder and a head for each task, and its pretraining."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zhseq import checkpoint
from zhseq.batching import IGNORED, Batch, filling_rows_for_lstm
from zhseq.config import to_dict
from zhseq.device import cpu_has_bfloat16, pick_device
from zhseq.nn.crf import CRF
from zhseq.nn.layers import (
    BiLSTM,
    EmbeddingConfig,
    LockedDropout,
    SequenceEmbedding,
    WindowCNN,
    linear_cross_entropy,
    uninitialized,
)
from zhseq.tagging.decoding import Floats, Ints, chain_of
from zhseq.tagging.features import KIND, SequenceTaggerConfig, TaggerFeatures, read_features, read_settings
from zhseq.text.normalize import CodePoints
from zhseq.text.tags import allowed_transitions
from zhseq.text.vocab import Vocab


class SequenceTagger(nn.Module):
    """Window CNN and BiLSTM side by side over embedded characters, with a linear layer and a CRF for each head.

    Source: Ma and Hovy (2016), "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF".
    Differs: the unit is the Chinese character, so the CNN convolves over windows of characters rather than inside a
    word, and beside the BiLSTM rather than before it; several heads share the encoder.
    """

    def __init__(self, config: SequenceTaggerConfig) -> None:
        super().__init__()
        self.config = config
        sizes = EmbeddingConfig(
            vocab_size=config.vocab_size,
            embedding_dim=config.embedding_dim,
            bigram_vocab_size=config.bigram_vocab_size,
            bigram_dim=config.bigram_dim,
            word_vocab_size=config.word_vocab_size,
            word_dim=config.word_dim,
        )
        self.embedding = SequenceEmbedding(sizes)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.output_dropout = LockedDropout(config.output_dropout)
        self.lstm = BiLSTM(sizes.output_dim, config.hidden_size, config.num_layers, config.output_dropout)
        self.cnn = WindowCNN(sizes.output_dim, config.channels, config.width) if config.channels else None
        width = 2 * config.hidden_size + config.channels
        self.projections = nn.ModuleDict({head: nn.Linear(width, len(tags)) for head, tags in config.heads.items()})
        self.crfs = nn.ModuleDict({head: _crf(tags) for head, tags in config.heads.items()})

    def encode(self, batch: Batch[Tensor]) -> Tensor:
        """Return the encoding of each character, (batch, length, 2 * hidden_size + channels)."""
        if self.training and self.config.unknown_rate:
            hidden = torch.rand(batch.ids.shape, device=batch.ids.device) < self.config.unknown_rate
            batch = dataclasses.replace(batch, ids=batch.ids.masked_fill(hidden & batch.mask, Vocab.unk_id))
        vectors = self.input_dropout(self.embedding(batch)).to(self.lstm.forwards[0].weight_ih_l0.dtype)
        parts = [self.lstm(vectors, batch.mask)]
        if self.cnn is not None:
            parts.append(self.cnn(vectors, batch.mask))
        encoded: Tensor = self.output_dropout(torch.cat(parts, dim=-1))
        return encoded

    def emissions(self, batch: Batch[Tensor], heads: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """Return the emission scores of some heads, by default of all, {head: (batch, length, tags)}."""
        encoded = self.encode(batch)
        return {head: self.projections[head](encoded) for head in heads or self.config.heads}

    def lower_precision(self) -> None:
        """Convert the weights to bfloat16, for tagging only; word embeddings and CRFs stay in float32."""
        vectors = (self.embedding.characters, self.embedding.bigrams)
        for layer in (*vectors, self.lstm, self.cnn, self.projections):
            if layer is not None:
                layer.bfloat16()

    def crf(self, head: str) -> CRF:
        """Return the CRF of a head."""
        layer = self.crfs[head]
        assert isinstance(layer, CRF)
        return layer

    def loss(self, batch: Batch[Tensor]) -> Tensor:
        """Return the negative log-likelihood of `batch.targets` under the head `batch.head`, in nats per character."""
        assert batch.targets is not None, "a loss needs targets"
        emissions = self.emissions(batch, (batch.head,))[batch.head]
        total: Tensor = -self.crf(batch.head)(emissions, batch.targets, batch.mask, reduction="token_mean")
        return total


def _crf(tags: tuple[str, ...]) -> CRF:
    allowed, first, last = (torch.from_numpy(table) for table in allowed_transitions(tags))
    return CRF(len(tags), allowed=allowed, allowed_start=first, allowed_end=last)


class TorchNetwork:
    """Compute emission scores with PyTorch, see `zhseq.tagging.decoding.Network`."""

    def __init__(self, model: SequenceTagger, features: TaggerFeatures) -> None:
        """Wrap a model in evaluation mode and its features; the CRF parameters are copied."""
        self.model, self.features, self.heads = model, features, model.config.heads
        self.chains = {}
        for head, tags in self.heads.items():
            crf = model.crf(head)
            parameters = (crf.transitions, crf.start_transitions, crf.end_transitions)
            self.chains[head] = chain_of(tags, *(scores.detach().float().cpu().numpy() for scores in parameters))

    def __str__(self) -> str:
        return f"torch on {self._device}"

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.inference_mode()
    def emissions(self, points: CodePoints, lengths: Ints, heads: Sequence[str]) -> dict[str, Floats]:
        """Compute the emission scores of texts, see `Network.emissions`."""
        texts = len(lengths)
        spare = filling_rows_for_lstm(texts)  # pad with copies of the last row; their results are discarded
        points = np.concatenate([points, np.tile(points[len(points) - int(lengths[-1]) :], spare)])
        batch = self.features.assemble(points, np.pad(lengths, (0, spare), mode="edge"))
        found = self.model.emissions(batch.to(self._device), tuple(heads))
        return {head: scores[:texts].float().cpu().numpy() for head, scores in found.items()}


class MaskedLanguageModel(nn.Module):
    """Masked language model for pretraining the encoder: predict masked characters from their context.

    Source: Devlin et al. (2019), section 3.1, task 1. Differs: the encoder is the tagger's BiLSTM and CNN; masking a
    character also masks the bigrams and lexicon words that it is part of; masked characters are never kept or replaced
    by random ones.
    """

    def __init__(self, tagger: SequenceTagger) -> None:
        super().__init__()
        self.tagger = tagger
        config = tagger.config
        self.projection = nn.Linear(2 * config.hidden_size + config.channels, config.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def loss(self, batch: Batch[Tensor]) -> Tensor:
        """Return the mean cross-entropy of the masked characters in nats, a scalar tensor.

        `batch.targets` contains the id of each masked character, and `IGNORED` elsewhere.
        """
        guesses, targets = self._guesses(batch)
        return linear_cross_entropy(guesses, self.tagger.embedding.characters.weight, self.bias, targets)

    def count_right(self, batch: Batch[Tensor]) -> tuple[Tensor, int]:
        """Return the number of masked characters predicted correctly, and the number of masked characters."""
        guesses, targets = self._guesses(batch)
        scores = guesses.float() @ self.tagger.embedding.characters.weight.T + self.bias
        return (scores.argmax(dim=1) == targets).sum(), len(targets)

    def _guesses(self, batch: Batch[Tensor]) -> tuple[Tensor, Tensor]:
        assert batch.targets is not None, "a loss needs targets"
        hidden = batch.targets != IGNORED
        return self.projection(self.tagger.encode(batch)[hidden]), batch.targets[hidden]


@torch.no_grad()
def widened(model: SequenceTagger, units: int) -> SequenceTagger:
    """Return a tagger with more BiLSTM units per direction that computes the same function as `model`.

    New units are initialised at random; the weights from them to old units and to later layers are 0.

    Source: Chen et al. (2016), "Net2Net". Differs: new units are not copies of old ones.
    """
    size = model.config.hidden_size
    wide = SequenceTagger(dataclasses.replace(model.config, hidden_size=units))
    old_units = torch.cat([torch.arange(size), units + torch.arange(size)])  # their columns in the LSTM's output
    for (name, old), new in zip(model.state_dict().items(), wide.state_dict().values(), strict=True):
        if name.startswith("lstm."):
            gates = new.view(4, units, -1)[:, :size].zero_()  # gates of the old units
            columns = old_units if gates.shape[2] == 2 * units else torch.arange(old[0].numel())
            gates[:, :, columns] = old.view(4, size, -1)
        elif name.startswith("projections.") and name.endswith(".weight"):
            new.zero_()[:, torch.cat([old_units, torch.arange(2 * units, new.shape[1])])] = old
        else:
            new.copy_(old)
    return wide.train(model.training)


def load_parts(directory: Path) -> tuple[SequenceTagger, TaggerFeatures]:
    """Load model and features from a checkpoint directory.

    Raises:
        CheckpointError: It is missing, damaged, or not that of a tagger.
    """
    settings = read_settings(directory)
    features = read_features(directory, settings)
    with uninitialized():
        model = checkpoint.build(directory, lambda: SequenceTagger(settings))
    return model, features


def load_network(directory: Path, device: str) -> TorchNetwork:
    """Load a checkpoint directory for tagging on a device, in the fastest precision there (bfloat16 or float32).

    Raises:
        CheckpointError: It is missing, damaged, or not that of a tagger.
        ConfigError: The device is not available.
    """
    target = pick_device(device)
    model, features = load_parts(directory)
    model = model.to(target).eval()
    if target.type == "cpu" and cpu_has_bfloat16():
        model.lower_precision()
    return TorchNetwork(model, features)


def save(directory: Path, model: SequenceTagger, features: TaggerFeatures, training: dict[str, Any]) -> None:
    """Save a tagger as a checkpoint directory.

    Args:
        directory: The directory.
        model: The network.
        features: Its vocabularies.
        training: Record of the training, for `config.json`.
    """
    config = {"kind": KIND, "version": 1, "model": to_dict(model.config), "training": training}
    checkpoint.save(directory, config=config, tensors=model.state_dict(), files=features.files())
