"""Learn the tones of characters, level or oblique, from regulated verse.

The pattern of a poem and the tones of its characters are both latent. Expectation-maximisation estimates them together,
starting from the four patterns without knowledge of any character. A second pass counts characters only where the rest
of the line leaves no doubt, which removes the noise of licences and corrupt lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import lgamma

import numpy as np
import numpy.typing as npt

from zhseq.poetry.prosody.patterns import FORM_SHAPES, FREE, LEVEL, OBLIQUE, templates

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Verse = Mapping[str, Ids]
"""Form -> the characters of its poems as numbers, shape (poems, characters of the form)."""

_SIGNS = {LEVEL: 1, OBLIQUE: -1, FREE: 0}
_START = 0.97  # initial probability that a position has the tone of its pattern
_BLOCK = 8192  # poems per block: few enough that their tables stay in the cache
_NOISE = 0.02  # least probability of a tone in the second pass, so that no single character rules out a pattern
_ODDS = 20.0  # a poem counts if its best pattern is this many times as probable as the next
_MISMATCH = 0.2  # a character breaks its pattern if the required tone is less probable
_SURE_LEVEL = 0.9  # least probability of a level tone that excludes the variant 平平仄平仄
# Share of a character's uses with the other tone by slips of poets and copyists: beta distributions Beta(1, x) with
# means of 0.8 % and 1.6 %; a second reading may have any share, Beta(1, 1). Oblique characters have more slips: numbers
# such as 百 and 七 were licensed at level positions.
_SLIPS_LEVEL, _SLIPS_OBLIQUE = 120.0, 60.0


@dataclass(frozen=True)
class ToneModel:
    """Parameters estimated by expectation-maximisation.

    Attributes:
        level: Probability that an occurrence of a character is level, shape (characters,).
        positions: Form -> share of level tones at each position of each pattern, shape (5, characters of the form); the
            last row is for poems without a pattern.
        weights: Form -> share of poems of each pattern, shape (5,).
        log_likelihood: Natural logarithm of the likelihood, up to a constant, one per round.
    """

    level: Floats
    positions: dict[str, Floats]
    weights: dict[str, Floats]
    log_likelihood: list[float]


@dataclass(frozen=True)
class ToneCounts:
    """Counts of each character at positions that require a level and an oblique tone, shape (characters,)."""

    level: Floats
    oblique: Floats


_ONE_TONE = 0.1  # a character with a smaller share of the other tone has only one tone
_TURNED_COUNT, _TURNED_SHARE = 10, 0.6  # least uses of a word with the other tone, and their share, for an exception


def pattern_signs(form: str) -> npt.NDArray[np.int64]:
    """Return the patterns of a form as numbers: 1 level, -1 oblique, 0 either; shape (4, lines, length)."""
    lines, length = FORM_SHAPES[form]
    signs = [[_SIGNS[sign] for sign in "".join(pattern.tones)] for pattern in templates(form)]
    return np.array(signs, dtype=np.int64).reshape(-1, lines, length)


def fit(verse: Verse, size: int, rounds: int = 8) -> ToneModel:
    """Estimate tones and patterns together by expectation-maximisation.

    In the model a poem draws a pattern, each position draws a tone, and the tone draws a character.

    Args:
        verse: Regulated verse.
        size: Number of different characters.
        rounds: Passes over the verse.
    """
    positions, weights = {}, {}
    for form in verse:
        signs = pattern_signs(form).reshape(4, -1)
        positions[form] = np.vstack([0.5 + signs * (_START - 0.5), np.full(signs.shape[1], 0.5)])
        weights[form] = np.full(5, 0.2)
    emission = np.full((2, size), 1 / size)
    likelihood = []
    for number in range(rounds):
        counts, total = np.zeros((2, size)), 0.0
        for form in verse:
            step = _Step(emission, positions[form], weights[form])
            for block in _blocks(verse[form]):
                total += step.add(block)
            counts += step.counts
            weights[form] = step.weights / step.weights.sum()
            if number > 0:  # in the first round the tones of all characters are still equally likely
                positions[form] = np.clip(step.levels / np.maximum(step.weights[:, None], 1e-9), 1e-4, 1 - 1e-4)
        emission = (counts + 0.01) / (counts + 0.01).sum(axis=1, keepdims=True)
        likelihood.append(total)
    level = (counts[0] + 0.05) / (counts.sum(axis=0) + 0.1)
    return ToneModel(level, positions, weights, likelihood)


class _Step:
    """Expected counts of one form in one round."""

    def __init__(self, emission: Floats, positions: Floats, weights: Floats) -> None:
        self.share = (emission[0] / emission.sum(axis=0)).astype(np.float32)
        self.positions, self.log_weights = positions.astype(np.float32), np.log(weights + 1e-12)
        self.counts: Floats = np.zeros((2, emission.shape[1]))
        self.weights = np.zeros(len(weights))
        self.levels = np.zeros(positions.shape)

    def add(self, poems: Ids) -> float:
        """Count a block of poems, shape (poems, characters); return its log-likelihood."""
        share = self.share[poems]
        level = [share * row for row in self.positions]
        both = [part + (1 - share) * (1 - row) for part, row in zip(level, self.positions, strict=True)]
        logs = np.stack([np.log(part + 1e-9).sum(axis=1) for part in both], axis=1) + self.log_weights
        peak = logs.max(axis=1, keepdims=True)
        posterior = np.exp(logs - peak)
        mass = posterior.sum(axis=1, keepdims=True)
        posterior /= mass
        expected = np.zeros(poems.shape)
        for index, (part, whole) in enumerate(zip(level, both, strict=True)):
            belief = posterior[:, index : index + 1] * (part / whole)
            self.levels[index] += belief.sum(axis=0)
            expected += belief
        self.weights += posterior.sum(axis=0)
        for row, weight in ((0, expected), (1, 1 - expected)):
            self.counts[row] += np.bincount(poems.ravel(), weight.ravel(), self.counts.shape[1])
        return float((peak + np.log(mass)).sum())


def count(verse: Verse, level: Floats, rounds: int = 3) -> ToneCounts:
    """Count tones at positions that require one, in lines without another fault, of poems with a clear pattern.

    Args:
        verse: Regulated verse.
        level: Probability of a level tone of each character, from `fit`.
        rounds: Number of rounds; each uses the counts of the one before.
    """
    for _ in range(rounds):
        counts = np.zeros((2, len(level)))
        for form in verse:
            shape, signs = FORM_SHAPES[form], _required_signs(form)
            for block in _blocks(verse[form]):
                wanted, counted = _clean_places(level[block].astype(np.float32), signs, shape)
                for row, sign in ((0, 1), (1, -1)):
                    counts[row] += np.bincount(block[counted & (wanted == sign)], minlength=len(level))
        level = (counts[0] + 0.02) / (counts.sum(axis=0) + 0.04)
    return ToneCounts(counts[0], counts[1])


def count_inside(verse: Verse, level: Floats) -> ToneCounts:
    """Count in one round as `count`, but not at the ends of lines, where some characters have another tone."""
    counts = np.zeros((2, len(level)))
    for block, wanted, counted, last in _counted_blocks(verse, level):
        for row, sign in ((0, 1), (1, -1)):
            counts[row] += np.bincount(block[counted & ~last & (wanted == sign)], minlength=len(level))
    return ToneCounts(counts[0], counts[1])


def words_with_other_tone(verse: Verse, level: Floats) -> list[tuple[int, int, int]]:
    """Find two-character words in which a character has another tone than elsewhere (华 in 太华).

    Args:
        verse: Regulated verse.
        level: Probability of a level tone of each character.

    Returns:
        First and second character of each word, and the index (0 or 1) of the one with another tone.
    """
    size = len(level)
    clear = np.where(level > 1 - _ONE_TONE, 1, np.where(level < _ONE_TONE, -1, 0))
    every: list[Ids] = []
    against: list[Ids] = []
    for block, wanted, counted, last in _counted_blocks(verse, level):
        rows, columns = np.nonzero(counted & (clear[block] != 0) & (wanted != 0))
        one_tone = clear[block[rows, columns]] != wanted[rows, columns]
        for turned, (first, second) in enumerate(((columns, columns + 1), (columns - 1, columns))):
            inside = (first >= 0) & (second < block.shape[1]) & ~last[0, np.maximum(first, 0)]
            words = (block[rows[inside], first[inside]] * size + block[rows[inside], second[inside]]) * 2 + turned
            every.append(words)
            against.append(words[one_tone[inside]])
    keys, counts = np.unique(np.concatenate(against), return_counts=True)
    keys, counts = keys[counts >= _TURNED_COUNT], counts[counts >= _TURNED_COUNT]
    pool = np.concatenate(every)
    pool = pool[np.isin(pool, keys)]
    totals = np.bincount(np.searchsorted(keys, pool), minlength=len(keys))
    chosen = keys[counts >= _TURNED_SHARE * totals]
    return [(int(key) // 2 // size, int(key) // 2 % size, int(key) % 2) for key in chosen.tolist()]


def _counted_blocks(
    verse: Verse, level: Floats
) -> Iterator[tuple[Ids, npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Yield blocks of poems, their required tones, masks of positions to count, and of line ends, (1, positions)."""
    for form in verse:
        shape, signs = FORM_SHAPES[form], _required_signs(form)
        last = (np.arange(shape[0] * shape[1]) % shape[1] == shape[1] - 1)[None, :]
        for block in _blocks(verse[form]):
            wanted, counted = _clean_places(level[block].astype(np.float32), signs, shape)
            yield block, wanted, counted, last


