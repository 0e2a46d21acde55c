import numpy as np
import pytest

from tests.poetry.prosody.verse import SIZE, TONES, regulated
from zhseq.poetry.prosody import tones


@pytest.fixture(scope="module")
def verse() -> dict[str, tones.Ids]:
    rng = np.random.default_rng(1)
    return {form: regulated(form, 1500, rng) for form in ("五绝", "七律")}


@pytest.fixture(scope="module")
def model(verse: dict[str, tones.Ids]) -> tones.ToneModel:
    return tones.fit(verse, SIZE)


def test_expectation_maximisation_recovers_the_tones(model: tones.ToneModel) -> None:
    assert (model.level[TONES == 1] > 0.9).all()
    assert (model.level[TONES == -1] < 0.1).all()
    assert ((model.level[TONES == 0] > 0.25) & (model.level[TONES == 0] < 0.75)).all()


def test_the_likelihood_never_falls(model: tones.ToneModel) -> None:
    assert (np.diff(model.log_likelihood[1:]) > 0).all()


def test_the_patterns_are_equally_common_and_kept(model: tones.ToneModel) -> None:
    np.testing.assert_allclose(model.weights["七律"][:4], 0.25, atol=0.04)
    signs = tones.pattern_signs("七律").reshape(4, -1)
    assert (model.positions["七律"][:4][signs == 1] > 0.95).all()
    assert (model.positions["七律"][:4][signs == -1] < 0.05).all()


def test_strict_counts_are_nearly_free_of_noise(verse: dict[str, tones.Ids], model: tones.ToneModel) -> None:
    counts = tones.count(verse, model.level)
    share = counts.level / (counts.level + counts.oblique)
    assert (share[TONES == 1] > 0.97).all()
    assert (share[TONES == -1] < 0.03).all()
    classes = tones.class_probabilities(counts, np.full((SIZE, 3), 1 / 3)).argmax(axis=1)
    np.testing.assert_array_equal(classes, np.where(TONES == 1, 0, np.where(TONES == -1, 1, 2)))


def test_a_place_where_poets_swap_tones_says_nothing() -> None:
    """平平仄平仄 for 平平平仄仄: its fourth character must not be counted as oblique, nor the line as broken."""
    rng = np.random.default_rng(2)
    poems = regulated("五绝", 4000, rng, noise=0)
    grid = poems.reshape(-1, 4, 5)
    model = tones.fit({"五绝": poems}, SIZE)
    level, oblique = np.flatnonzero(TONES == 1)[0], np.flatnonzero(TONES == -1)[0]
    first_is_second_pattern = (TONES[grid[:, 0, 1]] >= 0) & (TONES[grid[:, 0, 4]] < 0) & (TONES[grid[:, 2, 1]] < 0)
    grid[first_is_second_pattern, 0, 2], grid[first_is_second_pattern, 0, 3] = oblique, level
    counts = tones.count({"五绝": poems}, model.level)
    assert counts.oblique[level] <= 0.01 * counts.level[level]
    assert first_is_second_pattern.sum() > 300, "there must be lines that the rule is about"


def test_class_probabilities_weigh_prior_and_evidence() -> None:
    counts = tones.ToneCounts(np.array([0.0, 0, 500, 3, 150]), np.array([0.0, 500, 0, 0, 150]))
    prior = np.tile([0.1, 0.8, 0.1], (5, 1))
    found = tones.class_probabilities(counts, prior)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found[0], prior[0])
    assert found[1, 1] > 0.99
    assert found[2, 0] > 0.95
    assert found[3, 0] < 0.9, "three uses do not settle it"
    assert found[4, 2] > 0.999
