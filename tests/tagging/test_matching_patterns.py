"""What is a word by its spelling, kind by kind."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.tagging.matching import ALL_KINDS, find_patterns


def pieces(text: str) -> list[str]:
    return [text[start:end] for start, end, *_ in find_patterns([text])[0]]


def tagged(text: str) -> list[str]:
    return [f"{text[start:end]}/{pos}" for start, end, _, pos, _ in find_patterns([text])[0]]


# Each kind with texts of its own: what must come out as one word, and with which part of speech.
KINDS = {
    "web address": [
        ("请看https://example.org/a/b?c=1&d=2#top。", ["https://example.org/a/b?c=1&d=2#top/nx"]),
        ("下载：http://t.cn/A6xYz，快去", ["http://t.cn/A6xYz/nx"]),
        ("官网www.example.com.cn（中文）", ["www.example.com.cn/nx"]),
        ("打开example.net/docs就行", ["example.net/docs/nx"]),
        ("在localhost:8000上跑", ["localhost:8000/nx"]),
    ],
    "e-mail": [
        ("写信到li.si+work@mail.example.com吧", ["li.si+work@mail.example.com/nx"]),
        ("邮箱：a_b-c@example.org。", ["a_b-c@example.org/nx"]),
    ],
    "user name": [
        ("谢谢@blue-whale42 的分享", ["@/w", "blue-whale42/nx"]),
        ("转自@小小鲸鱼abc：好看", ["@/w"]),
        ("@某人", ["@/w"]),
    ],
    "topic": [
        ("#周末去哪儿#公园人真多", ["#/w", "#/w"]),
        ("#CPI走势#", ["#/w", "CPI/nx", "#/w"]),
    ],
    "number with separators": [
        ("一共12,345,678元", ["12,345,678/m"]),
        ("￥2,499.50起", ["2,499.50/m"]),
        ("圆周率3.14159……", ["3.14159/m", "……/w"]),
        ("约1.5万亿元，2.3万人", ["1.5万亿/m", "2.3万/m"]),
        ("涨了8.25%，又跌15%，占1,200%", ["8.25%/m", "15%/m", "1,200%/m"]),
        ("吃了1/2，比例3∶7", ["1/2/m", "3∶7/m"]),
    ],
    "date": [
        ("于2021-06-30到期", ["2021-06-30/m"]),
        ("2021/6/30与2021.06.30", ["2021/6/30/m", "2021.06.30/m"]),
        ("2021年6月30日9时", ["2021年/t", "6月/t", "30日/t", "9时/t"]),
        ("2021年度第3日本报", []),
    ],
    "clock time": [
        ("早上08:30开门", ["08:30/m"]),
        ("9:00-17:30营业，23:59:59截止", ["9:00-17:30/m", "23:59:59/m"]),
    ],
    "network address": [
        ("连到10.0.0.255:443", ["10.0.0.255:443/m"]),
        ("网段172.16.0.0/16，主机8.8.8.8", ["172.16.0.0/16/m", "8.8.8.8/m"]),
    ],
    "range": [
        ("等3-5天，要20~30人", ["3-5/m", "20~30/m"]),
        ("长1.5-2.5米，含10-15%", ["1.5-2.5/m", "10-15%/m"]),
        ("比分2:1", ["2:1/m"]),
        ("2010-2020年", []),
    ],
    "quantity with a unit": [
        ("喝500ml水，跑10km", ["500/m", "ml/q", "10/m", "km/q"]),
        ("主频2.4GHz，内存16GB", ["2.4/m", "GHz/q", "16/m", "GB/q"]),
        ("5G手机和3D电影", ["5G/nx", "3D/nx"]),
    ],
    "run of letters": [
        ("我用Linux写Python", ["Linux/nx", "Python/nx"]),
        ("啊AAAAAAAA的叫", ["AAAAAAAA/nx"]),
        ("Tim Cook说", ["Tim/nx", "Cook/nx"]),
        ("连上Wi-Fi，用Vue.js和C++、C#", ["Wi-Fi/nx", "Vue.js/nx", "C++/nx", "C#/nx"]),
        ("穿T恤唱K，做B超，CT", []),
    ],
    "model code": [
        ("新的Phone15ProMax到了", ["Phone15ProMax/nx"]),
        ("今天PM2.5很高，坐G7012次", ["PM2.5/nx", "G7012/nx"]),
        ("升到v2.0.1-rc1", ["v2.0.1-rc1/nx"]),
        ("买了ABC-123、X9和H5N1疫苗", ["ABC-123/nx", "X9/nx", "H5N1/nx"]),
    ],
    "emoji": [
        ("好👍🏽呀", ["👍🏽/w"]),
        ("全家👨‍👩‍👧‍👦出游🎉🎉", ["👨‍👩‍👧‍👦/w", "🎉/w", "🎉/w"]),
        ("加油🇨🇳1️⃣❤️", ["🇨🇳/w", "1️⃣/w", "❤️/w"]),
    ],
    "bracketed emoticon": [
        ("笑死[doge][doge]", ["[/w", "doge/nx", "]/w", "[/w", "doge/nx", "]/w"]),
        ("好吧[偷笑]", ["[/w", "]/w"]),
    ],
    "kaomoji": [
        ("早呀(≧▽≦)/", ["(≧▽≦)//w"]),
        ("困(´・ω・`)了T_T", ["(´・ω・`)/w", "T_T/w"]),
        ("o(︶︿︶)o唉 ^_^ →_→", ["o(︶︿︶)o/w", "^_^/w", "→_→/w"]),
        ("（见第2页）(ABC)", ["ABC/nx"]),
    ],
    "run of marks": [
        ("我……不——好吧...", ["……/w", "——/w", ".../w"]),
        ("………………", ["………………/w"]),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str) -> None:
    for text, expected in KINDS[kind]:
        assert tagged(text) == expected, text


def test_ordinary_text_has_no_pattern() -> None:
    assert find_patterns(["他们（三个人）说：“今天很好，明天见！”", "", "  ", "共200人；第3名"]) == [[], [], [], []]


@pytest.mark.parametrize("kind", KINDS)
def test_width_does_not_matter(kind: str) -> None:
    wide = {point: point + 0xFEE0 for point in range(0x21, 0x7F)}
    for text, _ in KINDS[kind]:
        assert find_patterns([text.translate(wide)]) == find_patterns([text])


def test_lines_do_not_touch() -> None:
    lines = ["我有12", "34.5元", "a", "@", "tom 看", "2021年", "", "6月"]
    assert find_patterns(lines) == [find_patterns([line])[0] for line in lines]


def test_which_kinds_may_be_part_of_a_name() -> None:
    free = {kind.name for kind in ALL_KINDS if kind.name and not kind.nameless}
    assert free == {"user", "letters", "joined letters", "model code", "year", "month", "day", "hour"}


@pytest.mark.parametrize(
    "unit",
    ["1,", "1,111,", "a-", "a.", "A1a", "1.", "1-", "1:", "(ω", "((", "@", "a@", "/a", "www.", "—", "1*", "._", "a_",
     "1%", "a'", "1/", "o(", "(>_", "~1", "#", "👨\u200d", "👍", "[", "1％，", "A1-"],
)  # fmt: skip
def test_no_text_takes_long(unit: str) -> None:
    for tail in ("", "万", "@"):
        start = time.process_time()
        find_patterns([unit * (20_000 // len(unit)) + tail])
        assert time.process_time() - start < 2


SIGNS = st.text(
    st.sampled_from("abZ019.,:-/@#[](){}_~%+*'& \n年月日时万中国—…·ω^>😀👍🏽\u200d\ufe0f\u20e3🇨１：（Ａ"), max_size=30
)


@given(st.lists(SIGNS, max_size=4))
@settings(deadline=None)
def test_pieces_are_in_order_and_within_their_text(texts: list[str]) -> None:
    found = find_patterns(texts)
    assert found == [find_patterns([text])[0] for text in texts]
    for text, spans in zip(texts, found, strict=True):
        last = 0
        for start, end, kind, *_ in spans:
            assert last <= start < end <= len(text)
            assert not any(character.isspace() for character in text[start:end])
            assert kind
            last = end
