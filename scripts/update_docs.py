"""Run the commands and snippets that the documents show, and write what they print today into the documents.

    python scripts/update_docs.py                          # all documents
    python scripts/update_docs.py README.md docs/poems.md
    python scripts/update_docs.py --check                  # change nothing; exit status 1 if something is out of date

Run are all commands of `console` blocks, in order, each document in an empty directory of its own, and all `python`
blocks that a `text` block follows, which holds what they print. `$ cat FILE` makes a file that is not there out of the
lines shown. A line `...` stands for lines left out, and `...` in a line for a part of it. Messages are Chinese in
documents called `NAME.zh.md`, English in others. `curl localhost:8000` reaches a service that is started for it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
ELLIPSIS = "..."


@dataclass(frozen=True)
class Example:
    """A command or snippet of a document and what is printed, by the document."""

    source: str
    language: str
    """`console` or `python`."""
    start: int
    """Lines of the document that show the output: from here, counted from 0, ..."""
    end: int
    """... up to here, exclusive."""
    shown: tuple[str, ...]


def documents() -> list[Path]:
    """Return the documents that show commands or snippets with what they print."""
    places = ("*.md", "docs/*.md", "corpora/README.md", "checkpoints/*/README.md")
    paths = [path for place in places for path in sorted(ROOT.glob(place))]
    return [path for path in paths if examples(path.read_text(encoding="utf-8"))]


def examples(text: str) -> list[Example]:
    """Return what a document shows that can be run, in order."""
    found: list[Example] = []
    snippet = ""
    for language, start, lines in _fenced(text):
        if language == "console":
            found += _commands(start, lines)
        if language in ("text", "") and snippet:
            found.append(Example(snippet, "python", start, start + len(lines), tuple(lines)))
        snippet = "\n".join(lines) if language == "python" else ""
    return found


def _fenced(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """Yield language, number of the first line and lines of each fenced block; "-" for prose between two of them."""
    lines = text.splitlines()
    language, start = None, 0
    for number, line in enumerate(lines):
        if line.startswith("```") and language is None:
            if any(between.strip() for between in lines[start:number]):
                yield "-", start, lines[start:number]
            language, start = line[3:].strip(), number + 1
        elif line == "```":
            yield str(language), start, lines[start:number]
            language, start = None, number + 1


def _commands(start: int, lines: list[str]) -> Iterator[Example]:
    """Yield the commands of a console block and the lines below each."""
    places = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for place, following in zip(places, [*places[1:], len(lines)], strict=True):
        shown = tuple(lines[place + 1 : following])
        yield Example(lines[place][2:], "console", start + place + 1, start + following, shown)


def agrees(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Tell whether lines of a document are those that were printed, `...` standing for anything."""
    parts = (
        r"(?:.*\n)*?" if line == ELLIPSIS else re.escape(line).replace(re.escape(ELLIPSIS), ".*?") + r"\n"
        for line in shown
    )
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in printed)) is not None


