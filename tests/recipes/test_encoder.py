from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.recipes.test_tagger import SMALL, command, sentences
from zhseq.batching import IGNORED
from zhseq.checkpoint import read_tensors
from zhseq.config import override
from zhseq.errors import ConfigError
from zhseq.recipes.encoder import EncoderRecipe, MaskedBatches, read_raw, train_encoder
from zhseq.recipes.tagged_texts import Source, Sources
from zhseq.recipes.tagger import RECIPES, Named, Start
from zhseq.tagging.model import load_parts
from zhseq.train import main as train_main

SETTINGS = (*(setting for setting in SMALL if "tokens" not in setting), "data.tokens_per_batch=512", "characters=0")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tagged lines, and raw text of the same kind."""
    root = tmp_path_factory.mktemp("texts")
    tagged, raw = root / "train.jsonl", root / "raw.txt"
    tagged.write_text("\n".join(sentences(80, seed=1)) + "\n", encoding="utf-8")
    texts = [f"{number}日，{json.loads(line)['text']}" for number, line in enumerate(sentences(300, seed=5))]
    raw.write_text("\n".join(texts), encoding="utf-8")
    return tagged, raw


def sources(tagged: Path) -> Sources:
    return {"pos": (Source(str(tagged)),), "ner": (Source(str(tagged)),)}


def test_hidden_characters_leave_no_trace_in_the_features(files: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = override(EncoderRecipe(), [*SETTINGS, "training.max_steps=1"])
    train_encoder(recipe, sources(files[0]), str(files[1]), tmp_path, Start())
    features = load_parts(tmp_path / "best")[1]
    _, texts = read_raw(str(files[1]), recipe)
    batches = MaskedBatches(texts, features, 512, 0.2, (1, 0))
    batch = batches[0]
    assert batch.targets is not None
    assert batch.bigram_ids is not None
    assert batch.word_weights is not None
    hidden = batch.targets != IGNORED
    assert 0.1 < float(hidden.mean()) < 0.3
    assert set(batch.ids[hidden].tolist()) == {features.vocab.unk_id}
    assert batch.bigram_ids[hidden].sum() == 0
    assert batch.bigram_ids[:, :-1][hidden[:, 1:]].sum() == 0  # the pair before holds it, too
    assert batch.bigram_ids.sum() > 0
    again = MaskedBatches(texts, features, 512, 0.2, (1, 0))[0]
    assert np.array_equal(batch.ids, again.ids)
    other = MaskedBatches(texts, features, 512, 0.2, (1, 1))[0]
    assert batch.ids.shape != other.ids.shape or not np.array_equal(batch.ids, other.ids)


def test_held_out_lines_are_not_trained_on(files: tuple[Path, Path]) -> None:
    recipe = override(EncoderRecipe(), SETTINGS)
    dev, training = read_raw(str(files[1]), recipe)
    lines = [
        {bytes(texts.points[begin:end]) for begin, end in zip(texts.offsets, texts.offsets[1:], strict=False)}
        for texts in (dev, training)
    ]
    assert len(lines[0]) > 10
    assert not lines[0] & lines[1]


def test_an_encoder_learns_and_a_tagger_starts_from_it(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECIPES, "default", Named(sources(files[0])))
    changes = [item for setting in (*SETTINGS, "training.epochs=6") for item in ("--set", setting)]
    assert train_main(["encoder", "--text", str(files[1]), "--out", str(tmp_path / "run"), *changes]) == 0
    assert "hidden characters predicted" in capsys.readouterr().out
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert log[-1]["bits_per_character"] < 2.5  # of some 60 characters, log2(60) = 5.9
    assert log[-1]["right"] > 0.4
    out = tmp_path / "tagger"
    assert train_main(command(files[0], out, "--init", str(tmp_path / "run" / "best"), epochs=1)) == 0
    before, after = (read_tensors(place / "best" / "model.safetensors") for place in (tmp_path / "run", out))
    assert before.keys() == after.keys()
    name = "lstm.forwards.0.weight_hh_l0"
    moved = float((before[name].float() - after[name].float()).norm() / before[name].float().norm())
    assert 0 < moved < 0.5  # it went on from there, and did not begin anew


def test_an_encoder_reads_on_with_that_of_a_tagger(files: tuple[Path, Path], tmp_path: Path) -> None:
    once = override(EncoderRecipe(), [*SETTINGS, "training.epochs=4"])
    train_encoder(once, sources(files[0]), str(files[1]), tmp_path / "first", Start())
    still = override(EncoderRecipe(), [*SETTINGS, "training.max_steps=1", "training.learning_rate=1e-9"])
    train_encoder(
        still, sources(files[0]), str(files[1]), tmp_path / "second", Start(init=str(tmp_path / "first" / "best"))
    )
    first, second = (read_tensors(tmp_path / name / "best" / "model.safetensors") for name in ("first", "second"))
    name = "lstm.forwards.0.weight_hh_l0"
    assert torch.allclose(first[name].float(), second[name].float(), atol=1e-3)


def test_an_encoder_is_widened_and_never_narrowed(files: tuple[Path, Path], tmp_path: Path) -> None:
    once = override(EncoderRecipe(), [*SETTINGS, "training.max_steps=2"])
    train_encoder(once, sources(files[0]), str(files[1]), tmp_path / "first", Start())
    still = override(EncoderRecipe(), [*SETTINGS, "training.max_steps=1", "training.learning_rate=1e-9"])
    init, units = str(tmp_path / "first" / "best"), once.model.hidden_size
    wider = Start(init=init, units=units + 8)
    train_encoder(still, sources(files[0]), str(files[1]), tmp_path / "second", wider)
    first, second = (read_tensors(tmp_path / name / "best" / "model.safetensors") for name in ("first", "second"))
    name = "lstm.forwards.0.weight_hh_l0"
    assert second[name].shape == (4 * (units + 8), units + 8)
    old = second[name].view(4, units + 8, units + 8)[:, :units, :units].reshape(4 * units, units)
    assert torch.allclose(first[name].float(), old.float(), atol=1e-3)
    with pytest.raises(ConfigError, match=f"has {units} units per direction"):
        train_encoder(still, sources(files[0]), str(files[1]), tmp_path / "third", Start(init=init, units=units - 1))


def test_killed_and_resumed_equals_uninterrupted(files: tuple[Path, Path], tmp_path: Path) -> None:
    for name, steps in (("whole", (4,)), ("parts", (2, 4))):
        for index, stop in enumerate(steps):
            more = (f"training.max_steps={stop}", "training.evaluate_every=2", "training.final_rate=1.0")
            recipe = override(EncoderRecipe(), [*SETTINGS, *more])
            train_encoder(recipe, sources(files[0]), str(files[1]), tmp_path / name, Start(), resume=bool(index))
    whole, parts = (read_tensors(tmp_path / name / "resume.safetensors") for name in ("whole", "parts"))
    names = [name for name in whole if name.startswith("model.")]
    assert names
    assert all(torch.equal(whole[name], parts[name]) for name in names)


@pytest.mark.parametrize("setting", ["hidden_share=0", "news_share=2", "characters=-1"])
def test_settings_out_of_range_are_named(setting: str) -> None:
    with pytest.raises(ConfigError, match="must"):
        override(EncoderRecipe(), [setting])
