"""Count what verse takes for granted: `ZHSEQ_CORPORA=corpora python scripts/learn_sense.py --out checkpoints/poem`.

Read are the training poems alone. `sense.json` then holds

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
from zhseq.poetry.sense import SENSE_FILE, Sense
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
_SHIFT = 21  # bits of a code point
_FAR = 0.05  # pairs that meet about as often as chance has it are no contradiction


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, write the file and say what it holds."""
    parser = argparse.ArgumentParser(description="Count doublings and the words of seasons and hours in verse.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"where {SENSE_FILE} is written")
    options = parser.parse_args(arguments)
    sense = learn(select_split(load_poems(), "train"))
    options.out.mkdir(parents=True, exist_ok=True)
    sense.save(options.out)
    sizes = ", ".join(f"{name} {len(words)}" for name, words in sense.words.items())
    print(f"{len(sense.doublings)} doublings; words: {sizes}; in {options.out / SENSE_FILE}")
    for pair, nats in sense.apart.items():
        print(f"{pair[0]} and {pair[1]} meet {np.exp(-nats):.2f} times as often as chance has it")
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
