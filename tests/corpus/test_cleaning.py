from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.corpus import cleaning
from zhseq.corpus.cleaning import CleanPoems, canonical_tune, clean, collect_tunes, concatenate, select, split_title
from zhseq.corpus.poetry import CI, QU, SHI, RawPoem
from zhseq.text.normalize import from_codepoints, is_han

QUATRAIN = "春山一路花，流水到人家。\n日暮闻啼鸟，东风满树霞。"


def raw(text: str = QUATRAIN, **changes: str | None) -> RawPoem:
    fields = {"id": "x", "title": "试笔", "author": "某甲", "dynasty": "唐", "kind": SHI, "tune": "", **changes}
    return RawPoem(text=text, **fields)  # type: ignore[arg-type]


def lines(poems: CleanPoems) -> list[list[str]]:
    text = iter(from_codepoints(poems.points))
    each = iter(["".join(next(text) for _ in range(length)) for length in poems.line_lengths.tolist()])
    return [[next(each) for _ in range(count)] for count in poems.poem_lines.tolist()]


def test_a_poem_becomes_simplified_lines_and_marks() -> None:
    text = "「春山一路花，\n流水到人傢？」\n日暮、聞啼鳥；東風滿樹霞"
    poems, dropped = clean("source", [raw(text, title="  試  筆 ")])
    assert lines(poems) == [["春山一路花", "流水到人家", "日暮闻啼鸟", "东风满树霞"]]
    assert from_codepoints(poems.line_marks) == "，？；。"
    assert (poems.titles, poems.forms, poems.sources) == (["试 笔"], ["五绝"], ["source"])
    assert dropped == Counter()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", cleaning.EMPTY),
        ("。，\n", cleaning.EMPTY),
        ("一路（一作樹）春山花，" + QUATRAIN, "editorial notes"),
        ("第3首" + QUATRAIN, "editorial notes"),
        ("ａ" + QUATRAIN, "other symbols"),
        (QUATRAIN.replace("花", "□"), "illegible characters"),
        (QUATRAIN.replace("花", "?"), "illegible characters"),
        (QUATRAIN.replace("花", "{木圼}"), "composed or private characters"),
        (QUATRAIN.replace("花", "\ue123"), "composed or private characters"),
        (QUATRAIN.replace("花", "け"), "other symbols"),
        (QUATRAIN.replace("花", "\ud800"), "other symbols"),
        (QUATRAIN.replace("花", "\x1e"), "illegible characters"),
        ("春山一路花，流水到人家。", cleaning.FRAGMENT),
        ("春山，流水。", cleaning.FRAGMENT),
        ("春山一路花流水到人家", cleaning.FRAGMENT),
        ("春" * 31 + "。\n" + QUATRAIN, cleaning.PROSE),
    ],
)
def test_every_defect_has_its_reason(text: str, reason: str) -> None:
    poems, dropped = clean("source", [raw(), raw(text), raw()])
    assert dropped == Counter([reason])
    assert len(poems) == 2
    assert reason in cleaning.REASONS


@pytest.mark.parametrize("title", ["句", "句 其二", "句三", "残句", "句二首", "存目"])
def test_titles_of_fragments(title: str) -> None:
    assert clean("source", [raw(title=title)])[1] == Counter([cleaning.FRAGMENT])


def test_a_title_that_only_begins_like_one_is_kept() -> None:
    assert len(clean("source", [raw(title="句曲山中"), raw(title="存目录")])[0]) == 2


def test_the_skip_list_and_composed_characters() -> None:
    records = [raw(id="a"), raw(QUATRAIN.replace("花", "{木甲}"), id="b")]
    poems, dropped = clean("source", records, skip={"a"}, composed={"{木甲}": "柙"})
    assert dropped == Counter([cleaning.SUSPECTED])
    assert lines(poems)[0][0] == "春山一路柙"


@pytest.mark.parametrize(
    ("count", "length", "form"),
    [
        (4, 5, "五绝"),
        (8, 5, "五律"),
        (12, 5, "五言"),
        (4, 7, "七绝"),
        (8, 7, "七律"),
        (6, 7, "七言"),
        (4, 4, "四言"),
        (4, 6, "杂言"),
    ],
)
def test_forms_of_shi(count: int, length: int, form: str) -> None:
    assert clean("source", [raw(("春" * length + "。") * count)])[0].forms == [form]


