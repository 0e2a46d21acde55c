"""Work for processes without a model: it needs no torch, so that a process starts in a moment."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zhseq.bulk import outputs
from zhseq.bulk.inputs import discover
from zhseq.bulk.outputs import Part
from zhseq.bulk.records import Chunk, Reading
from zhseq.bulk.run import Run, TaggingJob, ended_by_sigterm, note
from zhseq.cli import run_main
from zhseq.errors import InputError


@dataclass(frozen=True)
class Squares:
    """Squares numbers. `folder` is where processes leave their traces.

    0 ends the process, always; 1 does so once; 2 is an error; 3 takes long.
    """

    folder: Path
    dies_at_start: bool = False

    def start(self) -> Callable[[int], tuple[int, int]]:
        if self.dies_at_start:
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"{os.getpid()}.started").touch()
        return self.square

    def square(self, number: int) -> tuple[int, int]:
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 1:
            try:
                (self.folder / "once").touch(exist_ok=False)
                os._exit(3)
            except FileExistsError:
                pass
        if number == 2:
            raise InputError("wrong_number", "2 is wrong")
        if number == 3:
            time.sleep(0.5)
        return number * number, os.getpid()


@dataclass(frozen=True)
class Echo(TaggingJob):
    """Writes each text behind its number in the output. At the text `hold` it stops, and makes the file $ECHO_HOLD.

    With a folder as `trace` it takes its time, and leaves there the name of the machine of the cluster it runs on.
    """

    trace: str = ""

    def start(self) -> Callable[[Chunk], list[Part]]:
        return self.echo

    def echo(self, chunk: Chunk) -> list[Part]:
        if self.trace:
            import ray

            Path(self.trace, ray.get_runtime_context().get_node_id()).touch()
            time.sleep(0.2)
        parts = []
        for segment in chunk.segments:
            if "hold" in segment.texts and "ECHO_HOLD" in os.environ:
                Path(os.environ["ECHO_HOLD"]).touch()
                time.sleep(60)
            lines = [f"{number}:{text}\n" for number, text in enumerate(segment.texts, segment.documents)]
            parts.append((segment.source, "".join(lines).encode()))
        return parts


def echo_run(names: list[str], output: str | None, *, workers: int = 1, resume: bool = False, **fields: object) -> Run:
    """A run of `Echo`."""
    inputs = discover(names, column=None, notify=note)
    job = Echo(format="text", **fields)  # type: ignore[arg-type]
    return Run(inputs, Reading("auto", "strict"), job, output, workers, resume)


def main(arguments: object = None) -> int:
    """Echo from the command line: INPUT OUTPUT WORKERS RESUME."""
    source, output, workers, resume = sys.argv[1:]
    outputs._INTERVAL = 0.0  # each chunk is noted
    with ended_by_sigterm():
        echo_run([source], output or None, workers=int(workers), resume=bool(resume)).execute()
    return 0


if __name__ == "__main__":
    run_main(main)
