"""State shared by the endpoints: models, queues, settings, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from starlette.requests import Request

from zhseq.corpus.poems import map_poems
from zhseq.device import release_memory
from zhseq.errors import CorpusError, Message
from zhseq.serve.http import ApiError
from zhseq.serve.metrics import Metrics
from zhseq.serve.processes import Peers, summed
from zhseq.serve.queues import Lane, TagQueue
from zhseq.serve.settings import Settings

if TYPE_CHECKING:
    import pyarrow

    from zhseq.poetry.lookup import Handbook
    from zhseq.poetry.poet import Poet
    from zhseq.tagging.tagger import Tagger


_LAST_SECONDS = 1.0  # for threads to end; by now no request waits for them
_Stuck = tuple[str, "int | None"]
"""Name of a queue, and the seconds for which it has not moved; None: one of its threads has ended."""
_BATCHES_TO_RELEASE = 128


@dataclass
class Services:
    """Models and queues of one running service."""

    settings: Settings
    tagger: Tagger
    poet: Poet
    handbook: Handbook | None = None
    """Verse reference; None: the poet has no rhymes and tunes."""
    metrics: Metrics = field(default_factory=Metrics)
    peers: Peers | None = None
    """The other processes of the service; None: there are none."""
    _batches: Iterator[int] = field(default_factory=lambda: count(1), init=False)
    ended: bool = field(default=True, init=False)
    """Whether all threads ended when the queues were stopped."""
    tags: TagQueue = field(init=False)
    poems: Lane = field(init=False)
    """Lane in which poems are written."""
    lookups: Lane = field(init=False)
    """Lane of reviews, suggestions for one place and look-ups, which are short and do not wait for the other lane."""
    _corpora: pyarrow.Table | None = field(default=None, init=False)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the queues in the running event loop, and stop them at the end."""
        settings = self.settings
        self.tags = TagQueue(
            self.tagger,
            threads=settings.threads,
            limit=settings.queue_characters,
            on_batch=self._count_batch,
        )
        self.poems = Lane("poems", settings.queue_poems)
        self.lookups = Lane("lookups", settings.queue_poems)
        try:
            yield
        finally:
            ended = [queue.stop(_LAST_SECONDS) for queue in (self.tags, self.poems, self.lookups)]
            self.ended = all(ended)

    def trouble(self) -> Message | None:
        """Return why requests may not be answered (a thread has ended, a queue is stuck), or None."""
        return _say(self._stuck())

    def _stuck(self) -> _Stuck | None:
        for name in ("tags", "poems", "lookups"):
            queue: TagQueue | Lane = getattr(self, name)
            if not queue.is_alive:
                return name, None
            seconds = queue.seconds_still
            if seconds > self.settings.timeout:
                return name, round(seconds)
        return None

    def tell(self) -> dict[str, Any]:
        """Return the state that other processes ask for: the metrics, and the queue that is stuck or None."""
        return {"metrics": self.metrics.render().decode(), "stuck": self._stuck()}

    async def trouble_of_all(self) -> Message | None:
        """Return why requests to this process or another may not be answered, or None."""
        found = self.trouble()
        if found is not None or self.peers is None:
            return found
        for number, told in (await self.peers.ask()).items():
            if told is None:
                return Message(
                    "process_silent",
                    "Process {process} does not respond; if this persists, restart the service.",
                    {"process": number + 1},
                )
            if told["stuck"] is not None:
                return _say(told["stuck"])
        return None

    async def metrics_of_all(self) -> bytes:
        """Return the metrics of all processes, summed, as text."""
        own = self.metrics.render()
        if self.peers is None:
            return own
        others = (await self.peers.ask()).values()
        return summed([own.decode(), *(told["metrics"] for told in others if told is not None)]).encode()

    async def corpora(self) -> pyarrow.Table:
        """Return all poems of the corpora, memory-mapped at the first call.

        Raises:
            ApiError: The corpora are missing.
        """
        if self._corpora is None:
            try:
                self._corpora = await anyio.to_thread.run_sync(_map_poems, abandon_on_cancel=True)
            except CorpusError:
                message = Message("no_corpora", "this service has no poetry corpora to search")
                raise ApiError(422, message) from None
        return self._corpora

    def _count_batch(self, texts: int, characters: int) -> None:
        self.metrics.count_batch(texts, characters)
        if next(self._batches) % _BATCHES_TO_RELEASE == 0:
            release_memory()  # tensors of varying size fragment the heap, which would grow without bound


def _map_poems() -> pyarrow.Table:
    return map_poems(build=False)  # merging the corpora takes minutes, too long for a request


def _say(stuck: _Stuck | None) -> Message | None:
    if stuck is None:
        return None
    queue, seconds = stuck
    if seconds is None:
        return Message(
            "thread_ended", "A thread of the queue {queue} has ended; restart the service.", {"queue": queue}
        )
    return Message(
        "queue_still",
        "The queue {queue} has made no progress for {seconds} seconds; if this persists, restart the service.",
        {"queue": queue, "seconds": seconds},
    )


def services(request: Request) -> Services:
    """Return the services of the application that received a request."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found
