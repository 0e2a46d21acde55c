from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from zhseq.serve import protocol

HEAD_SECONDS = 0.1
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
NOISE = b"\x00\r\n\r\n"


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads all, thinks for longer than a head may take, and answers."""
    while (message := await receive()).get("more_body", False):
        pass
    if message["type"] == "http.disconnect":
        return
    await asyncio.sleep(2.5 * HEAD_SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def statuses(*parts: bytes, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Send parts one after the other on one connection; return the statuses of all answers until it is closed."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", HEAD_SECONDS)

    async def talk() -> bytes:
        config, state = Config(slow, lifespan="off", log_config=None), ServerState()
        kind = protocol.limited(100)
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: kind(config, state, {}), "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            for part in parts:
                writer.write(part)
                await asyncio.sleep(HEAD_SECONDS / 4)
            received = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return received

    received = asyncio.run(talk())
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


@pytest.mark.parametrize(
    ("behind", "status"),
    [(NOISE, 400), (GET + b"X: y\r\n" * 20_000, 431), (GET, 408)],
    ids=["noise", "long head", "half a head"],
)
@pytest.mark.parametrize("requests", [1, 2])
def test_what_comes_behind_a_request_takes_no_answer_away(
    behind: bytes, status: int, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (GET + b"\r\n") * requests
    assert statuses(whole, behind, monkeypatch=monkeypatch) == [200] * requests + [status]


def test_a_body_that_breaks_off_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert statuses(POST, b"no chunk\r\n", monkeypatch=monkeypatch) == [400]
    assert statuses(GET + b"\r\n", POST, b"no chunk\r\n", monkeypatch=monkeypatch) == [200, 400]


def test_who_says_nothing_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert statuses(monkeypatch=monkeypatch) == [408]


class Reader:
    """Asks for much and reads it as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(protocol, "READER_SECONDS", 0.2)
        monkeypatch.setattr(protocol, "READER_BYTES", 1_000)

    async def served(self, pause: float, size: int, of: int) -> int:
        """Read so many bytes after each pause, and return how many came until the connection was closed."""

        async def much(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
            await send({"type": "http.response.body", "body": b"x" * of})

        config, kind, received = Config(much, lifespan="off", log_config=None), protocol.limited(100), 0
        loop, state = asyncio.get_running_loop(), ServerState()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        async with await loop.create_server(lambda: kind(config, state, {}), sock=listener):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                client.setblocking(False)
                await loop.sock_connect(client, listener.getsockname())
                await loop.sock_sendall(client, GET + b"\r\n")
                try:
                    while True:
                        await asyncio.sleep(pause)
                        if not (part := await asyncio.wait_for(loop.sock_recv(client, size), 20)):
                            break
                        received += len(part)
                except ConnectionError:
                    pass
            assert not state.connections or received >= of
        return received


def test_who_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(Reader(monkeypatch).served(1.5, 2**20, of=3_000_000)) < 3_000_000


def test_who_reads_slowly_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(Reader(monkeypatch).served(0.01, 20_000, of=600_000)) >= 600_000
