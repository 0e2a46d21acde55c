"""Looking verse up, with tables made by hand."""

from dataclasses import replace

import numpy as np
import pyarrow
import pytest

from tests.poetry.conftest import make_prosody
from zhseq.errors import CheckpointError, InputError
from zhseq.poetry import lookup
from zhseq.poetry.lookup import CharacterUse, Handbook, VerseWords, find_verse, finding
from zhseq.poetry.prosody.patterns import Echo
from zhseq.poetry.prosody.prosody import Prosody, RhymeGroup, Tone, ToneTable
from zhseq.poetry.sense import Facing

WORDS = VerseWords(
    {
        "秋": CharacterUse(30, ("清秋", "悲秋")),
        "云": CharacterUse(50, ("白云",)),
        "看": CharacterUse(9, (), 30, 10, ("相看",), ("看花",)),
    }
)
FACING = Facing({"春": {"秋": 5, "夜": 2}, "秋": {"春": 5}, "夜": {"春": 2}}, {"春": 7, "秋": 5, "夜": 2}, {1: 7, 2: 0})


@pytest.fixture
def handbook() -> Handbook:
    return Handbook(make_prosody(), WORDS, FACING)


def test_a_character_of_one_tone_has_one_reading(handbook: Handbook) -> None:
    entry = handbook.character("雲")
    assert (entry.character, entry.rhymes, entry.endings, entry.learned) == ("云", 50, ("白云",), True)
    (reading,) = entry.readings
    assert (reading.tone, reading.groups, reading.share, reading.words) == ("平", ("春",), 1.0, ())
    assert handbook.character("春").facing == ("秋", "夜")
    assert handbook.character("春", num=1).facing == ("秋",)


def test_readings_are_told_apart_by_the_words_they_stand_in(handbook: Handbook) -> None:
    first, second = handbook.character("看").readings
    assert (first.tone, first.share, first.words) == ("平", 0.75, ("相看",))
    assert (second.tone, second.share, second.words) == ("仄", 0.25, ("看花",))
    assert [reading.share for reading in handbook.character("听").readings] == [0.5, 0.5]  # no words: the tone table


def test_todays_readings_stand_beside_the_tones(handbook: Handbook) -> None:
    pytest.importorskip("pypinyin")
    assert [reading.pinyin for reading in handbook.character("看").readings] == [("kān",), ("kàn",)]
    assert handbook.character("白" if "白" in make_prosody().table.characters else "月").readings[0].pinyin[0] == "yuè"


def test_words_of_a_group_come_by_their_frequency(handbook: Handbook) -> None:
    group = handbook.group("人", num=2)
    assert (group.name, group.tone, group.size) == ("春", "平", 6)
    assert [(word.character, word.rhymes, word.endings) for word in group.words] == [
        ("云", 50, ("白云",)),
        ("秋", 30, ("清秋", "悲秋")),
    ]
    every = handbook.group("春").words
    assert {word.character for word in every if not word.certain} == {"听"}


def test_a_tune_is_drawn_with_its_rhymes_and_stanzas(handbook: Handbook) -> None:
    tune = handbook.tune("小令")
    assert (tune.name, tune.poems, tune.patterns[0].poems, tune.patterns[0].characters) == ("小令", 40, 30, 15)
    assert tune.patterns[0].rows == ("◎○○△，◎●◎○○△。", "◎○◎●▲，○●●▲。")


def test_repetitions_and_leading_characters_are_drawn() -> None:
    prosody = make_prosody()
    tune = prosody.tunes["小令"]
    lengths = tune.line_lengths
    echo = Echo(sum(lengths[:-1]), sum(lengths[:-2]), 2)
    prosody.tunes["小令"] = replace(tune, echoes=(echo,))
    entry = Handbook(prosody, leads={"小令": (0,)}).tune("小令")
    assert entry.patterns[0].rows == ("◎、○○△，◎●◎○○△。", "◎○◎●▲，[○●]●▲。")
    assert entry.names == ()


def test_entering_tones_are_told_by_the_name_of_their_group() -> None:
    group = RhymeGroup(0, "月", Tone.OBLIQUE, "月雪", "月雪", "第十八部入声")
    table = ToneTable("月雪", np.zeros(2, np.float32), "仄仄", np.ones(2, bool))
    handbook = Handbook(Prosody(table, [group], {}))
    assert handbook.group("月").tone == "入"
    assert handbook.character("雪").readings[0].tone == "入"


