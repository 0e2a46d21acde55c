"""Time the tagging of a corpus: one process, several, and Ray on this machine, in turns, by the clock.

Each run is the command itself, with all that it does: starting, loading the model once for each process, reading,
tagging, writing. All must write the same bytes. One process is timed as it is by default, with one thread of PyTorch,
and with as many threads as there are workers otherwise; there are ratios to both. `ray` starts a cluster for the run
and ends it; `ray-job` uses one on this machine that runs already and has done a small job before. The peak of memory is
that of the largest process that tags (under Ray of the largest there is, the shared memory in its use included).

    python scripts/bench_corpus.py --megabytes 20
    python scripts/bench_corpus.py --megabytes 30 --modes processes ray ray-job
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from filecmp import cmp
from pathlib import Path

from zhseq.cli import run_main
from zhseq.errors import ZhseqError

_SENTENCES = (
    "去年冬天，省气象台发布了三十年来最早的一次寒潮预警。",
    "陈晓明从武汉大学毕业以后，在北京的一家出版社当编辑。",
    "这座桥长一千二百米，连接着长江两岸的新城区和老码头。",
    "据新华社报道，两国代表团昨天在日内瓦继续举行会谈。",
    "奶奶把晒干的辣椒串起来，挂在屋檐下，像一排红灯笼。",
    "公司计划明年在广东、福建和浙江再开五十家门店。",
    "我们不能只看眼前的利益，也要为子孙后代着想。",
    "比赛最后一分钟，张伟接到传球，起脚射门，球进了！",
    "研究人员发现，这种鸟每年秋天要飞行八千多公里。",
    "会议通过了关于加强农村教师队伍建设的决定。",
    "孙老师问：“谁能把这首诗背一遍？”教室里一下子安静了。",
    "人民币对美元汇率中间价报7.1058，较前一交易日上调32个基点。",
)
_MODES = ("one-process", "threads", "processes", "ray", "ray-job")
_POLL = 0.1  # seconds between two looks at the memory


def make_text(megabytes: float, seed: int = 0) -> str:
    """Return so many megabytes of UTF-8: paragraphs of one to six sentences, one on each line."""
    draw = random.Random(seed)
    lines: list[str] = []
    size = 0
    while size < megabytes * 1e6:
        lines.append("".join(draw.choices(_SENTENCES, k=draw.randint(1, 6))) + "\n")
        size += len(lines[-1].encode())
    return "".join(lines)


def command(mode: str, source: Path, output: Path, workers: int, model: str | None) -> list[str]:
    """Return the command line of a mode."""
    on_ray = ["--workers", str(workers), "--engine", "ray"]
    options = {
        "one-process": [],
        "threads": ["--threads", str(workers)],
        "processes": ["--workers", str(workers)],
        "ray": on_ray,
        "ray-job": on_ray,
    }[mode]
    chosen = ["--model", model] if model else []
    arguments = [str(source), "--output", f"{output}/", "--format", "jsonl", *options, *chosen]
    return [sys.executable, "-m", "zhseq.tag", *arguments]


@contextmanager
def prepared(mode: str, workers: int, model: str | None) -> Iterator[None]:
    """Start what must run before a mode is timed, and end it."""
    if mode != "ray-job":
        yield
        return
    import ray

    from zhseq.bulk.ray import cluster

    with cluster(workers), tempfile.TemporaryDirectory() as place:
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        try:
            source = Path(place, "text.txt")
            source.write_text(make_text(1), encoding="utf-8")
            timed(command(mode, source, Path(place, "output"), workers, model))
            yield
        finally:
            del os.environ["RAY_ADDRESS"]


def timed(arguments: Sequence[str]) -> tuple[float, float]:
    """Run a command; return its seconds and the peak megabytes of the largest process below this one."""
    begun = time.perf_counter()
    peaks: dict[int, float] = {}
    program = subprocess.Popen(arguments, stderr=subprocess.PIPE)
    while program.poll() is None:
        for pid in set(_family(os.getpid())) - {os.getpid()}:
            peaks[pid] = max(peaks.get(pid, 0.0), _peak(pid))
        time.sleep(_POLL)
    seconds = time.perf_counter() - begun
    assert program.stderr is not None
    error = program.stderr.read().decode()
    program.stderr.close()
    if program.returncode:
        raise ZhseqError("failed", "{command} failed: {error}", command=" ".join(arguments), error=error)
    return seconds, max(peaks.values(), default=0.0)


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    members = [pid]
    for member in members:
        for listing in Path(f"/proc/{member}/task").glob("*/children"):
            with suppress(OSError):  # ended meanwhile
                members += map(int, listing.read_text(encoding="ascii").split())
    return members


def _peak(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 1000


def measure(source: Path, modes: Sequence[str], workers: int, rounds: int, model: str | None) -> None:
    """Run all modes in turns and print the table."""
    seconds: dict[str, list[float]] = {mode: [] for mode in modes}
    peaks = dict.fromkeys(modes, 0.0)
    with tempfile.TemporaryDirectory() as place:
        for number in range(rounds):
            for mode in modes:
                output = Path(place, f"{mode}-{number}")
                with prepared(mode, workers, model):
                    taken, peak = timed(command(mode, source, output, workers, model))
                seconds[mode].append(taken)
                peaks[mode] = max(peaks[mode], peak)
                written, first = (Path(folder, f"{source.name}.jsonl") for folder in (output, f"{place}/{modes[0]}-0"))
                if not cmp(written, first, shallow=False):
                    raise ZhseqError("other_bytes", "{mode} wrote other bytes than {first}", mode=mode, first=modes[0])
                if written != first:
                    written.unlink()
    medians = {mode: statistics.median(taken) for mode, taken in seconds.items()}
    size = source.stat().st_size / 1e6
    print(f"{size:.1f} MB, {workers} workers, medians of {rounds} rounds")
    single = [mode for mode in modes if mode in _MODES[:2]]
    print(f"{'':14}{'seconds':>9}{'MB/s':>8}{'peak MB':>9}" + "".join(f"{'over ' + mode:>18}" for mode in single))
    for mode, median in medians.items():
        ratios = "".join(f"{medians[base] / median:18.2f}" for base in single)
        print(f"{mode:14}{median:9.1f}{size / median:8.3f}{peaks[mode]:9.0f}{ratios}")
    for mode in [mode for mode in _MODES[3:] if {mode, "processes"} <= set(medians)]:
        print(f"{mode} over processes: {medians['processes'] / medians[mode]:.2f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time the tagging of a corpus.")
    parser.add_argument("--text", type=Path, help="a file to tag (default: generated)")
    parser.add_argument("--megabytes", type=float, default=20.0, help="to generate (default: 20)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", nargs="+", choices=_MODES, default=_MODES[:3])
    parser.add_argument("--model", help="another model than the one that comes with zhseq")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        source = options.text
        if source is None:
            source = Path(place, "text.txt")
            source.write_text(make_text(options.megabytes), encoding="utf-8")
        measure(source, options.modes, options.workers, options.rounds, options.model)
    return 0


if __name__ == "__main__":
    run_main(main)
