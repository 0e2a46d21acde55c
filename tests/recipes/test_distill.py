"""Taggers that label raw text together, and a smaller one that learns it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.recipes.test_tagger import SMALL, command, sentences
from zhseq.config import override
from zhseq.errors import ConfigError, InputError
from zhseq.recipes.distill import DistillRecipe, HeldOut, Teachers
from zhseq.recipes.tagged_texts import Source
from zhseq.recipes.tagger import RECIPES, Named
from zhseq.tagging.model import load_parts
from zhseq.tagging.tagger import Tagger
from zhseq.text.normalize import codepoints
from zhseq.train import main


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gold") / "gold.jsonl"
    path.write_text("\n".join(sentences(150, seed=1)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def teachers(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = []
    for seed in (1, 2):
        out = tmp_path_factory.mktemp("teacher")
        assert main(command(corpus, out, "--set", f"training.seed={seed}", epochs=10)) == 0
        made.append(out / "best")
    return made


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "raw.txt"
    texts = [json.loads(line)["text"] for line in sentences(300, seed=7)]
    path.write_text("\n".join(f"{text}{index}" for index, text in enumerate(texts)), encoding="utf-8")
    return path


def distill(teachers: list[Path], raw: Path, out: Path, *more: str) -> int:
    changes = [item for setting in (*SMALL, "training.epochs=4", "data.dev_share=0.2") for item in ("--set", setting)]
    named = [item for teacher in teachers for item in ("--teacher", str(teacher))]
    return main(["distill", *named, "--text", str(raw), "--output", str(out), *changes, *more])


def test_a_student_learns_what_teachers_say(
    teachers: list[Path], corpus: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold = (Source(str(corpus)),)
    monkeypatch.setitem(RECIPES, "default", Named({"pos": gold, "ner": gold}))
    sure = ("--set", "mean_probability=0.6", "--set", "least_probability=0.2")
    assert distill(teachers, raw, tmp_path / "run", *sure) == 0
    lines = (tmp_path / "run" / "labelled.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 20
    for record in map(json.loads, lines):
        borders = {0, *(word["end"] for word in record["words"])}
        assert max(borders) == len(record["text"])
        assert all({name["start"], name["end"]} <= borders for name in record["entities"])
    tagger = Tagger.load(tmp_path / "run" / "best")
    assert [entity.text for entity in tagger("李四去上海市学习。").entities] == ["李四", "上海市"]
    with pytest.raises(InputError, match="resume"):
        distill(teachers, raw, tmp_path / "run")
    before = (tmp_path / "run" / "labelled.jsonl").stat().st_mtime_ns
    assert distill(teachers, raw, tmp_path / "run", *sure, "--resume", "--set", "training.max_steps=1") == 0
    assert (tmp_path / "run" / "labelled.jsonl").stat().st_mtime_ns == before


def test_teachers_vote_as_one_crf(teachers: list[Path]) -> None:
    points, lengths = codepoints("昨天王小明去上海市旅行。李四去长安学习。"), np.array([12, 8])
    alone, twice, both = (
        Teachers([load_parts(path) for path in paths]).label(points, lengths)
        for paths in (teachers[:1], teachers[:1] * 2, teachers)
    )
    for head, labels in alone.items():
        assert np.array_equal(labels.paths, twice[head].paths)
        assert np.allclose(labels.probabilities, twice[head].probabilities, atol=1e-4)
        assert not np.allclose(labels.probabilities, both[head].probabilities, atol=1e-4)
        assert (labels.probabilities[0] <= 1 + 1e-5).all()
        assert (labels.paths[1, 8:] == -1).all()


def test_teachers_of_other_tags_are_refused(teachers: list[Path], tmp_path: Path) -> None:
    lines = [line.replace('"LOC"', '"CITY"') for line in sentences(60, seed=2)]
    (tmp_path / "other.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert main(command(tmp_path / "other.jsonl", tmp_path / "run", epochs=1)) == 0
    with pytest.raises(InputError, match="same heads and tags"):
        Teachers([load_parts(teachers[0]), load_parts(tmp_path / "run" / "best")])


def test_teachers_that_are_sure_of_nothing_say_so(
    teachers: list[Path], corpus: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "default", Named({"pos": (Source(str(corpus)),)}))
    with pytest.raises(InputError, match="certain about none of"):
        distill(teachers, raw, tmp_path / "run", "--set", "mean_probability=1.1")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["commands.txt"]


def test_texts_that_are_evaluated_on_are_found_inside_of_others() -> None:
    held_out = HeldOut(["今天天气很好，我们去公园。", "短句。"])
    assert held_out.inside("他说：今天 天氣很好，我們去公園。然后走了。")
    assert not held_out.inside("今天天气很好，我们去学校。")
    assert not held_out.inside("短句。")


@pytest.mark.parametrize("setting", ["weight=0", "characters=-1", "least_probability=-0.1"])
def test_impossible_settings_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="must"):
        override(DistillRecipe(), [setting])
