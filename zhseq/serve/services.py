"""What the endpoints share: the models, their queues, the settings, the counters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from starlette.requests import Request

from zhseq import memory
from zhseq.errors import Message
from zhseq.serve.metrics import Metrics
from zhseq.serve.queues import Lane, TagQueue
from zhseq.serve.settings import Settings

if TYPE_CHECKING:
    from zhseq.poetry.poet import Poet
    from zhseq.tagging.tagger import Tagger


_LAST_SECONDS = 1.0  # for threads to end; who waited for them got an answer before, or none
_BATCHES_TO_RELEASE = 128


@dataclass
class Services:
    """Models and queues of one running service."""

    settings: Settings
    tagger: Tagger
    poet: Poet
    metrics: Metrics = field(default_factory=Metrics)
    _batches: Iterator[int] = field(default_factory=lambda: count(1), init=False)
    ended: bool = field(default=True, init=False)
    """Whether the threads have ended with the queues."""
    tags: TagQueue = field(init=False)
    poems: Lane = field(init=False)
    """Where poems are written."""
    lookups: Lane = field(init=False)
    """Where poems are judged and one place of them mended, which takes little and does not wait for writing."""

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
        for name in ("tags", "poems", "lookups"):
            queue: TagQueue | Lane = getattr(self, name)
            if not queue.is_alive:
                return Message("thread_ended", "A thread of the queue {queue} has ended; restart.", {"queue": name})
            seconds = queue.seconds_still
            if seconds > self.settings.timeout:
                return Message(
                    "queue_still",
                    "The queue {queue} has not moved for {seconds} seconds; if that goes on, restart.",
                    {"queue": name, "seconds": round(seconds)},
                )
        return None

    def _count_batch(self, texts: int, characters: int) -> None:
        self.metrics.count_batch(texts, characters)
        if next(self._batches) % _BATCHES_TO_RELEASE == 0:
            memory.release()  # of tensors of all sizes holes stay behind, which would grow for ever


def services(request: Request) -> Services:
    """Return the services behind a request."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found
