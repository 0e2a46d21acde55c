"""Responses and errors, and the state of a request: bytes received, headers and compression of the response."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import string
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from zhseq.errors import Message, service
from zhseq.messages import CHINESE
from zhseq.serve.metrics import log

_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


class ApiError(Exception):
    """An error response.

    Args:
        status: HTTP status code.
        message: What went wrong, without internal details.
        headers: Headers of the response.
    """

    def __init__(self, status: int, message: Message, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message.code)  # the message may quote a user's text, and this may get into a log
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    @property
    def code(self) -> str:
        """Code of the error."""
        return self.message.code


class ClientGone(Exception):
    """The client has closed the connection, so no response is needed."""


def busy(seconds: int) -> ApiError:
    """Return the error for a full queue, with the `seconds` until a retry."""
    seconds = max(1, seconds)
    message = Message("busy", "The service is busy; try again in {seconds} seconds.", {"seconds": seconds})
    return ApiError(503, message, {"Retry-After": str(seconds)})


def too_slow(seconds: float) -> ApiError:
    """Return the error for a request that took more than `seconds`."""
    message = Message(
        "timeout",
        "The request took more than {seconds} seconds; send less at once or try again later.",
        {"seconds": f"{seconds:g}"},
    )
    return ApiError(503, message, {"Retry-After": "1"})


def too_large(limit: int) -> ApiError:
    """Return the error for a body of more than `limit` bytes."""
    message = Message(
        "too_large", "The body of a request may have {limit} bytes at most; send less at once.", {"limit": limit}
    )
    return ApiError(413, message, {"Connection": "close"})


def stopping() -> ApiError:
    """Return the error for a request that a stopping service can no longer finish."""
    message = Message("stopping", "The service is being stopped; send the request again.")
    return ApiError(503, message, {"Retry-After": "1", "Connection": "close"})


def to_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; lone surrogates are escaped, which JSON allows."""
    return _ENCODER.encode(value).encode("utf-8", "backslashreplace")


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a body that is already JSON."""
    return Response(body, status, headers, "application/json")


def say(message: Message) -> dict[str, Any]:
    """Return a message for clients: its English text, and the data from which a client can render its own."""
    values = {}
    for _, name, _, _ in string.Formatter().parse(message.template):
        if name:
            value = message.values[name]
            values[name] = say(value) if isinstance(value, Message) else value if isinstance(value, int) else str(value)
    templates = {"en": message.template, "zh": CHINESE.get(message.code, message.template)}
    return {
        "code": message.code,
        "message": message.render(service, "en"),
        "values": values,
        "templates": templates,
    }


def error_body(message: Message) -> dict[str, Any]:
    """Return the body of an error response; all errors have this form."""
    return {"error": say(message)}


def error_response(error: ApiError) -> Response:
    """Return the response for an error."""
    return json_response(to_json(error_body(error.message)), error.status, error.headers)


CONNECTION = "zhseq.connection"
"""Key of a request's scope for its connection (`zhseq.serve.protocol`); only `zhseq serve` sets it."""
_LINGER = 5.0  # seconds for which the rest of a refused body is read
CLIENT_GONE = 499  # never sent, only logged and counted
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PACKED_FROM = 1_024
"""Size in bytes from which on a body is compressed; smaller ones gain nothing."""
PACKED_HEADERS = [(b"vary", b"Accept-Encoding")]
"""Headers of responses that are compressed for clients that accept it."""
_PACKED_APART = 32_768  # bytes; from here on compression takes so long that it is done in a thread
_PACKED_KINDS = (b"application/json", b"text/plain")
_NUMBERS = itertools.count(1)


class Visit:
    """The state of one request: counts received bytes, adds headers to the response and compresses it."""

    process = os.urandom(4).hex()  # called once, since each call releases the GIL
    """Prefix of the ids of all requests that a process serves."""

    def __init__(self, receive: Receive, send: Send, limit: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._headers = headers
        self._received = 0
        self._read = False
        self.started = False
        self.status = CLIENT_GONE  # until something is sent
        self.characters = 0
        self.path = "unknown"  # of the route, not of the request, which is text of the user
        self.client = ""
        """Address of the client."""
        self.key = 0
        """Number of the key of the request, from 1; 0: none."""
        self.code = ""
        """Code of the error that was sent."""
        self.packs = False
        """Whether the client accepts gzip."""
        self._head: AsgiMessage | None = None
        """Start of a response that is held back until its body can be compressed."""
        self.id = f"{self.process}-{next(_NUMBERS):x}"

    async def receive(self) -> AsgiMessage:
        """Return the next message from the client.

        Raises:
            ApiError: The body is larger than the limit.
        """
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._read = not message.get("more_body", False)
            if self._received > self._limit:
                raise too_large(self._limit)
        return message

    async def send(self, message: AsgiMessage) -> None:
        """Send a message of the response, with the common headers, and compressed if the client accepts it."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = headers = self.dressed(message.get("headers", ()))
            if _may_be_packed(message):
                headers += PACKED_HEADERS
                if self.packs:
                    self._head = message
                    return
        elif self._head is not None:
            head, self._head = self._head, None
            if not message.get("more_body", False) and len(message.get("body", b"")) >= PACKED_FROM:
                message = await _pack(head, message)
            await self._send(head)
        await self._send(message)

    def dressed(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the headers of a response with the common headers and the request id added."""
        found = list(headers)
        given = {name for name, _ in found}
        found += [pair for pair in self._headers if pair[0] not in given]
        found.append((b"x-request-id", self.id.encode()))
        return found

    def fault(self, error: Exception) -> ApiError:
        """Log a fault of the service and return the error for the client."""
        log("error", id=self.id, kind=type(error).__name__, places=places(error))
        return ApiError(500, Message("internal", "The service failed; the error is in its log."))

    async def refuse(self, error: ApiError, scope: Scope) -> bool:
        """Send an error; return whether that was possible, which it is not once a response has begun."""
        self.code = error.code
        if self.started:
            return False
        response = error_response(error)
        if error.status != 413 or self._read:
            await response(scope, self.receive, self.send)
            return True
        # A client that is still sending would not see the response if the connection were closed at once.
        await self.send({"type": "http.response.start", "status": error.status, "headers": response.raw_headers})
        await self.send({"type": "http.response.body", "body": response.body, "more_body": True})
        with anyio.move_on_after(_LINGER):
            while (message := await self._receive())["type"] == "http.request" and message.get("more_body", False):
                pass
        await self.send({"type": "http.response.body", "body": b""})
        return True


def _may_be_packed(head: AsgiMessage) -> bool:
    """Return whether a response may be compressed: JSON or plain text, not yet encoded, without the ETag of a file."""
    given = dict(head["headers"])
    kind = given.get(b"content-type", b"").partition(b";")[0]
    return kind in _PACKED_KINDS and b"etag" not in given and b"content-encoding" not in given


def packed(body: bytes) -> bytes:
    """Return a body compressed with gzip."""
    return gzip.compress(body, 1, mtime=0)


async def _pack(head: AsgiMessage, message: AsgiMessage) -> AsgiMessage:
    """Return the message with its body compressed, and update the headers in `head`."""
    body = message["body"]
    short = packed(body) if len(body) < _PACKED_APART else await anyio.to_thread.run_sync(packed, body)
    kept = [pair for pair in head["headers"] if pair[0] != b"content-length"]
    head["headers"] = [*kept, (b"content-encoding", b"gzip"), (b"content-length", str(len(short)).encode())]
    return {**message, "body": short}


def places(error: BaseException) -> list[str]:
    """Return the stack of an error, without its message, which may contain a user's text."""
    frames: Iterable[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
