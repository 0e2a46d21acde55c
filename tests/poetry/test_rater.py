"""The rater of lines is read as it was written, refuses what is none, and chooses among candidates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zhseq.errors import CheckpointError
from zhseq.poetry.coherence import RATER_FILE, Rater, summaries
from zhseq.poetry.poet import Poet
from zhseq.poetry.prosody import Prosody
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.text.normalize import normalize


def some_rater(dim: int) -> Rater:
    rng = np.random.default_rng(0)
    return Rater(rng.normal(size=dim).astype(np.float32).round(4), np.float32([-0.5, -0.25, 0.125, 0.0]), 1.5)


def test_points_are_linear_in_outputs_and_surprise() -> None:
    rater = Rater(np.float32([1, -2]), np.float32([0.5, 0, 0, 0]), 0.25)
    points = rater(np.float32([[3, 1], [0, 0]]), np.float32([[2, 4], [0, 0]]))
    np.testing.assert_allclose(points, [3 - 2 + 1.5 + 0.25, 0.25])


def test_summaries_are_mean_largest_smallest_and_spread() -> None:
    np.testing.assert_allclose(summaries(np.float32([[1, 2, 6]])), [[3, 6, 1, np.std([1, 2, 6])]], rtol=1e-6)


def test_a_rater_is_read_as_written(tmp_path: Path) -> None:
    rater = some_rater(8)
    rater.save(tmp_path)
    again = Rater.load(tmp_path, 8)
    np.testing.assert_allclose(again.outputs, rater.outputs, atol=1e-5)
    np.testing.assert_allclose(again.surprise, rater.surprise)
    assert again.bias == rater.bias


@pytest.mark.parametrize(
    "broken",
    ["", "[]", "{", {"kind": "sense"}, {"version": 0}, {"bias": None}, {"bias": float("nan")}, {"outputs": [1.0]}],
)
def test_what_is_no_rater_is_refused(tmp_path: Path, broken: str | dict[str, object]) -> None:
    some_rater(8).save(tmp_path)
    path = tmp_path / RATER_FILE
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(broken if isinstance(broken, str) else json.dumps(whole | broken), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"rater.json is not a rater of version 1"):
        Rater.load(tmp_path, 8)


def test_a_rater_of_another_model_is_refused(tmp_path: Path) -> None:
    some_rater(8).save(tmp_path)
    with pytest.raises(CheckpointError, match="outputs of 9 numbers"):
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
    return float(rater(np.mean(outputs, axis=0), np.float32(costs)))


def test_candidates_with_more_points_are_chosen(tiny_poet: Poet, small_prosody: Prosody) -> None:
    rater = some_rater(tiny_poet.network.vectors.shape[1])
    poet = Poet(tiny_poet.network, tiny_poet.vocab, small_prosody, rater=rater)

    def mean(weight: float) -> float:
        ranking = Ranking(8, rating=weight)
        poems = poet.stream(Request(form="五绝", ranking=ranking, sampling=Sampling(1.5, seed=2)), 40)
        return float(np.mean([lines_points(poet, rater, poem.lines) for poem in poems]))

    assert mean(50.0) > mean(0.0) > mean(-50.0)
    without = Poet(tiny_poet.network, tiny_poet.vocab, small_prosody)
    wish = Request(form="五绝", ranking=Ranking(8, rating=0.0))
    assert list(without.stream(wish, 5)) == list(poet.stream(wish, 5))
