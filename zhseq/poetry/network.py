"""Interface of the language model for search, scoring and suggestions, and its numpy backend. Imports no torch."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zhseq import checkpoint
from zhseq.batching import IGNORED, Array, Batch, Ints
from zhseq.config import check_layers
from zhseq.device import LEVELS, Packed, address, instructions, library, packed_matrix, quantised
from zhseq.errors import CheckpointError, ConfigError
from zhseq.text.vocab import LINE, Vocab

Floats = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]

State = Any
"""Recurrent state of each row of a batch; opaque to callers."""

KIND = "poem-language-model"
VOCAB_FILE = "vocab.txt"
HEAD_SIZE = 64
"""Size of an attention head's queries, keys and values."""

_ROWS = 16  # rows of scores per block: half a megabyte, which stays in the cache of a core
_POSITIONS = 4096  # positions of whole sequences per block
_LARGEST = 127  # largest absolute value of a rounded number
_ROOM = 16  # free positions of a new attention memory, before it is copied into a larger one


@dataclass(frozen=True)
class LanguageModelShape:
    """Sizes and dropout of a language model; the defaults are those of the shipped model, which also has 4 heads."""

    embedding_dim: int = 224
    """Embedding size of characters."""
    hidden_sizes: tuple[int, ...] = (640, 640)
    """Units of each LSTM layer, from input to output; its length is the number of layers."""
    input_dropout: float = 0.05
    """Dropout of the embeddings."""
    hidden_dropout: float = 0.05
    """Dropout between the layers."""
    output_dropout: float = 0.1
    """Dropout of the output of the last layer."""
    attention_heads: int = 0
    """Attention heads of size 64 of the last layer over the previous symbols of the poem; 0: no attention."""

    def __post_init__(self) -> None:
        check_layers(
            self.hidden_sizes,
            input_dropout=self.input_dropout,
            hidden_dropout=self.hidden_dropout,
            output_dropout=self.output_dropout,
        )
        if self.attention_heads < 0:
            raise ConfigError(
                "attention_heads_negative",
                "attention_heads must not be negative, but is {value}",
                value=self.attention_heads,
            )


