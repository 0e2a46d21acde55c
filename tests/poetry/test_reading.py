"""Texts as people have them: titles, authors, quotation marks, several poems, JSON."""

import json

import pytest

from tests.poetry.conftest import make_prosody
from zhseq.errors import InputError
from zhseq.poetry.prosody import TunePattern
from zhseq.poetry.reading import WrittenPoem, named_tune, read_poem, read_poems, read_records

CRANE = "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
HILL = "空山新雨后，明月在松间。\n行到水穷处，云来坐看山。"
LYRIC = "黄河流，欲上一层楼。\n白日依山，入海月。"
TUNES = make_prosody().tunes


def read(text: str) -> list[WrittenPoem]:
    return read_poems(text, "poems.txt", TUNES)


@pytest.mark.parametrize(
    "above",
    [
        "登楼\n王之涣\n",
        "登楼 王之涣\n",
        "《登楼》 王之涣\n\n",
        "王之涣《登楼》\n",
        "《登楼》（唐）王之涣\n",
        "登楼\n唐·王之涣\n\n",
        "登楼\n[唐代] 王之涣\n",
        "题目：登楼\n作者：王之涣\n",
        "登楼——王之涣\n",
        "\n\n登楼\r\n\r\n王之涣\r\n\r\n",
    ],
)
@pytest.mark.parametrize("verse", [CRANE, CRANE.replace("，", "\n").replace("。", "")])
def test_title_and_author_may_stand_above(above: str, verse: str) -> None:
    assert read(above + verse) == [WrittenPoem(verse, "登楼", "王之涣")]


def test_a_title_may_be_as_long_as_a_line_without_being_one() -> None:
    poem = read("送友人还山\n" + CRANE)[0]
    assert (poem.title, poem.verse) == ("送友人还山", CRANE)


def test_quotation_marks_and_remarks_are_left_out() -> None:
    spoken = "“白日依山尽，黄河（一作长河）入海流。”\n「欲穷千里目」，更上《一层楼》。"
    assert read_poem(spoken).verse == CRANE


def test_poems_of_a_file_are_parted_by_titles_blank_lines_or_rows() -> None:
    both = [WrittenPoem(CRANE, "其一"), WrittenPoem(HILL, "其二")]
    assert read(f"其一\n{CRANE}\n其二\n{HILL}\n") == both
    assert read(f"其一\n\n{CRANE}\n\n其二\n\n{HILL}\n") == both
    assert [poem.verse for poem in read(f"{CRANE}\n\n{HILL}\n")] == [CRANE, HILL]
    rows = [poem.replace("\n", "") for poem in (CRANE, HILL, CRANE)]
    assert [poem.verse for poem in read("\n".join(f"{n}. {row}" for n, row in enumerate(rows, start=1)))] == rows


def test_stanzas_of_one_poem_stay_together() -> None:
    eight = f"{CRANE}\n{HILL}".replace("。\n", "。")
    assert len(read(f"{eight[:24]}\n{eight[24:]}")) == 1  # eight lines in two rows
    assert read("黄河流，\n\n欲上一层楼。")[0].verse == "黄河流，\n欲上一层楼。"
    assert read(LYRIC.replace("\n", "\n\n"))[0].verse == LYRIC
    long = {"长调": TunePattern((5,) * 8, ("中中中中中",) * 8, (0,) * 8, name="长调")}
    assert len(read_poems(f"长调\n{CRANE}\n\n{HILL}", "x", long)) == 1
    assert len(read_poems(f"送别\n{CRANE}\n\n{HILL}", "x", long)) == 2


def test_a_preface_is_no_verse() -> None:
    preface = "甲子年秋，与客同登。\n"
    assert read(f"登楼\n{preface}{CRANE}") == [WrittenPoem(CRANE, "登楼")]
    assert read(f"小令·登楼\n\n{preface}{LYRIC}") == [WrittenPoem(LYRIC, "小令·登楼")]


def test_the_tune_is_that_of_the_title_if_the_verse_can_be_sung_to_it() -> None:
    assert named_tune(read(f"小令 · 登楼\n{LYRIC}")[0], TUNES) == "小令"
    assert named_tune(read(f"小令\n{CRANE}")[0], TUNES) == ""
    assert named_tune(WrittenPoem(LYRIC, "登楼"), TUNES) == ""
    assert named_tune(WrittenPoem("hello", "小令"), TUNES) == ""


def test_collections_are_read_as_json() -> None:
    records = [
        {"title": "登楼", "author": "王之涣", "paragraphs": CRANE.split("\n"), "strains": []},
        {"rhythmic": "小令", "author": "佚名", "paragraphs": LYRIC.split("\n")},
        {"content": HILL.replace("\n", "|")},
    ]
    expected = [
        WrittenPoem(CRANE, "登楼", "王之涣"),
        WrittenPoem(LYRIC, "小令", "佚名"),
        WrittenPoem(HILL.replace("\n", "|")),
    ]
    for indent in (None, 2):
        text = json.dumps(records, ensure_ascii=False, indent=indent)
        assert read(text) == expected
        scored = list(read_records(text.splitlines(), "x"))
        assert [form for _, form in scored] == ["五绝", "", "五绝"]
        assert scored[0][0] == ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]
    assert read("\n".join(json.dumps(record) for record in records)) == expected
    assert read(json.dumps(records[0]))[0].title == "登楼"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n", "poems.txt is empty"),
        ('[{"title": "登楼"}]', "poems.txt, record 1: the record has no 'content'"),
        ('[{"paragraphs": [3]}]', "record 1: 'content' and 'form' must be strings"),
        ('[{"paragraphs": "春"', "not valid JSON"),
        ('[{"paragraphs": ' + "[" * 50_000 + "]" * 50_000 + "}]", "not valid JSON"),
        ('{"paragraphs": ' + "[" * 50_000 + "]" * 50_000 + "}", "poems.txt, line 1: the record is not valid JSON"),
        ('{"content": "春"}\n{"content', "poems.txt, line 2: the record is not valid JSON"),
        ('[{"paragraphs": ["春"]}, 3]', "record 2: the record has no 'content'"),
    ],
)
def test_what_is_no_poem_is_named_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(InputError) as error:
        read(text)
    assert reason in str(error.value)


def test_text_without_a_poem_is_left_as_it_is() -> None:
    assert read("今天天气很好，我们去公园。\n大家都高兴。")[0].verse == "今天天气很好，我们去公园。\n大家都高兴。"
    assert read("春")[0] == WrittenPoem("春")
    assert read_poem("") == WrittenPoem("")


def test_a_quatrain_under_the_name_of_a_tune_is_regulated_verse() -> None:
    lines = ("中平中仄仄平平", "中仄平平仄仄平")
    sung = {
        "长歌": TunePattern((7,) * 4, lines * 2, (1, 1, 0, 1), name="长歌", count=9, total=9),
        "长行": TunePattern((7,) * 8, lines * 4, (1, 1, 0, 1, 0, 1, 0, 1), name="长行", count=9, total=9),
    }
    couplet = "江山白日千山雪，白雪黄河入海流。"
    assert named_tune(WrittenPoem(couplet * 2, "长歌"), sung) == ""
    assert named_tune(WrittenPoem(couplet * 4, "长行"), sung) == "长行"
    assert named_tune(WrittenPoem(couplet * 4, "长歌"), sung) == ""
