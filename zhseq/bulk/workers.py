"""Run tasks in worker processes: results are in the order of the tasks, and dead workers are replaced.

Each worker has its own pipe, so a killed worker cannot leave a shared lock behind. A worker whose parent has died exits
when it accesses its pipe.
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

_TRIES = 3  # attempts of a task, and of starting a worker, before giving up
_AHEAD = 4  # tasks per worker that may be finished before the next result in order
_GONE = (EOFError, OSError)  # errors of a pipe whose other end is closed
_PATIENCE = 5.0  # seconds between terminating and killing a worker


class WorkerError(ZhseqError):
    """Worker processes die repeatedly, or a task has failed unexpectedly."""


class Job(Protocol[Task_contra, Result_co]):
    """A picklable job that creates the function for a worker process."""

    def start(self) -> Callable[[Task_contra], Result_co]:
        """Load what the job needs, once per process, and return the function that does a task."""


@dataclass
class _Worker(Generic[Task]):
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    piece: tuple[int, Task] | None = None


def run_ordered(job: Job[Task, Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Do tasks in several processes; yield a result for each task, in order.

    Memory is bounded: tasks are read as needed, and workers do not run far ahead of the slowest one. The task of a
    worker that has died is given to another one.

    Args:
        job: Creates the function that does a task.
        tasks: Picklable tasks.
        workers: Number of processes.

    Raises:
        WorkerError: Several workers died on the same task, or no worker can be started.
        ZhseqError: Raised by a task.
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
        self._deaths: Counter[int] = Counter()  # dead workers by index of their task; -1 while starting

    def run(self, tasks: Iterable[Task]) -> Iterator[Result]:
        source = iter(enumerate(tasks))
        following = 0  # index of the next result
        taken, ended = 0, False
        while True:
            # Read one task ahead, so that a worker that becomes idle can start at once.
            while not ended and len(self._waiting) <= self._idle() and taken < following + _AHEAD * self._size:
                task = next(source, None)
                if task is None:
                    ended = True
                else:
                    self._waiting.append(task)
                    taken += 1
            self._dispatch()
            while following in self._done:
                yield self._done.pop(following)
                following += 1
            if self._waiting or any(worker.piece for worker in self._workers):
                self._receive()
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

    def _dispatch(self) -> None:
        """Send waiting tasks to idle workers, oldest first, and start workers if there are too few."""
        while len(self._workers) < min(self._size, len(self._waiting) + sum(bool(w.piece) for w in self._workers)):
            self._workers.append(self._start())
        for worker in [worker for worker in self._workers if worker.ready and worker.piece is None]:
            if not self._waiting:
                return
            worker.piece = self._waiting.popleft()
            try:
                worker.pipe.send(worker.piece[1])
            except OSError:
                self._replace_dead(worker)

    def _start(self) -> _Worker[Task]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._job, theirs), daemon=True)
        # Ctrl-C is sent to all processes; workers ignore it, and this process terminates them. An ignored signal is
        # inherited by the new process, so there is no moment at which it could be interrupted.
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

    def _receive(self) -> None:
        """Wait for messages from workers and handle them."""
        readable = wait([worker.pipe for worker in self._workers])
        for worker in [worker for worker in self._workers if worker.pipe in readable]:
            try:
                reply: Any = worker.pipe.recv()
            except _GONE:
                self._replace_dead(worker)
                continue
            if isinstance(reply, ZhseqError):
                raise reply
            if worker.piece is None:
                worker.ready = True
                self._deaths[-1] = 0
            else:
                self._done[worker.piece[0]] = reply
                worker.piece = None

    def _replace_dead(self, worker: _Worker[Task]) -> None:
        """Remove a dead worker, and put its task back at the front of the queue."""
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
                "{piece}: {tries} processes ended while processing this piece (the last: {reason}); "
                "give the machine more memory, or remove the piece from the input.",
                piece=worker.piece[1],
                tries=_TRIES,
                reason=reason,
            )
        raise WorkerError(
            "no_worker_starts",
            "{tries} processes ended before they had loaded the model (the last: {reason}); give the "
            "machine more memory, or use fewer <workers>.",
            tries=_TRIES,
            reason=reason,
        )


def _work(job: Job[Any, Any], pipe: Connection) -> None:
    """Main function of a worker process: do the tasks received from the pipe until it is closed."""
    reply = _call_safely(job.start)
    function, reply = reply, (reply if isinstance(reply, ZhseqError) else None)
    with suppress(*_GONE):  # the parent has died
        while True:
            pipe.send(reply)
            reply = _call_safely(function, pipe.recv())


def _call_safely(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a call, or the error that it raises, which is not retried."""
    try:
        return call(*arguments)
    except ZhseqError as error:
        return error
    except Exception as error:
        return WorkerError(
            "work_failed",
            "a task failed unexpectedly: {kind}: {reason}",
            kind=type(error).__name__,
            reason=str(error),
        )
