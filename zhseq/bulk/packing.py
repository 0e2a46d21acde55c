"""Files that may be compressed, as streams of bytes; one that was cut short is an error, never a shorter file."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from zhseq.errors import InputError

PACKINGS = (".gz", ".zst")
_BLOCK = 16384  # compressed bytes that are unpacked at once: few, since each may become a thousand


@contextmanager
def open_packed(name: str, packing: str) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
    """Open a file for reading, unpacked; the second value tells how many bytes of the file itself were read.

    Args:
        name: The file.
        packing: `.gz`, `.zst`, or nothing.

    Raises:
        InputError: What is read is damaged or cut short (also raised while it is read, inside the block), or the
            package that unpacks it is missing.
    """
    try:
        with Path(name).open("rb") as file:
            if not packing:
                yield file, file.tell
            elif packing == ".gz":
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield cast(BinaryIO, unpacked), file.tell
            else:
                yield cast(BinaryIO, io.BufferedReader(_Zstandard(file, name), 2**17)), file.tell
    except EOFError as error:
        raise InputError(_cut_short(name)) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{name}: expected a gzip file, found damaged data ({error}); fetch it again.") from error


def _cut_short(name: str) -> str:
    return f"{name}: expected a whole compressed file, found one that was cut short; fetch it again."


class _Zstandard(io.RawIOBase):
    """Reads all frames of a Zstandard file, and notices when the last one has no end: the package's readers do not."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise InputError(
                f"{name}: reading .zst needs the package zstandard; pip install 'zhseq[corpora]'"
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
                    raise InputError(_cut_short(self._name))
                return 0
            try:
                self._ready = memoryview(self._frame.decompress(data))
            except self._error as error:
                raise InputError(
                    f"{self._name}: expected a Zstandard file, found damaged data ({error}); fetch it again."
                ) from error
            self._begun = not self._frame.eof
            if self._frame.eof:
                self._rest = self._frame.unused_data
                self._frame = self._unpacker.decompressobj()
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size], self._ready = self._ready[:size], self._ready[size:]
        return size
