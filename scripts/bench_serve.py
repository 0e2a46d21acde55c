"""Time the service against the library: characters a second at 16 connections, latency at half that load.

The service runs as a process of its own, started here, and the client (this process) shares the cores with it. Library
and service take turns, round after round; the table shows medians. The library tags the same lines in large batches,
with one thread and with two, and the faster counts. Beside it stands how the processor time of the library for a
character compares with that of the service (Linux; all its processes, without the client). For the latency the load
comes at random moments, half as many characters a second as were reached, and among it requests of one line of 40
characters are timed.

    python scripts/bench_serve.py --texts 10
    python scripts/bench_serve.py --texts 10 --threads 1 --processes 1 2    # what a second process is worth
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from load_client import Connection, each, post

from zhseq.cli import run_main
from zhseq.device import BACKENDS, processor

if TYPE_CHECKING:
    from zhseq.tagging.tagger import Tagger

LINE = 40
_TICK = 0.01  # seconds, as finely as Linux counts processor time here
_SENTENCES = (
    "昨天下午，市图书馆举行了一场关于古代诗歌的讲座，三百多名读者参加。",
    "王小红在上海交通大学学习了四年计算机，毕业后去深圳工作。",
    "随着气温下降，北方各省的供暖系统已于十一月十五日全面启动。",
    "他说，这家公司去年的销售收入比前年增长了百分之十二点五。",
    "李建国教授认为，保护方言就是保护我们共同的文化记忆。",
    "列车从成都东站出发，经过重庆、武汉，最后到达南京。",
    "如果明天不下雨，我们就去爬香山，晚上再一起吃火锅。",
    "世界卫生组织呼吁各国加强合作，共同应对新的挑战。",
    "老张把那本旧书翻来覆去看了好几遍，还是没找到答案。",
    "广州队在主场以三比一战胜山东队，暂时排名第二。",
)


def make_lines(count: int, seed: int = 0) -> list[str]:
    """Return lines of 40 characters of ordinary text."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        text = "".join(draw.sample(_SENTENCES, 3))
        start = draw.randrange(len(text) - LINE)
        lines.append(text[start : start + LINE])
    return lines


