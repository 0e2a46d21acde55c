"""Count what verse takes for granted: `ZHSEQ_CORPORA=corpora python scripts/learn_sense.py --out checkpoints/poem`.

Read are the training poems alone. `facing.tsv` then holds the characters, and the words of two, that people set against
each other in the two middle couplets of regulated poems of eight lines. `sense.json` holds

* the characters that stand doubled at least 60 times;
* for each season, and for dawn, dusk and night, the words of one or two characters that belong to it: titles say what
  season or hour some tens of thousands of poems speak of, and a word belongs where it stands far more often than in
  the poems of the others;
* how much rarer than chance the words of two seasons or two hours meet in one regulated poem.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.poetry.forms import FORMS, LINE_MARK
from zhseq.poetry.sense import FACING_FILE, SENSE_FILE, Facing, Sense
from zhseq.recipes.poem import column
from zhseq.text.normalize import codepoints, from_codepoints, is_han, normalize

Ints = npt.NDArray[np.int64]

DOUBLED = 60
"""Times that a doubling has to be seen."""
SHARES = {1: 0.62, 2: 0.66}
"""Share of a word, by its characters, that must lie in one season if each season had as many poems."""
MIN_POEMS = 20
"""Poems with a season or hour in their title that must hold a word."""
SHRINK = 100
"""Poems of the mean rate that are added to each season: what was hardly seen says hardly anything."""
SEASONS = {"春": "春", "夏": "夏", "秋": "秋", "冬": "冬"}
HOURS = {
    "晓": "[晓晨曙]|早[行起发朝]",
    "暮": "晚(?![年春夏秋冬岁唐菘])|暮(?![春夏秋冬年岁])|薄暮|夕阳",
    "夜": "夜|宵",
}
"""What in a title tells season or hour."""
NO_SEASON = re.compile(
    "春秋|[长宜寿富永留阳麻庆]春|春[官坊申卿闱]|千秋|秋千|秋[浦曹官瑾胡]|[园楼陵堂宫都]春|探春令|夏[侯口]|[江西]夏|冬青"
)
"""Names of places, people, offices and tunes."""
NO_HOUR = re.compile("[除元七九上]夕|[除元]夜|上元夜|灯夜|今夕|元宵|春晚|秋晚|岁晚|晓[莺庵]|[春秋岁]暮")
"""Feasts, which have words of their own, and the late part of a season or year."""
FACED = {1: 8, 2: 5}
"""Times that two characters, or two words of two, must have faced each other."""
FACING_FORMS = {"五律": 5, "七律": 7}
_SHIFT = 21  # bits of a code point
_FAR = 0.05  # pairs that meet about as often as chance has it are no contradiction


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, write the file and say what it holds."""
    parser = argparse.ArgumentParser(description="Count doublings and the words of seasons and hours in verse.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"where {SENSE_FILE} is written")
    options = parser.parse_args(arguments)
    poems = select_split(load_poems(), "train")
    sense, facing = learn(poems), learn_facing(poems)
    options.out.mkdir(parents=True, exist_ok=True)
    sense.save(options.out)
    facing.save(options.out)
    sizes = ", ".join(f"{name} {len(words)}" for name, words in sense.words.items())
    print(f"{len(sense.doublings)} doublings; words: {sizes}; in {options.out / SENSE_FILE}")
    for pair, nats in sense.apart.items():
        print(f"{pair[0]} and {pair[1]} meet {np.exp(-nats):.2f} times as often as chance has it")
    ones = sum(len(others) for word, others in facing.counts.items() if len(word) == 1) // 2
    twos = sum(len(others) for word, others in facing.counts.items() if len(word) == 2) // 2
    print(f"{ones} pairs of facing characters, {twos} of facing words; in {options.out / FACING_FILE}")
    return 0


def learn(poems: Any) -> Sense:
    """Count in the poems of a dataset as `zhseq.corpus.load_poems` returns it."""
    texts = [normalize(text) for text in column(poems, "lines", joined_by=LINE_MARK)]
    titles = [normalize(title) for title in column(poems, "title")]
    points = codepoints("".join(texts)).astype(np.int64)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    han = is_han(points.astype(np.uint32))
    words: dict[str, tuple[str, ...]] = {}
    apart: dict[str, float] = {}
    forms = np.array(column(poems, "form"))
    for names, fillers in ((SEASONS, NO_SEASON), (HOURS, NO_HOUR)):
        labels = label(titles, names, fillers)
        listed = belonging(points, owner, han, labels, list(names))
        words |= listed
        apart |= keep_apart(texts, forms, listed)
    return Sense(doublings(points, owner, han), words, apart)


def learn_facing(poems: Any) -> Facing:
    """Count in the poems of a dataset which words face each other in the third to sixth line of eight.

    A line is read as words of two characters at its even places, but for the last three characters, in which a word
    stands first or last: both are counted, and what was no word hardly returns.
    """
    forms = np.array(column(poems, "form"))
    texts = column(poems, "lines", joined_by=LINE_MARK)
    counted: list[tuple[Ints, Ints]] = []
    for form, length in FACING_FORMS.items():
        wanted = [normalize(texts[row]).split(LINE_MARK) for row in np.flatnonzero(forms == form).tolist()]
        couplets = [lines[n : n + 2] for lines in wanted for n in (2, 4) if set(map(len, lines)) == {length}]
        if couplets:
            points = codepoints("".join(upper + lower for upper, lower in couplets)).astype(np.int64)
            upper, lower = points.reshape(-1, 2, length).transpose(1, 0, 2)
            counted.append((upper, lower))
    pairs: list[tuple[str, str, int]] = []
    uses: dict[str, int] = {}
    total = {1: 0, 2: 0}
    for size in total if counted else ():
        both = [np.stack([_words(upper, size), _words(lower, size)]) for upper, lower in counted]
        found, used, total[size] = _facing_pairs(np.concatenate(both, axis=1), FACED[size])
        pairs += found
        uses |= used
    counts: dict[str, dict[str, int]] = {word: {} for word in uses}
    for one, other, count in pairs:
        counts[one][other] = counts[other][one] = count
    return Facing(counts, uses, total)


def _words(lines: Ints, size: int) -> Ints:
    """Return the words of lines of one length, (lines, length), as keys, one after the other."""
    if size == 1:
        return lines.ravel()
    length = lines.shape[1]
    begins = [*range(0, length - 3, 2), length - 3, length - 2]
    return np.concatenate([(lines[:, begin] << _SHIFT) | lines[:, begin + 1] for begin in begins])


def _facing_pairs(keys: Ints, needed: int) -> tuple[list[tuple[str, str, int]], dict[str, int], int]:
    """Return the pairs that face each other often and oftener than by chance, the uses of their words, and all pairs.

    Args:
        keys: Words that face each other, (2, pairs).
        needed: Times.
    """
    words, inverse = np.unique(keys, return_inverse=True)
    inverse = inverse.reshape(keys.shape)
    used = np.bincount(inverse.ravel(), minlength=len(words))
    one, other = inverse.min(axis=0), inverse.max(axis=0)
    codes, counts = np.unique(one * np.int64(len(words)) + other, return_counts=True)
    one, other = codes // len(words), codes % len(words)
    chance = used[one] * used[other] / (2.0 * keys.shape[1]) * np.where(one == other, 0.5, 1.0)
    kept = (counts >= needed) & (counts > chance)
    names = {row: _word(int(words[row])) for row in np.unique([one[kept], other[kept]]).tolist()}
    triples = zip(one[kept].tolist(), other[kept].tolist(), counts[kept].tolist(), strict=True)
    found = [(names[first], names[second], count) for first, second, count in triples]
    # A character that is no Chinese one, a gap in the text for example, faces nothing.
    han = {name for name in names.values() if is_han(codepoints(name)).all()}
    found = [pair for pair in found if pair[0] in han and pair[1] in han]
    return found, {name: int(used[row]) for row, name in names.items() if name in han}, keys.shape[1]


def doublings(points: Ints, owner: Ints, han: npt.NDArray[np.bool_]) -> str:
    """Return the characters that follow themselves within a line at least `DOUBLED` times, the commonest first."""
    twice = points[1:][(points[1:] == points[:-1]) & (owner[1:] == owner[:-1]) & han[1:]]
    found, counts = np.unique(twice, return_counts=True)
    order = np.lexsort((found, -counts))
    return from_codepoints(found[order][counts[order] >= DOUBLED].astype(np.uint32))


def label(titles: Sequence[str], names: dict[str, str], fillers: re.Pattern[str]) -> Ints:
    """Return the number of the one season or hour that each title names, or -1."""
    patterns = [re.compile(pattern) for pattern in names.values()]
    result = np.full(len(titles), -1)
    for row, title in enumerate(titles):
        rest = fillers.sub("", title)
        found = [number for number, pattern in enumerate(patterns) if pattern.search(rest)]
        if len(found) == 1:
            result[row] = found[0]
    return result


def belonging(
    points: Ints, owner: Ints, han: npt.NDArray[np.bool_], labels: Ints, names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the words that belong to each season or hour, the commonest first.

    Args:
        points: Code points of all poems, one after the other, (characters,).
        owner: The poem of each, (characters,).
        han: Whether each is a Chinese character; others part lines, (characters,).
        labels: Season or hour of each poem, or -1, (poems,).
        names: What the labels stand for.
    """
    told = labels[owner] >= 0
    one = told & han
    two = told[:-1] & han[:-1] & han[1:] & (owner[:-1] == owner[1:])
    keys = np.concatenate([points[one], (points[:-1][two] << _SHIFT) | points[1:][two]])
    where = np.concatenate([owner[one], owner[:-1][two]])
    listed, column_of = np.unique(keys, return_inverse=True)
    # A word counts once for each poem.
    pairs = np.unique(where * np.int64(len(listed)) + column_of)
    counts = np.zeros((len(names), len(listed)))
    np.add.at(counts, (labels[pairs // len(listed)], pairs % len(listed)), 1.0)
    poems = np.bincount(labels[labels >= 0], minlength=len(names)).astype(float)
    mean = counts.sum(axis=0) / poems.sum()
    rates = (counts + SHRINK * mean) / (poems + SHRINK)[:, None]
    shares = rates / rates.sum(axis=0)
    needed = np.where(listed >> _SHIFT > 0, SHARES[2], SHARES[1])
    kept = (shares.max(axis=0) >= needed) & (counts.sum(axis=0) >= MIN_POEMS)
    result = {}
    for number, name in enumerate(names):
        rows = np.flatnonzero(kept & (shares.argmax(axis=0) == number))
        rows = rows[np.argsort(-counts.sum(axis=0)[rows], kind="stable")]
        result[name] = tuple(_word(key) for key in listed[rows].tolist())
    return result


def keep_apart(
    texts: Sequence[str], forms: npt.NDArray[np.str_], words: dict[str, tuple[str, ...]]
) -> dict[str, float]:
    """Return the pairs that meet less than chance has it in regulated poems, and by how many nats.

    What chance has is reckoned form by form, since long poems hold more of everything.
    """
    sense = Sense("", words)
    both: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    pairs = [first + second for first, second in combinations(words, 2)]
    for form in FORMS:
        rows = [sense.times(texts[row].split(LINE_MARK)) for row in np.flatnonzero(forms == form).tolist()]
        holds = {name: np.array([name in row for row in rows], dtype=bool) for name in words}
        for pair in pairs if rows else ():
            both[pair] += int((holds[pair[0]] & holds[pair[1]]).sum())
            expected[pair] += float(holds[pair[0]].mean() * holds[pair[1]].sum())
    rare = [pair for pair in pairs if both[pair] < expected[pair] * (1 - _FAR)]
    return {pair: float(np.log(expected[pair] / max(both[pair], 1))) for pair in rare}


def _word(key: int) -> str:
    return (chr(key >> _SHIFT) if key >> _SHIFT else "") + chr(key & ((1 << _SHIFT) - 1))


if __name__ == "__main__":
    run_main(main)
