"""Front door: `python -m zhseq.tag FILE...`, or `-` for standard input."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, TextIO

from zhseq.cli import run_main
from zhseq.errors import InputError
from zhseq.formats import FORMATS, make_writer
from zhseq.text.encoding import ENCODINGS, decode_lines

if TYPE_CHECKING:
    from tqdm import tqdm

TASKS = ("pos", "ner")
STANDARD_INPUT = "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, tag the input line by line, and return the exit status."""
    options = _parser().parse_args(arguments)
    asked = _tasks(options.task)
    if options.nbest < 1:
        raise InputError(f"Expected --nbest of at least 1, found {options.nbest}.")
    # What can be wrong with the command is said before a model is loaded, not after.
    make_writer(options.format, asked or TASKS, nbest=options.nbest)
    size = sum(_check_file(name) for name in options.files)
    with ExitStack() as stack:
        output = stack.enter_context(_open_output(options.output))
        from zhseq.tagger import Tagger

        tagger = Tagger.load(options.model, device=options.device, threads=options.threads)
        tasks = asked or tagger.tasks
        write = make_writer(options.format, tasks, nbest=options.nbest)
        ends: deque[str] = deque()
        lines = _lines(options, ends, stack.enter_context(_progress(size)))
        for document in tagger.stream(lines, tasks=tasks, scores=options.scores, nbest=options.nbest):
            output.write(write(document, ends.popleft()))
        output.flush()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zhseq.tag", description="Cut Chinese text into words, with parts of speech and names."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="text, one unit a line; - for standard input")
    parser.add_argument("--task", metavar="pos,ner", help="pos, ner or both (default: all that the model can do)")
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to write the result (default: text)")
    parser.add_argument("--scores", action="store_true", help="give each word and name its probability")
    parser.add_argument("--nbest", type=int, default=1, metavar="N", help="the N best readings (jsonl only)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of standard output")
    parser.add_argument(
        "--encoding",
        choices=ENCODINGS,
        default=ENCODINGS[0],
        help="of the input (default: auto, which tells them apart)",
    )
    parser.add_argument(
        "--errors", choices=("strict", "replace"), default="strict", help="replace: read broken bytes as U+FFFD"
    )
    parser.add_argument("--model", metavar="PATH_OR_HUB_NAME", help="another model than the one that comes with zhseq")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (default: cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all)")
    return parser


def _tasks(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    tasks = tuple(dict.fromkeys(task.strip() for task in text.split(",")))
    if not set(tasks) <= set(TASKS):
        raise InputError(f"Expected --task pos, ner or pos,ner, found {text!r}.")
    return tasks


def _check_file(name: str) -> int:
    """Check that an input can be opened; return its size in bytes, 0 where that is not known."""
    if name == STANDARD_INPUT:
        return 0
    path = Path(name)
    if path.is_dir():
        raise InputError(f"{path}: expected a file, found a directory; name the files in it.")
    try:
        with path.open("rb"):
            return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read: {error.strerror}.") from error


def _lines(options: argparse.Namespace, ends: deque[str], progress: tqdm[NoReturn]) -> Iterator[str]:
    """Yield the lines of all files; the end of each line is put into `ends` when the line is taken."""
    for name in options.files:
        with ExitStack() as stack:
            standard = name == STANDARD_INPUT
            stream = sys.stdin.buffer if standard else stack.enter_context(Path(name).open("rb"))
            decoded = decode_lines(
                _counted(stream, progress),
                "standard input" if standard else name,
                encoding=options.encoding,
                errors=options.errors,
                notify=lambda note: print(f"zhseq: {note}", file=sys.stderr),
            )
            for text, end in decoded:
                ends.append(end)
                yield text


def _counted(stream: BinaryIO, progress: tqdm[NoReturn]) -> Iterator[bytes]:
    for line in stream:
        yield line
        progress.update(len(line))


@contextmanager
def _progress(size: int) -> Iterator[tqdm[NoReturn]]:
    from tqdm import tqdm

    with tqdm(total=size or None, unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:
        yield bar


@contextmanager
def _open_output(path: Path | None) -> Iterator[TextIO]:
    """Open the output; a file appears under its name only when all of it is written."""
    if path is None:
        yield sys.stdout
        return
    if path.is_dir():
        raise InputError(f"{path}: expected a file to write to, found a directory.")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{path}: expected a file that can be written, found one that is read-only.")
    path = path.resolve()  # a link is kept, and what it points to is replaced
    regular = path.is_file() or not path.exists()
    target = path.with_name(f".{path.name}.{os.getpid()}.part") if regular else path  # not for /dev/null and pipes
    try:
        stream = target.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be written: {error.strerror}.") from error
    try:
        with stream:
            yield stream
        if regular:
            target.replace(path)
    finally:
        if regular:
            target.unlink(missing_ok=True)


if __name__ == "__main__":
    run_main(main)
