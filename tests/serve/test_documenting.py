from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from tests.serve.conftest import Serve
from zhseq.serve import schemas

BODIES = {
    "/v1/tag": schemas.TagRequest,
    "/v1/poems": schemas.PoemRequest,
    "/v1/poems/check": schemas.ReviewRequest,
    "/v1/poems/suggest": schemas.SuggestRequest,
    "/v1/poems/rewrite": schemas.RewriteRequest,
}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found = client.get("/openapi.json").json()
    assert isinstance(found, dict)
    return found


def test_all_paths_are_described(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == {*BODIES, "/v1/options", "/health", "/metrics"}


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
            for status in ("400", "401", "404", "405", "408", "413", "415", "421", "422", "500", "503"):
                content = operation["responses"][status]["content"]
                assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}, path


def test_a_key_is_part_of_the_document(serve: Serve, document: dict[str, Any]) -> None:
    assert "security" not in document
    guarded = serve(api_key="k").get("/openapi.json").json()
    assert guarded["security"] == [{"key": []}]
    assert guarded["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}


def test_answers_are_as_documented(client: TestClient) -> None:
    answer = client.post("/v1/tag", json={"texts": ["小明在北京", ""], "scores": True}).content
    schemas.TagResponse.model_validate_json(answer, strict=True)
    schemas.OptionsResponse.model_validate_json(client.get("/v1/options").content, strict=True)
    schemas.HealthResponse.model_validate_json(client.get("/health").content, strict=True)
    schemas.ErrorResponse.model_validate_json(client.get("/nothing").content, strict=True)
