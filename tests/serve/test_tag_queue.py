from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import Any

import pytest

from tests.serve.fakes import POISON, FakeTagger
from zhseq.serve.http import ApiError
from zhseq.serve.queues import BATCH, TagOptions, TagQueue

BOTH = TagOptions(("pos", "ner"))


def with_queue(tagger: FakeTagger, test: Callable[[TagQueue], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        queue = TagQueue(tagger, **{"threads": 1, "limit": 10_000, **options})  # type: ignore[arg-type]
        try:
            await asyncio.wait_for(test(queue), 20)
        finally:
            tagger.go.set()
            queue.stop(5)

    asyncio.run(run())


@contextmanager
def held(tagger: FakeTagger, queue: TagQueue, text: str = "先"):
    """Keep the thread busy with a text, so that what comes meanwhile has to wait."""
    tagger.go.clear()
    tagger.begun.clear()
    first = queue.submit([text], BOTH)
    assert tagger.begun.wait(10)
    yield first
    tagger.go.set()


def texts_of(parts: list[bytes]) -> list[str]:
    return [json.loads(part)["text"] for part in parts]


def test_what_an_answer_brings_is_tagged_with_what_waits(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue) as first:
            waiting = queue.submit(["二"], BOTH)
        await first
        brought = queue.submit(["三"], BOTH)
        assert texts_of(await waiting + await brought) == ["二", "三"]
        assert tagger.batches == [["先"], ["二", "三"]]

    with_queue(tagger, test)


def test_a_large_batch_does_not_wait_for_answers(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue) as first:
            waiting = queue.submit(["二" * 600], BOTH)
        end = time.monotonic() + 10
        while len(tagger.batches) < 2 and time.monotonic() < end:  # the event loop has no turn meanwhile
            time.sleep(0.001)
        assert len(tagger.batches) == 2
        assert not first.done()
        await waiting

    with_queue(tagger, test)


def test_requests_that_wait_are_tagged_together(tagger: FakeTagger) -> None:
    batches: list[tuple[int, int]] = []

    async def test(queue: TagQueue) -> None:
        with held(tagger, queue) as first:
            answers = [queue.submit([f"甲{n}", "乙乙"], BOTH) for n in range(5)]
            assert (queue.depth, queue.waiting) == (5, 5 * 6)
        assert texts_of(await first) == ["先"]
        assert [texts_of(await answer) for answer in answers] == [[f"甲{n}", "乙乙"] for n in range(5)]
        assert [len(batch) for batch in tagger.batches] == [1, 10]
        assert (queue.depth, queue.waiting) == (0, 0)

    with_queue(tagger, test, on_batch=lambda texts, characters: batches.append((texts, characters)))
    assert batches == [(1, 1), (10, 20)]


def test_only_the_same_options_go_together(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue):
            first = queue.submit(["一一"], BOTH)
            names = queue.submit(["二二"], TagOptions(("ner",)))
            last = queue.submit(["三三"], BOTH)
        assert "words" not in json.loads((await names)[0])
        assert "words" in json.loads((await first)[0])
        await last
        assert tagger.batches == [["先"], ["一一", "三三"], ["二二"]]

    with_queue(tagger, test)


def test_a_short_request_does_not_wait_for_all_of_a_long_one(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue):
            long = queue.submit(["长" * 100] * 200, BOTH)
            short = queue.submit(["短"], BOTH)
        await short
        assert "短" in tagger.batches[1]
        assert len(tagger.batches[1]) < 200
        assert texts_of(await long) == ["长" * 100] * 200
        assert max(sum(map(len, batch)) for batch in tagger.batches) <= BATCH + 100  # short texts are not cut

    with_queue(tagger, test, limit=50_000)


LONG = "".join(f"第{number}句在北京" for number in range(4_000))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_long_text_is_tagged_in_sections_and_comes_out_whole(tagger: FakeTagger, threads: int) -> None:
    texts = ["甲乙", LONG, "", LONG[:5_000], LONG[:BATCH], "丙丁"]

    async def test(queue: TagQueue) -> None:
        found, beside = await asyncio.gather(queue.submit(texts, BOTH), queue.submit([LONG[1:]], BOTH))
        assert texts_of(found) == texts
        for text, part in zip([*texts, LONG[1:]], [*found, *beside], strict=True):
            words = json.loads(part)["words"]
            assert [word["text"] for word in words] == [text[word["start"] : word["end"]] for word in words]
            assert "".join(word["text"] for word in words) == text
            assert [name["text"] for name in json.loads(part)["entities"]] == re.findall("北京|[0-9]+", text)
        assert max(sum(map(len, batch)) for batch in tagger.batches) <= BATCH + 100
        assert (queue.depth, queue.waiting) == (0, 0)

    with_queue(tagger, test, threads=threads, limit=100_000)


def test_a_line_does_not_wait_for_all_of_a_long_text(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        long = [queue.submit([LONG], BOTH), queue.submit([LONG], BOTH)]
        while len(tagger.batches) < 5:
            await asyncio.sleep(0)
        await queue.submit(["短"], BOTH)
        (number,) = [number for number, batch in enumerate(tagger.batches) if "短" in batch]
        assert number <= 10
        assert not any(answer.done() for answer in long)
        await asyncio.gather(*long)

    with_queue(tagger, test, limit=100_000)


def test_a_long_text_that_nobody_waits_for_ends_with_its_section(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue, LONG) as long:
            long.cancel()
            await asyncio.sleep(0)
            assert queue.waiting == 0
        await queue.submit(["一"], BOTH)
        assert [len(batch) for batch in tagger.batches] == [1, 1]
        assert tagger.batches[1] == ["一"]

    with_queue(tagger, test, limit=100_000)


def test_a_long_text_that_fails_is_no_longer_tagged(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue):
            bad = queue.submit([LONG[:3_000] + POISON + LONG], BOTH)
            good = queue.submit([LONG], BOTH)
        with pytest.raises(ValueError, match="cannot tag"):
            await bad
        assert texts_of(await good) == [LONG]
        assert sum(POISON in text for batch in tagger.batches for text in batch) == 2  # with others, and alone
        assert (queue.depth, queue.waiting) == (0, 0)

    with_queue(tagger, test, limit=100_000)


def test_a_fault_where_a_long_text_is_cut(tagger: FakeTagger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTagger, "section_end", lambda *arguments, **options: 1 // 0)

    async def test(queue: TagQueue) -> None:
        with held(tagger, queue):
            answers = [queue.submit([text], BOTH) for text in (LONG, "一")]
        assert [type(error) for error in await asyncio.gather(*answers, return_exceptions=True)] == [
            ZeroDivisionError,
            ZeroDivisionError,
        ]
        assert texts_of(await queue.submit(["二"], BOTH)) == ["二"]
        assert (queue.depth, queue.waiting) == (0, 0)

    with_queue(tagger, test, limit=100_000)


@pytest.mark.parametrize("place", ["_cut", "_may_begin", "_tag"])
def test_a_thread_survives_its_own_faults(tagger: FakeTagger, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    whole, faults = getattr(TagQueue, place), [SystemExit(), KeyError()]

    def faulty(queue: TagQueue, *arguments: Any, **options: Any) -> Any:
        if faults and threading.current_thread().name.startswith("tag-") and queue.depth >= (place != "_tag"):
            raise faults.pop()
        return whole(queue, *arguments, **options)

    monkeypatch.setattr(TagQueue, place, faulty)

    async def test(queue: TagQueue) -> None:
        for kind in (KeyError, RuntimeError):
            with pytest.raises(kind):
                await queue.submit(["一"], BOTH)
        assert texts_of(await queue.submit(["二"], BOTH)) == ["二"]
        assert queue.is_alive
        assert (queue.depth, queue.waiting) == (0, 0)

    with_queue(tagger, test)


def test_what_nobody_waits_for_is_not_tagged(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue) as first:
            gone = queue.submit(["不要"], BOTH)
            kept = queue.submit(["要"], BOTH)
            gone.cancel()
            await asyncio.sleep(0)
            assert queue.waiting == len("要") + 1
            first.cancel()  # it is too late for this one, but nobody is hurt
        await kept
        assert tagger.batches == [["先"], ["要"]]
        assert queue.waiting == 0

    with_queue(tagger, test)


def test_past_its_bound_the_queue_says_when_to_come_again(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue):
            large = queue.submit(["大" * 500], BOTH)  # nothing waits, so even this may
            with pytest.raises(ApiError) as caught:
                queue.submit(["一"], BOTH)
            assert (caught.value.status, caught.value.code) == (503, "busy")
            assert int(caught.value.headers["Retry-After"]) >= 1
        await large
        await queue.submit(["一"], BOTH)

    with_queue(tagger, test, limit=100)


def test_a_text_that_fails_hurts_only_its_own_request(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue):
            good = [queue.submit(["好"], BOTH) for _ in range(3)]
            bad = queue.submit(["好", POISON], BOTH)
        assert [texts_of(await answer) for answer in good] == [["好"]] * 3
        with pytest.raises(ValueError, match="cannot tag"):
            await bad
        assert texts_of(await queue.submit(["再"], BOTH)) == ["再"]

    with_queue(tagger, test)


def test_a_fault_beside_the_tagging_answers_and_ends_no_thread(tagger: FakeTagger) -> None:
    faults: list[BaseException] = [SystemExit(), KeyError("count")]

    def on_batch(texts: int, characters: int) -> None:
        if faults:
            raise faults.pop()

    async def test(queue: TagQueue) -> None:
        for kind in (KeyError, RuntimeError):
            with pytest.raises(kind):
                await queue.submit(["一"], BOTH)
        assert texts_of(await queue.submit(["二"], BOTH)) == ["二"]
        assert queue.is_alive
        assert queue.seconds_still == 0

    with_queue(tagger, test, on_batch=on_batch)


def test_a_stopped_queue_takes_nothing(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        await queue.submit(["一"], BOTH)
        assert queue.stop(5)
        with pytest.raises(ApiError):
            queue.submit(["二"], BOTH)

    with_queue(tagger, test, threads=3)


def test_a_second_thread_starts_only_where_it_helps(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue):
            tagger.begun.clear()
            small = queue.submit(["小"], BOTH)
            assert not await asyncio.to_thread(tagger.begun.wait, 0.2)  # it joins the next batch
            large = queue.submit(["大" * 40] * 20, BOTH)
            assert await asyncio.to_thread(tagger.begun.wait, 10)
        await asyncio.gather(small, large)
        assert len(tagger.batches) == 2

    with_queue(tagger, test, threads=2)


@pytest.mark.parametrize(("characters", "waits"), [(1_000, True), (1_500, False)])
def test_nobody_waits_for_the_end_of_a_long_batch(tagger: FakeTagger, characters: int, waits: bool) -> None:
    async def test(queue: TagQueue) -> None:
        with held(tagger, queue, "长" * characters):
            tagger.begun.clear()
            small = queue.submit(["小"], BOTH)
            assert await asyncio.to_thread(tagger.begun.wait, 0.2 if waits else 10) != waits
        await small

    with_queue(tagger, test, threads=2)


def test_small_batches_are_all_tagged_in_one_thread(tagger: FakeTagger) -> None:
    threads = []

    async def test(queue: TagQueue) -> None:
        for _ in range(30):
            await asyncio.gather(*(queue.submit(["短"], BOTH) for _ in range(3)))

    with_queue(tagger, test, threads=3, on_batch=lambda *_: threads.append(threading.current_thread().name))
    assert set(threads) == {"tag-0"}


def test_many_requests_in_several_threads_come_out_whole(tagger: FakeTagger) -> None:
    async def test(queue: TagQueue) -> None:
        wanted = [[f"第{number}句{'话' * (number % 97)}"] * (number % 7 + 1) for number in range(300)]
        found = await asyncio.gather(*(queue.submit(texts, BOTH) for texts in wanted))
        assert [texts_of(parts) for parts in found] == wanted

    with_queue(tagger, test, threads=3, limit=10**6)
