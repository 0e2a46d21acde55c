"""Read and check the body of a request, and wait for its result while the client is connected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import reduce
from typing import Any, TypeVar

import anyio
import numpy as np
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.types import Receive

from zhseq.errors import Message
from zhseq.serve.http import CONNECTION, ApiError, ClientGone, too_slow
from zhseq.serve.settings import MAX_WORDS

_Body = TypeVar("_Body", bound=BaseModel)
_Result = TypeVar("_Result")
_BODY_SECONDS = 10.0  # seconds in which a body must arrive
_SHOWN = 3  # problems of a body that an error lists
_MOST_FAULTS = 1_000  # of a body that are examined; describing a million, as a megabyte can have, takes seconds
_FIELD = 80  # characters of a field name that are shown
_PARTS = 10 * MAX_WORDS  # fields, lists and objects of a body; a dictionary word with all fields has five
_MARKS_OF_PARTS = (b":", b"[", b"{")


async def read(request: Request, model: type[_Body]) -> _Body:
    """Read and check the body of a request.

    Raises:
        ApiError: The body is not JSON, does not match `model`, or does not arrive in time.
        ClientGone: The client has closed the connection.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(
            415,
            Message(
                "unsupported_media_type", "Expected a JSON body, with the header 'Content-Type: application/json'."
            ),
        )
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise ApiError(415, Message("packed_body", "Expected a body without 'Content-Encoding'; send it uncompressed."))
    try:
        body = await _body(request)
    except TimeoutError as error:
        message = Message(
            "body_timeout", "The body was not received within {seconds} seconds.", {"seconds": f"{_BODY_SECONDS:g}"}
        )
        raise ApiError(408, message, {"Connection": "close"}) from error
    _hold_to_size(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error, body) from None  # the cause contains the user's text


async def _body(request: Request) -> bytes:
    connection = request.scope.get(CONNECTION)
    if connection is not None and connection.has_all:  # it has arrived and needs no timer
        return await _all_of(request.receive)
    with anyio.fail_after(_BODY_SECONDS):
        return await _all_of(request.receive)


