"""Errors of the service, all in one shape: `{"error": {"code": "...", "message": "..."}}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


class ApiError(Exception):
    """An answer that is no success.

    Args:
        status: The status code of HTTP.
        code: What went wrong, for programs.
        message: The same for people: one sentence, without internals.
        headers: Headers of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)  # the message may quote a user's text, and this may end in a log
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


class ClientGone(Exception):
    """The client has closed the connection; nobody waits for an answer."""


def busy(seconds: int) -> ApiError:
    """Return the refusal of a request that finds the queue full."""
    message = "The service is busy; try again later."
    return ApiError(503, "busy", message, {"Retry-After": str(max(1, seconds))})


def too_slow(seconds: float) -> ApiError:
    """Return the refusal of a request that took longer than it may."""
    message = f"The request took more than {seconds:g} seconds; send less at once or try again later."
    return ApiError(503, "timeout", message, {"Retry-After": "1"})


def to_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; a lone surrogate comes out as an escape, which JSON allows."""
    return _ENCODER.encode(value).encode("utf-8", "backslashreplace")


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with a body that is JSON already."""
    return Response(body, status, headers, "application/json")


def error_body(code: str, message: str) -> dict[str, dict[str, str]]:
    """Return the one shape of all errors."""
    return {"error": {"code": code, "message": message}}


def error_response(error: ApiError) -> Response:
    """Return the answer that stands for an error."""
    return json_response(to_json(error_body(error.code, error.message)), error.status, error.headers)
