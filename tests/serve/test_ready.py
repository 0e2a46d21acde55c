from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.serve.conftest import Serve
from tests.serve.fakes import FakePoet, FakeTagger


def state(client: TestClient) -> tuple[int, str, str]:
    """Return what /ready says: status, code and queue."""
    response = client.get("/ready")
    error = response.json().get("error", {"code": "", "values": {"queue": ""}})
    return response.status_code, error["code"], error["values"]["queue"]


def ask_until_it_stands_still(client: TestClient, path: str, text: str) -> None:
    for _ in range(50):
        assert client.post(path, json={"text": text}).status_code == 503
        if state(client)[0] != 200:
            return


def wait_until_ready(client: TestClient) -> None:
    while state(client)[0] != 200:
        pass


@pytest.mark.parametrize("queue", ["tags", "poems", "lookups"])
def test_a_thread_that_ended(client: TestClient, queue: str) -> None:
    assert state(client) == (200, "", "")
    assert getattr(client.app.state.services, queue).stop(10)  # type: ignore[attr-defined]
    assert state(client) == (503, "thread_ended", queue)
    assert client.get("/health").is_success


def test_texts_that_stand_still(serve: Serve, tagger: FakeTagger) -> None:
    client = serve(timeout=0.1, threads=1)
    tagger.go.clear()
    ask_until_it_stands_still(client, "/v1/tag", "北京")
    assert state(client) == (503, "queue_still", "tags")
    tagger.go.set()
    wait_until_ready(client)


class StuckPoet(FakePoet):
    """Judges no poem before it may."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def check(self, text: str, **rules: str) -> Iterator[None]:
        assert self.go.wait(30)
        raise ValueError(text)


def test_a_lane_that_stands_still(serve: Serve) -> None:
    poet = StuckPoet()
    client = serve(poet, timeout=0.1)
    ask_until_it_stands_still(client, "/v1/poems/check", "春眠不觉晓")
    assert state(client) == (503, "queue_still", "lookups")
    poet.go.set()
    wait_until_ready(client)
