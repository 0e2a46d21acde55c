"""Seasons are learned from titles, doublings from use; both by hand-made poems."""

from __future__ import annotations

import pytest
from datasets import Dataset

from scripts import learn_sense
from zhseq.poetry.sense import Sense


def poems(rows: list[tuple[str, str, list[str]]]) -> Dataset:
    titles, forms, lines = map(list, zip(*rows, strict=True))
    return Dataset.from_dict({"title": titles, "form": forms, "lines": lines})


@pytest.fixture(scope="module")
def sense() -> Sense:
    spring = [("春日", "五绝", ["东风吹绿草", "悠悠山月明"])] * 400
    autumn = [("秋夜", "五绝", ["西风吹落叶", "三更山月明"])] * 400
    dusk = [("晚望", "五绝", ["斜阳山月明", "日日水边行"])] * 400
    others = [(title, "五绝", ["山水山月明"]) for title in ("夏日", "冬日", "晓发") for _ in range(400)]
    return learn_sense.learn(poems(spring + autumn + dusk + others))


def test_doublings_need_many_uses(sense: Sense) -> None:
    assert sense.doublings == "悠日"
    few = learn_sense.learn(poems([("春日", "五绝", ["悠悠山月明", "悠"])] * 59))
    assert few.doublings == ""


def test_words_belong_where_their_share_is_far_above_that_of_others(sense: Sense) -> None:
    assert {"东风", "东", "悠悠"} <= set(sense.words["春"])
    assert {"西风", "落叶"} <= set(sense.words["秋"])
    assert {"三更"} <= set(sense.words["夜"])
    assert {"斜阳", "日日"} <= set(sense.words["暮"])
    listed = {word for words in sense.words.values() for word in words}
    assert not listed & {"山月", "月明", "明日", "草悠"}  # everywhere, or reaching over the end of a line


def test_words_of_two_seasons_that_never_meet_are_kept_apart(sense: Sense) -> None:
    assert sense.apart["春秋"] > 1
    assert "夏冬" not in sense.apart


@pytest.mark.parametrize(
    ("title", "season"), [("春日", 0), ("秋夜", 2), ("长春宫", -1), ("春秋", -1), ("春去秋来", -1), ("江夏", -1)]
)
def test_titles_tell_one_season_and_names_tell_none(title: str, season: int) -> None:
    assert learn_sense.label([title], learn_sense.SEASONS, learn_sense.NO_SEASON).tolist() == [season]


@pytest.mark.parametrize(("title", "hour"), [("晓发", 0), ("春晚", -1), ("晚望", 1), ("除夕", -1), ("夜坐", 2)])
def test_titles_tell_one_hour_and_feasts_tell_none(title: str, hour: int) -> None:
    assert learn_sense.label([title], learn_sense.HOURS, learn_sense.NO_HOUR).tolist() == [hour]


def test_words_that_face_each_other_often_are_listed() -> None:
    five = [
        "山中人不见",
        "林外鸟相呼",
        "白云生远岫",
        "青草满平芜",
        "白云千里去",
        "青草一江孤",
        "我是山中客",
        "君为海上夫",
    ]
    other = ["甲", "乙", "丙", "丁", "戊", "己", "庚", "辛"]
    facing = learn_sense.learn_facing(
        poems([("春日", "五律", five)] * 8 + [("春日", "五绝", five)] + [("", "五律", other)])
    )
    assert facing.facing("白") == [("青", 16)]
    assert facing.facing("白云") == [("青草", 16)]
    assert ("远岫", 8) in facing.facing("平芜"), "a word at the end of a line"
    assert not facing.facing("山中"), "the first and the last couplet need not answer word for word"
    assert facing.total == {1: 80, 2: 48}


def test_without_regulated_poems_nothing_faces_anything() -> None:
    facing = learn_sense.learn_facing(poems([("春日", "五绝", ["东风吹绿草"])]))
    assert (facing.counts, facing.total) == ({}, {1: 0, 2: 0})
