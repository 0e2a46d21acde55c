"""Shared parts of the command lines: common options, error messages, exit codes, standard streams."""

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
from zhseq.errors import ConfigError, InputError, Message, ZhseqError, command_line

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
COMMANDS_FILE = "commands.txt"
"""File in the directory of a training with the command lines that started and resumed it, one per line."""


def program(door: str) -> str:
    """Return the program name for the help of a command: `zhseq poem`, or `python -m zhseq.poem`, as it was called."""
    called = f"zhseq {door}"
    return called if sys.argv and sys.argv[0] == called else f"python -m zhseq.{door}"


def add_output(group: argparse._ActionsContainer, *, metavar: str, help: str, required: bool = False) -> None:
    """Add `--output`, with the alias `--out`."""
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
    """Add `--threads`; the default respects OMP_NUM_THREADS, see `zhseq.device.set_threads`."""
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: 1)")


class Parser(argparse.ArgumentParser):
    """A parser that raises an error if its help cannot be written; argparse ignores this."""

    def print_help(self, file: Any = None) -> None:
        """Write the help to a file, by default standard output.

        Raises:
            OSError: The help cannot be written.
        """
        print(self.format_help(), end="", file=file, flush=True)


class SettingsParser(Parser):
    """A parser whose help lists the settings for `--set`, with defaults and descriptions."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.recipes: dict[str, object] = {}
        """Recipes with default settings, by command."""

    def format_help(self) -> str:
        """Return the help, followed by the settings."""
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
    """Add the options of all training commands: output directory, `--set`, and short options for common settings.

    Args:
        parser: Parser of the command.
        command: Name of the command.
        recipe: Settings with their defaults; None for a command without settings.
        products: Names in the output directory that show that it contains a training.
    """
    add_output(parser, metavar="DIR", required=True, help="output directory of the run")
    keys = set[str]()
    if recipe is not None:
        parser.recipes = {command: recipe}
        keys = {setting.key for setting in settings_of(recipe)}
        parser.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; see the list below"
        )
    again = parser.add_mutually_exclusive_group()
    if "training.epochs" in keys:  # commands that use the training loop can be resumed
        again.add_argument("--resume", action="store_true", help="continue the run in DIR")
    again.add_argument("--overwrite", action="store_true", help="replace the run in DIR")
    short = {name: key for name in ("device", "threads", "seed") for key in (f"training.{name}", name) if key in keys}
    for name, key in short.items():
        metavar = "DEVICE" if name == "device" else "N"
        parser.add_argument(f"--{name}", metavar=metavar, help=f"the same as --set {key}={metavar}")
    parser.set_defaults(short=short, products=tuple(products))


def begin_run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Convert short options to settings, and check that no existing training is overwritten by mistake.

    For a training that can be resumed, record the command line for the model card.

    Args:
        options: Parsed options; short options are appended to `options.set`.
        arguments: The command line.

    Raises:
        InputError: The output is a file, or already contains a training.
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
            "a run is stored in a directory, but {path} is a file; give another <output>",
            path=existing,
        )
    resume = getattr(options, "resume", False)
    there = [name for name in options.products if (options.output / name).exists()]
    if options.overwrite or resume:
        there = []
    if there and hasattr(options, "resume"):
        raise InputError(
            "run_exists",
            "{folder} already contains a run ({name}): resume it with <resume>, start again with "
            "<overwrite>, or give another <output>",
            folder=options.output,
            name=there[0],
        )
    if there:
        raise InputError(
            "output_exists",
            "{folder} already contains {name}: replace it with <overwrite>, or give another <output>",
            folder=options.output,
            name=there[0],
        )
    if hasattr(options, "resume") and os.environ.get("RANK", "0") == "0":  # the main process of several
        options.output.mkdir(parents=True, exist_ok=True)
        with (options.output / COMMANDS_FILE).open("a" if resume else "w", encoding="utf-8") as file:
            file.write(f"python -m zhseq.train {shlex.join(arguments)}\n")


def note(message: Message) -> None:
    """Print a note on standard error."""
    print(f"zhseq: {message.render(command_line)}", file=sys.stderr)


STANDARD_INPUT = "-"
"""File name for standard input and standard output."""
_INPUTS = (STANDARD_INPUT, "/dev/stdin", "/dev/fd/0")
_OUTPUTS = (STANDARD_INPUT, "/dev/stdout", "/dev/fd/1")


def is_standard_input(name: str | Path) -> bool:
    """Return whether a file name denotes standard input."""
    return str(name) in _INPUTS


def is_standard_output(name: str | Path) -> bool:
    """Return whether a file name denotes standard output, which must not be opened (and truncated) again."""
    return str(name) in _OUTPUTS


def unreadable_file(name: str | Path, error: OSError) -> InputError:
    """Return the error for a file given by the user that cannot be opened."""
    return InputError("unreadable_file", "{name}: the file cannot be read: {reason}.", name=name, reason=error.strerror)


@contextmanager
def open_input(name: str | Path) -> Iterator[BinaryIO]:
    """Open a file, or standard input, for reading in binary mode.

    Raises:
        InputError: The file cannot be opened, or the name denotes standard input, which is closed.
    """
    if not is_standard_input(name):
        try:
            stream = Path(name).open("rb")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise unreadable_file(name, error) from error
        with stream:
            yield stream
    elif sys.stdin is None:
        raise InputError("closed_input", "standard input is closed; expected text to read.")
    else:
        yield sys.stdin.buffer


class _ClosedStream(io.TextIOBase):
    """Replacement of a closed standard output: writing raises an error, as in other Unix tools."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")


def _prepare_streams() -> None:
    """Make standard streams accept any text, and reserve the descriptors of closed streams."""
    for descriptor in range(3):
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDONLY)  # gets the lowest free descriptor, which is this one; writing fails
    if sys.stdout is None:
        sys.stdout = _ClosedStream()
    if sys.stderr is None:  # else `print(file=None)` writes to standard output
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (open to the end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Print a lone surrogate in a message as an escape instead of raising an error.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


_DISTRIBUTIONS = {"torchcrf": "pytorch-crf"}
"""Name of a module -> name of its package on PyPI, if it differs."""


def _report(error: ZhseqError) -> int:
    """Print an error as one sentence and return the exit status."""
    print(f"zhseq: {error.message.render(command_line)}", file=sys.stderr)
    return EXIT_ERROR


def _missing_package(error: ModuleNotFoundError) -> ConfigError:
    """Return a message that names the missing package; raise the error again if a module of zhseq is missing."""
    module = (error.name or "").partition(".")[0]
    if module in ("", __package__):
        raise error
    return ConfigError(
        "no_package",
        "this needs the package {package}, which is not installed; install it with: pip install {package}",
        package=_DISTRIBUTIONS.get(module, module),
    )


def run_main(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run a front door and exit with its status.

    A `ZhseqError`, an `OSError` or a package that is not installed is printed on standard error as one sentence, with
    exit status 2. Ctrl-C gives status 130. A reader that closes the pipe early (`| head`) ends the program silently
    with status 0.
    """
    try:
        _prepare_streams()
        status = main(None)
        sys.stdout.flush()
    except BrokenPipeError:
        # Redirect standard output, which Python flushes again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        print("zhseq: interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except ZhseqError as error:
        status = _report(error)
    except ModuleNotFoundError as error:
        status = _report(_missing_package(error))
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        print(f"zhseq: {error.strerror or error}{name}", file=sys.stderr)
        status = EXIT_ERROR
        with suppress(OSError, ValueError):  # as above: do not write again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
