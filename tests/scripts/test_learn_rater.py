"""The rater learns from ratings what there is to learn, and pairs that are written too often are found."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from scripts import learn_rater
from scripts.learn_rater import (
    Lines,
    Rated,
    across,
    auc,
    by_poem,
    distinct_2,
    fit,
    follows_of,
    goals_of,
    guess,
    guess_wholes,
    lines_of,
    read_ratings,
    targets_of,
    wholes_across,
    worn_pairs,
)
from tests.poetry.conftest import make_prosody
from tests.poetry.test_usage import some_usage
from zhseq.errors import InputError
from zhseq.poetry.coherence import HABITS, SUMMARIES, Critic, Points, Rater
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Request, Sampling


def test_ratings_are_read_and_broken_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "ratings.tsv"
    path.write_text("五绝\t春风来 山月去\t21\t3\n", encoding="utf-8")
    assert read_ratings(path) == [Rated("五绝", ("春风来", "山月去"), (2, 1), 3)]
    path.write_text("五绝\t春风来 山月去\t21\t3\t2\t1\n", encoding="utf-8")
    assert read_ratings(path) == [Rated("五绝", ("春风来", "山月去"), (2, 1), 3, (2,), 1)]
    for broken in (
        "五绝\t春风来 山月去\t21\t3\t22\t1\n",
        "五绝\t春风来 山月去\t21\t3\t\t1\n",
        "五绝\t春风来 山月去\t21\t3\t2\tx\n",
        "五绝\t春风来 山月去\t2\t3\n",
        "五绝\t春风来\tx\t3\n",
        "\n",
    ):
        path.write_text("五绝\t春风来 山月去\t21\t3\n" + broken, encoding="utf-8")
        with pytest.raises(InputError, match=r"ratings\.tsv, line 2: expected a form"):
            read_ratings(path)


def some_critic(symbols: int) -> Critic:
    vectors = np.random.default_rng(0).normal(size=(symbols, 4)).astype(np.float32)
    return Critic(vectors, np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), 2.0)


def test_each_line_has_its_features(tiny_poet: Poet) -> None:
    poems = [Rated("五绝", ("春风来", "山月去"), (2, 1), 3), Rated("五绝", ("春风去", "山月来"), (0, 1), 1)]
    usage, critic = some_usage(len(tiny_poet.vocab)), some_critic(len(tiny_poet.vocab))
    lines = lines_of(poems, tiny_poet.network, tiny_poet.vocab, usage, critic)
    features, heads, points, numbers = lines.features, lines.heads, lines.points, lines.numbers
    assert features.shape == heads.shape == (4, len(SUMMARIES) + len(HABITS) + tiny_poet.network.vectors.shape[1])
    assert {number: points[numbers == number].tolist() for number in (0, 1)} == {0: [2, 1], 1: [0, 1]}
    alone = lines_of(poems[1:], tiny_poet.network, tiny_poet.vocab, usage, critic)
    np.testing.assert_allclose(features[numbers == 1], alone.features, atol=1e-5)
    np.testing.assert_allclose(heads[numbers == 1], alone.heads, atol=1e-5)
    cut = [Rated("五绝", ("春风", "山月"), (2, 1), 3)]  # what stands before the last three characters, at least two
    np.testing.assert_allclose(
        lines_of(cut, tiny_poet.network, tiny_poet.vocab, usage, critic).heads[0],
        heads[numbers == 0][0],
        atol=1e-5,
    )


def test_it_is_known_how_lines_follow_those_before(tiny_poet: Poet) -> None:
    usage, critic = some_usage(len(tiny_poet.vocab)), some_critic(len(tiny_poet.vocab))
    texts = ("春风来", "山月去", "风月去")
    lines = lines_of([Rated("五绝", texts, (2, 1, 0), 3)], tiny_poet.network, tiny_poet.vocab, usage, critic)
    first, second, third = (tiny_poet.vocab.encode(text) for text in texts)
    expected = [critic.lift(first, second), critic.lift(np.concatenate([first, second]), third)]
    np.testing.assert_allclose(lines.lifts, [0, *(nats / 3 for nats in expected)], atol=1e-5)


def test_whole_poems_are_told_against_their_form_and_round() -> None:
    poems = [
        Rated("五绝", ("春",), (1,), 1),
        Rated("五绝", ("春",), (1,), 3),
        Rated("七绝", ("春",), (1,), 5),
        Rated("五绝", ("春", "月"), (1, 1), 5, (1,), 1),
    ]
    np.testing.assert_allclose(targets_of(poems), [-1, 1, 0, 0])


def test_what_readers_give_whole_poems_is_learned() -> None:
    rng = np.random.default_rng(0)
    count, size = 1500, len(SUMMARIES) + len(HABITS) + 2
    features = rng.normal(size=(4 * count, size)).astype(np.float32)
    numbers, places = np.repeat(np.arange(count), 4), np.tile(np.arange(4), count)
    lifts = np.where(places > 0, rng.normal(size=4 * count), 0).astype(np.float32)
    nothing = np.full(4 * count, np.nan, np.float32)
    lines = Lines(features, features, features[:, 0], nothing, numbers, places, lifts)
    means = np.bincount(numbers, features[:, 0]) / 4 + 2 * np.bincount(numbers, lifts) / 4
    targets = (means + features[places == 3, 0] / 2).astype(np.float32)
    poems = [Rated("五绝", ("春",) * 4, (1,) * 4, 1)] * count
    line = guess(features, features[:, 0], nothing)
    found = guess_wholes(poems, lines, line, targets, numbers[places == 0] >= 0)
    assert found.forms == ("五绝",)
    scale = line.surprise[0]  # of the guessed points, which a ridge regression shrinks
    assert (found.mean * scale, found.last * scale, found.lift) == pytest.approx((1, 0.5, 2), rel=0.1)
    shuffled = rng.permutation(4 * count)  # lines may come in any order
    mixed = Lines(*(getattr(lines, field.name)[shuffled] for field in fields(lines)))
    for own, other in zip(by_poem(line, lines), by_poem(line, mixed), strict=True):
        np.testing.assert_allclose(np.stack(own), np.stack(other), atol=1e-5)
    guessed = wholes_across(poems, lines, targets, features[:, 0], nothing)
    assert np.corrcoef(guessed, targets)[0, 1] > 0.9


def test_how_lines_follow_is_told_against_the_mean_of_their_place() -> None:
    old = Rated("五绝", ("春风来", "山月去"), (3, 3), 3)
    poems = [
        old,
        Rated("五绝", ("春", "山", "月"), (0, 2, 1), 3, (2, 2), 0),
        Rated("五绝", ("春", "山", "月"), (0, 2, 1), 3, (0, 1), 1),
    ]
    nothing = np.zeros((8, 1), np.float32)
    points = np.array([score for poem in poems for score in poem.scores], np.float32)
    found = [follows_of(poem, line) for poem in poems for line in range(len(poem.lines))]
    np.testing.assert_equal(found, [np.nan, np.nan, np.nan, 2, 1, np.nan, 0, 1])  # the last with the close
    numbers, places = np.array([0, 0, 1, 1, 1, 2, 2, 2]), np.array([0, 1, 0, 1, 2, 0, 1, 2])
    lines = Lines(nothing, nothing, points, np.array(found, np.float32), numbers, places, points)
    goals, follows = goals_of(lines, np.array([False, True, True]))
    np.testing.assert_equal(goals, [0, 0, -1, 1, 0, -1, 1, 0])
    np.testing.assert_equal(follows, [np.nan, np.nan, np.nan, 1, 0, np.nan, -1, 0])


def test_points_and_following_are_added_up() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, len(SUMMARIES) + len(HABITS) + 2)).astype(np.float32)
    follows = np.where(rng.random(4000) < 0.5, features[:, 1], np.nan).astype(np.float32)
    found = guess(features, features[:, 0], follows)
    assert found.surprise[0] == pytest.approx(1, abs=0.2)
    assert found.surprise[1] == pytest.approx(learn_rater.FOLLOWING, abs=0.3)
    assert guess(features, features[:, 0], np.full(4000, np.nan, np.float32)).surprise[1] == pytest.approx(0, abs=0.1)


def test_what_is_linear_is_learned_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 6)).astype(np.float32)
    numbers = np.arange(4000) // 4
    points = (features[:, 0] - features[:, 3] + rng.normal(size=4000)).astype(np.float32)
    assert auc(across(features, points, numbers), points > 0) > 0.8
    noise = rng.normal(size=4000).astype(np.float32)
    assert auc(across(features, noise, numbers), noise > 0) == pytest.approx(0.5, abs=0.05)
    weights, bias = fit(features + 5, points + 2)
    np.testing.assert_allclose((features + 5) @ weights + bias - 2, features @ weights, atol=0.2)


def test_distinct_2_counts_what_repeats_within_a_group() -> None:
    assert distinct_2([["春风", "山月"]] * 2, group=2) == 0.5
    assert distinct_2([["春风"], ["山月"], ["春风"], ["春风"]], group=2) == 0.75


def test_pairs_that_people_never_write_become_worn(tiny_poet: Poet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn_rater, "WRITTEN", {"五绝": 50})
    monkeypatch.setattr(learn_rater, "load_poems", lambda: None)
    monkeypatch.setattr(learn_rater, "people_pairs", lambda poems: Counter())
    dim = tiny_poet.network.vectors.shape[1]
    nothing = Points(*(np.zeros(size, np.float32) for size in (dim, len(SUMMARIES), len(HABITS))), 0.0)
    rater, usage = Rater(nothing, nothing), some_usage(len(tiny_poet.vocab))
    poet = Poet(tiny_poet.network, tiny_poet.vocab, make_prosody(), usage=usage)
    first, second = worn_pairs(poet, rater, 2)
    assert first
    assert all(0.2 < nats <= 20 for nats in (*first.values(), *second.values()))
    assert all(second[pair] >= nats for pair, nats in first.items())  # nobody writes them, so none is forgiven

    def written(worn: dict[str, float]) -> int:
        judge = Poet(poet.network, poet.vocab, make_prosody(), usage=usage, rater=replace(rater, worn=worn))
        request = Request(form="五绝", sampling=Sampling(seed=learn_rater.FIRST_SEED))
        return sum(line.count(pair) for poem in judge.stream(request, 50) for line in poem.lines for pair in first)

    assert written(first) < written({}) / 2
