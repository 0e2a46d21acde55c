"""Layers of the models: embeddings, LSTMs, attention, a window CNN and an output layer with its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zhseq.batching import WORD_SETS, Batch
from zhseq.errors import CheckpointError, ConfigError

State = list[tuple[Tensor, Tensor]]
"""State of a stacked LSTM: for each layer the pair (h, c), each (1, batch, hidden)."""
HEAD_SIZE = 64
"""Dimensions of the queries, keys and values of an attention head."""

_FEW_STEPS = 8  # most steps that are computed cell by cell; generation reads one or two symbols at a time
_skipped: ContextVar[bool] = ContextVar("initialization_skipped", default=False)


@contextmanager
def uninitialized() -> Iterator[None]:
    """Build modules without initialising their weights, which would take longer than loading a model.

    Raises:
        CheckpointError: The sizes of the model, which came from a file, exceed the memory.
    """
    token = _skipped.set(True)
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            "no_memory_for_sizes",
            "the model's config.json asks for sizes that exceed the memory: {reason}",
            reason=reason,
        ) from error
    finally:
        _skipped.reset(token)


def initialize_lstm(layer: nn.LSTM) -> None:
    """Initialise with orthogonal recurrent and Xavier input weights, and a forget-gate bias of 1.

    Source: Jozefowicz et al. (2015) for the bias.
    """
    if _skipped.get():
        return
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.data.chunk(4):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter.data)
        else:
            nn.init.zeros_(parameter.data)
            if name.startswith("bias_ih"):
                size = parameter.shape[0] // 4
                parameter.data[size : 2 * size] = 1.0


def embedding_table(rows: int, dim: int) -> nn.Embedding:
    """Return an embedding with vectors of norm about 1, and a zero vector for padding, row 0."""
    if _skipped.get():
        return nn.Embedding(rows, dim, padding_idx=0, _weight=torch.empty(rows, dim))
    table = nn.Embedding(rows, dim, padding_idx=0)
    nn.init.normal_(table.weight, std=dim**-0.5)
    with torch.no_grad():
        table.weight[0].zero_()
    return table


@dataclass(frozen=True)
class EmbeddingConfig:
    """Sizes of the input embedding; a table of size 0 is omitted."""

    vocab_size: int
    embedding_dim: int = 256
    bigram_vocab_size: int = 0
    bigram_dim: int = 50
    word_vocab_size: int = 0
    word_dim: int = 50

    def __post_init__(self) -> None:
        if min(self.vocab_size, self.embedding_dim, self.bigram_dim, self.word_dim) < 1:
            raise ConfigError(
                "embedding_sizes", "vocab_size, embedding_dim, bigram_dim and word_dim must be at least 1"
            )

    @property
    def output_dim(self) -> int:
        """Width of the concatenated vectors."""
        bigrams = self.bigram_dim if self.bigram_vocab_size else 0
        words = WORD_SETS * self.word_dim if self.word_vocab_size else 0
        return self.embedding_dim + bigrams + words


class SequenceEmbedding(nn.Module):
    """Concatenate the embeddings of characters, of bigrams, and of the weighted word sets of each character.

    Source: the word sets are those of SoftLexicon (Ma et al., 2020, section 3.3).
    """

    def __init__(self, config: EmbeddingConfig) -> None:
        super().__init__()
        self.config = config
        self.characters = embedding_table(config.vocab_size, config.embedding_dim)
        bigrams, words = config.bigram_vocab_size, config.word_vocab_size
        self.bigrams = embedding_table(bigrams, config.bigram_dim) if bigrams else None
        self.words = embedding_table(words, config.word_dim) if words else None

    def forward(self, batch: Batch[Tensor]) -> Tensor:
        """Return the input vectors of a batch, (batch, length, output_dim), with the dtype of the characters' table.

        The slots of `word_ids` are split evenly among the four sets, in the order begin, inside, end, single.
        """
        parts = [self.characters(batch.ids)]
        if self.bigrams is not None:
            assert batch.bigram_ids is not None, "this model reads bigrams, but the batch has none"
            parts.append(self.bigrams(batch.bigram_ids))
        if self.words is not None:
            assert batch.word_ids is not None, "this model reads dictionary words, but the batch has none"
            assert batch.word_weights is not None
            parts.append(self._word_sets(batch.word_ids, batch.word_weights))
        first, *others = parts
        return torch.cat([first, *(part.to(first.dtype) for part in others)], dim=-1) if others else first

    def _word_sets(self, word_ids: Tensor, word_weights: Tensor) -> Tensor:
        assert self.words is not None
        batch, length, slots = word_ids.shape
        bags = nn.functional.embedding_bag(
            word_ids.reshape(-1, slots // WORD_SETS),
            self.words.weight,
            per_sample_weights=word_weights.reshape(-1, slots // WORD_SETS),
            mode="sum",
        )  # (batch * length * 4, word_dim)
        return bags.view(batch, length, WORD_SETS * self.config.word_dim)


class LockedDropout(nn.Module):
    """Dropout with the same mask at every position of a sequence.

    Source: Gal and Ghahramani (2016); Merity et al. (2018), section 4.2.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, vectors: Tensor) -> Tensor:
        """Drop whole columns of `vectors`, (batch, length, hidden), and scale the rest; nothing in evaluation."""
        if not self.training or self.probability == 0:
            return vectors
        kept = 1 - self.probability
        mask = vectors.new_empty(vectors.shape[0], 1, vectors.shape[2]).bernoulli_(kept).div_(kept)
        return vectors * mask


