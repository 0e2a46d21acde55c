"""A small directory of poetry corpora in the upstream formats, and a corpus packed as mirrors pack it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zhseq.corpus.registry import Archive, Corpus, file_checksum

QUATRAIN = ["春山一路花，流水到人家。", "日暮闻啼鸟，东风满树霞。"]
"""Verse made for these tests: four lines of five characters."""


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def shi(identity: str, paragraphs: list[str], title: str = "試筆", author: str = "某甲") -> dict[str, Any]:
    return {"id": identity, "title": title, "author": author, "paragraphs": paragraphs}


def write_chinese_poetry(folder: Path, tang: list[dict[str, Any]], ci: list[dict[str, Any]]) -> None:
    write_json(folder / "全唐诗/poet.tang.0.json", tang)
    write_json(
        folder / "全唐诗/poet.song.0.json", [shi("song-0", ["雪壓千山白，雲開一徑青。", "老僧歸不晚，松下誦殘經。"])]
    )
    write_json(folder / "全唐诗/唐诗补录.json", [])
    write_json(folder / "全唐诗/唐诗三百首.json", [])
    write_json(folder / "全唐诗/error/poet.tang.0.json", [{"id": "suspect", "error_type": ["x"]}])
    write_json(folder / "全唐诗/表面结构字.json", {"{木甲}": [{"font": "柙"}], "{木乙}": []})
    write_json(folder / "宋词/ci.song.0.json", ci)
    write_json(folder / "五代诗词/nantang/poetrys.json", [])
    write_json(folder / "元曲/yuanqu.json", [])
    write_json(folder / "诗经/shijing.json", [{"title": "桑", "content": ["采桑采桑，日在东方。采桑归来，月照我裳。"]}])
    write_json(folder / "楚辞/chuci.json", [])
    write_json(folder / "曹操诗集/caocao.json", [])
    write_json(folder / "纳兰性德/纳兰性德诗集.json", [])
    qian = {
        "chapter": "晓",
        "author": "（唐）某丙",
        "paragraphs": ["晓月挂疏桐，寒鸦起晚风。", "行人犹未起，霜叶半山红。"],
    }
    write_json(folder / "蒙学/qianjiashi.json", {"content": [{"type": "五言", "content": [qian]}]})


@pytest.fixture
def poetry_root(tmp_path: Path) -> Path:
    """A root with all three poetry sources; the first Tang poem stands in two of them in different scripts."""
    root = tmp_path / "corpora"
    tang = [
        shi("tang-0", ["春山一路花，流水到人傢。", "日暮聞啼鳥，東風滿樹霞。"]),
        shi("suspect", ["暮雨連江急，孤舟帶客歸。", "漁燈三兩點，猶自照荊扉。"]),
        shi("note", ["（按：此句疑誤。）石上一孤琴，松間萬古心。", "無人知此意，明月在高岑。"]),
    ]
    ci = [
        {
            "author": "某乙",
            "rhythmic": "望江南・忆江南",
            "paragraphs": ["春去也，花落满城飞。", "旧燕不知人已老，新莺犹唱柳依依。", "何处送春归。"],
        }
    ]
    write_chinese_poetry(root / "chinese-poetry", tang, ci)
    records = [
        {"id": "ps-0", "title": "试笔", "authorName": "某甲", "dynasty": "唐", "content": QUATRAIN},
        {
            "id": "ps-1",
            "title": "秋居",
            "authorName": "某丁",
            "dynasty": "唐",
            "content": [
                "【其一】",
                "竹影扫秋阶，茶烟出小斋。",
                "读书人不见，黄叶满空怀。",
                "【其二】",
                "霜钟落远村，残月半窗昏。",
                "欲问归来路，寒溪水有痕。",
            ],
        },
    ]
    write_json(root / "poetry-source/source/诗/唐/poetry.唐.0000.base.json", records)
    path = root / "werneror-poetry/魏晋.csv"
    path.parent.mkdir(parents=True)
    path.write_text(
        '"题目","朝代","作者","内容"\n"杂诗","魏晋","某戊","白日下西陵，悲风动长林。游子行未已，慷慨有余音。"\n',
        encoding="utf-8",
    )
    return root


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Corpus]:
    """Return a function that packs files (path -> content) into an archive and gives its manifest entry."""

    def make(files: dict[str, bytes], *, name: str = "sample", top: str = "", **changes: Any) -> Corpus:
        archive = tmp_path / "shelf" / "deep" / f"{name}.tar.xz"
        archive.parent.mkdir(parents=True, exist_ok=True)
        write_tar(archive, {top + path: content for path, content in files.items()}, "w:xz")
        entries = sorted((path.encode(), hashlib.sha256(content).hexdigest()) for path, content in files.items())
        tree = "".join(f"{checksum}  {path.decode()}\n" for path, checksum in entries)
        packed = Archive(archive.name, file_checksum(archive), archive.stat().st_size, top)
        entry = {
            "name": name,
            "kind": "text",
            "purpose": "Test",
            "licence": "none",
            "files": len(files),
            "size": sum(map(len, files.values())),
            "tree_sha256": hashlib.sha256(tree.encode()).hexdigest(),
            "archives": (packed,),
            "upstream": (),
        }
        return Corpus(**{**entry, **changes})

    return make


def write_tar(path: Path, files: dict[str, bytes], mode: Any, *members: tarfile.TarInfo) -> None:
    with tarfile.open(path, mode) as tar:
        for member in members:
            tar.addfile(member)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
