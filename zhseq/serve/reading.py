"""From the bytes of a request to a checked body, and from work that goes on elsewhere to its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import anyio
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.types import Receive

from zhseq.serve.errors import ApiError, ClientGone, too_slow

_Body = TypeVar("_Body", bound=BaseModel)
_Result = TypeVar("_Result")
_BODY_SECONDS = 10.0  # in which a body must have come
_SHOWN = 3  # faults of a body that are told at once


async def read(request: Request, model: type[_Body]) -> _Body:
    """Read and check the body of a request.

    Raises:
        ApiError: It is not JSON, not what `model` describes, or does not come.
        ClientGone: The client has closed the connection.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        message = "Expected a body in JSON, with the header 'Content-Type: application/json'."
        raise ApiError(415, "unsupported_media_type", message)
    try:
        with anyio.fail_after(_BODY_SECONDS):
            body = await _body(request.receive)
    except TimeoutError as error:
        message = f"The body did not come within {_BODY_SECONDS:g} seconds."
        raise ApiError(408, "body_timeout", message, {"Connection": "close"}) from error
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None  # the cause holds the user's text


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _refusal(error: ValidationError) -> ApiError:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    if faults[0]["type"] == "json_invalid":
        return ApiError(400, "invalid_json", f"Expected a body in JSON, in UTF-8, but found: {faults[0]['msg']}.")
    shown = [f"{'.'.join(map(str, fault['loc']))[:80] or 'body'}: {fault['msg']}" for fault in faults[:_SHOWN]]
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    code = "too_long" if {fault["type"] for fault in faults} == {"string_too_long"} else "invalid_request"
    return ApiError(422, code, "; ".join(shown) + more + ".")


async def finish(work: Awaitable[_Result], receive: Receive, seconds: float) -> _Result:
    """Wait for work, as long as the client does; the work is cancelled when nobody waits for it any longer.

    Raises:
        ApiError: It took longer than `seconds`.
        ClientGone: The client has closed the connection.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        done, _ = await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        if gone in done:
            raise ClientGone
        raise too_slow(seconds)
    finally:
        task.cancel()
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
