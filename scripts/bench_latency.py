"""Time how long one client of the service holds up the others, and how soon what it leaves behind is free again.

The service runs as a process of its own, started here. A poem is judged over and over, and a line of 40 characters
tagged, each on a connection of its own, while others ask for the most that a request may hold, one kind after the
other; then while 16 write poems; then beside two that send single texts of 98,000 characters. Last, clients leave in
the middle of such requests, and it is timed when nothing of theirs is under way any longer. Exit status 1 if a bound
is broken.

    python scripts/bench_latency.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

from bench_serve import make_lines, new_loop, running_service
from load_client import Connection, post

from zhseq.cli import run_main
from zhseq.device import processor

LONG_TEXT = 98_000
WRITERS = 16
MOST_BLOCKED, MOST_P99, MOST_P50, MOST_UNFREED = 0.5, 1.0, 0.3, 0.5
"""Seconds: the longest judgement beside one other client; p99 beside 16 writers; p50 of a line beside two long texts;
until what a client left is free."""
_CHARACTERS = "春风花月山水云雨江南北楼天地人心夜明日暮秋寒归路远客愁酒歌诗书剑马草木鸟声色光影"
_PAUSE = 0.005  # seconds between two requests that are timed
_POLL = 0.005
_PATIENCE = 30.0  # seconds to wait for something to be free


def _json(path: str, body: object) -> bytes:
    return post(path, json.dumps(body, ensure_ascii=False).encode())


def _verse(lines: int, length: int) -> str:
    draw = random.Random(0)
    return "".join("".join(draw.choices(_CHARACTERS, k=length)) + "，。"[line % 2] for line in range(lines))


def _marked(text: str, marks: int) -> str:
    """Mark every third character of a text as a place to fill, up to so many."""
    characters = list(text)
    for place in [place for place, c in enumerate(text) if c not in "，。"][: 3 * marks : 3]:
        characters[place] = "？"
    return "".join(characters)


def heavy() -> dict[str, bytes]:
    """Return requests that take the longest, by what they ask for."""
    most = {"best_of": 64, "num": 16}
    regulated, long = _verse(8, 7), _verse(330, 5)
    lines = make_lines(2_450)
    text = "".join(lines)[:LONG_TEXT]
    words = [{"word": line[:20], "pos": "n", "label": "LOC"} for line in lines[:1_000]]
    return {
        "write 16 莺啼序": _json("/v1/poems", {"tune": "莺啼序", **most}),
        "write 16 莺啼序, by line": _json("/v1/poems", {"tune": "莺啼序", "stream": True, **most}),
        "write 16 七律 about much": _json("/v1/poems", {"form": "七律", "about": long[:2_000], **most}),
        "suggest for 16 marks": _json("/v1/poems/suggest", {"text": _marked(regulated, 16), "num": 32}),
        "suggest for a faulty 七律": _json("/v1/poems/suggest", {"text": regulated, "form": "七律", "num": 32}),
        "suggest for a mark of 1,980": _json("/v1/poems/suggest", {"text": _marked(long, 1), "num": 32}),
        "surprise of 1,980": _json("/v1/poems/check", {"text": long, "surprise": True}),
        "check 400": _json("/v1/poems/check", {"text": long[:396], "surprise": True}),
        "rewrite, 32 versions": _json(
            "/v1/poems/rewrite", {"lines": _verse(40, 7)[:-1].replace("。", "，").split("，"), "index": 20, "num": 32}
        ),
        "answer a line 16 times": _json("/v1/poems/couplet", {"upper": "明月松间照清泉石上流远山", "num": 16}),
        "tag 98,000 characters": _json("/v1/tag", {"text": text, "scores": True}),
        "tag 98,000 letters": _json("/v1/tag", {"text": "A1," * (LONG_TEXT // 3)}),
        "tag with 1,000 words": _json("/v1/tag", {"text": text[:90_000], "words": words}),
        "tag 1,000 lines": _json("/v1/tag", {"texts": lines[:1_000], "scores": True}),
        "half a million faults": post("/v1/tag", b'{"texts":[' + b"1," * 500_000 + b"1]}"),
        "100,000 unknown fields": post("/v1/tag", b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}"),
        "a megabyte cut off": post("/v1/tag", b'{"texts":[' + b'"x",' * 250_000),
    }


CHECK = _json("/v1/poems/check", {"text": "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"})
LINE = _json("/v1/tag", {"text": make_lines(1)[0]})


@dataclass
class Timed:
    """What single requests took, in seconds; one that was refused counts as long as anybody waits."""

    seconds: list[float] = field(default_factory=list)

    def at(self, share: float) -> float:
        """Return a quantile."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]

    def __str__(self) -> str:
        return "".join(f"{1000 * self.at(share):>9.0f}" for share in (0.5, 0.99, 1.0))


