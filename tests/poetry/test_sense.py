"""The table of doublings, seasons and hours: what a poem speaks of, and files that are not one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zhseq.errors import CheckpointError
from zhseq.poetry.sense import SENSE_FILE, Sense

SENSE = Sense("悠萧", {"春": ("春", "东风", "莺"), "秋": ("秋", "西风"), "夜": ("三更",)}, {"春秋": 0.5})


def test_words_are_found_within_lines_and_in_any_script() -> None:
    assert SENSE.times(["鶯啼東風起", "三更月"]) == {"春": ["莺", "东风"], "夜": ["三更"]}
    assert SENSE.times(["人在东", "风来"]) == {}  # a word does not reach over the end of a line


def test_seasons_that_are_kept_apart_are_mixed() -> None:
    assert SENSE.mixed(["春来", "西风"]) == ["春秋"]
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
