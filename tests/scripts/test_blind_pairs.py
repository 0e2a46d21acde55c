"""Sides and order are hidden in the key, and answers are counted by it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from datasets import Dataset

from scripts.blind_pairs import MINOR, STARTS, Pair, by_minor_poets, count, lay_out, written
from zhseq.errors import InputError

OLD, NEW = ["春山水月花"] * 4, ["秋风云雨江"] * 4


def test_the_key_says_what_stands_where(tmp_path: Path) -> None:
    lay_out([Pair((OLD, NEW), ("old", "new"))] * 20, "五绝", 0, tmp_path)
    text = (tmp_path / "pairs.txt").read_text(encoding="utf-8")
    key = json.loads((tmp_path / "key.json").read_text(encoding="utf-8"))
    assert "old" not in text
    assert {tuple(sides) for sides in key} == {("old", "new"), ("new", "old")}
    firsts = [row for row in text.split("\n") if row.startswith("A  ")][::2]
    assert [("old" if "春" in row else "new") for row in firsts] == [sides[0] for sides in key]


def test_answers_are_counted_by_source(tmp_path: Path) -> None:
    lay_out([Pair((OLD, NEW), ("old", "new"))] * 3, "五绝", 0, tmp_path)
    key = json.loads((tmp_path / "key.json").read_text(encoding="utf-8"))
    answers = "".join("AB"[sides.index("new")] for sides in key)
    assert count(tmp_path, answers) == {"new": 3, "old": 0}
    assert count(tmp_path, f"{answers[:2]} =") == {"new": 2, "old": 0, "new/old equal": 1}


def test_the_key_of_one_form_does_not_tell_that_of_another(tmp_path: Path) -> None:
    for form in ("五绝", "七绝"):
        lay_out([Pair((OLD, NEW), ("old", "new"))] * 20, form, 0, tmp_path / form)
    assert (tmp_path / "五绝" / "key.json").read_bytes() != (tmp_path / "七绝" / "key.json").read_bytes()


@pytest.mark.parametrize("answers", ["", "AB", "ABX", "ABBA"])
def test_every_pair_needs_an_answer(tmp_path: Path, answers: str) -> None:
    lay_out([Pair((OLD, NEW), ("old", "new"))] * 3, "五绝", 0, tmp_path)
    with pytest.raises(InputError, match="for each of 3 pairs"):
        count(tmp_path, answers)


def test_only_poets_of_few_training_poems_are_minor() -> None:
    rows = [("train", "李白", "七绝", OLD)] * (MINOR + 1) + [("train", "某甲", "七绝", OLD)] * MINOR
    rows += [
        ("dev", "李白", "七绝", OLD),
        ("dev", "某甲", "七绝", NEW),
        ("dev", "某甲", "七律", OLD),
        ("dev", "某乙", "七绝", OLD),
    ]
    names = ("split", "author", "form", "lines")
    poems = Dataset.from_dict({name: [row[column] for row in rows] for column, name in enumerate(names)})
    assert by_minor_poets(poems, "七绝") == [NEW, OLD]


@pytest.mark.parametrize("free", [False, True])
def test_both_poems_have_the_start_that_is_due_or_none(tiny_model_dir: Path, free: bool) -> None:
    wishes = {
        "form": "五绝",
        "num": 8,
        "seed": 0,
        "old_model": None,
        "old": ["best_of=2"],
        "new": ["best_of=3"],
        "old_without_sense": False,
        "drafts": 1,
    }
    pairs = written(argparse.Namespace(model=str(tiny_model_dir), free=free, **wishes))
    for side in (0, 1):
        begun = [pair.poems[side][0][0] == start for pair, start in zip(pairs, STARTS, strict=False)]
        assert len(begun) == 8
        assert all(begun) is not free