class StackedLSTM(nn.Module):
    """One-directional LSTM layers whose sizes may differ, with locked dropout between them.

    Each layer is an `nn.LSTM` of its own, so cuDNN on a GPU and oneDNN on a CPU run it as one call. With equal sizes
    and no dropout it computes what `nn.LSTM(num_layers=n)` does.
    """

    def __init__(self, input_size: int, hidden_sizes: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [input_size, *hidden_sizes]
        layers = [nn.LSTM(size, hidden, batch_first=True) for size, hidden in pairwise(sizes)]
        for layer in layers:
            initialize_lstm(layer)
        self.layers = nn.ModuleList(layers)
        self.dropout = LockedDropout(dropout)

    def forward(self, vectors: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Encode (batch, length, input_size) into (batch, length, hidden_sizes[-1]) and the state after it.

        Padding at the end of rows is computed too and must be masked by the caller; it does not influence earlier
        positions.
        """
        new_state: State = []
        for index, layer in enumerate(self.layers):
            if index > 0:
                vectors = self.dropout(vectors)
            vectors, after = run_lstm(layer, vectors, None if state is None else state[index])
            new_state.append(after)
        return vectors, new_state


class BackwardAttention(nn.Module):
    """Causal self-attention: each position attends to itself and all previous positions.

    The output layer is initialised with 0, so that the layer can be added to a trained model.

    Source: Vaswani et al. (2017). Differs: no position encoding, because the inputs are states of an LSTM.
    """

    def __init__(self, input_size: int, heads: int, output_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(input_size, 3 * heads * HEAD_SIZE, bias=False)
        self.output = nn.Linear(heads * HEAD_SIZE, output_size, bias=False)
        if not _skipped.get():
            nn.init.xavier_uniform_(self.project.weight)
            nn.init.zeros_(self.output.weight)

    def nothing(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the empty memory before the first symbol."""
        empty = self.output.weight.new_zeros(1, batch, 0, self.heads * HEAD_SIZE)
        return empty, empty

    def forward(
        self, vectors: Tensor, memory: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Compute the attention.

        Args:
            vectors: Inputs, (batch, length, input_size); padding is at the end of rows.
            memory: Keys and values of previous positions, each (1, batch, earlier, heads * 64).

        Returns:
            Outputs, (batch, length, output_size), and the memory extended by these positions.
        """
        queries, keys, values = self.project(vectors).chunk(3, dim=-1)
        earlier = 0
        if memory is not None:
            earlier = memory[0].shape[2]
            keys, values = (torch.cat([old[0], new], dim=1) for old, new in zip(memory, (keys, values), strict=True))
        query, key, value = (
            part.unflatten(-1, (self.heads, HEAD_SIZE)).transpose(1, 2) for part in (queries, keys, values)
        )
        length, seen = vectors.shape[1], None
        if earlier and length > 1:
            seen = torch.ones(length, earlier + length, dtype=torch.bool, device=vectors.device).tril(earlier)
        found = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, is_causal=earlier == 0 and length > 1
        )
        return self.output(found.transpose(1, 2).flatten(2)), (keys.unsqueeze(0), values.unsqueeze(0))


class BiLSTM(nn.Module):
    """Bidirectional LSTM layers over right-padded batches, without packing.

    The backward direction reads each row reversed within its own length, so padding never reaches a real position.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [input_size] + [2 * hidden_size] * (num_layers - 1)
        forwards = [nn.LSTM(size, hidden_size, batch_first=True) for size in sizes]
        backwards = [nn.LSTM(size, hidden_size, batch_first=True) for size in sizes]
        for layer in [*forwards, *backwards]:
            initialize_lstm(layer)
        self.forwards, self.backwards = nn.ModuleList(forwards), nn.ModuleList(backwards)
        self.dropout = LockedDropout(dropout)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Encode (batch, length, input_size) into (batch, length, 2 * hidden_size).

        Args:
            vectors: Inputs; values at padding are ignored.
            mask: (batch, length) bool, True at real positions, which come first in each row.
        """
        reverse = reversal(mask)  # (batch, length)
        for index, (ahead, back) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            if index > 0:
                vectors = self.dropout(vectors)
            left, _ = run_lstm(ahead, vectors, None)
            right, _ = run_lstm(back, take_rows(vectors, reverse), None)
            vectors = torch.cat([left, take_rows(right, reverse)], dim=-1)
        return vectors


class WindowCNN(nn.Module):
    """Convolve over windows of characters.

    Differs: Ma and Hovy (2016) convolve over the letters inside a word; here the unit is the character and the window
    runs over its neighbours.
    """

    def __init__(self, input_size: int, channels: int, width: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(input_size, channels, width, padding=width // 2)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Encode (batch, length, input_size) into (batch, length, channels); padding counts as zero vectors."""
        masked = vectors * mask.unsqueeze(-1).to(vectors.dtype)
        # Use a 2D convolution with height 1 and channels last, which is the layout of the input: nothing is copied.
        image, layer = masked.transpose(1, 2).unsqueeze(2), self.convolution
        weight, padding = layer.weight.unsqueeze(2), (0, *layer.padding)
        found = nn.functional.conv2d(image, weight, layer.bias, padding=padding)
        return torch.relu(found).squeeze(2).transpose(1, 2)


def run_lstm(
    layer: nn.Module, vectors: Tensor, state: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run one LSTM layer with the fastest implementation on its device; the results are the same.

    On a GPU this is cuDNN in float32/TF32. On a CPU it is oneDNN for whole sequences, and single cells for a few steps,
    because oneDNN reorders all weights in each call, which takes longer than the steps.
    """
    if vectors.device.type == "cuda":
        # cuDNN's fast path for recurrent layers may not support bfloat16.
        with torch.autocast("cuda", enabled=False):
            output, after = layer(vectors.float(), state)
    elif state is not None and vectors.shape[1] <= _FEW_STEPS and not torch.is_grad_enabled():
        return _run_cells(layer, vectors, state)
    else:
        output, after = layer(vectors, state)
    return output, after


def _run_cells(layer: nn.Module, vectors: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    weights = [getattr(layer, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    hidden, cell = state[0][0], state[1][0]
    outputs = []
    for step in range(vectors.shape[1]):
        hidden, cell = torch.lstm_cell(vectors[:, step], [hidden, cell], *weights)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1), (hidden.unsqueeze(0), cell.unsqueeze(0))


def reversal(mask: Tensor) -> Tensor:
    """Return for each row the column order that reverses its real part and leaves padding in place, (batch, length)."""
    columns = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = mask.sum(dim=1, keepdim=True) - 1
    return torch.where(mask, last - columns, columns)


def take_rows(vectors: Tensor, order: Tensor) -> Tensor:
    """Reorder the columns of each row: (batch, length, hidden) by (batch, length).

    `index_select` on whole vectors is about ten times faster on a CPU than `gather`, which indexes every number.
    """
    batch, length, hidden = vectors.shape
    first = torch.arange(0, batch * length, length, device=vectors.device).unsqueeze(1)
    return vectors.reshape(batch * length, hidden).index_select(0, (first + order).view(-1)).view_as(vectors)


# Rows of logits computed at a time: to fit the cache of a CPU, and to use a GPU fully.
_CPU_ROWS = 256
_DEVICE_ROWS = 16384


def linear_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of `hidden @ weight.T + bias` against `targets`, in nats.

    The gradients are computed together with the loss, in blocks of rows, so that the full table of logits never exists
    and a block fits the cache. Matrix products are in bfloat16 under autocast; softmax and sums are in float32.

    Args:
        hidden: (rows, embed) floating point, at least one row.
        weight: (vocab, embed) float32.
        bias: (vocab,) float32.
        targets: (rows,) int64, ids in the vocabulary.

    Returns:
        Scalar, float32.
    """
    lower = torch.is_autocast_enabled(hidden.device.type)
    dtype = torch.bfloat16 if lower else weight.dtype
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, bias, targets, dtype)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        rows = hidden.shape[0]
        block = _CPU_ROWS if hidden.device.type == "cpu" else _DEVICE_ROWS
        wide = torch.promote_types(dtype, torch.float32)
        with torch.autocast(hidden.device.type, enabled=False):
            # Treat the bias as a column of the weights with a constant input of 1.
            inputs = torch.cat([hidden.to(dtype), hidden.new_ones(rows, 1, dtype=dtype)], dim=1)
            output = torch.cat([weight, bias.unsqueeze(1)], dim=1).to(dtype)
            grad_inputs = torch.empty_like(inputs)
            grad_output = torch.zeros_like(output, dtype=wide)
            total = torch.zeros((), dtype=wide, device=hidden.device)
            for start in range(0, rows, block):
                part = inputs[start : start + block]
                gold = targets[start : start + block, None]
                shares = torch.log_softmax(part @ output.T, dim=1, dtype=wide)  # (block, vocab)
                total -= shares.gather(1, gold).sum()
                if not any(ctx.needs_input_grad[:3]):
                    continue
                shares.exp_()
                shares.scatter_add_(1, gold, shares.new_full(gold.shape, -1.0))  # softmax minus one-hot
                lowered = shares.to(dtype)
                torch.mm(lowered, output, out=grad_inputs[start : start + block])
                grad_output += lowered.T @ part
        ctx.save_for_backward(grad_inputs[:, :-1], grad_output[:, :-1], grad_output[:, -1])
        ctx.rows = rows
        ctx.dtypes = (hidden.dtype, weight.dtype, bias.dtype)
        return total / rows

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradients[0] / ctx.rows
        saved = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return (*((tensor.to(scale.dtype) * scale).to(dtype) for tensor, dtype in saved), None, None)
