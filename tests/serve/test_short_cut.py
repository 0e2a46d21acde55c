"""The shorter way to /v1/tag: each test asks on both ways, and what comes back must be the same."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.serve.conftest import Lines
from tests.serve.fakes import POISON, FakePoet, FakeTagger
from zhseq.serve.app import create_app
from zhseq.serve.protocol import LimitedProtocol, limited
from zhseq.serve.settings import Settings

pytestmark = pytest.mark.skipif(
    not hasattr(HttpToolsProtocol, "_start_asgi_task"), reason="this version of uvicorn has no shorter way"
)
TEXTS = json.dumps({"texts": ["小明在北京", '好\u2028\\"']}).encode()


class Service:
    """A service on a port, with a count of the requests that took the shorter way."""

    def __init__(self, tagger: FakeTagger, **settings: Any) -> None:
        self.app = create_app(Settings(**settings), tagger=tagger, poet=FakePoet())  # type: ignore[arg-type]
        self.short = 0
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"today")]
        short_cut = self.app.state.short_cut
        serve = short_cut.serve

        def counted(connection: Any) -> bool:
            taken = serve(connection)
            self.short += taken
            return bool(taken)

        short_cut.serve = counted
        self.port = 0
        self._open: list[Connection] = []

    def run(self, test: Callable[[Service], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            config = Config(self.app, lifespan="off", log_config=None, access_log=False, proxy_headers=False)
            config.load()
            kind = limited(2**20, self.app.state.short_cut)
            loop = asyncio.get_running_loop()
            with self.app.state.services.running():
                async with await loop.create_server(lambda: kind(config, self.state, {}), "127.0.0.1", 0) as server:
                    self.port = server.sockets[0].getsockname()[1]
                    await asyncio.wait_for(test(self), 30)
                    for connection in self._open:
                        connection.writer.close()
                        with suppress(ConnectionError):
                            await connection.writer.wait_closed()

        asyncio.run(all_of_it())

    async def connect(self) -> Connection:
        self._open.append(Connection(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self._open[-1]

    async def asked(self, body: bytes, headers: str = "", *, apart: bool = False) -> tuple[bytes, bytes]:
        connection = await self.connect()
        await connection.send(body, headers, apart=apart)
        return await connection.answer()

    async def both(self, body: bytes, headers: str = "") -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the answer, which both ways give alike."""
        short, long = await self.asked(body, headers), await self.asked(body, headers, apart=True)
        assert parsed(short[0]) == parsed(long[0])
        assert short[1] == long[1]
        return *parsed(short[0]), short[1]


def parsed(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", headers.pop("x-request-id"))
    return int(first.split()[1]), headers


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, body: bytes, headers: str = "", *, apart: bool = False) -> None:
        kind = "" if "Content-Type" in headers else "Content-Type: application/json\r\n"
        host = "" if "Host" in headers else "Host: localhost\r\n"
        head = f"POST /v1/tag HTTP/1.1\r\n{host}{kind}{headers}Content-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + (b"" if apart else body))
        if apart:
            await asyncio.sleep(0.05)
            self.writer.write(body)

    async def answer(self) -> tuple[bytes, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"content-length: (\d+)", head)
        assert size is not None
        return head[:-4], await self.reader.readexactly(int(size[1]))


