"""A cheap HTTP client for load: connections that stay open, bare sockets; it shares the cores with the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Connection(asyncio.Protocol):
    """One connection with one request at a time; it connects again after the service has closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of the answer; status 0 if the connection was closed instead."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            self._received.clear()
            await loop.create_connection(lambda: self, self._host, self._port)
        assert self._transport is not None
        self._answer = loop.create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: put answers together."""
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        start = end + len(_HEAD_END)
        if _LENGTH in head:
            stop = start + int(head.partition(_LENGTH)[2].partition(b"\r\n")[0])
        else:  # chunked: poems as they are written
            stop = len(self._received) if self._received.endswith(b"\r\n0\r\n\r\n") else len(self._received) + 1
        if len(self._received) >= stop and self._answer is not None and not self._answer.done():
            body = bytes(self._received[start:stop])
            self._received.clear()
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
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
