"""Learn rhyme groups from verse: cut it into segments that should rhyme, cluster their words, refine by a mixture.

Words are merged while they meet more often than by chance, and groups are split whose halves shun each other. In the
mixture each poem draws one group and the group draws the rhyme words. It also finds the second readings: a word belongs
to a further group when it turns up among that group's words much more often than the other words of its own group do,
which only stray there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhseq.errors import CorpusError
from zhseq.poetry.prosody.patterns import CI, FORM_SHAPES
from zhseq.poetry.prosody.verse_table import VerseTable, windows

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

# Segments: rhyme words that should rhyme with each other.
WIDTH = 4
"""Words in a segment; a longer run is cut, which limits the effect of a change of rhyme within it."""
OLD_FORMS = ("五言", "七言", *FORM_SHAPES)
"""Verse in which the even lines rhyme; oblique rhymes are found in all of it."""
STOPS = "。！？；"
"""Marks behind the rhyming lines of ci."""
_CAN_BE_LEVEL = 0.15

# Clusters: the first guess of the groups.
_RARE = 5.0  # meetings by chance that are added to the expected ones, so that single meetings count for little
_SMALLEST = 6  # words that each half of a group must have
_DIRECTIONS = 6  # eigenvectors looked at: a small group inside a large one need not show in the first
_LEAST_MEETINGS = 500  # meetings that each half must have, for its affinity to be more than an accident

# The mixture.
_STRAY = 0.01  # share of rhyme words that have nothing to do with the group of their poem
_POSTERIOR = 0.95  # the rest of a poem must point to one group so surely before a word of it is counted
_READING = 0.3  # and each other word must have this share of its uses in that group
_ENOUGH = 20  # a word with so many strict counts is judged by them, others by all segments
_PURE = 3  # words in a strict segment
_SECOND_SHARE, _SECOND_COUNT, _SECOND_RATIO = 0.05, 3.0, 8.0  # what makes a second reading: share, count, x stray rate
_FLOOR = 0.003  # least stray rate, for groups between which nothing was seen to stray
_CERTAIN_COUNT = 30.0
_FEWEST = 4  # certain members of a group; one with fewer is an accident, of poems written to another's rhymes mostly
_CERTAIN_SHARE = 0.8
_TEMPER, _SUREST = 0.5, 30.0  # words of one poem are no independent witnesses; bounds of logarithms of odds
_MOST_MIXED = 0.5  # how often two kinds of words may meet, as a share of how often each meets itself
# What proves a reading: uses among certain words, share of them in one group, and share of all uses anywhere.
_GUEST_COUNT, _GUEST_SHARE, _GUEST_RATE = 5, 0.8, 0.0005


def cooccurrences(segments: Ids, size: int) -> Floats:
    """Count how often two different words occur in one segment.

    Args:
        segments: Rhyme words that should rhyme with each other, shape (segments, width), -1 where there is none.
        size: Only words below this number are counted.

    Returns:
        Symmetric, shape (size, size), with an empty diagonal.
    """
    counts = np.zeros(size * size)
    width = segments.shape[1]
    for left in range(width):
        for right in range(left + 1, width):
            first, second = segments[:, left], segments[:, right]
            both = (first >= 0) & (second >= 0) & (first < size) & (second < size) & (first != second)
            counts += np.bincount(first[both] * size + second[both], minlength=size * size)
    square = counts.reshape(size, size)
    return np.asarray(square + square.T)


def merge(counts: Floats, threshold: float) -> list[Ids]:
    """Merge words and groups, always the two that meet most often for their size.

    Args:
        counts: See `meetings`.
        threshold: Two groups are merged while they meet so many times as often as by chance (pointwise mutual
            information above its logarithm).

    Returns:
        The words of each group.
    """
    size = len(counts)
    joint, weight, label = counts.copy(), counts.sum(axis=1) + 1e-9, np.arange(size)
    total = weight.sum()
    alive = np.ones(size, dtype=bool)
    ratio = joint / (np.outer(weight, weight) / total + _RARE)
    np.fill_diagonal(ratio, -1)
    while size > 1:
        kept, gone = divmod(int(ratio.argmax()), size)
        if ratio[kept, gone] < threshold:
            break
        joint[kept] += joint[gone]
        joint[:, kept] += joint[:, gone]
        weight[kept] += weight[gone]
        alive[gone] = False
        label[label == gone] = kept
        ratio[gone] = ratio[:, gone] = -1
        row = np.where(alive, joint[kept] / (weight[kept] * weight / total + _RARE), -1)
        row[kept] = -1
        ratio[kept] = ratio[:, kept] = row
    return [np.flatnonzero(label == group) for group in np.unique(label)]


def split(counts: Floats, groups: list[Ids], threshold: float) -> list[Ids]:
    """Cut groups in two as long as their halves shun each other.

    Args:
        counts: See `meetings`.
        groups: See `merge`.
        threshold: Halves with an affinity below it are parted. The affinity is how often words of both halves meet,
            divided by how often words of one half do: near 1 for halves of one group, 0 if they never meet.
    """
    waiting, done = list(groups), []
    while waiting:
        group = waiting.pop()
        value, order, size = _best_cut(counts[np.ix_(group, group)])
        if value < threshold:
            waiting += [group[order[:size]], group[order[size:]]]
        else:
            done.append(group)
    return done


def _best_cut(inside: Floats) -> tuple[float, Ids, int]:
    """Find the cut of a group into halves of the least affinity.

    Words are lined up along each of the leading eigenvectors of their surplus of meetings, and every cut is tried.

    Returns:
        Affinity of the halves, the order of the words, and how many of them are in the first half.
    """
    best = (1.0, np.arange(len(inside)), 0)
    if len(inside) < 2 * _SMALLEST:
        return best
    weight = inside.sum(axis=1) + 1e-9
    surplus = (inside - np.outer(weight, weight) / weight.sum()) / np.sqrt(np.outer(weight, weight))
    np.fill_diagonal(surplus, 0)
    for vector in np.linalg.eigh(surplus)[1].T[-_DIRECTIONS:]:
        order = np.argsort(vector / np.sqrt(weight))
        values = _cut_affinities(inside[np.ix_(order, order)])
        size = int(values.argmin())
        if values[size] < best[0]:
            best = (float(values[size]), order, size)
    return best


def _cut_affinities(ordered: Floats) -> Floats:
    """Return the affinity of the first k words and the others for each k, shape (words,); infinite for small halves."""
    weight = ordered.sum(axis=1)
    first = np.concatenate([[0.0], np.cumsum(weight)])[:-1]
    squares = np.concatenate([[0.0], np.cumsum(weight**2)])[:-1]  # a word does not meet itself
    inner = np.concatenate([[0.0], np.cumsum(2 * np.tril(ordered, -1).sum(axis=1))])[:-1]
    last, between = weight.sum() - first, first - inner
    outer = weight.sum() - inner - 2 * between
    own = np.maximum(first**2 - squares, 1e-9), np.maximum(last**2 - ((weight**2).sum() - squares), 1e-9)
    inside = np.maximum(inner / own[0] * outer / own[1], 1e-30)
    values = between / np.maximum(first * last, 1e-9) / np.sqrt(inside)
    number = np.arange(len(ordered))
    small = (number < _SMALLEST) | (len(ordered) - number < _SMALLEST)
    small |= (first < _LEAST_MEETINGS) | (last < _LEAST_MEETINGS)
    return np.where(small, np.inf, values)


def level_segments(table: VerseTable, level: Floats) -> Ids:
    """Return the even line ends of the regulated poems that rhyme on level tones, shape (segments, 4), padded with -1.

    Args:
        table: Poems.
        level: Probability of a level tone of each character.
    """
    ends = even_ends(table)
    can_be_level = np.append(level > _CAN_BE_LEVEL, True)  # the last one is for absent words
    return ends[can_be_level[ends].all(axis=1)]


def even_ends(table: VerseTable) -> Ids:
    """Return the even line ends of all regulated poems, shape (poems, 4), padded with -1."""
    parts = []
    for form, poems in table.regulated().items():
        lines, length = FORM_SHAPES[form]
        ends = poems.reshape(-1, lines, length)[:, 1::2, -1]
        parts.append(np.pad(ends, ((0, 0), (0, WIDTH - ends.shape[1])), constant_values=-1))
    return np.concatenate(parts)


def oblique_segments(table: VerseTable, level: Floats) -> Ids:
    """Return runs of oblique rhyme words: even lines of old and regulated verse, closed lines of ci.

    Args:
        table: Poems.
        level: Probability of a level tone of each character.
    """
    lyric = table.select(table.forms == CI)
    return np.concatenate([old_oblique_runs(table, level), _runs(lyric, closed(lyric), level < 0.5)])


def old_oblique_runs(table: VerseTable, level: Floats) -> Ids:
    """Return runs of oblique rhyme words of old and regulated verse alone, in which rising and departing tones part."""
    old = table.select(np.isin(table.forms, OLD_FORMS))
    return _runs(old, old.line_number % 2 == 1, level < 0.5)


def split_in_two(counts: Floats, prior: Floats, rounds: int = 30) -> tuple[Floats, Floats]:
    """Split words into two classes that avoid each other, from an initial guess that is right for most of them.

    Args:
        counts: See `meetings`.
        prior: Odds of the first kind before anything is known, as logarithms, shape (words,); some of both signs.
        rounds: Each goes by the kinds that the one before found.

    Returns:
        Probability of the first kind, and the share of both kinds that a word's meetings speak of: 1 for a word of the
        first kind, 0 for one of the second, between them for one that is both. Both of shape (words,).
    """
    met = counts.sum(axis=1)
    first = 1 / (1 + np.exp(-prior))
    for _ in range(rounds):
        with_first = counts @ first
        inside = (first @ with_first) / max(float(first @ met), 1e-9)  # share of first words that first words meet
        outside = ((1 - first) @ with_first) / max(float((1 - first) @ met), 1e-9)
        inside, outside = np.clip([inside, outside], 1e-3, 1 - 1e-3)
        odds = with_first * np.log(inside / outside) + (met - with_first) * np.log((1 - inside) / (1 - outside))
        first = 1 / (1 + np.exp(-np.clip(_TEMPER * odds + prior, -_SUREST, _SUREST)))
    share = (with_first / np.maximum(met, 1e-9) - outside) / max(float(inside - outside), 1e-3)
    return np.asarray(first), np.asarray(np.clip(share, 0, 1))


def cluster_by_seeds(counts: Floats, known: Ids, number: int, rounds: int = 10) -> Floats:
    """Cluster words by the classes of the words they co-occur with, from some known words of each class.

    In each round the rates at which the kinds meet each other are counted, and each word is given the kind whose rates
    its meetings fit. Two kinds are held to meet at most half as often, for their size, as each meets itself: without
    that bound two kinds that poets mix would change places.

    Args:
        counts: See `meetings`.
        known: Kind of each known word, -1 for the others, shape (words,).
        number: How many kinds there are.
        rounds: Rounds of estimation.

    Returns:
        Probability of each kind, shape (words, kinds); 0 for words that meet none.
    """
    given = np.zeros((len(counts), number))
    given[known >= 0, known[known >= 0]] = 1
    kinds = given
    for _ in range(rounds):
        met = counts @ kinds
        together = kinds.T @ met
        weight = together.sum(axis=1)
        expected = np.outer(weight, weight) / max(float(weight.sum()), 1e-9)
        ratio = (together + 0.5) / (expected + _RARE)
        bound = _MOST_MIXED * np.sqrt(np.outer(np.diag(ratio), np.diag(ratio)))
        np.fill_diagonal(bound, np.inf)
        rates = np.minimum(ratio, bound) * (weight + _RARE)
        logs = _TEMPER * (met @ np.log(rates / rates.sum(axis=1, keepdims=True)).T)
        kinds = np.where((known >= 0)[:, None], given, _posterior(logs))
        kinds = np.where(met.sum(axis=1, keepdims=True) > 0, kinds, 0)
    return np.asarray(kinds)


def rhyming_ends_of_ci(table: VerseTable) -> Ids:
    """Return runs of words of either tone at the rhyming lines of ci, as `level_runs` does for level ones."""
    lyric = table.select(table.forms == CI)
    return _runs(lyric, closed(lyric), np.ones(len(table.characters), dtype=bool))


def level_runs(table: VerseTable, level: Floats) -> Ids:
    """Return runs of level rhyme words at the closed lines of ci, as `oblique_segments` does of oblique ones."""
    lyric = table.select(table.forms == CI)
    return _runs(lyric, closed(lyric), level > 0.5)


def closed(table: VerseTable) -> npt.NDArray[np.bool_]:
    """Tell which lines end with a mark that closes a sentence, shape (lines,)."""
    return np.isin(table.marks, [ord(mark) for mark in STOPS])


def _runs(table: VerseTable, rhyming: npt.NDArray[np.bool_], wanted: npt.NDArray[np.bool_]) -> Ids:
    """Return segments of neighbouring rhyme words of the wanted tone inside one poem."""
    words, poems = table.ends[rhyming], table.poem_of[rhyming]
    fits = wanted[words]
    new = np.ones(len(words), dtype=bool)
    new[1:] = (poems[1:] != poems[:-1]) | (fits[1:] != fits[:-1])
    runs = np.cumsum(new)
    return windows(words[fits], runs[fits], WIDTH)


@dataclass(frozen=True)
class ClusterSettings:
    """Thresholds of the clustering."""

    min_count: int
    """Rarer words are left to the mixture."""
    merge_above: float
    """Ratio to chance; see `merge`."""
    split_below: float
    """Affinity; see `split`."""
    smallest: int
    """Segments' words in a group; smaller groups are dropped, their words left to the mixture."""


