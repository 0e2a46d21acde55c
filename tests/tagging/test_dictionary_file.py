import math
import re
import time
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zhseq.errors import InputError, Message
from zhseq.tagging.dictionary_file import MAX_WORD, Entry, columns_of, read_entries


def read(path: Path, text: str | bytes) -> list[tuple[str, str, str, float | None, str]]:
    file = path / "words.txt"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    columns = read_entries(file)
    frequencies = [None if math.isnan(frequency) else frequency for frequency in columns.frequencies]
    return list(zip(columns.words, columns.pos, columns.labels, frequencies, columns.modes, strict=True))


def test_lines_of_jieba(tmp_path: Path) -> None:
    """The forms that jieba's own reader knows, and words with blanks as it takes them."""
    lines = "云计算 5\n李小福 2 nr\n创新办 3 i\neasy_install 3 eng\n好用 300\n韓玉賞鑑 3 nz\n凱特琳 nz\n"
    lines += "Edu Trust认证 2000\n台中\n"
    assert read(tmp_path, lines) == [
        ("云计算", "", "", 5.0, ""),
        ("李小福", "nr", "", 2.0, ""),
        ("创新办", "i", "", 3.0, ""),
        ("easy_install", "eng", "", 3.0, ""),
        ("好用", "", "", 300.0, ""),
        ("韩玉赏鉴", "nz", "", 3.0, ""),
        ("凯特琳", "nz", "", None, ""),
        ("Edu Trust认证", "", "", 2000.0, ""),
        ("台中", "", "", None, ""),
    ]


@given(st.from_regex(r"[A-Za-z一-三]{1,4}( [A-Za-z一-三]{1,3})?( [0-9]{1,3})?( [a-z]{1,3})?", fullmatch=True))
def test_what_jieba_reads_is_read_alike(line: str) -> None:
    match = re.fullmatch("(.+?)( [0-9]+)?( [a-z]+)?", line)
    assert match is not None
    word, frequency, pos = ((part or "").strip() for part in match.groups())
    from zhseq.tagging import dictionary_file

    turned = re.fullmatch(r"\S*[一-三] ([a-z]+) [0-9]+", line)
    assume(not (turned and turned[1] in dictionary_file._JIEBA_POS))
    if not frequency and word[-1].isascii() and pos and pos not in dictionary_file._JIEBA_POS:
        word, pos = line, ""  # jieba reads the second of two English words as a part of speech
    columns = dictionary_file.Columns()
    dictionary_file._append_plain(columns, line)
    if frequency or not re.search(r" [0-9]+ \S+$", line):  # there, and only there, more than jieba's forms are read
        assert (columns.words, columns.pos) == ([word], [pos])
        assert columns.frequencies == [pytest.approx(float(frequency or math.nan), nan_ok=True)]


def test_lines_beyond_jieba(tmp_path: Path) -> None:
    lines = (
        "\ufeff奥利给 force\r\n\n  \n绝绝子 force 网络词\nPython 3 NOUN\n"
        "New York\t\tns\tLOC\nVisual Studio Code\tforce\tnz\tPRODUCT\niPhone 15\t\nＡＩ\t1.5\n北京 大学\t7\n"
    )
    assert read(tmp_path, lines) == [
        ("奥利给", "", "", None, "force"),
        ("绝绝子", "网络词", "", None, "force"),
        ("Python", "NOUN", "", 3.0, ""),
        ("New York", "ns", "LOC", None, ""),
        ("Visual Studio Code", "nz", "PRODUCT", None, "force"),
        ("iPhone 15", "", "", None, ""),
        ("AI", "", "", 1.5, ""),
        ("北京 大学", "", "", 7.0, ""),
    ]


def test_what_is_told_from_an_english_word_of_two_parts(tmp_path: Path) -> None:
    lines = "the shy\nthe shy n\npython eng\n云计算 tech\n云计算\u30005\u3000n\n#话题#\n牛市 3 n # 说明\n"
    assert [entry[:4] for entry in read(tmp_path, lines)] == [
        ("the shy", "", "", None),
        ("the shy", "n", "", None),
        ("python", "eng", "", None),
        ("云计算", "tech", "", None),
        ("云计算", "n", "", 5.0),
        ("#话题#", "", "", None),
        ("牛市", "n", "", 3.0),
    ]


