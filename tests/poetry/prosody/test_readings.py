import numpy as np
import pytest

from zhseq.poetry.prosody import Tone
from zhseq.poetry.prosody.learning import class_prior, modern_prosody, read

pytest.importorskip("pypinyin")

CHARACTERS = "春人花雨夜女绿中䶮"


def test_kinds_of_modern_tones() -> None:
    assert read("春雨长").kinds.tolist() == [0, 1, 2]
    assert read("?").kinds.tolist() == [3]
    assert read("春").finals == ((("uen", "1"),),)


def test_rhymes_of_today() -> None:
    readings = read(CHARACTERS)
    modern = modern_prosody(CHARACTERS, readings, np.arange(len(CHARACTERS)), {})
    assert modern.rhyme("春", "人")
    assert not modern.rhyme("春", "花")
    assert modern.tone_class("春") is Tone.LEVEL
    assert modern.tone_class("夜") is Tone.OBLIQUE
    assert modern.tone_class("中") is Tone.EITHER
    assert [modern.rhyme_groups[index].name for index in modern.groups("夜")] == ["鹅仄"]
    assert {modern.rhyme_groups[index].name for index in modern.groups("中")} == {"雍平", "雍仄"}
    assert modern.certain_groups("中") == ()
    assert not modern.table.learned.any()


def test_the_prior_is_what_is_seen_of_known_characters() -> None:
    kinds = np.array([0] * 40 + [1] * 40 + [0, 1, 3])
    classes = np.array([0] * 38 + [1] * 2 + [1] * 40 + [2, 2, 2])
    prior = class_prior(kinds, np.array([60.0] * 80 + [0.0] * 3), classes)
    np.testing.assert_allclose(prior.sum(axis=1), 1)
    np.testing.assert_allclose(prior[80], np.array([39, 3, 1]) / 43)
    np.testing.assert_allclose(prior[81], np.array([1, 41, 1]) / 43)
    np.testing.assert_allclose(prior[82], 1 / 3)
