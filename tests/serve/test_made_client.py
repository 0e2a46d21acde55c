"""A client that a program made from the OpenAPI document of the service, at work."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import ProxyHandler, build_opener

import attrs
import pytest

from tests.serve.fakes import serving

pytest.importorskip("openapi_python_client")

WANG = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"
AS_IT_COMES = "post_hooks: []\n"  # not laid out and checked, which is a matter of taste


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a service with a model of poems: only that has rhymes and patterns."""
    with serving(timeout=600.0) as found:
        yield found


@pytest.fixture(scope="module")
def name(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the package that was made."""
    where = tmp_path_factory.mktemp("client")
    with build_opener(ProxyHandler({})).open(f"{address}/openapi.json") as answer:
        (where / "openapi.json").write_bytes(answer.read())
    (where / "settings.yml").write_text(AS_IT_COMES, encoding="utf-8")
    make(where, "made_client")
    sys.path.insert(0, str(where))
    yield "made_client"
    sys.path.remove(str(where))
    for module in [each for each in sys.modules if each.partition(".")[0] == "made_client"]:
        del sys.modules[module]


def make(where: Path, package: str) -> None:
    """Make a client; an endpoint or a schema that had to be left out, or any other warning, fails."""
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]
    command += ["--path", "openapi.json", "--config", "settings.yml", "--output-path", package]
    made = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=120, check=False)
    said = made.stdout + made.stderr
    assert made.returncode == 0, said
    assert "warning" not in said.lower(), said
    assert "skip" not in said.lower(), said


@pytest.fixture(scope="module")
def models(name: str) -> ModuleType:
    return importlib.import_module(f"{name}.models")


@pytest.fixture
def client(name: str, address: str) -> Iterator[Any]:
    made = importlib.import_module(name).Client(
        address, raise_on_unexpected_status=True, timeout=600.0, httpx_args={"trust_env": False}
    )
    with made as opened:
        yield opened


def call(client: Any, endpoint: str, **body: Any) -> Any:
    """Ask, and hold that the answer has no field that the document does not know."""
    package = type(client).__module__.partition(".")[0]
    answer = importlib.import_module(f"{package}.api.{endpoint}").sync_detailed(client=client, **body).parsed
    assert undocumented(answer) == []
    return answer


def undocumented(value: Any) -> list[str]:
    """Return the names of fields of an answer that no schema has; the values of sentences have names of their own."""
    if isinstance(value, list):
        return [found for each in value for found in undocumented(each)]
    if not attrs.has(type(value)):
        return []
    parts = {each.name: getattr(value, each.name) for each in attrs.fields(type(value))}
    free = parts.pop("additional_properties", {})
    inner = [found for part in [*parts.values(), *free.values()] for found in undocumented(part)]
    return inner + ([] if type(value).__name__.endswith("Values") else list(free))


def test_one_text_and_several(client: Any, models: ModuleType) -> None:
    answer = call(client, "tagging.tag", body=models.TagText(text="小明在北京", scores=True))
    assert isinstance(answer, models.TagResponse)
    (document,) = answer.documents
    assert [word.text for word in document.words] == ["小明", "在北", "京"]
    assert [(name.text, name.start, name.end, name.label) for name in document.entities] == [("北京", 3, 5, "LOC")]
    assert document.words[0].score == 0.5
    word = models.DictionaryWord(word="云栖", pos="n", mode=models.DictionaryWordMode.FORCE)
    several = call(client, "tagging.tag", body=models.TagTexts(texts=["北京", ""], words=[word]))
    assert [document.text for document in several.documents] == ["北京", ""]


def test_a_poem(client: Any, models: ModuleType) -> None:
    answer = call(client, "poems.write", body=models.PoemRequest(start="春", form="五绝", best_of=1, seed=1))
    assert isinstance(answer, models.PoemsResponse)
    (poem,) = answer.poems
    assert [len(line) for line in poem.lines] == [5, 5, 5, 5] == poem.pattern.line_lengths
    assert poem.lines[0].startswith("春")
    assert poem.note is None


def test_a_note_has_its_code(client: Any, models: ModuleType) -> None:
    answer = call(client, "poems.write", body=models.PoemRequest(start="春春春春春", form="五绝", best_of=1))
    assert answer.poems[0].note.code == "kept_as_given"


def test_a_verdict(client: Any, models: ModuleType) -> None:
    answer = call(client, "poems.check", body=models.ReviewRequest(text=WANG, surprise=True))
    assert isinstance(answer, models.ReviewResponse)
    assert (answer.form, answer.faults) == ("五绝", [])
    assert [len(costs) for costs in answer.surprise] == [5, 5, 5, 5]
    answer = call(client, "poems.check", body=models.ReviewRequest(text=WANG.replace("楼", "山"), form="五绝"))
    (fault,) = [fault for fault in answer.faults if fault.kind == "rhyme"]
    assert isinstance(fault, models.FaultFound)
    assert (fault.code, fault.reason.code, fault.line, fault.place) == ("no_rhyme", "no_rhyme", 4, 5)


def test_proposals(client: Any, models: ModuleType) -> None:
    text = WANG.replace("里", "？")
    answer = call(client, "poems.suggest", body=models.SuggestRequest(text=text, num=3))
    (made,) = answer.suggestions
    assert (made.line, made.place, len(made.characters)) == (3, 4, 3)


def test_what_is_looked_up(client: Any, models: ModuleType) -> None:
    entry = call(client, "verse.character", body=models.CharacterRequest(character="胜"))
    assert isinstance(entry, models.CharacterEntry)
    assert [(reading.tone, reading.pinyin) for reading in entry.readings] == [("去", ["shèng"]), ("平", ["shēng"])]
    rhyming = models.RhymesRequest(word="秋", rhyme=models.RhymesRequestRhyme.CI, num=2)
    group = call(client, "verse.rhymes", body=rhyming)
    assert (group.tone, group.words[0].character) == ("平", "秋")
    tune = call(client, "verse.tune", body=models.TuneRequest(tune="百字令"))
    assert (tune.name, tune.example, tune.patterns[0].characters) == ("念奴娇", "", 100)
    faced = call(client, "verse.facing", body=models.FacingRequest(word="春", num=1))
    assert faced.facing[0].count > 100
    refused = call(client, "verse.find", body=models.FindRequest(text="春"))
    assert refused.error.code == "short_phrase"


def test_what_can_be_asked_for(client: Any, models: ModuleType) -> None:
    answer = call(client, "service.options")
    assert isinstance(answer, models.OptionsResponse)
    assert (answer.forms[0].name, answer.forms[0].lines) == ("五绝", [5, 5, 5, 5])
    assert all(isinstance(tune, models.TuneOption) for tune in answer.tunes)
    assert "浣溪沙" in [tune.name for tune in answer.tunes]
    assert [tag.tag for tag in answer.tags.ner] == ["LOC"]


def test_state_and_counters(client: Any) -> None:
    assert call(client, "service.ready").status == "ready"
    assert "zhseq_requests" in call(client, "service.metrics")


def test_a_refusal(client: Any, models: ModuleType) -> None:
    answer = call(client, "poems.check", body=models.ReviewRequest(text=WANG, tune="没有此调"))
    assert isinstance(answer, models.ErrorResponse)
    assert answer.error.code == "unknown_tune"
    assert answer.error.values["name"] == "没有此调"


def test_a_refusal_holds_what_is_wrong_with_a_field(client: Any, models: ModuleType) -> None:
    answer = call(client, "poems.write", body=models.PoemRequest(num=1_000))
    assert answer.error.code == "invalid_request"
    problem = answer.error.values["problem"]
    assert isinstance(problem, models.Said)
    assert (problem.code, problem.values["field"]) == ("too_great", "num")