@dataclass(frozen=True)
class LanguageModelConfig(LanguageModelShape):
    """Shape of a language model over a vocabulary."""

    vocab_size: int = field(kw_only=True)
    """Number of symbols that can be read: characters and control symbols."""
    output_size: int = field(kw_only=True)
    """Number of symbols that can be generated: the first ones of the vocabulary."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.output_size <= self.vocab_size:
            raise ConfigError(
                "bad_output_size",
                "output_size must lie in 1 to vocab_size {vocab_size}, but is {output_size}",
                vocab_size=self.vocab_size,
                output_size=self.output_size,
            )


def read_settings(directory: Path) -> tuple[LanguageModelConfig, Vocab]:
    """Read the shape of a poem model and its vocabulary.

    Raises:
        CheckpointError: They are missing or damaged, or the checkpoint is not a poem model.
    """
    settings = checkpoint.read_settings(directory, KIND, LanguageModelConfig)
    source = str(directory / checkpoint.CONFIG_FILE)
    vocab = Vocab.load(directory / VOCAB_FILE)
    if len(vocab) != settings.vocab_size or LINE not in vocab:
        raise CheckpointError(
            "other_vocabulary",
            "{vocab} has {count} symbols, but {config} expects {expected}; the files belong to different models",
            vocab=directory / VOCAB_FILE,
            count=len(vocab),
            config=source,
            expected=settings.vocab_size,
        )
    return settings, vocab


class Network(Protocol):
    """A language model that reads symbols and scores the next one. Several threads may use one object."""

    @property
    def output_size(self) -> int:
        """Number of symbols that can be generated: the first ones of the vocabulary."""

    @property
    def vectors(self) -> Floats:
        """The embedding of each symbol, (vocab_size, embedding_dim)."""

    def step(self, ids: Ints, state: State | None = None) -> tuple[Floats, State]:
        """Read symbols and predict the next one.

        Args:
            ids: (rows, length), without padding.
            state: State after the previous symbols, which is not changed, or None at the beginning.

        Returns:
            Logits of the next symbol, (rows, output_size), which the caller may change, and the new state.
        """

    def output(self, state: State) -> Floats:
        """Return the output vector at the last symbol read, from which the next is predicted, (rows, embedding_dim)."""

    def select(self, state: State, rows: Ints) -> State:
        """Return the state of the given rows, (chosen,), in this order; a row may be chosen several times."""

    def follow(self, ids: Ints, targets: Ints, state: State | None = None) -> tuple[Floats, State]:
        """Read symbols and return the cross-entropy of the symbol after each of them.

        Args:
            ids: (rows, length), without padding.
            targets: The symbol after each of them, (rows, length); `IGNORED` where nothing is scored.
            state: As for `step`.

        Returns:
            The cross-entropy of each position, (rows, length) in nats, 0 where nothing is scored, and the new state.
        """

    def token_losses(self, batch: Batch[Array]) -> Floats:
        """Return the cross-entropy of each position of a batch with targets, (rows, length) in nats.

        Where nothing is scored, it is 0.
        """


def log_total(scores: Floats) -> Floats:
    """Return the logarithm of the sum of exponentials of each row, (rows, size) -> (rows,)."""
    result = np.empty(len(scores), dtype=np.float32)
    loops = library()
    if loops is not None and scores.flags.c_contiguous:
        loops.zhseq_totals(*map(_argument, (*scores.shape, scores, result)))
        return result
    buffer = np.empty((min(_ROWS, len(scores)), scores.shape[1]), dtype=np.float32)
    for begin in range(0, len(scores), _ROWS):
        block = scores[begin : begin + _ROWS]
        peak = block.max(axis=1, keepdims=True)
        part = np.subtract(block, peak, out=buffer[: len(block)])
        np.exp(part, out=part)
        result[begin : begin + _ROWS] = np.log(part.sum(axis=1)) + peak[:, 0]
    return result


def _argument(value: int | Array | Packed) -> ctypes.c_int64 | ctypes.c_void_p:
    """Return an argument of the compiled loops: a number, or the address of an array or structure."""
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return ctypes.c_void_p(value.address if isinstance(value, Packed) else address(value))


class _Matrix:
    """Weights of 8 bits. Rows to be multiplied are also rounded to 8 bits, each with its own scale.

    The compiled loops and numpy give the same products. Without SIMD instructions numpy is faster.
    """

    def __init__(self, weights: Floats, bias: Floats | None = None, level: int | None = None) -> None:
        """Quantise weights.

        Args:
            weights: (outputs, inputs).
            bias: Added to the products, (outputs,).
            level: Index of the instruction set in `LEVELS`, 0 for numpy; by default the best of this CPU.
        """
        self._outputs, self._inputs = weights.shape
        known = instructions()
        self._level = level if level is not None else LEVELS.index(known) if known else 0
        if self._level:
            self._packed = Packed(*packed_matrix(weights, bias))
        else:
            whole, scales = quantised(weights)
            self._whole = whole[: self._outputs, : self._inputs].T.astype(np.float32)
            self._scales, self._bias = scales[: self._outputs], bias

    def __call__(self, rows: Floats) -> Floats:
        """Return the products, (rows, inputs) -> (rows, outputs)."""
        loops = library() if self._level else None
        if loops is None:
            return self._by_numpy(rows)
        found = np.empty((len(rows), self._outputs), dtype=np.float32)
        given = np.ascontiguousarray(rows)
        sizes = (len(given), self._inputs, self._outputs)
        if loops.zhseq_multiply(*map(_argument, (self._level, self._packed, given, *sizes, found))):
            raise MemoryError("no memory for the network")
        return found

    def _by_numpy(self, rows: Floats) -> Floats:
        most = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.float32(1e-30))
        factors = (np.float32(_LARGEST) / most).astype(np.float64)  # in 64 bits, products to be rounded are exact
        products: Floats = np.rint(rows * factors).astype(np.float32) @ self._whole  # exact below 2**24
        products *= self._scales * (most / np.float32(_LARGEST))
        if self._bias is not None:
            products += self._bias
        return products


@dataclass(frozen=True)
class _Layer:
    """An LSTM layer; its gates are in the order of PyTorch: input, forget, cell, output."""

    weights: _Matrix
    """Weights of the input followed by those of the hidden state, (4 * hidden, input + hidden)."""

    @classmethod
    def of(cls, weights: Mapping[str, Array], prefix: str) -> _Layer:
        """Return the layer whose weights have names with this prefix, in any float type.

        sigmoid(x) is (tanh(x / 2) + 1) / 2, so if the weights of three gates are halved, one tanh computes all four.
        """
        scale = np.full((4, 1), 0.5, dtype=np.float32)
        scale[2] = 1
        one, other = (weights[f"{prefix}.bias_{name}_l0"].astype(np.float32) for name in ("ih", "hh"))
        scale = scale.repeat(len(one) // 4, axis=0)
        both = np.concatenate([weights[f"{prefix}.weight_{name}_l0"] for name in ("ih", "hh")], axis=1)
        return cls(_Matrix(np.multiply(both, scale, dtype=np.float32), (one + other) * scale[:, 0]))

    def read(self, vectors: Floats, state: tuple[Floats, Floats]) -> tuple[Floats, tuple[Floats, Floats]]:
        """Read a batch of sequences.

        Args:
            vectors: Inputs, (rows, length, input).
            state: Hidden state and cell, (rows, hidden) each.

        Returns:
            The outputs, (rows, length, hidden), and the state after the last position.
        """
        hidden, cell = state
        outputs = np.empty((*vectors.shape[:2], hidden.shape[1]), dtype=np.float32)
        for position in range(vectors.shape[1]):
            gates = self.weights(np.concatenate([vectors[:, position], hidden], axis=1))
            hidden, cell = _cells(gates, cell)
            outputs[:, position] = hidden
        return outputs, (hidden, cell)


def _cells(gates: Floats, before: Floats) -> tuple[Floats, Floats]:
    """Return hidden state and cell, (rows, hidden) each, from gates, (rows, 4 * hidden), which may be overwritten."""
    units = before.shape[1]
    loops = library()
    if loops is not None:
        hidden, cell = np.empty_like(before), np.empty_like(before)
        loops.zhseq_lstm_cells(*map(_argument, (*before.shape, gates, before, cell, hidden)))
        return hidden, cell
    np.tanh(gates, out=gates)
    opened, kept, new, shown = (gates[:, units * gate : units * (gate + 1)] for gate in range(4))
    for gate in (opened, kept, shown):
        gate += 1
    opened *= new
    kept *= before
    cell = opened + kept
    cell *= np.float32(0.5)
    hidden = np.tanh(cell)
    hidden *= shown
    hidden *= np.float32(0.5)
    return hidden, cell


class _Memory:
    """Keys and values of previous positions for attention, with room for more.

    A state is a memory and its number of positions. Extending a state that includes the last filled position writes
    into the free room; extending an earlier state, whose next position is taken, makes a copy.
    """

    def __init__(self, rows: int, room: int, width: int) -> None:
        self.keys, self.values = np.empty((2, rows, room, width), dtype=np.float32)
        self.filled = 0

    def extended(self, length: int, keys: Floats, values: Floats) -> _Memory:
        """Return a memory with these keys and values, (rows, new, width), after the first `length` positions."""
        rows, new, width = keys.shape
        memory = self
        if self.filled != length or length + new > self.keys.shape[1]:
            memory = _Memory(rows, length + new + _ROOM, width)
            memory.keys[:, :length], memory.values[:, :length] = self.keys[:, :length], self.values[:, :length]
        memory.keys[:, length : length + new], memory.values[:, length : length + new] = keys, values
        memory.filled = length + new
        return memory

    def select(self, rows: Ints, length: int) -> _Memory:
        """Return a memory with the first `length` positions of the given rows."""
        memory = _Memory(len(rows), length + _ROOM, self.keys.shape[2])
        memory.keys[:, :length], memory.values[:, :length] = self.keys[rows, :length], self.values[rows, :length]
        memory.filled = length
        return memory


@dataclass(frozen=True)
class _NumpyState:
    layers: Sequence[tuple[Floats, Floats]]
    memory: _Memory | None
    """None without attention."""
    length: int
    """Positions of the memory that belong to this state."""
    output: Floats
    """Projected output at the last symbol read, (rows, embedding_dim)."""


class NumpyNetwork:
    """The language model computed by numpy and, where available, by compiled loops.

    For the model itself see `zhseq.poetry.model.LanguageModel`.
    """

    def __init__(self, config: LanguageModelConfig, weights: Mapping[str, Array]) -> None:
        """Store the weights of a checkpoint, of any float type, with the shapes of `weight_shapes`."""

        def taken(name: str) -> Floats:
            return weights[name].astype(np.float32)

        self.config = config
        self._vectors = taken("embedding.characters.weight")
        self._layers = [_Layer.of(weights, f"encoder.layers.{index}") for index in range(len(config.hidden_sizes))]
        self._projection = _Matrix(taken("projection.weight"))
        attention = ("project", "output") if config.attention_heads else ()
        self._attention = [_Matrix(taken(f"attention.{name}.weight")) for name in attention]
        self._scores = _Matrix(self._vectors[: config.output_size], taken("output_bias"))

    @classmethod
    def load(cls, directory: Path, settings: LanguageModelConfig) -> NumpyNetwork:
        """Read the weights of a checkpoint.

        Raises:
            CheckpointError: The weights are missing or damaged, or do not fit the settings.
        """
        return cls(settings, checkpoint.read_fitting(directory, weight_shapes(settings)))

    def __str__(self) -> str:
        return "numpy"

    @property
    def output_size(self) -> int:
        """Number of symbols that can be generated."""
        return self.config.output_size

    @property
    def vectors(self) -> Floats:
        """The embedding of each symbol, (vocab_size, embedding_dim)."""
        return self._vectors

    def step(self, ids: Ints, state: State | None = None) -> tuple[Floats, State]:
        """Read symbols and predict the next one, see `Network`."""
        hidden, state = self._read(ids, self._nothing(len(ids)) if state is None else state)
        return self._scores(hidden[:, -1]), state

    def output(self, state: State) -> Floats:
        """Return the output vector at the last symbol read, see `Network`."""
        output: Floats = state.output
        return output

    def select(self, state: State, rows: Ints) -> State:
        """Return the state of the given rows."""
        layers = [(hidden[rows], cell[rows]) for hidden, cell in state.layers]
        memory = None if state.memory is None else state.memory.select(rows, state.length)
        return _NumpyState(layers, memory, state.length, state.output[rows])

    def follow(self, ids: Ints, targets: Ints, state: State | None = None) -> tuple[Floats, State]:
        """Read symbols and return the cross-entropy of the symbol after each of them, see `Network`."""
        hidden, state = self._read(ids, self._nothing(len(ids)) if state is None else state)
        losses = np.zeros(ids.shape, dtype=np.float32)
        scored = targets != IGNORED
        losses[scored] = self._losses(hidden[scored], targets[scored])
        return losses, state

    def token_losses(self, batch: Batch[Array]) -> Floats:
        """Return the cross-entropy of each position, see `Network`."""
        assert batch.targets is not None
        losses = np.empty(batch.ids.shape, dtype=np.float32)
        rows = max(1, _POSITIONS // batch.ids.shape[1])
        for begin in range(0, len(losses), rows):
            part = slice(begin, begin + rows)
            losses[part], _ = self.follow(batch.ids[part], batch.targets[part])
        return losses

    def _losses(self, hidden: Floats, targets: Ints) -> Floats:
        """Return the cross-entropy of outputs, (positions, embedding_dim), computed in blocks of positions."""
        losses = np.empty(len(targets), dtype=np.float32)
        for begin in range(0, len(targets), _ROWS * _ROWS):
            logits = self._scores(hidden[begin : begin + _ROWS * _ROWS])
            chosen = logits[np.arange(len(logits)), targets[begin : begin + _ROWS * _ROWS]]
            losses[begin : begin + _ROWS * _ROWS] = log_total(logits) - chosen
        return losses

    def _nothing(self, rows: int) -> _NumpyState:
        zeros = [np.zeros((rows, size), dtype=np.float32) for size in self.config.hidden_sizes]
        memory = _Memory(rows, _ROOM, self.config.attention_heads * HEAD_SIZE) if self._attention else None
        nothing = np.zeros((rows, self.config.embedding_dim), dtype=np.float32)
        return _NumpyState([(zero, zero) for zero in zeros], memory, 0, nothing)

    def _read(self, ids: Ints, state: _NumpyState) -> tuple[Floats, _NumpyState]:
        """Return the projected outputs, (rows, length, embedding_dim), and the state after the last column."""
        vectors = self._vectors[ids]
        layers = []
        for layer, before in zip(self._layers, state.layers, strict=True):
            vectors, after = layer.read(vectors, before)
            layers.append(after)
        rows, length, width = vectors.shape
        hidden = self._projection(vectors.reshape(-1, width))
        memory = state.memory
        if memory is not None:
            found, memory = self._attend(vectors.reshape(-1, width), memory, state.length)
            hidden += found
        hidden = hidden.reshape(rows, length, -1)
        return hidden, _NumpyState(layers, memory, state.length + length, hidden[:, -1])

    def _attend(self, vectors: Floats, memory: _Memory, earlier: int) -> tuple[Floats, _Memory]:
        """Apply causal self-attention: each position attends to itself and to all previous ones.

        Args:
            vectors: Outputs of the last layer, (rows * length, hidden).
            memory: Keys and values of previous positions.
            earlier: Number of previous positions.

        Returns:
            The result of attention, (rows * length, embedding_dim), and the extended memory.
        """
        project, output = self._attention
        rows, heads = len(memory.keys), self.config.attention_heads
        projected = project(vectors)
        queries, keys, values = np.split(projected.reshape(rows, -1, projected.shape[1]), 3, axis=2)
        length, end = queries.shape[1], earlier + queries.shape[1]
        memory = memory.extended(earlier, keys, values)
        loops = library()
        if length == 1 and loops is not None:
            found = np.empty((rows, heads * HEAD_SIZE), dtype=np.float32)
            sizes, room = (rows, heads, HEAD_SIZE, end), memory.keys.shape[1]
            arguments = (*sizes, room, projected, projected.shape[1], memory.keys, memory.values, found)
            if loops.zhseq_look_back(*map(_argument, arguments)):
                raise MemoryError("no memory for the network")
            return output(found), memory

        def by_head(part: Floats) -> Floats:
            return part.reshape(rows, part.shape[1], heads, HEAD_SIZE).transpose(0, 2, 1, 3)

        scores = by_head(queries) @ by_head(memory.keys[:, :end]).swapaxes(2, 3)  # (rows, heads, length, end)
        scores *= np.float32(HEAD_SIZE**-0.5)
        if length > 1:
            scores[..., ~np.tri(length, end, earlier, dtype=bool)] = -np.inf
        scores -= scores.max(axis=3, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=3, keepdims=True)
        seen = (scores @ by_head(memory.values[:, :end])).transpose(0, 2, 1, 3).reshape(rows * length, -1)
        return output(seen.astype(np.float32, copy=False)), memory


def weight_shapes(config: LanguageModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of a language model by their names in a checkpoint."""
    dim, sizes, last = config.embedding_dim, config.hidden_sizes, config.hidden_sizes[-1]
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.characters.weight": (config.vocab_size, dim),
        "projection.weight": (dim, last),
        "output_bias": (config.output_size,),
    }
    for index, (width, units) in enumerate(pairwise([dim, *sizes])):
        prefix = f"encoder.layers.{index}."
        shapes |= {f"{prefix}weight_ih_l0": (4 * units, width), f"{prefix}weight_hh_l0": (4 * units, units)}
        shapes |= {f"{prefix}bias_{name}_l0": (4 * units,) for name in ("ih", "hh")}
    if config.attention_heads:
        width = config.attention_heads * HEAD_SIZE
        shapes |= {"attention.project.weight": (3 * width, last), "attention.output.weight": (dim, width)}
    return shapes
