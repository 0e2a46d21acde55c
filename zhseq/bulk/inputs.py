"""Find what is to be tagged: files, folders and patterns -> sources in a fixed order.

Folders are searched through, sorted by path. In them, and among what a pattern finds, files that are no text are left
out with a note, as are hidden ones; a file that is named is read whatever it looks like.
"""

from __future__ import annotations

import codecs
import glob
import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from zhseq.cli import is_standard_input
from zhseq.errors import InputError, Message
from zhseq.text.encoding import Notify

PACKINGS = (".gz", ".zst")
_BLOCK = 16384  # compressed bytes that are unpacked at once: few, since each may become a thousand


@contextmanager
def open_packed(name: str, packing: str) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
    """Open a file for reading, unpacked; the second value tells how many bytes of the file itself were read.

    Args:
        name: The file.
        packing: `.gz`, `.zst`, or nothing.

    Yields:
        What is unpacked, and a function that returns bytes (of a pipe, 0).

    Raises:
        InputError: What is read is damaged or cut short (also raised while it is read, inside the block), or the
            package that unpacks it is missing.
    """
    try:
        with Path(name).open("rb") as file:
            tell = file.tell if file.seekable() else lambda: 0
            if not packing:
                yield file, tell
            elif packing == ".gz":
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield cast(BinaryIO, unpacked), tell
            else:
                yield cast(BinaryIO, io.BufferedReader(_Zstandard(file, name), 2**17)), tell
    except EOFError as error:
        raise _cut_short(name) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            "damaged_gzip",
            "{name}: expected a gzip file, found damaged data ({reason}); fetch it again.",
            name=name,
            reason=error,
        ) from error


def _cut_short(name: str) -> InputError:
    return InputError(
        "cut_short",
        "{name}: expected a whole compressed file, found one that was cut short; fetch it again.",
        name=name,
    )


