from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive

from zhseq.serve.http import CONNECTION, ApiError, ClientGone
from zhseq.serve.queues import Answer
from zhseq.serve.reading import finish, finish_soon, read
from zhseq.serve.schemas import TagRequest


def receiving(*messages: Message) -> Receive:
    """Return messages, and then nothing for ever."""
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.sleep(3600)
        raise AssertionError

    return receive


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


def request(*messages: Message) -> Request:
    return Request({"type": "http", "headers": [(b"content-type", b"application/json")]}, receiving(*messages))


def piece(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_may_come_in_pieces() -> None:
    pieces = [piece(b'{"te'), piece(b""), piece(b'xt": "\xe5'), piece(b'\xa5\xbd"}', more=False)]
    assert run(read(request(*pieces), TagRequest)).text == "好"


def test_a_body_must_come_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhseq.serve.reading._BODY_SECONDS", 0.05)
    with pytest.raises(ApiError) as caught:
        run(read(request(piece(b"{")), TagRequest))
    assert (caught.value.status, caught.value.code) == (408, "body_timeout")


def test_a_client_that_leaves_in_the_middle_of_a_body() -> None:
    with pytest.raises(ClientGone):
        run(read(request(piece(b"{"), {"type": "http.disconnect"}), TagRequest))


async def _never(done: list[str]) -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        done.append("cancelled")
        raise


def test_work_for_a_client_that_left_is_cancelled() -> None:
    done: list[str] = []

    async def work() -> None:
        with pytest.raises(ClientGone):
            await finish(_never(done), receiving({"type": "http.disconnect"}), 30)
        await asyncio.sleep(0)

    run(work())
    assert done == ["cancelled"]


def test_a_poem_for_a_client_that_left_is_cancelled() -> None:
    async def work() -> bool:
        answer = Answer()
        with pytest.raises(ClientGone):
            await finish(anext(aiter(answer)), receiving({"type": "http.disconnect"}), 30)
        await asyncio.sleep(0)
        return answer.cancelled

    assert run(work())


def test_work_that_takes_too_long_is_cancelled() -> None:
    done: list[str] = []

    async def work() -> None:
        with pytest.raises(ApiError) as caught:
            await finish(_never(done), receiving(), 0.05)
        assert (caught.value.status, caught.value.code) == (503, "timeout")
        assert caught.value.headers["Retry-After"] == "1"
        await asyncio.sleep(0)

    run(work())
    assert done == ["cancelled"]


def test_what_goes_wrong_in_the_work_comes_out() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run(finish(fail(), receiving(), 30))


class Connection:
    """A connection as `finish_soon` asks for it; `lose` is what the server does when the client closes it."""

    def __init__(self, *, is_lost: bool = False) -> None:
        self.is_lost = is_lost
        self.on_lost: Callable[[], object] | None = None

    def watch(self, on_lost: Callable[[], object] | None) -> None:
        self.on_lost = on_lost
        if self.is_lost and on_lost is not None:
            on_lost()

    def lose(self) -> None:
        self.is_lost = True
        assert self.on_lost is not None
        self.on_lost()


def soon(connection: Connection, seconds: float, then: Callable[[asyncio.Future[str], asyncio.Task[str]], None]) -> str:
    """Wait for an answer on a connection, and do something meanwhile; its work must be over in the end."""

    async def wait() -> str:
        work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        request = Request({"type": "http", CONNECTION: connection}, receiving())
        task = asyncio.ensure_future(finish_soon(work, request, seconds))
        await asyncio.sleep(0)
        then(work, task)
        try:
            return await task
        finally:
            assert work.done()
            assert connection.on_lost is None

    found: str = run(wait())
    return found


def test_a_connection_is_watched_while_an_answer_is_made() -> None:
    assert soon(Connection(), 30, lambda work, task: work.set_result("found")) == "found"
    connection = Connection()
    with pytest.raises(ClientGone):
        soon(connection, 30, lambda work, task: connection.lose())
    with pytest.raises(ClientGone):
        soon(Connection(is_lost=True), 30, lambda work, task: None)


def test_an_answer_that_takes_too_long_or_is_stopped_is_told_from_each_other() -> None:
    with pytest.raises(ApiError) as caught:
        soon(Connection(), 0.05, lambda work, task: None)
    assert (caught.value.status, caught.value.code) == (503, "timeout")
    with pytest.raises(asyncio.CancelledError):
        soon(Connection(), 30, lambda work, task: task.cancel() and None)
    with pytest.raises(ValueError, match="broken"):
        soon(Connection(), 30, lambda work, task: work.set_exception(ValueError("broken")))


def test_what_has_no_such_connection_is_waited_for_all_the_same() -> None:
    async def wait() -> str:
        work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        work.set_result("found")
        return await finish_soon(work, Request({"type": "http"}, receiving()), 30)

    assert run(wait()) == "found"
