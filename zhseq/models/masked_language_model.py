"""The encoder of the tagger as a model of hidden characters: what it learns from text without tags."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zhseq.batching import IGNORED, Batch
from zhseq.models.sequence_tagger import SequenceTagger
from zhseq.nn.linear_cross_entropy import linear_cross_entropy


class MaskedLanguageModel(nn.Module):
    """Guesses hidden characters from what stands on both sides of them.

    Source: Devlin et al. (2019), section 3.1, task 1. Differs: the encoder is the tagger's BiLSTM and CNN; a hidden
    character also hides the bigrams and dictionary words that it is part of, and none is left as it is or exchanged.
    """

    def __init__(self, tagger: SequenceTagger) -> None:
        super().__init__()
        self.tagger = tagger
        config = tagger.config
        self.projection = nn.Linear(2 * config.hidden_size + config.channels, config.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the hidden characters, in nats.

        `batch.targets` holds the character's id where it is hidden and `IGNORED` elsewhere.
        """
        guesses, targets = self._guesses(batch)
        return linear_cross_entropy(guesses, self.tagger.embedding.characters.weight, self.bias, targets)

    def count_right(self, batch: Batch) -> tuple[Tensor, int]:
        """Return how many hidden characters the best guess finds, and how many are hidden."""
        guesses, targets = self._guesses(batch)
        scores = guesses.float() @ self.tagger.embedding.characters.weight.T + self.bias
        return (scores.argmax(dim=1) == targets).sum(), len(targets)

    def _guesses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.targets is not None, "a loss needs targets"
        hidden = batch.targets != IGNORED
        return self.projection(self.tagger.encode(batch)[hidden]), batch.targets[hidden]
