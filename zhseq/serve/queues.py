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
from typing import TYPE_CHECKING, Protocol

from zhseq.serve.http import busy, places
from zhseq.serve.metrics import log
from zhseq.tagging.formats import make_writer

if TYPE_CHECKING:
    from zhseq.tagging.dictionary import Entry, UserDictionary
    from zhseq.tagging.formats import Document
    from zhseq.tagging.tagger import Tagger

Work = Callable[[], Iterator["bytes | None"]]
"""Yields the parts of an answer as they are made, and None after each step that makes none."""
_SECONDS = 1  # that one request about a poem takes, roughly
_SHORT = 0.05  # seconds of the thread; whoever has had less goes before those that have had more


def report(queue: str, error: BaseException) -> None:
    """Log a fault of a thread, which goes on."""
    log("error", queue=queue, kind=type(error).__name__, places=places(error))


def failure(error: BaseException) -> Exception:
    """Return what stands for an error where somebody waits for an answer: one that a future takes."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(type(error).__name__)


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
    own: float = 0.0
    """Seconds that it has had, without those of others."""

    @property
    def turn(self) -> tuple[bool, float]:
        """The least is the next: what may be short first, of several steps, too; then what has had the least."""
        return self.own >= _SHORT, self.used


class Lane:
    """A thread that takes the work of several requests in steps. Made and used in one event loop.

    The next step is one of a request that has just begun, or else of the one that has had the least time, so that what
    is short is done soon whatever else is asked for. What nobody waits for any longer ends with its step.
    """

    def __init__(self, name: str, limit: int) -> None:
        """Start the thread; `limit` is how many requests may be under way."""
        self._name, self._limit = name, limit
        self._tasks: list[_Task] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._moved = time.monotonic()
        """When the last step began, or when there was something to do again."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Answer:
        """Take on some work.

        Raises:
            ApiError: Too much is under way.
        """
        answer = Answer()
        with self._changed:
            self._forget_cancelled()
            if self._stopped or len(self._tasks) >= self._limit:
                raise busy(_SECONDS * len(self._tasks))
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

    def _run(self) -> None:
        """Take step after step until the lane is stopped, whatever happens."""
        while not self._stopped:
            self._work_or_recover()

    def _work_or_recover(self) -> None:
        try:
            self._work()
        except BaseException as error:
            report(self._name, error)
            with self._changed:  # nobody knows whose request it was; all get an answer
                failed, self._tasks = self._tasks, []
            for task in failed:
                self._put(task.answer, failure(error))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._forget_cancelled()
                while not self._tasks and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                task = min(self._tasks, key=lambda task: task.turn)
            if not self._step(task):
                with self._changed, suppress(ValueError):  # it was cancelled meanwhile, and is forgotten
                    self._tasks.remove(task)

    def _forget_cancelled(self) -> None:
        """Take out what nobody waits for any longer."""
        self._tasks = [task for task in self._tasks if not task.answer.cancelled]

    def _step(self, task: _Task) -> bool:
        """Take one step, and tell whether there is another."""
        begin = self._moved = time.monotonic()
        try:
            part = next(task.steps)
        except StopIteration:
            self._put(task.answer, None)
            return False
        except BaseException as error:  # whatever it is, somebody waits for an answer, and so do the others
            self._put(task.answer, failure(error))
            return False
        taken = time.monotonic() - begin
        task.used += taken
        task.own += taken
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


class _LongText:
    """A text that is tagged section by section, side by side in any order, and written in order."""

    def __init__(self, text: str, tasks: Sequence[str]) -> None:
        self.text = text
        self.begun = 0
        """Where the next section to be handed out begins."""
        self._writer = make_writer("jsonl", tasks)
        self._written = [self._writer.begin(text)]
        self._end = 0  # of the last section that is written
        self._waiting: dict[int, Document] = {}
        self._lock = threading.Lock()

    def add(self, start: int, section: Document) -> bytes | None:
        """Take what was found in the section that begins at `start`; return the whole once all are there."""
        with self._lock:
            self._waiting[start] = section
            while (found := self._waiting.pop(self._end, None)) is not None:
                self._written.append(self._writer.part(found, self._end))
                self._end += len(found.text)
            return _bytes("".join([*self._written, *self._writer.end()])) if self._end == len(self.text) else None


class Receiver(Protocol):
    """Who waits for documents, as a future does; told in the thread of the event loop."""

    def done(self) -> bool:
        """Tell whether nobody waits any longer."""

    def set_result(self, documents: list[bytes], /) -> None:
        """Take the documents as JSON, in the order of the texts."""

    def set_exception(self, error: Exception, /) -> None:
        """Take what went wrong."""


