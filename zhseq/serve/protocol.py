"""HTTP/1.1 connections with limits on their number, the size of a request, and the time to send it and to read.

`LimitedProtocol` overrides methods of an internal class of uvicorn, which any version may change; `pyproject.toml`
allows the versions that it was tested with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from zhseq.errors import Message
from zhseq.serve.http import CONNECTION, ApiError, error_body, to_json

HEAD_BYTES = 65_536
"""Maximum size of the head of a request (request line and headers)."""
HEAD_SECONDS = 10.0
"""Seconds in which the head must arrive."""
MAX_CONNECTIONS = 1_000
"""Connections that may be open at the same time."""
READER_SECONDS = 10.0
"""Seconds in which a client must read `READER_BYTES` of the data that waits for it, or all of it."""
READER_BYTES = 10_240
_FRAMING = 8  # bytes received for a byte of a body that is sent in chunks of one byte
_LINGER_BYTES = 64 * 2**20  # bytes of a body that is too large, read so that its sender sees the response


class ShortCut(Protocol):
    """Serves requests whose body arrives with their head, without the application and without a task for each."""

    def takes(self, method: str, path: str) -> bool:
        """Return whether requests of this kind may be served here."""

    def serve(self, connection: LimitedProtocol) -> bool:
        """Begin to serve the request that a connection has read; return False to leave it to the application."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection with limits."""

    max_body = 2**20
    short_cut: ShortCut | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._head_begun = False
        """Whether part of a head has arrived."""
        self._bytes = 0
        """Received bytes of this request, head and body, including chunk headers."""
        self._late: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._unread = 0
        """Bytes in the write buffer at the last check."""
        self.is_lost = False
        """Whether the connection is closed."""
        self._on_lost: Callable[[], object] | None = None
        self._held: tuple[Any, Any] | None = None
        """Cycle and application of a request whose body may still arrive with its head."""
        self._reading = False
        self._refusal: ApiError | None = None
        """Error to send after the requests that are still being answered; nothing more is read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request, unless too many connections are open."""
        super().connection_made(transport)
        self._expect_head()
        if len(self.connections) > MAX_CONNECTIONS:
            message = Message("too_many_connections", "Too many connections are open; try again later.")
            self._refuse(ApiError(503, message, {"Retry-After": "1"}))

    def connection_lost(self, error: Exception | None) -> None:
        """Cancel the timers and call the function given to `watch`."""
        self._stop_waiting()
        if self._reader is not None:
            self._reader.cancel()
        self._unset_keepalive_if_required()  # uvicorn omits this if the client has reset the connection
        super().connection_lost(error)
        self.is_lost = True
        if self._on_lost is not None:
            self._on_lost()

    @property
    def has_all(self) -> bool:
        """Whether the bodies of all requests that have begun have arrived."""
        return not self.cycle.more_body

    def watch(self, on_lost: Callable[[], object] | None) -> None:
        """Call a function when the connection is closed, at once if it already is; None: no longer."""
        self._on_lost = on_lost
        if on_lost is None:
            return
        self.flow.resume_reading()  # paused after a large body, when a disconnect would not be noticed
        if self.is_lost:
            on_lost()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and refuse a request that is too large."""
        if self._refusal is not None:
            return
        self._bytes += len(data)  # before parsing, which resets the count at the end of a request
        self._reading = True
        super().data_received(data)
        self._reading = False
        if self._held is not None:  # its body has not arrived yet
            self._begin_held()
        if self._head_begun:  # incomplete; most heads arrive whole and need no timer
            self._expect_head()
        if self._in_head and self._bytes > HEAD_BYTES:
            self._refuse(
                ApiError(
                    431,
                    Message(
                        "head_too_large", "The request headers may have {limit} bytes at most.", {"limit": HEAD_BYTES}
                    ),
                )
            )
        elif self._bytes > HEAD_BYTES + max(_LINGER_BYTES, _FRAMING * self.max_body):
            self.transport.close()  # refused long ago, or an endless trailer

    def on_message_begin(self) -> None:
        """Called by the parser at the first byte of a request."""
        super().on_message_begin()
        self._head_begun = True

    def on_headers_complete(self) -> None:
        """Called by the parser when the body begins."""
        self.scope[CONNECTION] = self  # type: ignore[literal-required]
        super().on_headers_complete()  # may refuse the request as invalid HTTP
        self._in_head = self._head_begun = False
        self._stop_waiting()

    def on_message_complete(self) -> None:
        """Called by the parser at the last byte of a request."""
        super().on_message_complete()
        self._in_head = True
        self._bytes = 0
        if self._held is not None:
            if self.short_cut is not None and self.short_cut.serve(self):
                self._held = None
            else:
                self._begin_held()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Called by uvicorn to serve a request; versions without it serve all requests by the application."""
        if self._reading and self.short_cut is not None:
            scope = cycle.scope
            if self.short_cut.takes(scope["method"], scope["path"]):
                self._held = cycle, app
                return
        super()._start_asgi_task(cycle, app)

    def _begin_held(self) -> None:
        assert self._held is not None
        (cycle, app), self._held = self._held, None
        super()._start_asgi_task(cycle, app)

    def answer(self, cycle: Any, status: int, headers: bytes, body: bytes) -> None:
        """Send a complete response.

        Args:
            cycle: The connection's `cycle` at the time when the request had been read.
            status: HTTP status code.
            headers: Header lines, each with its line end.
            body: Body, of the length given in the headers.
        """
        cycle.response_started = cycle.response_complete = True
        parts = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (headers, b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
        self.transport.write(b"".join(parts))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Called when a request has been answered."""
        super().on_response_complete()
        self._watch_reader()
        if self._refusal is not None:
            self._refuse(self._refusal)

    def pause_writing(self) -> None:
        """Called by the transport when its write buffer is full."""
        super().pause_writing()
        self._watch_reader()

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP."""
        self._refuse(ApiError(400, Message("invalid_http", "Expected an HTTP/1.1 request.")))

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
            self._expect_head()  # a client that waits for a response need not send the next request yet
        else:
            self._refuse(
                ApiError(
                    408,
                    Message(
                        "head_timeout",
                        "No request was received within {seconds} seconds.",
                        {"seconds": f"{HEAD_SECONDS:g}"},
                    ),
                )
            )

    def _watch_reader(self) -> None:
        """Check after `READER_SECONDS` whether the client reads the data that waits for it."""
        if self._reader is not None:
            self._reader.cancel()
        self._unread = self.transport.get_write_buffer_size()
        if self._unread:
            self._reader = self.loop.call_later(READER_SECONDS, self._judge_reader)

    def _judge_reader(self) -> None:
        self._reader = None
        if self.transport.get_write_buffer_size() > max(0, self._unread - READER_BYTES):
            self.transport.abort()  # otherwise the response would stay in memory for ever
        else:
            self._watch_reader()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: ApiError) -> None:
        """Send an error and close the connection, after all complete requests have been answered."""
        if self.transport.is_closing():
            return
        if self._is_answering() and (self._in_head or self.pipeline):
            self._refusal = error
            return
        if self._in_head or not self.cycle.response_started:
            body = to_json(error_body(error.message))
            headers = {**error.headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
            lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.transport.close()


def limited(max_body: int, short_cut: ShortCut | None = None) -> type[LimitedProtocol]:
    """Return the protocol class for bodies of at most `max_body` bytes."""
    return type("LimitedProtocol", (LimitedProtocol,), {"max_body": max_body, "short_cut": short_cut})
