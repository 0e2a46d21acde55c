"""Draw characters, and write poems of which only the shape is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from zhseq.poetry.model import LanguageModel
from zhseq.poetry.request import Sampling

_CANDIDATES = 256  # best characters that can be drawn; others have almost no probability, and sorting them takes time
_BLOCK = 8  # scores of which only the largest is looked at first


def random_streams(seed: int, poems: range, draws: int) -> Tensor:
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

    Returns:
        Ids, (rows,) int64.
    """
    if sampling.temperature == 0:
        return scores.argmax(dim=1)
    most = branches or _CANDIDATES
    best, ids = largest(scores, min(sampling.top_k or most, most, scores.shape[1]))
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


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` largest scores of each row and their places, falling, both (rows, count).

    The largest scores lie in the blocks with the largest maxima, so that most of a row need not be sorted; three times
    as fast as `topk` on a CPU.
    """
    rows, size = scores.shape
    blocks = size // _BLOCK
    if size % _BLOCK or count >= blocks:
        best, ids = scores.topk(count, dim=1)
        return best, ids
    parts = scores.view(rows, blocks, _BLOCK)
    chosen = parts.amax(dim=2).topk(count, dim=1).indices  # (rows, count)
    within = parts.gather(1, chosen.unsqueeze(2).expand(-1, -1, _BLOCK)).flatten(1)
    best, places = within.topk(count, dim=1)
    return best, chosen.gather(1, places // _BLOCK) * _BLOCK + places % _BLOCK


@torch.inference_mode()
def sample(
    model: LanguageModel,
    *,
    prefix: Tensor,
    forced: Sequence[Sequence[int]],
    writable: Tensor,
    line_id: int,
    sampling: Sampling,
    first: int = 0,
) -> Iterator[Tensor]:
    """Write poems of one shape side by side, line by line; no line stands twice in a poem.

    Args:
        model: In evaluation mode.
        prefix: What the model reads first, (rows, length) int64.
        forced: For each line and position the id of a character that must stand there, or -1 where the model is free.
        writable: Characters that may be drawn, (output_size,) bool.
        line_id: Symbol between two lines.
        sampling: How to draw.
        first: Number of the first of these poems among all that the seed gives.

    Yields:
        After each line: character ids, (rows, lines, longest line) int64, 0 beyond the end of a shorter line and in
        lines to come. What is written never changes again.
    """
    rows, device = prefix.shape[0], prefix.device
    line_lengths = [len(characters) for characters in forced]
    poems = torch.zeros(rows, len(forced), max(line_lengths), dtype=torch.int64, device=device)
    free = sum(character < 0 for characters in forced for character in characters)
    chances = random_streams(sampling.seed, range(first, first + rows), free).to(device)
    closed = torch.where(writable, 0.0, -torch.inf)
    pending, state, drawn = [prefix], None, 0
    for line, characters in enumerate(forced):
        for position, character in enumerate(characters):
            if character < 0:
                logits, state = model.step(torch.cat(pending, dim=1), state)
                pending.clear()
                scores = logits + closed
                if position == line_lengths[line] - 1:
                    forbid_repeated_line(scores, poems, line, line_lengths)
                poems[:, line, position] = draw(scores, sampling, chances[:, drawn])
                drawn += 1
            else:
                poems[:, line, position] = character
            pending.append(poems[:, line, position : position + 1])
        yield poems
        pending.append(torch.full((rows, 1), line_id, device=device))


def forbid_repeated_line(scores: Tensor, poems: Tensor, line: int, line_lengths: Sequence[int]) -> None:
    """Set to minus infinity the score of the last character that would make a line equal to an earlier one, in place.

    Args:
        scores: Of the last character of the line, (rows, output_size) float32.
        poems: Characters so far, (rows, lines, longest line) int64.
        line: Number of the line, from 0.
        line_lengths: Characters of each line.
    """
    last = line_lengths[line] - 1
    for earlier in range(line):
        if line_lengths[earlier] == line_lengths[line]:
            same = (poems[:, earlier, :last] == poems[:, line, :last]).all(dim=1).nonzero()[:, 0]
            scores[same, poems[same, earlier, last]] = -torch.inf