@dataclass(eq=False)
class Job:
    """The texts of one request."""

    texts: Sequence[str]
    options: TagOptions
    cost: int
    answer: Receiver
    begun: int = 0
    """Texts that have been handed out whole."""
    long: _LongText | None = None
    """The next text, while it is handed out in sections."""
    parts: list[bytes] = field(default_factory=list)
    missing: int = 0
    """Texts that are not tagged yet."""

    def cut(self, room: int) -> _Share:
        """Hand out what comes next, of about `room` characters: texts, or a section of a long one."""
        first = self.begun
        if len(self.texts[first]) > BATCH:
            self.long = self.long or _LongText(self.texts[first], self.options.tasks)
            return _Share(self, first, room, self.long, self.long.begun)
        size = 0
        while self.begun < len(self.texts) and (size < room or self.begun == first):
            if len(self.texts[self.begun]) > BATCH:
                break
            size += len(self.texts[self.begun]) + 1
            self.begun += 1
        return _Share(self, first, size)

    def end_section(self, end: int) -> None:
        """Let the next section of the long text begin at `end`."""
        assert self.long is not None
        self.long.begun = end
        if end == len(self.long.text):
            self.long = None
            self.begun += 1


@dataclass(eq=False)
class _Share:
    """What one request gets of a batch: texts from number `first` on, or a section of the long text of this number."""

    job: Job
    first: int
    size: int
    """Characters; of a section, the most that are wanted."""
    long: _LongText | None = None
    start: int = 0
    texts: Sequence[str] = ()
    """What is to be tagged."""

    def __post_init__(self) -> None:
        if self.long is None:
            self.texts = self.job.texts[self.first : self.job.begun]

    def take(self, documents: Iterator[Document], write: Callable[[Document], str]) -> int:
        """Write what was found into the answer, and return how many texts are whole by it."""
        parts = self.job.parts
        if self.long is None:
            for number in range(self.first, self.first + len(self.texts)):
                parts[number] = _bytes(write(next(documents)))
            return len(self.texts)
        whole = self.long.add(self.start, next(documents))
        if whole is None:
            return 0
        parts[self.first] = whole
        return 1


