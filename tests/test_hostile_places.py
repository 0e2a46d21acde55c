"""Places that cannot be written: a home that is read-only, a disk that is full."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq import checkpoint
from zhseq.errors import CheckpointError
from zhseq.tagging.model import save

# Below a file nothing can be made, not even by root, whom permissions do not hold.
NOWHERE = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "MPLCONFIGDIR"), "/dev/null/home")
FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def tagger_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "tagger"
    save(directory, tiny_model(), tiny_features(), {})
    return directory


def run(*arguments: str | Path, text: str = "", output: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python without a home."""
    with ExitStack() as stack:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            input=text,
            stdout=subprocess.PIPE if output is None else stack.enter_context(output.open("w")),
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, **NOWHERE, "HF_HUB_OFFLINE": "1"},
        )


def test_a_text_is_tagged_without_a_home(tagger_dir: Path) -> None:
    done = run("-m", "zhseq.tag", "--model", tagger_dir, "--format", "jsonl", "-", text="中国人民\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["text"] == "中国人民"


def test_a_poem_is_written_without_a_home(tiny_model_dir: Path) -> None:
    done = run("-m", "zhseq.poem", "--model", tiny_model_dir, "--start", "春", "--form", "五绝", "--seed", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("春")


def test_a_model_of_the_hub_is_a_sentence_without_a_home() -> None:
    done = run("-m", "zhseq.tag", "--model", "nobody/nothing", "-", text="中国")
    assert done.returncode == 2
    assert done.stderr.startswith("zhseq: 'nobody/nothing' is not a local directory and could not be fetched")
    assert len(done.stderr.splitlines()) == 1


def test_data_sets_dictionary_and_plots_work_without_a_home(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    program = """
import sys
import datasets
from pathlib import Path
from zhseq.corpus.tagging import read_tagged
from zhseq.tagging.lexicon import jieba_frequencies
place = sys.argv[1]
datasets.Dataset.from_dict({"tokens": [["江", "来"]], "ner_tags": [["B-PER", "O"]]}).save_to_disk(place)
assert len(read_tagged(place).texts) == 1
assert len(jieba_frequencies()) > 100_000
from matplotlib.figure import Figure
Figure().savefig(Path(place, "plot.png"))
"""
    done = run("-c", program, tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_a_sentence(tagger_dir: Path) -> None:
    done = run("-m", "zhseq.tag", "--model", tagger_dir, "-", text="中国\n" * 3000, output=FULL)
    assert (done.returncode, done.stderr) == (2, "zhseq: No space left on device\n")


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path: Path) -> None:
    place = tmp_path / "model"
    checkpoint.save(place, config={"kind": "one"}, tensors={"a": torch.ones(4)}, files={"words.txt": "人\n"})
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the operating system refuses larger files
    try:
        for tensors, files in (({"a": torch.ones(4000)}, {}), ({}, {"words.txt": "人\n" * 1000})):
            with pytest.raises(CheckpointError, match="the previous state is intact"):
                checkpoint.save(place, config={"kind": "two"}, tensors=tensors, files=files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
