"""The shipped file against what every reader of verse knows."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from zhseq.poetry.planning import find_tune
from zhseq.poetry.prosody import Prosody, Tone
from zhseq.poetry.prosody.books import other_names
from zhseq.poetry.review import review

SHIPPED = Path(__file__).resolve().parents[3] / "checkpoints" / "poem"
RHYMES = (
    "东风空中红同公翁宫雄虫终丛童",
    "钟龙松容峰逢踪从蓉慵",
    "江窗双邦缸",
    "枝时知诗池师移儿眉垂谁",
    "归衣飞扉晖违依稀",
    "书余居如初庐除渠舒",
    "图孤湖夫壶都珠枯",
    "低迷啼溪题栖鸡",
    "斋阶谐排鞋",
    "来开台杯苔梅哀",
    "人春新尘身真神贫",
    "云闻君群军纷",
    "门村魂昏孙痕根",
    "安宽残官盘兰",
    "山闲关颜攀斑",
    "年天烟边船眠",
    "遥朝桥消潮条",
    "巢茅梢郊抛",
    "高劳毛袍豪刀",
    "何歌波河罗",
    "花家霞沙茶鸦麻",
    "香光阳乡凉霜堂",
    "生声情清城名平",
    "青星经亭庭灵",
    "僧灯冰能陵层",
    "秋流游愁楼舟",
    "心深林吟阴音寻金",
    "南谈三酣堪",
    "帘添檐严兼",
    "衫帆凡衔",
)


@pytest.fixture(scope="module")
def prosody() -> Prosody:
    if not (SHIPPED / "prosody.json").exists():
        pytest.skip("this checkout ships no prosody")
    return Prosody.load(SHIPPED)


def test_level_words_of_one_group_rhyme(prosody: Prosody) -> None:
    wrong = [
        first + second
        for words in RHYMES
        for first, second in combinations(words, 2)
        if not prosody.rhyme(first, second)
    ]
    assert wrong == []


def test_level_words_of_different_groups_do_not(prosody: Prosody) -> None:
    accepted = [
        first + second
        for left, right in combinations(RHYMES, 2)
        for first in left
        for second in right
        if prosody.rhyme(first, second)
    ]
    assert accepted == []


def test_tones(prosody: Prosody) -> None:
    level = [character for words in RHYMES for character in words]
    known = [prosody.tone_class(character) for character in level]
    assert Tone.OBLIQUE not in known
    assert known.count(Tone.LEVEL) >= 0.98 * len(known)
    oblique = "月雪日白国绿竹石笛客落水雨树路去见远面晚下马夜老草酒手柳影冷静梦外近信坐我入十立一百六七八出"
    assert {prosody.tone_class(character) for character in oblique} == {Tone.OBLIQUE}
    assert {prosody.tone_class(character) for character in "看听为思重教过吹分长应"} == {Tone.EITHER}


def test_readings_that_live_at_line_ends(prosody: Prosody) -> None:
    """Characters that are nearly always oblique and yet rhyme on a level tone."""
    assert {prosody.tone_class(character) for character in "不望几正叹厌要治誉"} == {Tone.EITHER}
    for pair in ("不秋", "望香", "几归", "正生", "叹寒", "厌帘", "要遥", "治时", "誉书"):
        assert prosody.rhyme(*pair), pair
    assert prosody.lyric().rhyme("望", "香")
    assert prosody.lyric().rhyme("望", "上")


def test_oblique_rhymes_of_ci(prosody: Prosody) -> None:
    lyric = prosody.lyric()
    for words in ("雨去路树暮处", "水里地事起泪", "月雪绝发别", "老草晓鸟笑", "酒手柳瘦旧", "见远晚断院", "影静冷镜"):
        assert all(lyric.rhyme(first, second) for first, second in combinations(words, 2)), words
    assert not lyric.rhyme("雨", "水")
    assert not lyric.rhyme("月", "老")


def test_ci_is_less_strict_than_regulated_verse(prosody: Prosody) -> None:
    for pair in ("东钟", "枝飞", "真云"):
        assert not prosody.rhyme(*pair)
        assert prosody.lyric().rhyme(*pair)
    assert not prosody.lyric().rhyme("东", "江")


def test_tunes(prosody: Prosody) -> None:
    assert len(prosody.tunes) > 400
    tune = prosody.tunes["浣溪沙"]
    assert tune.line_lengths == (7,) * 6
    assert tune.rhymes == (1, 1, 1, 0, 1, 1)
    assert tune.breaks == (3,)
    tune = prosody.tunes["菩萨蛮"]
    assert tune.line_lengths == (7, 7, 5, 5, 5, 5, 5, 5)
    assert "".join(line[-1] for line in tune.tones) == "仄仄平平仄仄平平"
    assert tune.rhymes == (1, 1, 2, 2, 3, 3, 4, 4)
    assert prosody.tunes["如梦令"].line_lengths == (6, 6, 5, 6, 2, 2, 6)


def test_every_name_of_a_tune_finds_it(prosody: Prosody) -> None:
    for name in prosody.tunes:
        for other in (name, *other_names(name)):
            assert find_tune(other, prosody).name == name, other


def test_rising_and_departing_tones(prosody: Prosody) -> None:
    for tone, words in {
        "上": "酒友口柳早草鸟晓影景我火马野雨土鼓水死子老道稻眼产",
        "去": "秀旧瘦照笑性命病夜嫁树路意醉气世面变汉怪界",
        "入": "月雪白客竹玉落作立",
    }.items():
        assert {word: prosody.oblique_tone(word) for word in words} == dict.fromkeys(words, tone)
    assert {prosody.oblique_tone(word) for word in "上下在尽"} == {"上去"}
    assert prosody.oblique_tone("龘") == "仄"


def test_oblique_groups(prosody: Prosody) -> None:
    for title, words in {
        "上声七麌": "雨舞鼓苦虎古土", "上声六语": "语旅女渚许楚", "上声十九皓": "老草道早", "上声十七筱": "小鸟晓表",
        "上声四纸、五尾": "水子死鬼", "去声七遇": "路树暮露渡", "去声八霁": "计细势", "去声四寘": "意地事醉",
        "去声五未": "味气贵", "去声十七霰": "面见殿", "去声十五翰": "岸乱汉断", "去声二十六宥": "瘦旧袖",
        "入声九屑": "雪绝别灭", "入声一屋": "竹屋木目", "入声二沃": "玉足曲俗",
        "入声四质": "日室出", "入声十药": "落薄阁", "入声十三职": "色国息", "入声十四缉": "立湿集",
        "入声十一陌、十二锡": "客白石壁",
    }.items():  # fmt: skip
        assert {word: prosody.oblique_groups(word) for word in words} == dict.fromkeys(words, (title,))
    assert prosody.oblique_groups("月") == ("入声五物、六月",)
    assert prosody.oblique_groups("春") == prosody.oblique_groups("龘") == ()
    assert sum(map(len, prosody.table.oblique_groups.values())) > 2_700
    assert prosody.group_names("月", prosody.groups("月")[0]) == ("入声五物、六月 (月)",)


def test_what_is_no_tune_is_none(prosody: Prosody) -> None:
    for name in ("桂枝香蟹", "绮寮怨秋夜", "吴中柳枝", "纪游", "养家苦", "云亭灯市竹枝词", "望江南啜茶十咏", "天净沙"):
        assert name not in prosody.tunes
    assert "霓裳中序第一" in prosody.tunes


def test_readings_of_regulated_verse_count_in_ci(prosody: Prosody) -> None:
    assert prosody.lyric().rhyme("溅", "天")
    assert prosody.lyric().rhyme("翰", "寒")


def test_well_known_tunes_have_no_variants_that_only_slips_make(prosody: Prosody) -> None:
    assert {sum(variant.line_lengths) for variant in prosody.tunes["如梦令"].variants} <= {33, 66}
    short = "常记溪亭日暮，沉醉不知归路。兴尽晚回舟，误入花深处。争渡，争渡，惊起一滩鸥鹭。"
    assert [fault.code for fault in review(short, prosody, prosody.tunes["如梦令"]).faults] == ["line_length_of_tune"]


def test_stanzas_of_tunes(prosody: Prosody) -> None:
    """Lines that some editions cut in two must not shift the end of a stanza."""
    for name, ends in {
        "鹊桥仙": (5,),
        "青玉案": (6,),
        "满江红": (8,),
        "蓦山溪": (9,),
        "水调歌头": (9,),
    }.items():
        assert prosody.tunes[name].breaks == ends, name


def test_rhyming_lines_of_a_tune_end_on_the_tone_of_their_rhyme(prosody: Prosody) -> None:
    for tune in prosody.tunes.values():
        for pattern in (tune, *tune.variants):
            for rhyme in set(pattern.rhymes) - {0}:
                ends = [line[-1] for line, other in zip(pattern.tones, pattern.rhymes, strict=True) if other == rhyme]
                assert "中" not in ends or len(set(ends)) != 2, tune.name


def test_the_file_is_small_and_says_what_is_not_learned(prosody: Prosody) -> None:
    assert (SHIPPED / "prosody.json").stat().st_size < 1_000_000
    assert 0.5 < prosody.table.learned.mean() < 0.95
    assert np.isnan(prosody.table.level).mean() < 0.05