_Batch = list[_Share]
_Finished = list[tuple[Job, "Exception | None"]]


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
            on_batch: Called with the texts and characters of each batch, in the thread that tags it; a section of a
                long text counts as a text.
        """
        self._tagger = tagger
        self._limit = limit
        self._on_batch = on_batch
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        self._first = threading.Condition(self._lock)
        """What the first thread waits at. It takes all small batches, so that they find its core's cache warm."""
        self._others = threading.Condition(self._lock)
        self._stopped = False
        self._rate = _FIRST_GUESS
        self._running: dict[threading.Thread, tuple[float, _Batch]] = {}
        """The batches that are being tagged, and since when."""
        self._answering = 0  # batches whose answers are on their way
        self._moved = time.monotonic()  # when the last batch was taken, or when there was something to do again
        self.waiting = 0
        """Characters that wait."""
        self._loop = asyncio.get_running_loop()
        conditions = [self._first, *(self._others for _ in range(threads - 1))]
        self._threads = [
            threading.Thread(target=self._run, args=(condition,), name=f"tag-{n}", daemon=True)
            for n, condition in enumerate(conditions)
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
        answer: asyncio.Future[list[bytes]] = self._loop.create_future()
        job = self.enter(texts, options, answer)
        answer.add_done_callback(lambda answer: self.forget(job) if answer.cancelled() else None)
        return answer

    def enter(self, texts: Sequence[str], options: TagOptions, answer: Receiver) -> Job:
        """Put texts into the queue, of which `answer` is told; see `submit`. `forget` takes them out again."""
        cost = sum(map(len, texts)) + len(texts)
        job = Job(texts, options, cost, answer, parts=[b""] * len(texts), missing=len(texts))
        with self._lock:
            if self._stopped or (self.waiting and self.waiting + cost > self._limit):
                raise busy(round(self.waiting / self._rate))
            if not self._jobs:
                self._moved = time.monotonic()
            self.waiting += cost
            self._jobs.append(job)
            self._wake()
        return job

    def forget(self, job: Job) -> None:
        """Take out what nobody waits for any longer."""
        with self._lock, suppress(ValueError):  # nothing of it waits
            self._jobs.remove(job)
            self._settle(job)

    def _settle(self, job: Job) -> None:
        """Count no character of a request as waiting any longer."""
        self.waiting -= job.cost
        job.cost = 0

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
            since = [begin for begin, _ in self._running.values()]
            since += [self._moved] if self._jobs else []
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

    def _run(self, condition: threading.Condition) -> None:
        """Tag batch after batch until the queue is stopped, whatever happens; one thread, woken by `condition`."""
        while not self._stopped:
            self._work_or_recover(condition)

    def _work_or_recover(self, condition: threading.Condition) -> None:
        try:
            self._work(condition)
        except BaseException as error:
            report("tags", error)
            with self._lock:  # nobody knows whose request it was; all get an answer
                _, batch = self._running.pop(threading.current_thread(), (0.0, []))
                failed = dict.fromkeys([*(share.job for share in batch), *self._jobs], failure(error))
                self._jobs.clear()
                for job in failed:
                    self._settle(job)
                self._answering += 1
            self._call(self._deliver, list(failed.items()))

    def _work(self, condition: threading.Condition) -> None:
        while batch := self._take(condition):
            begin = time.monotonic()
            try:
                self._cut_sections(batch)
                finished = self._tag(batch)
                characters = sum(len(text) for share in batch for text in share.texts)
                self._on_batch(sum(len(share.texts) for share in batch), characters)
                self._rate += 0.1 * (characters / max(time.monotonic() - begin, 1e-6) - self._rate)
            except BaseException as error:  # whatever it is, somebody waits for an answer, and so do the others
                finished = list(dict.fromkeys((share.job for share in batch), failure(error)).items())
            with self._lock:
                del self._running[threading.current_thread()]
                self._answering += bool(finished)
                self._wake()
            if finished:
                self._call(self._deliver, finished)

    def _take(self, condition: threading.Condition) -> _Batch:
        """Wait for texts and hand out a batch of them; nothing when the queue is stopped."""
        with self._lock:
            while not self._stopped:
                if self._may_begin(first=condition is self._first):
                    batch = self._cut()
                    if batch:
                        self._moved = time.monotonic()
                        self._running[threading.current_thread()] = self._moved, batch
                        self._wake()
                        return batch
                condition.wait()
        return []

    def _may_begin(self, *, first: bool) -> bool:
        """Tell whether a batch may begin, in the first thread or in another."""
        if not self._running and not self._answering:
            return first
        # Two small batches side by side take longer than one of them all. And one that begins before the answers of
        # the last are out holds them up, and misses what they bring.
        largest = max((sum(share.size for share in batch) for _, batch in self._running.values()), default=0)
        return (self.waiting >= _SMALL or largest >= _LONG) and (first or bool(self._running))

    def _wake(self) -> None:
        """Wake a thread for what waits, if one may begin with it; to wake one in vain costs much."""
        if self._jobs and self._may_begin(first=True):
            self._first.notify()
        if self._jobs and self._may_begin(first=False):
            self._others.notify()

    def _cut(self) -> _Batch:
        """Hand out texts with the same options, from each request in turn.

        A request whose long text is begun does not wait until `_cut_sections` has found the end of the section.
        """
        batch, others, room = _Batch(), deque[Job](), BATCH
        while self._jobs and room > 0:
            job = self._jobs.popleft()
            if job.answer.done():
                self._settle(job)
            elif batch and job.options != batch[0].job.options:
                others.append(job)
            else:
                share = job.cut(min(room, _SHARE if batch or self._jobs else BATCH))
                room -= share.size
                batch.append(share)
                if share.long is None:
                    self._put_back(job)
        self._jobs.extendleft(reversed(others))
        return batch

    def _put_back(self, job: Job) -> None:
        """Let the rest of a request wait, behind the others, so that all get their turn."""
        if job.begun < len(job.texts) and not job.answer.done():
            self._jobs.append(job)
        else:
            self._settle(job)

    def _cut_sections(self, batch: _Batch) -> None:
        """Find the ends of sections of long texts, whose rests wait again; in the thread that tags the batch."""
        for share in batch:
            if share.long is not None:
                words, end = share.job.options.dictionary, None
                try:
                    end = self._tagger.section_end(share.long.text, share.start, share.size, dictionary=words)
                    share.texts = (share.long.text[share.start : end],)
                    share.job.end_section(end)
                finally:
                    with self._lock:
                        if end is None:
                            self._settle(share.job)
                        else:
                            self._put_back(share.job)
                            self._wake()

    def _tag(self, batch: _Batch) -> _Finished:
        """Tag a batch and return the jobs that are finished by it, or that failed."""
        options = batch[0].job.options
        texts = [text for share in batch for text in share.texts]
        try:
            documents = list(
                self._tagger.stream(texts, tasks=options.tasks, scores=options.scores, dictionary=options.dictionary)
            )
        except Exception as error:
            if len(batch) == 1:
                return [(batch[0].job, error)]
            # Whoever is to blame, the others must not suffer for it.
            return [done for one in batch for done in self._tag([one])]
        found, write = iter(documents), make_writer("jsonl", options.tasks).write
        whole = [share.take(found, write) for share in batch]
        finished: _Finished = []
        with self._lock:
            for share, count in zip(batch, whole, strict=True):
                share.job.missing -= count
                if not share.job.missing and count:
                    finished.append((share.job, None))
        return finished

    def _deliver(self, finished: _Finished) -> None:
        """Hand answers over, in the thread of the event loop."""
        for job, error in finished:
            if job.answer.done():
                continue
            try:
                if error is None:
                    job.answer.set_result(job.parts)
                else:
                    job.answer.set_exception(error)
            except Exception as fault:  # of one answer; the others are handed over all the same
                report("tags", fault)
        self._let_go(_TURNS)

    def _let_go(self, turns: int) -> None:
        """Let small batches begin, after so many turns of the event loop."""
        if turns:
            self._loop.call_soon(self._let_go, turns - 1)
            return
        with self._lock:
            self._answering -= 1
            self._wake()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits
            self._loop.call_soon_threadsafe(function, *arguments)


def _bytes(line: str) -> bytes:
    """Return a line as UTF-8, without its end; a lone surrogate comes out as an escape, which JSON allows."""
    return line[:-1].encode("utf-8", "backslashreplace")
