"""POST /v1/tag: the endpoint, and a short cut for small requests, which would spend most time in the framework."""

from __future__ import annotations

import json
import time
from asyncio import TimerHandle
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from zhseq.errors import InputError, Message
from zhseq.serve.gate import Reception
from zhseq.serve.http import (
    CLIENT_GONE,
    PACKED_FROM,
    PACKED_HEADERS,
    ApiError,
    Visit,
    error_response,
    json_response,
    packed,
    stopping,
    too_slow,
)
from zhseq.serve.openapi import Endpoint
from zhseq.serve.protocol import LimitedProtocol
from zhseq.serve.queues import Job, TagOptions
from zhseq.serve.reading import finish_soon, read
from zhseq.serve.schemas import TagRequest, TagResponse, TagText, TagTexts
from zhseq.serve.services import Services, services
from zhseq.serve.settings import Settings
from zhseq.tagging.dictionary import Entry


async def tag(request: Request) -> Response:
    """Segment texts into words, with parts of speech and named entities. Offsets are in code points."""
    here = services(request)
    payload = await read(request, TagRequest)
    texts = payload.texts or [payload.text]
    request.scope["visit"].characters = sum(map(len, texts))
    _check(texts, payload, here)
    answer = here.tags.submit(texts, _options(payload, here))
    documents = await finish_soon(answer, request, here.settings.timeout)
    return json_response(_body(documents))


def _body(documents: Iterable[bytes]) -> bytes:
    return b'{"documents":[' + b",".join(documents) + b"]}"


def _options(payload: TagRequest, here: Services) -> TagOptions:
    tasks = tuple(dict.fromkeys(payload.tasks)) or here.tagger.tasks
    if not payload.words:
        return TagOptions(tasks, payload.scores)
    words = tuple(Entry(word.word, word.pos, word.label, None, word.mode) for word in payload.words)
    dictionary = here.tagger.dictionary.copy()
    try:
        dictionary.update(words)
    except InputError as error:
        message = Message("invalid_word", "<words>: {problem}", {"problem": error.message})
        raise ApiError(422, message) from None
    return TagOptions(tasks, payload.scores, words, dictionary)


def _fits(texts: list[str], settings: Settings) -> bool:
    return len(texts) <= settings.max_texts and sum(map(len, texts)) <= settings.max_characters


def _check(texts: list[str], payload: TagRequest, here: Services) -> None:
    settings = here.settings
    if len(texts) > settings.max_texts:
        raise ApiError(
            413,
            Message(
                "too_many_texts",
                "A request may have {limit} texts at most, but this one has {count}; split it.",
                {"limit": settings.max_texts, "count": len(texts)},
            ),
        )
    characters = sum(map(len, texts))
    if characters > settings.max_characters:
        raise ApiError(
            413,
            Message(
                "too_many_characters",
                "A request may have {limit} characters at most, but this one has {count}; split it.",
                {"limit": settings.max_characters, "count": characters},
            ),
        )
    if not set(payload.tasks) <= set(here.tagger.tasks):
        raise ApiError(
            422,
            Message(
                "task_not_served",
                "<tasks>: this service supports only {tasks}.",
                {"tasks": ", ".join(here.tagger.tasks)},
            ),
        )


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/tag", tag, "Tag words and entities", "tagging", TagResponse, TagRequest, parts=(TagText, TagTexts)
    ),
)


_PATH = ENDPOINTS[0].path
_SMALL = 4_096  # bytes of a body; tagging a larger one takes longer than the framework
_JSON = [(b"content-type", b"application/json")]


class _Headers(dict[str, str]):
    """Headers with unique names."""

    def getlist(self, name: str) -> list[str]:
        """Return all headers of a name."""
        return [self[name]] if name in self else []


class ShortCut:
    """Serves small requests in the same way as gate and endpoint, see `zhseq.serve.protocol.ShortCut`.

    Unusual requests are left to the application: slow or invalid ones, or those with user words.
    """

    def __init__(self, here: Services, reception: Reception) -> None:
        """Store the services and the access checks."""
        self.here, self.reception = here, reception
        self._all = TagOptions(here.tagger.tasks)
        self._crosses_origins = bool(here.settings.allowed_origins)  # then responses need the CORS middleware
        fixed = [(b"%b: %b" % pair).replace(b"%", b"%%") for pair in (*_JSON, *reception.headers, *PACKED_HEADERS)]
        self.head = b"\r\n".join((b"content-length: %d", b"x-request-id: %b", *fixed, b""))
        """Headers of a successful response, with gaps for body size and request id."""

    def takes(self, method: str, path: str) -> bool:
        """Return whether requests of this kind may be served here."""
        return path == _PATH and method == "POST" and not self._crosses_origins

    def serve(self, connection: LimitedProtocol) -> bool:
        """Begin to serve the request that a connection has read; return False to leave it to the application."""
        begin = time.perf_counter()
        cycle = connection.cycle
        if len(cycle.body) > _SMALL or cycle.waiting_for_100_continue or connection.flow.write_paused:
            return False
        headers = self._plain(cycle.scope["headers"])
        if headers is None:
            return False
        found = self._parse(bytes(cycle.body))
        if found is None:
            return False
        texts, options = found
        scope: Scope = cycle.scope  # type: ignore[assignment]
        visit = self.reception.visit(scope, cycle.receive, cycle.send, headers)  # type: ignore[arg-type]
        visit.path = _PATH
        pending = _PendingRequest(self, connection, visit, begin)
        try:
            self.reception.admit(scope, headers, visit)
            visit.characters = sum(map(len, texts))
            pending.job = self.here.tags.enter(texts, options, pending)
        except ApiError as error:
            pending.refuse(error)
            return True
        pending.wait(self.here.settings.timeout)
        return True

    def _parse(self, body: bytes) -> tuple[list[str], TagOptions] | None:
        """Return texts and options of a body, or None if it is invalid or has user words."""
        texts = _only_texts(body)
        if texts is not None and _fits(texts, self.here.settings):
            return texts, self._all
        try:
            payload = TagRequest.model_validate_json(body)
            texts = payload.texts or [payload.text]
            _check(texts, payload, self.here)
        except (ValidationError, ApiError):
            return None
        return None if payload.words else (texts, _options(payload, self.here))

    def _plain(self, given: Iterable[tuple[bytes, bytes]]) -> _Headers | None:
        """Return the headers, or None if one is repeated, the body is encoded, or its type is not JSON."""
        headers = _Headers()
        count = 0
        for name, value in given:
            headers[name.decode("latin-1")] = value.decode("latin-1")
            count += 1
        if len(headers) < count or "content-encoding" in headers:
            return None
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        return headers if kind == "application/json" else None