class _Zstandard(io.RawIOBase):
    """Reads all frames of a Zstandard file, and notices when the last one has no end: the package's readers do not."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise InputError(
                "no_zstandard",
                "{name}: reading .zst needs the package zstandard; pip install 'zhseq[corpora]'",
                name=name,
            ) from error
        self._file, self._name = file, name
        self._error = zstandard.ZstdError
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=2**31)
        self._frame = self._unpacker.decompressobj()
        self._begun = False  # whether the frame has got any data
        self._rest = b""  # packed, of the next frame
        self._ready = memoryview(b"")  # unpacked

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._rest or self._file.read(_BLOCK)
            self._rest = b""
            if not data:
                if self._begun:
                    raise _cut_short(self._name)
                return 0
            try:
                self._ready = memoryview(self._frame.decompress(data))
            except self._error as error:
                raise InputError(
                    "damaged_zstandard",
                    "{name}: expected a Zstandard file, found damaged data ({reason}); fetch it again.",
                    name=self._name,
                    reason=error,
                ) from error
            self._begun = not self._frame.eof
            if self._frame.eof:
                self._rest = self._frame.unused_data
                self._frame = self._unpacker.decompressobj()
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


TEXT, JSON, CSV, TSV, PARQUET, EXCEL = "text", "json", "csv", "tsv", "parquet", "excel"
KINDS = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), JSON),
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
    ".xlsx": EXCEL,
}
"""Last ending of a name, before that of its packing -> how the file is read; every other name means lines of text."""

_WITHOUT_DEFAULT = (CSV, TSV, EXCEL)  # tables that people make: any column may be the text
_BINARY = {PARQUET: "Parquet", EXCEL: "Excel"}  # packed inside already
_HEAD = 65536  # bytes that tell text from what is not
_UNICODE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # such a file is no binary: reading it gives a clear error
_GROUP = 32 * 2**20  # bytes on disk


@dataclass(frozen=True)
class Source:
    """One input.

    Attributes:
        name: What messages call it.
        path: Absolute path without `..`; None for standard input.
        kind: How it is read: `text`, `json`, `csv`, `tsv`, `parquet` or `excel`.
        packing: Ending of the compression, `.gz` or `.zst`; empty for none.
        size: Bytes on disk; 0 where that is not known.
    """

    name: str
    path: Path | None
    kind: str
    packing: str
    size: int


@dataclass(frozen=True)
class Inputs:
    """All sources of a run.

    Attributes:
        sources: In the order in which they are tagged.
        folders: The folders that were searched, as absolute paths.
        root: The deepest folder that holds everything that was named; None for standard input alone.
    """

    sources: tuple[Source, ...]
    folders: tuple[Path, ...]
    root: Path | None


def discover(names: Sequence[str], *, column: str | None, notify: Notify) -> Inputs:
    """Find the sources that the user named.

    Args:
        names: Files, folders, patterns (`data/**/*.txt`), or `-` for standard input.
        column: The field of records that was asked for; with one, standard input is read as JSON lines.
        notify: Called for each file that is left out.

    Raises:
        InputError: Something cannot be read, a folder or pattern gives nothing, a table comes without a column, or a
            column without a file that has any.
    """
    sources: list[Source] = []
    folders: list[Path] = []
    bases: list[Path] = []
    for name in names:
        if is_standard_input(name):
            sources.append(Source("standard input", None, TEXT if column is None else JSON, "", 0))
            continue
        for entry in _expand(name):
            path = absolute(entry)
            if path.is_dir():
                folders.append(path)
                bases.append(path)
                sources += _of_folder(entry, notify)
            elif entry == name or _is_text(entry, notify):
                bases.append(path.parent)
                sources.append(_source(entry))
    if not sources:
        raise InputError(
            "no_text_found",
            "{name}: expected files with text, found none; see the notes for what was left out.",
            name=names[0],
        )
    _check_column(sources, column)
    return Inputs(tuple(sources), tuple(folders), Path(os.path.commonpath(bases)) if bases else None)


def _check_column(sources: Sequence[Source], column: str | None) -> None:
    for source in sources:
        if column is None and source.kind in _WITHOUT_DEFAULT:
            raise InputError(
                "table_without_column",
                "{name}: expected <column> with the name of the column that holds the text, as for every CSV, TSV and "
                "Excel file, found none; name one, or name the files without this one.",
                name=source.name,
            )
    if column is not None and all(source.kind == TEXT for source in sources):
        raise InputError(
            "column_without_table",
            "{name}: expected JSON lines, CSV, TSV, Excel or Parquet with <column>, found lines of text; leave "
            "<column> out, or give the file the ending of what it is.",
            name=sources[0].name,
        )


def absolute(name: str | Path) -> Path:
    """Return an absolute path without `..` in it. Links are kept: the name counts, not what it leads to."""
    return Path(os.path.normpath(Path(name).absolute()))


def groups(sources: Iterable[Source]) -> Iterator[tuple[int, list[Source]]]:
    """Cut the sources into runs of some size. Lines of different runs are never tagged together.

    The cut depends on the files alone, so that one process, several and a cluster tag the same lines together.

    Yields:
        The number of the first source of a run, and the run.
    """
    run: list[Source] = []
    size = first = 0
    for number, source in enumerate(sources):
        run.append(source)
        size += source.size
        if size >= _GROUP:
            yield first, run
            run, size, first = [], 0, number + 1
    if run:
        yield first, run


def _expand(name: str) -> list[str]:
    """Return the name itself, or what it stands for as a pattern."""
    if os.path.lexists(name) or not glob.has_magic(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True), key=lambda entry: Path(entry).parts)  # noqa: PTH207 (absolute too)
    # A folder that `**` found stands for files that the pattern chose or did not choose one by one.
    found = [entry for entry in found if not ("**" in name and Path(entry).is_dir())]
    if not found:
        raise InputError(
            "empty_pattern", "{name}: expected a pattern that some files match, found none that do.", name=name
        )
    return found


def _of_folder(folder: str, notify: Notify) -> list[Source]:
    entries = sorted(_walk(folder, notify), key=lambda entry: Path(entry).parts)
    found = [_source(entry) for entry in entries if _is_text(entry, notify)]
    if not found:
        raise InputError(
            "folder_without_text",
            "{folder}: expected a folder with files of text, found {count} other files in it.",
            folder=folder,
            count=len(entries),
        )
    return found


def _walk(folder: str, notify: Notify) -> Iterator[str]:
    """Yield the files below a folder, links followed, each folder once."""
    seen: set[tuple[int, int]] = set()

    def failed(error: OSError) -> None:
        raise InputError(
            "unreadable_folder",
            "{folder}: expected a folder that can be read: {reason}.",
            folder=error.filename,
            reason=error.strerror,
        ) from error

    for entry, names, files in os.walk(folder, onerror=failed, followlinks=True):
        status = Path(entry).stat()
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in [*names, *files]:
            if name.startswith("."):
                notify(
                    Message("hidden_file", "{name}: left out, its name begins with a dot", {"name": Path(entry, name)})
                )
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (str(Path(entry, name)) for name in files if not name.startswith("."))


def _source(name: str) -> Source:
    """Describe a file.

    Raises:
        InputError: It cannot be read.
    """
    path = Path(name)
    packing = path.suffix.lower() if path.suffix.lower() in PACKINGS else ""
    kind = KINDS.get((path.with_suffix("") if packing else path).suffix.lower(), TEXT)
    if kind in _BINARY and packing:
        raise InputError(
            "packed_table",
            "{name}: expected {kind} as it is, found a file packed as {packing}; unpack it first.",
            name=name,
            kind=_BINARY[kind],
            packing=packing,
        )
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # to open a pipe and leave it would end the program that writes to it
            path.open("rb").close()
    except OSError as error:
        raise InputError(
            "unreadable_file", "{name}: expected a file that can be read: {reason}.", name=name, reason=error.strerror
        ) from error
    return Source(name, absolute(name), kind, packing, status.st_size)


def _is_text(name: str, notify: Notify) -> bool:
    """Tell whether a file that was found, not named, is to be read; else say that it is not."""
    try:
        regular = stat.S_ISREG(Path(name).stat().st_mode)
    except OSError:
        regular = False  # a link that leads nowhere
    if not regular:
        notify(Message("no_regular_file", "{name}: left out, it is no file that can be read", {"name": name}))
        return False
    source = _source(name)
    if source.kind in _BINARY:
        return True
    with open_packed(name, source.packing) as (stream, _):
        head = stream.read(_HEAD)
    if b"\0" in head and not head.startswith(_UNICODE_MARKS):
        notify(Message("binary_file", "{name}: left out, it holds binary data", {"name": name}))
        return False
    return True


def check_not_read(outputs: Iterable[Path | int], inputs: Inputs, dictionary: Path | None) -> None:
    """Check that no output is a file that is read, under whatever name: links count.

    Args:
        outputs: Files, which need not exist, or open file descriptors.
        inputs: What is tagged.
        dictionary: The user's own words.

    Raises:
        InputError: One is; writing it would destroy what is read.
    """
    read: dict[tuple[int, int], str] = {}
    for source in inputs.sources:
        identity = _identity(source.path or 0)
        if identity is not None:
            read[identity] = source.name
    if dictionary is not None and (identity := _identity(dictionary)) is not None:
        read[identity] = str(dictionary)
    for output in outputs:
        if (identity := _identity(output)) in read:
            raise InputError(
                "output_is_input",
                "expected results to go to a file of their own, found that they would overwrite what is read ({name}); "
                "name another file with <output>.",
                name=read[identity],
            )


def _identity(entry: Path | int) -> tuple[int, int] | None:
    """Return what is the same for all names of a regular file, None for all else."""
    try:
        status = os.stat(entry)  # noqa: PTH116 (a descriptor has no path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
