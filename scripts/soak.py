"""Send the service a long and rude mixture of requests, and see that it stays well.

Texts of all kinds, poems, broken JSON, wrong types, bodies and headers that are too large, noise, clients that leave in
the middle: every answer must be one that is meant for its request (or 503, when the queue is full), every error must
have the one shape, and after the warm-up memory may grow by less than 5 %. Exit status 1 if anything else happens.

    python scripts/soak.py --requests 20000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from bench_serve import make_lines, new_loop, running_service
from load_client import Connection, each, post

from zhseq.cli import run_main

WARM_UP, WINDOW = 0.3, 0.1  # shares of all requests: before memory counts, and to take its median over
MOST_GROWTH = 0.05
_BUSY = 503
_CLOSED = 0  # the connection was closed without an answer

_STRANGE = ("", " \n\t", "\x00\x07\x7f", "𠮷👨‍👩‍👧é", "<script>alert(1)</script>", "\u202e\u2028\ufeff", "A" * 300)
_POEM = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"


@dataclass(frozen=True)
class Kind:
    """One kind of request."""

    name: str
    weight: float
    make: Callable[[random.Random], bytes]
    expected: tuple[int, ...] = (200,)
    leaves: bool = False
    """The client does not wait for the answer."""


def _tag(draw: random.Random, most: int) -> bytes:
    texts = [*draw.choices(LINES, k=draw.randint(1, most)), *draw.choices(_STRANGE, k=draw.randint(0, 2))]
    body: dict[str, object] = {"texts": texts, "scores": draw.random() < 0.2}
    if draw.random() < 0.2:
        body["tasks"] = [draw.choice(("pos", "ner"))]
    if draw.random() < 0.1:
        word = draw.choice(LINES)[:4]
        body["words"] = [{"word": word, "pos": "n", "mode": draw.choice(("prefer", "force"))}]
    return _json("/v1/tag", body)


def _json(path: str, body: object) -> bytes:
    return post(path, json.dumps(body, ensure_ascii=False).encode())


def _write(draw: random.Random, **wishes: object) -> bytes:
    return _json("/v1/poems", {"form": "五绝", "best_of": 1, "seed": draw.randrange(10**6), **wishes})


def _broken(draw: random.Random) -> bytes:
    whole = json.dumps({"text": draw.choice(LINES)}, ensure_ascii=False).encode()
    return post(
        "/v1/tag", draw.choice((whole[: draw.randrange(len(whole))], whole + b"}", b"\xff" + whole, b"[" * 9999))
    )


def _wrong(draw: random.Random) -> bytes:
    bodies = ({}, {"text": 1}, {"texts": "x"}, {"text": "x", "tasks": ["x"]}, {"text": "x", "y": 1}, [], None, "x")
    return _json("/v1/tag", draw.choice(bodies))


def _impossible(draw: random.Random) -> bytes:
    wishes = ({"tune": "无此词牌"}, {"num": -1}, {"start": "abc"}, {"temperature": -3}, {"author": "../../etc/passwd"})
    return _write(draw, **draw.choice(wishes))


def _get(path: str, host: str = "127.0.0.1", method: str = "GET") -> Callable[[random.Random], bytes]:
    request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    return lambda draw: request


def _noise(draw: random.Random) -> bytes:
    return b"\x00" + draw.randbytes(200)


_HEAD = "POST /v1/tag HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
LINES = make_lines(500)
KINDS = (
    Kind("a line", 35, lambda draw: _json("/v1/tag", {"text": draw.choice(LINES)})),
    Kind("some lines", 30, lambda draw: _tag(draw, 12)),
    Kind("many lines", 3, lambda draw: _tag(draw, 120)),
    Kind("a long line", 1, lambda draw: _json("/v1/tag", {"text": "".join(draw.choices(LINES, k=100))})),
    Kind("poem", 2, _write),
    Kind("poem, line by line", 1, lambda draw: _write(draw, stream=True)),
    Kind("check", 2, lambda draw: _json("/v1/poems/check", {"text": _POEM})),
    Kind("suggest", 0.1, lambda draw: _json("/v1/poems/suggest", {"text": _POEM.replace("千里", "千？")})),
    Kind("options", 1, _get("/v1/options")),
    Kind("health", 2, _get("/health")),
    Kind("ready", 1, _get("/ready")),
    Kind("broken JSON", 4, _broken, (400,)),
    Kind("wrong types", 4, _wrong, (422,)),
    Kind("impossible wishes", 2, _impossible, (422,)),
    Kind("unknown path", 2, _get("/v2/%3Cscript%3E/../../etc/passwd"), (404,)),
    Kind("wrong method", 1, _get("/v1/tag", method="DELETE"), (405,)),
    Kind("foreign host", 1, _get("/", host="evil.example"), (421,)),
    Kind("too many texts", 1, lambda draw: _json("/v1/tag", {"texts": ["x"] * 1001}), (413,)),
    Kind("50 MB announced", 1, lambda draw: (_HEAD + "Content-Length: 52428800\r\n\r\n").encode() + b" " * 999, (413,)),
    Kind("head without end", 1, lambda draw: _HEAD.encode() + b"X: y\r\n" * 12_000, (431, _CLOSED)),
    Kind("noise", 2, _noise, (400, _CLOSED)),
    Kind("leaves at once", 3, lambda draw: _tag(draw, 60), leaves=True),
    Kind("half a request", 1, lambda draw: (_HEAD + "Content-Length: 500\r\n\r\n").encode() + b"{", leaves=True),
)
_CLOSING = {"50 MB announced", "head without end", "noise"}
"""After these the client closes the connection, if the service has not."""


@dataclass
class Report:
    """What happened."""

    requests: int
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Share of the requests that were sent, and bytes of the service then."""
    seconds: float = 0.0

    def growth(self) -> float:
        """Return by what share memory grew after the warm-up."""
        early = [size for share, size in self.memory if WARM_UP <= share < WARM_UP + WINDOW]
        late = [size for share, size in self.memory if share >= 1 - WINDOW]
        return statistics.median(late) / statistics.median(early) - 1

    def show(self) -> int:
        """Print a summary and return the exit status."""
        print(f"{'request':<22}{'answers (status: number)'}")
        for kind in KINDS:
            statuses = {status: number for (name, status), number in sorted(self.answers.items()) if name == kind.name}
            print(f"{kind.name:<22}{', '.join(f'{status}: {number}' for status, number in statuses.items())}")
        total = sum(self.answers.values())
        first, last = self.memory[0][1] / 2**20, self.memory[-1][1] / 2**20
        print(f"{total} requests in {self.seconds:.0f} s; memory {first:.0f} MB at first, {last:.0f} MB at last")
        growth = self.growth()
        print(f"growth of memory after warm-up: {100 * growth:+.1f} % (allowed: {100 * MOST_GROWTH:.0f} %)")
        for fault, number in self.faults.most_common(20):
            print(f"FAULT, {number} times: {fault}")
        failed = bool(self.faults) or growth >= MOST_GROWTH
        print("failed" if failed else "passed")
        return int(failed)


