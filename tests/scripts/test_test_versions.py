from pathlib import Path

import pytest

from scripts import test_versions as script

ROOT = Path(__file__).resolve().parents[2]
PROJECT = script.tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_a_requirement_is_pinned_to_its_lowest_version():
    assert script.oldest("numpy>=1.24") == "numpy==1.24"
    assert script.oldest("uvicorn>=0.30,<0.55") == "uvicorn==0.30"
    assert script.oldest("ray[data]>=2.10") == "ray[data]==2.10"
    assert script.oldest("uvloop>=0.19; sys_platform != 'win32'") == "uvloop==0.19; sys_platform != 'win32'"
    with pytest.raises(ValueError, match="lower bound"):
        script.oldest("numpy")


def test_all_that_is_required_has_a_lowest_version_and_can_be_told_apart():
    pinned = script.wanted(PROJECT, "oldest", "2.13.0")
    newest = script.wanted(PROJECT, "newest", "2.13.0")
    assert pinned[0] == newest[0] == "torch==2.13.0"
    assert "numpy==1.24.2" in pinned
    assert "numpy>=1.24.2" in newest
    assert {"mcp==2", "pillow==9.2", "onnx==1.16", "pypinyin==0.55"} <= set(pinned)  # of all extras
    assert len(pinned) == len(newest)
    assert any(each.startswith("pytest") for each in pinned)
    assert not any(each.startswith("zhseq") for each in pinned)


def test_what_stands_behind_two_dashes_goes_to_pytest():
    assert script.split(["oldest", "--", "-x", "tests"]) == (["oldest"], ["-x", "tests"])
    assert script.split(["oldest"]) == (["oldest"], [])
