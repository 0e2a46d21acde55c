"""The poem model that comes with zhseq, as a user finds it: complete, small, described, working without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zhseq import Poet, checkpoint
from zhseq.config import to_dict
from zhseq.poetry.network import KIND, LanguageModelShape
from zhseq.recipes.poem import PoemRecipe
from zhseq.text.normalize import codepoints, is_han

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "checkpoints" / "poem"
OFFLINE = """
import runpy, socket, sys
def refuse(*_):
    raise AssertionError("the network was asked for")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv[0] = "zhseq.poem"
runpy.run_module("zhseq.poem", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def poet() -> Poet:
    return Poet.load()


@pytest.fixture(scope="module")
def card() -> str:
    """The model card."""
    return (MODEL / "README.md").read_text(encoding="utf-8")


def test_it_is_found_complete_and_of_moderate_size() -> None:
    assert checkpoint.shipped("poem") == MODEL
    assert {"config.json", "model.safetensors", "vocab.txt", "README.md"} <= {path.name for path in MODEL.iterdir()}
    assert sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) <= 24e6
    assert {path.suffix for path in MODEL.iterdir()} <= {".json", ".safetensors", ".txt", ".tsv", ".md"}


def test_the_defaults_are_its_shape_but_for_attention() -> None:
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))["model"]
    config["hidden_sizes"] = tuple(config["hidden_sizes"])
    shape = to_dict(LanguageModelShape(attention_heads=4))
    assert shape == {name: config[name] for name in shape}
    assert to_dict(PoemRecipe().model) == {**shape, "attention_heads": 0}


def test_weights_are_stored_in_half_precision_and_are_numbers() -> None:
    tensors = checkpoint.read_tensors(MODEL / "model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.float16"}
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_its_settings_say_how_it_was_made() -> None:
    config = checkpoint.read_config(MODEL, KIND)
    assert len(config["model"]["hidden_sizes"]) == 2
    assert 5 < config["training"]["evaluation"]["bits_per_han"] <= 7.75


@pytest.mark.parametrize(
    "fact",
    [
        "chinese-poetry",
        "poetry-source",
        "(?i)werneror[-/]poetry",
        "MIT",
        r"python -m zhseq\.train poem",
        r"(?i)commit\W+.{0,20}[0-9a-f]{7}",
        r"(?i)seed\W",
        r"(?i)(core|gpu|cpu)",
        r"(?i)(hour|minute)",
        r"(?i)bits per han",
    ],
)
def test_the_model_card_names(card: str, fact: str) -> None:
    assert re.search(fact, card), f"the model card does not say: {fact}"
    assert "@@" not in card


def test_it_writes_what_it_is_asked_for(poet: Poet) -> None:
    poem = poet.write(start="春", form="七绝", seed=1)
    assert poem == poet.write(start="春", form="七绝", seed=1)
    assert poem.form == "七绝"
    assert [len(line) for line in poem.lines] == [7, 7, 7, 7]
    assert len(set(poem.lines)) == 4
    assert poem.text.startswith("春")
    assert poem.text.endswith("。")
    assert is_han(codepoints("".join(poem.lines))).all()


def test_it_has_learned_what_verse_is(poet: Poet) -> None:
    lines = ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]
    shuffled = ["尽山白依日", "流海黄入河", "目里欲千穷", "楼层更一上"]
    verse, noise = poet.score([lines, shuffled], ["五绝", "五绝"])
    assert verse.bits_per_han < noise.bits_per_han - 1


def test_installed_it_writes_in_an_empty_folder_without_a_network(tmp_path: Path) -> None:
    """A wheel carries the checkpoints inside of the package; this lays the files out in that way."""
    assert '"checkpoints" = "zhseq/checkpoints"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    site, empty = tmp_path / "site", tmp_path / "empty"
    shutil.copytree(ROOT / "zhseq", site / "zhseq", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(MODEL, site / "zhseq" / "checkpoints" / "poem")
    empty.mkdir()
    command = [sys.executable, "-c", OFFLINE, "--start", "春", "--form", "七绝", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    record = json.loads(done.stdout)
    assert record["form"] == "七绝"
    assert record["text"].startswith("春")
    assert not list(empty.iterdir())
