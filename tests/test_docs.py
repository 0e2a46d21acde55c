"""What the documents show is what is printed, what they name exists, and where they lead is something."""

from __future__ import annotations

import importlib
import io
import os
import re
import shlex
import sys
from contextlib import redirect_stdout
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

from zhseq.config import override
from zhseq.corpus.tagging import read_tagged
from zhseq.recipes.poem import PoemRecipe
from zhseq.recipes.tagger import TaggerRecipe, find_recipe

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from update_docs import agrees, documents, run_document  # noqa: E402

TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "corpora" / "README.md")
}
MANUAL = [name for name in TEXTS if name not in ("CHANGELOG.md", "RESULTS.md")]  # the others tell of the past
NAMES = [str(path.relative_to(ROOT)) for path in documents()]
LONG = {
    "docs/gallery.md",
    "docs/sense.md",
    "docs/serve.md",
    *(name for name in NAMES if name.startswith("checkpoints/")),
}
FOREIGN = {"--nproc_per_node", "--no-deps", "--check"}  # of torchrun, pip, ruff
DOORS = ("poem", "tag", "train", "evaluate", "export", "corpus", "serve")
COMMAND = re.compile(rf"(?:-m zhseq\.|(?:^|[ /=])zhseq )({'|'.join(DOORS)})(?= |$)(.*)")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in NAMES])
def test_what_a_document_shows_is_what_is_printed(name: str) -> None:
    """`python scripts/update_docs.py` brings the documents up to date."""
    ran = list(run_document(ROOT / name))
    assert ran
    for example, printed in ran:
        assert agrees(example.shown, printed), "\n".join([f"{name}: {example.source} now prints", *printed])


def commands(text: str) -> list[tuple[str, ...]]:
    """The words of every command of zhseq, in blocks or within a sentence, from the name of its front door on."""
    blocks = re.findall(r"^```(?:bash|console)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]*\bzhseq[ .][^`\n]*)`", text)
    found = []
    for line in lines:
        for simple in re.split(r"&&|\|", line):
            if match := COMMAND.search(simple.strip()):
                try:
                    found.append((match[1], *shlex.split(match[2], comments=True)))
                except ValueError:
                    continue  # a line of what a command printed
    return found


COMMANDS = sorted({words for name in MANUAL for words in commands(TEXTS[name])})


@cache
def usage(door: str, *command: str) -> str:
    """What a front door says of itself, asked in this process."""
    package = importlib.import_module(f"zhseq.{door}")
    main = package.main if hasattr(package, "main") else importlib.import_module(f"zhseq.{door}.__main__").main
    with redirect_stdout(io.StringIO()) as written, pytest.raises(SystemExit) as exit_:
        main([*command, "--help"])
    assert exit_.value.code == 0, f"{door} {command}"
    return written.getvalue()


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def parts(door: str) -> list[str]:
    """The commands of a front door, if it has any."""
    listed = re.search(r"\{([\w,-]+)\}\s+\.\.\.", usage(door))  # how argparse lists them
    return listed[1].split(",") if listed else []


def test_there_are_commands_for_every_door() -> None:
    assert {words[0] for words in COMMANDS} == set(DOORS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_its_options(words: tuple[str, ...]) -> None:
    door, arguments = words[0], words[1:]
    text = usage(door)
    if parts(door) and arguments:
        named = list(takewhile(lambda word: not word.startswith(("-", "...", "|")), arguments))
        if named:
            assert named[0] in parts(door)
            text += usage(door, named[0])
    given = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    assert given <= options(text)


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if words[:2] == ("train", "poem") and "--set" in words], ids=" ".join
)
def test_every_setting_of_the_poem_model_exists(words: tuple[str, ...]) -> None:
    settings = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
    assert override(PoemRecipe(), settings) != PoemRecipe()


def test_the_recipe_that_is_shown_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```$", TEXTS["docs/training.md"], re.MULTILINE | re.DOTALL)
    (tmp_path / "mixed.json").write_text(block, encoding="utf-8")
    recipe = find_recipe(str(tmp_path / "mixed.json"))
    assert recipe.transfer
    assert override(TaggerRecipe(), recipe.settings).training.epochs == 5
    assert set(recipe.sources) == {"pos", "ner", "ner-cluener"}


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "docs/poems.md", "docs/tagging.md", "docs/training.md"])
def test_every_option_that_is_spoken_of_exists(name: str) -> None:
    known = set(FOREIGN)
    for door in DOORS:
        known |= options(usage(door)).union(*(options(usage(door, part)) for part in parts(door)))
    assert options("\n".join(re.findall(r"`([^`\n]+)`", TEXTS[name]))) <= known


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_documents_are_finished_and_their_links_lead_somewhere(name: str) -> None:
    text = TEXTS[name]
    assert "@@" not in text
    links = {link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link}
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{name}: {link}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set[str](), ["README.md"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        links = re.findall(r"\]\(([^)#\s]+\.md)", TEXTS.get(name, ""))
        targets = {os.path.relpath((ROOT / name).parent / link, ROOT) for link in links if "://" not in link}
        waiting += targets - reached
    assert set(TEXTS) - reached == set()


def test_the_examples_of_labelling_are_read_as_they_are_meant(tmp_path: Path) -> None:
    blocks = re.findall(r"^```text\n(.*?)^```$", TEXTS["docs/labelling.md"], re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    (tmp_path / "examples.txt").write_text("".join(blocks), encoding="utf-8")
    cut, named = (
        read_tagged(str(tmp_path / "examples.txt"), format="text", task=task).texts for task in ("pos", "ner")
    )
    assert len(cut) == len(named) == len("".join(blocks).splitlines())
    allowed = set(re.findall(r"`([A-Za-z]{1,2})`", TEXTS["docs/labelling.md"]))
    assert {word.label for text in cut for word in text.words or ()} <= allowed
    assert {name.label for text in named for name in text.entities or ()} == {"PER", "LOC", "ORG"}
    for text, names in zip(cut, named, strict=True):
        starts, ends = ({getattr(word, side) for word in text.words or ()} for side in ("start", "end"))
        assert all(name.start in starts and name.end in ends for name in names.entities or ()), text.text
