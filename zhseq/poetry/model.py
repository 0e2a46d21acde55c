"""A stacked-LSTM language model over characters with a tied softmax."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zhseq import checkpoint
from zhseq.batching import IGNORED, Array, Batch, Ints
from zhseq.device import autocast, pick_device, set_threads
from zhseq.nn.layers import (
    BackwardAttention,
    EmbeddingConfig,
    LockedDropout,
    SequenceEmbedding,
    StackedLSTM,
    State,
    linear_cross_entropy,
    uninitialized,
)
from zhseq.poetry.network import Floats, LanguageModelConfig, read_settings
from zhseq.text.vocab import Vocab


class LanguageModel(nn.Module):
    """Predict the next symbol from all previous ones.

    Characters are embedded, read by the LSTM layers, projected back to the embedding size and multiplied with the
    embedding table itself (the tied softmax of Press and Wolf, 2017, and Inan et al., 2017). With `attention_heads`,
    the result of attention of the last layer over all symbols so far is added to the projection.
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = SequenceEmbedding(EmbeddingConfig(config.vocab_size, config.embedding_dim))
        self.input_dropout = LockedDropout(config.input_dropout)
        self.encoder = StackedLSTM(config.embedding_dim, config.hidden_sizes, config.hidden_dropout)
        self.output_dropout = LockedDropout(config.output_dropout)
        self.projection = nn.Linear(config.hidden_sizes[-1], config.embedding_dim, bias=False)
        heads = config.attention_heads
        self.attention = BackwardAttention(config.hidden_sizes[-1], heads, config.embedding_dim) if heads else None
        self.output_bias = nn.Parameter(torch.zeros(config.output_size))

    @property
    def output_weight(self) -> Tensor:
        """The tied output layer, (output_size, embedding_dim)."""
        return self.embedding.characters.weight[: self.config.output_size]

    def hidden(self, batch: Batch[Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Return the projected outputs, (batch, length, embedding_dim), and the state after the last column."""
        vectors = self.input_dropout(self.embedding(batch))
        vectors, after = self.encoder(vectors, state)
        vectors = self.output_dropout(vectors)
        hidden: Tensor = self.projection(vectors)
        if self.attention is not None:
            found, memory = self.attention(vectors, None if state is None else state[len(self.encoder.layers)])
            hidden, after = hidden + found, [*after, memory]
        return hidden, after

    def loss(self, batch: Batch[Tensor]) -> Tensor:
        """Return the mean cross-entropy of the scored positions, a scalar in nats."""
        assert batch.targets is not None, "a language model is trained on batches with targets"
        hidden, _ = self.hidden(batch)
        scored = batch.targets != IGNORED
        return linear_cross_entropy(hidden[scored], self.output_weight, self.output_bias, batch.targets[scored])

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """Read symbols and predict the next one.

        Args:
            ids: (batch, length) int64, without padding.
            state: State after the previous symbols, or None at the beginning.

        Returns:
            Logits of the next symbol, (batch, output_size) float32; the projected output from which they are computed,
            (batch, embedding_dim) float32; and the new state.
        """
        if state is None:  # an explicit zero state, so that `run_lstm` uses LSTM cells for a short beginning, too
            zeros = [self.output_bias.new_zeros(1, len(ids), size) for size in self.config.hidden_sizes]
            state = [(zero, zero) for zero in zeros]
            if self.attention is not None:
                state.append(self.attention.nothing(len(ids)))
        hidden, state = self.hidden(Batch(ids=ids, mask=torch.ones_like(ids, dtype=torch.bool)), state)
        logits = nn.functional.linear(hidden[:, -1], self.output_weight, self.output_bias)
        return logits.float(), hidden[:, -1].float(), state

    @torch.no_grad()
    def follow(self, batch: Batch[Tensor], state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """Read symbols and return the cross-entropy of the symbol after each of them.

        Args:
            batch: Batch with targets; padding may only come after the end of a row.
            state: As for `step`.

        Returns:
            The cross-entropy of each position, (batch, length) float32 in nats, 0 where nothing is scored; the
            projected output at the last position, (batch, embedding_dim) float32; and the new state.
        """
        assert batch.targets is not None
        hidden, state = self.hidden(batch, state)
        scored = batch.targets != IGNORED
        result = torch.zeros(batch.ids.shape, device=batch.ids.device)
        logits = nn.functional.linear(hidden[scored], self.output_weight, self.output_bias)
        result[scored] = nn.functional.cross_entropy(logits.float(), batch.targets[scored], reduction="none")
        return result, hidden[:, -1].float(), state

    def token_losses(self, batch: Batch[Tensor]) -> Tensor:
        """Return the cross-entropy of each position, (batch, length) float32 in nats, 0 where nothing is scored."""
        losses, _, _ = self.follow(batch)
        return losses


def load_model(directory: Path) -> tuple[LanguageModel, Vocab]:
    """Read the language model of a checkpoint and its vocabulary.

    Raises:
        CheckpointError: They are missing or damaged, or the checkpoint is not a poem model.
    """
    settings, vocab = read_settings(directory)
    with uninitialized():
        model = checkpoint.build(directory, lambda: LanguageModel(settings))
    return model, vocab


@dataclass(frozen=True)
class _TorchState:
    layers: State
    output: Floats
    """Projected output at the last symbol read, (rows, embedding_dim)."""


class TorchNetwork:
    """A language model of PyTorch as a `zhseq.poetry.network.Network`."""

    def __init__(self, model: LanguageModel, precision: str = "float32") -> None:
        """Wrap a model in evaluation mode on its device; for `precision` see `TrainingConfig`."""
        self.model = model
        self.precision = precision

    @classmethod
    def load(cls, directory: Path, device: str = "cpu", threads: int | None = None) -> TorchNetwork:
        """Read the weights of a checkpoint.

        Args:
            directory: The checkpoint.
            device: `cpu`, `cuda`, `mps` or `auto`.
            threads: Processor threads, see `zhseq.device.set_threads`.

        Raises:
            CheckpointError: The weights are missing or damaged, or the checkpoint is not a poem model.
            ConfigError: The device is not available, or `threads` is less than 1.
        """
        set_threads(threads)
        model, _ = load_model(directory)
        return cls(model.to(pick_device(device)).eval())

    def __str__(self) -> str:
        return f"torch on {self.device}"

    @property
    def output_size(self) -> int:
        """Number of symbols that can be generated."""
        return self.model.config.output_size

    @property
    def vectors(self) -> Floats:
        """The embedding of each symbol, (vocab_size, embedding_dim)."""
        vectors: Floats = self.model.embedding.characters.weight.detach().float().cpu().numpy()
        return vectors

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.output_bias.device

    @torch.inference_mode()
    def step(self, ids: Ints, state: _TorchState | None = None) -> tuple[Floats, _TorchState]:
        """Read symbols and predict the next one, see `Network`."""
        with autocast(self.device, self.precision):
            logits, output, layers = self.model.step(self._tensor(ids), None if state is None else state.layers)
        return logits.cpu().numpy(), _TorchState(layers, output.cpu().numpy())

    def output(self, state: _TorchState) -> Floats:
        """Return the output vector at the last symbol read, see `Network`."""
        return state.output

    @torch.inference_mode()
    def select(self, state: _TorchState, rows: Ints) -> _TorchState:
        """Return the state of the given rows."""
        chosen = self._tensor(rows)
        layers = [(first[:, chosen], second[:, chosen]) for first, second in state.layers]
        return _TorchState(layers, state.output[rows])

    @torch.inference_mode()
    def follow(self, ids: Ints, targets: Ints, state: _TorchState | None = None) -> tuple[Floats, _TorchState]:
        """Read symbols and return the cross-entropy of the symbol after each of them, see `Network`."""
        batch = Batch(ids, np.ones_like(ids, dtype=bool), targets).to(self.device)
        with autocast(self.device, self.precision):
            losses, output, layers = self.model.follow(batch, None if state is None else state.layers)
        return losses.cpu().numpy(), _TorchState(layers, output.cpu().numpy())

    @torch.inference_mode()
    def token_losses(self, batch: Batch[Array]) -> Floats:
        """Return the cross-entropy of each position, see `Network`."""
        with autocast(self.device, self.precision):
            losses: Floats = self.model.token_losses(batch.to(self.device)).cpu().numpy()
        return losses

    def _tensor(self, ids: Ints) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids)).to(self.device)
