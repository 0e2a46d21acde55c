"""Fit the rater, `zhseq.poetry.coherence.Rater`, to lines of verse that were rated.

    ZHSEQ_CORPORA=corpora python scripts/learn_rater.py --out checkpoints/poem

Reads the corpus `verse_ratings`: a form, the lines, a digit from 0 to 3 for each line, and one from 1 to 5 for the
whole, between tabs; in some poems also a digit from 0 to 2 for each line but the first, how well it follows, and one
for how well the poem closes. Prints what the rater is worth on poems that it was not fitted to (ridge regression, five
folds of poems): how often it puts the better of two lines first (AUC), and the same for the surprise of the lines alone
and without what verse sets together, which `scripts/learn_usage.py` must have counted before. What is written is the
guess of points and that of following added up, `FOLLOWING` of the latter. What readers give whole poems, against the
mean of their form and round, is fitted to these guesses; drafts are chosen by it. Then finds the pairs of characters
that such a rater would wear out; ten minutes of one core.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zhseq.batching import Ints
from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.corpus.registry import corpora_root, corpus_folder
from zhseq.errors import InputError
from zhseq.poetry.coherence import HABITS, SUMMARIES, TAIL, Critic, Points, Rater, Usage, Wholes, summaries
from zhseq.poetry.forms import WRITTEN_DYNASTY, Controls, encode_prefix
from zhseq.poetry.network import Booleans, Floats, Network, log_total
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Request, Sampling
from zhseq.text.normalize import normalize
from zhseq.text.vocab import LINE, Vocab

RIDGE = 500.0
"""Of features divided by their standard deviation."""
FIGURES_RIDGE = 20.0
"""The same of the three figures of whole poems."""
FOLDS = 5
FOLLOWING = 1.0
"""Points for each digit by which a line follows better."""
WRITTEN = {"七绝": 400, "七律": 80}
"""Poems that are written in each round to see which pairs are worn."""
SAMPLE = 40
"""Times as many poems by people are counted."""
OFTEN = 3
"""Times that a pair must stand in the poems of a round to be looked at."""
STEP, LEAST, MOST = 2.5, 0.2, 20.0
"""Nats for each factor of e by which a pair is too frequent; fewer are left out; and no pair pays more."""
FIRST_SEED = 5000
_ROWS = 64


@dataclass(frozen=True)
class Rated:
    """A poem, the digits of its lines, and that of the whole."""

    form: str
    lines: tuple[str, ...]
    scores: tuple[int, ...]
    whole: int
    follows: tuple[int, ...] = ()
    """Digits of the lines but the first, or nothing."""
    close: int = 0


@dataclass(frozen=True)
class Lines:
    """All lines of rated poems.

    Attributes:
        features: What the rater takes of each, (lines, features).
        heads: The same of their heads.
        points: What readers gave them, (lines,).
        follows: How well they follow, the last one with how well it closes, the mean of the two, (lines,); else NaN.
        numbers: The poem of each, (lines,).
        places: Its number in the poem, (lines,).
        lifts: How well it follows those before by the critic, in nats a character, (lines,); 0 for a first line.
    """

    features: Floats
    heads: Floats
    points: Floats
    follows: Floats
    numbers: Ints
    places: Ints
    lifts: Floats


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit a rater, say what it is worth, and write it."""
    parser = argparse.ArgumentParser(description="Fit the rater of lines to ratings.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the model")
    parser.add_argument("--model", default=None, help="the model whose outputs are used (default: that of zhseq)")
    parser.add_argument("--ratings", type=Path, metavar="FILE", help="(default: those of the corpus verse_ratings)")
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N poems only (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of writing to find worn pairs (default: 5)")
    options = parser.parse_args(arguments)
    poet = Poet.load(options.model)
    path = options.ratings or corpus_folder("verse_ratings", corpora_root()) / "verse_ratings.tsv"
    poems = read_ratings(path)[: options.limit]
    if poet.usage is None:
        raise InputError("no_usage", "the model comes without usage.safetensors; make it with scripts/learn_usage.py")
    if poet.critic is None:
        raise InputError("no_critic", "the model lacks critic.safetensors; make it with scripts/learn_critic.py")
    lines = lines_of(poems, poet.network, poet.vocab, poet.usage, poet.critic)
    features, points, numbers = lines.features, lines.points, lines.numbers
    print(f"{len(poems):,} poems, {len(points):,} lines: {_shares(points)}", file=sys.stderr)
    first, second = len(SUMMARIES), len(SUMMARIES) + len(HABITS)
    every = np.arange(features.shape[1])
    without = (every < first) | (every >= second)
    for name, read, columns in (
        ("surprise alone", features, every < first),
        ("with outputs", features, without),
        ("with habits, of heads alone", lines.heads, every >= 0),
        ("with habits", features, every >= 0),
    ):
        guessed = across(read[:, columns], points, numbers)
        sound, broken = auc(guessed, points >= 2), auc(-guessed, points == 0)
        correlation = np.corrcoef(guessed, points)[0, 1]
        print(f"{name}: correlation {correlation:.3f}, AUC of sound lines {sound:.3f}, of broken ones {broken:.3f}")
    wholes = np.array([poem.whole for poem in poems])
    means = np.bincount(numbers, guessed) / np.bincount(numbers)
    print(f"whole poems by the mean of their lines: AUC of 3 and better {auc(means, wholes >= 3):.3f}")
    goals, follows = goals_of(lines, np.array([bool(poem.follows) for poem in poems]))
    rated = np.isfinite(follows)
    if rated.any():
        guessed = across(features[rated], follows[rated], numbers[rated])
        worth = np.corrcoef(guessed, follows[rated])[0, 1], auc(guessed, follows[rated] > 0)
        print(
            f"following, against the mean of its place: correlation {worth[0]:.3f}, AUC of better ones {worth[1]:.3f}"
        )
    line, head = (guess(read, goals, follows) for read in (features, lines.heads))
    targets = targets_of(poems)
    guessed = wholes_across(poems, lines, targets, goals, follows)
    for name, rows in (("all", wholes > 0), ("of the last round", np.array([bool(poem.follows) for poem in poems]))):
        if rows.any():
            correlation = np.corrcoef(guessed[rows], targets[rows])[0, 1]
            shown = f"correlation {correlation:.3f}, AUC of 4 and better {auc(guessed[rows], wholes[rows] >= 4):.3f}"
            print(f"whole poems by what is fitted to them, {name}: {shown}")
    rater = Rater(line, head, guess_wholes(poems, lines, line, targets, np.ones(len(poems), dtype=bool)))
    for worn in worn_pairs(poet, rater, options.rounds):
        rater = replace(rater, worn=worn)
    rater.save(options.out)
    return 0


def worn_pairs(poet: Poet, rater: Rater, rounds: int) -> Iterator[dict[str, float]]:
    """Find what a search led by a rater writes too often, and yield it after each round of writing and counting.

    A line pays for each pair of neighbouring characters the more, the more often the poems of all rounds so far had
    it than people's poems have, in logarithms; so the poems come to use words about as often as people do.
    """
    people = people_pairs(load_poems())
    worn: dict[str, float] = {}
    for number in range(rounds):
        judge = replace(rater, worn=worn)
        writer = Poet(
            poet.network, poet.vocab, poet.prosody, sense=poet.sense, critic=poet.critic, usage=poet.usage, rater=judge
        )
        counts: Counter[str] = Counter()
        distinct = {}
        for form, count in WRITTEN.items():
            request = Request(form=form, sampling=Sampling(seed=FIRST_SEED + number))
            poems = [[normalize(line) for line in poem.lines] for poem in writer.stream(request, count)]
            distinct[form] = distinct_2(poems)
            count_pairs(poems, counts)
        shown = ", ".join(f"{form} {value:.3f}" for form, value in distinct.items())
        print(f"round {number}: {len(worn):,} worn pairs, distinct-2 over 50 poems {shown}", file=sys.stderr)
        for pair in {pair for pair, count in counts.items() if count >= OFTEN} | set(worn):
            nats = worn.get(pair, 0.0) + STEP * math.log((counts[pair] + 1) / (people[pair] / SAMPLE + 1))
            worn[pair] = min(nats, MOST)
        worn = dict(sorted(((p, n) for p, n in worn.items() if n > LEAST), key=lambda item: (-item[1], item[0])))
        yield worn


def people_pairs(poems: Any) -> Counter[str]:
    """Count neighbours in training poems of the forms of `WRITTEN`, `SAMPLE` times as many of each."""
    train = select_split(poems, "train")
    forms, rng = np.array(train["form"]), np.random.default_rng(1)
    counts: Counter[str] = Counter()
    for form, count in WRITTEN.items():
        rows = rng.permutation(np.flatnonzero(forms == form))[: count * SAMPLE]
        count_pairs(([normalize(line) for line in lines] for lines in train.select(rows)["lines"]), counts)
    return counts


def count_pairs(poems: Iterable[Sequence[str]], counts: Counter[str]) -> None:
    """Count the neighbouring characters of poems."""
    counts.update(line[i : i + 2] for lines in poems for line in lines for i in range(len(line) - 1))


def distinct_2(poems: Sequence[Sequence[str]], group: int = 50) -> float:
    """Return the share of neighbours that are different among those of 50 poems, the mean over groups."""
    shares = []
    for begin in range(0, len(poems) - group + 1, group):
        counts: Counter[str] = Counter()
        count_pairs(poems[begin : begin + group], counts)
        shares.append(len(counts) / counts.total())
    return float(np.mean(shares))


def read_ratings(path: Path) -> list[Rated]:
    """Read rated poems.

    Raises:
        InputError: A line is not as it should be.
    """
    poems = []
    for number, row in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        form, text, scores, whole, follows, close = (*row.split("\t"), "", "", "", "", "")[:6]
        lines = tuple(text.split())
        wanted = len(lines) - 1 if follows or close else 0
        if len(scores) != len(lines) or len(follows) != wanted or not (scores + whole + follows + close).isdecimal():
            raise InputError(
                "broken_rating",
                "{path}, line {line}: expected a form, lines, a digit for each and one for the whole, between tabs, "
                "and perhaps a digit for each line but the first and one for the close",
                path=path,
                line=number,
            )
        digits = tuple(map(int, follows))
        poems.append(Rated(form, lines, tuple(map(int, scores)), int(whole), digits, int(close or 0)))
    return poems


def lines_of(poems: Sequence[Rated], network: Network, vocab: Vocab, usage: Usage, critic: Critic) -> Lines:
    """Read all lines of poems, those of one shape together."""
    by_shape: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
    for number, poem in enumerate(poems):
        by_shape[poem.form, tuple(map(len, poem.lines))].append(number)
    features, heads, points, follows, numbers, places, lifts = [], [], [], [], [], [], []
    for (form, lengths), members in by_shape.items():
        prefix = np.array(encode_prefix(vocab, Controls(form, WRITTEN_DYNASTY)), dtype=np.int64)
        for begin in range(0, len(members), _ROWS):
            chosen = members[begin : begin + _ROWS]
            texts = [[vocab.encode(normalize(line)) for line in poems[number].lines] for number in chosen]
            logits, state = network.step(np.tile(prefix, (len(chosen), 1)))
            for line, length in enumerate(lengths):
                ids = np.stack([text[line] for text in texts])
                outputs, costs = [], []
                for position in range(length):
                    outputs.append(network.output(state).copy())
                    column = np.minimum(ids[:, position], network.output_size - 1)
                    costs.append(log_total(logits) - logits[np.arange(len(ids)), column])
                    logits, state = network.step(ids[:, position : position + 1], state)
                for found, end in ((features, length), (heads, max(2, length - TAIL))):
                    surprise = summaries(np.stack(costs[:end], axis=1))
                    found.append(np.hstack([surprise, usage.habits(ids[:, :end]), np.mean(outputs[:end], axis=0)]))
                points += [poems[number].scores[line] for number in chosen]
                follows += [follows_of(poems[number], line) for number in chosen]
                numbers += chosen
                places += [line] * len(chosen)
                before = np.concatenate([np.stack([text[n] for text in texts]) for n in range(line)] or [ids], axis=1)
                lifts.append(critic.lift(before, ids) / np.float32(length) * np.float32(line > 0))
                logits, state = network.step(np.full((len(chosen), 1), vocab.id(LINE)), state)
    return Lines(
        np.vstack(features),
        np.vstack(heads),
        np.array(points, dtype=np.float32),
        np.array(follows, dtype=np.float32),
        np.array(numbers),
        np.array(places),
        np.concatenate(lifts),
    )


def follows_of(poem: Rated, line: int) -> float:
    """Return how well a line follows, the last one with how well it closes, the mean of the two; NaN if unrated."""
    if not line or not poem.follows:
        return math.nan
    follows = poem.follows[line - 1]
    return follows if line < len(poem.follows) else (follows + poem.close) / 2


def goals_of(lines: Lines, anew: Booleans) -> tuple[Floats, Floats]:
    """Return points against the mean of their round, and how lines follow against the mean of their place, (lines,).

    Args:
        lines: All lines.
        anew: Which poems are of the round in which it was rated how lines follow; its readers' measure is its own.
    """
    rounds = anew[lines.numbers]
    points, follows = lines.points.copy(), lines.follows.copy()
    for of_round in (rounds, ~rounds):
        points[of_round] -= points[of_round].mean() if of_round.any() else 0
    counts = np.bincount(lines.numbers)[lines.numbers]
    for count, place in set(zip(counts.tolist(), lines.places.tolist(), strict=True)):
        here = (counts == count) & (lines.places == place) & np.isfinite(follows)
        follows[here] -= follows[here].mean() if here.any() else 0
    return points, follows


def guess(features: Floats, points: Floats, follows: Floats) -> Points:
    """Fit the guess of points, and of how lines follow, to the features of lines or of their heads."""
    weights, bias = fit(features, points)
    rated = np.isfinite(follows)
    if rated.any():
        more, beyond = fit(features[rated], follows[rated])
        weights, bias = weights + FOLLOWING * more, bias + FOLLOWING * beyond
    surprise, habits, outputs = np.split(weights.astype(np.float32), np.cumsum((len(SUMMARIES), len(HABITS))))
    return Points(outputs, surprise, habits, bias)


def targets_of(poems: Sequence[Rated]) -> Floats:
    """Return what readers gave whole poems, against the mean of their form and round, (poems,)."""
    targets = np.array([poem.whole for poem in poems], dtype=np.float32)
    kinds = [(poem.form, bool(poem.follows)) for poem in poems]
    for kind in set(kinds):
        rows = np.array([each == kind for each in kinds])
        targets[rows] -= targets[rows].mean()
    return targets


def wholes_across(poems: Sequence[Rated], lines: Lines, targets: Floats, goals: Floats, follows: Floats) -> Floats:
    """Return a guess for each whole poem by weights, those of lines included, that were fitted to other poems."""
    guessed = np.zeros(len(poems), dtype=np.float32)
    fold = np.arange(len(poems)) % FOLDS
    for held_out in range(FOLDS):
        fitted = fold[lines.numbers] != held_out
        line = guess(lines.features[fitted], goals[fitted], follows[fitted])
        wholes = guess_wholes(poems, lines, line, targets, fold != held_out)
        found = np.array([wholes(own[None], more[None])[0] for own, more in zip(*by_poem(line, lines), strict=True)])
        found -= found[fold != held_out].mean()  # a guess compares drafts of one poem and has no bias of its own
        guessed[fold == held_out] = found[fold == held_out]
    return guessed


def guess_wholes(poems: Sequence[Rated], lines: Lines, line: Points, targets: Floats, chosen: Booleans) -> Wholes:
    """Fit the guess of whole poems to the chosen ones."""
    points, lift = by_poem(line, lines)
    figures = np.array([(own.mean(), own[-1], more.mean()) for own, more in zip(points, lift, strict=True)])
    weights, _ = fit(figures[chosen], targets[chosen], FIGURES_RIDGE)
    return Wholes(tuple(sorted({poem.form for poem in poems})), *map(float, weights))


def by_poem(line: Points, lines: Lines) -> tuple[list[Floats], list[Floats]]:
    """Return the guessed points of the lines of each poem, and how well they follow by the critic, (lines,) each."""
    weights = np.concatenate([line.surprise, line.habits, line.outputs])
    points = lines.features @ weights + np.float32(line.bias)
    order = np.lexsort((lines.places, lines.numbers))
    begins = np.flatnonzero(lines.places[order] == 0)[1:]
    return np.split(points[order], begins), np.split(lines.lifts[order], begins)


def fit(features: Floats, points: Floats, ridge: float = RIDGE) -> tuple[Floats, float]:
    """Return the weights of a ridge regression, (features,), and its bias."""
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64) + 1e-6
    scaled, middle = (features - mean) / spread, float(points.mean())
    weights = (
        np.linalg.solve(scaled.T @ scaled + ridge * np.eye(scaled.shape[1]), scaled.T @ (points - middle)) / spread
    )
    return weights, middle - float(mean @ weights)


def across(features: Floats, points: Floats, numbers: Ints) -> Floats:
    """Return a guess for each line by weights that were fitted to other poems."""
    guessed = np.zeros(len(points), dtype=np.float32)
    for fold in range(FOLDS):
        held_out = numbers % FOLDS == fold
        weights, bias = fit(features[~held_out], points[~held_out])
        guessed[held_out] = features[held_out] @ weights + bias
    return guessed


def auc(guessed: Floats, better: Booleans) -> float:
    """Return how often a line of the better ones is guessed above one of the others."""
    ranks = np.empty(len(guessed))
    ranks[guessed.argsort(kind="stable")] = np.arange(len(guessed))
    count = int(better.sum())
    pairs = count * (len(guessed) - count)
    return float((ranks[better].sum() - count * (count - 1) / 2) / pairs) if pairs else float("nan")


def _shares(points: Floats) -> str:
    return ", ".join(f"{100 * (points == digit).mean():.0f} % of {digit}" for digit in range(4))


if __name__ == "__main__":
    run_main(main)
