"""An n-gram in the place of the network, so that the search can write with it: a yardstick for sense."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from ngram_floor import NO_LIMIT, KneserNey
from torch import Tensor

from zhseq.poetry.forms import encode_poems
from zhseq.poetry.model import LanguageModel
from zhseq.text.vocab import Vocab

ORDER = 4
_NONE = -1  # no symbol yet


class NgramModel:
    """The part of `LanguageModel` that the search uses; its state is the last symbols of each row."""

    def __init__(self, ngram: KneserNey, network: LanguageModel, bos_id: int) -> None:
        self.ngram, self.bos_id = ngram, bos_id
        self.config = network.config
        self.embedding = SimpleNamespace(characters=network.embedding.characters)

    @classmethod
    def train(cls, poems: Any, vocab: Vocab, network: LanguageModel, limit: int | None = None) -> NgramModel:
        """Count the n-grams of poems, or of `limit` of them spread evenly."""
        if limit is not None and limit < len(poems):
            poems = poems.select(np.linspace(0, len(poems) - 1, limit).astype(np.int64))
        ids, offsets = encode_poems(vocab, poems["lines"], NO_LIMIT)
        return cls(KneserNey(ORDER, len(vocab)).fit(ids, offsets), network, vocab.bos_id)

    def step(self, ids: Tensor, state: list[tuple[Tensor, Tensor]] | None = None) -> tuple[Tensor, Any]:
        """Read symbols, (rows, length), and return the logarithms of the next one's probabilities, (rows, output)."""
        if state is None:
            ids = ids[:, ids.shape[1] :]  # the control prefix says nothing to an n-gram
            last = torch.full((len(ids), ORDER - 1), _NONE)
        else:
            last = state[0][0][0]
        last = torch.cat([last, ids], dim=1)[:, -(ORDER - 1) :]
        contexts, where = np.unique(last.numpy(), axis=0, return_inverse=True)
        table = np.stack([self.ngram.distribution([i for i in row if i != _NONE]) for row in contexts.tolist()])
        logits = torch.from_numpy(np.log(table[:, : self.config.output_size])).float()[torch.from_numpy(where.ravel())]
        return logits, [(last.unsqueeze(0), last.unsqueeze(0))]
