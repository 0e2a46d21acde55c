from __future__ import annotations

import datetime
import gzip
import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

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
        ('{"content": "x"}', r"line 2: expected a field 'text', found 'content'; name one with --column"),
        ("{}", "line 2: expected a field 'text', found no field"),
        ('{"text": null}', "line 2: expected a string in 'text', found null"),
        ('{"text": 7}', "line 2: expected a string in 'text', found 7"),
        ('{"text": "\\ud800"}', "line 2: expected Unicode text in 'text', found half a character"),
        ('{"text": "a", "words": []}', "line 2: expected no field 'words'"),
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
    with pytest.raises(InputError, match=r"a\.parquet, row 1: expected a string in 'maybe', found null"):
        read(path, column="maybe")
    with pytest.raises(InputError, match="row 1: expected columns that JSON can hold, found bytes"):
        read(path, keep_records=True)
    whole = path.read_bytes()
    for data in (b"", b"text", whole[: len(whole) // 2]):
        with pytest.raises(InputError, match="expected a Parquet file, found damaged data"):
            read(write(path, data))