@pytest.mark.parametrize(
    "wishes",
    [
        {"text": "小明在北京"},
        {"texts": ["小明在北京", "", "好\n🀄"]},
        {"text": "小明在北京", "tasks": ["ner"]},
        {"texts": ["北京"], "tasks": ["pos"], "scores": False},
        {"text": ""},
    ],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_both_ways_answer_alike(tagger: FakeTagger, lines: Lines, wishes: dict[str, Any], escaped: bool) -> None:
    async def test(service: Service) -> None:
        status, headers, body = await service.both(json.dumps(wishes, ensure_ascii=escaped).encode())
        assert (status, headers["vary"], headers["date"]) == (200, "Accept-Encoding", "today")
        assert json.loads(body)["documents"]
        assert service.short == 1

    Service(tagger).run(test)
    short, long = ({name: line[name] for name in line if name not in ("ms", "id")} for line in lines)
    assert short == long
    assert short["path"] == "/v1/tag"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"text": "\xe5', "", 400),
        (b'{"text": "\\ud800"}', "", 400),
        (b'{"texts": []}', "", 422),
        (b'{"text": 1}', "", 422),
        (b'{"texts": ["a", 1]}', "", 422),
        (b'{"text": "a", "texts": ["b"]}', "", 422),
        (b'{"text": "a", "more": 1}', "", 422),
        (b'["text"]', "", 422),
        (b"[" * 4_000, "", 400),
        (b'{"texts": ["a", "b", "c", "d"]}', "", 413),
        (b'{"text": "%b"}' % (b"a" * 51), "", 413),
        (TEXTS, "Content-Type: text/plain\r\n", 415),
        (TEXTS, "Content-Encoding: gzip\r\n", 415),
        (TEXTS, "Host: evil.example\r\n", 421),
        (TEXTS, "Host: localhost\r\nHost: localhost\r\n", 400),
        (b'{"text": "%b"}' % POISON.encode(), "", 500),
        (b'{"text": "a", "words": [{"word": "b"}]}', "", 200),
        (b'\xef\xbb\xbf{"text": "a"}', "", 400),
        (b'{"text": "b", "text": "a"}', "", 200),
    ],
)
def test_both_ways_refuse_alike(tagger: FakeTagger, body: bytes, headers: str, status: int) -> None:
    async def test(service: Service) -> None:
        assert (await service.both(body, headers))[0] == status

    Service(tagger, max_texts=3, max_characters=50).run(test)


def test_keys_and_limits_hold_on_both_ways_together(tagger: FakeTagger) -> None:
    async def test(service: Service) -> None:
        assert (await service.both(TEXTS))[0] == 401
        key = "Authorization: Bearer secret\r\n"
        assert (await service.both(TEXTS, key))[0] == 200
        assert parsed((await service.asked(TEXTS, key))[0])[0] == 200
        status, headers, _ = await service.both(TEXTS, key)
        assert (status, "retry-after" in headers) == (429, True)

    Service(tagger, api_keys=("secret",), rate_limit=3).run(test)


def test_large_answers_are_packed_for_who_takes_it(tagger: FakeTagger) -> None:
    async def test(service: Service) -> None:
        body = json.dumps({"text": "小明在北京" * 40}).encode()
        _, headers, packed = await service.both(body, "Accept-Encoding: gzip\r\n")
        assert headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed) == (await service.both(body))[2]
        assert "content-encoding" not in (await service.both(TEXTS, "Accept-Encoding: gzip\r\n"))[1]
        assert service.short == 3

    Service(tagger).run(test)


def test_where_other_pages_may_call_all_go_the_long_way(tagger: FakeTagger) -> None:
    async def test(service: Service) -> None:
        _, headers, _ = await service.both(TEXTS, "Origin: https://their.example\r\n")
        assert headers["access-control-allow-origin"] == "https://their.example"
        assert (await service.both(TEXTS))[0] == 200
        assert service.short == 0

    Service(tagger, allowed_origins=("https://their.example",)).run(test)


def test_several_requests_on_one_connection_are_answered_in_order(tagger: FakeTagger) -> None:
    async def test(service: Service) -> None:
        connection = await service.connect()
        for text in "甲乙丙":
            await connection.send(json.dumps({"text": text}).encode())
        found = [json.loads((await connection.answer())[1])["documents"][0]["text"] for _ in range(3)]
        assert found == ["甲", "乙", "丙"]
        await connection.send(TEXTS, "Connection: close\r\n")
        assert parsed((await connection.answer())[0])[1]["connection"] == "close"
        assert await connection.reader.read() == b""

    Service(tagger).run(test)


