"""What every request passes: who may call, how much may be sent, a log line and a count without the user's text."""

from __future__ import annotations

import hmac
import itertools
import json
import os
import string
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from zhseq.errors import Message, service
from zhseq.messages import CHINESE
from zhseq.serve.metrics import Metrics, log
from zhseq.serve.settings import LOCAL_HOSTS, Settings

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


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
_OPEN_PATHS = ("/", "/health", "/ready", "/openapi.json", "/docs", "/favicon.ico")
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
        if scope["path"].startswith(_OPEN_FOLDER):
            visit.path = _OPEN_FOLDER
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
            log("error", id=visit.id, kind=type(error).__name__, places=places(error))
            failure = ApiError(500, Message("internal", "The service failed; the error is in its log."))
            broken = not await visit.refuse(failure, scope)
        seconds = time.perf_counter() - begin
        path, method = visit.path, scope["method"] if scope["method"] in _METHODS else "other"
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
        hosts = headers.getlist("host")
        if len(hosts) > 1:  # a proxy before this service may have looked at another of them
            raise ApiError(
                400,
                Message(
                    "several_hosts",
                    "Expected one header 'Host', but found {count}; send the one that is meant.",
                    {"count": len(hosts)},
                ),
            )
        if self._settings.api_key:
            if path not in _OPEN_PATHS and not path.startswith(_OPEN_FOLDER) and scope["method"] != "OPTIONS":
                self._check_key(headers)
        elif _host_name(headers.get("host", "")) not in self._hosts:
            # Else any page on the web could reach this service, under a name of its own that points to 127.0.0.1.
            raise ApiError(
                421, Message("wrong_host", "The service is not known under this host name; allow it with --allow-host.")
            )
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._settings.max_body:
            raise too_large(self._settings.max_body)

    def _check_key(self, headers: Headers) -> None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given, wanted = key.strip().encode("utf-8", "replace"), self._settings.api_key.encode()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, wanted):
            raise ApiError(
                401,
                Message("unauthorized", "Expected the key of this service in the header 'Authorization: Bearer KEY'."),
                {"WWW-Authenticate": "Bearer"},
            )


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
        self.path = "unknown"  # of the route that serves it; not that of the request, which is a user's text
        self.id = f"{_PROCESS}-{next(_NUMBERS):x}"

    async def receive(self) -> AsgiMessage:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._read = not message.get("more_body", False)
            if self._received > self._limit:
                raise too_large(self._limit)
        return message

    async def send(self, message: AsgiMessage) -> None:
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


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def places(error: BaseException) -> list[str]:
    """Return where an error came from, without its message, which may hold a user's text."""
    frames: Iterable[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
