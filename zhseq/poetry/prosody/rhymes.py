"""Learn rhyme groups from verse: cut it into segments that should rhyme, cluster their words, refine by a mixture.

Words are merged while they co-occur more often than by chance, and groups are split if their halves rarely co-occur. In
the mixture model each segment draws one group and the group draws the rhyme words. The model also finds second
readings: a word belongs to another group if it occurs among that group's words much more often than the other words of
its own group, whose occurrences there are strays.
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
"""Forms of verse whose even lines rhyme, from all of which oblique rhymes are learned."""
STOPS = "。！？；"
"""Marks after the rhyming lines of ci."""
_CAN_BE_LEVEL = 0.15  # least probability of a level tone of a word in a level segment

# Clusters: the initial groups.
_RARE = 5.0  # added to the co-occurrences expected by chance, so that single ones count little
_SMALLEST = 6  # least words in each half of a group
_DIRECTIONS = 6  # eigenvectors that are tried: a small group inside a large one may not show in the first
_LEAST_MEETINGS = 500  # least co-occurrences of each half, for its affinity to be significant

# The mixture.
_STRAY = 0.01  # share of rhyme words that are unrelated to the group of their segment
_POSTERIOR = 0.95  # least posterior of a group, by the other words of a segment, for a word to be counted in it
_READING = 0.3  # least share of the uses of each other word in this group
_ENOUGH = 20  # a word with this many strict counts is assigned by them, others by all segments
_PURE = 3  # least words in a strict segment
_SECOND_SHARE, _SECOND_COUNT, _SECOND_RATIO = 0.05, 3.0, 8.0  # second reading: least share, count, multiple of strays
_FLOOR = 0.003  # added to stray rates, for groups between which no strays were seen
_CERTAIN_COUNT = 30.0  # least uses of a certain member
_FEWEST = 4  # least certain members of a group; smaller ones mostly come from poems written to another's rhymes
_CERTAIN_SHARE = 0.8  # least share of the uses of a certain member in its group
_TEMPER, _SUREST = 0.5, 30.0  # weight of log odds, as words of one poem are not independent; bound of log odds
_MOST_MIXED = 0.5  # most co-occurrences of two classes, relative to those within each
# Evidence for a reading: uses among certain words, share of them in one group, and share of all uses anywhere.
_GUEST_COUNT, _GUEST_SHARE, _GUEST_RATE = 5, 0.8, 0.0005


def cooccurrences(segments: Ids, size: int) -> Floats:
    """Count how often two different words occur in one segment.

    Args:
        segments: Rhyme words that should rhyme with each other, shape (segments, width), padded with -1.
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
    """Merge words and groups agglomeratively, always the two that co-occur most often for their size.

    Args:
        counts: See `cooccurrences`.
        threshold: Two groups are merged if they co-occur at least this many times as often as by chance (pointwise
            mutual information of at least its logarithm).

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
    """Split groups in two while their halves rarely co-occur.

    Args:
        counts: See `cooccurrences`.
        groups: See `merge`.
        threshold: Groups are split if the affinity of the halves is below it. The affinity is the rate of
            co-occurrences of words of different halves divided by that of words of the same half: near 1 for halves of
            one group, 0 if they never co-occur.
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
    """Find the cut of a group into halves with the least affinity.

    Words are sorted by each of the leading eigenvectors of their surplus of co-occurrences, and every cut is tried.

    Returns:
        Affinity of the halves, the order of the words, and the number of words in the first half.
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
    squares = np.concatenate([[0.0], np.cumsum(weight**2)])[:-1]  # a word does not co-occur with itself
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
    can_be_level = np.append(level > _CAN_BE_LEVEL, True)  # the last entry is for padding (-1)
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
    """Return runs of oblique rhyme words of old and regulated verse, which separate rising and departing tones."""
    old = table.select(np.isin(table.forms, OLD_FORMS))
    return _runs(old, old.line_number % 2 == 1, level < 0.5)


def split_in_two(counts: Floats, prior: Floats, rounds: int = 30) -> tuple[Floats, Floats]:
    """Split words into two classes that rarely co-occur, from an initial guess that is right for most of them.

    Args:
        counts: See `cooccurrences`.
        prior: Prior log odds of the first class, shape (words,); some positive and some negative.
        rounds: Rounds of estimation, each with the probabilities of the one before.

    Returns:
        Probability of the first class, and the mixture of both classes that explains a word's co-occurrences: 1 for
        the first class, 0 for the second, in between for a word of both. Both have shape (words,).
    """
    met = counts.sum(axis=1)
    first = 1 / (1 + np.exp(-prior))
    for _ in range(rounds):
        with_first = counts @ first
        inside = (first @ with_first) / max(float(first @ met), 1e-9)  # share of the first class among its partners
        outside = ((1 - first) @ with_first) / max(float((1 - first) @ met), 1e-9)
        inside, outside = np.clip([inside, outside], 1e-3, 1 - 1e-3)
        odds = with_first * np.log(inside / outside) + (met - with_first) * np.log((1 - inside) / (1 - outside))
        first = 1 / (1 + np.exp(-np.clip(_TEMPER * odds + prior, -_SUREST, _SUREST)))
    share = (with_first / np.maximum(met, 1e-9) - outside) / max(float(inside - outside), 1e-3)
    return np.asarray(first), np.asarray(np.clip(share, 0, 1))


def cluster_by_seeds(counts: Floats, known: Ids, number: int, rounds: int = 10) -> Floats:
    """Cluster words by the classes of the words they co-occur with, from some known words of each class.

    In each round the rates of co-occurrence between classes are estimated, and words are assigned by how well the rates
    explain their co-occurrences. The rate between two classes, relative to their size, is limited to half of that
    within them; otherwise two classes that poets mix would be swapped.

    Args:
        counts: See `cooccurrences`.
        known: Class of each known word, -1 for the others, shape (words,).
        number: Number of classes.
        rounds: Rounds of estimation.

    Returns:
        Probability of each class, shape (words, classes); 0 for words that co-occur with none.
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
    """Return runs of rhyme words of both tones at the closed lines of ci; see `level_runs`."""
    lyric = table.select(table.forms == CI)
    return _runs(lyric, closed(lyric), np.ones(len(table.characters), dtype=bool))


