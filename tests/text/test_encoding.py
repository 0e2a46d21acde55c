import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhseq.errors import InputError
from zhseq.text.encoding import decode_lines, decode_text

TEXT = "欢迎大家，今天是一九九八年。\n第二行：朱镕基\n"
UNICODE = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\ufeff"), max_size=60)


def read(data: bytes, **options: str) -> list[str]:
    return [line for line, _ in decode_lines(data.splitlines(keepends=True), "a.txt", **options)]  # type: ignore[arg-type]


def stream(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + (
        [data.split(b"\n")[-1]] if data.split(b"\n")[-1] else []
    )


@given(UNICODE)
def test_utf8_comes_back_unchanged(text: str) -> None:
    data = text.encode()
    assert "".join(line + end for line, end in decode_lines(stream(data), "a.txt")) == text
    assert decode_text(data, "a.txt") == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
def test_the_encoding_is_told_from_the_bytes(encoding: str) -> None:
    data = TEXT.encode(encoding)
    assert read(data) == TEXT.splitlines()
    assert decode_text(data, "a.txt") == TEXT


def test_gb18030_after_lines_of_ascii_is_said_once() -> None:
    said: list[str] = []
    data = b"plain\n" + (TEXT + "𠮷野家\n").encode("gb18030")
    lines = [line for line, _ in decode_lines(data.splitlines(keepends=True), "a.txt", notify=said.append)]
    assert lines == ["plain", *TEXT.splitlines(), "𠮷野家"]
    assert said == ["a.txt: not UTF-8 from line 2 on, read as GB18030"]


def test_line_ends_are_kept_apart() -> None:
    data = b"a\r\nb\rc\n\r\nd"
    assert list(decode_lines(stream(data), "a.txt")) == [("a", "\r\n"), ("b\rc", "\n"), ("", "\r\n"), ("d", "")]


def test_one_damaged_byte_in_utf8_is_an_error_with_its_place() -> None:
    data = "好人\n一二".encode() + b"\xff" + "三\n".encode()
    for reader in (read, lambda data: decode_text(data, "a.txt")):
        with pytest.raises(InputError, match=r"a.txt, line 2, byte 7: expected UTF-8, found the byte 0xFF"):
            reader(data)
    assert read(data, errors="replace") == ["好人", "一二\ufffd三"]


def test_a_damaged_first_line_of_utf8_is_replaced_as_utf8() -> None:
    data = "欢迎大家".encode() + b"\x80" + "，今天\n".encode()
    assert read(data, errors="replace") == ["欢迎大家\ufffd，今天"]


def test_damaged_gb18030_is_an_error_with_its_place() -> None:
    data = TEXT.encode("gb18030") + b"\xff\n"
    with pytest.raises(InputError, match="line 3, byte 1: expected GB18030, found the byte 0xFF"):
        read(data)
    assert read(data, encoding="gb18030", errors="replace")[2] == "\ufffd"


def test_an_encoding_that_was_asked_for_is_kept() -> None:
    with pytest.raises(InputError, match="line 1, byte 1: expected UTF-8"):
        read(TEXT.encode("gb18030"), encoding="utf-8")


def test_big5_is_not_read_as_nonsense() -> None:
    data = "歡迎大家來到臺灣，今天天氣很好。\n".encode("big5")
    for reader in (read, lambda data: decode_text(data, "a.txt")):
        with pytest.raises(InputError, match="Big5"):
            reader(data)


def test_utf16_is_named() -> None:
    with pytest.raises(InputError, match="UTF-16"):
        read(TEXT.encode("utf-16"))


def test_empty_input_has_no_lines() -> None:
    assert read(b"") == []
    assert decode_text(b"", "a.txt") == ""