@dataclass(frozen=True)
class Rhymes:
    """Rhyme groups of words.

    Attributes:
        counts: Uses of each word in each group, shape (words, groups).
        members: Which words have a reading in which group, shape (words, groups).
        certain: The members of one reading and ample evidence, shape (words, groups).
        strays: How often words of one group stray into another's poems, shape (groups, groups), rows sum to 1.
    """

    counts: Floats
    members: Booleans
    certain: Booleans
    strays: Floats


def learn(segments: Ids, size: int, settings: ClusterSettings) -> Rhymes:
    """Find the groups and their members.

    Args:
        segments: Words that should rhyme with each other, shape (segments, width), -1 where there is none; each
            segment has at least two words.
        size: Number of different words.
        settings: How fine the groups come out.

    Raises:
        CorpusError: There are too few segments to find any group.
    """
    uses = np.bincount(segments[segments >= 0], minlength=size)
    order = np.argsort(-uses, kind="stable")
    rank = np.empty(size + 1, dtype=np.int64)
    rank[order], rank[-1] = np.arange(size), -1
    ranked = rank[segments]
    together = cooccurrences(ranked, int((uses >= settings.min_count).sum()))
    groups = split(together, merge(together, settings.merge_above), settings.split_below)
    groups = [order[group] for group in groups]
    groups = sorted((g for g in groups if uses[g].sum() >= settings.smallest), key=lambda g: -int(uses[g].sum()))
    if not groups:
        raise CorpusError("too_few_rhymes", "too few poems rhyme to learn rhyme groups from them; give more poems")
    start = np.full((size, len(groups)), 1e-2)
    for index, group in enumerate(groups):
        start[group, index] += uses[group]
    while True:
        found = _members(segments, *mixture(segments, start))
        firm = found.certain.sum(axis=0) >= _FEWEST
        if firm.all() or not firm.any():
            return found
        start = start[:, firm]


