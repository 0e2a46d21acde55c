from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from zhseq.serve.http import ApiError
from zhseq.serve.queues import Answer, Lane, Work


def with_queue(test: Callable[[Lane], Awaitable[None]], limit: int = 8) -> None:
    async def run() -> None:
        queue = Lane("poems", limit)
        try:
            await asyncio.wait_for(test(queue), 20)
        finally:
            queue.stop(5)

    asyncio.run(run())


def work(*parts: bytes, before: Callable[[], object] = lambda: None) -> Work:
    def run() -> Iterator[bytes]:
        for part in parts:
            before()
            yield part

    return run


async def read(answer: Answer) -> list[bytes]:
    return [part async for part in answer]


def test_parts_come_in_order() -> None:
    async def test(queue: Lane) -> None:
        answers = [queue.submit(work(b"%d" % number, b"end")) for number in range(5)]
        assert [await read(answer) for answer in answers] == [[b"%d" % number, b"end"] for number in range(5)]

    with_queue(test)


def test_a_part_is_seen_before_the_next_is_made() -> None:
    async def test(queue: Lane) -> None:
        go = threading.Event()

        def run() -> Iterator[bytes]:
            yield b"first"
            assert go.wait(10)
            yield b"second"

        parts = aiter(queue.submit(run))
        assert await anext(parts) == b"first"
        go.set()
        assert await anext(parts) == b"second"

    with_queue(test)


def test_an_error_comes_out_where_it_is_waited_for() -> None:
    async def test(queue: Lane) -> None:
        def run() -> Iterator[bytes]:
            yield b"part"
            raise ValueError("no more")

        answer = queue.submit(run)
        with pytest.raises(ValueError, match="no more"):
            await read(answer)
        assert await read(queue.submit(work(b"next"))) == [b"next"]

    with_queue(test)


def test_what_nobody_waits_for_is_not_done_and_a_full_queue_refuses() -> None:
    async def test(queue: Lane) -> None:
        go, begun, done = threading.Event(), threading.Event(), []

        def wait() -> None:
            begun.set()
            assert go.wait(10)

        first = queue.submit(work(b"1", before=wait))
        assert await asyncio.to_thread(begun.wait, 10)
        gone = queue.submit(work(b"2", before=lambda: done.append(2)))
        kept = queue.submit(work(b"3", before=lambda: done.append(3)))
        with pytest.raises(ApiError) as caught:
            queue.submit(work(b"4"))
        assert (caught.value.status, queue.depth) == (503, 3)
        gone.cancelled = True
        go.set()
        assert await read(first) == [b"1"]
        assert await read(kept) == [b"3"]
        assert done == [3]

    with_queue(test, limit=3)


def test_work_ends_when_nobody_waits_any_longer() -> None:
    async def test(queue: Lane) -> None:
        made = []

        def run() -> Iterator[bytes | None]:
            for number in range(10_000):
                made.append(number)
                if number == 2:
                    answer.cancelled = True
                yield None

        answer = queue.submit(run)
        await read(queue.submit(work(b"end")))
        while queue.depth:
            await asyncio.sleep(0.01)
        assert len(made) <= 3

    with_queue(test)


def test_what_is_short_does_not_wait_for_what_is_long() -> None:
    async def test(queue: Lane) -> None:
        order: list[str] = []

        def run(name: str, steps: int) -> Work:
            def each() -> Iterator[bytes | None]:
                for _ in range(steps):
                    time.sleep(0.01)
                    yield None
                order.append(name)
                yield b"done"

            return each

        answers = [queue.submit(run("long", 60)), queue.submit(run("also long", 60))]
        await asyncio.sleep(0.2)
        answers.append(queue.submit(run("short", 2)))
        assert [await read(answer) for answer in answers] == [[b"done"]] * 3
        assert order[0] == "short"

    with_queue(test)


def test_several_steps_of_what_is_short_go_before_a_step_of_what_is_long() -> None:
    async def test(queue: Lane) -> None:
        order: list[str] = []
        begun = threading.Event()

        def run(name: str, steps: int, seconds: float) -> Work:
            def each() -> Iterator[bytes | None]:
                for _ in range(steps):
                    begun.set()
                    time.sleep(seconds)
                    order.append(name)
                    yield None
                yield b"done"

            return each

        answers = [queue.submit(run("long", 6, 0.1))]
        await asyncio.to_thread(begun.wait)
        answers.append(queue.submit(run("short", 3, 0.001)))
        assert [await read(answer) for answer in answers] == [[b"done"]] * 2
        first = order.index("short")
        assert order[first : first + 3] == ["short"] * 3
        assert order[-1] == "long"

    with_queue(test)


def test_even_what_should_end_a_thread_only_ends_its_request() -> None:
    async def test(queue: Lane) -> None:
        def run() -> Iterator[bytes]:
            yield b"part"
            raise SystemExit

        with pytest.raises(RuntimeError, match="SystemExit"):
            await read(queue.submit(run))
        assert queue.is_alive
        assert await read(queue.submit(work(b"next"))) == [b"next"]

    with_queue(test)


def test_a_lane_survives_its_own_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, faults = Lane._step, [SystemExit(), KeyError()]

    def faulty(lane: Lane, task: Any) -> bool:
        if faults:
            raise faults.pop()
        return whole(lane, task)

    monkeypatch.setattr(Lane, "_step", faulty)

    async def test(queue: Lane) -> None:
        for kind in (KeyError, RuntimeError):
            with pytest.raises(kind):
                await read(queue.submit(work(b"lost")))
        assert await read(queue.submit(work(b"next"))) == [b"next"]
        assert queue.is_alive
        while queue.depth:  # the last answer is read before its work is counted out; `with_queue` waits 20 seconds
            await asyncio.sleep(0.01)

    with_queue(test)


def test_what_nobody_waits_for_is_let_go_while_others_are_served() -> None:
    async def test(queue: Lane) -> None:
        closed, turns = threading.Event(), []

        def endless() -> Iterator[None]:
            try:
                while True:
                    yield time.sleep(0.05)  # its turn would come late
            finally:
                closed.set()

        def short() -> Iterator[bytes | None]:
            while not closed.is_set():
                turns.append(1)
                yield None
            yield b"done"

        left = asyncio.ensure_future(read(queue.submit(endless)))
        await asyncio.sleep(0.1)
        answer = asyncio.ensure_future(read(queue.submit(short)))
        left.cancel()
        assert await answer == [b"done"]

    with_queue(test)
