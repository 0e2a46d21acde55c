from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from zhseq.text.vocab import LINE, SPECIALS, Vocab

SCRIPT = Path(__file__).parents[2] / "scripts" / "poem_measures.py"
POEM = ("春风花雪月", "山水云雨江")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("poem_measures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def vocab() -> Vocab:
    return Vocab([*SPECIALS, LINE, *"春风花雪月山水云雨江河天地人"])


def test_variety_by_hand(script: ModuleType) -> None:
    assert script.distinct([("春春",), ("春风",)], size=2) == (0.5, 1.0)
    assert script.distinct([("春风",), ("春风",)], size=2) == (0.5, 0.5)
    assert script.top_mass([("春春春风",)], top=1) == 0.75
    assert script.repeats_bigram(("春风花", "山春风"))
    assert not script.repeats_bigram(("春风", "风春"))


def test_copies_are_found_within_lines_only(script: ModuleType, vocab: Vocab) -> None:
    corpus = script.Corpus([POEM, ("河天地人春",)], vocab)
    poem = ("人春风花雪", "雪月山水云", "山水云雨江")
    assert corpus.copied([poem], 4) == [[False, True, False, False, True, True]]
    assert corpus.copied([poem], 5, whole=True) == [[False, False, True]]
    assert corpus.copied([("春风花雪",)], 4, whole=True) == [[False]]  # part of a line is no whole line
    assert corpus.copied([("春",), poem], 4)[0] == []
    assert corpus.longest_common([poem, ("河天地人月",), ("月江雨云水",)], 5) == [5, 4, 3]


def test_copies_are_found_across_chunks(script: ModuleType, vocab: Vocab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "_CHUNK", 3)
    corpus = script.Corpus([POEM, POEM[::-1]], vocab)
    assert corpus.copied([POEM], 5, whole=True) == [[True, True]]
    assert corpus.copied([POEM], 4) == [[True] * 4]


def test_themes_are_told_by_the_characters_of_titles(script: ModuleType, vocab: Vocab) -> None:
    titles = ["春日"] * 50 + ["江行"] * 50
    texts = ["春风花月"] * 50 + ["江河水云"] * 50
    themes = script.Themes(["春", "江"], titles, texts, vocab)
    assert themes.ranks([("春风",), ("河水",), ("河水",)], [0, 1, 0]) == [1, 1, 2]


def test_doublings_that_poets_do_not_use_are_counted(script: ModuleType, vocab: Vocab) -> None:
    corpus = script.Corpus([("春春风",)] * 60 + [("花花",)] * 59 + [("雪月", "月山")] * 60, vocab)
    assert corpus.doublings == {"春"}
    assert script.odd_doublings([("春春花花", "雪月"), ("月月山", "山水")], corpus.doublings) == 50.0


def test_seasons_that_meet_are_counted(script: ModuleType) -> None:
    poems = [("春风吹", "西风起"), ("莺啼", "杏开"), ("山水", "江河"), ("东风", "雪")]
    assert script.mixed_seasons(poems) == {"poems with a season": 0.75, "two seasons": 0.5, "spring and autumn": 0.25}


def test_words_of_a_subject_stand_under_its_titles_and_not_elsewhere(script: ModuleType) -> None:
    titles = ["饮酒"] * 20 + ["山居"] * 80
    texts = ["杯中酒与山"] * 20 + ["山中云与松"] * 80
    words = script.subject_words(["饮酒", "登高"], titles, texts)
    assert set(words["饮酒"]) == {"杯", "酒"}
    assert words["登高"] == []
    assert script.with_words([("举杯",), ("看山",)], words["饮酒"]) == 0.5
