"""The rater of lines is read as it was written, refuses what is none, and chooses among candidates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.poetry.test_usage import some_usage
from zhseq.errors import CheckpointError
from zhseq.poetry.coherence import HABITS, RATER_FILE, Points, Rater, Wholes, summaries
from zhseq.poetry.poet import Poet
from zhseq.poetry.prosody import Prosody
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.text.normalize import normalize


def some_points(dim: int, seed: int) -> Points:
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=dim).astype(np.float32).round(4)
    return Points(outputs, np.float32([-0.5, -0.25, 0.125, 0.0]), np.zeros(len(HABITS), np.float32), 1.5)


def some_rater(dim: int) -> Rater:
    return Rater(some_points(dim, 0), some_points(dim, 1), Wholes(("五绝",), 0.75, 0.5, -0.25))


def test_points_are_linear_in_outputs_surprise_and_habits() -> None:
    habits = np.zeros(len(HABITS), dtype=np.float32)
    habits[3] = 2
    points = Points(np.float32([1, -2]), np.float32([0.5, 0, 0, 0]), habits, 0.25)
    found = points(np.float32([[3, 1], [0, 0]]), np.float32([[2, 4], [0, 0]]), np.stack([habits, 0 * habits]))
    np.testing.assert_allclose(found, [3 - 2 + 1.5 + 4 + 0.25, 0.25])


def test_summaries_are_mean_largest_smallest_and_spread() -> None:
    np.testing.assert_allclose(summaries(np.float32([[1, 2, 6]])), [[3, 6, 1, np.std([1, 2, 6])]], rtol=1e-6)


def test_a_rater_is_read_as_written(tmp_path: Path) -> None:
    rater = some_rater(8)
    rater.save(tmp_path)
    again = Rater.load(tmp_path, 8)
    for own, read in ((rater.line, again.line), (rater.head, again.head)):
        np.testing.assert_allclose(read.outputs, own.outputs, atol=1e-5)
        np.testing.assert_allclose(read.surprise, own.surprise)
        np.testing.assert_allclose(read.habits, own.habits)
        assert read.bias == own.bias
    assert again.whole == rater.whole
    replace(rater, whole=None).save(tmp_path)
    assert Rater.load(tmp_path, 8).whole is None


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "[]",
        "{",
        {"kind": "sense"},
        {"version": 0},
        {"line": {}},
        {"head": None},
        {"head": {"bias": 0, "outputs": [1.0] * 8, "surprise": [1.0] * 4, "habits": [1.0]}},
        {"worn": {"春": 1.0}},
        {"whole": {}},
        {"whole": {"forms": ["五绝"], "mean": 1, "last": 0}},
        {"whole": {"forms": ["五绝"], "mean": 1, "last": float("nan"), "lift": 0}},
        {"whole": {"forms": None, "mean": 1, "last": 0, "lift": 0}},
        {"whole": {"forms": ["五绝"], "mean": 1, "last": 0, "lift": "much"}},
        {"whole": {"forms": ["五绝"], "mean": [1], "last": 0, "lift": 0}},
        {"head": {"bias": float("nan"), "outputs": [1.0] * 8, "surprise": [1.0] * 4, "habits": [1.0] * 10}},
        {"head": {"bias": 0, "outputs": [1.0] * 8, "surprise": [float("inf")] * 4, "habits": [1.0] * 10}},
    ],
)
def test_what_is_no_rater_is_refused(tmp_path: Path, broken: str | dict[str, object]) -> None:
    some_rater(8).save(tmp_path)
    path = tmp_path / RATER_FILE
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(broken if isinstance(broken, str) else json.dumps(whole | broken), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"rater.json is not a rater of version 4"):
        Rater.load(tmp_path, 8)


def test_a_rater_of_another_model_is_refused(tmp_path: Path) -> None:
    some_rater(8).save(tmp_path)
    with pytest.raises(CheckpointError, match="9-dimensional outputs"):
        Rater.load(tmp_path, 9)


def lines_points(poet: Poet, rater: Rater, lines: tuple[str, ...]) -> float:
    """Points of the first lines of poems, read one character after the other."""
    logits, state = poet.network.step(np.array([[poet.vocab.bos_id]]))
    outputs, costs = [], []
    for character in lines[0]:
        index = poet.vocab.id(normalize(character))
        outputs.append(poet.network.output(state)[0])
        costs.append(float(np.log(np.exp(logits[0] - logits[0].max()).sum()) + logits[0].max() - logits[0, index]))
        logits, state = poet.network.step(np.array([[index]]), state)
    nothing = np.zeros(len(HABITS), dtype=np.float32)
    return float(rater.line(np.mean(outputs, axis=0), np.float32(costs), nothing))


@pytest.mark.parametrize("heads", [False, True])
def test_candidates_with_more_points_are_chosen(tiny_poet: Poet, small_prosody: Prosody, heads: bool) -> None:
    points = some_points(tiny_poet.network.vectors.shape[1], 0)
    none = Points(0 * points.outputs, 0 * points.surprise, points.habits, 0.0)
    rater = Rater(points, points if heads else none)
    usage = some_usage(len(tiny_poet.vocab))
    poet = Poet(tiny_poet.network, tiny_poet.vocab, small_prosody, usage=usage, rater=rater)

    def mean(weight: float) -> float:
        ranking = Ranking(8, rating=weight, unheard=0.0)
        poems = poet.stream(Request(form="五绝", ranking=ranking, sampling=Sampling(1.5, seed=2)), 40)
        return float(np.mean([lines_points(poet, rater, poem.lines) for poem in poems]))

    assert mean(50.0) > mean(0.0) > mean(-50.0)
    without = Poet(tiny_poet.network, tiny_poet.vocab, small_prosody)
    wish = Request(form="五绝", ranking=Ranking(8, rating=0.0, unheard=0.0))
    assert list(without.stream(wish, 5)) == list(poet.stream(wish, 5))


def test_the_better_half_of_heads_is_gone_on_with(tiny_poet: Poet, small_prosody: Prosody) -> None:
    network, vocab = tiny_poet.network, tiny_poet.vocab
    size = len(vocab) // 2 * 2
    usage = some_usage(len(vocab), np.random.default_rng(0).integers(0, 2, (size, size // 2), dtype=np.uint8) * 0x11)
    none = Points(*(np.zeros(size, np.float32) for size in (network.vectors.shape[1], 4, len(HABITS))), 0.0)
    heard = np.zeros(len(HABITS), dtype=np.float32)
    heard[HABITS.index("neighbours, mean")] = 1

    def unheard(head: Points) -> int:
        poet = Poet(network, vocab, small_prosody, usage=usage, rater=Rater(none, head))
        request = Request(form="五绝", ranking=Ranking(8, rating=50.0, unheard=0.0), sampling=Sampling(1.5, seed=2))
        poems = poet.stream(request, 20)
        return int(usage.unheard(np.stack([vocab.encode(line[:2]) for poem in poems for line in poem.lines])).sum())

    assert unheard(replace(none, habits=heard)) < unheard(none) / 2
