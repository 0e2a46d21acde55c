from __future__ import annotations

import datetime
import gzip
import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from zhseq.bulk.inputs import discover
from zhseq.bulk.records import Reading, Unit, read_units
from zhseq.errors import InputError

LINES = [f"第{number}行，天气很好。" for number in range(3000)]
PLAIN = "".join(line + "\n" for line in LINES).encode()


def read(path: Path | str, **options: Any) -> list[Unit]:
    reading = Reading(**{"encoding": "auto", "errors": "strict", **options})
    (source,) = discover([str(path)], column=options.get("column"), notify=print).sources
    moved: list[int] = []
    units = list(read_units(source, reading, print, moved.append))
    if path != "-":
        assert sum(moved) == source.size
    return units


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def frames(data: bytes) -> bytes:
    """Several frames one after another, as parallel packers write them."""
    return zstandard.compress(data[:1000]) + zstandard.compress(b"") + zstandard.compress(data[1000:])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", PLAIN),
        ("a.txt.gz", gzip.compress(PLAIN)),
        ("a.gz", gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:])),
        ("a.txt.zst", zstandard.compress(PLAIN)),
        ("a.zst", frames(PLAIN)),
    ],
)
def test_packed_files_are_read_as_they_were(tmp_path: Path, name: str, data: bytes) -> None:
    assert read(write(tmp_path / name, data)) == [(line, "\n") for line in LINES]


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_packed_files_that_are_cut_short_or_damaged_are_an_error(tmp_path: Path, name: str) -> None:
    whole = gzip.compress(PLAIN) if name == "a.gz" else zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN)
    for size in (3, 10, len(whole) // 2, len(whole) - 1):
        with pytest.raises(InputError, match=rf"{name}: expected a whole compressed file, found one that was cut"):
            read(write(tmp_path / name, whole[:size]))
    with pytest.raises(InputError, match="found damaged data"):
        read(write(tmp_path / name, b"plain text, not packed at all"))
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    with pytest.raises(InputError, match="expected"):
        read(write(tmp_path / name, bytes(damaged)))


def test_without_zstandard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(InputError, match=r"pip install 'zhseq\[corpora\]'"):
        read(write(tmp_path / "a.zst", zstandard.compress(PLAIN)))


def test_records_keep_all_they_have(tmp_path: Path) -> None:
    lines = ['{"id": 1, "text": "好", "x": 1.50}', "", '  {"text":"a\\nb"} \r', '{"text": "", "id": 2 }']
    path = write(tmp_path / "a.jsonl", "\n".join(lines).encode())
    assert read(path) == [("好", "\n"), ("a\nb", "\n"), ("", "\n")]
    assert read(path, keep_records=True) == [
        ("好", '{"id": 1, "text": "好", "x": 1.50'),
        ("a\nb", '{"text":"a\\nb"'),
        ("", '{"text": "", "id": 2'),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "好"', r"line 2: expected a JSON object on each line, found '\{\"text\": \"好\"'"),
        ("[1]", "line 2: expected a JSON object on each line, found a list"),
        ("[" * 100_000, "line 2: expected a JSON object"),
        ('{"content": "x"}', r"line 2: expected a field 'text', found 'content'; name one with column="),
        ("{}", "line 2: expected a field 'text', found no field"),
        ('{"text": null}', "line 2: expected a string in 'text', found null"),
        ('{"text": 7}', "line 2: expected a string in 'text', found 7"),
        ('{"text": "\\ud800"}', "line 2: expected Unicode text in 'text', found a lone surrogate at"),
        ('{"text": "a", "words": []}', "line 2: the input already has the field 'words'"),
    ],
)
def test_records_that_cannot_be_used_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "好"}}\n{line}\n'.encode())
    with pytest.raises(InputError, match=rf"a\.jsonl, {message}"):
        read(path, keep_records=True, added=("words",))


def test_half_characters_can_be_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"text": "a\\ud800b\\ud83d\\ude00"}')
    assert read(path, errors="replace") == [("a\ufffdb😀", "\n")]


def test_records_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO('{"t": "好"}\n'.encode())))
    assert read("-", column="t") == [("好", "\n")]


