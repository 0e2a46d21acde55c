"""Share what every command line of zhseq has: spellings of options, errors as sentences, exit codes, closed pipes."""

from __future__ import annotations

import argparse
import errno
import io
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from zhseq.config import settings_of
from zhseq.errors import InputError, Message, ZhseqError, command_line

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
COMMANDS_FILE = "commands.txt"
"""Command lines that a training was begun and gone on with, in its directory, one a line."""


def program(door: str) -> str:
    """Return how the user called a front door: `zhseq poem`, or else `python -m zhseq.poem`."""
    called = f"zhseq {door}"
    return called if sys.argv and sys.argv[0] == called else f"python -m zhseq.{door}"


def add_output(group: argparse._ActionsContainer, *, metavar: str, help: str, required: bool = False) -> None:
    """Add `--output`, which may be spelled `--out`."""
    group.add_argument("--output", "--out", type=Path, required=required, metavar=metavar, help=help)


def add_device(group: argparse._ActionsContainer) -> None:
    """Add `--device`."""
    group.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (default: cpu)")


def add_backend(group: argparse._ActionsContainer) -> None:
    """Add `--backend`."""
    group.add_argument(
        "--backend",
        choices=("auto", "native", "onnx", "torch"),
        default="auto",
        help="backend of the network: zhseq's own code, onnxruntime or PyTorch (default: auto, the fastest)",
    )


def add_threads(group: argparse._ActionsContainer) -> None:
    """Add `--threads`; without it, a user's OMP_NUM_THREADS counts, see `zhseq.device.set_threads`."""
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: 1)")