@contextmanager
def running_service(arguments: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Start the service and yield its port and process."""
    command = [sys.executable, "-m", "zhseq.serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            raise RuntimeError("the service did not start; try `python -m zhseq.serve`")
        yield int(ready.rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait(30)


def processor_seconds(process: int) -> float:
    """Return the processor time of a process and of those that it started; where Linux does not tell it, nan."""
    folder = Path(f"/proc/{process}")
    try:
        values = (folder / "stat").read_text().rpartition(")")[2].split()
        lists = [(task / "children").read_text() for task in (folder / "task").iterdir()]
    except OSError:
        return float("nan")
    started = map(int, " ".join(lists).split())
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK") + sum(map(processor_seconds, started))


class Load:
    """Requests of some lines each, to one service."""

    def __init__(self, port: int, process: int, lines: list[str], texts: int, connections: int) -> None:
        self.port, self.process = port, process
        self.characters = LINE * texts
        self.connections = connections
        groups = [lines[start : start + texts] for start in range(0, len(lines) - texts + 1, texts)]
        bodies = [json.dumps({"texts": group}, ensure_ascii=False).encode() for group in groups]
        self._requests = itertools.cycle([post("/v1/tag", body) for body in bodies])

    async def throughput(self, seconds: float) -> tuple[float, float]:
        """Return characters a second with all connections busy, and characters a second of processor time."""
        end = time.perf_counter() + seconds
        done = 0

        async def work(connection: Connection) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await _successful(connection, next(self._requests))
                done += self.characters

        begin, spent = time.perf_counter(), processor_seconds(self.process)
        await each(self._open(), work)
        return done / (time.perf_counter() - begin), done / max(processor_seconds(self.process) - spent, _TICK)

    async def latencies(self, rate: float, seconds: float, probes: Sequence[bytes], pause: float) -> list[float]:
        """Return the seconds that single requests take among a load of `rate` characters a second, in order."""
        end = time.perf_counter() + seconds
        draw = random.Random(1)
        mean = self.connections * self.characters / rate  # seconds from one request of a connection to its next
        found: list[float] = []

        async def work(connection: Connection) -> None:
            due = time.perf_counter() + draw.random() * mean
            while due < end:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await _successful(connection, next(self._requests))
                due += draw.expovariate(1 / mean)

        async def probe(connection: Connection) -> None:
            for request in itertools.cycle(probes):
                await asyncio.sleep(draw.expovariate(1 / pause))
                begin = time.perf_counter()
                if begin > end:
                    return
                await _successful(connection, request)
                found.append(time.perf_counter() - begin)

        await asyncio.gather(each(self._open(), work), each([Connection("127.0.0.1", self.port)], probe))
        return sorted(found)

    def _open(self) -> list[Connection]:
        return [Connection("127.0.0.1", self.port) for _ in range(self.connections)]


async def _successful(connection: Connection, request: bytes) -> None:
    status, body = await connection.send(request)
    if status != 200:
        raise RuntimeError(f"the service answered with status {status}: {body[:200]!r}")


def library_rates(
    taggers: dict[tuple[str, int], Tagger], lines: list[str]
) -> dict[tuple[str, int], tuple[float, float]]:
    """Return characters a second, and a second of processor time, for one round, by backend and threads."""
    rates = {}
    for which, tagger in taggers.items():
        begin, spent = time.perf_counter(), time.process_time()
        list(tagger.stream(lines))
        size = LINE * len(lines)
        rates[which] = size / (time.perf_counter() - begin), size / (time.process_time() - spent)
    return rates


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    from zhseq.tagging.tagger import Tagger

    lines = make_lines(2_000)
    taggers = {
        (backend, threads): Tagger.load(options.tagger, backend=backend, threads=threads)
        for backend in options.backend
        for threads in options.library_threads
    }
    for tagger in taggers.values():
        list(tagger.stream(lines[:256]))
    model = [*(["--tagger", options.tagger] if options.tagger else []), "--threads", str(options.threads)]
    probes = [post("/v1/tag", json.dumps({"text": line}).encode()) for line in make_lines(100, seed=2)]
    library: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        loop = stack.enter_context(closing(new_loop()))
        loads = {}
        for backend, processes in itertools.product(options.backend, options.processes):
            arguments = [*model, "--backend", backend, "--processes", str(processes)]
            service = stack.enter_context(running_service(arguments))
            loads |= {(backend, processes, n): Load(*service, lines, n, options.connections) for n in options.texts}
        reached: dict[tuple[str, int, int], list[tuple[float, float]]] = {which: [] for which in loads}
        for load in loads.values():
            loop.run_until_complete(load.throughput(1.0))  # warm
        for _ in range(options.rounds):
            for which, rate in library_rates(taggers, lines).items():
                library.setdefault(which, []).append(rate)
            for which, load in loads.items():
                reached[which].append(loop.run_until_complete(load.throughput(options.seconds)))
        print(f"on {processor()}")
        best: dict[str, float] = {}
        leanest: dict[str, int] = {}
        for (backend, threads), values in library.items():
            rate = statistics.median(rate for rate, _ in values)
            best[backend] = max(rate, best.get(backend, 0.0))
            leanest[backend] = min(threads, leanest.get(backend, threads))
            print(f"library, {backend}, batched, {threads} thread{'s' * (threads > 1)}: {rate:,.0f} characters/s")
        titles = ("characters/s", "of library", "by processor", "p50 ms", "p99 ms", "max ms", "timed")
        print(f"{'a request':<42}" + "".join(f"{title:>14}" for title in titles))
        for (backend, processes, texts), load in loads.items():
            rate = statistics.median(rate for rate, _ in reached[backend, processes, texts])
            rounds = zip(reached[backend, processes, texts], library[backend, leanest[backend]], strict=True)
            share = statistics.median(own / other for (_, own), (_, other) in rounds)
            found = loop.run_until_complete(load.latencies(rate / 2, options.latency_seconds, probes, options.pause))
            p50, p99 = (1000 * found[int(share * (len(found) - 1))] for share in (0.5, 0.99))
            name = f"{backend}, {texts} x {LINE} characters{f', {processes} processes' * (processes > 1)}"
            print(
                f"{name:<42}{rate:>14,.0f}{rate / best[backend]:>14.2f}{share:>14.3f}"
                f"{p50:>14.1f}{p99:>14.1f}{1000 * found[-1]:>14.1f}{len(found):>14}"
            )
    fewest, *more = sorted(options.processes)
    for (backend, processes, texts), rates in reached.items():
        if processes in more:
            pairs = zip(rates, reached[backend, fewest, texts], strict=True)
            gains = [one / other for (one, _), (other, _) in pairs]
            name = f"{backend}, {texts} x {LINE} characters, {processes} processes over {fewest}"
            print(f"{name}: {statistics.median(gains):.2f} x, round by round")


def new_loop() -> asyncio.AbstractEventLoop:
    """Return the fastest event loop there is."""
    try:
        from uvloop import new_event_loop
    except ModuleNotFoundError:
        from asyncio import new_event_loop
    return new_event_loop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tagger", help="directory of the tagger (default: the one that comes with zhseq)")
    parser.add_argument("--backend", nargs="+", default=["auto"], choices=BACKENDS, help="compared in turns")
    parser.add_argument("--threads", type=int, default=2, help="of the service (default: 2)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1], metavar="N", help="of the service, in turns")
    parser.add_argument("--library-threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--texts", type=int, nargs="+", default=[1, 10, 50], metavar="N", help="lines of a request")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one round (default: 3)")
    parser.add_argument("--latency-seconds", type=float, default=30.0, help="of timing requests (default: 30)")
    parser.add_argument("--pause", type=float, default=0.02, help="mean seconds between timed requests (default: 0.02)")
    run(parser.parse_args(arguments))
    return 0


if __name__ == "__main__":
    run_main(main)
