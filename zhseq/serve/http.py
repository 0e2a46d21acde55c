"""Answers and refusals, and what is known of a request on its way: how much came, what goes out, packed or not."""

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
    """An answer that is no success.

    Args:
        status: The status code of HTTP.
        message: What went wrong, without internals.
        headers: Headers of the answer.
    """

    def __init__(self, status: int, message: Message, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message.code)  # the message may quote a user's text, and this may end in a log
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    @property
    def code(self) -> str:
        """What went wrong, for programs."""
        return self.message.code


class ClientGone(Exception):
    """The client has closed the connection; nobody waits for an answer."""


def busy(seconds: int) -> ApiError:
    """Return the refusal of a request that finds the queue full."""
    seconds = max(1, seconds)
    message = Message("busy", "The service is busy; try again in {seconds} seconds.", {"seconds": seconds})
    return ApiError(503, message, {"Retry-After": str(seconds)})


def too_slow(seconds: float) -> ApiError:
    """Return the refusal of a request that took longer than it may."""
    message = Message(
        "timeout",
        "The request took more than {seconds} seconds; send less at once or try again later.",
        {"seconds": f"{seconds:g}"},
    )
    return ApiError(503, message, {"Retry-After": "1"})


def too_large(limit: int) -> ApiError:
    """Return the refusal of a body of too many bytes."""
    message = Message(
        "too_large", "The body of a request may have {limit} bytes at most; send less at once.", {"limit": limit}
    )
    return ApiError(413, message, {"Connection": "close"})


def stopping() -> ApiError:
    """Return the refusal of a request that a stopping service can no longer finish."""
    message = Message("stopping", "The service is being stopped; send the request again.")
    return ApiError(503, message, {"Retry-After": "1", "Connection": "close"})


def to_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; a lone surrogate comes out as an escape, which JSON allows."""
    return _ENCODER.encode(value).encode("utf-8", "backslashreplace")


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with a body that is JSON already."""
    return Response(body, status, headers, "application/json")


def say(message: Message) -> dict[str, Any]:
    """Return a message as clients get it: in English, and as the data of which each can make a sentence of its own."""
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
    """Return the one shape of all errors."""
    return {"error": say(message)}


def error_response(error: ApiError) -> Response:
    """Return the answer that stands for an error."""
    return json_response(to_json(error_body(error.message)), error.status, error.headers)


CONNECTION = "zhseq.connection"
"""Of a request's scope: its connection, see `zhseq.serve.protocol`; other servers than `zhseq serve` have none."""
_LINGER = 5.0  # seconds in which the rest of a refused body may come
CLIENT_GONE = 499  # not sent, only logged and counted
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PACKED_FROM = 1_024
"""Bytes of a body from which on it is packed; shorter ones gain nothing."""
PACKED_HEADERS = [(b"vary", b"Accept-Encoding")]
"""Of answers that are packed for some clients."""
_PACKED_APART = 32_768  # bytes; to pack more takes so long that it is done beside the event loop
_PACKED_KINDS = (b"application/json", b"text/plain")
_NUMBERS = itertools.count(1)


class Visit:
    """One request on its way: counts what comes, dresses what goes."""

    process = os.urandom(4).hex()  # asked for once: every call would let go of Python's lock
    """Begin of the ids of all requests that a process serves."""

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
        self.path = "unknown"  # of the route that serves it; not that of the request, which is a user's text
        self.client = ""
        """Its address."""
        self.key = 0
        """Number of the key that it came with."""
        self.code = ""
        """Of the error that it was answered with."""
        self.packs = False
        """Whether the client takes gzip."""
        self._head: AsgiMessage | None = None
        """Begin of an answer that waits for its body, to be packed with it."""
        self.id = f"{self.process}-{next(_NUMBERS):x}"

    async def receive(self) -> AsgiMessage:
        """Pass on what comes, unless it becomes too much."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._read = not message.get("more_body", False)
            if self._received > self._limit:
                raise too_large(self._limit)
        return message

    async def send(self, message: AsgiMessage) -> None:
        """Pass on what goes, with the headers of all answers, and packed if the client likes."""
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
        """Return headers of an answer with those of all answers."""
        found = list(headers)
        given = {name for name, _ in found}
        found += [pair for pair in self._headers if pair[0] not in given]
        found.append((b"x-request-id", self.id.encode()))
        return found

    def fault(self, error: Exception) -> ApiError:
        """Log a fault of the service, and return what its client is told."""
        log("error", id=self.id, kind=type(error).__name__, places=places(error))
        return ApiError(500, Message("internal", "The service failed; the error is in its log."))

    async def refuse(self, error: ApiError, scope: Scope) -> bool:
        """Answer with an error; return whether that was still possible."""
        self.code = error.code
        if self.started:
            return False
        response = error_response(error)
        if error.status != 413 or self._read:
            await response(scope, self.receive, self.send)
            return True
        # Who is still sending would not see the answer if the connection were closed at once.
        await self.send({"type": "http.response.start", "status": error.status, "headers": response.raw_headers})
        await self.send({"type": "http.response.body", "body": response.body, "more_body": True})
        with anyio.move_on_after(_LINGER):
            while (message := await self._receive())["type"] == "http.request" and message.get("more_body", False):
                pass
        await self.send({"type": "http.response.body", "body": b""})
        return True


def _may_be_packed(head: AsgiMessage) -> bool:
    """Tell whether an answer is one that may be packed: whole, and no file, whose tag would be that of the file."""
    given = dict(head["headers"])
    kind = given.get(b"content-type", b"").partition(b";")[0]
    return kind in _PACKED_KINDS and b"etag" not in given and b"content-encoding" not in given


def packed(body: bytes) -> bytes:
    """Return a body as gzip."""
    return gzip.compress(body, 1, mtime=0)


async def _pack(head: AsgiMessage, message: AsgiMessage) -> AsgiMessage:
    """Return the body packed, and say so in the head."""
    body = message["body"]
    short = packed(body) if len(body) < _PACKED_APART else await anyio.to_thread.run_sync(packed, body)
    kept = [pair for pair in head["headers"] if pair[0] != b"content-length"]
    head["headers"] = [*kept, (b"content-encoding", b"gzip"), (b"content-length", str(len(short)).encode())]
    return {**message, "body": short}


def places(error: BaseException) -> list[str]:
    """Return where an error came from, without its message, which may hold a user's text."""
    frames: Iterable[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
