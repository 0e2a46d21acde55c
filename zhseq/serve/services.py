"""What the endpoints share: the models, their queues, the settings, the counters."""

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


_LAST_SECONDS = 1.0  # for threads to end; who waited for them got an answer before, or none
_Stuck = tuple[str, "int | None"]
"""A queue, and the seconds for which it has stood still; None: a thread of it has ended."""
_BATCHES_TO_RELEASE = 128


@dataclass
class Services:
    """Models and queues of one running service."""

    settings: Settings
    tagger: Tagger
    poet: Poet
    handbook: Handbook | None = None
    """What verse is looked up in; None: the poet comes without rhymes and tunes."""
    metrics: Metrics = field(default_factory=Metrics)
    peers: Peers | None = None
    """The other processes of the service."""
    _batches: Iterator[int] = field(default_factory=lambda: count(1), init=False)
    ended: bool = field(default=True, init=False)
    """Whether the threads have ended with the queues."""
    tags: TagQueue = field(init=False)
    poems: Lane = field(init=False)
    """Where poems are written."""
    lookups: Lane = field(init=False)
    """Where poems are judged, one place of them is mended and verse looked up, which takes little and does not wait for
    writing."""
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
        """Return why requests may go unanswered, or None: a thread that ended, a queue that stands still."""
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
        """Return what other processes ask for: metrics, and the queue that is stuck, or None."""
        return {"metrics": self.metrics.render().decode(), "stuck": self._stuck()}

    async def trouble_of_all(self) -> Message | None:
        """Return the trouble of this process or of another, or None."""
        found = self.trouble()
        if found is not None or self.peers is None:
            return found
        for number, told in (await self.peers.ask()).items():
            if told is None:
                return Message(
                    "process_silent",
                    "Process {process} does not answer; if that goes on, restart.",
                    {"process": number + 1},
                )
            if told["stuck"] is not None:
                return _say(told["stuck"])
        return None

    async def metrics_of_all(self) -> bytes:
        """Return the metrics of this process and of the others, summed, as text."""
        own = self.metrics.render()
        if self.peers is None:
            return own
        others = (await self.peers.ask()).values()
        return summed([own.decode(), *(told["metrics"] for told in others if told is not None)]).encode()

    async def corpora(self) -> pyarrow.Table:
        """Return all poems of the corpora, mapped at the first call.

        Raises:
            ApiError: They are not there.
        """
        if self._corpora is None:
            try:
                self._corpora = await anyio.to_thread.run_sync(_map_poems, abandon_on_cancel=True)
            except CorpusError:
                message = Message("no_corpora", "this service has no corpora of verse in which lines could be found")
                raise ApiError(422, message) from None
        return self._corpora

    def _count_batch(self, texts: int, characters: int) -> None:
        self.metrics.count_batch(texts, characters)
        if next(self._batches) % _BATCHES_TO_RELEASE == 0:
            release_memory()  # of tensors of all sizes holes stay behind, which would grow for ever


def _map_poems() -> pyarrow.Table:
    return map_poems(build=False)  # to merge them takes minutes, which no request may ask for


def _say(stuck: _Stuck | None) -> Message | None:
    if stuck is None:
        return None
    queue, seconds = stuck
    if seconds is None:
        return Message("thread_ended", "A thread of the queue {queue} has ended; restart.", {"queue": queue})
    return Message(
        "queue_still",
        "The queue {queue} has not moved for {seconds} seconds; if that goes on, restart.",
        {"queue": queue, "seconds": seconds},
    )


def services(request: Request) -> Services:
    """Return the services behind a request."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found
