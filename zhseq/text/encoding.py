"""Decode bytes of unknown encoding: UTF-8 with or without byte order mark, GB18030 or Big5.

The encoding is detected from a block of the file rather than its first line: a word in GB18030 may be valid UTF-8 by
chance, and a word in Big5 is nearly always valid GB18030. A file that is mostly UTF-8 is read as UTF-8, so one damaged
byte is an error, which names line and byte. After the block, files of any size are read in constant memory.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from zhseq.errors import InputError, Message

AUTO, UTF8, GB18030, BIG5 = ENCODINGS = ("auto", "utf-8", "gb18030", "big5")
Notify = Callable[[Message], object]

_NAMES = {UTF8: "UTF-8", GB18030: "GB18030", BIG5: "Big5"}
_CODECS = {UTF8: ("utf-8",), GB18030: ("gb18030",), BIG5: ("cp950", "big5hkscs")}
"""Python codecs, tried in order for each line: Big5 as written by Windows, then with the Hong Kong extension."""
_FORMATS = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "ZIP, XLSX or DOCX",
    b"PAR1": "Parquet",
    b"%PDF-": "PDF",
    b"{\\rtf": "RTF",
    b"\xd0\xcf\x11\xe0": "XLS or DOC",
}
"""First bytes of files that are not text -> format."""
_FEW_ZEROS = 8  # zero bytes that are always accepted, for short files
_MOST_ZEROS = 0.02  # share of zero bytes above which a file is UTF-16 without byte order mark, or binary
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_BLOCK = 1 << 16  # bytes that are read before the encoding is detected
_SAMPLE = 1 << 14  # bytes from which GB18030 and Big5 are distinguished
_SURE = 8  # characters of three bytes or more after which valid UTF-8 is not a coincidence
_HAN = 0x800  # first code point that takes three bytes in UTF-8
_WIDE = re.compile("[\u0800-\U0010ffff]")
_ACCENTED = re.compile("(?<=[A-Za-z])[\xc0-\u024f]|[\xc0-\u024f](?=[A-Za-z])")
_LINE_MARKS = re.compile("^\ufeff+", re.MULTILINE)
_PAIR = re.compile(rb"[\x80-\xff].", re.DOTALL)
_COMMON = {
    GB18030: re.compile(rb"[\xa1-\xa3\xb0-\xd7][\xa1-\xff]"),
    BIG5: re.compile(rb"[\xa1-\xc6][\x40-\x7e\xa1-\xff]"),
}
"""Byte pairs of the punctuation and the more common half of the characters of each standard."""
_FREQUENT = frozenset(
    "的是一不了有我在人这个大以中上用为可和时你要来好国会到就他能们多年么下出天生还子新行也发过地对家都得说看很没后小作方于去点分定现学成间道面里自那开本应理文女法动如最进全前当什同部实日心化务经之高主体者"
    "事而果吗第业关公机所吃等服十工样想然着男知其次性加电情起建比数市合通些意提感三内例更重度件水使与长代常月种门给员但店明病区安表二问设名宝太入被平型因将民位物力只并外相管回程制啊两从正系手老无量条儿酒便"
    "车它房及或特真确信美做结打口西话单保题别北政路解式已需东规觉让影统场目计接吧海哈网又品展少气产该几王状任由四错医期向原总住呢金再变把台见记近這個爲時來國會們麼還發過對說沒後於點現學間裏開應動進當實務經"
    "體嗎業關機喫樣電數內與長種門給員區問設寶將並兩從無條兒車確結話單題別東規覺讓統場計網氣產該幾狀錯醫總變臺見記"
    "，。、！？：；（）《》“”"
)
"""The most frequent characters of modern text, simplified and traditional, and punctuation."""
_LIKELY = 1.0  # minimum `_plausibility` of likely text: all characters common, or nearly all common and some frequent
_EXCERPT = 20  # characters that a note shows
_LEAST = 0.2  # minimum `_plausibility`: text has 0.7 or more, accented Latin letters decoded as Chinese about 0
_LINE_END = re.compile(r"\r+\n|\r")
_FEW = 4  # number of characters below which `_LEAST` is not applied


def decode_lines(
    stream: Iterable[bytes],
    name: str,
    *,
    encoding: str = AUTO,
    errors: str | None = None,
    notify: Notify | None = None,
) -> Iterator[tuple[str, str]]:
    """Decode a stream of lines that end in a line feed, as iteration over a binary file yields them.

    Args:
        stream: The lines.
        name: Name of the file in messages.
        encoding: One of `ENCODINGS`.
        errors: `strict`, or `replace` to decode invalid bytes as U+FFFD; None for `strict` where the user cannot
            choose.
        notify: Called once if the text is not UTF-8, or is more likely text in another encoding that is valid UTF-8 by
            chance.

    Yields:
        The text of a line and its line end: a line feed, carriage return and line feed, or empty for the last line.

    Raises:
        InputError: A byte cannot be decoded (the message names line and byte), or the file mixes encodings.
    """
    decoder = _Decoder(name, encoding, errors, notify)
    lines = iter(stream)
    while not decoder.settled and (block := _take(lines)):
        decoder.settle(block)
        yield from map(decoder.decode, block)
    yield from map(decoder.decode, lines)


def decode_text(data: bytes, name: str, notify: Notify | None = None) -> str:
    """Decode a whole file like `decode_lines`, but faster.

    Byte order marks are removed at the beginning of every line, because files may have been concatenated.

    Raises:
        InputError: As `decode_lines`; or the file is compressed, or has a binary format.
    """
    kind = next((kind for begin, kind in _FORMATS.items() if data.startswith(begin)), "")
    if not kind and _has_zeros(data) and not data.startswith(_UTF16_MARKS):
        kind = "UTF-16 / binary"
    if kind:
        raise InputError(
            "no_text",
            "{name}: expected text in UTF-8, GB18030 or Big5, found another kind of file ({kind}); unpack it, or save "
            "it as text in UTF-8.",
            name=name,
            kind=kind,
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "".join(map("".join, decode_lines(io.BytesIO(data), name, notify=notify)))
    else:
        if notify and (doubt := _doubt(data, text, name, None)):
            notify(doubt)
    return _LINE_MARKS.sub("", text) if "\ufeff" in text else text


def cut_lines(text: str) -> list[str]:
    """Split a text into lines, which end with a line feed, a carriage return, or carriage returns and a line feed."""
    return _LINE_END.sub("\n", text).split("\n")


def _has_zeros(data: bytes) -> bool:
    return data.count(0) > max(_FEW_ZEROS, _MOST_ZEROS * len(data))


def _take(lines: Iterator[bytes]) -> list[bytes]:
    """Read the lines of the next block."""
    block: list[bytes] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= _BLOCK:
            break
    return block


class _Decoder:
    """Decode one line after another; `settled` is true once later lines can no longer change the encoding."""

    def __init__(self, name: str, encoding: str, errors: str | None, notify: Notify | None) -> None:
        self.settled = encoding != AUTO
        self._guessed = not self.settled
        self._encoding = UTF8 if self._guessed else encoding
        self._name, self._errors, self._notify = name, errors, notify
        self._number = 0
        self._doubted = False

    def settle(self, block: list[bytes]) -> None:
        """Detect the encoding from the next lines."""
        data = b"".join(block)
        if data.startswith(_UTF16_MARKS):  # `decode` raises the error
            return
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            self.settled = True
            self._leave_utf8(block)
        else:
            self.settled = _is_sure(text)
            if self._notify and not self._doubted and (doubt := _doubt(data, text, self._name, self._errors)):
                self._doubted = True
                self._notify(doubt)

    def decode(self, line: bytes) -> tuple[str, str]:
        """Return the text of the next line and its line end."""
        self._number += 1
        if self._number == 1:
            if line.startswith(_UTF16_MARKS):
                raise InputError(
                    "utf16_text",
                    "{name}: expected UTF-8, GB18030 or Big5, found UTF-16; save the file as UTF-8.",
                    name=self._name,
                )
            if self._encoding == UTF8:
                line = line.removeprefix(codecs.BOM_UTF8)
        text = self._text(line)
        end = "\r\n" if text.endswith("\r\n") else "\n" if text.endswith("\n") else ""
        return text[: len(text) - len(end)], end

    def _text(self, line: bytes) -> str:
        if line.isascii():
            return line.decode("ascii")
        if self._guessed and self._encoding != UTF8 and _is_surely_utf8(line):
            raise self._mixed(self._number)
        codec, *others = _CODECS[self._encoding]
        try:
            return line.decode(codec)
        except UnicodeDecodeError as error:
            for other in others:
                with suppress(UnicodeDecodeError):
                    return line.decode(other)
            if self._errors == "replace":
                return line.decode(codec, "replace")
            raise self._broken(line, error) from error

    def _leave_utf8(self, block: list[bytes]) -> None:
        """Switch to GB18030 or Big5, if the lines that are not UTF-8 are text in one of them rather than damaged."""
        numbers = [number for number, line in enumerate(block) if not _is_utf8(line)]
        wrong = sum(len(block[number]) for number in numbers)
        if 2 * wrong < sum(len(line) for line in block if not line.isascii()):
            return  # mostly UTF-8: the others are damaged, or come from another file
        sample = b"".join(block[number] for number in numbers)[:_SAMPLE]
        if _has_zeros(sample):
            return
        score, encoding = max((_plausibility(sample, encoding), encoding) for encoding in (BIG5, GB18030))
        few = len(_PAIR.findall(sample)) < _FEW
        if score < (0 if few else _LEAST) or _plausibility_of_utf8(sample) >= score:
            return  # the first broken line gives an error
        self._encoding = encoding
        if self._notify:
            self._notify(
                Message(
                    "not_utf8",
                    "{name}: not UTF-8 (line {line}), read as {encoding}",
                    {"name": self._name, "line": self._number + numbers[0] + 1, "encoding": _NAMES[encoding]},
                )
            )

    def _mixed(self, number: int) -> InputError:
        return InputError(
            "mixed_encodings",
            "{name}, line {line}: expected {encoding} as in the rest of the file, found UTF-8; split "
            "the file where the encoding changes, or save it as UTF-8.",
            name=self._name,
            line=number,
            encoding=_NAMES[self._encoding],
        )

    def _broken(self, line: bytes, error: UnicodeDecodeError) -> InputError:
        values = {
            "name": self._name,
            "line": self._number,
            "byte": error.start + 1,
            "encoding": _NAMES[self._encoding],
            "value": f"0x{line[error.start]:02X}",
        }
        if self._errors is None:
            return InputError(
                "broken_bytes",
                "{name}, line {line}, byte {byte}: expected {encoding}, found the byte {value}; repair the file.",
                **values,
            )
        return InputError(
            "replaceable_bytes",
            "{name}, line {line}, byte {byte}: expected {encoding}, found the byte {value}; repair the file or read it "
            "with <errors=replace>.",
            **values,
        )


def _plausibility(data: bytes, encoding: str) -> float:
    """Return how plausible bytes are as Chinese text in an encoding: about 1.4 for text in it, below 0.8 in another.

    The value is the share of characters in the common half of the standard, plus the share of frequent characters,
    minus the share that cannot be decoded.
    """
    pairs = _PAIR.findall(data)
    text = [character for character in data.decode(_CODECS[encoding][-1], "replace") if not character.isascii()]
    common = sum(_COMMON[encoding].match(pair) is not None for pair in pairs)
    known = sum((character in _FREQUENT) - (character == "\ufffd") for character in text)
    return common / max(1, len(pairs)) + known / max(1, len(text))


def _plausibility_of_utf8(data: bytes) -> float:
    """Return the same as `_plausibility` for bytes that may be damaged UTF-8."""
    text = [character for character in data.decode("utf-8", "replace") if not character.isascii()]
    found = 0.0
    for character in text:
        if character == "\ufffd":
            found -= 1
        elif ord(character) < _HAN:
            found += 1.5  # accented letters, which are not Chinese: exceed their plausibility in GB18030
        else:
            found += _is_common(character) + (character in _FREQUENT)
    return found / max(1, len(text))


def _is_common(character: str) -> bool:
    pairs = ((encoding, character.encode(_CODECS[encoding][0], "ignore")) for encoding in (GB18030, BIG5))
    return any(_COMMON[encoding].fullmatch(pair) for encoding, pair in pairs)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_surely_utf8(line: bytes) -> bool:
    """Return whether a line is UTF-8, and long enough for this not to be a coincidence."""
    return _is_utf8(line) and _is_sure(line.decode("utf-8"))


def _is_sure(text: str) -> bool:
    """Return whether text is long enough that valid UTF-8 is not a coincidence."""
    return sum(1 for _ in islice(_WIDE.finditer(text), _SURE)) >= _SURE


def _doubt(data: bytes, text: str, name: str, errors: str | None) -> Message | None:
    """Return a note if bytes read as UTF-8 are more likely text in another encoding, such as 喜 in GB18030."""
    if text.isascii() or _is_sure(text):
        return None
    sample = b"".join(_PAIR.findall(data))[:_SAMPLE]
    score, encoding = max((_plausibility(sample, encoding), encoding) for encoding in (BIG5, GB18030))
    if score < _LIKELY or score <= _plausibility_by_accident(text):
        return None
    number, line = next((number, line) for number, line in enumerate(data.split(b"\n"), 1) if not line.isascii())
    try:
        data.decode(_CODECS[encoding][0])
    except UnicodeDecodeError:
        return None
    values = {"name": name, "line": number, "encoding": _NAMES[encoding]}
    readings = (line.removesuffix(b"\r").decode(codec).strip()[:_EXCERPT] for codec in ("utf-8", _CODECS[encoding][0]))
    values |= dict(zip(("text", "other"), readings, strict=True))
    if errors is None:
        return Message(
            "doubtful_encoding",
            "{name}, line {line}: read as UTF-8, {text!r}; as {encoding} it would be {other!r}: if "
            "that is right, save the file as UTF-8",
            values,
        )
    return Message(
        "doubtful_input",
        "{name}, line {line}: read as UTF-8, {text!r}; as {encoding} it would be {other!r}: if that "
        "is right, use <encoding={value}>",
        {**values, "value": encoding},
    )


def _plausibility_by_accident(text: str) -> float:
    """Return how plausible a short UTF-8 text is: common Chinese characters count, and accents in Latin words."""
    characters = [character for character in text if not character.isascii()]
    found = 1.5 * len(_ACCENTED.findall(text))
    found += sum(2 * _is_common(each) for each in characters if ord(each) >= _HAN)
    return found / len(characters)
