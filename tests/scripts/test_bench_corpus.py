from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.bench_corpus import main, make_text, timed
from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.errors import ZhseqError
from zhseq.tagging.model import save


def test_the_text_is_as_large_as_was_asked_for() -> None:
    text = make_text(0.1)
    assert 100_000 <= len(text.encode()) < 101_000
    assert text == make_text(0.1)
    assert text != make_text(0.1, seed=1)


def test_memory_of_all_processes_is_seen() -> None:
    child = "import time; data = bytearray(60_000_000); time.sleep(0.5)"
    seconds, peak = timed(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"]
    )
    assert seconds > 0.5
    assert 60 < peak < 150
    with pytest.raises(ZhseqError, match="ValueError"):
        timed([sys.executable, "-c", "raise ValueError"])


@pytest.mark.slow
def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "model", tiny_model(), tiny_features(), {})
    assert main(["--megabytes", "0.1", "--rounds", "1", "--model", str(tmp_path / "model")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0.1 MB, 2 workers, medians of 1 rounds"
    assert [line.split()[0] for line in lines[2:]] == ["one-process", "threads", "processes"]
    assert all(float(number) > 0 for line in lines[2:] for number in line.split()[1:])