async def _all_of(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _hold_to_size(body: bytes) -> None:
    """Refuse a body with more fields, lists and objects than any request needs, before it is parsed.

    Parsing takes up to 0.2 s per megabyte, during which the service does nothing else; counting takes a fiftieth.

    Raises:
        ApiError: The body has more.
    """
    if sum(map(body.count, _MARKS_OF_PARTS)) <= _PARTS or body.lstrip()[:1] not in (b"{", b"["):
        return
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")  # the remaining quotes begin and end strings
    codes = np.frombuffer(bare, np.uint8)
    outside = codes[~np.logical_xor.accumulate(codes == ord('"'))].tobytes()
    count = sum(map(outside.count, _MARKS_OF_PARTS))
    if count > _PARTS:
        message = Message(
            "too_many_parts",
            "The body has {count} fields, lists and objects, but no request needs more than {most}.",
            {"count": count, "most": _PARTS},
        )
        raise ApiError(422, message)


def _refusal(error: ValidationError, body: bytes) -> ApiError:
    """Return the error for a body that pydantic rejects, with messages of zhseq."""
    if error.error_count() > _MOST_FAULTS:
        many = Message("many_problems", "{count} fields or items are wrong", {"count": error.error_count()})
        return _not_as_described(many)
    faults = error.errors(include_url=False, include_input=False)
    if faults[0]["type"] == "json_invalid":
        return ApiError(400, _why_no_json(body))
    problems = [_problem(fault["type"], fault["loc"], fault.get("ctx", {})) for fault in faults]
    shown = problems[:_SHOWN]
    if len(problems) > _SHOWN:
        shown.append(Message("more_problems", "and {count} more", {"count": len(problems) - _SHOWN}))
    problem = reduce(
        lambda first, second: Message("problems", "{first}; {second}", {"first": first, "second": second}), shown
    )
    if {each.code for each in problems} == {"too_long"}:
        return ApiError(422, problems[0])
    return _not_as_described(problem)


def _not_as_described(problem: Message) -> ApiError:
    return ApiError(422, Message("invalid_request", "The request is invalid: {problem}.", {"problem": problem}))


def _why_no_json(body: bytes) -> Message:
    try:
        text = body.decode()
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return Message(
            "invalid_utf8",
            "Expected JSON in UTF-8, but byte {position} of the body is not valid UTF-8.",
            {"position": error.start + 1},
        )
    except UnicodeEncodeError:
        return Message(
            "lone_surrogate",
            "The body contains a lone surrogate, an escape such as \\ud800; write characters beyond "
            "U+FFFF directly, or as a pair of escapes.",
        )
    except json.JSONDecodeError as error:
        return Message(
            "invalid_json",
            "Expected a JSON body, but it ends early or is invalid at line {line}, column {column}.",
            {"line": error.lineno, "column": error.colno},
        )
    except (ValueError, RecursionError):
        pass
    return Message(
        "extreme_json", "The JSON body contains a number that is too large, or brackets that are nested too deeply."
    )


_Context = Mapping[str, Any]
_PROBLEMS: dict[str, Callable[[str, _Context], Message]] = {
    "missing": lambda field, given: Message("missing_field", "{field} is missing", {"field": field}),
    "extra_forbidden": lambda field, given: Message("unknown_field", "there is no field {field}", {"field": field}),
    "string_too_long": lambda field, given: Message(
        "too_long", "{field} may have {most} characters at most", {"field": field, "most": given["max_length"]}
    ),
    "string_too_short": lambda field, given: Message("empty_field", "{field} must not be empty", {"field": field}),
    "too_long": lambda field, given: Message(
        "too_many_items", "{field} may have {most} items at most", {"field": field, "most": given["max_length"]}
    ),
    "too_short": lambda field, given: Message("empty_field", "{field} must not be empty", {"field": field}),
    "literal_error": lambda field, given: Message(
        "no_such_choice",
        "{field} must be one of {choices}",
        {"field": field, "choices": given["expected"].replace("' or '", "', '")},  # the same in every language
    ),
    "greater_than_equal": lambda field, given: Message(
        "too_small", "{field} must be at least {least}", {"field": field, "least": given["ge"]}
    ),
    "greater_than": lambda field, given: Message(
        "not_above", "{field} must be more than {bound}", {"field": field, "bound": f"{given['gt']:g}"}
    ),
    "less_than_equal": lambda field, given: Message(
        "too_great", "{field} must be at most {most}", {"field": field, "most": given["le"]}
    ),
    "value_error": lambda field, given: given["error"].message,  # a `Contradiction`
}
_TYPES = {
    "string_type": Message("a_text", "a text"),
    "list_type": Message("must_be_list", "a list"),
    "bool_type": Message("true_or_false", "true or false"),
    "int_type": Message("a_whole_number", "a whole number"),
    "float_type": Message("a_number", "a number"),
    "finite_number": Message("a_number", "a number"),
    "model_type": Message("must_be_object", "an object"),
}


def _problem(kind: str, path: tuple[int | str, ...], given: _Context) -> Message:
    """Return the message for one error of pydantic."""
    field = ".".join(map(str, path))[:_FIELD] or "body"
    if kind in _PROBLEMS:
        return _PROBLEMS[kind](field, given)
    if kind in _TYPES:
        return Message("wrong_type", "{field} must be {type}", {"field": field, "type": _TYPES[kind]})
    return Message("wrong_value", "{field} cannot be read", {"field": field})


async def finish_soon(work: asyncio.Future[_Result], request: Request, seconds: float) -> _Result:
    """Do the same as `finish`, at less cost for work of a few milliseconds if the connection reports its end.

    Raises:
        ApiError: The work took longer than `seconds`.
        ClientGone: The client has closed the connection.
    """
    connection = request.scope.get(CONNECTION)
    if connection is None:
        return await finish(work, request.receive, seconds)
    is_late = False

    def give_up() -> None:
        nonlocal is_late
        is_late = work.cancel()

    late = asyncio.get_running_loop().call_later(seconds, give_up)
    connection.watch(work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if is_late:
            raise too_slow(seconds) from None
        if connection.is_lost:
            raise ClientGone from None
        raise  # the grace period of the server is over
    finally:
        connection.watch(None)
        late.cancel()
        work.cancel()


async def finish(work: Awaitable[_Result], receive: Receive, seconds: float) -> _Result:
    """Wait for work and return its result; cancel it after `seconds`, or when the client disconnects.

    Raises:
        ApiError: The work took longer than `seconds`.
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
