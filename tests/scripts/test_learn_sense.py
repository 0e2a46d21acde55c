"""Seasons are learned from titles, doublings from use; both by hand-made poems."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from scripts import learn_sense
from tests.poetry.conftest import make_prosody
from zhseq.poetry.prosody import Prosody, TunePattern
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
    assert sense.apart["春冬"] == 0.3, "kept apart, whatever poets do"
    assert {"菊", "枫"} <= set(sense.words["秋"])
    assert "雪" in sense.words["冬"]
    assert "夏冬" not in sense.apart


def test_the_order_in_which_times_follow_each_other_counts(sense: Sense) -> None:
    autumn, spring = ["西风吹落叶", "东风吹绿草"], ["东风吹绿草", "西风吹落叶"]
    alone = [["东风吹绿草", "山水"]] * 400 + [["西风吹落叶", "山水"]] * 400
    texts = ["\n".join(lines) for lines in [spring] * 200 + [autumn] * 20 + alone + [["山水", "山水"]] * 200]
    apart = learn_sense.keep_apart(texts, np.array(["五绝"] * len(texts)), dict(sense.words))
    assert apart["秋春"] > 1
    assert "春秋" not in apart or apart["春秋"] < apart["秋春"]


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


def test_characters_tell_of_a_subject_where_its_poems_have_them_and_others_do_not() -> None:
    plum, other = [("梅花", "五绝", ["雪里一枝香", "人在水边行"])], [("登楼", "五绝", ["人在水边行", "山上看云归"])]
    found = learn_sense.learn_subjects(poems(plum * 80 + other * 400)).words
    assert {"雪", "枝", "香"} <= set(found["梅花"].characters)
    assert not set("人水") & set(found["梅花"].characters)
    assert (found["梅花"].titles, found["梅花"].whole, found["梅"].whole) == (80, 80, 0)
    assert found["梅花"].share == 1
    assert "登楼" not in learn_sense.learn_subjects(poems(other * 59)).words, "too few titles"


def test_an_author_is_told_by_the_words_that_others_of_the_time_have_less() -> None:
    rows = (
        [("甲", "宋", "帘卷西风人瘦")] * 30 + [("乙", "宋", "帘卷东风人在")] * 30 + [("丙", "宋", "山高水远天长")] * 300
    )
    names, times, texts = zip(*[*rows, ("丁", "唐", "帘外")], strict=True)
    dataset = Dataset.from_dict({"author": list(names), "dynasty": list(times), "lines": [[text] for text in texts]})
    found = learn_sense.learn_manners(dataset, ["乙", "丙", "丁"], ["甲", "戊"])
    assert list(found) == ["甲"]
    assert (found["甲"].near, found["甲"].dynasty, found["甲"].poems) == ("乙", "宋", 30)
    assert set(list(found["甲"].words)[:3]) == {"瘦", "西", "人"}
    assert not set("山高水远") & set(found["甲"].words)


def test_lines_are_led_where_the_first_character_stands_alone() -> None:
    pairs = [("山水", "春风"), ("明月", "落花"), ("白云", "流水"), ("芳草", "斜阳")]
    led = [(f"{lead}{a}{b}", f"{b}{lead}{a}") for lead in "望看对念渐" for a, b in pairs]
    tune = TunePattern((5, 5), ("中" * 5,) * 2, (0, 1), "，。", (), 30, name="小令", total=40)
    prosody = Prosody(make_prosody().table, [], {"小令": tune})
    dataset = Dataset.from_dict({"tune": ["小令"] * len(led), "lines": [list(lines) for lines in led]})
    leads, leaders = learn_sense.learn_leads(dataset, prosody)
    assert leads == {"小令": (0,)}
    assert set(leaders) == set("望看对念渐")
