"""Metrics in the format of Prometheus, and a log that never blocks the service, even if nothing reads it."""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

PIPE_BUF = getattr(select, "PIPE_BUF", 512)
"""Bytes that are written to a pipe atomically."""
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_CHARACTERS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 32768)


class Metrics:
    """The metrics of one process of the service."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        labels = ("method", "path")
        self._found: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter("zhseq_requests", "Requests answered.", (*labels, "status"), registry=registry)
        self._seconds = Histogram(
            "zhseq_request_seconds", "Duration of requests in seconds.", labels, buckets=_SECONDS, registry=registry
        )
        self._characters = Counter("zhseq_characters", "Characters tagged.", registry=registry)
        self._texts = Histogram("zhseq_batch_texts", "Texts per batch.", buckets=_TEXTS, registry=registry)
        self._batch = Histogram(
            "zhseq_batch_characters", "Characters per batch.", buckets=_CHARACTERS, registry=registry
        )

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answered request and its duration in seconds."""
        requests, times = self._counters(method, path, status)
        requests.inc()
        times.observe(seconds)

    def _counters(self, method: str, path: str, status: int) -> tuple[Counter, Histogram]:
        """Return the counter of such requests and the histogram of their durations, from a cache."""
        which = (method, path, status)
        if which not in self._found:  # paths are those of routes, so there are few
            self._found[which] = self._requests.labels(method, path, str(status)), self._seconds.labels(method, path)
        return self._found[which]

    def count_batch(self, texts: int, characters: int) -> None:
        """Count a batch of texts that were tagged together."""
        self._texts.observe(texts)
        self._batch.observe(characters)
        self._characters.inc(characters)

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is computed when the metrics are requested."""
        Gauge(name, description, registry=self._registry).set_function(value)

    def render(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)


MOST_LINES = 4_096
"""Lines that may wait to be written; more are dropped and counted."""
_PAUSE = 0.02  # seconds for which lines are collected before a write: waking the thread for each would slow the service
_LOGGER = logging.getLogger("zhseq.serve")


class LineWriter:
    """Writes lines in order in a thread; adding a line never blocks."""

    def __init__(self, write: Callable[[bytes], object], most: int = MOST_LINES) -> None:
        """Start the thread.

        Args:
            write: Writes some complete lines; it may block, and if it raises an OSError, they are dropped.
            most: Maximum number of waiting lines.
        """
        self._write = write
        self._most = most
        self._lines: deque[str] = deque()
        self._there = threading.Event()
        self._ended = False
        self._counting = threading.Lock()
        self._told = 0  # dropped lines that the log has reported
        self.dropped = 0
        """Lines that were never written."""
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def add(self, line: str) -> None:
        """Add a line to be written soon, or drop it if too many wait."""
        if len(self._lines) >= self._most:
            self._drop(1)
            return
        self._lines.append(line)
        if not self._there.is_set():
            self._there.set()

    def end(self, seconds: float) -> None:
        """Wait at most `seconds` for the lines to be written, and end the thread."""
        self._ended = True
        self._there.set()
        self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            self._there.wait()
            if not self._ended:
                time.sleep(_PAUSE)
            self._there.clear()
            ended = self._ended  # read after the event is cleared, or an `end` just before would be missed
            self._write_all()
            if ended:
                return

    def _write_all(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        dropped = self.dropped
        if dropped > self._told:
            lines.append(_line(time.time(), "warning", {"event": "dropped", "lines": dropped - self._told}))
        if not lines:
            return
        try:
            self._write("".join(f"{line}\n" for line in lines).encode())
            self._told = dropped
        except OSError:
            self._drop(len(lines))

    def _drop(self, number: int) -> None:
        with self._counting:
            self.dropped += number


class _JsonLines(logging.Handler):
    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self._lines = lines

    def take(self, level: int, fields: dict[str, Any]) -> None:
        """Write the line of an event of the service."""
        self._lines.add(_line(time.time(), logging.getLevelName(level).lower(), fields))

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", None)
        if fields is None:  # from a library: its message, never its exception, which may contain a user's text
            fields = {"event": "library", "logger": record.name, "message": record.getMessage().strip()}
        self._lines.add(_line(record.created, record.levelname.lower(), fields))


@lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _line(seconds: float, level: str, fields: dict[str, Any]) -> str:
    parts = [f'{{"time": "{_stamp(int(seconds))}.{int(seconds % 1 * 1000):03d}Z", "level": "{level}"']
    for name, value in fields.items():
        kind = type(value)
        text = _quoted(value) if kind is str else f"{value!r}" if kind is int or kind is float else json.dumps(value)
        parts.append(f'"{name}": {text}')
    return ", ".join(parts) + "}"


def log(event: str, **fields: Any) -> None:
    """Write one line about an event. `fields` must contain no user input."""
    level = {"error": logging.ERROR, "warning": logging.WARNING}.get(event, logging.INFO)
    if not _LOGGER.isEnabledFor(level):
        return
    match _LOGGER.handlers:
        case [_JsonLines() as ours] if not _LOGGER.propagate:  # the only handler, which needs no record
            ours.take(level, {"event": event, **fields})
        case _:
            _LOGGER.log(level, event, extra={"fields": {"event": event, **fields}})


def start_logging() -> LineWriter:
    """Log to standard error, including warnings of uvicorn and errors of asyncio; return the writer of the lines."""
    lines = LineWriter(_to_standard_error)
    handler = _JsonLines(lines)
    # The lines do not contain these, and the process id costs a system call for each record.
    logging.logProcesses = logging.logThreads = logging.logMultiprocessing = False
    for name, level in (("zhseq.serve", logging.INFO), ("uvicorn", logging.WARNING), ("asyncio", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    return lines


def _to_standard_error(data: bytes) -> None:
    """Write without Python's buffer: a thread that blocked with its lock held would keep the process from ending."""
    if sys.stderr is None:
        raise OSError("standard error is closed")
    number = sys.stderr.fileno()
    while data:
        # Only so much is written atomically: lines of other processes may come between two writes.
        whole = data.rfind(b"\n", 0, PIPE_BUF) + 1
        data = data[os.write(number, data[: whole or PIPE_BUF]) :]
