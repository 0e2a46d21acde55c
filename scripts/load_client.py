"""A cheap HTTP client for load: connections that stay open, bare sockets; it shares the cores with the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_LAST = b"connection: close\r\n"


class Connection:
    """One connection at a time, with one request at a time; a new one after the service or the client closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._wire: _Wire | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of the answer; status 0 if the connection was closed instead.

        Who cancels this has to close the connection, since an answer may still come.
        """
        if self._wire is None or not self._wire.is_open:
            loop = asyncio.get_running_loop()
            _, self._wire = await loop.create_connection(_Wire, self._host, self._port)
        return await self._wire.ask(request)

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.abort()
            self._wire = None


class _Wire(asyncio.Protocol):
    """What asyncio tells of a single connection; what comes late from one that is closed never meets the next."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.is_open = True
        """Whether another request may be sent."""

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request and return its answer to be."""
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.is_open:
            self._answer.set_result((0, b""))
        else:
            self._transport.write(request)
        return self._answer

    def abort(self) -> None:
        """Close the connection without another word."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: put answers together."""
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = bytes(self._received[: end + 2]).lower()
        start = end + len(_HEAD_END)
        if _LENGTH in head:
            stop = start + int(head.partition(_LENGTH)[2].partition(b"\r\n")[0])
        else:  # chunked: poems as they are written
            stop = len(self._received) if self._received.endswith(b"\r\n0\r\n\r\n") else len(self._received) + 1
        if len(self._received) >= stop and self._answer is not None and not self._answer.done():
            body = bytes(self._received[start:stop])
            self._received.clear()
            if _LAST in head:
                self.abort()  # the service reads no further request here, and its end of the line may still be to come
            self._answer.set_result((int(head[9:12]), body))

    def eof_received(self) -> None:
        """Called by asyncio when the service has closed its end."""
        self.is_open = False

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((0, b""))


def post(path: str, body: bytes, *, host: str = "127.0.0.1", headers: str = "") -> bytes:
    """Return the bytes of a request."""
    kind = "Content-Type: application/json\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{kind}{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def each(connections: list[Connection], work: Callable[[Connection], Awaitable[None]]) -> None:
    """Do work on all connections at the same time, and close them."""
    tasks = [asyncio.ensure_future(work(connection)) for connection in connections]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task, connection in zip(tasks, connections, strict=True):
            task.cancel()
            connection.close()
        await asyncio.sleep(0)  # so that the connections are really closed
