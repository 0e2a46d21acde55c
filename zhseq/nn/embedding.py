"""The embedding both models read through: characters, and where a model wants them bigrams and dictionary words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zhseq.batching import Batch
from zhseq.errors import ConfigError
from zhseq.nn.initialization import embedding_table

WORD_SETS = 4
"""SoftLexicon sets of a character: words that begin at it, contain it, end at it, are it."""


@dataclass(frozen=True)
class EmbeddingConfig:
    """Sizes of the input embedding; a table of size 0 is left out."""

    vocab_size: int
    embedding_dim: int = 256
    bigram_vocab_size: int = 0
    bigram_dim: int = 50
    word_vocab_size: int = 0
    word_dim: int = 50

    def __post_init__(self) -> None:
        if min(self.vocab_size, self.embedding_dim, self.bigram_dim, self.word_dim) < 1:
            raise ConfigError("vocab_size, embedding_dim, bigram_dim and word_dim must be at least 1")

    @property
    def output_dim(self) -> int:
        """Width of the concatenated vectors."""
        bigrams = self.bigram_dim if self.bigram_vocab_size else 0
        words = WORD_SETS * self.word_dim if self.word_vocab_size else 0
        return self.embedding_dim + bigrams + words


class SequenceEmbedding(nn.Module):
    """Look up characters, and concatenate bigram vectors and the weighted word sets of each character where present.

    Source: the word sets are those of SoftLexicon (Ma et al., 2020, section 3.3).
    """

    def __init__(self, config: EmbeddingConfig) -> None:
        super().__init__()
        self.config = config
        self.characters = embedding_table(config.vocab_size, config.embedding_dim)
        bigrams, words = config.bigram_vocab_size, config.word_vocab_size
        self.bigrams = embedding_table(bigrams, config.bigram_dim) if bigrams else None
        self.words = embedding_table(words, config.word_dim) if words else None

    def forward(self, batch: Batch) -> Tensor:
        """Return the input vectors of a batch, (batch, length, output_dim), in the type of the character vectors.

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
