"""Score lines by coherence with previous lines, attested usage and predicted reader ratings. Imports no torch.

Coherence: lines are bags of characters, with one projection of their vectors for preceding and one for following lines.
The similarity of the two is trained to distinguish the actual continuation from continuations of other poems with the
same rhyme and tones, so it estimates their pointwise mutual information (van den Oord et al., 2018).
`scripts/learn_critic.py` trains it.

Usage: counts from the training poems (`scripts/learn_usage.py`) of adjacent characters, of character trigrams, and of
characters that co-occur in a line more often than by chance.

Ratings: the rating of a line is a linear function of the language model's outputs averaged over the line, of the
surprise of its characters and of usage features; `scripts/learn_rater.py` fits it to rated lines. The rating of a poem
is a linear function of the same features of its lines and of their coherence.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
USAGE_FILE = "usage.safetensors"
RATER_FILE = "rater.json"
RATER_KIND, RATER_VERSION = "rater", 4
SUMMARIES = ("mean", "max", "min", "std")
"""Statistics of the surprise of a line's characters that are features of the rater."""
HABITS = (
    "neighbours, mean",
    "neighbours, least",
    "neighbours against chance, mean",
    "neighbours against chance, least",
    "frequency of characters, mean",
    "triples that verse has",
    "the last triple",
    "ties, mean",
    "ties of the last character",
    "ties of the loosest character",
)
"""Usage features of the rater; see `Usage.habits`."""


class Critic:
    """Estimate of how well lines follow others. Thread-safe."""

    def __init__(self, vectors: Floats, before: Floats, behind: Floats, scale: float) -> None:
        """Store the weights.

        Args:
            vectors: Vector of each symbol, (vocab_size, size); the first is for padding and 0.
            before: Projection of the summed vectors of preceding lines, (size, size).
            behind: Projection of the summed vectors of following lines, (size, size).
            scale: Nats for equal directions.
        """
        self.vectors = vectors
        self.before, self.behind, self.scale = before, behind, np.float32(scale)

    @classmethod
    def load(cls, directory: Path, vocab_size: int) -> Critic:
        """Read the critic of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or for another vocabulary.
        """
        path = directory / CRITIC_FILE
        arrays = read_arrays(path)
        shapes = {name: values.shape for name, values in arrays.items()}
        size = shapes.get("before", (0, 0))[-1]
        wanted = {"before": (size, size), "behind": (size, size), "scale": (1,)}
        try:
            vectors = in_steps(arrays, "vectors")
            if vectors.shape != (vocab_size, size) or any(shapes.get(name) != shape for name, shape in wanted.items()):
                raise ValueError(shapes)
            if not all(arrays[name].dtype.kind == "f" and np.isfinite(arrays[name]).all() for name in wanted):
                raise ValueError(wanted)
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                "critic_does_not_fit",
                "{path} is not a critic for a vocabulary of {count} symbols; fetch it or train it "
                "again with scripts/learn_critic.py",
                path=path,
                count=vocab_size,
            ) from error
        before, behind = (arrays[name].astype(np.float32) for name in ("before", "behind"))
        return cls(vectors, before, behind, float(arrays["scale"][0]))

    def lift(self, before: Ints, behind: Ints) -> Floats:
        """Return the log odds, in nats, that lines follow others, up to a constant that depends on the others.

        Args:
            before: Characters of the preceding lines, (..., characters), padded with 0.
            behind: Characters of the following lines, (..., characters), padded with 0.
        """
        one, other = self._direction(before, self.before), self._direction(behind, self.behind)
        nats: Floats = self.scale * (one * other).sum(axis=-1)
        return nats

    def _direction(self, ids: Ints, project: Floats) -> Floats:
        found = self.vectors[ids].sum(axis=-2) @ project.T
        directions: Floats = found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), np.float32(1e-6))
        return directions

    def score(self, poems: Sequence[Sequence[str]], vocab: Vocab) -> Floats:
        """Return how well the second half of each poem follows its first half, in nats, (poems,).

        Args:
            poems: Lines of each poem, at least two.
            vocab: Vocabulary of the model.
        """
        halves = [[normalize("".join(part)) for part in _halved(lines)] for lines in poems]
        before, behind = (_filled([vocab.encode(text) for text in side]) for side in zip(*halves, strict=True))
        return self.lift(before, behind)


