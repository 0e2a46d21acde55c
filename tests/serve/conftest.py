"""Services with fake models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serve.fakes import FakePoet, FakeTagger
from zhseq.serve.app import create_app
from zhseq.serve.settings import Settings

Serve = Callable[..., TestClient]
Lines = list[dict[str, object]]


@pytest.fixture
def tagger() -> FakeTagger:
    return FakeTagger()


@pytest.fixture
def serve(tagger: FakeTagger) -> Iterator[Serve]:
    """Start a service with some settings and return a client of it."""
    with ExitStack() as stack:

        def start(poet: Any = None, **settings: Any) -> TestClient:
            app = create_app(Settings(**{"grace": 5.0, **settings}), tagger=tagger, poet=poet or FakePoet())
            return stack.enter_context(TestClient(app, base_url="http://localhost"))

        yield start
        tagger.go.set()


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged, as the handler writes it."""
    found: Lines = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.__dict__["fields"])

    logger, handler = logging.getLogger("zhseq.serve"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)
