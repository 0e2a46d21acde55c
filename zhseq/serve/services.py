"""What the endpoints share: the models, their queues, the settings, the counters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from zhseq.serve.metrics import Metrics
from zhseq.serve.poem_queue import PoemQueue
from zhseq.serve.settings import Settings
from zhseq.serve.tag_queue import TagQueue

if TYPE_CHECKING:
    from zhseq.poet import Poet
    from zhseq.tagger import Tagger


@dataclass
class Services:
    """Models and queues of one running service."""

    settings: Settings
    tagger: Tagger
    poet: Poet
    metrics: Metrics = field(default_factory=Metrics)
    tags: TagQueue = field(init=False)
    poems: PoemQueue = field(init=False)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the queues in the running event loop, and stop them at the end."""
        settings = self.settings
        self.tags = TagQueue(
            self.tagger,
            threads=settings.threads,
            limit=settings.queue_characters,
            on_batch=self.metrics.count_batch,
        )
        self.poems = PoemQueue(settings.queue_poems)
        try:
            yield
        finally:
            self.tags.stop(settings.grace)
            self.poems.stop(settings.grace)


def services(request: Request) -> Services:
    """Return the services behind a request."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found