def test_oblique_groups_of_the_book_are_looked_up_by_word_and_by_name() -> None:
    group = RhymeGroup(0, "去", Tone.OBLIQUE, "去雨路语", "去路", "第四部仄声")
    table = ToneTable(
        "去雨路语",
        np.zeros(4, np.float32),
        "仄仄仄仄",
        np.ones(4, bool),
        oblique_groups={"上声六语": "语去", "去声六御": "去", "去声七遇": "路", "上声三讲、二十二养": "雨"},
    )
    prosody = Prosody(table, [group], {}, lyric=Prosody(table, [group], {}, book="ci"))
    handbook = Handbook(prosody)
    for name in ("路", "去声七遇", "七遇"):
        found = handbook.group(name)
        assert (found.name, found.tone, found.size, found.words[0].certain) == ("去声七遇", "去", 1, True)
    assert handbook.group("二十二养").name == handbook.group("雨").name == "上声三讲、二十二养"
    with pytest.raises(InputError, match="name one of them: 上声六语, 去声六御"):
        handbook.group("去")
    assert handbook.group("路", "ci").name == "第四部仄声 (去)"
    assert handbook.character("路").readings[0].groups == ("去声七遇 (去)",)


def test_facing_words_are_those_of_couplets(handbook: Handbook) -> None:
    assert handbook.facing("春") == [("秋", 5), ("夜", 2)]
    assert handbook.facing("梅") == []


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda book: book.character("龘"), "unknown_character"),
        (lambda book: book.character("春天"), "one_character"),
        (lambda book: book.character(""), "one_character"),
        (lambda book: book.character("A"), "not_chinese"),
        (lambda book: book.group("龘"), "unknown_rhyme_group"),
        (lambda book: book.group("春", "none"), "unknown_book"),
        (lambda book: book.group("春", "modern"), "no_modern_rhymes"),
        (lambda book: book.tune("大令"), "unknown_tune"),
        (lambda book: book.facing("春天来"), "facing_word"),
        (lambda book: book.facing("a"), "not_chinese"),
        (lambda book: find_verse("春"), "short_phrase"),
        (lambda book: find_verse("，。"), "short_phrase"),
        (lambda book: find_verse("spring"), "not_chinese"),
    ],
)
def test_what_cannot_be_looked_up_is_said(handbook: Handbook, ask, code: str) -> None:
    with pytest.raises(InputError) as error:
        ask(handbook)
    assert error.value.code == code


def test_the_table_of_words_is_read_as_it_was_written(tmp_path) -> None:
    WORDS.save(tmp_path)
    assert VerseWords.load(tmp_path) == WORDS
    path = tmp_path / lookup.WORDS_FILE
    for damaged in ("", "words\t2\n", path.read_text(encoding="utf-8") + "春\t1\n"):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(CheckpointError, match="not a table of words"):
            VerseWords.load(tmp_path)


def test_lines_are_found_in_poems(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ("元", "乙", "", "登楼", ["白日依山", "黄河入海", "欲穷千里", "更上一楼"], "，。，。"),
        ("唐", "甲", "小令", "", ["明月几时", "黄河入海", "欲穷千里"], "，，。"),
        ("宋", "丙", "", "无", ["春", "秋"], "，。"),
    ]
    names = ("dynasty", "author", "tune", "title", "lines", "marks")
    table = pyarrow.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
    poems = pyarrow.Table.from_batches(table.to_batches(max_chunksize=2))
    monkeypatch.setattr("zhseq.corpus.poems.map_poems", lambda root: poems)
    count, places = find_verse("黃河入海")
    assert count == 2
    assert [(place.author, place.title, place.line) for place in places] == [("甲", "小令", 2), ("乙", "登楼", 2)]
    assert places[1].text == "白日依山，黄河入海。"
    assert places[0].text == "明月几时，黄河入海，欲穷千里。"
    assert [place.author for place in find_verse("日依山，黄河")[1]] == ["乙"]
    assert find_verse("河入海，欲穷千里，更上")[1][0].text == "白日依山，黄河入海。欲穷千里，更上一楼。"
    assert find_verse("入海白日") == (0, [])
    steps = list(finding(poems, ["黄河入海"], 1))
    assert steps[:2] == [None, None]
    assert (steps[2][0], [place.author for place in steps[2][1]]) == (2, ["甲"])
    assert find_verse("春，秋")[1][0].text == "春，秋。"
