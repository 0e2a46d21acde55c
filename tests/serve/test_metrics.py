from __future__ import annotations

import json
import threading

from zhseq.serve.metrics import LineWriter


class Reader:
    """Takes lines while `reads` is set; `waiting` once it has been given some."""

    def __init__(self) -> None:
        self.reads, self.waiting = threading.Event(), threading.Event()
        self.read: list[str] = []

    def __call__(self, data: bytes) -> None:
        self.waiting.set()
        assert self.reads.wait(30)
        self.read += data.decode().splitlines()


def test_lines_are_written_in_order() -> None:
    reader = Reader()
    reader.reads.set()
    lines = LineWriter(reader)
    for number in range(1_000):
        lines.add(str(number))
    lines.end(10)
    assert reader.read == [*map(str, range(1_000))]
    assert lines.dropped == 0


def test_lines_that_nobody_reads_are_dropped_and_counted() -> None:
    reader = Reader()
    lines = LineWriter(reader, most=3)
    lines.add("first")
    assert reader.waiting.wait(10)  # the thread is stuck now
    for number in range(5):
        lines.add(str(number))  # and yet this returns
    assert lines.dropped == 2
    lines.end(0.01)  # as does this
    reader.reads.set()
    lines.end(10)
    assert reader.read[:-1] == ["first", "0", "1", "2"]
    told = json.loads(reader.read[-1])
    assert (told["event"], told["level"], told["lines"]) == ("dropped", "warning", 2)


def test_where_nothing_can_be_written_lines_are_counted() -> None:
    def closed(data: bytes) -> None:
        raise BrokenPipeError

    lines = LineWriter(closed)
    lines.add("one")
    lines.add("two")
    lines.end(10)
    assert lines.dropped == 2
