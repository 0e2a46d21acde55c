"""The tables of doublings, seasons and hours and of facing words: what they tell, and files that are none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from zhseq.checkpoint import shipped
from zhseq.errors import CheckpointError
from zhseq.poetry.sense import FACING_FILE, SENSE_FILE, Facing, Manner, Sense, Subject, Subjects

SENSE = Sense(
    "悠萧",
    {"春": ("春", "东风", "莺"), "秋": ("秋", "西风"), "夜": ("三更",)},
    {"春秋": 0.5},
    {"崔颢": Manner("李白", "唐", 46, {"云": 1.2, "𫖯": 0.3})},
    {"沁园春": (3, 11), "八声甘州": (0,)},
    {"望": 2.0, "渐": 2.2},
)


def test_words_are_found_within_lines_and_in_any_script() -> None:
    assert SENSE.times(["鶯啼東風起", "三更月"]) == {"春": ["莺", "东风"], "夜": ["三更"]}
    assert SENSE.times(["人在东", "风来"]) == {}  # a word does not reach over the end of a line


def test_a_word_may_tell_of_a_season_and_a_weather() -> None:
    both = Sense("", {"冬": ("雪",), "雪": ("雪", "六出")}, {"雪冬": 1.0})
    assert both.times(["雪"]) == {"冬": ["雪"], "雪": ["雪"]}
    assert both.mixed(["六出", "雪"]) == ["雪冬"]


def test_seasons_that_are_kept_apart_are_mixed() -> None:
    assert SENSE.mixed(["春来", "西风"]) == ["春秋"]
    assert SENSE.mixed(["西风", "春来"]) == []  # the order counts
    assert SENSE.mixed(["西风吹春"]) == ["春秋"]
    assert SENSE.mixed(["春来", "三更"]) == []
    assert SENSE.mixed(["秋来", "西风"]) == []


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    SENSE.save(tmp_path)
    assert Sense.load(tmp_path) == SENSE


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "prosody"},
        {"version": 9},
        {"words": []},
        {"apart": {"春冬": 1}},
        {"doublings": None},
        {"apart": {"春秋": "much"}},
        {"manners": {"崔颢": {"near": "李白"}}},
        {"leads": {"沁园春": "some"}},
        {"leaders": "望12 渐"},
    ],
)
def test_another_file_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    SENSE.save(tmp_path)
    content = json.loads((tmp_path / SENSE_FILE).read_text(encoding="utf-8"))
    (tmp_path / SENSE_FILE).write_text(json.dumps({**content, **change}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not a table of sense"):
        Sense.load(tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        Sense.load(tmp_path)
    (tmp_path / SENSE_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Sense.load(tmp_path)


FACING = Facing(
    {
        "风": {"雨": 9, "月": 4},
        "雨": {"风": 9},
        "月": {"风": 4},
        "天": {"天": 3},
        "春风": {"夜月": 2},
        "夜月": {"春风": 2},
    },
    {"风": 20, "雨": 10, "月": 10, "天": 6, "春风": 4, "夜月": 4},
    {1: 100, 2: 50},
)


def test_a_word_faces_others_in_any_script_the_commonest_first() -> None:
    assert FACING.facing("風") == [("雨", 9), ("月", 4)]
    assert FACING.facing("夜月") == [("春风", 2)]
    assert FACING.facing("龘") == FACING.facing("") == FACING.facing("春风得意") == []


def test_lift_tells_how_far_above_chance_words_face_each_other() -> None:
    assert FACING.lift("风", "雨") == FACING.lift("雨", "风") == pytest.approx(math.log(10 / 2))
    assert FACING.lift("天", "天") == pytest.approx(math.log(4 / (6 * 6 / 400 + 1)))
    assert FACING.lift("雨", "月") == FACING.lift("龘", "月") == 0


def test_facing_words_are_read_back(tmp_path: Path) -> None:
    FACING.save(tmp_path)
    assert Facing.load(tmp_path) == FACING
    rows = (tmp_path / FACING_FILE).read_text(encoding="utf-8").splitlines()
    assert rows[1] == "风\t20\t雨 9 月 4", "the commonest first"
    assert "雨\t10\t" in rows, "each pair stands once"


@pytest.mark.parametrize(
    "text", ["", "facing\t1\n", "prosody\t1\t5\t5\n", "{}\t2\t3\n", "{}风\n", "{}风\t5\t雨\n", "{}风\t5\t雨 3\n"]
)
def test_another_file_is_no_table_of_facing_words(tmp_path: Path, text: str) -> None:
    (tmp_path / FACING_FILE).write_text(text.replace("{}", "facing\t1\t9\t9\n"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not a table of facing words"):
        Facing.load(tmp_path)


def test_a_missing_table_of_facing_words_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=FACING_FILE):
        Facing.load(tmp_path)


def test_the_shipped_table_knows_what_people_set_against_each_other() -> None:
    path = shipped("poem") / FACING_FILE
    assert path.stat().st_size < 1_000_000
    facing = Facing.load(path.parent)
    assert facing.facing("白")[0][0] == "青"
    assert "天上" in dict(facing.facing("人间"))
    assert facing.lift("南", "北") > facing.lift("南", "山")


def test_subjects_are_read_back(tmp_path: Path) -> None:
    subjects = Subjects({"梅花": Subject(2566, 40, 0.81, "梅枝香"), "月": Subject(90, 0, 0.5, "光")})
    subjects.save(tmp_path)
    assert Subjects.load(tmp_path) == subjects
    assert Sense("", directory=tmp_path).subjects == subjects
    assert Sense("", directory=tmp_path).facing is None
    assert Sense("").subjects is None
