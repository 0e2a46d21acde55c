"""What works where PyTorch is not installed, nor anything else that only training or corpora need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# All that the light way needs: numpy, tqdm, regex, and what belongs to Python; onnxruntime where it is asked for.
LIGHT = """
import runpy, sys

THERE = {*sys.stdlib_module_names, "zhseq", "numpy", "tqdm", "regex"}

class Only:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return self.finder.find_spec(name, path, target) if name.partition(".")[0] in THERE else None

sys.meta_path[:] = map(Only, sys.meta_path)
"""


def run(program: str, *arguments: str, more: str = "", text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program in a new process without PyTorch, but with one package more."""
    light = LIGHT.replace('"numpy",', f'"numpy", "{more}",')
    command = [sys.executable, "-c", light + program, *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT)


def test_the_command_tags_without_torch() -> None:
    program = "sys.argv[0] = 'zhseq'; runpy.run_module('zhseq', run_name='__main__')"
    done = run(program, "tag", "-", "--format", "jsonl", "--scores", text="王小明在北京大学学习。\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert "".join(word["text"] for word in found["words"]) == "王小明在北京大学学习。"
    assert [(entity["text"], entity["label"]) for entity in found["entities"]] == [
        ("王小明", "PER"),
        ("北京大学", "ORG"),
    ]
    by_graph = run(program, "tag", "-", "--backend", "onnx", more="onnxruntime", text="王小明在北京大学学习。\n")
    assert by_graph.stdout == "[王/nr 小明/nr]PER 在/p [北京大学/nt]ORG 学习/v 。/w\n"
    refused = run(program, "tag", "-", "--backend", "torch", text="王小明\n")
    assert refused.returncode == 2
    assert refused.stderr.endswith("this needs PyTorch, which is not installed; install it with: pip install torch\n")


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (("train", "--help"), "torch"),
        (("train", "poem", "--output", "x"), "torch"),
        (("classify", "-"), "torch"),
        (("corpus", "list"), "filelock"),
    ],
)
def test_a_command_names_the_package_that_it_lacks(arguments: tuple[str, ...], package: str) -> None:
    program = "sys.argv[0] = 'zhseq'; runpy.run_module('zhseq', run_name='__main__')"
    refused = run(program, *arguments, text="春眠不觉晓\n")
    assert refused.returncode == 2
    assert refused.stderr == (
        f"zhseq: this needs the package {package}, which is not installed; install it with: pip install {package}\n"
    )


def test_the_library_gives_the_same_without_torch() -> None:
    text = "我在上海的浦东机场等了3个小时，航班MU5137还没起飞。"
    program = f"""
from zhseq import Tagger, UserDictionary
tagger = Tagger.load(dictionary=UserDictionary(["浦东机场"], mode="force"))
document = tagger({text!r}, scores=True, nbest=3)
print(len(document.alternatives), [word.text for word in document.words], tagger)
assert "torch" not in sys.modules
"""
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= 2
    assert done.stdout.partition(" ")[2].startswith(
        "['我', '在', '上海', '的', '浦东机场', '等', '了', '3', '个', '小时', '，', '航班'"
    )
    assert "by native (" in done.stdout
