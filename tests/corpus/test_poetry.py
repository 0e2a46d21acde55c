from __future__ import annotations

import json
from pathlib import Path

import pytest

from zhseq.corpus.poetry import CI, SHI, read_composed, read_skip_list, read_source
from zhseq.errors import CorpusError


def test_chinese_poetry(poetry_root: Path) -> None:
    folder = poetry_root / "chinese-poetry"
    poems = {poem.id: poem for poem in read_source("chinese-poetry", folder)}
    tang = poems["tang-0"]
    assert (tang.title, tang.author, tang.dynasty, tang.kind) == ("試筆", "某甲", "唐", SHI)
    assert tang.text == "春山一路花，流水到人傢。\n日暮聞啼鳥，東風滿樹霞。"
    assert poems["song-0"].dynasty == "宋"
    ci = poems["chinese-poetry/宋词/ci.song.0.json#0"]
    assert (ci.kind, ci.tune, ci.title) == (CI, "望江南・忆江南", "")
    qian = poems["chinese-poetry/蒙学/qianjiashi.json#0"]
    assert (qian.author, qian.dynasty, qian.title) == ("某丙", "唐", "晓")
    assert poems["chinese-poetry/诗经/shijing.json#0"].author == "无名氏"
    assert read_skip_list("chinese-poetry", folder) == {"suspect"}
    assert read_composed("chinese-poetry", folder) == {"{木甲}": "柙"}


def test_poetry_source_parts_a_series_into_its_poems(poetry_root: Path) -> None:
    poems = read_source("poetry-source", poetry_root / "poetry-source")
    assert [(poem.id, poem.title) for poem in poems] == [
        ("ps-0", "试笔"),
        ("ps-1#0", "秋居 其一"),
        ("ps-1#1", "秋居 其二"),
    ]
    assert poems[2].text == "霜钟落远村，残月半窗昏。\n欲问归来路，寒溪水有痕。"


def test_werneror_poetry(poetry_root: Path) -> None:
    (poem,) = read_source("werneror-poetry", poetry_root / "werneror-poetry")
    assert (poem.id, poem.title, poem.dynasty, poem.author) == ("werneror-poetry/魏晋.csv#0", "杂诗", "魏晋", "某戊")


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"author"', '\n\n"author"x', r"poet\.tang\.0\.json, line 3: expected JSON, found"),
        ('"author": "某甲"', '"author": 5', r"tang\.0\.json, record 1: expected text in field 'author', found int"),
        ('"paragraphs": [', '"paragraphs": [3, ', r"tang\.0\.json, record 1: expected a list of texts in field 'para"),
    ],
)
def test_a_broken_json_record_is_named(poetry_root: Path, old: str, new: str, message: str) -> None:
    _replace(poetry_root / "chinese-poetry/全唐诗/poet.tang.0.json", old, new)
    with pytest.raises(CorpusError, match=message):
        read_source("chinese-poetry", poetry_root / "chinese-poetry")


@pytest.mark.parametrize("content", [{"a": 1}, ["text"], 5])
def test_json_of_another_shape_is_refused(poetry_root: Path, content: object) -> None:
    path = poetry_root / "chinese-poetry/宋词/ci.song.0.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"ci\.song\.0\.json.*expected"):
        read_source("chinese-poetry", poetry_root / "chinese-poetry")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"题目"', '"名"', r"魏晋\.csv, line 1: expected the header"),
        ('"魏晋",', "", r"魏晋\.csv, line 2: expected the fields .* found 3 fields"),
        ('余音。"', '余音。"x"', r"魏晋\.csv, line 2: expected quoted CSV"),
    ],
)
def test_a_broken_csv_line_is_named(poetry_root: Path, old: str, new: str, message: str) -> None:
    _replace(poetry_root / "werneror-poetry/魏晋.csv", old, new)
    with pytest.raises(CorpusError, match=message):
        read_source("werneror-poetry", poetry_root / "werneror-poetry")


def test_text_that_is_not_utf8_is_named_with_its_line(poetry_root: Path) -> None:
    path = poetry_root / "werneror-poetry/魏晋.csv"
    path.write_bytes(path.read_bytes() + b'"\xff')
    with pytest.raises(CorpusError, match=r"魏晋\.csv, line 3: expected UTF-8 text, found byte 0xff"):
        read_source("werneror-poetry", poetry_root / "werneror-poetry")


def test_missing_files_are_named(poetry_root: Path) -> None:
    (poetry_root / "chinese-poetry/元曲/yuanqu.json").unlink()
    with pytest.raises(CorpusError, match=r"expected files 元曲/\*\.json, found none"):
        read_source("chinese-poetry", poetry_root / "chinese-poetry")
    (poetry_root / "chinese-poetry/蒙学/qianjiashi.json").unlink()
    (poetry_root / "chinese-poetry/元曲/yuanqu.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"qianjiashi\.json: expected a corpus file, found none"):
        read_source("chinese-poetry", poetry_root / "chinese-poetry")