async def soak(port: int, report: Report, connections: int, seed: int) -> None:
    """Send the requests."""
    draw = random.Random(seed)
    order = draw.choices(KINDS, [kind.weight for kind in KINDS], k=report.requests)
    sent = 0
    watch, one_at_a_time = Connection("127.0.0.1", port), asyncio.Lock()

    async def measure() -> None:
        async with one_at_a_time:
            report.memory.append((sent / report.requests, await memory(watch)))

    async def work(connection: Connection) -> None:
        nonlocal sent
        while sent < len(order):
            kind = order[sent]
            sent += 1
            if sent % max(1, report.requests // 200) == 0:
                await measure()
            await _send(connection, kind, draw, report)

    begin = time.perf_counter()
    await each([Connection("127.0.0.1", port) for _ in range(connections)], work)
    await measure()
    watch.close()
    await asyncio.sleep(0)
    report.seconds = time.perf_counter() - begin


async def _send(connection: Connection, kind: Kind, draw: random.Random, report: Report) -> None:
    if kind.leaves:
        waiting = asyncio.ensure_future(connection.send(kind.make(draw)))
        await asyncio.sleep(draw.random() * 0.05)
        waiting.cancel()  # it may still be connecting
        connection.close()
        await asyncio.wait({waiting})
        if not waiting.cancelled():
            waiting.result()
        report.answers[kind.name, _CLOSED] += 1
        return
    try:
        status, body = await asyncio.wait_for(connection.send(kind.make(draw)), 120)
    except TimeoutError:
        connection.close()
        report.faults[f"{kind.name}: no answer within 120 seconds"] += 1
        return
    report.answers[kind.name, status] += 1
    if status not in (*kind.expected, _BUSY):
        report.faults[f"{kind.name}: status {status}, expected {kind.expected}"] += 1
    elif status >= 400 and not _is_error(body):
        report.faults[f"{kind.name}: status {status} with another body than an error's"] += 1
    if kind.name in _CLOSING:
        connection.close()


def _is_error(body: bytes) -> bool:
    try:
        found = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return set(found) == {"code", "message", "values", "templates"} and "Traceback" not in found["message"]


async def memory(connection: Connection) -> float:
    """Ask the service for its memory, that of all its processes, in bytes."""
    _, body = await connection.send(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    (line,) = [line for line in body.split(b"\n") if line.startswith(b"process_resident_memory_bytes ")]
    return float(line.split()[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service and the requests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="of the service (default: 1)")
    parser.add_argument("--port", type=int, help="of a service that runs already, without a key")
    options = parser.parse_args(arguments)
    report = Report(options.requests)
    with closing(new_loop()) as loop:
        if options.port is not None:
            loop.run_until_complete(soak(options.port, report, options.connections, options.seed))
        else:
            with running_service(["--processes", str(options.processes)]) as (port, _):
                loop.run_until_complete(soak(port, report, options.connections, options.seed))
    return report.show()


if __name__ == "__main__":
    run_main(main)
