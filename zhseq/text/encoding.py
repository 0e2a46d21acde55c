"""Bytes of unknown encoding -> text: UTF-8 with or without a mark, else GB18030, else an error that names the place.

A file that begins as UTF-8 (it has characters beyond ASCII, and they are valid) stays UTF-8: one damaged byte in it is
an error, not a reason to read all of it as Chinese of another encoding. That is decided line by line, so that a file of
any size is read in flat memory.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterable, Iterator

from zhseq.errors import InputError

AUTO, UTF8, GB18030 = ENCODINGS = ("auto", "utf-8", "gb18030")

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GB2312_SHARE = 0.7
"""Text in GB18030 has nearly all of its characters in the GB2312 part; Big5 read as GB18030 has about half there."""
_MIN_PAIRS = 4  # two-byte characters below which that share says nothing


class LineDecoder:
    """Decodes one line after another, and decides on the encoding when it has to.

    Attributes:
        encoding: What is known so far: auto, utf-8 or gb18030.
    """

    def __init__(
        self, name: str, encoding: str = AUTO, errors: str = "strict", notify: Callable[[str], None] | None = None
    ) -> None:
        """Start with the first line of a file.

        Args:
            name: How messages call the file.
            encoding: One of `ENCODINGS`.
            errors: `strict`, or `replace` to read bytes that cannot be decoded as U+FFFD.
            notify: Called once with a sentence when the text turns out to be GB18030.
        """
        self.encoding = encoding
        self._name, self._errors, self._notify = name, errors, notify
        self._number = 0

    def decode(self, line: bytes) -> str:
        """Decode the next line.

        Raises:
            InputError: A byte cannot be decoded; names line and byte.
        """
        self._number += 1
        if self._number == 1:
            if line.startswith(_UTF16_MARKS):
                raise InputError(f"{self._name}: expected UTF-8 or GB18030, found UTF-16; save the file as UTF-8.")
            if self.encoding != GB18030:
                line = line.removeprefix(codecs.BOM_UTF8)
        if line.isascii():
            return line.decode("ascii")
        if self.encoding != GB18030:
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                if self.encoding == AUTO and not (self._errors == "replace" and _mostly_utf8(line)):
                    return self._as_gb18030(line, error)
                return self._broken(line, error)
            self.encoding = UTF8
            return text
        try:
            return line.decode("gb18030")
        except UnicodeDecodeError as error:
            return self._broken(line, error)

    def _as_gb18030(self, line: bytes, first_error: UnicodeDecodeError) -> str:
        """Decode the first line that is not UTF-8."""
        if _looks_like_big5(line):
            raise InputError(
                f"{self._name}, line {self._number}: expected UTF-8 or GB18030, found what looks like Big5; "
                "convert the file first (iconv -f BIG5 -t UTF-8)."
            )
        try:
            text = line.decode("gb18030")
        except UnicodeDecodeError:
            self.encoding = UTF8
            return self._broken(line, first_error)
        self.encoding = GB18030
        if self._notify:
            self._notify(f"{self._name}: not UTF-8 from line {self._number} on, read as GB18030")
        return text

    def _broken(self, line: bytes, error: UnicodeDecodeError) -> str:
        if self._errors == "replace":
            return line.decode(error.encoding, "replace")
        name = "UTF-8" if self.encoding in (AUTO, UTF8) else "GB18030"
        raise InputError(
            f"{self._name}, line {self._number}, byte {error.start + 1}: expected {name}, found the byte "
            f"0x{line[error.start]:02X}; mend the file or read it with --errors replace."
        ) from error


def decode_lines(
    stream: Iterable[bytes],
    name: str,
    *,
    encoding: str = AUTO,
    errors: str = "strict",
    notify: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, str]]:
    """Decode a stream of lines that end in a line feed (only), as a file opened in binary mode gives them.

    Yields:
        The text of a line and its end: a line feed, carriage return and line feed, or nothing for the last line.
    """
    decoder = LineDecoder(name, encoding, errors, notify)
    for raw in stream:
        line = decoder.decode(raw)
        end = "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else ""
        yield line[: len(line) - len(end)], end


def decode_text(data: bytes, name: str) -> str:
    """Decode a whole file in the same way as `decode_lines`, and faster.

    Raises:
        InputError: A byte cannot be decoded; names line and byte.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        if data[:start].isascii():
            rest = data[start:]
            try:
                text = rest.decode("gb18030")
            except UnicodeDecodeError:
                text = ""
            if text and not _looks_like_big5(rest.split(b"\n", 1)[0]):
                return data[:start].decode("ascii") + text
    decoder = LineDecoder(name)
    return "".join(decoder.decode(line) for line in io.BytesIO(data))


def _mostly_utf8(line: bytes) -> bool:
    """Tell whether more of a line is valid UTF-8 beyond ASCII than is not."""
    text = line.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return len(text) - wrong - sum(character.isascii() for character in text) > wrong


def _looks_like_big5(line: bytes) -> bool:
    """Tell whether bytes that are not UTF-8 are rather Big5 than GB18030."""
    try:
        line.decode("big5")
    except UnicodeDecodeError:
        return False
    pairs = common = position = 0
    while position < len(line) - 1:
        if line[position] < 0x80:
            position += 1
            continue
        pairs += 1
        common += 0xA1 <= line[position] <= 0xF7 and line[position + 1] >= 0xA1
        position += 2
    return pairs >= _MIN_PAIRS and common < _GB2312_SHARE * pairs
