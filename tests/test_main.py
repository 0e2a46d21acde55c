import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zhseq
from zhseq.__main__ import DOORS

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_the_version_is_said_at_once_and_nothing_heavy_is_loaded() -> None:
    program = "import sys\nsys.argv = ['zhseq', '--version']\nfrom zhseq.__main__ import main\n"
    program += "try: main()\nexcept SystemExit as end: status = end.code\n"
    program += (
        "heavy = {'torch', 'numpy', 'jieba', 'datasets', 'tqdm', 'opencc'} & set(sys.modules)\nprint(status, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"zhseq {zhseq.__version__}\n0 set()\n"


@pytest.mark.parametrize("module", ["argparse", "zhseq.cli", "zhseq.config", "zhseq.poem", "numpy"])
def test_interruption_during_an_import_is_status_130_without_a_traceback(module: str) -> None:
    program = f"""
import sys
class Interrupter:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupter())
from zhseq.__main__ import main
sys.argv = ['zhseq', 'poem', '--help']
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "zhseq: interrupted\n")


@pytest.mark.parametrize("option", [["--help"], ["-h"], []])
def test_help_names_all_commands(option: list[str]) -> None:
    done = run("zhseq", *option)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")] == list(DOORS)


def test_an_unknown_command_is_answered_with_the_nearest_or_all() -> None:
    done = run("zhseq", "peom")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "zhseq: there is no command 'peom'; expected poem\n"
    assert run("zhseq", "xyz").stderr.endswith(
        "expected poem, verse, tag, classify, train, evaluate, export, mcp, corpus, serve\n"
    )


@pytest.mark.parametrize("door", DOORS)
def test_each_command_is_the_same_as_its_module(door: str) -> None:
    """Usage, status and what is refused do not depend on the way in; only the program's name does."""
    one, other = (run(*way, "--no-such-option") for way in (("zhseq", door), (f"zhseq.{door}",)))
    assert one.returncode == other.returncode == 2
    assert one.stderr.startswith(f"usage: zhseq {door} ")
    assert other.stderr.startswith(f"usage: python -m zhseq.{door} ")
    assert (
        one.stderr.splitlines()[-1].replace(f"zhseq {door}", f"python -m zhseq.{door}")
        == (other.stderr.splitlines()[-1])
    )


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("door", ["", *DOORS, "train poem", "corpus get"])
def test_help_that_cannot_be_written_is_an_error(door: str, buffered: bool) -> None:
    way = [sys.executable, *([] if buffered else ["-u"]), "-m", "zhseq", *door.split(), "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            way, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, timeout=120, check=False
        )
    assert (done.returncode, done.stderr) == (2, "zhseq: No space left on device\n")


def test_the_command_that_is_installed_is_this_one() -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^\[project\.scripts\]\nzhseq = "([\w.]+):(\w+)"$', settings, re.MULTILINE)
    assert found is not None
    assert callable(getattr(importlib.import_module(found[1]), found[2]))
    assert f'\nversion = "{zhseq.__version__}"\n' in settings
