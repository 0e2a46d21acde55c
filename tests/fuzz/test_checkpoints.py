"""Any damage to any file of a checkpoint is found and said, or does no harm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import ANY_JSON, any_text, fuzzed, mutated, mutated_json, result_or_error
from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.checkpoint import shipped
from zhseq.config import from_dict, override
from zhseq.errors import CheckpointError, ConfigError
from zhseq.poetry.model import LanguageModelConfig
from zhseq.poetry.poet import Poet
from zhseq.poetry.prosody import Prosody
from zhseq.tagging import tagger
from zhseq.tagging.tagger import Tagger
from zhseq.training.loop import TrainingConfig

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def tagger_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tagger") / "tiny"
    tagger.save(directory, tiny_model(), tiny_features(), {})
    return directory


def damaged(directory: Path, place: Path, name: str, data: bytes) -> Path:
    """A copy of a checkpoint with another content of one file."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(directory, place)
    (place / name).write_bytes(data)
    return place


def content(data: st.DataObject, path: Path) -> bytes:
    """Another content for a file."""
    original = path.read_bytes()
    if path.suffix == ".json" and data.draw(st.booleans()):
        return data.draw(mutated_json(json.loads(original)))
    return data.draw(mutated((original,)))


@fuzzed()
@given(data=st.data())
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt", "bigrams.txt", "words.txt"])
def test_a_damaged_tagger_is_refused_or_works(tagger_dir: Path, tmp_path: Path, name: str, data: st.DataObject) -> None:
    place = damaged(tagger_dir, tmp_path / "copy", name, content(data, tagger_dir / name))
    loaded = result_or_error(lambda: Tagger.load(place), CheckpointError)
    if loaded is not None:
        words = loaded("中国人民在北京大学学习。").words
        assert not words or "".join(word.text for word in words) == "中国人民在北京大学学习。"


@fuzzed()
@given(data=st.data())
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_damaged_poet_is_refused_or_works(
    tiny_model_dir: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    place = damaged(tiny_model_dir, tmp_path / "copy", name, content(data, tiny_model_dir / name))
    loaded = result_or_error(lambda: Poet.load(place), CheckpointError)
    if loaded is not None:
        result_or_error(lambda: loaded.write(start="春", best_of=1))


def small_prosody() -> dict[str, Any]:
    """A small part of the prosody that ships, in which nothing is missing but rows."""
    content = json.loads((shipped("poem") / "prosody.json").read_text(encoding="utf-8"))

    def cut(table: dict[str, Any]) -> None:
        for field in ("characters", "classes", "level", "groups"):
            table[field] = table[field][:12]
        table["fallback"] = table["fallback"][:3]

    cut(content)
    content["tunes"], content["lyric"] = content["tunes"][:2], content["lyric"][:2]
    for tune in content["tunes"]:
        tune["variants"] = tune["variants"][:1]
    if isinstance(content.get("modern"), dict):
        cut(content["modern"])
    return dict(content)


PROSODY = small_prosody()


@fuzzed(2)
@given(data=mutated((json.dumps(PROSODY, ensure_ascii=False).encode(),)) | mutated_json(PROSODY))
def test_a_damaged_prosody_is_refused_or_works(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "prosody.json").write_bytes(data)
    result_or_error(lambda: Prosody.load(tmp_path), CheckpointError)


def test_what_is_damaged_here_is_whole_before(tmp_path: Path) -> None:
    (tmp_path / "prosody.json").write_text(json.dumps(PROSODY), encoding="utf-8")
    assert Prosody.load(tmp_path).tunes


@fuzzed()
@given(values=ANY_JSON | st.dictionaries(st.sampled_from(["vocab_size", "num_outputs", "hidden_sizes", "x"]), ANY_JSON))
def test_any_settings_are_taken_or_refused(values: Any) -> None:
    for kind in (LanguageModelConfig, TrainingConfig):
        result_or_error(lambda kind=kind: from_dict(kind, values, source="config.json"), ConfigError)  # type: ignore[misc]


@fuzzed()
@given(key=st.sampled_from(["learning_rate", "epochs", "device", "", "a.b"]) | any_text(8), value=any_text(12))
def test_any_override_is_taken_or_refused(key: str, value: str) -> None:
    result_or_error(lambda: override(TrainingConfig(), [f"{key}={value}", value]), ConfigError)
