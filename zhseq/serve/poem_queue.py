"""One bounded queue of poems: a thread of its own, so that poems never hold up the tagging."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

from zhseq.serve.errors import busy

Work = Callable[[], Iterator[bytes]]
"""Yields the parts of an answer as they are made."""
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


class PoemQueue:
    """Does one piece of work after the other in a thread. Made and used in one event loop."""

    def __init__(self, limit: int) -> None:
        """Start the thread; `limit` is how many requests may wait."""
        self._limit = limit
        self._waiting: deque[tuple[Work, Answer]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="poems", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Answer:
        """Put work into the queue.

        Raises:
            ApiError: The queue is full.
        """
        answer = Answer()
        with self._changed:
            if self._stopped or len(self._waiting) >= self._limit:
                raise busy(_SECONDS * len(self._waiting))
            self._waiting.append((work, answer))
            self._changed.notify()
        return answer

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def stop(self, seconds: float) -> bool:
        """Take no more work, wait up to so long for the thread to end, and return whether it did."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                work, answer = self._waiting.popleft()
            self._do(work, answer)

    def _do(self, work: Work, answer: Answer) -> None:
        end: Exception | None = None
        try:
            if not answer.cancelled:
                for part in work():
                    self._put(answer, part)
                    if answer.cancelled or self._stopped:
                        break
        except Exception as error:
            end = error
        self._put(answer, end)

    def _put(self, answer: Answer, part: bytes | Exception | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits
            self._loop.call_soon_threadsafe(answer.parts.put_nowait, part)