def test_who_leaves_is_taken_out_of_the_queue(tagger: FakeTagger, lines: Lines) -> None:
    async def test(service: Service) -> None:
        tags = service.app.state.services.tags
        tagger.go.clear()
        first, second = await service.connect(), await service.connect()
        await first.send(TEXTS)
        while not tagger.begun.is_set():
            await asyncio.sleep(0.01)
        await second.send(TEXTS)
        while not tags.waiting:
            await asyncio.sleep(0.01)
        second.writer.transport.abort()
        while tags.waiting:
            await asyncio.sleep(0.01)
        assert len(service.state.tasks) == 1
        tagger.go.set()
        assert parsed((await first.answer())[0])[0] == 200
        assert not service.state.tasks

    Service(tagger).run(test)
    assert [line["status"] for line in lines] == [499, 200]


def test_what_takes_too_long_ends(tagger: FakeTagger) -> None:
    async def test(service: Service) -> None:
        tagger.go.clear()
        assert (await service.both(TEXTS))[0] == 503
        assert not service.state.tasks
        tagger.go.set()

    Service(tagger, timeout=0.2).run(test)


def test_what_waits_when_the_server_stops_is_told_so(tagger: FakeTagger) -> None:
    async def test(service: Service) -> None:
        tagger.go.clear()
        connections = [await service.connect() for _ in range(3)]
        for connection in connections:
            await connection.send(TEXTS)
        while len(service.state.tasks) < 3:
            await asyncio.sleep(0.01)
        for task in service.state.tasks:  # as the server does
            task.cancel(msg="Task cancelled")
        for connection in connections:
            head, body = await connection.answer()
            status, headers = parsed(head)
            assert (status, headers["connection"], json.loads(body)["error"]["code"]) == (503, "close", "stopping")
            assert await connection.reader.read() == b""
        tagger.go.set()

    Service(tagger).run(test)


def test_a_full_queue_refuses(tagger: FakeTagger) -> None:
    async def test(service: Service) -> None:
        tagger.go.clear()
        busy = [await service.connect() for _ in range(2)]
        await busy[0].send(TEXTS)
        while not tagger.begun.is_set():
            await asyncio.sleep(0.01)
        await busy[1].send(TEXTS)
        while not service.app.state.services.tags.waiting:
            await asyncio.sleep(0.01)
        status, headers, _ = await service.both(TEXTS)
        assert (status, "retry-after" in headers) == (503, True)
        tagger.go.set()
        for connection in busy:
            assert parsed((await connection.answer())[0])[0] == 200

    Service(tagger, queue_characters=12).run(test)


def test_a_fault_of_the_way_itself_holds_up_nobody(
    tagger: FakeTagger, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(service: Service) -> None:
        tagger.go.clear()
        connections = [await service.connect() for _ in range(2)]
        for connection in connections:
            await connection.send(TEXTS)
        while len(service.state.tasks) < 2:
            await asyncio.sleep(0.01)
        tagger.go.set()
        head, _ = await connections[1].answer()
        assert parsed(head)[0] == 200
        assert await connections[0].reader.read() == b""  # closed: there is nothing to wait for

    service = Service(tagger)
    answers = [0]
    answer = LimitedProtocol.answer

    def fails(*arguments: Any) -> None:
        answers[0] += 1
        if answers[0] == 1:
            raise ValueError("no")
        answer(*arguments)

    monkeypatch.setattr("zhseq.serve.protocol.LimitedProtocol.answer", fails)
    service.run(test)
    assert [line["kind"] for line in lines if line["event"] == "error"] == ["ValueError"]


def test_what_cannot_be_written_is_told_as_a_fault(
    tagger: FakeTagger, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(service: Service) -> None:
        head, body = await service.asked(json.dumps({"text": "小明在北京" * 40}).encode(), "Accept-Encoding: gzip\r\n")
        assert parsed(head)[0] == 500
        assert json.loads(body)["error"]["code"] == "internal"
        assert parsed((await service.asked(TEXTS))[0])[0] == 200

    def fails(body: bytes) -> bytes:
        raise ValueError("no")

    monkeypatch.setattr("zhseq.serve.tagging.packed", fails)
    Service(tagger).run(test)
    assert [line["kind"] for line in lines if line["event"] == "error"] == ["ValueError"]
