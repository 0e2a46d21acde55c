"""The HTTP client of the benchmarks, against services that close connections."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
REQUEST = b"GET / HTTP/1.1\r\n\r\n"
LATE = 0.05  # seconds between an answer and the end of its connection

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def load_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import load_client

    yield load_client
    sys.modules.pop("load_client")


def talk(client: ModuleType, serve: Serve, say: Callable[[object], Awaitable[list[int]]]) -> list[int]:
    """Return what `say` does with a connection to a service that is served by `serve`."""

    async def run() -> list[int]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            connection = client.Connection("127.0.0.1", server.sockets[0].getsockname()[1])
            try:
                return await asyncio.wait_for(say(connection), 20)
            finally:
                connection.close()
                await asyncio.sleep(2 * LATE)

    return asyncio.run(run())


async def ask(connection: object, times: int) -> list[int]:
    return [(await connection.send(REQUEST))[0] for _ in range(times)]  # type: ignore[attr-defined]


def test_a_connection_that_is_to_be_closed_is_used_no_more(load_client: ModuleType) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        await asyncio.sleep(LATE)
        writer.close()

    assert talk(load_client, serve, lambda connection: ask(connection, 3)) == [200] * 3


def test_a_connection_that_was_closed_is_made_anew(load_client: ModuleType) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async def say(connection: object) -> list[int]:
        found = []
        for _ in range(3):
            found += await ask(connection, 1)
            await asyncio.sleep(LATE)
        return found

    assert talk(load_client, serve, say) == [200] * 3


def test_no_answer_is_status_0(load_client: ModuleType) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert talk(load_client, serve, lambda connection: ask(connection, 2)) == [0, 0]


@pytest.mark.parametrize("turns", range(8))
def test_a_request_can_be_given_up_at_any_moment(load_client: ModuleType, turns: int) -> None:
    """While it connects, too, as a client does that leaves at once; the next one has a connection of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(len(REQUEST)):
            await asyncio.sleep(LATE)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def say(connection: object) -> list[int]:
        first = asyncio.ensure_future(connection.send(REQUEST))  # type: ignore[attr-defined]
        for _ in range(turns):
            await asyncio.sleep(0)
        first.cancel()
        connection.close()  # type: ignore[attr-defined]
        await asyncio.wait({first})
        assert first.cancelled()
        return await ask(connection, 1)

    assert talk(load_client, serve, say) == [200]
