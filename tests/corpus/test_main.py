from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zhseq.corpus.__main__ import main
from zhseq.corpus.registry import manifest
from zhseq.corpus.stats import plot_poems, poem_stats, text_table
from zhseq.errors import ConfigError

PNG = b"\x89PNG\r\n\x1a\n"


def run(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ZHSEQ_CORPORA": str(root),
        "PYTHONWARNINGS": "error:Glyph:UserWarning",
    }  # a character that a picture has no glyph for
    environment.pop("ZHSEQ_CORPORA_MIRROR", None)
    command = [sys.executable, "-m", "zhseq.corpus", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)


def test_list_shows_what_is_here(tmp_path: Path) -> None:
    (tmp_path / "msra_ner").mkdir()
    done = run("list", root=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    states = {line.split()[0]: line.split()[2] for line in done.stdout.splitlines() if len(line.split()) > 5}
    assert states["msra_ner"] == "yes"
    assert states["werneror-poetry"] == "no"
    assert all(f"\n{name}: " in done.stdout for name in manifest())


def test_get_without_its_archive_is_one_sentence(tmp_path: Path) -> None:
    done = run("get", "werneror-poetry", "--from", str(tmp_path), root=tmp_path / "root")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("zhseq: ")
    assert "expected werneror-poetry.tar.xz in it or below, found none; check --from." in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_stats_of_a_broken_corpus_is_one_sentence(poetry_root: Path) -> None:
    (poetry_root / "werneror-poetry/魏晋.csv").write_text('"题目"\n', encoding="utf-8")
    done = run("stats", "poems", root=poetry_root)
    assert done.returncode == 2
    assert "魏晋.csv, line 1: expected the header" in done.stderr
    assert "Traceback" not in done.stderr


def test_stats_and_plot_of_the_poems(poetry_root: Path, tmp_path: Path) -> None:
    done = run("stats", "poems", "--plot", str(tmp_path / "new" / "poems.png"), root=poetry_root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "8 poems, 33 lines, 163 Han characters"
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.split()}
    assert rows["五绝"][0] == "6"
    assert rows["词"][0] == "1"
    assert rows["read"] == ["7", "3", "1"]
    assert rows["kept"] == ["4", "3", "1"]
    assert (tmp_path / "new" / "poems.png").read_bytes().startswith(PNG)


def test_stats_of_one_source(poetry_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(poetry_root), "stats", "werneror-poetry"]) == 0
    assert capsys.readouterr().out.startswith("1 poems, 4 lines, 20 Han characters")


def test_stats_of_another_corpus_counts_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pfr199801"
    folder.mkdir()
    (folder / "199801.txt").write_bytes("迈向/v  世纪/n\n".encode("gbk"))
    (folder / "other.bin").write_bytes(b"\xff\xfe")
    assert main(["--root", str(tmp_path), "stats", "pfr199801"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["199801.txt", "15", "1", "11"] in rows
    assert ["other.bin", "2", "0", "0"] in rows
    assert ["all", "17", "1", "11"] in rows


def test_a_plot_of_another_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="with --plot, found 'msra_ner'; leave --plot out"):
        main(["--root", str(tmp_path), "stats", "msra_ner", "--plot", "x.png"])


def test_a_plot_without_matplotlib_says_what_to_install(
    poetry_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = poem_stats(poetry_root, ["werneror-poetry"])
    real: Callable[..., object] = builtins.__import__

    def without_matplotlib(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(ConfigError, match=r"pip install 'zhseq\[plot\]'"):
        plot_poems(stats, tmp_path / "x.png")


def test_text_table_counts_chinese_characters_double() -> None:
    table = text_table(("form", "poems"), [("五绝", 1200), ("ci", 7)])
    assert table.splitlines() == ["form  poems", "-----------", "五绝  1,200", "ci        7"]