@asynccontextmanager
async def timed(port: int, requests: Mapping[str, bytes]) -> AsyncIterator[dict[str, Timed]]:
    """Send requests over and over, each on a connection of its own, until the context ends."""
    found = {name: Timed() for name in requests}
    stopped = False

    async def probe(name: str) -> None:
        connection = Connection("127.0.0.1", port)
        while not stopped:
            begin = time.perf_counter()
            status, _ = await connection.send(requests[name])
            found[name].seconds.append(time.perf_counter() - begin if status == 200 else _PATIENCE)
            await asyncio.sleep(_PAUSE)
        connection.close()

    tasks = [asyncio.ensure_future(probe(name)) for name in requests]
    try:
        yield found
    finally:
        stopped = True
        await asyncio.gather(*tasks)


async def beside(port: int, requests: Sequence[bytes], seconds: float) -> dict[str, Timed]:
    """Return how long judging and tagging take beside clients each of which sends one of these over and over.

    After so many seconds the clients leave, whether they have their last answers or not.
    """

    async def client(request: bytes) -> None:
        connection = Connection("127.0.0.1", port)
        try:
            while True:
                await connection.send(request)
                await asyncio.sleep(_PAUSE)
        finally:
            connection.close()

    async with timed(port, {"check": CHECK, "line": LINE}) as found:
        clients = [asyncio.ensure_future(client(request)) for request in requests]
        await asyncio.sleep(seconds)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    return found


async def under_way(connection: Connection) -> bool:
    """Tell whether the service works on anything, or something waits."""
    _, body = await connection.send(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    queues = [line for line in body.split(b"\n") if line.startswith(b"zhseq_queue_")]
    return any(float(line.split()[1]) for line in queues)


async def freed(port: int, request: bytes, wait: float) -> float:
    """Send a request, leave after a while, and return the seconds until nothing of it is under way."""
    client, watch = Connection("127.0.0.1", port), Connection("127.0.0.1", port)
    sent = asyncio.ensure_future(client.send(request))
    await asyncio.sleep(wait)
    begin = time.perf_counter()
    client.close()
    await asyncio.wait({sent})
    while await under_way(watch) and time.perf_counter() - begin < _PATIENCE:
        await asyncio.sleep(_POLL)
    taken = time.perf_counter() - begin
    watch.close()
    return taken


class Report:
    """Lines of a table, and whether a bound was broken."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        print(f"{'milliseconds':<46}{'p50':>9}{'p99':>9}{'longest':>9}  bound")

    def row(self, name: str, found: Timed, share: float | None = None, most: float = 0.0) -> None:
        """Print a line, of which the quantile of this share has a bound."""
        bound = ""
        if share is not None:
            bound = f"{ {0.5: 'p50', 0.99: 'p99'}.get(share, 'longest') } {1000 * most:.0f}"
            if found.at(share) > most:
                self.broken.append(name)
                bound += ", BROKEN"
        print(f"{name:<46}{found}  {bound}", flush=True)


async def measure(port: int, options: argparse.Namespace) -> list[str]:
    """Measure and print; return what broke its bound."""
    report = Report()
    requests = heavy()
    alone = await beside(port, [], options.seconds)
    report.row("check, alone", alone["check"])
    report.row("a line, alone", alone["line"])
    for name, request in requests.items():
        found = await beside(port, [request], options.seconds)
        report.row(f"check beside: {name}", found["check"], 1.0, MOST_BLOCKED)
    writing = [_json("/v1/poems", {"form": "七律", "num": 4, "seed": seed}) for seed in range(WRITERS)]
    found = await beside(port, writing, options.load_seconds)
    report.row(f"check beside {WRITERS} writers", found["check"], 0.99, MOST_P99)
    long = [_json("/v1/tag", {"text": "".join(make_lines(2_450, seed))[:LONG_TEXT]}) for seed in range(2)]
    found = await beside(port, long, options.load_seconds)
    report.row(f"a line beside 2 x {LONG_TEXT:,} characters", found["line"], 0.5, MOST_P50)
    for name, request in requests.items():
        left = Timed([await freed(port, request, options.wait) for _ in range(options.repeats)])
        report.row(f"free after leaving: {name}", left, 1.0, MOST_UNFREED)
    return report.broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service and the clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="beside each heavy request (default: 5)")
    parser.add_argument("--load-seconds", type=float, default=20.0, help="beside writers and long texts (default: 20)")
    parser.add_argument("--wait", type=float, default=0.3, help="seconds before a client leaves (default: 0.3)")
    parser.add_argument("--repeats", type=int, default=3, help="times that a client leaves (default: 3)")
    parser.add_argument("--processes", type=int, default=1, help="of the service (default: 1)")
    parser.add_argument("--port", type=int, help="of a service that runs already, without a key")
    options = parser.parse_args(arguments)
    print(f"on {processor()}")
    with closing(new_loop()) as loop:
        if options.port is not None:
            broken = loop.run_until_complete(measure(options.port, options))
        else:
            with running_service(["--processes", str(options.processes)]) as (port, _):
                broken = loop.run_until_complete(measure(port, options))
    print(f"{len(broken)} bounds broken" if broken else "all bounds kept")
    return int(bool(broken))


if __name__ == "__main__":
    run_main(main)
