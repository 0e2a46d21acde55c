"""The script that times how long clients hold each other up, against a service with fake models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    sys.path.insert(0, str(SCRIPTS))
    import bench_latency

    yield bench_latency
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serve.fake_server", "--port", "0"],
        cwd=SCRIPTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield int(process.stdout.readline().rpartition(":")[2])
    process.terminate()
    process.communicate(timeout=30)


QUICK = ["--seconds", "0.1", "--load-seconds", "0.1", "--wait", "0.05", "--repeats", "1"]


def test_it_prints_a_table_and_says_what_broke_its_bound(
    bench: ModuleType, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = bench._json("/v1/tag", {"text": "300"})  # which the fake tagger takes for milliseconds
    monkeypatch.setattr(bench, "CHECK", bench.LINE)  # the fake poet judges nothing
    monkeypatch.setattr(bench, "heavy", lambda: {"slow": slow})
    monkeypatch.setattr(bench, "MOST_BLOCKED", 0.1)
    assert bench.main([*QUICK, "--port", str(port)]) == 1
    first, titles, *rows, last = capsys.readouterr().out.splitlines()
    assert first.startswith("on ")
    assert titles.split()[1:4] == ["p50", "p99", "longest"]
    assert [row[:46].strip() for row in rows] == [
        "check, alone",
        "a line, alone",
        "check beside: slow",
        "check beside 16 writers",
        "a line beside 2 x 98,000 characters",
        "free after leaving: slow",
    ]
    assert rows[2].endswith("longest 100, BROKEN")
    assert not rows[0].strip().endswith("BROKEN")
    assert last.endswith("bounds broken")


def test_what_is_refused_counts_as_never_answered(bench: ModuleType, port: int) -> None:
    async def measure() -> object:
        async with bench.timed(port, {"no": b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"}) as found:
            await asyncio.sleep(0.05)
        return found["no"].at(0.0)

    assert asyncio.run(measure()) == bench._PATIENCE


def test_the_heavy_requests_are_what_the_service_takes(bench: ModuleType) -> None:
    from pydantic import ValidationError

    from zhseq.serve import schemas

    models = {
        b"/v1/tag": schemas.TagRequest,
        b"/v1/poems": schemas.PoemRequest,
        b"/v1/poems/check": schemas.ReviewRequest,
        b"/v1/poems/suggest": schemas.SuggestRequest,
        b"/v1/poems/rewrite": schemas.RewriteRequest,
        b"/v1/poems/couplet": schemas.CoupletRequest,
    }
    refused = []
    for name, request in bench.heavy().items():
        head, _, body = request.partition(b"\r\n\r\n")
        assert len(body) <= 2**20, name
        try:
            models[head.split()[1]].model_validate_json(body)
        except ValidationError:
            refused.append(name)
    assert refused == ["half a million faults", "100,000 unknown fields", "a megabyte cut off"]
