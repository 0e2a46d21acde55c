"""Tell how well lines follow the lines before them, and what verse never set side by side. Imports no torch.

Lines are read as bags of characters: the mean of their vectors, once as what stands before and once as what follows.
The closeness of the two is trained to tell what really follows from what follows elsewhere under the same rhyme and
tones, so that it estimates their pointwise mutual information (van den Oord et al., 2018). `scripts/learn_critic.py`
trains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zhseq.batching import Ints
from zhseq.checkpoint import read_arrays
from zhseq.errors import CheckpointError
from zhseq.poetry.network import Floats
from zhseq.text.normalize import normalize
from zhseq.text.vocab import Vocab

Bytes = npt.NDArray[np.uint8]

CRITIC_FILE = "critic.safetensors"


class Critic:
    """What a poem model knows of whole poems. Several threads may use one object."""

    def __init__(self, vectors: Floats, before: Floats, behind: Floats, scale: float, pairs: Bytes) -> None:
        """Take the weights.

        Args:
            vectors: Of each symbol, (vocab_size, size); the first is of padding and 0.
            before: What makes of their mean the direction of lines that stand before, (size, size).
            behind: The same of lines that follow.
            scale: Nats of two directions that are the same.
            pairs: A bit for each pair of the first symbols, whether the second stood behind the first in verse,
                (symbols, symbols / 8).
        """
        self.vectors = vectors
        self.before, self.behind, self.scale = before, behind, np.float32(scale)
        self.pairs = pairs

    @classmethod
    def load(cls, directory: Path, vocab_size: int) -> Critic:
        """Read the critic of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or of another vocabulary.
        """
        path = directory / CRITIC_FILE
        arrays = read_arrays(path)
        shapes = {name: values.shape for name, values in arrays.items()}
        size = shapes.get("vectors", (0, 0))[-1]
        known = 8 * shapes.get("pairs", (0, 0))[-1]
        wanted = {"vectors": (vocab_size, size), "before": (size, size), "behind": (size, size), "scale": (1,)}
        kinds = {name: values.dtype.kind for name, values in arrays.items()}
        if (
            shapes != {**wanted, "pairs": (known, known // 8)}
            or known > vocab_size
            or kinds != {**dict.fromkeys(wanted, "f"), "pairs": "u"}
            or not all(np.isfinite(values).all() for values in arrays.values())
        ):
            raise CheckpointError(
                "critic_does_not_fit",
                "{path} is no critic for a vocabulary of {count} symbols; fetch it or train it again with "
                "scripts/learn_critic.py",
                path=path,
                count=vocab_size,
            )
        vectors, before, behind = (arrays[name].astype(np.float32) for name in ("vectors", "before", "behind"))
        return cls(vectors, before, behind, float(arrays["scale"][0]), arrays["pairs"])

    def lift(self, before: Ints, behind: Ints) -> Floats:
        """Return by how many nats lines are likelier behind others than elsewhere, up to a constant of the former.

        Args:
            before: Characters of the lines before, (..., characters), filled up with 0.
            behind: The same of those that follow.
        """
        one, other = self._direction(before, self.before), self._direction(behind, self.behind)
        nats: Floats = self.scale * (one * other).sum(axis=-1)
        return nats

    def unheard(self, lines: Ints) -> Ints:
        """Return how many neighbours in each line verse never set side by side, rare characters counted with them.

        Args:
            lines: Character ids, (..., length).
        """
        first, second = lines[..., :-1], lines[..., 1:]
        known = (first < len(self.pairs)) & (second < len(self.pairs))
        bits = self.pairs[np.where(known, first, 0), np.where(known, second, 0) >> 3] >> (second & 7) & 1
        missing: Ints = (~(known & (bits > 0))).sum(axis=-1)
        return missing

    def _direction(self, ids: Ints, project: Floats) -> Floats:
        found = self.vectors[ids].sum(axis=-2) @ project.T
        directions: Floats = found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), np.float32(1e-6))
        return directions

    def score(self, poems: Sequence[Sequence[str]], vocab: Vocab) -> Floats:
        """Return how well the second half of each poem follows its first, in nats, (poems,).

        Args:
            poems: The lines of each, at least two.
            vocab: That of the model.
        """
        halves = [[normalize("".join(part)) for part in _halved(lines)] for lines in poems]
        before, behind = (_filled([vocab.encode(text) for text in side]) for side in zip(*halves, strict=True))
        return self.lift(before, behind)


def _halved(lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    middle = len(lines) // 2
    return lines[:middle], lines[middle:]


def _filled(rows: Sequence[Ints]) -> Ints:
    """Return rows as one array, (rows, longest), filled up with 0."""
    result = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, ids in zip(result, rows, strict=True):
        row[: len(ids)] = ids
    return result
