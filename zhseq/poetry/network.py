"""The language model as search, scores and suggestions see it: symbols in, scores out, in numpy. Imports no torch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zhseq.batching import Array, Batch, Ints

Floats = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]

State = Any
"""What a network remembers of each row of a batch; its own affair."""

_ROWS = 16  # of scores at a time: half a megabyte, which stays in the cache of a core


class Network(Protocol):
    """A language model that reads symbols and scores the next one. Several threads may use one object."""

    @property
    def output_size(self) -> int:
        """Symbols that can be written: the first ones of the vocabulary."""

    @property
    def vectors(self) -> Floats:
        """The embedding of each symbol, (vocab_size, embedding_dim)."""

    def step(self, ids: Ints, state: State | None = None) -> tuple[Floats, State]:
        """Read some symbols and predict the one after them.

        Args:
            ids: (rows, length), without padding.
            state: State after what came before, which stays as it is, or None at the beginning.

        Returns:
            Logits of the next symbol, (rows, output_size), which the caller may change, and the new state.
        """

    def select(self, state: State, rows: Ints) -> State:
        """Return the state of some rows, (chosen,), in their order; a row may be chosen several times."""

    def token_losses(self, batch: Batch[Array]) -> Floats:
        """Return the cross-entropy of each position of a batch with targets, (rows, length) in nats.

        Where nothing is scored, it is 0.
        """


def log_total(scores: Floats) -> Floats:
    """Return the logarithm of the summed exponentials of each row of (rows, size), shape (rows,)."""
    result = np.empty(len(scores), dtype=np.float32)
    buffer = np.empty((min(_ROWS, len(scores)), scores.shape[1]), dtype=np.float32)
    for begin in range(0, len(scores), _ROWS):
        block = scores[begin : begin + _ROWS]
        peak = block.max(axis=1, keepdims=True)
        part = np.subtract(block, peak, out=buffer[: len(block)])
        np.exp(part, out=part)
        result[begin : begin + _ROWS] = np.log(part.sum(axis=1)) + peak[:, 0]
    return result
