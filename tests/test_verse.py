"""The command line of the handbook."""

import json
import shutil
import sys

import pytest

from tests.poetry.conftest import make_prosody
from tests.poetry.test_lookup import FACING, WORDS
from zhseq.cli import run_main
from zhseq.poetry import lookup
from zhseq.verse import main


@pytest.fixture
def verse(tiny_model_dir, tmp_path, capsys, monkeypatch):
    model = tmp_path / "model"
    shutil.copytree(tiny_model_dir, model)
    make_prosody().save(model)
    WORDS.save(model)
    FACING.save(model)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["zhseq verse", "--model", str(model), *arguments])
        with pytest.raises(SystemExit) as exit_:
            run_main(main)
        return exit_.value.code, *capsys.readouterr()

    return run


def test_text_alone_is_a_character_or_a_tune(verse):
    status, output, _ = verse("看")
    assert status == 0
    assert "相看" in output
    assert "75%" in output
    assert verse("小令")[1].startswith("小令: 40 poems, 1 patterns, 15 characters\n◎○○△，◎●◎○○△。\n")


def test_other_names_of_tunes_and_songs_are_names(verse):
    assert "no tune '百字令'" in verse("百字令")[2]  # the little model of this test knows 小令 only
    assert "tune of songs" in verse("天净沙")[2]


def test_other_text_is_looked_for_in_the_corpora(verse, monkeypatch):
    place = lookup.Place("甲", "唐", "登楼", 1, "白日依山，黄河入海。")
    monkeypatch.setattr("zhseq.verse.find_verse", lambda text, num: (1, [place][:num]))
    assert verse("白日依山")[1] == "found in 1 poems\n唐·甲《登楼》白日依山，黄河入海。\n"
    assert verse("--find", "白日", "--json")[1].startswith('{"text": "白日", "poems": 1, "places": [{"author": "甲"')


def test_every_answer_can_be_had_as_json(verse):
    assert json.loads(verse("--json", "云")[1])["readings"][0]["tone"] == "平"
    assert json.loads(verse("--json", "--group", "云", "--num", "1")[1])["words"][0]["character"] == "云"
    assert json.loads(verse("--json", "--facing", "春")[1])["facing"][0] == {"word": "秋", "count": 5}
    assert json.loads(verse("--json", "--tune", "小令", "--example")[1])["example"].count("\n") == 1


def test_an_example_is_written_to_the_tune(verse):
    output = verse("小令", "--example")[1]
    assert len(output.split("\n\n")[1].strip().split("\n")) == 2


def test_rows_are_words_and_numbers(verse):
    assert verse("--facing", "春", "--num", "1")[1] == "秋\t5\n"
    assert verse("--group", "云", "--num", "2")[1] == "春: 平, 6 words\n云\t50\t白云\n秋\t30\t清秋 悲秋\n"
    assert verse("--facing", "梅")[1] == "verse has too few examples of words parallel to 梅\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give a character"),
        (["看", "--tune", "小令"], "different tasks"),
        (["--num", "0", "看"], "must be at least 1"),
        (["A"], "not Chinese|consists of Chinese"),
        (["--group", "看"], "no rhyme group '看'"),
        (["--tune", "x"], "no tune 'x'"),
        (["--facing", ""], "one or two characters"),
        ([""], "give a character"),
    ],
)
def test_bad_input_is_one_sentence(verse, arguments, reason):
    import re

    status, output, message = verse(*arguments)
    assert (status, output, message.count("\n")) == (2, "", 1)
    assert re.search(reason, message), message
