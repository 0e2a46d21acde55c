from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from tests.serve.conftest import Serve
from zhseq.messages import CHINESE
from zhseq.serve import schemas

PACKAGE = Path(schemas.__file__).parents[1]
WRITING = ("planning", "review", "faults", "forms", "writer", "request", "poet", "search", "lookup")
OF_FILES_AND_SETTINGS = {
    *("cannot_listen", "empty_file"),
    *("bad_best_of", "bad_drafts", "bad_num", "bad_seed", "bad_temperature", "bad_top_k", "bad_top_p"),  # bounded
    "unknown_book",
    *("the_start", "the_acrostic", "the_upper_line", "this_text", "this_mark", "no_mark", "one_line", "line_count"),
}
BODIES = {
    "/v1/tag": schemas.TagRequest,
    "/v1/poems": schemas.PoemRequest,
    "/v1/poems/check": schemas.ReviewRequest,
    "/v1/poems/suggest": schemas.SuggestRequest,
    "/v1/poems/rewrite": schemas.RewriteRequest,
    "/v1/poems/couplet": schemas.CoupletRequest,
    "/v1/verse/character": schemas.CharacterRequest,
    "/v1/verse/rhymes": schemas.RhymesRequest,
    "/v1/verse/tune": schemas.TuneRequest,
    "/v1/verse/facing": schemas.FacingRequest,
    "/v1/verse/find": schemas.FindRequest,
}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found = client.get("/openapi.json").json()
    assert isinstance(found, dict)
    return found