_decode = json.JSONDecoder().decode


def _only_texts(body: bytes) -> list[str] | None:
    """Return the texts of a body without other fields, or None; takes a fifth of the time of a full check."""
    try:
        found = _decode(body.decode())
    except (ValueError, RecursionError):
        return None
    if type(found) is not dict or len(found) != 1:
        return None
    texts = [found["text"]] if "text" in found else found.get("texts")
    if type(texts) is not list or not texts or not all(type(text) is str for text in texts):
        return None
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:  # a lone surrogate, written as an escape
        return None
    return texts


class _PendingRequest:
    """One request of the short cut: a receiver for the queue, and a task that the server can cancel when it stops."""

    def __init__(self, short_cut: ShortCut, connection: LimitedProtocol, visit: Visit, begin: float) -> None:
        self._reception, self._tags, self._head = short_cut.reception, short_cut.here.tags, short_cut.head
        self._connection, self._cycle, self._visit, self._begin = connection, connection.cycle, visit, begin
        self._late: TimerHandle | None = None
        self._over = False
        self._seconds = 0.0
        self.job: Job | None = None

    def wait(self, seconds: float) -> None:
        """Start to wait for the queue, until the client disconnects, the server stops or `seconds` have passed."""
        self._seconds = seconds
        self._late = self._connection.loop.call_later(seconds, self._give_up)
        self._connection.tasks.add(self)  # type: ignore[arg-type]
        self._connection.watch(self._leave)

    def done(self) -> bool:
        """Return whether the result is no longer needed."""
        return self._over

    def set_result(self, documents: list[bytes]) -> None:
        """Send the documents."""
        try:
            body, more = _body(documents), b""
            if self._visit.packs and len(body) >= PACKED_FROM:
                body, more = packed(body), b"content-encoding: gzip\r\n"
        except Exception as error:
            self.refuse(self._visit.fault(error))
            return
        self._answer(200, self._head % (len(body), self._visit.id.encode()) + more, body)

    def set_exception(self, error: Exception) -> None:
        """Send the error, or log it as a fault of the service."""
        self.refuse(error if isinstance(error, ApiError) else self._visit.fault(error))

    def cancel(self, msg: Any = None) -> None:
        """Called by the server, as for each of its tasks, when its grace period is over."""
        self._connection.loop.call_soon(self._stop)

    def _stop(self) -> None:
        if not self._over:
            self._forget()
            self.refuse(stopping())

    def refuse(self, error: ApiError) -> None:
        """Send an error."""
        self._visit.code = error.code
        response = error_response(error)
        if error.headers.get("Connection") == "close":
            self._cycle.keep_alive = False
        headers = [pair for pair in self._visit.dressed(response.raw_headers) if pair[0] != b"connection"]
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers + PACKED_HEADERS])
        self._answer(error.status, lines, bytes(response.body))

    def _give_up(self) -> None:
        self._forget()
        self.refuse(too_slow(self._seconds))

    def _leave(self) -> None:
        """Called when the client has closed the connection."""
        self._forget()
        self._visit.status = CLIENT_GONE
        self._end()

    def _forget(self) -> None:
        self._over = True
        if self.job is not None:
            self._tags.forget(self.job)

    def _answer(self, status: int, headers: bytes, body: bytes) -> None:
        self._visit.status = status
        self._end()
        try:
            self._connection.answer(self._cycle, status, headers, body)
        except Exception as error:
            self._visit.fault(error)
            self._connection.transport.close()  # no response can be sent; the client must not wait for one

    def _end(self) -> None:
        self._over = True
        if self._late is not None:
            self._late.cancel()
            self._connection.watch(None)
            self._connection.tasks.discard(self)
        self._reception.tell(self._visit, "POST", time.perf_counter() - self._begin)
