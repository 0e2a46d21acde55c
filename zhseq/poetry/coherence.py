"""Judge lines: how well they follow those before, what verse sets together, how readers rate them. Imports no torch.

Lines are read as bags of characters: the mean of their vectors, once as what stands before and once as what follows.
The closeness of the two is trained to tell what really follows from what follows elsewhere under the same rhyme and
tones, so that it estimates their pointwise mutual information (van den Oord et al., 2018). `scripts/learn_critic.py`
trains it.

What verse sets together was counted in the training poems (`scripts/learn_usage.py`): how often two characters are
neighbours, which three of them stand in a row, and which meet in a line oftener than by chance.

How a reader rates a line is guessed from what the language model made of it, its outputs averaged over the line, from
what the characters cost, and from what verse sets together: a linear layer on top of the LSTM, which
`scripts/learn_rater.py` fits to lines that were rated. How a reader rates a whole poem is guessed from the same of its
lines, and from how well they follow.
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
RATER_KIND, RATER_VERSION = "rater", 3
SUMMARIES = ("mean", "max", "min", "std")
"""What the rater takes of the surprise of a line's characters."""
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
"""What the rater takes of what verse sets together; see `Usage.habits`."""


class Critic:
    """What a poem model knows of whole poems. Several threads may use one object."""

    def __init__(self, vectors: Floats, before: Floats, behind: Floats, scale: float) -> None:
        """Take the weights.

        Args:
            vectors: Of each symbol, (vocab_size, size); the first is of padding and 0.
            before: What makes of their mean the direction of lines that stand before, (size, size).
            behind: The same of lines that follow.
            scale: Nats of two directions that are the same.
        """
        self.vectors = vectors
        self.before, self.behind, self.scale = before, behind, np.float32(scale)

    @classmethod
    def load(cls, directory: Path, vocab_size: int) -> Critic:
        """Read the critic of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or of another vocabulary.
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
                "{path} is no critic for a vocabulary of {count} symbols; fetch it or train it again with "
                "scripts/learn_critic.py",
                path=path,
                count=vocab_size,
            ) from error
        before, behind = (arrays[name].astype(np.float32) for name in ("before", "behind"))
        return cls(vectors, before, behind, float(arrays["scale"][0]))

    def lift(self, before: Ints, behind: Ints) -> Floats:
        """Return by how many nats lines are likelier behind others than elsewhere, up to a constant of the former.

        Args:
            before: Characters of the lines before, (..., characters), filled up with 0.
            behind: The same of those that follow.
        """
        one, other = self._direction(before, self.before), self._direction(behind, self.behind)
        nats: Floats = self.scale * (one * other).sum(axis=-1)
        return nats

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


def in_steps(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Floats:
    """Return vectors that are stored as whole numbers of steps of their columns, (symbols, size).

    Raises:
        KeyError: They are missing.
        ValueError: They are no such vectors.
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
    """Return rows as one array, (rows, longest), filled up with 0."""
    result = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, ids in zip(result, rows, strict=True):
        row[: len(ids)] = ids
    return result


_MOST_SYMBOLS, _MOST_BYTES = 1 << 13, 1 << 24  # of tables that are read; a file may say that it has more


def _unpacked(packed: npt.NDArray[Any], most: int) -> Bytes:
    """Return bytes that zlib has packed.

    Raises:
        ValueError: There are more than `most`, or the end is missing.
        zlib.error: They are damaged.
    """
    engine = zlib.decompressobj()
    found = engine.decompress(packed.tobytes(), most + 1)
    if len(found) > most or not engine.eof:
        raise ValueError(len(found))
    return np.frombuffer(found, np.uint8)


