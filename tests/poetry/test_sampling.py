import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.device import library
from zhseq.errors import InputError
from zhseq.poetry import sampling
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.poetry.sampling import Choices, draw, forbid_repeated_line, random_streams


def test_numbers_are_spread_evenly_and_depend_on_seed_and_poem():
    numbers = random_streams(3, range(200), 500)
    assert numbers.dtype == np.float32
    assert 0 <= numbers.min() < numbers.max() < 1
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert abs(counts / 5000 - 1).max() < 0.06
    neighbours = [numbers[:, :-1], numbers[:, 1:]], [numbers[:-1], numbers[1:]]
    assert all(abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.01 for one, other in neighbours)
    assert (random_streams(3, range(7, 9), 5) == numbers[7:9, :5]).all()
    others = [random_streams(seed, range(1), 5) for seed in (0, 1, 2, 4, 2**64 + 3, 3 + 2**70)]
    assert not any((other == numbers[0, :5]).any() for other in others)


def test_draws_follow_the_distribution():
    with np.errstate(divide="ignore"):
        scores = np.tile(np.log(np.array([[0.5, 0.3, 0.2, 0.0]], dtype=np.float32)), (4000, 1))
    chances = ((np.arange(4000) + 0.5) / 4000).astype(np.float32)
    counts = np.bincount(draw(scores, Sampling(temperature=1, top_p=1), chances), minlength=4)
    assert counts.tolist() == pytest.approx([2000, 1200, 800, 0], abs=2)


def test_top_p_top_k_and_temperature_limit_what_is_drawn():
    scores = np.tile(np.log(np.array([[0.5, 0.3, 0.2]], dtype=np.float32)), (100, 1))
    chances = np.linspace(0, 0.999, 100, dtype=np.float32)
    assert set(draw(scores, Sampling(temperature=1, top_p=0.6), chances).tolist()) == {0, 1}
    assert set(draw(scores, Sampling(temperature=1, top_p=1, top_k=2), chances).tolist()) == {0, 1}
    assert set(draw(scores, Sampling(temperature=0), chances).tolist()) == {0}
    assert set(draw(scores, Sampling(temperature=1, top_p=1e-6), chances).tolist()) == {0}


def test_a_forbidden_character_is_never_drawn():
    scores = np.full((1000, 5), -np.inf, dtype=np.float32)
    scores[:, 3] = -100.0
    chances = np.linspace(0, 0.99999994, 1000, dtype=np.float32)
    assert set(draw(scores, Sampling(temperature=2, top_p=1), chances).tolist()) == {3}


def test_the_character_that_would_repeat_a_line_is_forbidden():
    poems = np.array([[[1, 2, 3], [1, 2, 0]], [[1, 2, 3], [2, 2, 0]]])
    scores = np.zeros((2, 5), dtype=np.float32)
    forbid_repeated_line(scores, poems, line=1, line_lengths=(3, 3))
    assert scores[0].tolist() == [0, 0, 0, -np.inf, 0]
    assert scores[1].tolist() == [0] * 5


def test_lines_of_other_length_are_left_alone():
    poems = np.array([[[1, 2, 0], [1, 2, 0]]])
    scores = np.zeros((1, 5), dtype=np.float32)
    forbid_repeated_line(scores, poems, line=1, line_lengths=(2, 3))
    assert scores.tolist() == [[0] * 5]


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_k": -1}, {"seed": -1}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError):
        Sampling(**wrong)


@pytest.mark.parametrize(
    ("record", "wrong", "expected"),
    [
        (Sampling, {"temperature": None}, "temperature of type float, but got NoneType"),
        (Sampling, {"seed": 1.5}, "seed of type int, but got float"),
        (Sampling, {"top_k": True}, "top_k of type int, but got bool"),
        (Ranking, {"best_of": "4"}, "best_of of type int, but got str"),
        (Request, {"drafts": "4"}, "drafts of type int, but got str"),
        (Request, {"start": None}, "start of type str, but got NoneType"),
        (Request, {"form": float("nan")}, "form of type str, but got float"),
        (Request, {"tune": ["浣溪沙"]}, "tune of type str, but got list"),
        (Request, {"traditional": 1}, "traditional of type bool, but got int"),
        (Request, {"lines": "春风"}, "lines of type tuple.*, but got str"),
        (Request, {"lines": [None]}, "lines of type tuple.*, but got list"),
    ],
)
def test_a_wrong_type_is_named(record, wrong, expected):
    with pytest.raises(TypeError, match=f"expected {expected}"):
        record(**wrong)


def some_choices(seed: int, size: int, open_share: float) -> Choices:
    rng = np.random.default_rng(seed)
    poems, width, changes = rng.integers(1, 4, 3)
    allowed = np.where(rng.random((poems, size)) < open_share, np.float32(0), np.float32(-np.inf))
    allowed[:, rng.integers(size)] = 0
    scores = (rng.standard_normal((poems * width, size)) * rng.choice([0.1, 3, 30])).astype(np.float32)
    places = rng.integers(0, size, (poems * width, changes))
    return Choices(scores, allowed, places, rng.choice([0.5, 1e4, -2.0], places.shape).astype(np.float32))


@pytest.mark.skipif(library() is None, reason="the loops are not compiled")
@given(
    seed=st.integers(0, 1 << 32),
    size=st.integers(1, 3000),
    open_share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    how=st.builds(
        Sampling, st.sampled_from([0.0, 0.2, 0.95, 10.0]), st.sampled_from([0.3, 0.95, 1.0]), st.integers(0, 9)
    ),
)
@settings(max_examples=150, deadline=None)
def test_compiled_loops_draw_what_numpy_draws(seed: int, size: int, open_share: float, how: Sampling) -> None:
    choices = some_choices(seed, size, open_share)
    chances = random_streams(seed, range(len(choices.scores)), 1)[:, 0]
    found = choices.draw(how, chances, 128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "library", lambda: None)
        expected = choices.draw(how, chances, 128)
        # Where a chance falls upon the border of two characters, the last digit of a sum decides.
        near = [choices.draw(how, np.clip(chances + shift, 0, 0.9999999), 128) for shift in (-1e-5, 1e-5)]
    assert ((found == expected) | (found == near[0]) | (found == near[1])).all()


def test_places_beyond_the_scores_never_reach_the_loops() -> None:
    choices = Choices(*(np.zeros((1, 4), np.float32),) * 2, np.array([[4]]), np.zeros((1, 1), np.float32))
    with pytest.raises((ValueError, IndexError), match="4"):
        choices.draw(Sampling(), np.zeros(1, np.float32), 128)
