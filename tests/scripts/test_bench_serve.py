"""The benchmark and the soak test of the service, against a service with fake models."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module", autouse=True)
def _import_from_scripts() -> Iterator[None]:
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import bench_serve

    return bench_serve


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


def test_lines_are_as_long_as_they_should_be(bench: ModuleType) -> None:
    lines = bench.make_lines(50)
    assert {len(line) for line in lines} == {bench.LINE}
    assert len(set(lines)) > 10
    assert lines == bench.make_lines(50)


def test_the_benchmark_prints_its_table(
    bench: ModuleType, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.serve.fakes import FakeTagger

    started: list[list[str]] = []

    @contextmanager
    def running(arguments: list[str]) -> Iterator[tuple[int, int]]:
        started.append(arguments)
        yield port, os.getpid()

    monkeypatch.setattr(bench, "running_service", running)
    monkeypatch.setattr("zhseq.tagging.tagger.Tagger", FakeTagger)
    options = [
        "--texts",
        "1",
        "3",
        "--rounds",
        "1",
        "--seconds",
        "0.2",
        "--latency-seconds",
        "0.5",
        "--library-threads",
        "1",
        "--backend",
        "native",
        "torch",
        "--processes",
        "1",
        "2",
    ]
    assert bench.main(options) == 0
    kinds = [(name, processes) for name in ("native", "torch") for processes in "12"]
    assert started == [["--threads", "2", "--backend", name, "--processes", number] for name, number in kinds]
    first, *lines = capsys.readouterr().out.splitlines()
    library, titles, rows, gains = lines[:2], lines[2], lines[3:11], lines[11:]
    assert first.startswith("on ")
    assert [line.partition(":")[0] for line in library] == [
        f"library, {name}, batched, 1 thread" for name in ("native", "torch")
    ]
    assert "p99 ms" in titles
    assert [row[:42].strip() for row in rows] == [
        f"{name}, {texts} x 40 characters{', 2 processes' * (number == '2')}"
        for name, number in kinds
        for texts in (1, 3)
    ]
    assert [gain.partition(":")[0] for gain in gains] == [
        f"{name}, {texts} x 40 characters, 2 processes over 1" for name in ("native", "torch") for texts in (1, 3)
    ]
    assert all(float(gain.partition(": ")[2].split()[0]) > 0 for gain in gains)
    for row in rows:
        rate, ratio, share, p50, p99, longest, timed = row[42:].replace(",", "").split()
        assert float(rate) > 0
        assert float(ratio) > 0
        assert float(share) > 0 or not Path("/proc/self/task").is_dir()
        assert 0 < float(p50) <= float(p99) <= float(longest)
        assert int(timed) > 1


def test_the_soak_test_passes_and_shows_what_came(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    import soak

    # The fake poet writes nothing, so poems are left out.
    kinds = tuple(kind for kind in soak.KINDS if "poem" not in kind.name and kind.name not in _OF_POEMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(soak, "KINDS", kinds)
        patch.setattr(soak, "MOST_GROWTH", 1.0)  # a process that has just begun still grows
        status = soak.main(["--requests", "400", "--port", str(port)])
    shown = capsys.readouterr().out
    assert "FAULT" not in shown
    assert "400 requests" in shown
    assert status == 0


def test_the_soak_test_can_have_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    import soak

    @contextmanager
    def running(arguments: list[str]) -> Iterator[tuple[int, int]]:
        assert arguments == ["--processes", "2"]
        yield 1, 2

    async def nothing(port: int, report: object, *_: object) -> None:
        report.memory += [(0.35, 1.0), (0.95, 1.0)]  # type: ignore[attr-defined]

    monkeypatch.setattr(soak, "running_service", running)
    monkeypatch.setattr(soak, "soak", nothing)
    assert soak.main(["--processes", "2"]) == 0


_OF_POEMS = {"check", "suggest", "impossible wishes"}


def test_the_soak_test_fails_where_it_should() -> None:
    import soak

    report = soak.Report(10, memory=[(0.1, 900.0), (0.35, 1000.0), (0.95, 1049.0), (1.0, 1049.0)])
    report.answers["health", 200] += 10
    assert report.show() == 0
    report.memory[2:] = [(0.95, 1051.0), (1.0, 1051.0)]
    assert report.growth() == pytest.approx(0.051)
    assert report.show() == 1
    report.memory[2:] = [(0.95, 1000.0)]
    assert report.show() == 0
    report.faults["health: status 500, expected (200,)"] += 1
    assert report.show() == 1


def test_an_error_has_one_shape() -> None:
    import soak

    from zhseq.serve.http import busy, error_body, to_json

    assert soak._is_error(to_json(error_body(busy(2).message)))
    bare = b'{"error": {"code": "a", "message": "b"}}'
    for body in (b"", b"Internal Server Error", b"{}", b'{"error": "x"}', bare, b"[]"):
        assert not soak._is_error(body)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells it so")
def test_processor_time_is_that_of_a_process_and_of_those_it_started(bench: ModuleType) -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    found = bench.processor_seconds(process.pid)
    process.communicate(b"\n", timeout=30)
    assert 0.25 < found < 5
    assert math.isnan(bench.processor_seconds(process.pid))  # it has ended
