"""Spread work over processes: results come in the order of the work, and a process that dies is replaced.

Each process has a pipe of its own, so one that is killed leaves no lock behind that others wait for. A process that
loses its parent ends as soon as it looks at its pipe.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar

from zhseq.errors import Message, ZhseqError

Task = TypeVar("Task")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Task_contra = TypeVar("Task_contra", contravariant=True)

_TRIES = 3  # of a piece of work, and of starting a process, before it is given up
_AHEAD = 4  # pieces for each process that may be done before one that is late
_GONE = (EOFError, OSError)  # what a pipe says when there is nobody at its other end
_PATIENCE = 5.0  # seconds until a process that was told to end is made to


class WorkerError(ZhseqError):
    """Processes that do the work end again and again."""


class Job(Protocol[Task_contra, Result_co]):
    """Work that can be sent to another process."""

    def start(self) -> Callable[[Task_contra], Result_co]:
        """Prepare what the work needs, once for each process, and return the function that does it."""


@dataclass
class _Worker(Generic[Task]):
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    piece: tuple[int, Task] | None = None


def run_ordered(job: Job[Task, Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Do the work in several processes; yield a result for each task, in order.

    Memory is flat: tasks are taken as they are needed, and no process runs far ahead of another. What a process was
    doing when it died is done again by another.

    Raises:
        WorkerError: The same task ended several processes, or none can be started.
        ZhseqError: The work raised it.
    """
    crew = _Crew(job, workers)
    try:
        yield from crew.run(tasks)
    finally:
        crew.close()


class _Crew(Generic[Task, Result]):
    def __init__(self, job: Job[Task, Result], size: int) -> None:
        self._job, self._size = job, size
        self._context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._workers: list[_Worker[Task]] = []
        self._waiting: deque[tuple[int, Task]] = deque()
        self._done: dict[int, Result] = {}
        self._deaths: Counter[int] = Counter()  # by number of the task; -1 for processes that died while starting

    def run(self, tasks: Iterable[Task]) -> Iterator[Result]:
        source = iter(enumerate(tasks))
        following = 0  # number of the next result
        taken, ended = 0, False
        while True:
            # One task is read in advance, so that a process that comes back finds it waiting.
            while not ended and len(self._waiting) <= self._idle() and taken < following + _AHEAD * self._size:
                task = next(source, None)
                if task is None:
                    ended = True
                else:
                    self._waiting.append(task)
                    taken += 1
            self._give()
            while following in self._done:
                yield self._done.pop(following)
                following += 1
            if self._waiting or any(worker.piece for worker in self._workers):
                self._listen()
            elif ended:
                return

    def close(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()

    def _idle(self) -> int:
        return self._size - sum(worker.piece is not None for worker in self._workers)

    def _give(self) -> None:
        """Send waiting tasks to idle processes, oldest first, and start processes while there are fewer than wanted."""
        while len(self._workers) < min(self._size, len(self._waiting) + sum(bool(w.piece) for w in self._workers)):
            self._workers.append(self._start())
        for worker in [worker for worker in self._workers if worker.ready and worker.piece is None]:
            if not self._waiting:
                return
            worker.piece = self._waiting.popleft()
            try:
                worker.pipe.send(worker.piece[1])
            except OSError:
                self._bury(worker)

    def _start(self) -> _Worker[Task]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._job, theirs), daemon=True)
        # Ctrl-C reaches the whole group of processes; those that work leave it to this one to end them. What is
        # ignored here stays ignored in a new program, so there is no moment in which it could strike.
        before = signal.getsignal(signal.SIGINT)
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except ValueError:  # not in the main thread
            process.start()
        else:
            try:
                process.start()
            finally:
                signal.signal(signal.SIGINT, before)
        theirs.close()
        return _Worker(process, ours)

    def _listen(self) -> None:
        """Wait for messages of any process and handle them."""
        heard = wait([worker.pipe for worker in self._workers])
        for worker in [worker for worker in self._workers if worker.pipe in heard]:
            try:
                news: Any = worker.pipe.recv()
            except _GONE:
                self._bury(worker)
                continue
            if isinstance(news, ZhseqError):
                raise news
            if worker.piece is None:
                worker.ready = True
                self._deaths[-1] = 0
            else:
                self._done[worker.piece[0]] = news
                worker.piece = None

    def _bury(self, worker: _Worker[Task]) -> None:
        """Remove a dead process, and put its task back at the front of the queue."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(_PATIENCE)
        worker.process.kill()
        worker.process.join()
        code = worker.process.exitcode or 0
        reason = (
            Message("killed_by_signal", "killed by signal {number}", {"number": -code})
            if code < 0
            else Message("exit_status", "exit status {number}", {"number": code})
        )
        if worker.ready and worker.piece is None:
            return
        number = worker.piece[0] if worker.piece else -1
        self._deaths[number] += 1
        if worker.piece:
            self._waiting.appendleft(worker.piece)
        if self._deaths[number] < _TRIES:
            return
        if worker.piece:
            raise WorkerError(
                "deadly_piece",
                "{piece}: expected a process to do this piece, found that {tries} ended over it (the last: {reason}); "
                "give the machine more memory, or take the piece out of the input.",
                piece=worker.piece[1],
                tries=_TRIES,
                reason=reason,
            )
        raise WorkerError(
            "no_worker_starts",
            "expected processes that load the model, found that {tries} ended before they had (the last: {reason}); "
            "give the machine more memory or use fewer <workers>.",
            tries=_TRIES,
            reason=reason,
        )


def _work(job: Job[Any, Any], pipe: Connection) -> None:
    """Run in a worker process: do the tasks that come through the pipe until it is closed."""
    news = _attempt(job.start)
    function, news = news, (news if isinstance(news, ZhseqError) else None)
    with suppress(*_GONE):  # the parent is gone, there is nobody to tell
        while True:
            pipe.send(news)
            news = _attempt(function, pipe.recv())


def _attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call returns, or the error it raises; what raised once would do so in another process, too."""
    try:
        return call(*arguments)
    except ZhseqError as error:
        return error
    except Exception as error:
        return WorkerError(
            "work_failed",
            "the work failed, which it should not: {kind}: {reason}",
            kind=type(error).__name__,
            reason=str(error),
        )
