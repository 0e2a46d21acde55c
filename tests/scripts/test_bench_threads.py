"""The measuring of what the default threads cost beside a busy neighbour."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import bench_threads


def test_the_ratio_is_that_of_the_medians() -> None:
    beside = [{"a": 3.0, "b": 1.0}, {"a": 9.0, "b": 1.0}, {"a": 2.0, "b": 1.0}]
    alone = [{"a": 2.0, "b": 4.0}, {"a": 1.0, "b": 4.0}, {"a": 8.0, "b": 4.0}]
    assert bench_threads.ratios(beside, alone) == {"a": 1.5, "b": 0.25}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_neighbour_computes_on_one_core_and_ends() -> None:
    with bench_threads.busy_neighbour() as process:
        stat = Path(f"/proc/{process}/stat")
        assert len(os.sched_getaffinity(process)) == 1

        def ticks() -> int:
            return int(stat.read_text().rsplit(")", 1)[1].split()[11])

        before, end = ticks(), time.monotonic() + 30
        while ticks() < before + 5 and time.monotonic() < end:
            time.sleep(0.05)
        assert ticks() >= before + 5
    assert not stat.exists()


def test_each_job_is_timed_in_both_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert bench_threads.main(["--rounds", "1"]) == 0
    assert "OMP_NUM_THREADS" not in os.environ
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("on ")
    assert [row.split(":")[0] for row in rows] == ["many lines", "one line", "a poem"]
    assert all(float(row.split(": ")[1].split()[0]) > 0 for row in rows)


def test_what_is_timed_tags_and_writes() -> None:
    jobs: dict[str, Callable[[], object]] = bench_threads.make_jobs(1, "auto")
    assert len(jobs["many lines"]()) == 400  # type: ignore[arg-type]
    assert str(jobs["one line"]()[0]).startswith("[王/nr")  # type: ignore[index]
    assert str(jobs["a poem"]()).startswith("春")
