"""What both README files promise: two commands that set up a fresh machine, the same in both languages, in brief."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)#]+)")


def code(text: str, language: str) -> list[str]:
    """The lines of all code blocks of a language, without comments and blank ones."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [stripped for line in lines if (stripped := re.sub(r"(^|\s+)#.*", "", line).rstrip())]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_it_is_short(text: str) -> None:
    assert len(text.splitlines()) <= 110


def test_two_commands_set_up_a_fresh_machine_with_the_same_torch() -> None:
    setup = [line for line in ENGLISH.splitlines() if line.startswith("python3 -m venv ")]
    assert len(setup) == 2
    assert code(ENGLISH, "bash")[:2] == setup
    versions = [re.findall(r"torch==(\d+\.\d+\.\d+)", line) for line in setup]
    assert versions[0] == versions[1]
    assert len(versions[0]) == 1
    writes, tests = setup
    assert "-m zhseq.poem --start 春" in writes
    assert tests.endswith("-m pytest")
    first_screen = ENGLISH.splitlines()[:24]
    assert all(line in first_screen for line in setup)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_what_helps_with_a_command_is_said_before_it(text: str) -> None:
    assert 0 < text.find("PIP_EXTRA_INDEX_URL") < text.find("python3 -m venv")
    assert 0 < text.find("bin/activate") < text.find("$ zhseq poem")


def test_both_languages_have_the_same_commands_and_snippets() -> None:
    for language in ("bash", "python", "console"):
        assert code(CHINESE, language) == code(ENGLISH, language), f"README.zh.md differs in its {language} blocks"
    assert sorted(set(LINK.findall(CHINESE)) - {"README.md"}) == sorted(set(LINK.findall(ENGLISH)) - {"README.zh.md"})
