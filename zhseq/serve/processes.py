"""Several processes on one port: a parent forks, restarts and stops them; they query each other.

Each process has its own socket on the port, and the kernel distributes connections among the sockets. The parent keeps
them open as well, so that connections to a process that has ended wait for its successor. The parent does nothing else:
it writes nothing and computes nothing, so that nothing can block it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

_ANSWER_SECONDS = 1.0  # for another process to report its state
_YOUNG = 10.0  # seconds; a process that ends so soon would probably end again
_PAUSE = 2.0  # seconds before it is restarted
_LAST_SECONDS = 5.0  # after the grace period, until processes that still run are killed


class Family:
    """The parent process, which keeps the others running."""

    def __init__(self, count: int, work: Callable[[int, int | None], None], grace: float) -> None:
        """Store the arguments; `run` starts the processes.

        Args:
            count: Number of processes.
            work: Function that a process runs; takes its number from 0, and the exit status of its predecessor or None.
            grace: Seconds that a process may take to end.
        """
        self._count, self._work, self._grace = count, work, grace
        self._children: dict[int, tuple[int, float]] = {}
        """Number and start time of each process, by its id."""
        self._stopping = False

    def run(self) -> None:
        """Keep the processes running until a signal arrives, and wait for their end."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        for number in range(self._count):
            self._fork(number, None)
        while self._children:
            child, status = os.wait()
            number, begin = self._children.pop(child)
            if not self._stopping and time.monotonic() - begin < _YOUNG:
                time.sleep(_PAUSE)
            if not self._stopping:
                self._fork(number, os.waitstatus_to_exitcode(status))
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _fork(self, number: int, ended: int | None) -> None:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                # A terminal sends SIGINT to all processes; the parent turns it into SIGTERM.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                self._work(number, ended)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)  # without the cleanup, which is up to the parent
        self._children[child] = number, time.monotonic()
        if self._stopping:  # the signal arrived before the child was registered
            self._tell(signal.SIGTERM)

    def _stop(self, *_: object) -> None:
        if not self._stopping:
            self._stopping = True
            signal.setitimer(signal.ITIMER_REAL, self._grace + _LAST_SECONDS)
        self._tell(signal.SIGTERM)

    def _kill(self, *_: object) -> None:
        self._tell(signal.SIGKILL)

    def _tell(self, number: int) -> None:
        for child in list(self._children):
            with suppress(ProcessLookupError):
                os.kill(child, number)


class Peers:
    """Queries of state between the processes, over Unix sockets."""

    def __init__(self, folder: Path, number: int, count: int, parent: int) -> None:
        """Store the location of the sockets.

        Args:
            folder: Folder with a socket of each process.
            number: Number of this process, from 0.
            count: Number of processes.
            parent: File descriptor of the end of a pipe that is closed when the parent has ended.
        """
        self._folder, self.number, self.count, self._parent = folder, number, count, parent

    @asynccontextmanager
    async def answering(self, tell: Callable[[], dict[str, Any]]) -> AsyncIterator[None]:
        """Answer the others with the result of `tell`, and stop this process when the parent has ended."""
        loop = asyncio.get_running_loop()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(json.dumps(tell()).encode())
            writer.close()

        def orphaned() -> None:
            loop.remove_reader(self._parent)
            os.kill(os.getpid(), signal.SIGTERM)

        path = self._folder / str(self.number)
        path.unlink(missing_ok=True)  # left by the predecessor of this process
        async with await asyncio.start_unix_server(answer, path):
            loop.add_reader(self._parent, orphaned)
            try:
                yield
            finally:
                loop.remove_reader(self._parent)

    async def ask(self) -> dict[int, dict[str, Any] | None]:
        """Return the state of each other process by its number; None if it does not answer."""
        others = [number for number in range(self.count) if number != self.number]
        return dict(zip(others, await asyncio.gather(*map(self._ask, others)), strict=True))

    async def _ask(self, number: int) -> dict[str, Any] | None:
        async def said() -> Any:
            reader, writer = await asyncio.open_unix_connection(self._folder / str(number))
            try:
                return json.loads(await reader.read())
            finally:
                writer.close()

        try:
            return dict(await asyncio.wait_for(said(), _ANSWER_SECONDS))
        except (OSError, ValueError, TimeoutError, asyncio.TimeoutError):
            return None


_LEAST = ("_created", "process_start_time_seconds")  # ends of the names of metrics whose minimum is taken
_MOST = ("process_max_fds", "python_info")  # metrics whose maximum is taken


def summed(texts: Sequence[str]) -> str:
    """Return the metrics of several processes, each in the format of Prometheus, merged into one text."""
    families: dict[str, tuple[dict[str, None], dict[str, float]]] = {}
    for text in texts:
        heads, samples = families.setdefault("", ({}, {}))
        for line in text.splitlines():
            if line.startswith("# HELP "):
                heads, samples = families.setdefault(line.split(" ", 3)[2], ({}, {}))
            if line.startswith("#"):
                heads[line] = None
                continue
            name, _, value = line.rpartition(" ")
            samples[name] = _joined(name, samples.get(name), float(value))
    lines = []
    for heads, samples in families.values():
        lines += [*heads, *(f"{name} {value!r}" for name, value in samples.items())]
    return "\n".join(lines) + "\n"


def _joined(name: str, before: float | None, value: float) -> float:
    family = name.partition("{")[0]
    if before is None:
        return value
    if family.endswith(_LEAST):
        return min(before, value)
    return max(before, value) if family in _MOST else before + value