def level_runs(table: VerseTable, level: Floats) -> Ids:
    """Return runs of level rhyme words at the closed lines of ci."""
    lyric = table.select(table.forms == CI)
    return _runs(lyric, closed(lyric), level > 0.5)


def closed(table: VerseTable) -> npt.NDArray[np.bool_]:
    """Return a mask of the lines that end with one of `STOPS`, shape (lines,)."""
    return np.isin(table.marks, [ord(mark) for mark in STOPS])


def _runs(table: VerseTable, rhyming: npt.NDArray[np.bool_], wanted: npt.NDArray[np.bool_]) -> Ids:
    """Return segments of consecutive rhyme words of the wanted tone inside one poem."""
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
    """Least uses of a word in clustering; rarer words are assigned by the mixture only."""
    merge_above: float
    """Ratio to chance; see `merge`."""
    split_below: float
    """Affinity; see `split`."""
    smallest: int
    """Least uses of all words of a group; smaller groups are dropped, and their words assigned by the mixture."""


@dataclass(frozen=True)
class Rhymes:
    """Rhyme groups of words.

    Attributes:
        counts: Uses of each word in each group, shape (words, groups).
        members: Whether a word has a reading in a group, shape (words, groups).
        certain: Members with one reading and ample evidence, shape (words, groups).
        strays: Typical share of uses of the words of a group in each group, shape (groups, groups).
    """

    counts: Floats
    members: Booleans
    certain: Booleans
    strays: Floats


def learn(segments: Ids, size: int, settings: ClusterSettings) -> Rhymes:
    """Find the groups and their members.

    Args:
        segments: Words that should rhyme with each other, shape (segments, width), padded with -1; each segment has at
            least two words.
        size: Number of different words.
        settings: Thresholds of the clustering.

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

    Segments in which all other words are certain members of one group are counted. Any word may occur there once by a
    copyist's slip; a word that does so repeatedly has a reading that rhymes (不 with 秋 and 流).

    Args:
        segments: As in `learn`, of poems that were not selected by the tones of their words.
        certain: Certain members, shape (words, groups).
        uses: Uses of each word anywhere, shape (words,).

    Returns:
        Readings, shape (words, groups), including those of certain members with enough evidence.
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
        start: Initial guess of the uses of each word in each group, shape (words, groups).
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
    """Return logarithms with one more row of zeros, which padding (-1) of a segment selects."""
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
    """Count each word in the group that the other words of its segment determine, shape (words, groups)."""
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
    """Return the median share of uses of the words of one group in each group, shape (groups, groups)."""
    number = seen.shape[1]
    rates = np.eye(number)
    for group in range(number):
        usual = (home == group) & (seen.sum(axis=1) >= 5 * _ENOUGH)
        if usual.any():
            rates[group] = np.median(shares[usual], axis=0)
    return rates


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9))
