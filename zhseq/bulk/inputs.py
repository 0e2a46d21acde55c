"""Resolve the inputs of a run: files, folders and glob patterns -> sources in a fixed order.

Folders are searched recursively and sorted by path. Binary and hidden files in folders and among the matches of a
pattern are skipped with a note. A file given by name is always read.
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

from zhseq.cli import is_standard_input, unreadable_file
from zhseq.errors import InputError, Message
from zhseq.text.encoding import Notify

PACKINGS = (".gz", ".zst")
_BLOCK = 16384  # compressed bytes that are decompressed at once; each may become a thousand bytes


@contextmanager
def open_packed(name: str, packing: str) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
    """Open a file for reading, decompressed if necessary.

    Args:
        name: The file.
        packing: Compression by file name extension, `.gz` or `.zst`; empty for none.

    Yields:
        The decompressed stream, and a function that returns the number of bytes of the file read so far (0 for pipes).

    Raises:
        InputError: The data is damaged or truncated (also raised on reading from the stream), or the package for the
            compression is missing.
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
        raise _truncated(name) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            "damaged_gzip",
            "{name}: expected a gzip file, found damaged data ({reason}); fetch it again.",
            name=name,
            reason=error,
        ) from error


def _truncated(name: str) -> InputError:
    return InputError(
        "cut_short",
        "{name}: expected a whole compressed file, found one that was cut short; fetch it again.",
        name=name,
    )


class _Zstandard(io.RawIOBase):
    """Decompress all frames of a Zstandard file, and detect truncation, which the readers of the package do not."""

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
        self._begun = False  # whether the current frame is incomplete
        self._rest = b""  # compressed data of the next frame
        self._ready = memoryview(b"")  # decompressed data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._rest or self._file.read(_BLOCK)
            self._rest = b""
            if not data:
                if self._begun:
                    raise _truncated(self._name)
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
"""File name extension, before that of the compression -> kind; all other files are lines of text."""

_WITHOUT_DEFAULT = (CSV, TSV, EXCEL)  # tables without a default for the column of the text
_BINARY = {PARQUET: "Parquet", EXCEL: "Excel"}  # formats with internal compression
_HEAD = 65536  # bytes from which binary files are detected
_UNICODE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-16 is not skipped as binary: reading it is an error
_GROUP = 32 * 2**20  # bytes on disk of a group


@dataclass(frozen=True)
class Source:
    """One input.

    Attributes:
        name: Name in messages.
        path: Absolute path without `..`; None for standard input.
        kind: `text`, `json`, `csv`, `tsv`, `parquet` or `excel`.
        packing: Extension of the compression, `.gz` or `.zst`; empty for none.
        size: Bytes on disk; 0 if unknown.
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
        sources: Sources in the order in which they are tagged.
        folders: Absolute paths of the folders that were searched.
        root: Deepest common folder of all inputs; None for standard input only.
    """

    sources: tuple[Source, ...]
    folders: tuple[Path, ...]
    root: Path | None


def discover(names: Sequence[str], *, column: str | None, notify: Notify) -> Inputs:
    """Find the sources of the inputs given by the user.

    Args:
        names: Files, folders, glob patterns (`data/**/*.txt`), or `-` for standard input.
        column: Field or column of the text; if given, standard input is read as JSON lines.
        notify: Called for each file that is skipped.

    Raises:
        InputError: An input cannot be read, a folder or pattern contains no text, a table is given without `column`, or
            `column` without any file that has columns.
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
                sources += _folder_sources(entry, notify)
            elif entry == name or _is_text(entry, notify):
                bases.append(path.parent)
                sources.append(_source(entry))
    if not sources:
        raise InputError(
            "no_text_found",
            "{name}: expected text files, found none; the notes above list what was skipped.",
            name=names[0],
        )
    _check_column(sources, column)
    return Inputs(tuple(sources), tuple(folders), Path(os.path.commonpath(bases)) if bases else None)


def _check_column(sources: Sequence[Source], column: str | None) -> None:
    for source in sources:
        if column is None and source.kind in _WITHOUT_DEFAULT:
            raise InputError(
                "table_without_column",
                "{name}: CSV, TSV and Excel files require <column> with the name of the text column; "
                "name one, or name the files without this one.",
                name=source.name,
            )
    if column is not None and all(source.kind == TEXT for source in sources):
        raise InputError(
            "column_without_table",
            "{name}: expected a JSON Lines, CSV, TSV, Excel or Parquet file with <column>, found "
            "plain text; leave <column> out, or give the file the extension of its format.",
            name=sources[0].name,
        )


def absolute(name: str | Path) -> Path:
    """Return an absolute path without `..`; symbolic links are not resolved."""
    return Path(os.path.normpath(Path(name).absolute()))


def groups(sources: Iterable[Source]) -> Iterator[tuple[int, list[Source]]]:
    """Split the sources into groups of limited size. Lines of different groups are never in one chunk.

    The groups depend on the files only, so that one process, several processes and a cluster form the same chunks.

    Yields:
        The index of the first source of a group, and the group.
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
    """Return the matches of a glob pattern, or the name itself if it is not a pattern."""
    if os.path.lexists(name) or not glob.has_magic(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True), key=lambda entry: Path(entry).parts)  # noqa: PTH207 (absolute too)
    # `**` also matches the files in these folders, one by one.
    found = [entry for entry in found if not ("**" in name and Path(entry).is_dir())]
    if not found:
        raise InputError("empty_pattern", "{name}: no file matches this pattern.", name=name)
    return found


