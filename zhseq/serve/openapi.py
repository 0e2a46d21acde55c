"""Endpoints, and the OpenAPI document that describes them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from zhseq.serve.schemas import REFERENCE, ErrorResponse

Handler = Callable[[Request], Awaitable[Response]]

_ERRORS = {
    400: "The body is not JSON, or the request is not HTTP.",
    401: "The key is missing or wrong.",
    404: "The path does not exist.",
    405: "The path does not support the request method.",
    408: "The headers or the body were not received in time.",
    413: "The body, or the texts in it, are too large.",
    415: "The headers do not declare an uncompressed JSON body.",
    421: "The host name is not allowed.",
    422: "The body does not match the schema, or the request cannot be fulfilled.",
    429: "Too many requests with this key or from this address; see Retry-After.",
    431: "The request headers are too large.",
    500: "The service failed.",
    503: "The service is busy or not ready, or the request took too long; see Retry-After.",
}

_TO_BE_TRIED_AGAIN = (429, 503)
_RETRY_AFTER = {"description": "Seconds to wait, if known.", "schema": {"type": "integer", "minimum": 1}}


class NamedRoute(Route):
    """A route that stores its path in the visit, for metrics and log."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse its method. Errors are handled once around all routes, not here as well."""
        scope["visit"].path = self.path
        if self.methods and scope["method"] not in self.methods:
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


@dataclass(frozen=True)
class Endpoint:
    """A path and method with its handler and its description."""

    method: str
    path: str
    handler: Handler
    """Its docstring is the description."""
    summary: str
    group: str
    answer: type[Any] | None = None
    """Type of the response, a model or a dataclass; None: plain text."""
    body: type[BaseModel] | None = None
    """Model of the request body; None: no body."""
    other_answers: Mapping[str, Any] = field(default_factory=dict)
    """Other media types of the response, as OpenAPI describes them."""
    parts: Sequence[type[BaseModel]] = ()
    """Models that body or responses refer to only by name."""

    def route(self) -> Route:
        """Return the route of this endpoint."""
        return NamedRoute(self.path, self.handler, methods=[self.method])

    def describe(self) -> dict[str, Any]:
        """Return the operation for the OpenAPI document."""
        content = {"text/plain": {"schema": {"type": "string"}}} if self.answer is None else _content(self.answer)
        answer = {"description": "Success.", "content": {**content, **self.other_answers}}
        errors = {str(status): _refusal(status, text) for status, text in _ERRORS.items()}
        operation: dict[str, Any] = {
            "operationId": self.handler.__name__,
            "tags": [self.group],
            "summary": self.summary,
            "description": inspect.getdoc(self.handler) or "",
            "responses": {"200": answer, **errors},
        }
        if self.body is not None:
            operation["requestBody"] = {"required": True, "content": _content(self.body)}
        return operation


class _Untitled(GenerateJsonSchema):
    """Generates schemas without titles of fields, which would only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        """Describe a dataclass of the library, with the docstrings of its fields in the source as descriptions."""
        found = super().dataclass_schema(schema)
        (node,) = ast.parse(inspect.getsource(schema["cls"])).body
        assert isinstance(node, ast.ClassDef)
        for name, text in pairwise(node.body):
            if isinstance(name, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found["properties"][ast.unparse(name.target)]["description"] = inspect.cleandoc(str(text.value.value))
        return found


def _refusal(status: int, text: str) -> dict[str, Any]:
    headers = {"headers": {"Retry-After": _RETRY_AFTER}} if status in _TO_BE_TRIED_AGAIN else {}
    return {"description": text, **headers, "content": _content(ErrorResponse)}


def _content(model: type[Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}


def describe(endpoints: Sequence[Endpoint], *, version: str, description: str, guarded: bool) -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        endpoints: All endpoints.
        version: Version of the service.
        description: One sentence about the service.
        guarded: Whether requests need a key.
    """
    named = (model for each in endpoints for model in (each.body, each.answer, *each.parts, ErrorResponse))
    models = dict.fromkeys(model for model in named if model is not None)
    _, schemas = TypeAdapter.json_schemas(
        [(model.__name__, "validation", TypeAdapter(model)) for model in models],
        ref_template=REFERENCE,
        schema_generator=_Untitled,
    )
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "zhseq", "version": version, "description": description},
        "paths": {},
        "components": {"schemas": schemas["$defs"]},
    }
    for each in endpoints:
        document["paths"].setdefault(each.path, {})[each.method.lower()] = each.describe()
    if guarded:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document
