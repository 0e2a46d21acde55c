"""What a poem costs: `python scripts/bench_poems.py [--model DIR]`.

Measured are the time from the start of a cold process to the printed poem, the most memory that this process ever
held, and how many quatrains of seven characters a second are written 256 at a time: in their form alone, and with the
rules of tone and rhyme where the model has them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import torch

from zhseq import Poet
from zhseq.poetry.poet import Request
from zhseq.poetry.request import Sampling

START, FORM, BATCH = "春", "七绝", 256


def main() -> None:
    """Measure and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="a model directory (default: the one that comes with zhseq)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each kind (default: 7)")
    parser.add_argument("--cores", type=int, default=2, help="processor cores to use (default: 2)")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    print(f"{platform.machine()}, {options.cores} cores, torch {torch.__version__}, Python {platform.python_version()}")

    single = [cold_start(options.model, options.cores) for _ in range(options.rounds + 1)][1:]  # the first fills caches
    seconds, processor, memory = (sorted(values) for values in zip(*single, strict=True))
    print(f"start to printed poem, s:        {spread(seconds)}   (processor time {statistics.median(processor):.2f})")
    print(f"peak memory of that process, MB: {spread(memory)}")

    poet = Poet.load(options.model, threads=options.cores)
    for rhyme in ("none", "auto"):
        many = [batch(poet, rhyme, seed) for seed in range(options.rounds + 1)][1:]
        rates, used = (sorted(values) for values in zip(*many, strict=True))
        what = "its form alone" if rhyme == "none" else "tone and rhyme"
        print(f"{FORM} a second, {what}: {spread(rates)}   (a second of processor time {statistics.median(used):.0f})")


def cold_start(model: str | None, cores: int) -> tuple[float, float, float]:
    """Return seconds, seconds of processor time, and peak memory in MB of a process that writes one poem."""
    command = [sys.executable, "-m", "zhseq.poem", "--start", START, *(["--model", model] if model else [])]
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
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def batch(poet: Poet, rhyme: str, seed: int) -> tuple[float, float]:
    """Return poems a second and poems a second of processor time when a whole batch is written."""
    begin, used = time.perf_counter(), time.process_time()
    poems = list(poet.stream(Request(form=FORM, rhyme=rhyme, sampling=Sampling(seed=seed)), BATCH))
    if len(poems) != BATCH:
        raise SystemExit(f"expected {BATCH} poems, got {len(poems)}")
    return BATCH / (time.perf_counter() - begin), BATCH / (time.process_time() - used)


def spread(values: list[float]) -> str:
    """Return the median of sorted values and their range."""
    digits = 2 if values[-1] < 100 else 0
    return f"{statistics.median(values):.{digits}f} ({values[0]:.{digits}f} to {values[-1]:.{digits}f})"


if __name__ == "__main__":
    main()
