"""The lists of `zhseq.poetry.sense` as tensors, to judge many candidates for a line at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zhseq.poetry.sense import Sense
from zhseq.text.vocab import Vocab


class SenseTables:
    """What each character and pair of characters tells of season and hour."""

    def __init__(self, sense: Sense, vocab: Vocab, device: torch.device) -> None:
        self.names = list(sense.words)
        size = len(vocab)
        self.doubled = torch.zeros(size, dtype=torch.bool, device=device)
        self.doubled[_known(vocab, sense.doublings)] = True
        # The row of a season or hour for each character and for each pair that tells it; the last row is none.
        self.row_of = torch.full((size,), len(self.names), dtype=torch.int64, device=device)
        pairs: dict[int, int] = {}
        for word, name in sense.owners.items():
            ids = _known(vocab, word)
            if len(ids) < len(word):
                continue
            if len(ids) == 1:
                self.row_of[ids[0]] = self.names.index(name)
            else:
                pairs[ids[0] * size + ids[1]] = self.names.index(name)
        self.size = size
        self.pairs = torch.tensor(sorted(pairs) or [-1], device=device)
        self.row_of_pair = torch.tensor([pairs[key] for key in sorted(pairs)] or [len(self.names)], device=device)
        apart = np.zeros((len(self.names), len(self.names)), dtype=np.float32)
        for pair, nats in sense.apart.items():
            one, other = map(self.names.index, pair)
            apart[one, other] = apart[other, one] = nats
        self.apart = torch.from_numpy(apart).to(device)

    def times(self, lines: Tensor) -> Tensor:
        """Return the seasons and hours that lines speak of, (..., names) bool.

        Args:
            lines: Character ids, (..., length) int64.
        """
        keys = lines[..., :-1] * self.size + lines[..., 1:]
        index = torch.searchsorted(self.pairs, keys).clamp(max=len(self.pairs) - 1)
        of_pairs = torch.where(self.pairs[index] == keys, self.row_of_pair[index], len(self.names))
        rows = torch.cat([self.row_of[lines], of_pairs], dim=-1)
        found = torch.zeros(*rows.shape[:-1], len(self.names) + 1, dtype=torch.bool, device=lines.device)
        return found.scatter_(-1, rows, True)[..., :-1]

    def clash(self, before: Tensor, lines: Tensor) -> Tensor:
        """Return how much rarer than chance it is that such lines follow, in nats, (poems, candidates) float32.

        Args:
            before: What each poem has spoken of, (poems, names) bool.
            lines: Candidates for its next line, (poems, candidates, length) int64.
        """
        own = self.times(lines).float()  # (poems, candidates, names)
        every = torch.maximum(own, before.float().unsqueeze(1))
        pairs = own.unsqueeze(3) * every.unsqueeze(2) * self.apart  # (poems, candidates, names, names)
        return pairs.flatten(2).amax(dim=2)


def _known(vocab: Vocab, characters: str) -> list[int]:
    ids = vocab.encode(characters).tolist()
    return [index for index in ids if index != vocab.unk_id]