def in_steps(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Floats:
    """Return vectors stored as int8 with one scale (step) per column, (symbols, size).

    Raises:
        KeyError: The vectors or their steps are missing.
        ValueError: Their types or shapes are wrong, or a step is not finite.
    """
    vectors, steps = arrays[name], arrays[f"{name} steps"]
    if (
        vectors.dtype != np.int8
        or vectors.ndim != 2
        or steps.shape != vectors.shape[1:]
        or not np.isfinite(steps).all()
    ):
        raise ValueError(name)
    found: Floats = vectors.astype(np.float32) * steps.astype(np.float32)
    return found


def _halved(lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    middle = len(lines) // 2
    return lines[:middle], lines[middle:]


def _filled(rows: Sequence[Ints]) -> Ints:
    """Return rows as one array, (rows, longest), padded with 0."""
    result = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, ids in zip(result, rows, strict=True):
        row[: len(ids)] = ids
    return result


_MOST_SYMBOLS, _MOST_BYTES = 1 << 13, 1 << 24  # limits for tables, since a file is untrusted


def _unpacked(packed: npt.NDArray[Any], most: int) -> Bytes:
    """Return bytes decompressed by zlib.

    Raises:
        ValueError: There are more than `most` bytes, or the stream is truncated.
        zlib.error: The stream is damaged.
    """
    engine = zlib.decompressobj()
    found = engine.decompress(packed.tobytes(), most + 1)
    if len(found) > most or not engine.eof:
        raise ValueError(len(found))
    return np.frombuffer(found, np.uint8)


class Usage:
    """Statistics of bigrams, trigrams and co-occurrence in verse. Thread-safe."""

    def __init__(self, levels: Bytes, triples: Bytes, frequency: Floats, earlier: Floats, later: Floats) -> None:
        """Store the tables.

        Args:
            levels: Bigram counts of the most frequent symbols as the number of their binary digits, at most 7, two in
                a byte, the first in its lower half, (symbols, symbols / 2).
            triples: Bit set of attested trigrams by hash, see `place_of_triples`, (bits / 8,).
            frequency: Logarithm of the frequency of each symbol in verse, (vocab_size,).
            earlier: Vectors of the most frequent symbols as the earlier one of two in a line, (symbols, size).
            later: Vectors of the same symbols as the later one; the dot product of the two is how much more often than
                by chance they co-occur, in nats.
        """
        self.levels, self.triples, self.frequency = levels, triples, frequency
        self.earlier, self.later = earlier, later
        self._total = np.log(np.exp(frequency.astype(np.float64)).sum()).astype(np.float32)

    @classmethod
    def load(cls, directory: Path, vocab_size: int) -> Usage:
        """Read `usage.safetensors` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or for another vocabulary.
        """
        path = directory / USAGE_FILE
        arrays = read_arrays(path)
        try:
            earlier, later = in_steps(arrays, "earlier"), in_steps(arrays, "later")
            frequency = arrays["frequency"].astype(np.float32)
            known = len(earlier)
            if frequency.shape != (vocab_size,) or known > min(vocab_size, _MOST_SYMBOLS) or known % 2:
                raise ValueError(known)
            levels = _unpacked(arrays["levels"], known * known // 2)
            triples = _unpacked(arrays["triples"], _MOST_BYTES)
            if earlier.shape != later.shape:
                raise ValueError(later.shape)
            if not np.isfinite(frequency).all():
                raise ValueError(frequency)
            if not len(triples) or len(triples) & len(triples) - 1:  # hashes are the upper bits of a product
                raise ValueError(len(triples))
            return cls(levels.reshape(known, known // 2), triples, frequency, earlier, later)
        except (KeyError, ValueError, TypeError, zlib.error) as error:
            raise CheckpointError(
                "usage_does_not_fit",
                "{path} is not a usage table for a vocabulary of {count} symbols; fetch it or make "
                "it again with scripts/learn_usage.py",
                path=path,
                count=vocab_size,
            ) from error

    def unheard(self, lines: Ints) -> Ints:
        """Return the number of unattested bigrams in each line, including all bigrams with a rare character.

        Args:
            lines: Character ids, (..., length).
        """
        missing: Ints = (self._levels(lines) == 0).sum(axis=-1)
        return missing

    def habits(self, lines: Ints) -> Floats:
        """Return the usage features of lines, (..., habits), in the order of `HABITS`.

        Args:
            lines: Character ids, (..., length), at least two characters; two have neither triples nor ties.
        """
        often = _NATS_OF_LEVELS[self._levels(lines)]
        frequency = self.frequency[lines]
        chance = frequency[..., :-1] + frequency[..., 1:] - self._total
        beyond = often - np.maximum(chance, np.float32(-3))
        attested = self._attested(lines)
        ties, mean = self._ties(lines)
        parts = [
            often.mean(axis=-1),
            often.min(axis=-1),
            beyond.mean(axis=-1),
            beyond.min(axis=-1),
            frequency.mean(axis=-1),
            attested.mean(axis=-1),
            attested[..., -1],
            mean,
            ties[..., -1],
            ties.min(axis=-1),
        ]
        found: Floats = np.stack(parts, axis=-1).astype(np.float32)
        return found

    def _levels(self, lines: Ints) -> Bytes:
        """Return the level of each bigram, (..., length - 1)."""
        first, second = lines[..., :-1], lines[..., 1:]
        known = (first < len(self.levels)) & (second < len(self.levels))
        bytes_ = self.levels[np.where(known, first, 0), np.where(known, second, 0) >> 1]
        found: Bytes = np.where(known, bytes_ >> (4 * (second & 1)).astype(np.uint8) & 15, 0)
        return found

    def _attested(self, lines: Ints) -> Ints:
        """Return 1 for each trigram that is attested in verse, else 0, (..., length - 2)."""
        places = place_of_triples(lines, len(self.frequency), len(self.triples) * 8)
        found: Ints = self.triples[places >> 3] >> (places & 7).astype(np.uint8) & 1
        return found if lines.shape[-1] > 2 else np.zeros_like(lines[..., :1])

    def _ties(self, lines: Ints) -> tuple[Floats, Floats]:
        """Return the mean co-occurrence of characters of a line that are not adjacent, in nats.

        Returns:
            Mean for each character, (..., length), and over all such pairs, (...).
        """
        length = lines.shape[-1]
        known = lines < len(self.earlier)
        ids = np.where(known, lines, 0)
        earlier, later = (vectors[ids] * known[..., None] for vectors in (self.earlier, self.later))
        apart = np.triu(np.ones((length, length), dtype=np.float32), 2)
        nats = (earlier @ np.swapaxes(later, -1, -2)) * apart
        both = nats.sum(axis=-1) + nats.sum(axis=-2)
        counts = np.maximum((apart + apart.T).sum(axis=0), np.float32(1))
        return both / counts, nats.sum(axis=(-2, -1)) / max(apart.sum(), np.float32(1))


_NATS_OF_LEVELS = np.log(np.array([0.4, 1, 2.5, 5.5, 11, 22, 45, 130], dtype=np.float32))
"""Logarithm of a typical count with 0 to 7 binary digits."""


def place_of_triples(lines: Ints, vocab_size: int, places: int) -> Ints:
    """Return the hash of each trigram, below `places`, which must be a power of two, (..., length - 2).

    Multiplicative hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4): the upper bits of a product.
    """
    ids = lines.astype(np.uint64)
    keys = (ids[..., :-2] * np.uint64(vocab_size) + ids[..., 1:-1]) * np.uint64(vocab_size) + ids[..., 2:]
    found: Ints = (keys * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(65 - places.bit_length())).astype(np.int64)
    return found


TAIL = 3
"""Characters after the caesura of a line of five or seven; the characters before them are the head of the line."""


def _weights(content: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Floats]:
    """Return the vectors of a JSON object by name.

    Args:
        content: The object.
        sizes: Name of each vector -> its length.

    Raises:
        KeyError: A vector is missing.
        TypeError: A value is not a number.
        ValueError: A vector has another length, or a value is not a finite number.
    """
    weights = {name: np.array(content[name], dtype=np.float32) for name in sizes}
    for name, values in weights.items():
        if values.shape != (sizes[name],) or not np.isfinite(values).all():
            raise ValueError(name)
    return weights


def _number(value: Any) -> float:
    """Return a value of a JSON object as a float; raise ValueError if it is not finite."""
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(value)
    return number


@dataclass(frozen=True)
class Points:
    """Linear prediction of the points that a reader gives a line, from 0 (broken) to 3 (excellent).

    Attributes:
        outputs: Weights of the model's outputs, (embedding_dim,).
        surprise: Weights of the statistics of surprise, one for each of `SUMMARIES`.
        habits: Weights of the usage features, one for each of `HABITS`.
        bias: Constant term, in points.
    """

    outputs: Floats
    surprise: Floats
    habits: Floats
    bias: float

    def __call__(self, outputs: Floats, surprise: Floats, habits: Floats) -> Floats:
        """Return the predicted points of lines, from features of the lines or of their heads, (...).

        Args:
            outputs: Mean over the line of the model's outputs that predict its characters, (..., embedding_dim).
            surprise: Surprise of each character in nats, (..., length).
            habits: Usage features, see `Usage.habits`, (..., habits).
        """
        points = outputs @ self.outputs + summaries(surprise) @ self.surprise
        found: Floats = points + habits @ self.habits + np.float32(self.bias)
        return found

    @classmethod
    def of(cls, content: Mapping[str, Any], dim: int) -> Points:
        """Read the weights from the result of `fields`.

        Raises:
            KeyError: A field is missing.
            TypeError: A weight is not a number.
            ValueError: A weight is not finite, or there are not as many as the model needs.
        """
        sizes = {"outputs": dim, "surprise": len(SUMMARIES), "habits": len(HABITS)}
        return cls(**_weights(content, sizes), bias=_number(content["bias"]))

    def fields(self) -> dict[str, Any]:
        """Return the weights as JSON values, rounded."""
        weights = {"outputs": self.outputs, "surprise": self.surprise, "habits": self.habits}
        rounded = {name: [round(float(value), 5) for value in values] for name, values in weights.items()}
        return {**rounded, "bias": round(self.bias, 5)}


@dataclass(frozen=True)
class Wholes:
    """Linear prediction of the ratings of whole poems, comparable within one form.

    Attributes:
        forms: Forms of the rated poems.
        mean: Weight of the mean of the predicted points of all lines.
        last: Weight of the predicted points of the last line.
        lift: Weight of the mean coherence of the lines with the previous ones, in nats per character.
    """

    forms: tuple[str, ...]
    mean: float
    last: float
    lift: float

    def __call__(self, points: Floats, lift: Floats) -> Floats:
        """Return the predicted ratings of poems, (poems,).

        Args:
            points: Predicted points of the lines, (poems, lines).
            lift: Coherence with the previous lines, see `Critic.lift`; 0 for a first line, (poems, lines).
        """
        found: Floats = self.mean * points.mean(axis=1) + self.last * points[:, -1] + self.lift * lift.mean(axis=1)
        return found

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Wholes:
        """Read the weights from the result of `fields`.

        Raises:
            KeyError: A field is missing.
            TypeError: A weight is not a number.
            ValueError: A weight is not finite.
        """
        return cls(tuple(map(str, content["forms"])), *(_number(content[name]) for name in ("mean", "last", "lift")))

    def fields(self) -> dict[str, Any]:
        """Return the weights as JSON values, rounded."""
        return {
            "forms": list(self.forms),
            "mean": round(self.mean, 5),
            "last": round(self.last, 5),
            "lift": round(self.lift, 5),
        }


@dataclass(frozen=True)
class Rater:
    """Predictions of reader ratings.

    Attributes:
        line: Prediction of the points of a line.
        head: Prediction of the same points without the last `TAIL` characters.
        whole: Prediction of the ratings of whole poems, or None if there is none.
        worn: Bigram that a search with these predictions would overuse -> penalty of a line with it, in nats.
    """

    line: Points
    head: Points
    whole: Wholes | None = None
    worn: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path, dim: int) -> Rater:
        """Read `rater.json` of a model directory.

        Args:
            directory: Model directory.
            dim: Size of the model's outputs.

        Raises:
            CheckpointError: The file is missing, damaged, not a rater, or for a model of another size.
        """
        path = directory / RATER_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content["kind"], content["version"]) != (RATER_KIND, RATER_VERSION):
                raise ValueError(content["kind"])
            worn = {str(pair): float(nats) for pair, nats in content["worn"].items()}
            if any(len(pair) != 2 for pair in worn) or not all(np.isfinite(list(worn.values()))):
                raise ValueError(worn)
            whole = None if content["whole"] is None else Wholes.of(content["whole"])
            return cls(Points.of(content["line"], dim), Points.of(content["head"], dim), whole, worn)
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                "no_rater_file",
                "{path} is not a rater of version {version} for a model with {dim}-dimensional "
                "outputs; fetch it or make it again with scripts/learn_rater.py",
                path=path,
                version=RATER_VERSION,
                dim=dim,
            ) from error

    def save(self, directory: Path) -> None:
        """Write `rater.json` into an existing directory."""
        content = {
            "kind": RATER_KIND,
            "version": RATER_VERSION,
            "line": self.line.fields(),
            "head": self.head.fields(),
            "whole": None if self.whole is None else self.whole.fields(),
            "worn": {pair: round(nats, 1) for pair, nats in self.worn.items()},
        }
        text = json.dumps(content, ensure_ascii=False)
        (directory / RATER_FILE).write_text(text + "\n", encoding="utf-8")


class WornPairs:
    """The worn pairs of a rater as arrays of vocabulary ids."""

    def __init__(self, worn: Mapping[str, float], vocab: Vocab) -> None:
        self._size = len(vocab)
        ids = vocab.encode("".join(worn)).reshape(-1, 2)
        keys, nats = ids[:, 0] * self._size + ids[:, 1], np.array(list(worn.values()), dtype=np.float32)
        order = keys.argsort()
        self._keys = np.append(keys[order], np.iinfo(np.int64).max)  # so that look-ups never fall outside
        self._nats = np.append(nats[order], np.float32(0))

    def __call__(self, candidates: Ints) -> Floats:
        """Return the penalties of lines in nats, (..., length) -> (...)."""
        keys = candidates[..., :-1] * self._size + candidates[..., 1:]
        found = np.searchsorted(self._keys, keys)
        nats: Floats = np.where(self._keys[found] == keys, self._nats[found], np.float32(0)).sum(axis=-1)
        return nats


def summaries(surprise: Floats) -> Floats:
    """Return statistics of the surprise of lines, (..., length) -> (..., summaries), in the order of `SUMMARIES`."""
    parts = [surprise.mean(axis=-1), surprise.max(axis=-1), surprise.min(axis=-1), surprise.std(axis=-1)]
    found: Floats = np.stack(parts, axis=-1)
    return found