class SettingsParser(argparse.ArgumentParser):
    """A parser whose help lists the settings that `--set` takes, with their defaults and meanings."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.recipes: dict[str, object] = {}
        """Recipes with default settings, by the command that they are of."""

    def format_help(self) -> str:
        """Return the usual help and the settings."""
        parts = [super().format_help()]
        for command, recipe in self.recipes.items():
            parts += [f"settings of {command} (--set KEY=VALUE), with their defaults:", *_setting_lines(recipe), ""]
        return "\n".join(parts)


def _setting_lines(recipe: object) -> Iterator[str]:
    width = max(40, min(shutil.get_terminal_size().columns, 120)) - 2
    for setting in settings_of(recipe):
        yield f"  {setting.key}={setting.default}"
        yield textwrap.fill(setting.meaning, width, initial_indent=" " * 6, subsequent_indent=" " * 6)


def add_run_options(parser: SettingsParser, command: str, recipe: object | None, *, products: Sequence[str]) -> None:
    """Add what all trainings take: where they write, settings, and options that are short for some of these.

    Args:
        parser: The parser of the command.
        command: Its name.
        recipe: All settings, with their defaults; None where there are none.
        products: Names in the output directory by which a finished or interrupted training is known.
    """
    add_output(parser, metavar="DIR", required=True, help="output directory of the run")
    keys = set[str]()
    if recipe is not None:
        parser.recipes = {command: recipe}
        keys = {setting.key for setting in settings_of(recipe)}
        parser.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; they are listed below"
        )
    again = parser.add_mutually_exclusive_group()
    if "training.epochs" in keys:  # the one loop, which can go on
        again.add_argument("--resume", action="store_true", help="continue the run in DIR")
    again.add_argument("--overwrite", action="store_true", help="replace the run in DIR")
    short = {name: key for name in ("device", "threads", "seed") for key in (f"training.{name}", name) if key in keys}
    for name, key in short.items():
        metavar = "DEVICE" if name == "device" else "N"
        parser.add_argument(f"--{name}", metavar=metavar, help=f"the same as --set {key}={metavar}")
    parser.set_defaults(short=short, products=tuple(products))


def begin_run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Move options that are short for settings to these, and see to it that no finished training is lost.

    A training that can be gone on with keeps the command line, for its model card.

    Raises:
        InputError: The output is a file, or holds a training already.
    """
    given = {key: getattr(options, name) for name, key in options.short.items()}
    options.set = [
        *getattr(options, "set", []),
        *(f"{key}={value}" for key, value in given.items() if value is not None),
    ]
    existing = next(path for path in (options.output.absolute(), *options.output.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError(
            "output_is_a_file",
            "a training is kept in a directory, but {path} is a file; give another <output>",
            path=existing,
        )
    resume = getattr(options, "resume", False)
    there = [name for name in options.products if (options.output / name).exists()]
    if options.overwrite or resume:
        there = []
    if there and hasattr(options, "resume"):
        raise InputError(
            "run_exists",
            "{folder} holds a training already ({name}): go on with it by <resume>, begin anew by <overwrite>, or give "
            "another <output>",
            folder=options.output,
            name=there[0],
        )
    if there:
        raise InputError(
            "output_exists",
            "{folder} holds {name} already: replace it by <overwrite>, or give another <output>",
            folder=options.output,
            name=there[0],
        )
    if hasattr(options, "resume") and os.environ.get("RANK", "0") == "0":  # of several processes the first
        options.output.mkdir(parents=True, exist_ok=True)
        with (options.output / COMMANDS_FILE).open("a" if resume else "w", encoding="utf-8") as file:
            file.write(f"python -m zhseq.train {shlex.join(arguments)}\n")


def note(message: Message) -> None:
    """Tell the user something that is no error."""
    print(f"zhseq: {message.render(command_line)}", file=sys.stderr)


STANDARD_INPUT = "-"
"""Name by which command lines call standard input, and standard output."""
_INPUTS = (STANDARD_INPUT, "/dev/stdin", "/dev/fd/0")
_OUTPUTS = (STANDARD_INPUT, "/dev/stdout", "/dev/fd/1")


def is_standard_input(name: str | Path) -> bool:
    """Tell whether a name of a file means standard input."""
    return str(name) in _INPUTS


def is_standard_output(name: str | Path) -> bool:
    """Tell whether a name of a file means standard output, which is never opened, and so not cut, a second time."""
    return str(name) in _OUTPUTS


@contextmanager
def open_input(name: str | Path) -> Iterator[BinaryIO]:
    """Open a file that the user named, or standard input, for reading.

    Raises:
        InputError: It is standard input, and closed.
        OSError: As `open`.
    """
    if not is_standard_input(name):
        with Path(name).open("rb") as stream:
            yield stream
    elif sys.stdin is None:
        raise InputError("closed_input", "expected something to read on standard input, found it closed.")
    else:
        yield sys.stdin.buffer


class _ClosedStream(io.TextIOBase):
    """Stands for a standard output that was closed: what is written is an error, as it is for any Unix tool."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")


def _mend_streams() -> None:
    """Let standard streams take any text, and none that is closed be mistaken for a file that is opened later."""
    for descriptor in range(3):
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDONLY)  # the lowest that is free, and so this one; writing to it stays an error
    if sys.stdout is None:
        sys.stdout = _ClosedStream()
    if sys.stderr is None:  # else `print(file=None)` writes to standard output
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (open to the end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A lone surrogate in a user's text must come out as an escape in a message, never as a traceback.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def run_main(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run a front door and exit with its status.

    A `ZhseqError` or an operating-system error becomes one sentence on standard error and exit status 2; Ctrl-C gives
    130; a reader that closes the pipe early (`| head`) ends the program silently, as it does for any Unix filter.
    """
    try:
        _mend_streams()
        status = main(None)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain again while flushing at exit; give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        print("zhseq: interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except ZhseqError as error:
        print(f"zhseq: {error.message.render(command_line)}", file=sys.stderr)
        status = EXIT_ERROR
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        print(f"zhseq: {error.strerror or error}{name}", file=sys.stderr)
        status = EXIT_ERROR
        with suppress(OSError, ValueError):  # what could not be written would be tried again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
