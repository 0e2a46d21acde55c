"""Sample poems of a given shape: the template says where a line ends, the model only chooses characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from zhseq.errors import InputError
from zhseq.models.language_model import LanguageModel

# Characters that can be drawn at one place; what lies beyond has almost no probability, and sorting it would cost time.
_CANDIDATES = 256


@dataclass(frozen=True)
class Sampling:
    """How characters are drawn."""

    temperature: float = 0.8
    """Below 1 the model's favourites win more often, above 1 less; 0 always takes the best."""
    top_p: float = 0.95
    """Draw only from the smallest set of characters that holds this much probability."""
    top_k: int = 0
    """Draw only from this many characters; 0: no such limit."""
    seed: int = 0
    """The same seed gives the same poems; poem number i does not depend on how many are asked for."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise InputError(f"the temperature must lie in 0 to 10, but is {self.temperature}; 0.8 is a good start")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p must be greater than 0 and at most 1, but is {self.top_p}")
        if self.top_k < 0:
            raise InputError(f"top-k must not be negative, but is {self.top_k}; 0 sets no limit")
        if self.seed < 0:
            raise InputError(f"the seed must not be negative, but is {self.seed}")


class Constraint(Protocol):
    """A rule of verse: it forbids characters at a place, given what stands before it."""

    def forbid(self, scores: Tensor, poems: Tensor, line: int, place: int) -> None:
        """Set the scores of forbidden characters to minus infinity, in place.

        Args:
            scores: (rows, output_size) float32.
            poems: Characters so far, (rows, lines, longest line) int64; 0 where none is yet.
            line: Number of the line, from 0.
            place: Place in the line, from 0.
        """


class NoRepeatedLine:
    """Forbid the character that would make a line equal to an earlier one of the same poem."""

    def __init__(self, line_lengths: Sequence[int]) -> None:
        self.line_lengths = line_lengths

    def forbid(self, scores: Tensor, poems: Tensor, line: int, place: int) -> None:
        """Act at the last place of a line only; see `Constraint`."""
        if place != self.line_lengths[line] - 1:
            return
        for earlier in range(line):
            if self.line_lengths[earlier] == self.line_lengths[line]:
                same = (poems[:, earlier, :place] == poems[:, line, :place]).all(dim=1).nonzero()[:, 0]
                scores[same, poems[same, earlier, place]] = -torch.inf


@torch.inference_mode()
def sample(
    model: LanguageModel,
    *,
    prefix: Tensor,
    forced: Sequence[Sequence[int]],
    allowed: Tensor,
    line_id: int,
    constraints: Sequence[Constraint],
    sampling: Sampling,
    first: int = 0,
) -> Iterator[Tensor]:
    """Write poems of one shape side by side, line by line.

    Args:
        model: In evaluation mode.
        prefix: What the model reads first, (rows, length) int64.
        forced: For each line and place the id of a character that must stand there, or -1 where the model is free.
        allowed: Characters that may be drawn, (output_size,) bool.
        line_id: Symbol between two lines.
        constraints: Rules that are applied at each free place.
        sampling: How to draw.
        first: Number of the first of these poems among all that the seed gives.

    Yields:
        After each line: character ids, (rows, lines, longest line) int64, 0 beyond the end of a shorter line and in
        lines to come. What is written never changes again.
    """
    rows, device = prefix.shape[0], prefix.device
    poems = torch.zeros(rows, len(forced), max(len(places) for places in forced), dtype=torch.int64, device=device)
    free = sum(character < 0 for places in forced for character in places)
    chances = _chances(sampling.seed, range(first, first + rows), free).to(device)
    closed = torch.where(allowed, 0.0, -torch.inf)
    pending, state, drawn = [prefix], None, 0
    for line, places in enumerate(forced):
        for place, character in enumerate(places):
            if character < 0:
                logits, state = model.step(torch.cat(pending, dim=1), state)
                pending.clear()
                scores = logits + closed
                for constraint in constraints:
                    constraint.forbid(scores, poems, line, place)
                poems[:, line, place] = draw(scores, sampling, chances[:, drawn])
                drawn += 1
            else:
                poems[:, line, place] = character
            pending.append(poems[:, line, place : place + 1])
        yield poems
        pending.append(torch.full((rows, 1), line_id, device=device))


def _chances(seed: int, poems: range, draws: int) -> Tensor:
    """Return one number in [0, 1) for each poem and draw, (poems, draws) float32; each poem has a stream of its own."""
    streams = [np.random.default_rng([seed, poem]).random(draws, dtype=np.float32) for poem in poems]
    return torch.from_numpy(np.stack(streams))


def draw(scores: Tensor, sampling: Sampling, chances: Tensor, branches: int = 0) -> Tensor:
    """Draw a character for each row by its chance: the inverse of the cumulated distribution.

    Args:
        scores: (rows, output_size) float32.
        sampling: Temperature and limits.
        chances: (rows,) float32 in [0, 1).
        branches: Look only at this many of the best characters, which is quicker; 0: shares are taken of all.
    """
    if sampling.temperature == 0:
        return scores.argmax(dim=1)
    most = branches or _CANDIDATES
    best, ids = scores.topk(min(sampling.top_k or most, most, scores.shape[1]), dim=1)
    if branches:
        shares = (best / sampling.temperature).softmax(dim=1)
    else:
        # The share of each candidate is taken of all characters, so that top-p means what it says.
        total = (scores / sampling.temperature).logsumexp(dim=1, keepdim=True)
        shares = (best / sampling.temperature - total).exp()  # (rows, candidates), falling
    cumulated = shares.cumsum(dim=1)
    kept = cumulated - shares < sampling.top_p  # the best one is always kept
    limit = (shares * kept).sum(dim=1)
    choice = (cumulated < (chances * limit).unsqueeze(1)).sum(dim=1)
    last = (kept & (shares > 0)).sum(dim=1) - 1
    return ids.gather(1, torch.minimum(choice, last.clamp(min=0)).unsqueeze(1))[:, 0]
