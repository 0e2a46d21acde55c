"""What is a word by its spelling, as it comes out of the tagger."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.test_tagger import check
from tests.tagging.tiny_tagger import NER, tiny_features, tiny_model
from zhseq.errors import InputError
from zhseq.tagging import matching
from zhseq.tagging.dictionary import Entry, UserDictionary
from zhseq.tagging.formats import Document
from zhseq.tagging.matching import find_patterns
from zhseq.tagging.model import TorchNetwork
from zhseq.tagging.tagger import Tagger
from zhseq.text.tags import scheme_tags

POS = tuple(scheme_tags(["n", "nx", "m", "q", "t", "v", "w"], "BMES", outside=False))
MODEL = tiny_model({"pos": POS, "ner": NER})
TAGGER = Tagger(TorchNetwork(MODEL, tiny_features()))
TEXT = "中国人民在https://example.org/a看到３，５００元、PM2.5和👍🏽[doge]"
SIGNS = st.text(st.sampled_from("中国人民在 abAB019.,:-/@#[]()_~%' \n年月日…—ω^👍🏽１"), max_size=40)


def texts(document: Document) -> list[str]:
    return [word.text for word in document.words]


def test_pieces_are_words_with_their_part_of_speech() -> None:
    words = [f"{word.text}/{word.pos}" for word in TAGGER(TEXT).words]
    assert {"https://example.org/a/nx", "３，５００/m", "PM2.5/nx", "👍🏽/w", "[/w", "doge/nx", "]/w"} <= set(words)


def test_they_can_be_left_to_the_model() -> None:
    plain = Tagger(TorchNetwork(MODEL, tiny_features()), patterns=False)
    assert "https://example.org/a" not in texts(plain(TEXT))
    assert TAGGER.patterns
    assert not plain.patterns


@pytest.mark.parametrize("labels", [["n", "nx", "m", "w"], ["NOUN", "X", "NUM"]])
def test_a_model_without_these_parts_of_speech_does_without(labels: list[str]) -> None:
    tagger = Tagger(
        TorchNetwork(tiny_model({"pos": tuple(scheme_tags(labels, "BMES", outside=False))}), tiny_features())
    )
    assert not tagger.patterns
    assert "https://example.org/a" not in texts(tagger(TEXT))


@given(SIGNS)
@settings(max_examples=60, deadline=None)
def test_in_any_text(text: str) -> None:
    for document in (TAGGER(text), *TAGGER(text, nbest=2).alternatives, TAGGER(text, scores=True)):
        check(document)
        words = {(word.start, word.end): word.pos for word in document.words}
        for start, end, _, pos, nameless in find_patterns([text])[0]:
            assert words[start, end] == pos
            assert not nameless or all(entity.end <= start or end <= entity.start for entity in document.entities)


def test_the_same_alone_and_together() -> None:
    lines = [TEXT, "人民", "", "2021年3月" * 30, "在http://a.cn" + "b" * 200 + "中国", "x@y.org，1,000%"] * 5
    assert list(TAGGER.stream(lines)) == [TAGGER(line) for line in lines]


def test_a_word_of_the_dictionary_comes_first() -> None:
    own = {
        "PM2.5": Entry("PM2.5", "n", "LOC", mode="force"),  # the same piece
        "到３，５００元": Entry("到3,500元", "v", mode="force"),  # a longer one
        "example.org": Entry("example.org", "n", mode="force"),  # a shorter one is not heard
    }
    document = TAGGER(TEXT, dictionary=UserDictionary(own.values()))
    words = {word.text: word.pos for word in document.words}
    assert words["PM2.5"] == "n"
    assert words["到３，５００元"] == "v"
    assert "https://example.org/a" in words
    assert [(entity.text, entity.label) for entity in document.entities if entity.text == "PM2.5"] == [("PM2.5", "LOC")]


def test_a_preferred_word_that_is_no_part_of_a_piece_comes_first() -> None:
    words = [Entry("看到3,500元", "v"), Entry("PM2.5", "n", "LOC"), Entry("3,500", "q")]
    document = TAGGER("看到3,500元PM2.5", dictionary=UserDictionary(words, weight=300.0))
    assert texts(document) == ["看到3,500元", "PM2.5"]
    assert [(entity.text, entity.label) for entity in document.entities] == [("PM2.5", "LOC")]


def own(**options: object) -> UserDictionary:
    return UserDictionary(mode="force", **options)  # type: ignore[arg-type]


def test_patterns_of_ones_own() -> None:
    dictionary = own()
    dictionary.add_pattern("国[人民]+", "v", "PER")
    dictionary.add_pattern(r"PM\d\.\d和", "n")
    document = TAGGER("中国人民PM2.5和中國人", dictionary=dictionary)
    words = {word.text: word.pos for word in document.words}
    assert words["国人民"] == words["國人"] == "v"
    assert words["PM2.5和"] == "n"  # longer than what is known by its spelling
    assert {("国人民", "PER"), ("國人", "PER")} <= {(entity.text, entity.label) for entity in document.entities}


def test_a_word_comes_before_a_pattern_of_its_length() -> None:
    dictionary = own(entries=[Entry("人民", "n")])
    dictionary.add_pattern("人.", "v")
    assert {(word.text, word.pos) for word in TAGGER("人民人人", dictionary=dictionary).words} == {
        ("人民", "n"),
        ("人人", "v"),
    }


def test_a_pattern_does_not_go_across_lines() -> None:
    dictionary = own()
    dictionary.add_pattern(r"^北[^京]*京$|中\s*国", "v")
    first, second = TAGGER.stream(["北大", "京"], dictionary=dictionary)
    assert "北大" not in texts(first) + texts(second)
    assert texts(TAGGER("北大京", dictionary=dictionary)) == ["北大京"]
    assert texts(TAGGER("中 国", dictionary=dictionary)) == ["中 国"]


def test_a_pattern_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "PATTERN_SECONDS", 0.2)
    dictionary = own()
    dictionary.add_pattern("(?:a+)+b(?:a*a*)*c")
    with pytest.raises(InputError, match=r"takes at most 0\.2 s .* this one takes longer: \(\?:a\+\)\+b"):
        TAGGER("a" * 3000 + "b" + "a" * 3000 + "!", dictionary=dictionary)


def test_texts_that_are_kept_apart() -> None:
    together = own(entries=["国人"])
    assert "国人" in texts(TAGGER("中国人民", dictionary=together))
    apart = UserDictionary(["国人", "中国人民"], weight=500.0)
    apart.keep_apart("中国", "人民")
    words = texts(TAGGER("中国人民", dictionary=apart))
    assert "".join(words) == "中国人民"
    assert [len(word) for word in words] in ([2, 2], [1, 1, 2], [2, 1, 1], [1, 1, 1, 1])
    assert "国人" in texts(TAGGER("国人在中国人", dictionary=apart))  # only where the whole text stands


def test_of_a_forced_word_and_a_cut_the_longer_text_stands() -> None:
    dictionary = own(entries=["中国人民大学"])
    dictionary.keep_apart("人民", "大学")
    assert texts(TAGGER("中国人民大学", dictionary=dictionary)) == ["中国人民大学"]
    dictionary = own(entries=["民大"])
    dictionary.keep_apart("人民", "大学")
    assert "民大" not in texts(TAGGER("中国人民大学", dictionary=dictionary))


def test_copies_have_them_too() -> None:
    dictionary = own()
    dictionary.add_pattern("人民+", "v")
    copy = dictionary.copy()
    copy.keep_apart("中", "国")
    assert texts(TAGGER("中国人民民", dictionary=copy)) == ["中", "国", "人民民"]