def test_what_may_not_be_meant_is_said(tmp_path: Path) -> None:
    said: list[Message] = []
    file = tmp_path / "words.txt"
    file.write_bytes("# 我的词\n云计算 5 n\n//\n北京 京城\n".encode("gbk"))
    assert read_entries(file, said.append).words == ["云计算", "北京 京城"]
    assert [*map(str, said)] == [
        f"{file}: not UTF-8 (line 1), read as GB18030",
        f"{file}: 2 comment lines are skipped, the first is line 1",
        f"{file}: 1 of 2 words contain a blank between Chinese characters, the first in line 4 ('北京 京城'); they "
        "match only with that blank",
    ]
    with pytest.raises(InputError, match=r"found 6 of 8 lines with a blank .* for example line 3 \('北京 京城'\)"):
        read(tmp_path, "好\n坏\n" + "北京 京城\n" * 6)


@pytest.mark.parametrize("line", ["奥利给,5,n", "奥利给，5", "奥利给,n", "奥利给, force , nz", "AI,5,n"])
def test_commas_are_no_part_of_a_word(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"line 2: expected blanks or tabs between .*, found commas or other marks"):
        read(tmp_path, f"好\n{line}\n")
    assert read(tmp_path, f"{line}\t\n1,000\n")[1][0] == "1,000"


def test_a_frequency_behind_the_part_of_speech_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: expected the frequency before the part of speech"):
        read(tmp_path, "云计算 n 5\n")


