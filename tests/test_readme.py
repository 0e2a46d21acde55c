"""What the README says can be done: its commands parse, their options exist, and both languages say the same."""

from __future__ import annotations

import importlib
import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest

from zhseq.config import override
from zhseq.recipes.poem import PoemRecipe

ROOT = Path(__file__).resolve().parent.parent
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")
FOREIGN = {"--nproc_per_node"}  # an option of torchrun
LINK = re.compile(r"\]\(([^)#]+)")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def code(text: str, language: str) -> list[str]:
    """The lines of all code blocks of a language, without comments and blank ones."""
    lines = [line for block in blocks(text, language) for line in block.splitlines()]
    return [stripped for line in lines if (stripped := re.sub(r"(^|\s+)#.*", "", line).rstrip())]


def commands(text: str) -> list[list[str]]:
    """The words behind `-m zhseq.` of every command, in blocks or within a sentence."""
    written = code(text, "bash") + re.findall(r"`([^`\n]*-m zhseq\.[^`\n]*)`", text)
    found = []
    for line in written:
        for simple in re.split(r"&&|\|", line):
            words = shlex.split(simple, comments=True)
            if "-m" in words and words[words.index("-m") + 1].startswith("zhseq."):
                found.append([word for word in words[words.index("-m") + 1 :] if word != "..."])
    return found


COMMANDS = commands(ENGLISH)


def usage(module: str, capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """What a front door says of itself, asked in this process."""
    package = importlib.import_module(module)
    door = package if hasattr(package, "main") else importlib.import_module(f"{module}.__main__")
    with pytest.raises(SystemExit) as exit_:
        door.main([*command, "--help"])
    assert exit_.value.code == 0, f"{module} {command}"
    return capsys.readouterr().out


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def test_there_are_commands_for_every_part() -> None:
    assert {"zhseq.poem", "zhseq.train", "zhseq.corpus"} <= {words[0] for words in COMMANDS}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_its_options(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    module, arguments = words[0], words[1:]
    text = usage(module, capsys)
    subcommands = re.search(r"\{([\w,-]+)\}\s+\.\.\.", text)  # how argparse lists them
    if subcommands:
        named = list(takewhile(lambda word: not word.startswith("-"), arguments))
        assert named, f"{' '.join(words)} names none of {subcommands[1]}"
        assert named[0] in subcommands[1].split(",")
        text += usage(module, capsys, named[0])
    assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= options(text)


@pytest.mark.parametrize("words", [words for words in COMMANDS if "--set" in words and "poem" in words], ids=" ".join)
def test_every_setting_of_the_poem_model_exists(words: list[str]) -> None:
    settings = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
    assert override(PoemRecipe(), settings) != PoemRecipe()


def test_every_option_that_is_spoken_of_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known: set[str] = set()
    for words in COMMANDS:
        text = usage(words[0], capsys)
        listed = re.search(r"\{([\w,-]+)\}\s+\.\.\.", text)
        known |= options(text)
        for name in listed[1].split(",") if listed else []:
            known |= options(usage(words[0], capsys, name))
    for text in (ENGLISH, CHINESE):
        assert options("\n".join(re.findall(r"`([^`\n]+)`", text))) - FOREIGN <= known


def test_two_commands_set_up_a_fresh_machine_with_the_same_torch() -> None:
    setup = [line for line in ENGLISH.splitlines() if line.startswith("python3 -m venv ")]
    assert len(setup) == 2
    assert all(line in code(ENGLISH, "bash")[:2] for line in setup)
    versions = [re.findall(r"torch==(\d+\.\d+\.\d+)", line) for line in setup]
    assert versions[0] == versions[1]
    assert len(versions[0]) == 1
    writes, tests = setup
    assert "-m zhseq.poem --start 春" in writes
    assert tests.endswith("-m pytest")
    first_screen = ENGLISH.splitlines()[:24]
    assert all(line in first_screen for line in setup)


def test_both_languages_have_the_same_commands_and_snippets() -> None:
    for language in ("bash", "python"):
        assert code(CHINESE, language) == code(ENGLISH, language), f"README.zh.md differs in its {language} blocks"
    assert sorted(set(LINK.findall(CHINESE)) - {"README.md"}) == sorted(set(LINK.findall(ENGLISH)) - {"README.zh.md"})
