"""What the default threads cost beside a busy neighbour: the time with them, over that of one thread that is alone.

    python scripts/bench_threads.py [--rounds 7] [--backend torch]

Two processes tag many lines, tag one line again and again, and write a small poem: one as it is by default, while a
neighbour keeps one core busy, and one with a single thread, while the neighbour sleeps. They do so in turns, round
after round. Times are those of the clock, because waiting is what is measured; the ratio is that of the medians. What
one thread takes beside the neighbour is told, too: on a machine that others use at the same time, both are greater.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from zhseq.cli import run_main
from zhseq.device import BACKENDS, processor

LINE = "王小明昨天在北京大学图书馆读书，李华和他的老师从上海坐火车来看望他，大家都很高兴。"
_LINES = 400  # that are tagged together
_SINGLE = 50  # times that one line is tagged alone
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
_SPAWN = multiprocessing.get_context("spawn")


def make_jobs(threads: int | None, backend: str) -> dict[str, Callable[[], object]]:
    """Load the models with so many threads, None for the default; return what is timed, by its name."""
    from zhseq import Poet, Tagger

    tagger = Tagger.load(threads=threads, backend=backend)
    poet = Poet.load(threads=threads, backend=backend)
    return {
        "many lines": lambda: list(tagger.stream([LINE] * _LINES)),
        "one line": lambda: [tagger(LINE) for _ in range(_SINGLE)],
        "a poem": lambda: poet.write(start="春", form="五绝"),
    }


def serve(pipe: Connection, threads: int | None, backend: str) -> None:
    """Answer each `None` with the seconds that every job took, until there are no more."""
    jobs = make_jobs(threads, backend)
    for job in jobs.values():
        job()
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        seconds = {}
        for name, job in jobs.items():
            begin = time.perf_counter()
            job()
            seconds[name] = time.perf_counter() - begin
        pipe.send(seconds)


def keep_busy(started: Event) -> None:
    """Compute for ever, on one core where the system can say so, and tell when that begins."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    started.set()
    while True:
        pass


@contextmanager
def busy_neighbour() -> Iterator[int]:
    """Keep one core busy; gives the number of the process."""
    started = _SPAWN.Event()
    neighbour = _SPAWN.Process(target=keep_busy, args=(started,), daemon=True)
    neighbour.start()
    assert neighbour.pid is not None
    try:
        if not started.wait(60):
            raise TimeoutError("the process that was to keep a core busy has not begun after a minute")
        yield neighbour.pid
    finally:
        neighbour.kill()
        neighbour.join()


@contextmanager
def worker(threads: int | None, backend: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Start a process that has loaded the models; gives what asks it for the seconds of each job."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=serve, args=(theirs, threads, backend), daemon=True)
    process.start()
    theirs.close()

    def ask() -> dict[str, float]:
        ours.send(None)
        answer: dict[str, float] = ours.recv()
        return answer

    try:
        yield ask
    finally:
        ours.close()
        process.join()


def ratios(beside: Sequence[dict[str, float]], alone: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median seconds of each job beside a neighbour over those alone."""
    return {
        name: statistics.median(turn[name] for turn in beside) / statistics.median(turn[name] for turn in alone)
        for name in alone[0]
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--backend", default="auto", choices=BACKENDS)
    options = parser.parse_args(arguments)
    for name in _VARIABLES:  # the default is that of a user who has chosen nothing
        os.environ.pop(name, None)
    beside: list[dict[str, float]] = []
    crowded: list[dict[str, float]] = []
    alone: list[dict[str, float]] = []
    with ExitStack() as stack:
        by_default = stack.enter_context(worker(None, options.backend))
        with_one = stack.enter_context(worker(1, options.backend))
        for _ in range(options.rounds):
            alone.append(with_one())
            with busy_neighbour():
                beside.append(by_default())
                crowded.append(with_one())
    print(f"on {processor()}, {os.cpu_count()} cores, by {options.backend}")
    one = ratios(crowded, alone)
    for name, ratio in ratios(beside, alone).items():
        print(f"{name}: {ratio:.2f} x the time of one thread alone ({one[name]:.2f} x with one thread beside it)")
    return 0


if __name__ == "__main__":
    run_main(main)