def test_forms_of_ci_and_qu() -> None:
    records = [
        raw(kind=CI, tune="生查子"),
        raw(kind=CI, title="某地竹枝词"),
        raw("春去也，花落满城飞，莺老柳成围。", kind=CI, title="无名"),
        raw(kind=QU),
        raw("春去也，花落满城飞，莺老柳成围。"),
        raw(kind=None, title="生查子·春"),
        raw(kind=None, title="春·生"),
    ]
    poems, _ = clean("source", records, known_tunes={"生查子"})
    assert poems.forms == ["词", "五绝", "词", "曲", "杂言", "词", "五绝"]
    assert poems.tunes == ["生查子", "", "", "", "", "生查子", ""]


def test_dynasties_and_unknown_authors() -> None:
    records = [
        raw(dynasty="三国", author=""),
        raw(dynasty="金末元初", author="不詳"),
        raw(dynasty="先秦", author="屈原", id="chinese-poetry/楚辞/x#0"),
        raw(dynasty="先秦", author="王褒", id="chinese-poetry/楚辞/x#1"),
    ]
    poems, _ = clean("source", records)
    assert poems.dynasties == ["魏晋", "金", "先秦", "汉"]
    assert poems.authors == ["无名氏", "无名氏", "屈原", "王褒"]
    assert set(poems.dynasties) <= set(cleaning.DYNASTIES)


def test_the_topic_of_a_ci_is_its_title() -> None:
    records = [
        raw(kind=CI, title="浣溪沙·春日"),
        raw(kind=CI, title="", tune="浣溪沙"),
        raw(kind=CI, title="浣溪沙其二"),
    ]
    poems, _ = clean("source", records, known_tunes={"浣溪沙"})
    assert poems.titles == ["春日", "浣溪沙", "浣溪沙"]
    assert poems.tunes == ["浣溪沙"] * 3


@settings(deadline=None)  # the first call builds tables
@given(st.lists(st.text(max_size=60), max_size=6))
def test_any_text_is_cleaned_or_dropped(texts: list[str]) -> None:
    poems, dropped = clean("source", [raw(text, title=text, author=text) for text in texts])
    assert len(poems) + dropped.total() == len(texts)
    assert poems.line_lengths.sum() == len(poems.points)
    assert poems.poem_lines.sum() == len(poems.line_lengths) == len(poems.line_marks)
    assert is_han(poems.points).all()


def test_concatenate_and_select_undo_each_other() -> None:
    one, _ = clean("one", [raw(id="a"), raw("春去也，花落满城飞，莺老柳成围。", id="b")])
    two, _ = clean("two", [raw(QUATRAIN + QUATRAIN, id="c")])
    both = concatenate([one, two])
    assert both.ids == ["a", "b", "c"]
    part = select(both, np.array([1, 2]))
    assert part.ids == ["b", "c"]
    assert part.sources == ["one", "two"]
    assert lines(part) == lines(both)[1:]


@pytest.mark.parametrize(
    ("field", "tune"),
    [
        ("浣溪沙", "浣溪沙"),
        ("秦楼月・忆秦娥", "忆秦娥"),
        ("念奴娇(平韵)", "念奴娇"),
        ("“僮至”念奴娇", "念奴娇"),
        ("百字令", "念奴娇"),
        ("失调名", ""),
        ("", ""),
    ],
)
def test_canonical_tune(field: str, tune: str) -> None:
    assert canonical_tune(field) == tune


def test_tunes_are_collected_from_fields_and_from_frequent_heads() -> None:
    known = collect_tunes(["一丛花", "失调名"], ["减兰·春", "看山·一", "看山·二", "看山·三", "看水·一"])
    assert {"一丛花", "看山", "减兰"} <= known  # 减兰 as a known other name
    assert not known & {"失调名", "看水", ""}


@pytest.mark.parametrize(
    ("title", "field", "expected"),
    [
        ("浣溪沙·春日", "", ("浣溪沙", "春日")),
        ("浣溪沙春日", "", ("浣溪沙", "春日")),
        ("浣溪沙慢春日", "", ("浣溪沙慢", "春日")),
        ("菩萨蛮 其六", "菩萨蛮", ("菩萨蛮", "")),
        ("菩萨蛮·二首", "", ("菩萨蛮", "")),
        ("壶中天·咏雪", "", ("念奴娇", "咏雪")),
        ("题画", "", ("", "题画")),
        ("一二三四五六七八·春", "", ("", "一二三四五六七八·春")),
        ("", "菩萨蛮", ("菩萨蛮", "")),
    ],
)
def test_split_title(title: str, field: str, expected: tuple[str, str]) -> None:
    assert split_title(title, field, {"浣溪沙", "浣溪沙慢", "菩萨蛮"}) == expected