def line_end_readings(segments: Ids, certain: Booleans, uses: Ids) -> Booleans:
    """Find readings that occur at line ends only: words that rhyme with a group without other evidence.

    Counted are segments in which all other words are certain members of one group. A copyist's slip puts any word
    there once; the same word in the same company time and again has a reading that rhymes (不 among 秋 and 流).

    Args:
        segments: As in `learn`, of poems that were not chosen by the tones of their words.
        certain: Certain members, shape (words, groups).
        uses: How often each word stands anywhere, shape (words,).

    Returns:
        Readings, shape (words, groups), those of the certain members among them.
    """
    home = np.append(np.where(certain.any(axis=1), certain.argmax(axis=1), -1), -1)
    whole = segments[(segments >= 0).all(axis=1)]
    counts = np.zeros(certain.shape)
    for position in range(whole.shape[1]):
        others = home[np.delete(whole, position, axis=1)]
        agreed = (others >= 0).all(axis=1) & (others == others[:, :1]).all(axis=1)
        np.add.at(counts, (whole[agreed, position], others[agreed, 0]), 1)
    needed = np.maximum(_GUEST_COUNT, _GUEST_RATE * uses)[:, None]
    return np.asarray((counts >= needed) & (_shares(counts) >= _GUEST_SHARE))