def _required_signs(form: str) -> npt.NDArray[np.float32]:
    """Return the signs of the positions that poets observe, the even ones and the last, shape (4, characters)."""
    signs = pattern_signs(form)
    kept = np.zeros(signs.shape, dtype=bool)
    kept[:, :, 1:-1:2] = kept[:, :, -1] = True
    return np.where(kept, signs, 0).reshape(4, -1).astype(np.float32)


def _clean_places(
    level: npt.NDArray[np.float32], signs: npt.NDArray[np.float32], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the required tone of each position (1, -1, 0) and whether it may be counted, both (poems, characters)."""
    lines, length = shape
    scores = np.log(np.maximum(level, _NOISE)) @ (signs > 0).T + np.log(np.maximum(1 - level, _NOISE)) @ (signs < 0).T
    ranked = np.sort(scores, axis=1)
    wanted = signs[scores.argmax(axis=1)]
    fits = np.where(wanted > 0, level, np.where(wanted < 0, 1 - level, 1.0))
    faults = (fits < _MISMATCH).reshape(-1, lines, length)
    clear = (ranked[:, 3] - ranked[:, 2] > np.log(_ODDS)) & (faults.sum(axis=(1, 2)) <= max(1, lines // 4))
    # A character is judged by the rest of its line, never by itself.
    counted = (faults.sum(axis=2, keepdims=True) - faults == 0) & clear[:, None, None]
    grid = wanted.reshape(-1, lines, length)
    # 平平仄平仄 is a variant of 平平平仄仄: unless the third last character is level, the next one is no evidence.
    swapping = (grid[:, :, length - 4] > 0) & (grid[:, :, -1] < 0)
    third = level.reshape(-1, lines, length)[:, :, length - 3]
    counted[:, :, length - 2] &= ~(swapping & (third < _SURE_LEVEL))
    return wanted, counted.reshape(level.shape)


def _blocks(poems: Ids) -> Iterator[Ids]:
    for start in range(0, len(poems), _BLOCK):
        yield poems[start : start + _BLOCK]


def class_probabilities(counts: ToneCounts, prior: Floats) -> Floats:
    """Return the probabilities of the classes level, oblique and either, shape (characters, 3).

    Args:
        counts: Evidence, see `count`.
        prior: Prior probabilities, shape (characters, 3); each row sums to 1.
    """
    level, oblique = counts.level, counts.oblique
    logs = np.stack(
        [
            _log_beta(1 + oblique, _SLIPS_LEVEL + level) - _log_beta(np.ones(1), np.array([_SLIPS_LEVEL])),
            _log_beta(1 + level, _SLIPS_OBLIQUE + oblique) - _log_beta(np.ones(1), np.array([_SLIPS_OBLIQUE])),
            _log_beta(1 + level, 1 + oblique),
        ],
        axis=1,
    ) + np.log(prior)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _log_beta(first: Floats, second: Floats) -> Floats:
    """Return the element-wise logarithm of the beta function."""
    log_gamma = np.frompyfunc(lgamma, 1, 1)
    return np.asarray(log_gamma(first) + log_gamma(second) - log_gamma(first + second), dtype=np.float64)
