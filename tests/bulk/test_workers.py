from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bulk.jobs import Squares
from zhseq.bulk.workers import WorkerError, run_ordered
from zhseq.errors import InputError


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def test_results_come_in_order_whoever_is_late(tmp_path: Path) -> None:
    numbers = [3, *range(4, 40), 3, 5]
    results = list(run_ordered(Squares(tmp_path), numbers, 2))
    assert [square for square, _ in results] == [number**2 for number in numbers]
    assert len({process for _, process in results}) == 2


def test_work_that_a_process_died_over_is_done_again(tmp_path: Path) -> None:
    results = run_ordered(Squares(tmp_path), [4, 1, 5, 6, 7], 2)
    assert [square for square, _ in results] == [16, 1, 25, 36, 49]
    assert (tmp_path / "once").exists()


def test_a_process_killed_by_hand_is_replaced(tmp_path: Path) -> None:
    results = run_ordered(Squares(tmp_path), [4, *[3] * 6, 5], 2)
    assert next(results)[0] == 16
    victim = next(process for process in multiprocessing.active_children())
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    assert [square for square, _ in results] == [9] * 6 + [25]


def test_work_that_ends_every_process_is_given_up(tmp_path: Path) -> None:
    results = run_ordered(Squares(tmp_path), [4, 5, 0, 6], 2)
    with pytest.raises(WorkerError, match=r"^0: 3 processes ended while processing this piece .*killed by signal 9"):
        list(results)


def test_processes_that_cannot_start_are_given_up(tmp_path: Path) -> None:
    with pytest.raises(
        WorkerError, match=r"3 processes ended before they had loaded the model \(the last: killed by signal 9"
    ):
        list(run_ordered(Squares(tmp_path, dies_at_start=True), [4, 5], 2))


def test_errors_of_the_work_arrive_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^2 is wrong$"):
        list(run_ordered(Squares(tmp_path), [4, 2, 5], 2))
    with pytest.raises(WorkerError, match="unexpectedly: TypeError"):
        list(run_ordered(Squares(tmp_path), [4, "2", 5], 2))  # type: ignore[list-item]


def test_tasks_are_read_as_they_are_needed(tmp_path: Path) -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for taken in range(1, 1001):
            yield 3 if taken == 1 else taken + 3

    results = run_ordered(Squares(tmp_path), tasks(), 2)
    assert next(results)[0] == 9
    assert taken <= 20  # the first result was late, and the other process did not run away
    results.close()  # type: ignore[attr-defined]
    assert taken < 1000


def test_little_work_starts_few_processes(tmp_path: Path) -> None:
    assert [square for square, _ in run_ordered(Squares(tmp_path), [4], 8)] == [16]
    assert len(list(tmp_path.glob("*.started"))) == 1
    assert list(run_ordered(Squares(tmp_path), [], 8)) == []


def test_an_error_while_reading_ends_all(tmp_path: Path) -> None:
    def tasks() -> Iterator[int]:
        yield from (4, 5)
        raise InputError("wrong_line", "line 3 is wrong")

    begun = time.monotonic()
    with pytest.raises(InputError, match="line 3"):
        list(run_ordered(Squares(tmp_path), tasks(), 2))
    assert time.monotonic() - begun < 30
