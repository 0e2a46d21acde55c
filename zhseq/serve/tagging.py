"""POST /v1/tag: the endpoint, and a shorter way to it for small requests, most of whose time would go into the way."""

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
    """Cut texts into words, with parts of speech and names. Offsets count code points."""
    here = services(request)
    wishes = await read(request, TagRequest)
    texts = wishes.texts or [wishes.text]
    request.scope["visit"].characters = sum(map(len, texts))
    _check(texts, wishes, here)
    answer = here.tags.submit(texts, _options(wishes, here))
    documents = await finish_soon(answer, request, here.settings.timeout)
    return json_response(_body(documents))


def _body(documents: Iterable[bytes]) -> bytes:
    return b'{"documents":[' + b",".join(documents) + b"]}"


def _options(wishes: TagRequest, here: Services) -> TagOptions:
    tasks = tuple(dict.fromkeys(wishes.tasks)) or here.tagger.tasks
    if not wishes.words:
        return TagOptions(tasks, wishes.scores)
    words = tuple(Entry(word.word, word.pos, word.label, None, word.mode) for word in wishes.words)
    dictionary = here.tagger.dictionary.copy()
    try:
        dictionary.update(words)
    except InputError as error:
        message = Message("invalid_word", "<words>: {problem}", {"problem": error.message})
        raise ApiError(422, message) from None
    return TagOptions(tasks, wishes.scores, words, dictionary)


def _fits(texts: list[str], settings: Settings) -> bool:
    return len(texts) <= settings.max_texts and sum(map(len, texts)) <= settings.max_characters


def _check(texts: list[str], wishes: TagRequest, here: Services) -> None:
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
    if not set(wishes.tasks) <= set(here.tagger.tasks):
        raise ApiError(
            422,
            Message(
                "task_not_served",
                "<tasks>: this service does {tasks} only.",
                {"tasks": ", ".join(here.tagger.tasks)},
            ),
        )


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/tag", tag, "Find words and names", "tagging", TagResponse, TagRequest, parts=(TagText, TagTexts)
    ),
)


_PATH = ENDPOINTS[0].path
_SMALL = 4_096  # bytes of a body; what is larger takes longer than any way to it
_JSON = [(b"content-type", b"application/json")]


class _Headers(dict[str, str]):
    """Headers of which none comes twice."""

    def getlist(self, name: str) -> list[str]:
        """Return all of a name."""
        return [self[name]] if name in self else []


class ShortCut:
    """Serves small requests as the gate and the endpoint do, see `zhseq.serve.protocol.ShortCut`.

    It leaves to them all that is not as it mostly is: what comes slowly, is wrong, or asks for more than texts.
    """

    def __init__(self, here: Services, reception: Reception) -> None:
        """Know the queue, and whom to ask who may call."""
        self.here, self.reception = here, reception
        self._all = TagOptions(here.tagger.tasks)
        self._crosses_origins = bool(here.settings.allowed_origins)  # then answers go through another layer
        fixed = [(b"%b: %b" % pair).replace(b"%", b"%%") for pair in (*_JSON, *reception.headers, *PACKED_HEADERS)]
        self.head = b"\r\n".join((b"content-length: %d", b"x-request-id: %b", *fixed, b""))
        """Of most answers, with gaps for the size of the body and the id."""

    def takes(self, method: str, path: str) -> bool:
        """Tell whether requests of this kind may be served so."""
        return path == _PATH and method == "POST" and not self._crosses_origins

    def serve(self, connection: LimitedProtocol) -> bool:
        """Begin to serve the request that a connection has read, or leave it to the application."""
        begin = time.perf_counter()
        cycle = connection.cycle
        if len(cycle.body) > _SMALL or cycle.waiting_for_100_continue or connection.flow.write_paused:
            return False
        headers = self._plain(cycle.scope["headers"])
        if headers is None:
            return False
        found = self._wishes(bytes(cycle.body))
        if found is None:
            return False
        texts, options = found
        scope: Scope = cycle.scope  # type: ignore[assignment]
        visit = self.reception.visit(scope, cycle.receive, cycle.send, headers)  # type: ignore[arg-type]
        visit.path = _PATH
        errand = _Errand(self, connection, visit, begin)
        try:
            self.reception.admit(scope, headers, visit)
            visit.characters = sum(map(len, texts))
            errand.job = self.here.tags.enter(texts, options, errand)
        except ApiError as error:
            errand.refuse(error)
            return True
        errand.wait(self.here.settings.timeout)
        return True

    def _wishes(self, body: bytes) -> tuple[list[str], TagOptions] | None:
        """Return what a body asks for, or None where something is wrong or there are words of the user's."""
        texts = _only_texts(body)
        if texts is not None and _fits(texts, self.here.settings):
            return texts, self._all
        try:
            wishes = TagRequest.model_validate_json(body)
            texts = wishes.texts or [wishes.text]
            _check(texts, wishes, self.here)
        except (ValidationError, ApiError):
            return None
        return None if wishes.words else (texts, _options(wishes, self.here))

    def _plain(self, given: Iterable[tuple[bytes, bytes]]) -> _Headers | None:
        """Return the headers of a request that is as most are, or None."""
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
    """Return the texts of a body that holds nothing else, or None: that takes a fifth of the time of a whole check."""
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
    except UnicodeEncodeError:  # half of a pair of surrogates, written as an escape
        return None
    return texts


class _Errand:
    """One request on the shorter way: what the queue tells of it, and what the server cancels at its end."""

    def __init__(self, short_cut: ShortCut, connection: LimitedProtocol, visit: Visit, begin: float) -> None:
        self._reception, self._tags, self._head = short_cut.reception, short_cut.here.tags, short_cut.head
        self._connection, self._cycle, self._visit, self._begin = connection, connection.cycle, visit, begin
        self._late: TimerHandle | None = None
        self._over = False
        self._seconds = 0.0
        self.job: Job | None = None

    def wait(self, seconds: float) -> None:
        """Wait for the queue, as long as the client and the server do, and no longer than some seconds."""
        self._seconds = seconds
        self._late = self._connection.loop.call_later(seconds, self._give_up)
        self._connection.tasks.add(self)  # type: ignore[arg-type]
        self._connection.watch(self._leave)

    def done(self) -> bool:
        """Tell whether nobody waits any longer."""
        return self._over

    def set_result(self, documents: list[bytes]) -> None:
        """Answer with what was found."""
        try:
            body, more = _body(documents), b""
            if self._visit.packs and len(body) >= PACKED_FROM:
                body, more = packed(body), b"content-encoding: gzip\r\n"
        except Exception as error:
            self.refuse(self._visit.fault(error))
            return
        self._answer(200, self._head % (len(body), self._visit.id.encode()) + more, body)

    def set_exception(self, error: Exception) -> None:
        """Answer that something went wrong."""
        self.refuse(error if isinstance(error, ApiError) else self._visit.fault(error))

    def cancel(self, msg: Any = None) -> None:
        """Called by the server, for one of its tasks after the other, when it has waited for as long as it may."""
        self._connection.loop.call_soon(self._stop)

    def _stop(self) -> None:
        if not self._over:
            self._forget()
            self.refuse(stopping())

    def refuse(self, error: ApiError) -> None:
        """Answer with an error."""
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
            self._connection.transport.close()  # its client gets no answer, and is not to wait for one

    def _end(self) -> None:
        self._over = True
        if self._late is not None:
            self._late.cancel()
            self._connection.watch(None)
            self._connection.tasks.discard(self)
        self._reception.tell(self._visit, "POST", time.perf_counter() - self._begin)
