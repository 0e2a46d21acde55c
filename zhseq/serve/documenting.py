"""The OpenAPI document: bodies are read by hand, so they are described by hand, too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from zhseq.serve.schemas import Body, ErrorResponse

_REFERENCE = "#/components/schemas/{model}"
_ERRORS = {
    400: "The body is not JSON, or the request is not HTTP.",
    401: "The key is missing or wrong.",
    404: "There is nothing at this path.",
    405: "The path does not know this method.",
    408: "The body came too slowly.",
    413: "The body, or the texts in it, are too large.",
    415: "The body is not marked as JSON.",
    421: "The service is not known under this host name.",
    422: "The body is not as described, or asks for what cannot be had.",
    500: "The service failed.",
    503: "Too much waits already, or the request took too long; see Retry-After.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description} for status, description in _ERRORS.items()
}


class PlainRoute(APIRoute):
    """A route whose endpoint takes the request as it is; to look for parameters would cost more than to serve it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        return cast(Callable[[Request], Coroutine[Any, Any, Response]], self.endpoint)


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return what an endpoint says about its body."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_bodies(app: FastAPI) -> None:
    """Let the OpenAPI document of an application describe the bodies that its endpoints refer to."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            models = [(model, "validation") for model in _concrete(Body)]
            _, bodies = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
            schema.setdefault("components", {}).setdefault("schemas", {}).update(bodies["$defs"])
            if app.state.services.settings.api_key:
                schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                schema["security"] = [{"key": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _concrete(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [found for child in model.__subclasses__() for found in (child, *_concrete(child))]
