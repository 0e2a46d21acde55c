"""Any damage to any file of a checkpoint is found and said, or does no harm."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.fuzzing import ANY_JSON, any_text, fuzzed, mutated, mutated_json, result_or_error
from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.checkpoint import shipped
from zhseq.config import from_dict, override
from zhseq.errors import CheckpointError, ConfigError
from zhseq.poetry.network import LanguageModelConfig
from zhseq.poetry.poet import Poet
from zhseq.poetry.prosody import Prosody
from zhseq.recipes.poem import PoemRecipe
from zhseq.recipes.tagger import TaggerRecipe
from zhseq.tagging.features import SequenceTaggerConfig
from zhseq.tagging.model import save
from zhseq.tagging.tagger import Tagger
from zhseq.training.loop import TrainingConfig

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def tagger_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tagger") / "tiny"
    save(directory, tiny_model(), tiny_features(), {})
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


TAGGER_FILES = ("config.json", "model.safetensors", "vocab.txt", "bigrams.txt", "words.txt", "lists.txt")


@fuzzed()
@given(data=st.data())
@pytest.mark.parametrize("name", TAGGER_FILES)
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


KINDS = (LanguageModelConfig, SequenceTaggerConfig, TrainingConfig, PoemRecipe, TaggerRecipe)
LIKELY = st.one_of(
    st.integers(0, 9),
    st.sampled_from([0.5, 1.0, 10**9, 10**400, "auto", "cpu", [640, 640], {"pos": ["S"]}, {"ner": ["O", "S-PER"]}]),
)


@st.composite
def settings_by_name(draw: st.DrawFn, kind: type) -> dict[str, Any]:
    """Settings of which most have a name that exists, and many a value that fits."""
    names = [field.name for field in dataclasses.fields(kind)]
    needed = [field.name for field in dataclasses.fields(kind) if field.default is field.default_factory]
    values = {name: draw(LIKELY) for name in needed}
    values.update(draw(st.dictionaries(st.sampled_from(names), LIKELY | ANY_JSON, max_size=3)))
    return {**values, **draw(st.dictionaries(st.text(max_size=3), ANY_JSON, max_size=1))}


@fuzzed()
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_any_settings_are_taken_or_refused(kind: type, data: st.DataObject) -> None:
    values = data.draw(ANY_JSON | settings_by_name(kind))
    result_or_error(lambda: from_dict(kind, values, source="config.json"), ConfigError)


@pytest.mark.parametrize("kind", KINDS)
def test_some_of_the_settings_that_are_made_up_are_taken(kind: type) -> None:
    """Otherwise nothing behind the names would be tried."""

    @settings(max_examples=1000, derandomize=True, database=None, phases=[Phase.generate], deadline=None)
    @given(values=settings_by_name(kind))
    def try_some(values: dict[str, Any]) -> None:
        taken.append(result_or_error(lambda: from_dict(kind, values, source="config.json"), ConfigError))

    taken: list[object] = []
    try_some()
    assert any(result is not None for result in taken)


@fuzzed()
@given(key=st.sampled_from(["learning_rate", "epochs", "device", "", "a.b"]) | any_text(8), value=any_text(12))
def test_any_override_is_taken_or_refused(key: str, value: str) -> None:
    result_or_error(lambda: override(TrainingConfig(), [f"{key}={value}", value]), ConfigError)
