"""What is counted, in the words of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_CHARACTERS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 32768)


class Metrics:
    """The counters of one service."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        labels = ("method", "path")
        self._requests = Counter(
            "zhseq_requests", "Requests that were answered.", (*labels, "status"), registry=registry
        )
        self._seconds = Histogram(
            "zhseq_request_seconds", "Time from request to answer.", labels, buckets=_SECONDS, registry=registry
        )
        self._characters = Counter("zhseq_characters", "Characters that were tagged.", registry=registry)
        self._texts = Histogram("zhseq_batch_texts", "Texts tagged together.", buckets=_TEXTS, registry=registry)
        self._batch = Histogram(
            "zhseq_batch_characters", "Characters tagged together.", buckets=_CHARACTERS, registry=registry
        )

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(method, path).observe(seconds)

    def count_batch(self, texts: int, characters: int) -> None:
        """Count what was tagged together."""
        self._texts.observe(texts)
        self._batch.observe(characters)
        self._characters.inc(characters)

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Show a number that is asked for when the metrics are."""
        Gauge(name, description, registry=self._registry).set_function(value)

    def render(self) -> bytes:
        """Return all of it as text."""
        return generate_latest(self._registry)
