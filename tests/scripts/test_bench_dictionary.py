from pathlib import Path

import pytest

from scripts.bench_dictionary import main, make_lines
from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.errors import InputError
from zhseq.tagging.model import save


def test_a_small_run_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "model", tiny_model(), tiny_features(), {})
    (tmp_path / "text.txt").write_text("中国人民在北京大学学习。\n\n上海的人民\n", encoding="utf-8")
    arguments = ["--model", str(tmp_path / "model"), "--text", str(tmp_path / "text.txt"), "--entries", "200"]
    assert main([*arguments, "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "load 200 entries" in printed
    rows = [line.split()[0] for line in printed.splitlines() if line.endswith("%")]
    assert rows == ["none", "prefer", "force"]


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("中国人民\n\n上海", encoding="utf-8")
    assert make_lines(path, 100, 0) == ["中国人民", "上海"]
    assert make_lines(path, 100, 4) == ["中国人民", "上海"]
    path.write_text(" \n", encoding="utf-8")
    with pytest.raises(InputError, match="found nothing"):
        make_lines(path, 100, 0)
    with pytest.raises(InputError, match="can be read"):
        make_lines(tmp_path / "none", 100, 0)
