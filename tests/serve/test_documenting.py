from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, TypeGuard

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from tests.serve.conftest import Serve
from zhseq.messages import CHINESE
from zhseq.serve import schemas

PACKAGE = Path(schemas.__file__).parents[1]
WRITING = ("planning", "review", "faults", "forms", "writer", "request", "poet", "search")
OF_FILES_AND_SETTINGS = {
    *("cannot_listen", "empty_file"),
    *("bad_best_of", "bad_num", "bad_seed", "bad_temperature", "bad_top_k", "bad_top_p"),  # bounded in the schema
    *("the_start", "the_acrostic", "the_upper_line", "this_text", "this_mark", "no_mark", "one_line", "line_count"),
}
BODIES = {
    "/v1/tag": schemas.TagRequest,
    "/v1/poems": schemas.PoemRequest,
    "/v1/poems/check": schemas.ReviewRequest,
    "/v1/poems/suggest": schemas.SuggestRequest,
    "/v1/poems/rewrite": schemas.RewriteRequest,
    "/v1/poems/couplet": schemas.CoupletRequest,
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
            for status in ("400", "401", "404", "405", "408", "413", "415", "421", "422", "431", "500", "503"):
                content = operation["responses"][status]["content"]
                assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}, path


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