def _folder_sources(folder: str, notify: Notify) -> list[Source]:
    entries = sorted(_walk(folder, notify), key=lambda entry: Path(entry).parts)
    found = [_source(entry) for entry in entries if _is_text(entry, notify)]
    if not found:
        raise InputError(
            "folder_without_text",
            "{folder}: expected text files in the folder, found {count} other files.",
            folder=folder,
            count=len(entries),
        )
    return found


def _walk(folder: str, notify: Notify) -> Iterator[str]:
    """Yield the files below a folder, following symbolic links, each folder once."""
    seen: set[tuple[int, int]] = set()

    def failed(error: OSError) -> None:
        raise InputError(
            "unreadable_folder",
            "{folder}: the folder cannot be read: {reason}.",
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
                    Message("hidden_file", "{name}: skipped, its name begins with a dot", {"name": Path(entry, name)})
                )
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (str(Path(entry, name)) for name in files if not name.startswith("."))


def _source(name: str) -> Source:
    """Create the source of a file.

    Raises:
        InputError: It cannot be read.
    """
    path = Path(name)
    packing = path.suffix.lower() if path.suffix.lower() in PACKINGS else ""
    kind = KINDS.get((path.with_suffix("") if packing else path).suffix.lower(), TEXT)
    if kind in _BINARY and packing:
        raise InputError(
            "packed_table",
            "{name}: expected an uncompressed {kind} file, found one compressed as {packing}; decompress it first.",
            name=name,
            kind=_BINARY[kind],
            packing=packing,
        )
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # opening and closing a pipe would end the program that writes to it
            path.open("rb").close()
    except OSError as error:
        raise unreadable_file(name, error) from error
    return Source(name, absolute(name), kind, packing, status.st_size)


def _is_text(name: str, notify: Notify) -> bool:
    """Return whether a file found by a folder or pattern is text; notify if it is skipped."""
    try:
        regular = stat.S_ISREG(Path(name).stat().st_mode)
    except OSError:
        regular = False  # a broken link
    if not regular:
        notify(Message("no_regular_file", "{name}: skipped, not a readable file", {"name": name}))
        return False
    source = _source(name)
    if source.kind in _BINARY:
        return True
    with open_packed(name, source.packing) as (stream, _):
        head = stream.read(_HEAD)
    if b"\0" in head and not head.startswith(_UNICODE_MARKS):
        notify(Message("binary_file", "{name}: skipped, it contains binary data", {"name": name}))
        return False
    return True


def check_not_read(outputs: Iterable[Path | int], inputs: Inputs, dictionary: Path | None) -> None:
    """Check that no output is also an input or the dictionary, possibly by another name (link).

    Args:
        outputs: Files, which need not exist, or open file descriptors.
        inputs: Inputs of the run.
        dictionary: User dictionary, if any.

    Raises:
        InputError: An output is also read, so that writing would destroy it.
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
                "the output would overwrite an input file ({name}); name another file with <output>.",
                name=read[identity],
            )


def _identity(entry: Path | int) -> tuple[int, int] | None:
    """Return device and inode of a regular file; None for anything else."""
    try:
        status = os.stat(entry)  # noqa: PTH116 (a descriptor has no path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