def renewed(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """Return what a document should show, with as many lines left out as it leaves out now."""
    if agrees(shown, printed):
        return list(shown)
    if ELLIPSIS in shown:
        head = shown.index(ELLIPSIS)
        tail = list(reversed(shown)).index(ELLIPSIS)
        if head + tail < len(printed):
            return [*printed[:head], ELLIPSIS, *printed[len(printed) - tail :]]
    return list(printed)


class Terminal:
    """An empty directory in which commands are run, those of zhseq in this process, with models loaded once."""

    def __init__(self, language: str = "en") -> None:
        """Speak a language, `en` or `zh`."""
        self.language = language
        self._names: dict[str, object] = {"__name__": "snippet"}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Terminal:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        self._stack.callback(os.chdir, Path.cwd())
        os.chdir(folder)
        self._stack.enter_context(mock.patch.dict(os.environ, ZHSEQ_LANG=self.language))
        self._stack.enter_context(_models_loaded_once())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, example: Example) -> list[str]:
        """Return the lines that an example prints, errors among them, without blank lines at the end."""
        missing = re.fullmatch(r"cat ([\w.-]+)", example.source)
        if missing and not Path(missing[1]).exists():
            Path(missing[1]).write_text("".join(f"{line}\n" for line in example.shown), encoding="utf-8")
        screen = io.BytesIO()
        if example.language == "python":
            with _streams(b"", screen, screen):
                exec(compile(example.source, "snippet", "exec"), self._names)
        else:
            for pipeline in _split(example.source, "&&"):
                self._pipeline(_split(pipeline, "|"), screen)
        return screen.getvalue().decode().rstrip("\n").splitlines()

    def _pipeline(self, stages: Sequence[str], screen: io.BytesIO) -> None:
        data = b""
        for number, stage in enumerate(stages, start=1):
            output = screen if number == len(stages) else io.BytesIO()
            words = shlex.split(stage, comments=True)
            program = next(word for word in words if "=" not in word)
            if program == "zhseq" or (program == "python" and "-m" in words):
                _run_zhseq(words, data, output, screen)
            else:
                if program == "curl":
                    stage = stage.replace("localhost:8000", self._service)
                done = subprocess.run(["bash", "-c", stage], input=data, capture_output=True, timeout=60, check=False)
                screen.write(done.stderr)
                output.write(done.stdout)
            data = output.getvalue()

    @functools.cached_property
    def _service(self) -> str:
        """The address of a service that is started when it is first asked for."""
        command = [sys.executable, "-m", "zhseq.serve", "--port", "0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        self._stack.callback(service.wait)
        self._stack.callback(service.terminate)
        assert service.stdout is not None
        self._stack.callback(service.stdout.close)
        for line in service.stdout:
            if address := re.match(rb"zhseq: http://(\S+)", line):
                return address[1].decode()
        raise RuntimeError("the service did not start; run `python -m zhseq.serve` to see why")


def _split(command: str, operator: str) -> list[str]:
    """Split a command at an operator of the shell that stands outside of quotes."""
    parts = [""]
    for token in re.findall(r"""'[^']*'|"[^"]*"|&&|[^'"&]|.""", command):
        if token == operator:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def _run_zhseq(words: list[str], data: bytes, output: io.BytesIO, errors: io.BytesIO) -> None:
    """Run a command of zhseq, given its words, its standard input and where standard output and error go."""
    first = next(number for number, word in enumerate(words) if "=" not in word)
    settings = dict(word.split("=", 1) for word in words[:first])
    end = words.index(">") if ">" in words else len(words)
    target = words[end + 1 :]
    stdout = io.BytesIO() if target else output
    with _streams(data, stdout, errors), mock.patch.dict(os.environ, settings), contextlib.suppress(SystemExit):
        _door(words[first:end])()
    if target:
        Path(target[0]).write_bytes(stdout.getvalue())


def _door(words: list[str]) -> Callable[[], None]:
    """Return what a command calls, and set its arguments."""
    from zhseq.cli import run_main

    if words[0] == "zhseq":
        sys.argv = words
        return import_module("zhseq.__main__").main
    name, arguments = words[words.index("-m") + 1], words[words.index("-m") + 2 :]
    module = import_module(name)
    door = module if hasattr(module, "main") else import_module(f"{name}.__main__")
    sys.argv = [name, *arguments]
    return functools.partial(run_main, door.main)


@contextlib.contextmanager
def _streams(data: bytes, output: io.BytesIO, errors: io.BytesIO) -> Iterator[None]:
    """Let standard input, output and error be these, and give `sys.argv` back afterwards."""
    streams = [io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")]
    streams += [io.TextIOWrapper(stream, encoding="utf-8", write_through=True) for stream in (output, errors)]
    with (
        mock.patch.object(sys, "argv", sys.argv),
        mock.patch.object(sys, "stdin", streams[0]),
        mock.patch.object(sys, "stdout", streams[1]),
        mock.patch.object(sys, "stderr", streams[2]),
    ):
        yield
    for stream in streams[1:]:
        stream.detach()  # or the bytes would be closed with it


@contextlib.contextmanager
def _models_loaded_once() -> Iterator[None]:
    """Keep models without a dictionary from one command to the next."""
    from zhseq import Poet, Tagger

    with mock.patch.object(Poet, "load", _cached(Poet)), mock.patch.object(Tagger, "load", _cached(Tagger)):
        yield


@functools.cache
def _cached(kind: Any) -> Callable[..., Any]:
    load = kind.load
    once = functools.cache(load)

    def cached(*arguments: Any, **options: Any) -> Any:
        return load(*arguments, **options) if options.get("dictionary") else once(*arguments, **options)

    return staticmethod(cached)


def run_document(path: Path) -> Iterator[tuple[Example, list[str]]]:
    """Yield each example of a document and what it prints."""
    with Terminal("zh" if path.name.endswith(".zh.md") else "en") as terminal:
        for example in examples(path.read_text(encoding="utf-8")):
            yield example, terminal.run(example)


def update(path: Path) -> tuple[str, list[str]]:
    """Return a document with what its examples print now, and a line about each that had changed."""
    lines = path.read_text(encoding="utf-8").splitlines()
    changes = []
    for example, printed in reversed(list(run_document(path))):
        if not agrees(example.shown, printed):
            changes.append(f"{path}, line {example.start}: {example.source.splitlines()[0]}")
            lines[example.start : example.end] = renewed(example.shown, printed)
    return "\n".join(lines) + "\n", changes[::-1]


def main() -> int:
    """Bring documents up to date, or say which are not; return the exit status."""
    parser = argparse.ArgumentParser(description="Write into the documents what their examples print now.")
    parser.add_argument("documents", nargs="*", type=Path, metavar="FILE", help="documents (default: all)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 if one is out of date")
    options = parser.parse_args()
    found = False
    for path in options.documents or documents():
        text, changes = update(path.absolute())
        print("\n".join(changes or [f"{path}: up to date"]), flush=True)
        found |= bool(changes)
        if changes and not options.check:
            path.write_text(text, encoding="utf-8")
    return 1 if found and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
