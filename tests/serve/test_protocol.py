from __future__ import annotations

import asyncio
import re
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
