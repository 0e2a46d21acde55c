"""The taggers that come with zhseq: described truly, and small enough together with the poet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zhseq import checkpoint
from zhseq.tagging.features import KIND

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"
TAGGERS = ("tagger", "tagger-ud")


@pytest.mark.parametrize("name", TAGGERS)
def test_a_tagger_is_small_and_its_card_says_what_its_training_found(name: str) -> None:
    directory = checkpoint.shipped(name)
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 12e6
    card = (directory / "README.md").read_text(encoding="utf-8")
    found = checkpoint.read_config(directory, KIND)["training"]["evaluation"]
    figures = [float(figure) for figure in re.findall(r"\b\d\d\.\d\d\b", card)]
    for measure, value in found.items():
        # The card of tagger-ud scores raw text, where a sentence is not cut as in training.
        assert any(abs(figure - 100 * value) < 0.1 for figure in figures), (measure, value)


def test_all_weights_together_and_each_file_stay_below_the_limits() -> None:
    sizes = [path.stat().st_size for path in CHECKPOINTS.rglob("*") if path.is_file()]
    assert sum(sizes) < 56e6
    assert max(sizes) < 20e6


def test_small_recipes_start_from_the_tagger_that_read_raw_text(capsys: pytest.CaptureFixture[str]) -> None:
    from zhseq.recipes.tagger import own_tagger

    assert own_tagger() == str(checkpoint.shipped("tagger"))
    assert "starting from" in capsys.readouterr().err