def test_other_encodings(tmp_path: Path) -> None:
    assert read(tmp_path, "云计算 5 n\n".encode("gb18030"))[0][:2] == ("云计算", "n")
    with pytest.raises(InputError, match=r"words\.txt: expected UTF-8, GB18030 or Big5, found UTF-16"):
        read(tmp_path, "云计算 5 n\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"words\.txt, line 2, byte 1: expected UTF-8"):
        read(tmp_path, "云计算\n".encode() + b"\xff\xfe\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "words.txt: expected one word per line, found an empty file."),
        (" \n\u3000\n", "words.txt: expected one word per line, found an empty file."),
        ("好\n坏 -5 n\n", "words.txt, line 2: expected a frequency of 0 or more, or force, found '-5'."),
        ("坏\tviel\n", "words.txt, line 1: expected a frequency of 0 or more, or force, found 'viel'."),
        ("坏\tnan\n", "words.txt, line 1: expected a frequency of 0 or more, or force, found 'nan'."),
        ("坏\t1\tn\tLOC\tx\n", "words.txt, line 1: expected at most 4 columns separated by tabs"),
        ("\n\t5\tn\n", "words.txt, line 2: expected a word, found nothing but blanks."),
        ("好\n\u3000\tforce\n", "words.txt, line 2: expected a word, found nothing but blanks."),
        ("好\n\n坏\x07 3\n", "words.txt, line 3: expected a word without control characters, found '坏\\x07'."),
        ("坏\x00\x01\n", "words.txt, line 1: expected a word without control characters"),
        ("好\u2028坏\n", "words.txt, line 1: expected a word without control characters"),
        (
            "一" * (MAX_WORD + 1),
            f"words.txt, line 1: expected a word of at most {MAX_WORD} characters, found one of 129",
        ),
        ("一" * 200_000, "words.txt, line 1: expected a word of at most 128 characters, found one of 200000"),
        ("好" + " " * 200_000 + "坏\n", "words.txt, line 1: expected a word of at most 128 characters"),
        ("[" * 200_000, "words.txt, line 1: expected a word of at most 128 characters, found one of 200000"),
        ("坏\ufeff好\n", "words.txt, line 1: expected a word without control characters"),
        ('好\n{"text": "人"}\n', "words.txt, line 2: expected a word, found JSON"),
        (
            "历 B-LOC\n博 I-LOC\n、 O\n" * 2,
            "expected one word per line, found a tagged text: 6 of 6 lines end in a tag",
        ),
        ("坏\x00" * 20, "words.txt: expected text in UTF-8, GB18030 or Big5, found another kind of file"),
        ("坏\t1\ta b\n", "words.txt, line 1: expected as part of speech at most 64 printable characters"),
        ("坏\t1\tn\t" + "L" * 65, "words.txt, line 1: expected as entity label at most 64 printable characters"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_no_line_takes_long(tmp_path: Path) -> None:
    begin = time.process_time()
    for line in ("[" * 500_000, "a" + " " * 500_000 + "#", "a " * 250_000, "1" * 500_000, "好" + " " * 500_000 + "坏"):
        with pytest.raises(InputError, match="at most 128 characters"):
            read(tmp_path, line + "\n")
    assert time.process_time() - begin < 10


def test_marks_at_the_beginning_of_lines_belong_to_no_word(tmp_path: Path) -> None:
    marked = "\ufeff\ufeff北京 5 ns\n\ufeff上海 ns\n"
    assert read(tmp_path, marked) == read(tmp_path, "北京 5 ns\n上海 ns\n")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the dictionary cannot be read"):
        read_entries(tmp_path)
    with pytest.raises(InputError, match="the dictionary cannot be read"):
        read_entries(tmp_path / "none")


def test_markup_is_text_like_other(tmp_path: Path) -> None:
    assert read(tmp_path, "<b>好</b> 3 n\n")[0][0] == "<b>好</b>"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("坏", frequency=-1.0), "Expected a frequency of 0 or more for the word '坏', found -1.0."),
        (Entry("坏", frequency=math.inf), "Expected a frequency of 0 or more"),
        (Entry("坏", mode="must"), "Expected the mode prefer or force for the word '坏', found 'must'."),
        (Entry("坏", pos="a b"), "expected as part of speech"),
        (" \t ", "expected a word, found nothing but blanks."),
        ("\ud800", "expected a word without control characters"),
    ],
)
def test_bad_entries(entry: Entry | str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        columns_of(["好", entry])


def test_patterns_and_texts_that_are_kept_apart(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("re:[A-Z]{2}-[0-9]+\tnx\tPRODUCT\nre:第[0-9]+号\n和服务 => 和 服务\n奥利给\n", encoding="utf-8")
    columns = read_entries(file)
    assert columns.patterns == {"[A-Z]{2}-[0-9]+": ("nx", "PRODUCT"), "第[0-9]+号": ("", "")}
    assert columns.apart == {"和服务": (1,)}
    assert columns.words == ["奥利给"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("re:[a-", "expected a regular expression, but '[a-' is invalid"),
        ("re:", "expected a regular expression that matches at least one character, but '' can match"),
        ("re:a*", "expected a regular expression that matches at least one character, but 'a*' can match"),
        ("re:a\tn\tX\ty", "expected at most 3 columns separated by tabs"),
        ("re:a\tn n", "expected as part of speech at most 64 printable characters without blanks"),
        (
            "和服务 => 和 服",
            "expected, to the right of =>, the text to its left, '和服务', split by blanks into two or more parts",
        ),
        ("和服务 => 和服务", "expected, to the right of =>, the text to its left"),
        ("一" * 129 + " => 一 " + "一" * 128, "expected a word of at most 128 characters"),
    ],
)
def test_bad_patterns(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "words.txt"
    file.write_text(f"好\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(f"words.txt, line 2: {message}")):
        read_entries(file)


@pytest.mark.parametrize("line", ["奥利给;5;n", "奥利给|5", "奥利给：nz", "奥利给/n", "奥利给=5", "绝绝子／ N"])
def test_other_marks_between_the_columns_are_no_part_of_a_word(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"line 2: expected blanks or tabs between .*, found commas or other marks"):
        read(tmp_path, f"好\n{line}\n")


def test_marks_within_words_are_part_of_them(tmp_path: Path) -> None:
    words = ["和/或", "卡拉OK/KTV", "km/h", "AC/DC", "3:5", "C++", "TCP/IP"]
    assert [entry[0] for entry in read(tmp_path, "\n".join(words))] == words


@pytest.mark.parametrize(
    "line",
    [
        "绝绝子 NOUN",
        "绝绝子 n nz",
        "绝绝子 1e3 n",
        "5 绝绝子",
        "2. 绝绝子",
        "- 绝绝子",
        "-- comment",
        '"绝绝子"',
        "绝绝子、奥利给",
        "下周再说，先回去。",
    ],
)
def test_lines_that_hold_more_than_a_word_are_counted(tmp_path: Path, line: str) -> None:
    file = tmp_path / "words.txt"
    file.write_text(f"好 5\n{line}\n坏 n\n", encoding="utf-8")
    said: list[Message] = []
    read_entries(file, said.append)
    assert [(note.code, note.values["count"], note.values["line"]) for note in said] == [("more_than_a_word", 1, 2)]


@pytest.mark.parametrize("header", ["word freq pos", "word\tfrequency\tpos\tlabel", "词,词频,词性"])
def test_names_of_columns_are_no_entry(tmp_path: Path, header: str) -> None:
    file = tmp_path / "words.txt"
    file.write_text(f"{header}\n奥利给\u3000５\u3000n\n", encoding="utf-8")
    said: list[Message] = []
    columns = read_entries(file, said.append)
    assert (columns.words, columns.frequencies, columns.pos) == (["奥利给"], [5.0], ["n"])
    assert [note.code for note in said] == ["names_of_columns"]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\r\r\n"])
def test_any_line_end_ends_a_line(tmp_path: Path, end: str) -> None:
    """With a comment in it, all behind the first carriage return was one."""
    text = "奥利给 5 n\n# 说明\n云计算\n\n好 # 词\n"
    assert read(tmp_path, text.replace("\n", end)) == read(tmp_path, text)
    assert len(read(tmp_path, text)) == 3