def test_all_paths_are_described(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == {*BODIES, "/v1/options", "/health", "/ready", "/metrics"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert "TagRequest" in names
    assert names <= set(document["components"]["schemas"])


@pytest.mark.parametrize("path", BODIES)
def test_examples_are_accepted(document: dict[str, Any], path: str) -> None:
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    model = BODIES[path]
    assert body == {"$ref": f"#/components/schemas/{model.__name__}"}
    examples = document["components"]["schemas"][model.__name__]["examples"]
    assert examples
    for example in examples:
        TypeAdapter(model).validate_json(json.dumps(example))


def test_all_errors_are_declared_in_one_shape(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert {int(status) for status in operation["responses"]} >= {200, 404, 405, *refusing()}
            for status in set(operation["responses"]) - {"200"}:
                content = operation["responses"][status]["content"]
                assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}, path


def refusing() -> set[int]:
    """Statuses with which the service refuses."""
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.glob("serve/*.py")]
    found = {int(status) for source in sources for status in re.findall(r"\bApiError\(\s*(\d+)", source)}
    assert {400, 429, 503} <= found
    return found


def test_who_is_to_try_again_is_told_when(document: dict[str, Any]) -> None:
    for status in ("429", "503"):
        assert "Retry-After" in document["paths"]["/v1/tag"]["post"]["responses"][status]["headers"]


def test_variants_have_names(document: dict[str, Any]) -> None:
    """No choice between unnamed schemas, which a generated client could not call anything; nothing may be whatever."""
    plain = {"integer", "number", "string", "null"}
    for place, schema in schemas_in(document["components"]["schemas"], ""):
        for kind in ("oneOf", "anyOf"):
            for variant in schema.get(kind, ()):
                assert "$ref" in variant or variant.get("type") in plain, place
        if place.count("/") == 3:  # a field
            assert {"$ref", "anyOf", "oneOf", "const", "type"} & set(schema), place
        if place.count("/") > 1 and schema.get("type") == "object":
            assert schema["additionalProperties"] not in (True, {}), place


def schemas_in(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield place, value
        for key, part in value.items():
            if key != "examples":
                yield from schemas_in(part, f"{place}/{key}")
    elif isinstance(value, list):
        for part in value:
            yield from schemas_in(part, place)


def test_a_key_is_part_of_the_document(serve: Serve, document: dict[str, Any]) -> None:
    assert "security" not in document
    guarded = serve(api_keys=("k",)).get("/openapi.json").json()
    assert guarded["security"] == [{"key": []}]
    assert guarded["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}


def test_codes_are_enumerated(document: dict[str, Any]) -> None:
    models = document["components"]["schemas"]
    assert "wrong_tone" in models["FaultFound"]["properties"]["code"]["enum"]
    listed = models["ErrorSaid"]["properties"]["code"]["enum"]
    assert len(listed) == len(set(listed))
    assert raised() <= set(listed)
    assert set(listed) <= set(CHINESE)
    notes = models["NoteSaid"]["properties"]["code"]["enum"]
    assert set(notes) == noted()


def noted() -> set[str]:
    """Codes of the notes of poems and reviews: of messages that are called a note, or returned as one."""
    codes = set()
    for path in (PACKAGE / "poetry").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "note" and is_message(node.value):
                codes.add(ast.unparse(node.value.args[0])[1:-1])
    return codes | {"two_notes"}


WRONG: dict[str, tuple[Any, ...]] = {
    "/v1/tag": ("x", [], None, 1, {"text": 1}, {"texts": []}, {"text": "", "tasks": ["x"]}, {"text": "", "words": [1]}),
    "/v1/poems": (
        *({"num": 0}, {"num": 10**30}, {"num": 1.5}, {"num": True}, {"num": "1"}, {"seed": -1}, {"seed": 2**63}),
        *({"temperature": "x"}, {"temperature": 11}, {"top_p": 0}, {"stream": "yes"}, {"lines": "x"}, {"lines": [1]}),
        *({"form": None}, {"start": []}, {"rhyme": "x"}, {"acrostic_at": 1}, {"lines": [""] * 101}, {"x": 1}),
    ),
    "/v1/poems/check": ({}, {"text": {}}, {"text": "", "surprise": 1}, {"text": "", "rhyme": "none"}),
    "/v1/poems/rewrite": ({"lines": ["x"], "index": 100}, {"lines": ["x"], "index": -1}, {"lines": [], "index": 0}),
    "/v1/verse/rhymes": ({"word": "秋", "rhyme": "none"}, {"word": "秋", "num": 1_001}, {"rhyme": "ci"}),
    "/v1/verse/tune": ({"tune": "如梦令", "example": 1}, {"tune": "词" * 51}),
    "/v1/poems/couplet": ({"upper": None}, {"upper": "x", "rhyme": "ci"}, {"upper": "x", "temperature": -1}),
}
PYDANTIC = re.compile(r"pydantic|Input should|Field required|valid (string|integer|number|list|dict)|Extra inputs")


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, bodies in WRONG.items() for body in bodies])
def test_what_is_wrong_with_a_body_is_said_in_words_of_our_own(client: TestClient, path: str, body: Any) -> None:
    answer = client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert not PYDANTIC.search(answer.text)
    said = schemas.ErrorResponse.model_validate_json(answer.content, strict=True).error
    assert "wrong_value" not in answer.text, "a kind of fault that nobody wrote a sentence for"
    assert said.code in schemas.ERROR_CODES


def test_the_document_does_not_speak_of_what_it_is_made_with(document: dict[str, Any]) -> None:
    assert "pydantic" not in json.dumps(document).lower()


def raised() -> set[str]:
    """Codes of the errors that the service raises, and of those of the poetry half that its requests can cause."""
    codes = set()
    for path in [*PACKAGE.glob("serve/*.py"), *(PACKAGE / "poetry" / f"{name}.py" for name in WRITING)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("InputError", "ApiError"):
                codes |= {ast.unparse(inner.args[0])[1:-1] for inner in ast.walk(node) if is_message(inner)}
    return codes - OF_FILES_AND_SETTINGS


def is_message(node: ast.AST) -> TypeGuard[ast.Call]:
    made = isinstance(node, ast.Call) and ast.unparse(node.func) in ("InputError", "Message")
    return made and bool(node.args) and isinstance(node.args[0], ast.Constant)  # type: ignore[attr-defined]


def test_answers_are_as_documented(client: TestClient) -> None:
    answer = client.post("/v1/tag", json={"texts": ["小明在北京", ""], "scores": True}).content
    schemas.TagResponse.model_validate_json(answer, strict=True)
    schemas.OptionsResponse.model_validate_json(client.get("/v1/options").content, strict=True)
    schemas.HealthResponse.model_validate_json(client.get("/health").content, strict=True)
    schemas.HealthResponse.model_validate_json(client.get("/ready").content, strict=True)
    schemas.ErrorResponse.model_validate_json(client.get("/nothing").content, strict=True)
