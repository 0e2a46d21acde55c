"""Tagging on a cluster: two nodes on this machine, each with more processors than there are."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bulk.jobs import echo_run
from tests.bulk.test_run import ROOT, contents, write
from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.bulk.records import LINES
from zhseq.bulk.run import TaggingJob
from zhseq.errors import ConfigError, InputError
from zhseq.tag import main
from zhseq.tagging.model import save
from zhseq.tagging.tagger import Tagger

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

from ray.cluster_utils import Cluster  # noqa: E402

from zhseq.bulk.ray import execute, tag  # noqa: E402

# Ray leaves files and sockets to the collector of garbage.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
CHUNKS = 60
TEXT = "".join(f"第{number}行\n" for number in range(LINES * CHUNKS))
NODE = {"num_cpus": 4, "object_store_memory": 150 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        made = Cluster(initialize_head=True, head_node_args=NODE)
        try:
            ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    save(folder, tiny_model(), tiny_features(), {})
    return str(folder)


def test_a_node_that_dies_in_mid_run_costs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    second = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    source, trace = tmp_path / "in", tmp_path / "trace"
    trace.mkdir()
    write(source / "a.txt", TEXT)
    write(source / "b.txt", "甲\n")
    write(source / "c.txt", TEXT)
    killed = threading.Event()

    def kill() -> None:
        end = time.monotonic() + 120
        while len(list(trace.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1)
        if not (tmp_path / "out" / "c.txt.tagged").exists():
            cluster.remove_node(second, allow_graceful=False)
            killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        execute(echo_run([str(source)], str(tmp_path / "out"), workers=3, trace=str(trace)))
    finally:
        killer.join()
    assert killed.is_set()
    assert len(list(trace.iterdir())) == 2
    echo_run([str(source)], str(tmp_path / "whole")).execute()
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_same_bytes_as_without_a_cluster(cluster: Cluster, tmp_path: Path, model: str) -> None:
    write(tmp_path / "in" / "a.txt", "中国人民在北京大学学习。\n\n上海来的" * 700)
    (tmp_path / "in" / "b.jsonl.gz").write_bytes(gzip.compress('{"id": 1, "text": "北京"}\n'.encode()))
    write(tmp_path / "in" / "c", "")
    for options in (["--engine", "ray", "--workers", "2"], []):
        output = f"{tmp_path}/out{len(options)}"
        assert main([f"{tmp_path}/in", "--output", output, "--model", model, "--format", "brat", *options]) == 0
    assert contents(tmp_path / "out4") == contents(tmp_path / "out0")
    assert contents(tmp_path / "out4")["a.txt.ann"].count("\n") > 1000


def test_errors_are_sentences_and_what_was_done_is_kept(cluster: Cluster, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.txt", "甲\n" * LINES * 3)
    broken = tmp_path / "in" / "b.jsonl"
    write(broken, '{"text": "好"}\n' * LINES * 3 + "{\n")
    run = echo_run([str(tmp_path / "in")], str(tmp_path / "out"), workers=2)
    with pytest.raises(InputError, match=rf"b\.jsonl, line {LINES * 3 + 1}: expected a JSON object"):
        execute(run)
    write(broken, '{"text": "好"}\n' * LINES * 4)
    execute(replace(run, resume=True))
    echo_run([str(tmp_path / "in")], str(tmp_path / "whole")).execute()
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    with pytest.raises(ConfigError, match="expected a cluster with 9 processors, found 4"):
        execute(replace(run, workers=9))
    with pytest.raises(InputError, match="expected a folder as output=, found none"):
        execute(replace(run, output=None))


def test_a_model_that_cannot_be_loaded_is_said_once(cluster: Cluster, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "甲\n")
    arguments = [f"{tmp_path}/a.txt", "--output", f"{tmp_path}/out/", "--engine", "ray", "--model", f"{tmp_path}/no"]
    with pytest.raises(InputError, match="no"):
        main(arguments)


def test_columns_are_added_to_a_dataset(cluster: Cluster, model: str) -> None:
    texts = ["中国人民在北京大学学习。", "", "上海来的和北京的"] * 20
    dataset = ray.data.from_items([{"content": text, "id": number} for number, text in enumerate(texts)])
    rows = tag(dataset, "content", job=TaggingJob(model=model, scores=True), batch_size=7).sort("id").take_all()
    tagger = Tagger.load(model)
    assert [row["id"] for row in rows] == list(range(60))
    for row, document in zip(rows, tagger.stream(texts, scores=True), strict=True):
        assert row["content"] == document.text
        assert [(word["text"], word["start"], word["end"], word["pos"]) for word in row["words"]] == [
            (word.text, word.start, word.end, word.pos) for word in document.words
        ]
        assert [entity["label"] for entity in row["entities"]] == [entity.label for entity in document.entities]
        assert all(0 <= word["score"] <= 1 for word in row["words"])
    with pytest.raises(Exception, match="expected a column 'text', found 'content', 'id'"):
        tag(dataset, job=TaggingJob(model=model)).take_all()
