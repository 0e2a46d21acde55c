"""One JSON object a line on standard error. Nothing that a user sent is ever logged."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

_LOGGER = logging.getLogger("zhseq.serve")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        if fields is None:  # of a library: its message, never its exception, which may hold a user's text
            fields = {"event": "library", "logger": record.name, "message": record.getMessage().strip()}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return json.dumps({"time": f"{stamp}.{int(record.msecs):03d}Z", "level": record.levelname.lower(), **fields})


def log(event: str, **fields: Any) -> None:
    """Write one line about an event. `fields` must hold nothing that a user sent."""
    level = logging.ERROR if event == "error" else logging.INFO
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, event, extra={"fields": {"event": event, **fields}})


def start_logging() -> None:
    """Send the lines to standard error, with the warnings of the HTTP server among them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    # No line shows them, and the number of the process is a system call for each.
    logging.logProcesses = logging.logThreads = logging.logMultiprocessing = False
    for name, level in (("zhseq.serve", logging.INFO), ("uvicorn", logging.WARNING), ("asyncio", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
