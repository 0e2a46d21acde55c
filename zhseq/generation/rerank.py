"""Which of several candidates for a line is the best."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zhseq.errors import InputError
from zhseq.models.language_model import LanguageModel

MOST_CANDIDATES = 256


@dataclass(frozen=True)
class Ranking:
    """How candidates are made and judged."""

    best_of: int = 4
    """Candidates for each line."""
    typical: float = 5.5
    """Surprise of verse by people, in nats a character; a line that surprises less is worn out or copied, and gains
    nothing by it."""
    rarity: float = 0.6
    """How far the commonest characters are held back when one is drawn, 0 to 1. A temperature below 1 favours them far
    beyond what people do; this gives back the variety without giving up the sense."""
    guidance: float = 0.6
    """How strongly subject and author pull: this share of the difference they make is added to the scores."""
    parallel: float = 2.0
    """Weight of the likeness of facing characters in a couplet whose lines answer each other."""

    def __post_init__(self) -> None:
        if not 1 <= self.best_of <= MOST_CANDIDATES:
            raise InputError(f"best-of must lie in 1 to {MOST_CANDIDATES}, but is {self.best_of}")


class LineScore:
    """Judge candidates for a line; higher is better."""

    def __init__(self, model: LanguageModel, ranking: Ranking) -> None:
        self.model = model
        self.ranking = ranking

    def __call__(self, candidates: Tensor, surprise: Tensor, answered: Tensor | None) -> Tensor:
        """Return scores in nats a character, (poems, candidates) float32.

        Args:
            candidates: (poems, candidates, length) int64.
            surprise: What each character cost, likewise, in nats.
            answered: The line that this one answers word for word, (poems, at least length) int64, or None.
        """
        mean = surprise.mean(dim=2)
        # The worst character counts beside the mean: one false word spoils a line.
        score = -mean.clamp(min=self.ranking.typical) - 0.1 * surprise.amax(dim=2)
        if answered is not None:
            vectors = torch.nn.functional.normalize(self.model.embedding.characters.weight, dim=1)
            facing = vectors[answered[:, : candidates.shape[2]]].unsqueeze(1)  # (poems, 1, length, embed)
            score = score + self.ranking.parallel * (vectors[candidates] * facing).sum(dim=3).mean(dim=2)
        return score