def mixture(segments: Ids, start: Floats, rounds: int = 25) -> tuple[Floats, Floats, Floats]:
    """Fit the mixture by expectation-maximisation.

    Args:
        segments: As in `learn`.
        start: First guess of the uses of each word in each group, shape (words, groups).
        rounds: Passes over the segments.

    Returns:
        Uses of each word in each group and probability of each word in its group, both (words, groups), and the
        share of the segments of each group, (groups,).
    """
    size, number = start.shape
    uses = np.bincount(segments[segments >= 0], minlength=size) / max(int((segments >= 0).sum()), 1)
    words, weights = start / start.sum(axis=0), np.full(number, 1 / number)
    for _ in range(rounds):
        mixed = _mixed(words, uses)
        posterior = _posterior(np.log(weights) + _log_words(mixed)[segments].sum(axis=1))
        weights = (posterior.sum(axis=0) + 1) / (len(segments) + number)
        counts = np.zeros((size, number))
        for column in segments.T:
            there = column >= 0
            for group in range(number):
                counts[:, group] += np.bincount(column[there], posterior[there, group], size)
        kept = counts * (1 - _STRAY) * words / mixed + 1e-4
        words = kept / kept.sum(axis=0)
    return counts, words, weights


def _mixed(words: Floats, uses: Floats) -> Floats:
    return np.asarray((1 - _STRAY) * words + _STRAY * uses[:, None] + 1e-12)


