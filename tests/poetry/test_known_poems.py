"""Poems that every lover of verse knows, judged as handbooks judge them; they are read from the corpora."""

from __future__ import annotations

import pytest

from zhseq.corpus import load_poems
from zhseq.poetry.prosody import CI, Prosody
from zhseq.poetry.review import review
from zhseq.text.normalize import normalize

pytestmark = pytest.mark.corpus

REGULATED = [  # opening, form, pattern, remarks as (code, line, what makes up for it), faults as (code, line)
    ("千里莺啼绿映红", "七绝", "仄起 首句入韵", [("rescued_by_next", 3, "烟")], []),
    ("清川带长薄", "五律", "平起 首句不入韵", [("rescued_by_next", 3, "相")], []),
    ("高阁客竟去", "五律", "仄起 首句不入韵", [("rescued_by_next", 1, "花")], []),
    ("渭城朝雨浥轻尘", "七绝", "平起 首句入韵 折腰体", [("broken_waist", 3, "")], []),
    ("独怜幽草涧边生", "七绝", "平起 首句入韵 折腰体", [("broken_waist", 3, "")], []),
    ("单车欲问边", "五律", "平起 首句入韵", [], [("not_linked", 3)]),
    ("众芳摇落独暄妍", "七律", "平起 首句入韵", [("neighbouring_rhyme", 1, "下平一先 (年)")], []),
    ("百岁老翁不种田", "七绝", "仄起 首句入韵", [("lonely_rescued", 3, "篱")], [("lonely_level_tone", 1)]),
    ("白日依山尽，黄河", "五绝", "仄起 首句不入韵", [], []),
]
SUNG = [  # opening, tune
    ("明月几时有", "水调歌头"),
    ("常记溪亭日暮", "如梦令"),
    ("昨夜雨疏风骤", "如梦令"),
    ("怒发冲冠，凭", "满江红"),
    ("大江东去", "念奴娇"),
    ("碧云天，黄叶地", "苏幕遮"),
    ("莫听穿林打叶声", "定风波"),
    ("红酥手", "钗头凤"),
    ("箫声咽", "忆秦娥"),
    ("波渺渺", "江南春"),
    ("寒蝉凄切", "雨霖铃"),
    ("寻寻觅觅，冷冷清清", "声声慢"),
    ("千古江山，英雄无觅", "永遇乐"),
]


def plain(opening: str) -> str:
    """Return opening words without punctuation."""
    return normalize(opening).replace(",", "").replace("，", "")


@pytest.fixture(scope="module")
def prosody() -> Prosody:
    return Prosody.load("checkpoints/poem")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The poems by their openings, with punctuation."""
    openings = [plain(each[0]) for each in (*REGULATED, *SUNG)]
    table = load_poems().select_columns(["author", "lines", "marks"]).with_format("arrow")[:]
    found: dict[str, str] = {}
    for lines, marks in zip(table["lines"].to_pylist(), table["marks"].to_pylist(), strict=True):
        start = "".join(lines[:2])
        for opening in openings:
            if opening not in found and start.startswith(opening):
                found[opening] = "".join(line + mark for line, mark in zip(lines, marks, strict=True))
    return found


@pytest.mark.parametrize(("opening", "form", "pattern", "remarks", "faults"), REGULATED)
def test_regulated_verse(opening, form, pattern, remarks, faults, texts, prosody):
    found = review(texts[plain(opening)], prosody)
    assert (found.form, found.pattern) == (form, pattern)
    said = [(each.code, each.line, each.text) for each in found.remarks]
    assert set(remarks) <= set(said)
    assert [(fault.code, fault.line) for fault in found.faults] == faults


@pytest.mark.parametrize(("opening", "tune"), SUNG)
def test_ci(opening, tune, texts, prosody):
    found = review(texts[plain(opening)], prosody)
    assert (found.form, found.faults) == (CI, ())
    assert found.tune == tune


def test_what_a_famous_ci_repeats_is_demanded(texts, prosody):
    for opening, old, new in (("箫声咽", "秦楼月,年年", "秦楼夜,年年"), ("常记溪亭日暮", "争渡。惊", "争舞。惊")):
        text = normalize(texts[opening])
        assert old in text, text
        assert "no_repetition" in [fault.code for fault in review(text.replace(old, new), prosody).faults]


def test_a_character_that_breaks_tone_rhyme_and_repetition_is_no_reason_for_a_rare_variant(texts, prosody):
    text = normalize(texts["常记溪亭日暮"])
    found = review(text.replace("争渡", "争冰", 1), prosody)
    assert {"wrong_tone", "no_rhyme", "no_repetition"} == {fault.code for fault in found.faults}


def test_the_character_that_rhymes_and_the_tone_of_不_are_checked(texts, prosody):
    crane = normalize(texts["白日依山尽黄河"])
    assert [(f.code, f.line, f.position) for f in review(crane.replace("黄河", "黄不"), prosody).faults] == [
        ("wrong_tone", 2, 2)
    ]
    assert [(f.code, f.line, f.position) for f in review(crane.replace("楼", "霜"), prosody).faults] == [
        ("no_rhyme", 4, 5)
    ]


def test_a_song_without_its_title_is_told(prosody):
    found = review("枯藤老树昏鸦，小桥流水人家，古道西风瘦马。夕阳西下，断肠人在天涯。", prosody)
    assert (found.form, found.pattern, found.faults) == ("曲", "天净沙", ())


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("千山鸟飞绝，万径人踪灭。孤舟蓑笠翁，独钓寒江雪。", "入声九屑 (月)"),
        ("春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", "上声十七筱 (老)"),
    ],
)
def test_quatrains_on_oblique_rhymes_have_no_fault(text, group, prosody):
    found = review(text, prosody)
    assert found.faults == found.otherwise.faults == ()
    assert {found.rhyme_name(line, prosody) for line in (0, 1, 3)} == {group}
