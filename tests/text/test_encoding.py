import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opencc import OpenCC

from zhseq.errors import InputError, Message
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
    said: list[Message] = []
    data = b"plain\n" + (TEXT + "𠮷野家\n").encode("gb18030")
    lines = [line for line, _ in decode_lines(data.splitlines(keepends=True), "a.txt", notify=said.append)]
    assert lines == ["plain", *TEXT.splitlines(), "𠮷野家"]
    assert [*map(str, said)] == ["a.txt: not UTF-8 (line 2), read as GB18030"]


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


# Of these, none is longer than a title; each would be valid in another encoding, or is by accident in part.
SHORT = [
    "物流运输与仓储管理有限公司",
    "明天下午三点开会",
    "北京欢迎你",
    "春眠不觉晓，处处闻啼鸟。",
    "物美价廉，质量上乘",
]


@pytest.mark.parametrize("text", SHORT)
def test_short_texts_are_told_apart(text: str) -> None:
    said: list[Message] = []
    traditional = OpenCC("s2t").convert(text)
    for shown, codec, name in (
        (text, "gbk", "GB18030"),
        (traditional, "gbk", "GB18030"),
        (traditional, "big5", "Big5"),
    ):
        assert decode_text(shown.encode(codec), "a.txt", said.append) == shown
        assert str(said.pop()) == f"a.txt: not UTF-8 (line 1), read as {name}"
    for shown in (text, traditional):
        assert decode_text(shown.encode(), "a.txt", said.append) == shown
    assert said == []


@pytest.mark.parametrize(
    ("text", "codec", "misread", "name"),
    [("喜", "gb18030", "ϲ", "GB18030"), ("喜 5 n\r\n", "gbk", "ϲ 5 n", "GB18030")],
)
def test_what_is_utf8_by_accident_is_said(text: str, codec: str, misread: str, name: str) -> None:
    data = b"AI 5\n" + text.encode(codec)
    said: list[Message] = []
    assert decode_text(data, "a.txt", said.append).strip().endswith(misread)
    whole = f"a.txt, line 2: read as UTF-8, '{misread}'; as {name} it would be '{text.strip()}': if that is right, "
    assert str(said.pop()) == whole + "save the file as UTF-8"
    lines = list(decode_lines(io.BytesIO(data), "a.txt", errors="strict", notify=said.append))
    assert lines[1][0].strip() == misread
    assert str(said.pop()) == whole + "use encoding='gb18030'"
    assert list(decode_lines(io.BytesIO(data), "a.txt", encoding="gb18030", notify=said.append))[1][0] == text.strip()
    assert said == []


@pytest.mark.parametrize(
    "text", ["café", "Łódź", "你好", "龘", "麴麹", "a — b", "Привет, мир", "2 × 3", "\ufeff中", "媒体", "根治"]
)
def test_usual_utf8_is_not_doubted(text: str) -> None:
    said: list[Message] = []
    decode_text(text.encode(), "a.txt", said.append)
    list(decode_lines(io.BytesIO(text.encode()), "a.txt", notify=said.append))
    assert said == []


def test_characters_of_windows_and_of_hong_kong_are_big5_too() -> None:
    text = "裏面的碁盤、銹了的鐵，還有價錢：€5。\n"
    assert read(text.encode("cp950")) == [text.rstrip()]
    text = "佢哋喺嗰度食嘢，好好味㗎。\n"
    assert read(text.encode("big5hkscs")) == [text.rstrip()]
    assert read(text.encode("big5hkscs"), encoding="big5") == [text.rstrip()]


def test_a_first_line_that_happens_to_be_utf8_does_not_decide() -> None:
    first = "辖麓\n".encode("gbk")  # a name, say
    assert first.decode("utf-8") != "辖麓\n"
    data = first * 3 + (TEXT * 3).encode("gbk")
    said: list[Message] = []
    lines = [line for line, _ in decode_lines(stream(data), "a.txt", notify=said.append)]
    assert lines == ["辖麓"] * 3 + TEXT.splitlines() * 3
    assert str(said[0]) == "a.txt: not UTF-8 (line 4), read as GB18030"
    assert decode_text(data, "a.txt") == "".join(line + "\n" for line in lines)


def test_a_long_beginning_without_a_clue_leaves_it_open() -> None:
    head = b"plain\n" * 30_000
    for codec in ("utf-8", "gbk"):
        lines = read(head + TEXT.encode(codec))
        assert lines[-2:] == TEXT.splitlines()


def test_two_encodings_in_one_file_are_an_error() -> None:
    for data in ((TEXT * 3).encode("gbk") + TEXT.encode(), TEXT.encode() + TEXT.encode("gbk") * 30_000):
        with pytest.raises(InputError, match=r"line \d+: expected GB18030 as in the rest of the file, found UTF-8"):
            read(data)
    with pytest.raises(InputError, match="line 7, byte 1: expected UTF-8"):
        read((TEXT * 3).encode() + TEXT.encode("gbk"))


def test_what_is_no_chinese_is_not_made_chinese() -> None:
    for data in ("Müller, Ärzte und Bürger überall".encode("latin-1"), b"\xff"):
        with pytest.raises(InputError, match="expected UTF-8, found the byte"):
            read(data)
    damaged = "Müller, Ärzte und Bürger ".encode() * 9 + b"\xff"
    with pytest.raises(InputError, match="expected UTF-8, found the byte 0xFF"):
        read(damaged)


def test_an_error_names_the_option_only_where_there_is_one() -> None:
    data = TEXT.encode() + b"\xff"
    with pytest.raises(InputError, match=r"repair the file\.$"):
        read(data)
    with pytest.raises(InputError, match="or read it with errors='replace'"):
        read(data, errors="strict")


def test_utf16_is_named() -> None:
    with pytest.raises(InputError, match="UTF-16"):
        read(TEXT.encode("utf-16"))


def test_empty_input_has_no_lines() -> None:
    assert read(b"") == []
    assert decode_text(b"", "a.txt") == ""
