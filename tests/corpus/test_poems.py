from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus.conftest import shi, write_json
from zhseq.corpus import POETRY_SOURCES, drop_report, load_poems, poems, select_split
from zhseq.corpus.registry import corpora_root
from zhseq.errors import ConfigError, CorpusError

COLUMNS = ["id", "form", "title", "author", "dynasty", "lines", "marks", "tune", "source", "split"]


def test_the_merged_poems(poetry_root: Path) -> None:
    dataset = load_poems(poetry_root)
    assert dataset.column_names == COLUMNS
    rows = {row["id"]: row for row in dataset}
    assert set(rows) == {
        "song-0",
        "chinese-poetry/宋词/ci.song.0.json#0",
        "chinese-poetry/诗经/shijing.json#0",
        "chinese-poetry/蒙学/qianjiashi.json#0",
        "ps-0",
        "ps-1#0",
        "ps-1#1",
        "werneror-poetry/魏晋.csv#0",
    }
    kept = rows["ps-0"]
    assert kept["lines"] == ["春山一路花", "流水到人家", "日暮闻啼鸟", "东风满树霞"]
    assert kept["marks"] == "，。，。"
    assert (kept["form"], kept["title"], kept["author"], kept["dynasty"]) == ("五绝", "试笔", "某甲", "唐")
    assert (kept["source"], kept["tune"]) == ("poetry-source", "")
    ci = rows["chinese-poetry/宋词/ci.song.0.json#0"]
    assert (ci["form"], ci["tune"], ci["title"], ci["dynasty"]) == ("词", "忆江南", "忆江南", "宋")
    assert {row["split"] for row in rows.values()} <= {"train", "dev", "test"}


def test_the_drop_report_accounts_for_every_record(poetry_root: Path) -> None:
    report = drop_report(poetry_root)
    assert report.dropped == {
        "chinese-poetry": {"suspected by upstream": 1, "editorial notes": 1, "duplicate": 1},
        "poetry-source": {"duplicate": 0},
        "werneror-poetry": {"duplicate": 0},
    }
    kept = len(load_poems(poetry_root))
    assert sum(report.read.values()) == kept + sum(sum(drops.values()) for drops in report.dropped.values())


def test_the_second_load_reads_the_cache(poetry_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_poems(poetry_root)
    monkeypatch.setattr(poems, "read_source", None)
    assert list(load_poems(poetry_root)) == list(first)


def test_a_change_of_the_files_makes_a_new_cache(poetry_root: Path) -> None:
    before = len(load_poems(poetry_root))
    write_json(
        poetry_root / "chinese-poetry/全唐诗/poet.tang.1000.json",
        [shi("new", ["白鹭下平沙，青烟起几家。", "渔翁闲罢钓，独自看飞花。"])],
    )
    assert len(load_poems(poetry_root)) == before + 1


def test_some_sources_only(poetry_root: Path) -> None:
    assert set(load_poems(poetry_root, ["werneror-poetry", "chinese-poetry"])["source"]) == {
        "chinese-poetry",
        "werneror-poetry",
    }
    (row,) = load_poems(poetry_root, ["werneror-poetry"])
    assert row["form"] == "五绝"
    for sources in ([], ["no"]):
        with pytest.raises(ConfigError, match="Expected poetry sources, some of chinese-poetry"):
            load_poems(poetry_root, sources)


def test_a_broken_record_leaves_no_cache_and_a_repair_is_enough(poetry_root: Path) -> None:
    path = poetry_root / "poetry-source/source/诗/唐/poetry.唐.0000.base.json"
    good = path.read_text(encoding="utf-8")
    path.write_text(good[:-20], encoding="utf-8")
    with pytest.raises(CorpusError, match=r"poetry\.唐\.0000\.base\.json, line 1: expected JSON"):
        load_poems(poetry_root)
    assert not list((poetry_root / ".cache").glob("poems-*"))
    path.write_text(good, encoding="utf-8")
    assert len(load_poems(poetry_root)) == 8


def test_a_killed_build_is_cleared_up(poetry_root: Path) -> None:
    stale = poetry_root / ".cache" / "poems-0123456789abcdef.part"
    stale.mkdir(parents=True)
    (stale / "half.arrow").write_bytes(b"half")
    load_poems(poetry_root)
    assert not stale.exists()


def test_a_missing_corpus_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"run `zhseq corpus get chinese-poetry`"):
        load_poems(tmp_path)


def test_select_split(poetry_root: Path) -> None:
    dataset = load_poems(poetry_root)
    sizes = [len(select_split(dataset, split)) for split in ("train", "dev", "test")]
    assert sum(sizes) == len(dataset)
    assert set(select_split(dataset, "train")["split"]) == {"train"}
    with pytest.raises(ConfigError, match="one of train, dev, test, found 'valid'"):
        select_split(dataset, "valid")


def test_no_torch_and_no_datasets_at_import() -> None:
    code = (
        "import sys, zhseq.corpus; print([name for name in ('torch', 'datasets', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_splits_follow_the_text_and_keep_their_shares(tmp_path: Path, poetry_root: Path) -> None:
    folder = poetry_root / "poetry-source/source/诗/唐"
    lines = ["春山{}路花", "流水{}人家", "日暮{}啼鸟", "东风{}树霞"]
    records = [
        {
            "id": f"n{number}",
            "title": "题",
            "authorName": "某",
            "dynasty": "唐",
            "content": [line.format(chr(0x4E00 + number)) + "。" for line in lines],
        }
        for number in range(3000)
    ]
    write_json(folder / "poetry.唐.0001.base.json", records)
    dataset = load_poems(poetry_root)
    splits = dict(zip(dataset["id"], dataset["split"], strict=True))
    for split in ("dev", "test"):
        assert 15 <= sum(value == split for value in splits.values()) <= 50  # 1 % of 3,000 is 30
    write_json(folder / "poetry.唐.0001.base.json", records[::-1][:2000])
    fewer = load_poems(poetry_root)
    # Some of the characters fold into one another, so which of two equal poems stays may change; its split may not.
    both = {key: value for key, value in zip(fewer["id"], fewer["split"], strict=True) if key in splits}
    assert len(both) > 1500
    assert all(splits[key] == value for key, value in both.items())


@pytest.mark.corpus
def test_the_real_poems() -> None:
    if not os.environ.get("ZHSEQ_CORPORA"):
        pytest.skip("ZHSEQ_CORPORA is not set")
    load_poems()
    code = (
        "import json, time; from zhseq.corpus import load_poems; poems = load_poems();"
        "print(json.dumps([len(poems), time.process_time()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, seconds = json.loads(done.stdout)
    assert seconds < 2  # of one processor, imports included: the clock on the wall would count other programs too
    report = drop_report(corpora_root())
    assert tuple(report.read) == POETRY_SOURCES
    assert sum(report.read.values()) == count + sum(sum(drops.values()) for drops in report.dropped.values())
    table = load_poems().with_format("arrow")
    forms = table["form"].to_pylist()
    regulated = sum(form in ("五绝", "七绝", "五律", "七律") for form in forms)
    assert 375_000 < regulated < 395_000  # an independent count of distinct poems of these shapes gave 385,600
    test = sum(split == "test" for split in table["split"].to_pylist())
    assert 0.009 < test / count < 0.011


def test_a_full_disk_is_a_sentence_and_leaves_nothing(poetry_root: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))  # the operating system refuses larger files
    try:
        with pytest.raises(CorpusError, match="but the disk is full; free some space"):
            load_poems(poetry_root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((poetry_root / ".cache").glob("poems-*"))
    assert len(load_poems(poetry_root)) == 8
