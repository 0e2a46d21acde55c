"""What every request passes: who may call, how much may be sent, a log line and a count without the user's text."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import os
import time
import traceback
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zhseq.serve.metrics import Metrics, log
from zhseq.serve.settings import LOCAL_HOSTS, Settings

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


HEAD_BYTES = 65_536
"""Most bytes of the first line and the headers of a request."""
HEAD_SECONDS = 10.0
"""In which they must have come."""
MAX_CONNECTIONS = 1_000
"""Connections that may be open at the same time."""
_FRAMING = 8  # bytes on the wire for a byte of a body, if it comes in chunks of one byte
_LINGER_BYTES = 64 * 2**20  # of a body that is too large, read so that its sender sees the answer


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    max_body = 2**20

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._bytes = 0
        """Of this request, head and body, as they came."""
        self._late: asyncio.TimerHandle | None = None
        self._refusal: ApiError | None = None
        """Of what came behind requests that are still being answered; nothing more is read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
        self._expect_head()
        if len(self.connections) > MAX_CONNECTIONS:
            message = "Too many connections are open; try again later."
            self._refuse(ApiError(503, "busy", message, {"Retry-After": "1"}))

    def connection_lost(self, error: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self._unset_keepalive_if_required()  # uvicorn forgets it if the client reset the connection
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Read on, unless it becomes too much."""
        if self._refusal is not None:
            return
        self._bytes += len(data)  # before it is read: with its end a request takes its count along
        super().data_received(data)
        if self._in_head and self._bytes > HEAD_BYTES:
            self._refuse(ApiError(431, "too_large", f"The head of a request may have {HEAD_BYTES} bytes at most."))
        elif self._bytes > HEAD_BYTES + max(_LINGER_BYTES, _FRAMING * self.max_body):
            self.transport.close()  # it was refused long ago, or it is a trailer without end

    def on_message_begin(self) -> None:
        """Called by the parser at the first byte of a request."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Called by the parser when the body begins."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by the parser at the last byte of a request."""
        super().on_message_complete()
        self._in_head = True
        self._bytes = 0

    def on_response_complete(self) -> None:
        """Called when a request has been answered."""
        super().on_response_complete()
        if self._refusal is not None:
            self._refuse(self._refusal)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(ApiError(400, "invalid_http", "Expected a request of HTTP/1.1."))

    def _expect_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self._is_answering():
            self._expect_head()  # who waits for an answer has time for the next request
        else:
            self._refuse(ApiError(408, "head_timeout", f"No request came within {HEAD_SECONDS:g} seconds."))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and close the connection, after what came whole has been answered."""
        if self.transport.is_closing():
            return
        if self._is_answering() and (self._in_head or self.pipeline):
            self._refusal = error
            return
        if self._in_head or not self.cycle.response_started:
            body = to_json(error_body(error.code, error.message))
            headers = {**error.headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
            lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.transport.close()


def limited(max_body: int) -> type[LimitedProtocol]:
    """Return the protocol for bodies of at most so many bytes."""
    return type("LimitedProtocol", (LimitedProtocol,), {"max_body": max_body})


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
_OPEN_PATHS = ("/", "/health", "/openapi.json", "/favicon.ico")
"""What needs no key: nothing is computed there."""
_OPEN_FOLDER = "/static/"
_LINGER = 5.0  # seconds in which the rest of a refused body may come
_CLIENT_GONE = 499  # not sent, only logged and counted
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
_PROCESS = os.urandom(4).hex()  # asked for once: every call would let go of Python's lock
_NUMBERS = itertools.count(1)


class Gate:
    """The outermost application: it lets requests through to `app` or turns them away."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._hosts = frozenset((*LOCAL_HOSTS, *(host.lower() for host in settings.allowed_hosts)))
        self._raw = list(_RAW_HEADERS)
        if settings.allowed_origins:
            self._raw = [pair for pair in _RAW_HEADERS if pair[0] != b"cross-origin-resource-policy"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        broken = False
        visit = _Visit(receive, send, self._settings.max_body, self._raw)
        begin = time.perf_counter()
        scope["visit"] = visit
        try:
            self._admit(scope)
            await self._app(scope, visit.receive, visit.send)
        except ApiError as error:
            broken = not await visit.refuse(error, scope)
        except ClientGone:
            visit.status = _CLIENT_GONE
        except Exception as error:
            log("error", id=visit.id, kind=type(error).__name__, places=_places(error))
            failure = ApiError(500, "internal", "The service failed; the error is in its log.")
            broken = not await visit.refuse(failure, scope)
        seconds = time.perf_counter() - begin
        path, method = _template(scope), scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.count(method, path, visit.status, seconds)
        milliseconds = round(1000 * seconds, 2)
        details = {"characters": visit.characters, "ms": milliseconds, "id": visit.id}
        log("request", method=method, path=path, status=visit.status, **details)
        if broken:
            raise ClientGone  # what was sent cannot be taken back; the server closes the connection

    def _admit(self, scope: Scope) -> None:
        """Turn away who may not call, and what is too large by its own word.

        Raises:
            ApiError: Then.
        """
        headers = Headers(scope=scope)
        path = scope["path"]
        if self._settings.api_key:
            if path not in _OPEN_PATHS and not path.startswith(_OPEN_FOLDER) and scope["method"] != "OPTIONS":
                self._check_key(headers)
        elif _host_name(headers.get("host", "")) not in self._hosts:
            # Else any page on the web could reach this service, under a name of its own that points to 127.0.0.1.
            message = "The service is not known under this host name; allow it with --allow-host."
            raise ApiError(421, "wrong_host", message)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._settings.max_body:
            raise too_large(self._settings.max_body)

    def _check_key(self, headers: Headers) -> None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given, wanted = key.strip().encode("utf-8", "replace"), self._settings.api_key.encode()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, wanted):
            message = "Expected the key of this service in the header 'Authorization: Bearer KEY'."
            raise ApiError(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})


class _Visit:
    """One request on its way: counts what comes, dresses what goes."""

    def __init__(self, receive: Receive, send: Send, limit: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._headers = headers
        self._received = 0
        self._read = False
        self.started = False
        self.status = _CLIENT_GONE  # until something is sent
        self.characters = 0
        self.id = f"{_PROCESS}-{next(_NUMBERS):x}"

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._read = not message.get("more_body", False)
            if self._received > self._limit:
                raise too_large(self._limit)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            given = {name for name, _ in headers}
            headers += [pair for pair in self._headers if pair[0] not in given]
            headers.append((b"x-request-id", self.id.encode()))
            message["headers"] = headers
        await self._send(message)

    async def refuse(self, error: ApiError, scope: Scope) -> bool:
        """Answer with an error; return whether that was still possible."""
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


def too_large(limit: int) -> ApiError:
    """Return the refusal of a body of too many bytes."""
    message = f"The body of a request may have {limit} bytes at most; send less at once."
    return ApiError(413, "too_large", message, {"Connection": "close"})


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _template(scope: Scope) -> str:
    """Return the path of the route that served a request; not the path itself, which is a user's text."""
    if scope["path"].startswith(_OPEN_FOLDER):
        return _OPEN_FOLDER
    return str(getattr(scope.get("route"), "path", "") or "unknown")


def _places(error: BaseException) -> list[str]:
    """Return where an error came from, without its message, which may hold a user's text."""
    frames: Iterable[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