class Usage:
    """What verse sets together. Several threads may use one object."""

    def __init__(self, levels: Bytes, triples: Bytes, frequency: Floats, earlier: Floats, later: Floats) -> None:
        """Take what was counted.

        Args:
            levels: How often two of the commonest symbols are neighbours, as the number of binary digits that the
                count has, at most 7, two of them in a byte, the first in its lower half, (symbols, symbols / 2).
            triples: A bit for each place of three symbols in a row, see `place_of_triples`, (bits / 8,).
            frequency: Logarithms of how often each symbol stands in verse, (vocab_size,).
            earlier: Vectors of the commonest symbols where they stand before another in a line, (symbols, size).
            later: The same where they stand behind; the product is how much oftener the two meet than by chance, in
                nats.
        """
        self.levels, self.triples, self.frequency = levels, triples, frequency
        self.earlier, self.later = earlier, later
        self._total = np.log(np.exp(frequency.astype(np.float64)).sum()).astype(np.float32)

    @classmethod
    def load(cls, directory: Path, vocab_size: int) -> Usage:
        """Read `usage.safetensors` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or of another vocabulary.
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
            if not len(triples) or len(triples) & len(triples) - 1:  # places are the upper bits of a product
                raise ValueError(len(triples))
            return cls(levels.reshape(known, known // 2), triples, frequency, earlier, later)
        except (KeyError, ValueError, TypeError, zlib.error) as error:
            raise CheckpointError(
                "usage_does_not_fit",
                "{path} does not hold what verse sets together for a vocabulary of {count} symbols; fetch it or make "
                "it again with scripts/learn_usage.py",
                path=path,
                count=vocab_size,
            ) from error

    def unheard(self, lines: Ints) -> Ints:
        """Return how many neighbours in each line verse never set side by side, rare characters counted with them.

        Args:
            lines: Character ids, (..., length).
        """
        missing: Ints = (self._levels(lines) == 0).sum(axis=-1)
        return missing

    def habits(self, lines: Ints) -> Floats:
        """Return what the rater takes of lines, (..., length): (..., habits), in the order of `HABITS`.

        Args:
            lines: Character ids, (..., length), at least two; two have neither triples nor ties.
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
        """Return the levels of neighbours, (..., length - 1)."""
        first, second = lines[..., :-1], lines[..., 1:]
        known = (first < len(self.levels)) & (second < len(self.levels))
        bytes_ = self.levels[np.where(known, first, 0), np.where(known, second, 0) >> 1]
        found: Bytes = np.where(known, bytes_ >> (4 * (second & 1)).astype(np.uint8) & 15, 0)
        return found

    def _attested(self, lines: Ints) -> Ints:
        """Tell which three characters in a row verse has, (..., length - 2): 1, or else 0."""
        places = place_of_triples(lines, len(self.frequency), len(self.triples) * 8)
        found: Ints = self.triples[places >> 3] >> (places & 7).astype(np.uint8) & 1
        return found if lines.shape[-1] > 2 else np.zeros_like(lines[..., :1])

    def _ties(self, lines: Ints) -> tuple[Floats, Floats]:
        """Return how each character keeps to those of its line that are no neighbours, and the mean of all such pairs.

        Returns:
            (..., length) and (...).
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
"""Of a count with so many binary digits."""


def place_of_triples(lines: Ints, vocab_size: int, places: int) -> Ints:
    """Return the place of each three symbols in a row among so many, a power of two: (..., length - 2).

    Multiplicative hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4): the upper bits of a product.
    """
    ids = lines.astype(np.uint64)
    keys = (ids[..., :-2] * np.uint64(vocab_size) + ids[..., 1:-1]) * np.uint64(vocab_size) + ids[..., 2:]
    found: Ints = (keys * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(65 - places.bit_length())).astype(np.int64)
    return found


TAIL = 3
"""Characters behind the cut of a line of five or seven; what stands before them is its head."""


def _weights(content: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Floats]:
    """Return vectors of a JSON object by name.

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
    """A linear guess of the points that a reader gives a line, 0 for broken to 3 for excellent.

    Attributes:
        outputs: Points for the model's outputs, (embedding_dim,).
        surprise: Points for the surprise of a line in nats, one for each of `SUMMARIES`.
        habits: Points for what verse sets together, one for each of `HABITS`.
        bias: Points of a line of which all these are 0.
    """

    outputs: Floats
    surprise: Floats
    habits: Floats
    bias: float

    def __call__(self, outputs: Floats, surprise: Floats, habits: Floats) -> Floats:
        """Return the points of lines, or of lines of which these are the heads, (...).

        Args:
            outputs: The model's outputs that each character was drawn from, their mean over the line, (...,
                embedding_dim).
            surprise: What each character cost, in nats, (..., length).
            habits: What verse sets together in them, see `Usage.habits`, (..., habits).
        """
        points = outputs @ self.outputs + summaries(surprise) @ self.surprise
        found: Floats = points + habits @ self.habits + np.float32(self.bias)
        return found

    @classmethod
    def of(cls, content: Mapping[str, Any], dim: int) -> Points:
        """Take what `fields` returned.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is no number.
            ValueError: Something is no finite number, or of another model.
        """
        sizes = {"outputs": dim, "surprise": len(SUMMARIES), "habits": len(HABITS)}
        return cls(**_weights(content, sizes), bias=_number(content["bias"]))

    def fields(self) -> dict[str, Any]:
        """Return the guess as values of JSON."""
        weights = {"outputs": self.outputs, "surprise": self.surprise, "habits": self.habits}
        rounded = {name: [round(float(value), 5) for value in values] for name, values in weights.items()}
        return {**rounded, "bias": round(self.bias, 5)}


