"""Bounded queues in front of the models, which serve requests in turns, so that none blocks the others.

Waiting texts are tagged in batches; poems are written step by step.
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
"""Yields the parts of a result as they are produced, and None after each step that produces none."""
_SECONDS = 1  # approximate duration of one request about a poem
_SHORT = 0.05  # seconds; requests that have used less thread time than this go first


def report(queue: str, error: BaseException) -> None:
    """Log an error in a thread, which continues."""
    log("error", queue=queue, kind=type(error).__name__, places=places(error))


def failure(error: BaseException) -> Exception:
    """Return the exception to pass on for an error, one that a future accepts."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(type(error).__name__)


class Answer:
    """The result of some work, passed from the thread to the event loop part by part."""

    def __init__(self) -> None:
        self.cancelled = False
        """Set when the result is no longer needed."""
        self.parts: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the parts; raise the error if the work failed in the thread."""
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
    """Seconds of thread time used; a new task starts with the lowest value of all others."""
    own: float = 0.0
    """Seconds of thread time used, counted from 0."""

    @property
    def turn(self) -> tuple[bool, float]:
        """Sort key, lowest first: tasks that may be short, even in several steps, then those that have used least."""
        return self.own >= _SHORT, self.used


class Lane:
    """A thread that does the work of several requests in steps. Created and used in one event loop.

    The next step is one of a request that has just begun, or else of the one that has used the least time, so that
    short work is done soon regardless of other requests. Cancelled work stops after its current step.
    """

    def __init__(self, name: str, limit: int) -> None:
        """Start the thread; at most `limit` requests may be in progress."""
        self._name, self._limit = name, limit
        self._tasks: list[_Task] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._moved = time.monotonic()
        """Time when the last step began, or when work was added to an empty lane."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Answer:
        """Add some work, and return its result, which arrives part by part.

        Raises:
            ApiError: Too many requests are in progress, or the lane is stopped.
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
        """Number of requests in progress."""
        return len(self._tasks)

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    @property
    def seconds_still(self) -> float:
        """Seconds since the last step began, or 0 if there is no work."""
        with self._changed:
            return time.monotonic() - self._moved if self._tasks else 0.0

    def stop(self, seconds: float) -> bool:
        """Accept no more work, wait at most `seconds` for the thread to end, and return whether it did."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        """Run steps until the lane is stopped, despite errors."""
        while not self._stopped:
            self._work_or_recover()

    def _work_or_recover(self) -> None:
        try:
            self._work()
        except BaseException as error:
            report(self._name, error)
            with self._changed:  # it is unknown whose request failed; all get the error
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
                with self._changed, suppress(ValueError):  # cancelled and removed meanwhile
                    self._tasks.remove(task)

    def _forget_cancelled(self) -> None:
        """Remove cancelled tasks."""
        self._tasks = [task for task in self._tasks if not task.answer.cancelled]

    def _step(self, task: _Task) -> bool:
        """Run one step, and return whether there may be another."""
        begin = self._moved = time.monotonic()
        try:
            part = next(task.steps)
        except StopIteration:
            self._put(task.answer, None)
            return False
        except BaseException as error:  # of any kind: requests wait for a response, this one and the others
            self._put(task.answer, failure(error))
            return False
        taken = time.monotonic() - begin
        task.used += taken
        task.own += taken
        if part is not None:
            self._put(task.answer, part)
        return True

    def _put(self, answer: Answer, part: bytes | Exception | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed: no request waits
            self._loop.call_soon_threadsafe(answer.parts.put_nowait, part)


BATCH = 2_560
"""Characters of a batch. Larger ones are hardly faster, and requests that arrive meanwhile have to wait for them."""
_SHARE = 1_024  # characters of one request in a turn, if others wait
_SMALL = 512  # characters; a smaller batch takes most of its time for calls that cost the same for one line as for ten
_LONG = 1_280  # characters; others do not wait for the end of so large a batch
_TURNS = 5  # turns of the event loop in which responses are sent and requests arrive that were already in transit
_FIRST_GUESS = 50_000.0  # characters per second, until something has been measured


@dataclass(frozen=True)
class TagOptions:
    """How texts are tagged; texts with the same options can be tagged together."""

    tasks: tuple[str, ...]
    scores: bool = False
    words: tuple[Entry, ...] = ()
    """User words of the request."""
    dictionary: UserDictionary | None = field(default=None, compare=False)
    """These words and those of the service; None: those of the service only."""


class _LongText:
    """A text whose sections are tagged concurrently, in any order, and written in order."""

    def __init__(self, text: str, tasks: Sequence[str]) -> None:
        self.text = text
        self.begun = 0
        """Start of the next section to be tagged."""
        self._writer = make_writer("jsonl", tasks)
        self._written = [self._writer.begin(text)]
        self._end = 0  # of the last section that has been written
        self._waiting: dict[int, Document] = {}
        self._lock = threading.Lock()

    def add(self, start: int, section: Document) -> bytes | None:
        """Add the result of the section at `start`; return the whole document once all sections are there."""
        with self._lock:
            self._waiting[start] = section
            while (found := self._waiting.pop(self._end, None)) is not None:
                self._written.append(self._writer.part(found, self._end))
                self._end += len(found.text)
            return _bytes("".join([*self._written, *self._writer.end()])) if self._end == len(self.text) else None


class Receiver(Protocol):
    """Receives documents, like a future; results are set in the thread of the event loop."""

    def done(self) -> bool:
        """Return whether the documents are no longer needed."""

    def set_result(self, documents: list[bytes], /) -> None:
        """Set the documents as JSON, in the order of the texts."""

    def set_exception(self, error: Exception, /) -> None:
        """Set the error."""


@dataclass(eq=False)
class Job:
    """The texts of one request."""

    texts: Sequence[str]
    options: TagOptions
    cost: int
    answer: Receiver
    begun: int = 0
    """Number of texts that are completely assigned to batches."""
    long: _LongText | None = None
    """The next text, while it is tagged in sections."""
    parts: list[bytes] = field(default_factory=list)
    missing: int = 0
    """Number of texts that are not tagged yet."""

    def cut(self, room: int) -> _Share:
        """Return the next share of about `room` characters: texts, or a section of a long one."""
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
        """Set the start of the next section of the long text, or finish the text."""
        assert self.long is not None
        self.long.begun = end
        if end == len(self.long.text):
            self.long = None
            self.begun += 1


@dataclass(eq=False)
class _Share:
    """One request's part of a batch: texts from index `first` on, or a section of the long text at this index."""

    job: Job
    first: int
    size: int
    """Number of characters, with one more for each text; for a section, the desired maximum."""
    long: _LongText | None = None
    start: int = 0
    texts: Sequence[str] = ()
    """Texts to tag."""

    def __post_init__(self) -> None:
        if self.long is None:
            self.texts = self.job.texts[self.first : self.job.begun]

    def take(self, documents: Iterator[Document], write: Callable[[Document], str]) -> int:
        """Write the documents into the job, and return the number of texts that are finished by them."""
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
    """Tags the texts of all requests in several threads. Created and used in one event loop."""

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
            tagger: The tagger.
            threads: Number of threads, each of which tags one batch at a time.
            limit: Maximum number of waiting characters; a single request may always wait.
            on_batch: Called with the texts and characters of each batch, in the thread that tags it; a section of a
                long text counts as a text.
        """
        self._tagger = tagger
        self._limit = limit
        self._on_batch = on_batch
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        self._first = threading.Condition(self._lock)
        """Wakes the first thread, which takes all small batches, so that the cache of its core is warm for them."""
        self._others = threading.Condition(self._lock)
        self._stopped = False
        self._rate = _FIRST_GUESS
        self._running: dict[threading.Thread, tuple[float, _Batch]] = {}
        """Start time and batch of each thread that is tagging."""
        self._answering = 0  # batches whose results are being delivered
        self._moved = time.monotonic()  # when the last batch was taken, or when texts were added to an empty queue
        self.waiting = 0
        """Number of waiting characters, with one more for each text."""
        self._loop = asyncio.get_running_loop()
        conditions = [self._first, *(self._others for _ in range(threads - 1))]
        self._threads = [
            threading.Thread(target=self._run, args=(condition,), name=f"tag-{n}", daemon=True)
            for n, condition in enumerate(conditions)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, texts: Sequence[str], options: TagOptions) -> asyncio.Future[list[bytes]]:
        """Add texts to the queue. Cancelling the returned future removes those that still wait.

        Returns:
            A future of the documents as JSON, in the order of the texts.

        Raises:
            ApiError: The queue is full or stopped.
        """
        answer: asyncio.Future[list[bytes]] = self._loop.create_future()
        job = self.enter(texts, options, answer)
        answer.add_done_callback(lambda answer: self.forget(job) if answer.cancelled() else None)
        return answer

    def enter(self, texts: Sequence[str], options: TagOptions, answer: Receiver) -> Job:
        """Add texts to the queue, with the result set in `answer`; see `submit`. `forget` removes them."""
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
        """Remove a request whose result is no longer needed."""
        with self._lock, suppress(ValueError):  # none of its texts waits
            self._jobs.remove(job)
            self._settle(job)

    def _settle(self, job: Job) -> None:
        """Stop counting the characters of a request as waiting."""
        self.waiting -= job.cost
        job.cost = 0

    @property
    def depth(self) -> int:
        """Number of waiting requests."""
        return len(self._jobs)

    @property
    def is_alive(self) -> bool:
        """Whether all threads are running."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def seconds_still(self) -> float:
        """Seconds since the oldest running batch began or, while texts wait, a batch was last taken; 0 if idle."""
        with self._lock:
            since = [begin for begin, _ in self._running.values()]
            since += [self._moved] if self._jobs else []
        return time.monotonic() - min(since) if since else 0.0

    def stop(self, seconds: float) -> bool:
        """Accept no more texts, wait at most `seconds` for the threads to end, and return whether they did."""
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
        """Tag batches until the queue is stopped, despite errors; run by one thread, which `condition` wakes."""
        while not self._stopped:
            self._work_or_recover(condition)

    def _work_or_recover(self, condition: threading.Condition) -> None:
        try:
            self._work(condition)
        except BaseException as error:
            report("tags", error)
            with self._lock:  # it is unknown whose request failed; all get the error
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
            except BaseException as error:  # of any kind: requests wait for a response, this one and the others
                finished = list(dict.fromkeys((share.job for share in batch), failure(error)).items())
            with self._lock:
                del self._running[threading.current_thread()]
                self._answering += bool(finished)
                self._wake()
            if finished:
                self._call(self._deliver, finished)

    def _take(self, condition: threading.Condition) -> _Batch:
        """Wait for texts and return a batch of them; an empty one when the queue is stopped."""
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
        """Return whether a batch may begin, in the first thread or in another."""
        if not self._running and not self._answering:
            return first
        # Two small batches at the same time take longer than one combined batch. A batch that begins before the
        # responses of the last are sent delays them, and misses the requests that follow them.
        largest = max((sum(share.size for share in batch) for _, batch in self._running.values()), default=0)
        return (self.waiting >= _SMALL or largest >= _LONG) and (first or bool(self._running))

    def _wake(self) -> None:
        """Wake a thread for waiting texts if it may begin a batch; waking one in vain is expensive."""
        if self._jobs and self._may_begin(first=True):
            self._first.notify()
        if self._jobs and self._may_begin(first=False):
            self._others.notify()

    def _cut(self) -> _Batch:
        """Return a batch of texts with the same options, from each request in turn.

        A request with a long text is back in the queue only after `_cut_sections` has found the end of the section.
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
        """Put the rest of a request at the end of the queue, so that all get their turn."""
        if job.begun < len(job.texts) and not job.answer.done():
            self._jobs.append(job)
        else:
            self._settle(job)

    def _cut_sections(self, batch: _Batch) -> None:
        """Find the ends of sections of long texts and queue the rests; called in the thread that tags the batch."""
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
        """Tag a batch and return the jobs that it finishes, or that failed."""
        options = batch[0].job.options
        texts = [text for share in batch for text in share.texts]
        try:
            documents = list(
                self._tagger.stream(texts, tasks=options.tasks, scores=options.scores, dictionary=options.dictionary)
            )
        except Exception as error:
            if len(batch) == 1:
                return [(batch[0].job, error)]
            # Tag each share separately, so that only the request at fault fails.
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
        """Deliver results, in the thread of the event loop."""
        for job, error in finished:
            if job.answer.done():
                continue
            try:
                if error is None:
                    job.answer.set_result(job.parts)
                else:
                    job.answer.set_exception(error)
            except Exception as fault:  # of one receiver; the others still get their results
                report("tags", fault)
        self._let_go(_TURNS)

    def _let_go(self, turns: int) -> None:
        """Let small batches begin after `turns` turns of the event loop."""
        if turns:
            self._loop.call_soon(self._let_go, turns - 1)
            return
        with self._lock:
            self._answering -= 1
            self._wake()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed: no request waits
            self._loop.call_soon_threadsafe(function, *arguments)


def _bytes(line: str) -> bytes:
    """Return a line as UTF-8, without its line end; lone surrogates are escaped, which JSON allows."""
    return line[:-1].encode("utf-8", "backslashreplace")
