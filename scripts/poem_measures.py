"""What can be counted in a set of poems: variety, repetition, and what of it stands in the training corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from zhseq.poetry.forms import encode_poems
from zhseq.text.vocab import LINE, Vocab

Ids = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Lines = Sequence[str]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_CHUNK = 4_000_000  # windows of the corpus hashed at once


def distinct(poems: Sequence[Lines], size: int = 50) -> tuple[float, float]:
    """Return distinct-1 and distinct-2 of samples of `size` poems, averaged: different n-grams for each n-gram.

    Bigrams lie within lines. A rest smaller than `size` is left out, unless there is nothing else.
    """
    count = max(1, len(poems) // size)
    samples = [list(chain.from_iterable(poems[size * n : size * (n + 1)])) for n in range(count)]
    ones = [_share_distinct(list("".join(lines))) for lines in samples]
    twos = [_share_distinct([a + b for line in lines for a, b in pairwise(line)]) for lines in samples]
    return float(np.mean(ones)), float(np.mean(twos))


def _share_distinct(items: list[str]) -> float:
    return len(set(items)) / max(1, len(items))


def top_mass(poems: Sequence[Lines], size: int = 100, top: int = 20) -> float:
    """Return the share of the `top` commonest characters in samples of `size` poems, averaged."""
    count = max(1, len(poems) // size)
    shares = []
    for number in range(count):
        counts = Counter("".join(chain.from_iterable(poems[size * number : size * (number + 1)])))
        shares.append(sum(n for _, n in counts.most_common(top)) / max(1, counts.total()))
    return float(np.mean(shares))


def repeats_bigram(poem: Lines) -> bool:
    """Tell whether a pair of characters stands twice in a poem."""
    pairs = [a + b for line in poem for a, b in pairwise(line)]
    return len(set(pairs)) < len(pairs)


def odd_doublings(poems: Sequence[Lines], attested: set[str]) -> float:
    """Return how many times in 100 lines a character follows itself that poets do not double."""
    lines = list(chain.from_iterable(poems))
    return 100 * sum(a == b and a not in attested for line in lines for a, b in pairwise(line)) / max(1, len(lines))


MARKS_OF_SEASONS = {
    "春": "春 莺 杏 桃花 杨花 柳絮 清明 寒食 杜鹃 东风 落花 海棠",
    "夏": "夏 暑 荷花 榴花 五月 六月 梅雨 薰风",
    "秋": "秋 蛩 砧 菊 桂花 梧叶 西风 重阳 新雁 白露 枫",
    "冬": "冬 雪 冻 腊 十月 朔风",
}
"""Words that anybody would name, chosen by hand and not learned, so that what is measured is not what is enforced."""


def seasons(poem: Lines) -> set[str]:
    """Return the seasons whose marks stand in a poem; snow of flowers and frost of hair are not told apart."""
    return {
        name for name, words in MARKS_OF_SEASONS.items() if any(word in line for word in words.split() for line in poem)
    }


def mixed_seasons(poems: Sequence[Lines]) -> dict[str, float]:
    """Return the shares of poems with a season, with two or more, and with spring and autumn."""
    found = [seasons(poem) for poem in poems]
    return {
        "poems with a season": float(np.mean([len(each) > 0 for each in found])),
        "two seasons": float(np.mean([len(each) > 1 for each in found])),
        "spring and autumn": float(np.mean([{"春", "秋"} <= each for each in found])),
    }


class Corpus:
    """The training poems as one array of ids, to look for copies in."""

    def __init__(self, poems: Sequence[Lines], vocab: Vocab) -> None:
        self.vocab = vocab
        ids, _ = encode_poems(vocab, poems, max_symbols=1 << 40)
        self.ids = ids.astype(np.int32)
        self.breaks = np.isin(ids, [vocab.id(LINE), vocab.eos_id])

    def copied(self, poems: Sequence[Lines], length: int, *, whole: bool = False) -> list[list[bool]]:
        """Tell of each run of `length` characters within the lines of each poem whether the corpus has it.

        Args:
            poems: Poems to look for.
            length: Characters in a run.
            whole: Look at whole lines of this length only, in the poems and in the corpus.
        """
        runs = [
            [
                line[n : n + length]
                for line in poem
                if not whole or len(line) == length
                for n in range(len(line) - length + 1)
            ]
            for poem in poems
        ]
        flat = list(chain.from_iterable(runs))
        if not flat:
            return [[] for _ in poems]
        matrix = self.vocab.encode("".join(flat)).reshape(-1, length)
        found = self._contains(_hash(matrix.astype(np.int32).ravel(), length)[::length], length, whole)
        parts = iter(found.tolist())
        return [[next(parts) for _ in each] for each in runs]

    def _contains(self, wanted: Hashes, length: int, whole: bool) -> npt.NDArray[np.bool_]:
        order = np.unique(wanted)
        seen = np.zeros(len(order), dtype=bool)
        for begin in range(0, len(self.ids) - length, _CHUNK):
            end = min(begin + _CHUNK + length - 1, len(self.ids))
            hashes = _hash(self.ids[begin:end], length)
            crossing = np.concatenate([[0], np.cumsum(self.breaks[begin:end])])
            inside = crossing[length:] == crossing[: len(hashes)]
            if whole:
                before = np.concatenate([[True], self.breaks])[begin : begin + len(hashes)]
                after = np.append(self.breaks, True)[begin + length : begin + length + len(hashes)]
                inside &= before & after
            hashes = hashes[inside]
            places = np.searchsorted(order, hashes).clip(max=len(order) - 1)
            seen[places[order[places] == hashes]] = True
        return seen[np.searchsorted(order, wanted)]

    @cached_property
    def doublings(self) -> set[str]:
        """The characters that stand doubled within a line at least 60 times."""
        twice = self.ids[1:][(self.ids[1:] == self.ids[:-1]) & ~self.breaks[1:]]
        found, counts = np.unique(twice, return_counts=True)
        return {self.vocab.symbol(int(index)) for index in found[counts >= 60]} - {self.vocab.symbol(self.vocab.unk_id)}

    def longest_common(self, poems: Sequence[Lines], longest: int = 7) -> list[int]:
        """Return for each poem the length of the longest run within a line that the corpus has, from 3 on."""
        best = [3] * len(poems)
        for length in range(4, longest + 1):
            for number, runs in enumerate(self.copied(poems, length)):
                best[number] = length if any(runs) else best[number]
        return best


def _hash(ids: npt.NDArray[np.int32], length: int) -> Hashes:
    """Return a hash of each window of `length` ids, shape (ids - length + 1,)."""
    result = np.zeros(len(ids) - length + 1, dtype=np.uint64)
    wide = ids.astype(np.uint64)
    for offset in range(length):
        result = result * _FACTOR + (wide[offset : offset + len(result)] + np.uint64(1))
    return result


class Themes:
    """How strongly each character belongs to each subject, by the titles of the training poems."""

    def __init__(self, subjects: Sequence[str], titles: Sequence[str], texts: Sequence[str], vocab: Vocab) -> None:
        self.vocab = vocab
        total = np.bincount(vocab.encode("".join(texts)), minlength=len(vocab)) + 1.0
        joined = "\n".join(titles)
        rows = []
        for subject in subjects:
            found = (
                [text for title, text in zip(titles, texts, strict=True) if subject in title]
                if subject in joined
                else []
            )
            counts = np.bincount(vocab.encode("".join(found)), minlength=len(vocab)).astype(float)
            # Smoothed towards the characters of all poems: what was hardly seen says hardly anything.
            prior = 2000.0 * total / total.sum()
            rows.append(np.log((counts + prior) / (counts.sum() + 2000.0)) - np.log(total / total.sum()))
        self.affinity = np.stack(rows)  # (subjects, vocab)

    def ranks(self, poems: Sequence[Lines], subjects: Sequence[int]) -> list[int]:
        """Return the rank, from 1, of each poem's own subject among all by what its characters say."""
        result = []
        for poem, subject in zip(poems, subjects, strict=True):
            scores = self.affinity[:, self.vocab.encode("".join(poem))].mean(axis=1)
            result.append(int((scores > scores[subject]).sum()) + 1)
        return result


def subject_words(
    subjects: Sequence[str], titles: Sequence[str], texts: Sequence[str], most: int = 8
) -> dict[str, list[str]]:
    """Return for each subject the characters that tell of it: in many poems under such titles, in few others.

    Args:
        subjects: What titles are searched for.
        titles: Of the training poems.
        texts: Their characters.
        most: Characters of a subject at most, those that tell most first.
    """
    sample = texts[:: max(1, len(texts) // 40_000)]
    every, count = Counter(chain.from_iterable(map(set, sample))), len(sample)
    result = {}
    for subject in subjects:
        own = [text for title, text in zip(titles, texts, strict=True) if subject in title]
        weights = {}
        for character, found in Counter(chain.from_iterable(map(set, own))).items():
            usual = (every[character] + 1) / (count + 1)
            share = (found + 5 * usual) / (len(own) + 5)
            if share >= 0.06 and share >= 3 * usual:
                weights[character] = share * np.log(share / usual)
        result[subject] = sorted(weights, key=lambda character: (-weights[character], character))[:most]
    return result


def with_words(poems: Sequence[Lines], words: Sequence[str]) -> float:
    """Return the share of poems in which one of some words stands."""
    return float(np.mean([any(word in line for word in words for line in poem) for poem in poems]))
