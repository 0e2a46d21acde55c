"""An n-gram in the place of the network, so that the search can write with it: a yardstick for sense."""

from __future__ import annotations

from typing import Any

import numpy as np
from ngram_floor import NO_LIMIT, KneserNey

from zhseq.poetry.forms import encode_poems
from zhseq.poetry.network import Floats, Ints, Network
from zhseq.text.vocab import Vocab

ORDER = 4
_NONE = -1  # no symbol yet


class NgramNetwork:
    """The part of a `Network` that the search uses; its state is the last symbols of each row, (rows, 3)."""

    def __init__(self, ngram: KneserNey, network: Network) -> None:
        self.ngram = ngram
        self.output_size = network.output_size
        self.vectors = network.vectors

    @classmethod
    def train(cls, poems: Any, vocab: Vocab, network: Network, limit: int | None = None) -> NgramNetwork:
        """Count the n-grams of poems, or of `limit` of them spread evenly."""
        if limit is not None and limit < len(poems):
            poems = poems.select(np.linspace(0, len(poems) - 1, limit).astype(np.int64))
        ids, offsets = encode_poems(vocab, poems["lines"], NO_LIMIT)
        return cls(KneserNey(ORDER, len(vocab)).fit(ids, offsets), network)

    def step(self, ids: Ints, state: Ints | None = None) -> tuple[Floats, Ints]:
        """Read symbols, (rows, length), and return the logarithms of the next one's probabilities, (rows, output)."""
        if state is None:
            ids = ids[:, ids.shape[1] :]  # the control prefix says nothing to an n-gram
            state = np.full((len(ids), ORDER - 1), _NONE)
        last = np.concatenate([state, ids], axis=1)[:, -(ORDER - 1) :]
        contexts, where = np.unique(last, axis=0, return_inverse=True)
        table = np.stack([self.ngram.distribution([i for i in row if i != _NONE]) for row in contexts.tolist()])
        return np.log(table[:, : self.output_size]).astype(np.float32)[where.ravel()], last

    def output(self, state: Ints) -> Floats:
        """Return nothing: an n-gram makes no vector of what it reads."""
        return np.zeros((len(state), self.vectors.shape[1]), dtype=np.float32)

    def select(self, state: Ints, rows: Ints) -> Ints:
        """Return the state of some rows."""
        return state[rows]