def _log_words(mixed: Floats) -> npt.NDArray[np.float32]:
    """Return logarithms with one more row of zeros, which the absent words (-1) of a segment pick."""
    return np.vstack([np.log(mixed), np.zeros((1, mixed.shape[1]))]).astype(np.float32)


def _posterior(logs: npt.NDArray[np.floating]) -> Floats:
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _members(segments: Ids, counts: Floats, words: Floats, weights: Floats) -> Rhymes:
    """Assign words to groups from the fitted mixture."""
    shares = _shares(counts)
    sizes = (segments >= 0).sum(axis=1)
    strict = _held_out_counts(segments[sizes >= _PURE], shares, words, weights)
    loose = _held_out_counts(segments, shares, words, weights)
    seen = np.where((strict.sum(axis=1) >= _ENOUGH)[:, None], strict, loose)
    seen = np.where((seen.sum(axis=1) > 0)[:, None], seen, counts)
    shares, home = _shares(seen), seen.argmax(axis=1)
    strays = _secondary_rates(seen, shares, home)
    ratio = shares / (strays[home] + _FLOOR)
    members = (shares >= _SECOND_SHARE) & (seen >= _SECOND_COUNT) & (ratio >= _SECOND_RATIO)
    members[np.arange(len(home)), home] = seen.sum(axis=1) > 0
    alone = (members.sum(axis=1) == 1) & (counts.sum(axis=1) >= _CERTAIN_COUNT)
    alone &= shares.max(axis=1) >= _CERTAIN_SHARE
    return Rhymes(counts, members, members & alone[:, None], strays)


def _held_out_counts(segments: Ids, shares: Floats, words: Floats, weights: Floats) -> Floats:
    """Count each word for the group to which the other words of its segment point, shape (words, groups)."""
    size, number = words.shape
    uses = np.bincount(segments[segments >= 0], minlength=size) / max(int((segments >= 0).sum()), 1)
    logs = _log_words(_mixed(words, uses))
    padded = np.vstack([shares, np.ones((1, number))])
    whole = np.log(weights).astype(np.float32) + logs[segments].sum(axis=1)
    counts = np.zeros((size, number))
    for position in range(segments.shape[1]):
        posterior = _posterior(whole - logs[segments[:, position]])
        group = posterior.argmax(axis=1)
        sure = (segments[:, position] >= 0) & (posterior.max(axis=1) > _POSTERIOR)
        for other in range(segments.shape[1]):
            if other != position:
                sure &= padded[segments[:, other], group] > _READING
        np.add.at(counts, (segments[sure, position], group[sure]), 1)
    return counts


def _secondary_rates(seen: Floats, shares: Floats, home: Ids) -> Floats:
    """Return the share of uses that a typical word of one group has in another, shape (groups, groups)."""
    number = seen.shape[1]
    rates = np.eye(number)
    for group in range(number):
        usual = (home == group) & (seen.sum(axis=1) >= 5 * _ENOUGH)
        if usual.any():
            rates[group] = np.median(shares[usual], axis=0)
    return rates


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9))
