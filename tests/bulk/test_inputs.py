from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from zhseq.bulk.inputs import Source, discover, groups
from zhseq.errors import InputError, Message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a/z.txt", "a.txt", "a/b/c.jsonl", "d.parquet", ".git/config", "a/.hidden"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("好\n", encoding="utf-8")
    (tmp_path / "in" / "e.txt.GZ").write_bytes(gzip.compress("好".encode()))
    (tmp_path / "in" / "tar.gz").write_bytes(gzip.compress(bytes(100)))
    (tmp_path / "in" / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (tmp_path / "in" / "wide.txt").write_text("好", encoding="utf-16")
    return tmp_path / "in"


def find(*names: str) -> tuple[list[Source], list[str]]:
    notes: list[Message] = []
    sources = discover(names, column=None, notify=notes.append).sources
    return list(sources), [str(note) for note in notes]


def test_a_folder_is_searched_in_a_fixed_order_and_nothing_is_left_out_in_silence(folder: Path) -> None:
    sources, notes = find(str(folder))
    found = [(str(Path(source.name).relative_to(folder)), source.kind, source.packing) for source in sources]
    assert found == [
        ("a/b/c.jsonl", "json", ""),
        ("a/z.txt", "text", ""),
        ("a.txt", "text", ""),
        ("b.txt", "text", ""),
        ("d.parquet", "parquet", ""),
        ("e.txt.GZ", "text", ".gz"),
        ("wide.txt", "text", ""),  # reading it gives an error with its name
    ]
    assert sorted(notes) == sorted(
        [
            f"{folder}/.git: skipped, its name begins with a dot",
            f"{folder}/a/.hidden: skipped, its name begins with a dot",
            f"{folder}/picture.png: skipped, it contains binary data",
            f"{folder}/tar.gz: skipped, it contains binary data",
        ]
    )


def test_patterns_stand_for_what_they_match(folder: Path) -> None:
    sources, _ = find(f"{folder}/**/*.txt")
    assert [Path(source.name).name for source in sources] == ["z.txt", "a.txt", "b.txt", "wide.txt"]
    with pytest.raises(InputError, match="expected text files, found none"):
        find(f"{folder}/p*")
    with pytest.raises(InputError, match=r"no file matches this pattern"):
        find(f"{folder}/*.csv")
    strange = folder / "[1].txt"
    strange.write_text("好", encoding="utf-8")
    assert [source.path for source in find(str(strange))[0]] == [strange]


def test_what_is_named_is_read_whatever_it_is(folder: Path) -> None:
    sources, notes = find(f"{folder}/picture.png", f"{folder}/.git/config")
    assert len(sources) == 2
    assert notes == []


def test_folders_without_text_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 0 other files"):
        find(str(tmp_path))
    (tmp_path / "x").write_bytes(b"\0")
    with pytest.raises(InputError, match="found 1 other files"):
        find(str(tmp_path))
    with pytest.raises(InputError, match="expected text files, found none"):
        find(f"{tmp_path}/*")


def test_links_are_followed_once(folder: Path) -> None:
    (folder / "a" / "up").symlink_to(folder)
    (folder / "lost").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")
    sources, notes = find(str(folder))
    assert len(sources) == 7
    assert [note for note in notes if "not a readable file" in note] == [
        f"{folder}/lost: skipped, not a readable file",
        f"{folder}/pipe: skipped, not a readable file",
    ]


def test_the_root_holds_everything(folder: Path) -> None:
    def root(*names: str) -> Path | None:
        return discover(names, column=None, notify=lambda note: None).root

    assert root(str(folder)) == folder
    assert root(str(folder / "a.txt")) == folder
    assert root(str(folder / "a" / "z.txt"), str(folder / "a.txt")) == folder
    assert root(str(folder / "a" / ".." / "a")) == folder / "a"
    assert root("-") is None


def test_standard_input_has_records_only_with_a_column() -> None:
    assert discover(["-"], column=None, notify=print).sources[0].kind == "text"
    assert discover(["-"], column="text", notify=print).sources[0].kind == "json"


@pytest.mark.parametrize(("name", "kind"), [("a.parquet.gz", "Parquet"), ("a.xlsx.zst", "Excel")])
def test_packed_tables_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(InputError, match=f"expected an uncompressed {kind} file, .* decompress it first"):
        find(str(path))


@pytest.mark.parametrize("name", ["a.csv", "a.TSV", "a.csv.gz", "a.xlsx"])
def test_a_table_needs_a_column_wherever_it_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"text\n") if name.endswith("gz") else b"text\n")
    (tmp_path / "b.txt").write_text("好", encoding="utf-8")
    for place in (tmp_path / name, tmp_path):
        with pytest.raises(
            InputError, match=rf"{name}: CSV, TSV and Excel files require column= with the name"
        ) as caught:
            find(str(place))
        assert caught.value.code == "table_without_column"
    assert [source.kind for source in discover([str(tmp_path)], column="text", notify=print).sources][1] == "text"


def test_a_column_is_never_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text\n好\n", encoding="utf-8")
    with pytest.raises(InputError, match="found plain text; leave column= out"):
        discover([str(path)], column="text", notify=print)


def test_groups_go_by_size_alone() -> None:
    sources = [Source(str(number), None, "text", "", 20 * 2**20) for number in range(5)]
    assert [(first, len(run)) for first, run in groups(sources)] == [(0, 2), (2, 2), (4, 1)]
    assert list(groups([])) == []
