"""What a command costs that is run once, without PyTorch: time from its start to its first output, and peak memory.

    python scripts/bench_start.py [--rounds 7] [--environment DIR]

The commands run in processes that cannot import PyTorch, in turns, round after round; the table shows medians and
ranges. With `--environment`, the size of a virtual environment is told, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from zhseq.cli import run_main
from zhseq.device import processor

COMMANDS = {
    "tag": (("tag", "-"), "王小明在北京大学学习。\n", "[王/nr"),
    "poem": (("poem", "--start", "春"), "", "春"),
}
"""Arguments, standard input, and what the output begins with."""
_WITHOUT_TORCH = "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('zhseq', run_name='__main__')"


def start(name: str) -> tuple[float, float, float]:
    """Run a command; return the seconds until its first output, its processor seconds and its peak memory in MB."""
    arguments, text, expected = COMMANDS[name]
    command = [sys.executable, "-c", _WITHOUT_TORCH, *arguments]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    first = process.stdout.readline().decode()
    seconds = time.perf_counter() - begin
    process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not first.startswith(expected):
        raise SystemExit(f"{name} printed {first!r} and ended with status {process.returncode}")
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # macOS counts bytes, Linux KiB
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def size_of(folder: Path) -> float:
    """Return the megabytes that the files of a folder take."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--environment", type=Path, metavar="DIR", help="a virtual environment to tell the size of")
    options = parser.parse_args(arguments)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in COMMANDS}
    for turn in range(options.rounds + 1):
        for name, values in found.items():
            measured = start(name)
            values += [measured] if turn else []  # the first round fills caches
    print(f"on {processor()}")
    for name, values in found.items():
        for what, column in zip(
            ("s to the first output", "s of the processor", "MB at most"), zip(*values, strict=True), strict=True
        ):
            print(f"{name}: {statistics.median(column):.2f} {what} ({min(column):.2f} to {max(column):.2f})")
    if options.environment:
        print(f"{options.environment}: {size_of(options.environment):.0f} MB")
    return 0


if __name__ == "__main__":
    run_main(main)
