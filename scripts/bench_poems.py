"""What a poem costs: `python scripts/bench_poems.py [--model DIR] [--backends native torch]`.

For each backend in turn, within one run, are measured: the time from the start of a cold process to the printed poem,
and the most memory that this process ever held; one quatrain alone in a process that has written before; and how many
quatrains of seven characters a second are written many at a time, in their form alone, and with the rules of tone and
rhyme where the model has them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from zhseq import Poet
from zhseq.device import BACKENDS, processor
from zhseq.poetry.poet import Request
from zhseq.poetry.request import Sampling

START, FORM, BATCH = "春", "七绝", 64


def main() -> None:
    """Measure, or measure what another process of this script was asked for, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="a model directory (default: the one that comes with zhseq)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each kind (default: 7)")
    parser.add_argument("--cores", type=int, default=1, help="processor cores to use (default: 1)")
    parser.add_argument("--backends", nargs="+", default=["native", "torch"], choices=BACKENDS[1:])
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    if options.answer:
        answer(Poet.load(options.model, backend=options.backends[0], threads=options.cores))
        return
    print(f"{processor()}, {options.cores} cores, Python {platform.python_version()}")
    found: dict[str, dict[str, list[float]]] = {backend: {} for backend in options.backends}
    for turn in range(options.rounds + 1):
        for backend in options.backends:
            for what, value in cold_start(options.model, backend, options.cores).items():
                found[backend].setdefault(what, []).extend([value] if turn else [])  # the first fills caches
    measure_warm(options, found)
    width = max(map(len, found[options.backends[0]]))
    for what in found[options.backends[0]]:
        print(what.ljust(width), *(f"{backend} {spread(values[what])}" for backend, values in found.items()), sep="  ")


def cold_start(model: str | None, backend: str, cores: int) -> dict[str, float]:
    """Return what a process costs that writes one poem."""
    command = [sys.executable, "-m", "zhseq.poem", "--start", START, "--backend", backend]
    command += ["--model", model] if model else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode or not output.read().decode().startswith(START):
            raise SystemExit(f"`{' '.join(command)}` failed with status {process.returncode}")
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # macOS counts bytes, Linux KiB
    return {
        "start to printed poem, s": seconds,
        "  processor time of it, s": usage.ru_utime + usage.ru_stime,
        "  peak memory of it, MB": usage.ru_maxrss / unit,
    }


def measure_warm(options: argparse.Namespace, found: dict[str, dict[str, list[float]]]) -> None:
    """Let a process for each backend write, one at a time and in turns."""
    same = ["--cores", str(options.cores), *(["--model", options.model] if options.model else [])]
    writers = {
        backend: subprocess.Popen(
            [sys.executable, __file__, "--answer", "--backends", backend, *same],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for backend in options.backends
    }
    for turn in range(options.rounds + 1):
        for backend, writer in writers.items():
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write(f"{turn}\n")
            writer.stdin.flush()
            for what, value in json.loads(writer.stdout.readline()).items():
                found[backend].setdefault(what, []).extend([value] if turn else [])
    for writer in writers.values():
        writer.communicate()


def answer(poet: Poet) -> None:
    """Write for each seed that comes in on standard input, and say what it took."""
    for line in sys.stdin:
        seed, costs = int(line), {}
        for what, num, rhyme in (
            (f"one {FORM}, alone and warm, s", 1, "auto"),
            (f"{FORM} a second, its form alone", BATCH, "none"),
            (f"{FORM} a second, tone and rhyme", BATCH, "auto"),
        ):
            used = time.process_time()
            poems = list(poet.stream(Request(form=FORM, rhyme=rhyme, sampling=Sampling(seed=seed)), num))
            used = time.process_time() - used
            if len(poems) != num:
                raise SystemExit(f"expected {num} poems, got {len(poems)}")
            costs[what] = used if num == 1 else num / used
        print(json.dumps(costs), flush=True)


def spread(values: list[float]) -> str:
    """Return the median of values and their range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    digits = 2 if high < 100 else 0
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
