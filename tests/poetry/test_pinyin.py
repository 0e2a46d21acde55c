"""Pinyin over verse: the reading that tone and rhyme decide."""

import sys

import pytest

from zhseq import checkpoint
from zhseq.errors import ConfigError
from zhseq.poetry import pinyin
from zhseq.poetry.pinyin import pinyin_of, spaced
from zhseq.poetry.prosody import Prosody, regulated_patterns
from zhseq.poetry.request import Poem

pytest.importorskip("pypinyin")
MOUNTAIN = ("远上寒山石径斜", "白云生处有人家", "停车坐爱枫林晚", "霜叶红于二月花")


@pytest.fixture(scope="module")
def prosody() -> Prosody:
    return Prosody.load(checkpoint.shipped("poem"))


def pattern(second: str, *, rhymed: bool):
    every = regulated_patterns(4, 7)
    return next(each for each in every if each.tones[0][1] == second and bool(each.rhymes[0]) == rhymed)


def test_without_a_pattern_the_words_of_the_line_decide() -> None:
    assert pinyin_of(["银行行走"], None) == [["yín", "háng", "xíng", "zǒu"]]
    assert pinyin_of(["春〇A"], None)[0][0] == "chūn"


def test_a_word_is_read_so_that_it_rhymes(prosody: Prosody) -> None:
    assert pinyin_of(MOUNTAIN, None, prosody)[0][-1] == "xié"
    found = pinyin_of(MOUNTAIN, pattern("仄", rhymed=True), prosody)
    assert [line[-1] for line in found] == ["xiá", "jiā", "wǎn", "huā"]
    assert found[1][:2] == ["bái", "yún"]  # an entering tone, level today, is left alone


def test_a_place_that_asks_for_a_tone_has_it(prosody: Prosody) -> None:
    line = "中看中中中中中"
    level, oblique = (pinyin_of((line,), pattern(tone, rhymed=False), prosody)[0][1] for tone in "平仄")
    assert (level, oblique) == ("kān", "kàn")


def test_readings_that_no_word_has_are_left_out() -> None:
    assert pinyin.of_tone("长", "仄") == ["zhǎng"]
    assert pinyin.of_tone("听", "仄") == []  # yǐn is another word
    assert pinyin.of_tone("醒", "平") == []


def test_poems_give_their_pinyin(prosody: Prosody) -> None:
    poem = Poem(MOUNTAIN, "七绝", pattern=pattern("仄", rhymed=True))
    assert poem.pinyin[0][-1] == "xiá"
    assert [len(line) for line in Poem(MOUNTAIN[:1], "七绝", pattern=poem.pattern).pinyin] == [7]


def test_pinyin_stands_over_its_characters() -> None:
    rows = spaced(["霜叶"], [["shuāng", "yè"]], "。")
    assert rows == ["shuāng yè", "霜     叶。"]


def test_without_pypinyin_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    pinyin._pypinyin.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'zhseq\[pinyin\]'"):
        pinyin_of(["春"], None)