@dataclass(frozen=True)
class Wholes:
    """A linear guess of what readers give whole poems, against others of the same form.

    Attributes:
        forms: Forms of which poems were rated.
        mean: Weights of the features of lines, see `features_of`, their mean over a poem, (features,).
        last: The same of those of the last line.
        least: Weight of the least of the points of the lines.
    """

    forms: tuple[str, ...]
    mean: Floats
    last: Floats
    least: float

    def __call__(self, features: Floats, points: Floats) -> Floats:
        """Return the guess for poems, (poems,).

        Args:
            features: Of their lines, (poems, lines, features).
            points: Of their lines, (poems, lines).
        """
        of_lines = features.mean(axis=1) @ self.mean + features[:, -1] @ self.last
        found: Floats = of_lines + np.float32(self.least) * points.min(axis=1)
        return found

    @classmethod
    def of(cls, content: Mapping[str, Any], dim: int) -> Wholes:
        """Take what `fields` returned.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is no number.
            ValueError: Something is no finite number, or of another model.
        """
        size = len(SUMMARIES) + len(HABITS) + dim + 1
        weights = _weights(content, {"mean": size, "last": size})
        return cls(tuple(map(str, content["forms"])), **weights, least=_number(content["least"]))

    def fields(self) -> dict[str, Any]:
        """Return the guess as values of JSON."""
        mean, last = ([round(float(value), 6) for value in values] for values in (self.mean, self.last))
        return {"forms": list(self.forms), "mean": mean, "last": last, "least": round(self.least, 6)}


def features_of(outputs: Floats, surprise: Floats, habits: Floats, lift: Floats) -> Floats:
    """Return what `Wholes` takes of lines, (..., features).

    Args:
        outputs: See `Points`; likewise the next two.
        surprise: See there.
        habits: See there.
        lift: How well each follows those before, in nats a character, see `Critic.lift`; 0 for a first line, (...).
    """
    return np.concatenate([summaries(surprise), habits, outputs, lift[..., None]], axis=-1, dtype=np.float32)


@dataclass(frozen=True)
class Rater:
    """What readers give lines and poems.

    Attributes:
        line: The points of a line.
        head: The same guessed from all but its last `TAIL` characters.
        whole: What readers give whole poems, or None where none was rated.
        worn: Two characters that a search led by these points would write oftener than people do -> nats against a
            line that has them.
    """

    line: Points
    head: Points
    whole: Wholes | None = None
    worn: Mapping[str, float] = field(default_factory=dict)

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
            worn = {str(pair): float(nats) for pair, nats in content["worn"].items()}
            if any(len(pair) != 2 for pair in worn) or not all(np.isfinite(list(worn.values()))):
                raise ValueError(worn)
            whole = None if content["whole"] is None else Wholes.of(content["whole"], dim)
            return cls(Points.of(content["line"], dim), Points.of(content["head"], dim), whole, worn)
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                "no_rater_file",
                "{path} is not a rater of version {version} for a model with outputs of {dim} numbers; fetch it or "
                "make it again with scripts/learn_rater.py",
                path=path,
                version=RATER_VERSION,
                dim=dim,
            ) from error

    def save(self, directory: Path) -> None:
        """Write `rater.json` into a directory that is there."""
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
