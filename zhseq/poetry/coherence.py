"""Judge lines: how well they follow those before, what verse never set side by side, how readers rate them. No torch.

Lines are read as bags of characters: the mean of their vectors, once as what stands before and once as what follows.
The closeness of the two is trained to tell what really follows from what follows elsewhere under the same rhyme and
tones, so that it estimates their pointwise mutual information (van den Oord et al., 2018). `scripts/learn_critic.py`
trains it.

How a reader rates a line is guessed from what the language model made of it, its outputs averaged over the line, and
from what the characters cost: a linear layer on top of the LSTM, which `scripts/learn_rater.py` fits to lines that were
rated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
RATER_FILE = "rater.json"
RATER_KIND, RATER_VERSION = "rater", 1
SUMMARIES = ("mean", "max", "min", "std")
"""What the rater takes of the surprise of a line's characters."""


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


@dataclass(frozen=True)
class Rater:
    """A linear guess of the points that a reader gives a line, 0 for broken to 3 for excellent.

    Attributes:
        outputs: Points for the model's outputs, (embedding_dim,).
        surprise: Points for the surprise of a line in nats, one for each of `SUMMARIES`.
        bias: Points of a line of which all these are 0.
        worn: Two characters that a search led by these points would write oftener than people do -> nats against a
            line that has them.
    """

    outputs: Floats
    surprise: Floats
    bias: float
    worn: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, outputs: Floats, surprise: Floats) -> Floats:
        """Return the points of lines, (...).

        Args:
            outputs: The model's outputs that each character was drawn from, their mean over the line, (...,
                embedding_dim).
            surprise: What each character cost, in nats, (..., length).
        """
        found: Floats = outputs @ self.outputs + summaries(surprise) @ self.surprise + np.float32(self.bias)
        return found

    @classmethod
    def load(cls, directory: Path, dim: int) -> Rater:
        """Read `rater.json` of a model directory.

        Args:
            directory: The model.
            dim: Size of the model's outputs.

        Raises:
            CheckpointError: The file is damaged, something else, or of another model.
        """
        path = directory / RATER_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content["kind"], content["version"]) != (RATER_KIND, RATER_VERSION):
                raise ValueError(content["kind"])
            outputs, surprise = (np.array(content[name], dtype=np.float32) for name in ("outputs", "surprise"))
            bias = float(content["bias"])
            worn = {str(pair): float(nats) for pair, nats in content["worn"].items()}
            if any(len(pair) != 2 for pair in worn) or not all(np.isfinite(list(worn.values()))):
                raise ValueError(worn)
            if outputs.shape != (dim,) or surprise.shape != (len(SUMMARIES),):
                raise ValueError(outputs.shape)
            if not (np.isfinite(outputs).all() and np.isfinite(surprise).all() and np.isfinite(bias)):
                raise ValueError(bias)
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                "no_rater_file",
                "{path} is not a rater of version {version} for a model with outputs of {dim} numbers; fetch it or "
                "make it again with scripts/learn_rater.py",
                path=path,
                version=RATER_VERSION,
                dim=dim,
            ) from error
        return cls(outputs, surprise, bias, worn)

    def save(self, directory: Path) -> None:
        """Write `rater.json` into a directory that is there."""
        content = {
            "kind": RATER_KIND,
            "version": RATER_VERSION,
            "outputs": [round(float(value), 5) for value in self.outputs],
            "surprise": [round(float(value), 5) for value in self.surprise],
            "bias": round(self.bias, 5),
            "worn": {pair: round(nats, 1) for pair, nats in self.worn.items()},
        }
        text = json.dumps(content, ensure_ascii=False)
        (directory / RATER_FILE).write_text(text + "\n", encoding="utf-8")


class WornPairs:
    """The worn pairs of a rater as arrays of a vocabulary."""

    def __init__(self, worn: Mapping[str, float], vocab: Vocab) -> None:
        self._size = len(vocab)
        ids = vocab.encode("".join(worn)).reshape(-1, 2)
        keys, nats = ids[:, 0] * self._size + ids[:, 1], np.array(list(worn.values()), dtype=np.float32)
        order = keys.argsort()
        self._keys = np.append(keys[order], np.iinfo(np.int64).max)  # never empty, and nothing lies behind
        self._nats = np.append(nats[order], np.float32(0))

    def __call__(self, candidates: Ints) -> Floats:
        """Return the nats against lines, (..., length) -> (...)."""
        keys = candidates[..., :-1] * self._size + candidates[..., 1:]
        found = np.searchsorted(self._keys, keys)
        nats: Floats = np.where(self._keys[found] == keys, self._nats[found], np.float32(0)).sum(axis=-1)
        return nats


def summaries(surprise: Floats) -> Floats:
    """Return what is taken of the surprise of lines, (..., length): (..., summaries), in the order of `SUMMARIES`."""
    parts = [surprise.mean(axis=-1), surprise.max(axis=-1), surprise.min(axis=-1), surprise.std(axis=-1)]
    found: Floats = np.stack(parts, axis=-1)
    return found
