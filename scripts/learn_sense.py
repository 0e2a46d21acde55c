"""Count what verse takes for granted: `ZHSEQ_CORPORA=corpora python scripts/learn_sense.py --out checkpoints/poem`.

Read are the training poems alone. `facing.tsv` then holds the characters, and the words of two, that people set against
each other in the two middle couplets of regulated poems of eight lines; `subjects.tsv` the words of titles, and the
characters that poems under such titles have far oftener than others. `sense.json` holds

* the characters that stand doubled at least 60 times;
* for each season, for dawn, dusk and night, and for fair weather, rain and snow, the words of one or two characters
  that belong to it: titles say what season, hour or weather some tens of thousands of poems speak of, and a word
  belongs where it stands far more often than in the poems of the others of its kind;
* how much rarer than chance words of the one are followed by words of the other in one regulated poem, in this order;
* for well-known authors whom the model does not know by name, the characters that they write oftener than others of
  their time, and the author known to it who writes most like them;
* the lines of tunes that are cut after their first character (领字), and the characters that lead them.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.poetry.forms import FORMS, LINE_MARK
from zhseq.poetry.network import VOCAB_FILE
from zhseq.poetry.prosody import Prosody
from zhseq.poetry.sense import (
    FACING_FILE,
    SENSE_FILE,
    SUBJECTS_FILE,
    Facing,
    Manner,
    Sense,
    Subject,
    Subjects,
)
from zhseq.poetry.wishes import control_values
from zhseq.recipes.poem import column
from zhseq.text.normalize import codepoints, from_codepoints, is_han, normalize
from zhseq.text.vocab import Vocab

Ints = npt.NDArray[np.int64]

DOUBLED = 60
"""Times that a doubling has to be seen."""
NO_WEATHER = re.compile(
    "晴[川岩峰溪山]|[雨]花[台岩]|谷雨|雨水|[听喜苦]雨[轩楼亭斋堂]|雨[村岩峰亭窗山]|[时旧今]雨|"
    "雪[堂窗庵峰岩坡涧舟矶山洲湖蓬溪坞]|[映立]雪|香雪|[白阳春]雪[楼歌]|[阳][春]白雪"
)
"""Names of places, people and tunes."""
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
TELLING = {"秋": ("菊", "枫"), "冬": ("雪",)}
"""What tells a season without a title's word: poets see snow in other seasons, too, but a reader is not to wonder."""
UNMIXED = {"春冬": 0.3, "冬春": 0.3, "夏秋": 0.2}
"""Nats at least for pairs that poets set together as often as chance has it, for the same reason."""
WEATHER = {"晴": "晴|霁", "雨": "雨", "雪": "雪"}
"""What in a title tells season, hour or weather."""
NO_SEASON = re.compile(
    "春秋|[长宜寿富永留阳麻庆]春|春[官坊申卿闱]|千秋|秋千|秋[浦曹官瑾胡]|[园楼陵堂宫都]春|探春令|夏[侯口]|[江西]夏|冬青"
)
"""Names of places, people, offices and tunes."""
NO_HOUR = re.compile("[除元七九上]夕|[除元]夜|上元夜|灯夜|今夕|元宵|春晚|秋晚|岁晚|晓[莺庵]|[春秋岁]暮")
"""Feasts, which have words of their own, and the late part of a season or year."""
_AUTHORS = """
李清照 陶渊明 李煜 曹操 曹植 阮籍 屈原 李世民 贺知章 崔颢 张继 薛涛 鱼玄机 常建 冯延巳 叶绍翁
蒋捷 王沂孙 程颢 张养浩 陈子龙 吴伟业 朱彝尊 王国维
"""
AUTHORS = tuple(_AUTHORS.split())
"""Well-known authors of whom there are too few poems to be among those the model knows by name, but twenty or more."""
OTHER_NAMES = {"陶潜": "陶渊明"}
"""Names under which the corpora hold more of their poems."""
MANNER_PRIOR, MANNER_USES, MANNER_NATS, MANNER_WORDS = 2000.0, 4, 0.3, 150
"""Characters of their time added to those of an author; uses and nats that tell; characters listed."""
SUBJECT_TITLES, SUBJECT_SAMPLE = 60, 400
"""Titles that must hold a word, and poems under them that are looked at."""
SUBJECT_SHARE, SUBJECT_LIFT, SUBJECT_CHARACTERS = 0.06, 3.0, 8
"""Share of those poems that must hold a character, how far above that of all poems, and characters listed."""
LEADING_LENGTHS, LEADING_POEMS, LEADING_NATS, LEADERS = (5, 6, 7, 8, 9), 10, 0.8, 120
"""Characters of lines that may be led, poems to their tune, nats by which the cut is heard, characters listed."""
FACED = {1: 8, 2: 5}
"""Times that two characters, or two words of two, must have faced each other."""
FACING_FORMS = {"五律": 5, "七律": 7}
_SHIFT = 21  # bits of a code point
_FAR = 0.05  # pairs that meet about as often as chance has it are no contradiction


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, write the file and say what it holds."""
    parser = argparse.ArgumentParser(description="Count doublings and the words of seasons and hours in verse.")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help=f"model directory, where {SENSE_FILE} is written"
    )
    options = parser.parse_args(arguments)
    poems = select_split(load_poems(), "train")
    facing, subjects, sense = learn_facing(poems), learn_subjects(poems), learn(poems)
    known = control_values(Vocab.load(options.out / VOCAB_FILE), "author")
    leads, leaders = learn_leads(poems, Prosody.load(options.out))
    sense = replace(sense, manners=learn_manners(poems, known), leads=leads, leaders=leaders)
    sense.save(options.out)
    facing.save(options.out)
    subjects.save(options.out)
    sizes = ", ".join(f"{name} {len(words)}" for name, words in sense.words.items())
    print(f"{len(sense.doublings)} doublings; words: {sizes}; in {options.out / SENSE_FILE}")
    for pair, nats in sense.apart.items():
        print(f"{pair[0]} and {pair[1]} meet {np.exp(-nats):.2f} times as often as chance has it")
    ones = sum(len(others) for word, others in facing.counts.items() if len(word) == 1) // 2
    twos = sum(len(others) for word, others in facing.counts.items() if len(word) == 2) // 2
    print(f"{len(subjects.words)} subjects; in {options.out / SUBJECTS_FILE}")
    for name, manner in sense.manners.items():
        print(f"{name}: {manner.poems} poems, most like {manner.near}; {''.join(list(manner.words)[:20])}")
    print(f"{sum(map(len, leads.values()))} leading characters in {len(leads)} tunes; {''.join(list(leaders)[:40])}")
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
    forms = np.array(column(poems, "form"))
    for names, fillers in ((SEASONS, NO_SEASON), (HOURS, NO_HOUR), (WEATHER, NO_WEATHER)):
        labels = label(titles, names, fillers)
        words |= belonging(points, owner, han, labels, list(names))
    for name, telling in TELLING.items():
        words[name] = (*words[name], *(word for word in telling if word not in words[name]))
    apart = keep_apart(texts, forms, words)
    apart |= {pair: max(nats, apart.get(pair, 0.0)) for pair, nats in UNMIXED.items()}
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


def learn_subjects(poems: Any) -> Subjects:
    """Count which characters tell of the words of titles, in regulated poems."""
    regulated = np.isin(np.array(column(poems, "form")), list(FORMS))
    titles, texts = (
        [normalize(value) for value, kept in zip(column(poems, name, joined_by=joined), regulated, strict=True) if kept]
        for name, joined in (("title", None), ("lines", ""))
    )
    whole = Counter(titles)
    words, poem_of, begins = _by_word(titles)
    characters, found, begin_of = _characters_by_poem(texts)
    usual = np.bincount(found, minlength=len(characters)) / max(1, len(texts))
    rng = np.random.default_rng(0)
    result: dict[str, Subject] = {}
    for row in np.argsort(-np.diff(begins), kind="stable").tolist():
        own = poem_of[begins[row] : begins[row + 1]]
        if len(own) < SUBJECT_TITLES:
            break
        sample = rng.choice(own, min(len(own), SUBJECT_SAMPLE), replace=False).tolist()
        sets = [found[begin_of[poem] : begin_of[poem + 1]] for poem in sample]
        share = (np.bincount(np.concatenate(sets), minlength=len(usual)) + 5 * usual) / (len(sample) + 5)
        telling = np.flatnonzero((share >= SUBJECT_SHARE) & (share >= SUBJECT_LIFT * usual))
        telling = telling[np.argsort(-share[telling] * np.log(share[telling] / usual[telling]), kind="stable")]
        telling = telling[:SUBJECT_CHARACTERS]
        if len(telling) > 1:
            word = _word(int(words[row]))
            holding = float(np.mean([np.isin(own_set, telling).any() for own_set in sets]))
            result[word] = Subject(len(own), whole[word], holding, from_codepoints(characters[telling]))
    return Subjects(result)


def _by_word(titles: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """Return the words of one or two characters of titles as keys; poems by word; and where those of a word begin."""
    points = codepoints("\n".join(titles)).astype(np.int64)
    poem = np.cumsum(points == ord("\n"))
    han = is_han(points.astype(np.uint32))
    two = han[:-1] & han[1:]
    keys = np.concatenate([points[han], (points[:-1][two] << _SHIFT) | points[1:][two]])
    words, inverse = np.unique(keys, return_inverse=True)
    pairs = np.unique(inverse * np.int64(len(titles)) + np.concatenate([poem[han], poem[:-1][two]]))
    begins = np.searchsorted(pairs, np.arange(len(words) + 1) * np.int64(len(titles)))
    return words, pairs % len(titles), begins


def _characters_by_poem(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], Ints, Ints]:
    """Return all characters; the different ones of each poem as rows of these; and where those of a poem begin."""
    points = codepoints("".join(texts))
    poem = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    characters, inverse = np.unique(points, return_inverse=True)
    pairs = np.unique(poem * np.int64(len(characters)) + inverse)
    return characters, pairs % len(characters), np.searchsorted(pairs, np.arange(len(texts) + 1) * len(characters))


def learn_manners(poems: Any, known: Sequence[str], authors: Sequence[str] = AUTHORS) -> dict[str, Manner]:
    """Learn how authors write that have no name in the model, against all others of their time.

    Args:
        poems: A dataset.
        known: Authors that the model knows.
        authors: Those that are learned.
    """
    names = [OTHER_NAMES.get(name, name) for name in column(poems, "author")]
    times = column(poems, "dynasty")
    texts = normalize("\n".join(column(poems, "lines", joined_by=""))).split("\n")
    written: dict[str, list[str]] = {}
    of_time: dict[str, list[str]] = {}
    lived: dict[str, Counter[str]] = {}
    for name, time, text in zip(names, times, texts, strict=True):
        written.setdefault(name, []).append(text)
        of_time.setdefault(time, []).append(text)
        lived.setdefault(name, Counter())[time] += 1
    time_of = {name: counts.most_common(1)[0][0] for name, counts in lived.items()}
    missing = [author for author in authors if author in written]
    result: dict[str, Manner] = {}
    for time in dict.fromkeys(time_of[author] for author in missing):
        usual = Counter("".join(of_time[time]))
        counts = {name: Counter("".join(written[name])) for name in (*known, *missing) if time_of.get(name) == time}
        manners = {name: _nats_above(own, usual) for name, own in counts.items()}
        others = [name for name in manners if name not in missing]
        for author in (name for name in missing if name in manners):
            nats, used = manners[author], counts[author]
            told = [c for c in nats if used[c] >= MANNER_USES and nats[c] >= MANNER_NATS]
            told = sorted(told, key=lambda c: (-used[c] * nats[c], c))[:MANNER_WORDS]
            own = {c: nats[c] for c in told}
            near = max(others, key=lambda name: (_alike(own, manners[name]), name), default="")
            result[author] = Manner(near, time, len(written[author]), own)
    return {author: result[author] for author in missing}


def learn_leads(poems: Any, prosody: Prosody) -> tuple[dict[str, tuple[int, ...]], dict[str, float]]:
    """Learn which lines of tunes are cut after their first character (领字), and which characters lead them.

    A cut is heard where two characters keep together no more than by chance: such a line is cut behind its first
    character and not behind its second, by `LEADING_NATS` on the average of the poems to the tune.
    """
    texts = column(poems, "lines", joined_by=LINE_MARK)
    together = _together(codepoints(normalize("\n".join(texts))).astype(np.int64))
    lines: dict[tuple[str, int], list[str]] = {}
    for text, called in zip(texts, column(poems, "tune"), strict=True):
        tune = prosody.tunes.get(normalize(called)) if called else None
        parts = normalize(text).split(LINE_MARK) if tune is not None else []
        if tune is not None and tuple(map(len, parts)) == tune.line_lengths:
            for number, line in enumerate(parts):
                lines.setdefault((tune.name, number), []).append(line)
    leads: dict[str, tuple[int, ...]] = {}
    first: Counter[str] = Counter()
    every = Counter("".join(chain.from_iterable(lines.values())))
    for (name, number), found in lines.items():
        if len(found[0]) not in LEADING_LENGTHS or len(found) < LEADING_POEMS:
            continue
        points = codepoints("".join(found)).astype(np.int64).reshape(len(found), -1)
        behind_first, behind_second = (together(points[:, n], points[:, n + 1]).mean() for n in (0, 1))
        if behind_second - behind_first >= LEADING_NATS:
            leads[name] = (*leads.get(name, ()), number)
            first.update(line[0] for line in found)
    nats = _nats_above(Counter({c: n for c, n in first.items() if c in every}), every) if first else {}
    leaders = {c: nats[c] for c, count in first.most_common(LEADERS) if nats[c] > 0 and count > 1}
    return leads, leaders


def _together(points: Ints) -> Callable[[Ints, Ints], npt.NDArray[np.float64]]:
    """Return what tells how much oftener than by chance characters follow each other in texts, in nats.

    Args:
        points: The texts, one after the other, parted by what is no Chinese character.
    """
    han = is_han(points.astype(np.uint32))
    ones, uses = np.unique(points[han], return_counts=True)
    two = han[:-1] & han[1:]
    pairs, counts = np.unique((points[:-1][two] << _SHIFT) | points[1:][two], return_counts=True)

    def nats(before: Ints, after: Ints) -> npt.NDArray[np.float64]:
        keys = (before << _SHIFT) | after
        index = np.searchsorted(pairs, keys).clip(max=len(pairs) - 1)
        both = np.where(pairs[index] == keys, counts[index], 0)
        one, other = (uses[np.searchsorted(ones, each).clip(max=len(ones) - 1)] for each in (before, after))
        return np.asarray(np.log((both + 0.5) / (one * other / counts.sum() + 0.5)))

    return nats


def _nats_above(own: Counter[str], usual: Counter[str]) -> dict[str, float]:
    """Return how much oftener than usual characters are, in nats, smoothed towards what is usual.

    What is used once says nothing: a use is taken off each.
    """
    usual_share = {character: usual[character] / usual.total() for character in own if usual[character]}
    size = own.total() + MANNER_PRIOR
    return {
        character: float(np.log((own[character] - 1 + MANNER_PRIOR * share) / (size * share)))
        for character, share in usual_share.items()
    }


def _alike(one: dict[str, float], other: dict[str, float]) -> float:
    """Return the cosine of two sets of nats."""
    product = sum(nats * other.get(character, 0.0) for character, nats in one.items())
    sizes = [np.sqrt(sum(nats * nats for nats in each.values())) for each in (one, other)]
    return float(product / max(sizes[0] * sizes[1], 1e-9))


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
    """Return the pairs that follow each other less than chance has it in regulated poems, and by how many nats.

    The order counts: of two that meet in one line, each is half the first. What chance has is reckoned form by form,
    since long poems hold more of everything. A word of both sides of a pair says nothing of it.
    """
    sense = Sense("", words)
    names = list(words)
    size = len(names)
    both, expected = np.zeros((size, size)), np.zeros((size, size))
    for form in FORMS:
        rows = [texts[row].split(LINE_MARK) for row in np.flatnonzero(forms == form).tolist()]
        first = np.full((len(rows), size), 99)  # the line in which each is first spoken of
        for row, lines in enumerate(rows):
            for number in range(len(lines) - 1, -1, -1):
                for name in sense.times(lines[number : number + 1]):
                    first[row, names.index(name)] = number
        held = first < 99
        for one, other in combinations(range(size), 2):
            meet = held[:, one] & held[:, other]
            before, behind = (
                (first[meet, one] < first[meet, other]).sum(),
                (first[meet, one] > first[meet, other]).sum(),
            )
            together = int(meet.sum()) - before - behind
            both[one, other] += before + together / 2
            both[other, one] += behind + together / 2
        chance = held.mean(axis=0)[:, None] * held.sum(axis=0)[None] / 2 if len(rows) else np.zeros((size, size))
        expected += chance
    nats = np.log(np.maximum(expected, 1e-9) / np.maximum(both, 1))
    rare = both < expected * (1 - _FAR)
    np.fill_diagonal(rare, False)
    return {names[one] + names[other]: float(nats[one, other]) for one, other in np.argwhere(rare).tolist()}


def _word(key: int) -> str:
    return (chr(key >> _SHIFT) if key >> _SHIFT else "") + chr(key & ((1 << _SHIFT) - 1))


if __name__ == "__main__":
    run_main(main)
