"""Bounded queues before the models, from which requests are served in turns, so that none holds up the others.

Texts that wait are tagged together; poems are worked on step by step.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zhseq.serve.http import busy
from zhseq.tagging.formats import make_writer

if TYPE_CHECKING:
    from zhseq.tagging.dictionary import Entry, UserDictionary
    from zhseq.tagging.tagger import Tagger

Work = Callable[[], Iterator["bytes | None"]]
"""Yields the parts of an answer as they are made, and None after each step that makes none."""
_SECONDS = 1  # that one request about a poem takes, roughly


class Answer:
    """What a piece of work yields, handed from the thread to the event loop part by part."""

    def __init__(self) -> None:
        self.cancelled = False
        """Set when nobody waits for it any longer."""
        self.parts: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the parts; what went wrong in the thread is raised here."""
        try:
            while (part := await self.parts.get()) is not None:
                if isinstance(part, Exception):
                    raise part
                yield part
        finally:
            self.cancelled = True


@dataclass(eq=False)
class _Task:
    """The work of one request."""

    steps: Iterator[bytes | None]
    answer: Answer
    used: float
    """Seconds of the thread that it has had; one that comes later begins with what the least served of all has had."""


class Lane:
    """A thread that takes the work of several requests in steps. Made and used in one event loop.

    The next step is always one of the request that has had the least time, so that what is short is done soon whatever
    else is asked for. What nobody waits for any longer ends with its step.
    """

    def __init__(self, name: str, limit: int) -> None:
        """Start the thread; `limit` is how many requests may be under way."""
        self._limit = limit
        self._tasks: list[_Task] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._moved = time.monotonic()
        """When the last step began, or when there was something to do again."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Answer:
        """Take on some work.

        Raises:
            ApiError: Too much is under way.
        """
        answer = Answer()
        with self._changed:
            waited_for = [task for task in self._tasks if not task.answer.cancelled]
            if self._stopped or len(waited_for) >= self._limit:
                raise busy(_SECONDS * len(waited_for))
            if not self._tasks:
                self._moved = time.monotonic()
            used = min((task.used for task in self._tasks), default=0.0)
            self._tasks.append(_Task(iter(work()), answer, used))
            self._changed.notify()
        return answer

    @property
    def depth(self) -> int:
        """Requests under way."""
        return len(self._tasks)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def seconds_still(self) -> float:
        """Seconds since a step was begun, where there is something to do, or 0."""
        with self._changed:
            return time.monotonic() - self._moved if self._tasks else 0.0

    def stop(self, seconds: float) -> bool:
        """Take no more work, wait up to so long for the thread to end, and return whether it did."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._tasks and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                task = min(self._tasks, key=lambda task: task.used)
            if task.answer.cancelled or not self._step(task):
                with self._changed:
                    self._tasks.remove(task)

    def _step(self, task: _Task) -> bool:
        """Take one step, and tell whether there is another."""
        begin = self._moved = time.monotonic()
        try:
            part = next(task.steps)
        except StopIteration:
            self._put(task.answer, None)
            return False
        except BaseException as error:  # whatever it is, somebody waits for an answer, and so do the others
            self._put(task.answer, error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
            return False
        task.used += time.monotonic() - begin
        if part is not None:
            self._put(task.answer, part)
        return True

    def _put(self, answer: Answer, part: bytes | Exception | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits
            self._loop.call_soon_threadsafe(answer.parts.put_nowait, part)


BATCH = 2_560
"""Characters that are tagged together. More are hardly faster, and whoever comes meanwhile has to wait for them."""
_SHARE = 1_024  # characters of one request in a turn; then it is the turn of the next
_SMALL = 512  # characters; of fewer, most of the time goes into calls that cost the same for one line as for ten
_LONG = 1_280  # characters; nobody waits for the end of a batch of so many
_TURNS = 5  # of the event loop, in which answers go out and requests that were already under way come in
_FIRST_GUESS = 50_000.0  # characters a second, until something has been measured


@dataclass(frozen=True)
class TagOptions:
    """How texts are tagged; texts with the same options can be tagged together."""

    tasks: tuple[str, ...]
    scores: bool = False
    words: tuple[Entry, ...] = ()
    """Words of the user."""
    dictionary: UserDictionary | None = field(default=None, compare=False)
    """The same, ready to be used, with those of the service; None: only these."""


@dataclass(eq=False)
class _Job:
    """The texts of one request."""

    texts: Sequence[str]
    options: TagOptions
    cost: int
    answer: asyncio.Future[list[bytes]]
    begun: int = 0
    """Texts that have been handed out."""
    parts: list[bytes] = field(default_factory=list)
    missing: int = 0
    """Texts that are not tagged yet."""

    def cut(self, room: int) -> slice:
        """Hand out the next texts, at least one, of about `room` characters."""
        first = self.begun
        while self.begun < len(self.texts) and (room > 0 or self.begun == first):
            room -= len(self.texts[self.begun])
            self.begun += 1
        return slice(first, self.begun)


_Batch = list[tuple[_Job, slice]]


class TagQueue:
    """Tags the texts of all requests in some threads. Made and used in one event loop."""

    def __init__(
        self,
        tagger: Tagger,
        *,
        threads: int,
        limit: int,
        on_batch: Callable[[int, int], None] = lambda texts, characters: None,
    ) -> None:
        """Start the threads.

        Args:
            tagger: What tags.
            threads: How many batches are tagged at the same time.
            limit: Characters that may wait; a single request may always wait.
            on_batch: Called with the texts and characters of each batch, in the thread that tags it.
        """
        self._tagger = tagger
        self._limit = limit
        self._on_batch = on_batch
        self._jobs: deque[_Job] = deque()
        self._lock = threading.Lock()
        self._first = threading.Condition(self._lock)
        """What the first thread waits at. It takes all small batches, so that they find its core's cache warm."""
        self._others = threading.Condition(self._lock)
        self._stopped = False
        self._rate = _FIRST_GUESS
        self._running: list[int] = []  # characters of the batches that are being tagged
        self._answering = 0  # batches whose answers are on their way
        self._begun: dict[threading.Thread, float] = {}  # when each thread took the batch that it is at
        self._moved = time.monotonic()  # when the last batch was taken, or when there was something to do again
        self.waiting = 0
        """Characters that wait."""
        self._loop = asyncio.get_running_loop()
        places = [self._first, *(self._others for _ in range(threads - 1))]
        self._threads = [
            threading.Thread(target=self._work, args=(place,), name=f"tag-{n}", daemon=True)
            for n, place in enumerate(places)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, texts: Sequence[str], options: TagOptions) -> asyncio.Future[list[bytes]]:
        """Put texts into the queue. To cancel what is returned takes those that still wait out of it again.

        Returns:
            The documents as JSON, in the order of the texts.

        Raises:
            ApiError: The queue is full.
        """
        answer = self._loop.create_future()
        cost = sum(map(len, texts)) + len(texts)
        job = _Job(texts, options, cost, answer, parts=[b""] * len(texts), missing=len(texts))
        with self._lock:
            if self.waiting and self.waiting + cost > self._limit:
                self._forget_cancelled()
            if self._stopped or (self.waiting and self.waiting + cost > self._limit):
                raise busy(round(self.waiting / self._rate))
            if not self._jobs:
                self._moved = time.monotonic()
            self.waiting += cost
            self._jobs.append(job)
            self._wake()
        return answer

    def _forget_cancelled(self) -> None:
        """Take out what nobody waits for any longer."""
        self.waiting -= sum(job.cost for job in self._jobs if job.answer.done())
        self._jobs = deque(job for job in self._jobs if not job.answer.done())

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._jobs)

    @property
    def is_alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def seconds_still(self) -> float:
        """Seconds that a thread has been at one batch, or since a batch was taken where some texts wait."""
        with self._lock:
            since = [*self._begun.values(), *([self._moved] if self._jobs else [])]
        return time.monotonic() - min(since) if since else 0.0

    def stop(self, seconds: float) -> bool:
        """Take no more texts, wait up to so long for the threads to end, and return whether they did."""
        with self._lock:
            self._stopped = True
            self._jobs.clear()
            self._first.notify_all()
            self._others.notify_all()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, place: threading.Condition) -> None:
        """Tag batch after batch; one thread, which waits at its place."""
        while batch := self._take(place):
            begin = time.monotonic()
            characters = _characters(batch)
            try:
                finished = self._tag(batch)
                self._on_batch(sum(part.stop - part.start for _, part in batch), characters)
            except BaseException as error:  # whatever it is, somebody waits for an answer, and so do the others
                failure: Exception = RuntimeError(type(error).__name__)
                if isinstance(error, Exception) and not isinstance(error, StopIteration):  # no future takes that one
                    failure = error
                finished = [(job, failure) for job, _ in batch]
            self._rate += 0.1 * (characters / max(time.monotonic() - begin, 1e-6) - self._rate)
            with self._lock:
                del self._begun[threading.current_thread()]
                self._running.remove(characters)
                self._answering += bool(finished)
                self._first.notify()
            if finished:
                self._call(self._deliver, finished)

    def _take(self, place: threading.Condition) -> _Batch:
        """Wait for texts and hand out a batch of them; nothing when the queue is stopped."""
        with self._lock:
            while not self._stopped:
                if self._may_begin(first=place is self._first):
                    batch = self._cut()
                    if batch:
                        self._running.append(_characters(batch))
                        self._begun[threading.current_thread()] = self._moved = time.monotonic()
                        self._wake()
                        return batch
                place.wait()
        return []

    def _may_begin(self, *, first: bool) -> bool:
        """Tell whether a batch may begin, in the first thread or in another."""
        if not self._running and not self._answering:
            return first
        # Two small batches side by side take longer than one of them all. And one that begins before the answers of
        # the last are out holds them up, and misses what they bring.
        urgent = self.waiting >= _SMALL or max(self._running, default=0) >= _LONG
        return urgent and (first or bool(self._running))

    def _wake(self) -> None:
        """Wake a thread for what waits, if one may begin with it."""
        self._first.notify()
        if self._jobs and self._may_begin(first=False):
            self._others.notify()

    def _cut(self) -> _Batch:
        """Hand out texts with the same options, from each request in turn."""
        batch, others, room = _Batch(), deque[_Job](), BATCH
        while self._jobs and room > 0:
            job = self._jobs.popleft()
            if job.answer.done():
                self.waiting -= job.cost
            elif batch and job.options != batch[0][0].options:
                others.append(job)
            else:
                part = job.cut(min(room, _SHARE))
                room -= sum(map(len, job.texts[part])) + part.stop - part.start
                batch.append((job, part))
                if job.begun < len(job.texts):
                    self._jobs.append(job)  # behind the others, so that all get their turn
                else:
                    self.waiting -= job.cost
        self._jobs.extendleft(reversed(others))
        return batch

    def _tag(self, batch: _Batch) -> list[tuple[_Job, Exception | None]]:
        """Tag a batch and return the jobs that are finished by it, or that failed."""
        options = batch[0][0].options
        try:
            documents = iter(self._documents([text for job, part in batch for text in job.texts[part]], options))
        except Exception as error:
            if len(batch) == 1:
                return [(batch[0][0], error)]
            # Whoever is to blame, the others must not suffer for it.
            return [done for one in batch for done in self._tag([one])]
        for job, part in batch:
            job.parts[part] = [next(documents) for _ in range(part.start, part.stop)]
        with self._lock:
            finished: list[tuple[_Job, Exception | None]] = []
            for job, part in batch:
                job.missing -= part.stop - part.start
                if not job.missing:
                    finished.append((job, None))
        return finished

    def _documents(self, texts: list[str], options: TagOptions) -> list[bytes]:
        write = make_writer("jsonl", options.tasks).write
        documents = self._tagger.stream(
            texts, tasks=options.tasks, scores=options.scores, dictionary=options.dictionary
        )
        # A lone surrogate comes out as an escape, which JSON allows.
        return [write(document)[:-1].encode("utf-8", "backslashreplace") for document in documents]

    def _deliver(self, finished: Sequence[tuple[_Job, Exception | None]]) -> None:
        """Hand answers over, in the thread of the event loop."""
        for job, error in finished:
            if not job.answer.done():
                if error is None:
                    job.answer.set_result(job.parts)
                else:
                    job.answer.set_exception(error)
        self._let_go(_TURNS)

    def _let_go(self, turns: int) -> None:
        """Let small batches begin, after so many turns of the event loop."""
        if turns:
            self._loop.call_soon(self._let_go, turns - 1)
            return
        with self._lock:
            self._answering -= 1
            self._first.notify()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _characters(batch: _Batch) -> int:
    return sum(len(text) for job, part in batch for text in job.texts[part])