def test_columns_of_parquet(tmp_path: Path) -> None:
    texts = [f"第{number}行" for number in range(1300)]
    table = pa.table(
        {
            "text": pa.array(texts, pa.large_string()),
            "label": pa.array(["a"] * 1300).dictionary_encode(),
            "when": [datetime.datetime(2020, 1, 2)] * 1300,
            "price": [Decimal("1.50")] * 1300,
            "share": [float("nan"), *[0.5] * 1299],
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=400)
    assert read(path) == [(text, "\n") for text in texts]
    assert read(path, column="label")[0] == ("a", "\n")
    tails = [json.loads(tail + "}") for _, tail in read(path, keep_records=True)]
    assert [tail["text"] for tail in tails] == texts
    assert tails[0] == {"text": "第0行", "label": "a", "when": "2020-01-02T00:00:00", "price": "1.50", "share": None}
    assert tails[1]["share"] == 0.5


def test_parquet_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [1], "text": ["好"], "maybe": pa.array([None], pa.string()), "raw": [b"x"]}), path)
    with pytest.raises(InputError, match=r"a\.parquet: expected one column 'content', found 'n', 'text', 'maybe'"):
        read(path, column="content")
    with pytest.raises(InputError, match="expected strings in the column 'n', found int64"):
        read(path, column="n")
    assert read(path, column="maybe") == [("", "\n")]
    with pytest.raises(InputError, match="row 1: expected columns that JSON can represent, found bytes"):
        read(path, keep_records=True)
    whole = path.read_bytes()
    for data in (b"", b"text", whole[: len(whole) // 2]):
        with pytest.raises(InputError, match="expected a Parquet file, found damaged data"):
            read(write(path, data))


def sheet(path: Path, *rows: tuple[object, ...], others: int = 0) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for _ in range(others):
        book.create_sheet().append(("x",))
    book.save(path)
    return path


def test_csv_is_read_by_its_rules(tmp_path: Path) -> None:
    text = '编号,正文,note\r\n1,"他说：""好"",走了",a\r\n\r\n2,"两行\n一格",b\r\n3,,"c"\r\n'
    for data in (text.encode("utf-8-sig"), text.encode("gbk"), text.replace(",", ";").encode()):
        path = write(tmp_path / "a.csv", data)
        comma = ";" if b";" in data else ","
        assert [unit[0] for unit in read(path, column="正文")] == [f'他说："好"{comma}走了', "两行\n一格", ""]
    write(path, text.encode())
    records = [tail for _, tail in read(path, column="正文", keep_records=True)]
    assert records[0] == r'{"编号": "1", "正文": "他说：\"好\",走了", "note": "a"'
    assert len(read(write(tmp_path / "b.csv", ("正文\n" + "好\n" * 3000).encode()), column="正文")) == 3000


def test_tsv_keeps_quotation_marks_that_are_part_of_the_text(tmp_path: Path) -> None:
    rows = 'id\ttext\n1\t"我们"是好人\n2\t"他说""好"""\r\n3\t5"屏幕"\n4\t"\n5\t\n'
    units = read(write(tmp_path / "a.tsv", rows.encode()), column="text")
    assert [text for text, _ in units] == ['"我们"是好人', '他说"好"', '5"屏幕"', '"', ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,content\n1,好\n", "expected one column 'text', found 'id', 'content'; name one with column="),
        ("a.csv", "", "expected one column 'text', found no column"),
        ("a.csv", "text,text\n1,好\n", "expected one column 'text'"),
        ("a.csv", "id,text\n1,好,多\n", "line 2: expected 2 fields as in the header, found 3; quote"),
        ("a.csv", 'id,text\n1,"好"多\n', "line 2: expected CSV, found an invalid row"),
        ("a.csv", 'id,text\n1,"好\n2,多\n', "expected CSV, found an invalid row"),
        ("a.tsv", "id\ttext\n1\n", "line 2: expected 2 fields as in the header, found 1"),
    ],
)
def test_tables_that_lose_something_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / name, content.encode()), column="text")


def test_columns_of_one_name_cannot_be_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x,text,x\n1,好,2\n".encode())
    assert read(path, column="text") == [("好", "\n")]
    with pytest.raises(InputError, match="found 'x' several times"):
        read(path, column="text", keep_records=True)


def test_a_sheet_of_excel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (
        ("id", "text", "day"),
        (1, "在北京", datetime.date(2020, 1, 2)),
        (2, 12, None),
        (3, None, None),
        (None,) * 3,
    )
    path = sheet(tmp_path / "a.xlsx", *rows, others=2)
    assert [text for text, _ in read(path, column="text")] == ["在北京", "12", ""]
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: only the sheet 'Sheet' is read, 2 others are not",
        f"{path}: 1 empty cells in the column 'text', each read as an empty text",
    ]
    tails = [tail for _, tail in read(path, column="text", keep_records=True)]
    assert tails[0] == '{"id": 1, "text": "在北京", "day": "2020-01-02T00:00:00"'
    with pytest.raises(InputError, match="expected one column '正文', found 'id', 'text', 'day'"):
        read(path, column="正文")
    with pytest.raises(InputError, match="row 2: expected 1 fields as in the header, found 2"):
        read(sheet(tmp_path / "b.xlsx", ("text",), ("好", "多")), column="text")
    with pytest.raises(InputError, match=r"expected an Excel file \(\.xlsx\), found damaged data"):
        read(write(tmp_path / "c.xlsx", b"PK\x03\x04"), column="text")


def test_without_openpyxl_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"pip install 'zhseq\[excel\]'"):
        read(write(tmp_path / "a.xlsx", b""), column="text")


def test_a_null_in_parquet_is_an_empty_text_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(["好", None, "坏", None], pa.string()), "id": [1, 2, 3, 4]}), path)
    assert [text for text, _ in read(path)] == ["好", "", "坏", ""]
    assert capsys.readouterr().out == f"{path}: 2 empty cells in the column 'text', each read as an empty text\n"
    assert [tail for _, tail in read(path, keep_records=True)][1] == '{"text": null, "id": 2'
