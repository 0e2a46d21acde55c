"""The measuring of what a command costs that is run once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import bench_start


def test_it_prints_what_each_command_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert bench_start.main(["--rounds", "1", "--environment", str(tmp_path)]) == 0
    first, *rows, last = capsys.readouterr().out.splitlines()
    assert first.startswith("on ")
    assert [row.split()[0] for row in rows] == ["tag:"] * 3 + ["poem:"] * 3
    assert all(float(row.split()[1]) > 0 for row in rows)
    assert last == f"{tmp_path}: 3 MB"


def test_a_command_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench_start.COMMANDS, "tag", (("tag", "-", "--backend", "torch"), "", "x"))
    with pytest.raises(SystemExit, match="ended with status 2"):
        bench_start.start("tag")
