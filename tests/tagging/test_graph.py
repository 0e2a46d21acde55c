"""The network as a graph: the same scores as with PyTorch, from the same weights, and no way to run a wrong one."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.tiny_tagger import CHARACTERS, NER, POS, tiny_features, tiny_model
from zhseq import checkpoint
from zhseq.device import BACKENDS, instructions, pick_backend
from zhseq.errors import CheckpointError, ConfigError
from zhseq.graph import GRAPH_FILE, OPSET, Session
from zhseq.tagging.features import TaggerFeatures
from zhseq.tagging.graph import OnnxNetwork, export, network_graph, read_weights
from zhseq.tagging.model import SequenceTagger, TorchNetwork, save
from zhseq.tagging.tagger import Tagger
from zhseq.text.normalize import codepoints

TEXTS = ["中国人民在北京大学学习", "上", "了abc,123", "北京!"]


def weights_of(model: SequenceTagger) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.half().float().state_dict().items()}


def as_graph(model: SequenceTagger, features: TaggerFeatures, precision: str = "float32") -> OnnxNetwork:
    graph = network_graph(weights_of(model), model.config, precision)
    return OnnxNetwork(Session(graph, 1, source="test"), features, model.config.heads)


def scored(network: OnnxNetwork | TorchNetwork, texts: list[str], head: str = "pos") -> list[np.ndarray]:
    lengths = np.array([len(text) for text in texts])
    found = network.emissions(codepoints("".join(texts)), lengths, [head])[head]
    assert found.dtype == np.float32
    assert found.shape[:2] == (len(texts), lengths.max())
    return [scores[:length] for scores, length in zip(found, lengths.tolist(), strict=True)]


MODEL = tiny_model()
GRAPH = as_graph(MODEL, tiny_features())
TORCH = TorchNetwork(MODEL, tiny_features())


@given(st.lists(st.text(CHARACTERS + "龘𠀀 ", min_size=1, max_size=30), min_size=1, max_size=9))
@settings(max_examples=50, deadline=None)
def test_the_graph_scores_as_torch_does(texts: list[str]) -> None:
    for head in ("pos", "ner"):
        for ours, theirs in zip(scored(GRAPH, texts, head), scored(TORCH, texts, head), strict=True):
            assert np.allclose(ours, theirs, atol=1e-4)
    documents = [list(Tagger(network).stream(texts)) for network in (GRAPH, TORCH)]
    assert documents[0] == documents[1]


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_layers": 2},
        {"channels": 0},
        {"width": 1},
        {"width": 5},
        {"embedding_dim": 3, "bigram_dim": 2, "word_dim": 1, "hidden_size": 1, "channels": 1},
    ],
    ids=str,
)
def test_models_of_every_shape_have_a_graph(sizes: dict[str, int]) -> None:
    model = tiny_model({"pos": POS, "ner": NER, "pos-ud": ("S-X",)}, **sizes)
    graph, network = as_graph(model, tiny_features()), TorchNetwork(model, tiny_features())
    for ours, theirs in zip(scored(graph, TEXTS), scored(network, TEXTS), strict=True):
        assert np.allclose(ours, theirs, atol=1e-4)
    for head in network.heads:
        for name in ("transitions", "start", "end"):
            assert np.allclose(getattr(graph.chains[head], name), getattr(network.chains[head], name))


def test_a_model_that_reads_characters_alone_has_a_graph() -> None:
    full = tiny_features()
    features = TaggerFeatures(full.vocab, [], type(full.lexicon)([], [], 4))
    model = tiny_model({"ner": NER}, bigram_vocab_size=0, word_vocab_size=0)
    graph, network = as_graph(model, features), TorchNetwork(model, features)
    for ours, theirs in zip(scored(graph, TEXTS, "ner"), scored(network, TEXTS, "ner"), strict=True):
        assert np.allclose(ours, theirs, atol=1e-4)


def test_eight_bits_are_close() -> None:
    small = as_graph(MODEL, tiny_features(), "int8")
    for ours, theirs in zip(scored(small, TEXTS), scored(TORCH, TEXTS), strict=True):
        assert 0 < np.abs(ours - theirs).max() < 0.2


def test_the_file_is_one_that_others_can_read() -> None:
    for precision in ("float32", "int8"):
        graph = onnx.load_from_string(network_graph(weights_of(MODEL), MODEL.config, precision))
        onnx.checker.check_model(graph)
        assert {entry.domain: entry.version for entry in graph.opset_import} == {"": OPSET, "com.microsoft": 1}
        assert [value.name for value in graph.graph.input] == [
            *("ids", "bigram_ids", "word_ids", "word_weights"),
            "lengths",
        ]
    assert {node.domain for node in graph.graph.node if node.op_type == "DynamicQuantizeLSTM"} == {"com.microsoft"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save(tmp_path / "model", MODEL, tiny_features(), {})
    return tmp_path / "model"


def test_a_directory_is_tagged_by_either_backend(directory: Path) -> None:
    graph = OnnxNetwork.load(directory)
    assert str(Tagger.load(directory, backend="onnx").network) == "onnx on cpu"
    assert str(Tagger.load(directory, backend="torch").network) == "torch on cpu"
    assert str(Tagger.load(directory).network).startswith("native (" if instructions() else "onnx")
    export(directory, directory, "float32")
    assert str(Tagger.load(directory).network) == "onnx on cpu"
    exact = OnnxNetwork.load(directory)
    for ours, theirs in zip(scored(exact, TEXTS), scored(TORCH, TEXTS), strict=True):
        assert np.allclose(ours, theirs, atol=1e-2)  # the checkpoint has weights of 16 bits
    assert not np.array_equal(scored(graph, TEXTS)[0], scored(exact, TEXTS)[0])


def test_an_export_is_a_whole_checkpoint(directory: Path, tmp_path: Path) -> None:
    (directory / "README.md").write_text("card", encoding="utf-8")
    export(directory, tmp_path / "out")
    names = {path.name for path in directory.iterdir()}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, GRAPH_FILE}
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["graph"]["opset"] == OPSET
    assert config["graph"]["precision"] == "int8"
    assert Tagger.load(tmp_path / "out", backend="torch").tasks == ("pos", "ner")
    assert GRAPH_FILE not in names


def change(directory: Path, key: str, value: object) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["graph"][key] = value
    path.write_text(json.dumps(config), encoding="utf-8")


def test_a_graph_of_other_weights_is_refused(directory: Path) -> None:
    export(directory, directory)
    checkpoint.write_tensors(directory / "model.safetensors", tiny_model(seed=1).state_dict(), half=True)
    with pytest.raises(
        CheckpointError, match=r"was not made from the weights in its directory.*zhseq export"
    ) as caught:
        Tagger.load(directory, backend="onnx")
    assert "\n" not in str(caught.value)
    export(directory, directory)
    graph = (directory / GRAPH_FILE).read_bytes()
    (directory / GRAPH_FILE).write_bytes(graph[:-1] + bytes([graph[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="was not made from the weights in its directory"):
        Tagger.load(directory, backend="onnx")
    export(directory, directory)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    (directory / "config.json").write_text(json.dumps({**config, "graph": 5}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="was not made from the weights in its directory"):
        Tagger.load(directory, backend="onnx")


def test_a_graph_of_another_opset_is_refused(directory: Path) -> None:
    export(directory, directory)
    change(directory, "opset", 99)
    with pytest.raises(CheckpointError, match="is a graph of opset 99, but this zhseq runs opset 17; make it again"):
        Tagger.load(directory, backend="onnx")


@pytest.mark.parametrize("content", [b"", b"no graph", b"\xff" * 1000])
def test_what_is_no_graph_is_one_sentence(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="is not a graph that this onnxruntime can run") as caught:
        Session(content, 1, source="model.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["missing", "too many", "shape", "infinite", "whole"])
def test_weights_that_do_not_fit_are_refused(directory: Path, wrong: str) -> None:
    tensors = dict(MODEL.state_dict())
    name = "projections.pos.bias"
    if wrong == "missing":
        del tensors[name]
    else:
        tensors |= {
            "too many": {"extra": torch.ones(3)},
            "shape": {name: torch.ones(3)},
            "infinite": {name: torch.full_like(tensors[name], torch.inf)},
            "whole": {name: torch.ones_like(tensors[name], dtype=torch.int64)},
        }[wrong]
    checkpoint.write_tensors(directory / "model.safetensors", tensors)
    message = (
        "does not fit config.json"
        if wrong in ("missing", "too many", "shape")
        else "contains values that are not weights"
    )
    with pytest.raises(CheckpointError, match=message):
        Tagger.load(directory, backend="onnx")


def test_weights_keep_their_names(directory: Path) -> None:
    loaded = read_weights(directory, MODEL.config)
    assert loaded.keys() == MODEL.state_dict().keys()


@pytest.mark.parametrize(
    ("backend", "device", "native", "installed", "chosen"),
    [
        ("auto", "cpu", "AVX2", "both", "native"),
        ("auto", "cpu", "AVX2", "none", "native"),
        ("auto", "cpu", "plain C", "both", "onnx"),
        ("auto", "cpu", "plain C", "torch", "torch"),
        ("auto", "cpu", "plain C", "none", "native"),
        ("auto", "cpu", "", "both", "onnx"),
        ("auto", "cpu", "", "torch", "torch"),
        ("auto", "cpu", "", "onnx", "onnx"),
        ("auto", "auto", "AVX2", "both", "torch"),
        ("auto", "auto", "AVX2", "onnx", "native"),
        ("auto", "cuda", "AVX2", "both", "torch"),
        ("native", "cpu", "plain C", "both", "native"),
        ("native", "auto", "AVX2", "both", "native"),
        ("onnx", "cpu", "AVX2", "both", "onnx"),
        ("onnx", "auto", "AVX2", "both", "onnx"),
        ("torch", "cpu", "AVX2", "both", "torch"),
        ("onnx", "cuda", "AVX2", "both", "other backends run on the CPU only"),
        ("native", "cuda", "AVX2", "both", "other backends run on the CPU only"),
        ("auto", "cuda", "AVX2", "onnx", "other backends run on the CPU only"),
        ("native", "cpu", "", "both", "was not built during installation"),
        ("onnx", "cpu", "AVX2", "torch", r"needs onnxruntime, which is not installed; .*pip install 'zhseq\[onnx\]'"),
        ("auto", "cpu", "", "old", r"needs onnxruntime, whose version 1\.9\.0 is too old \(1\.17 or later"),
        ("auto", "cpu", "", "none", "needs onnxruntime, which is not installed"),
        ("torch", "cpu", "AVX2", "onnx", "needs PyTorch, which is not installed"),
        ("tensorflow", "cpu", "AVX2", "both", "must be one of auto, native, onnx, torch, but is 'tensorflow'"),
    ],
)
def test_the_backend_is_what_is_there(
    monkeypatch: pytest.MonkeyPatch, backend: str, device: str, native: str, installed: str, chosen: str
) -> None:
    monkeypatch.setattr("zhseq.device.find_spec", lambda name: object() if installed in ("both", "torch") else None)
    if installed in ("torch", "none"):
        monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    elif installed == "old":
        monkeypatch.setattr("onnxruntime.__version__", "1.9.0")
    if chosen in BACKENDS:
        assert pick_backend(backend, device, native=native) == chosen
    else:
        with pytest.raises(ConfigError, match=chosen):
            pick_backend(backend, device, native=native)


def test_a_graph_that_is_carried_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_backend("auto", "cpu", native="AVX2", carried=True) == "onnx"
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert pick_backend("auto", "cpu", native="AVX2", carried=True) == "native"


def test_a_tagger_goes_to_other_processes(directory: Path) -> None:
    tagger = Tagger.load(directory, backend="onnx")
    assert list(copy.deepcopy(tagger).stream(TEXTS)) == list(tagger.stream(TEXTS))


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_used_tagger_survives_a_fork(directory: Path, backend: str, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        tagger = Tagger.load(directory, backend=backend, threads=threads)
        expected = list(tagger.stream(TEXTS))
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map_async(tagger.__call__, TEXTS * 3).get(timeout=60)
        assert found == expected * 3
        workers = torch.utils.data.DataLoader(
            TEXTS,  # type: ignore[arg-type]
            batch_size=2,
            num_workers=2,
            multiprocessing_context="fork",
            collate_fn=lambda texts: [tagger(text) for text in texts],
            timeout=60,
        )
        assert [document for part in workers for document in part] == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("threads", [1, 2])
def test_servers_that_are_forked_after_the_tagger_was_used_can_tag(directory: Path, backend: str, threads: int) -> None:
    """As with `gunicorn --preload`: the parent loads and tags, its workers answer, the parent goes on."""
    before = torch.get_num_threads()
    try:
        tagger = Tagger.load(directory, backend=backend, threads=threads)
        expected = list(tagger.stream(TEXTS))
        said = repr(expected).encode()
        workers = [_forked(lambda: repr(list(tagger.stream(TEXTS))).encode()) for _ in range(2)]
        assert [_answer(*worker, most=len(said) + 1) for worker in workers] == [said, said]
        assert list(tagger.stream(TEXTS)) == expected
    finally:
        torch.set_num_threads(before)


def _forked(work: Callable[[], bytes]) -> tuple[int, int]:
    """Do something in a child; return its process number and the end of a pipe that its result comes from."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(target, work())
        finally:
            os._exit(0)
    os.close(target)
    return child, source


def _answer(child: int, source: int, most: int, seconds: float = 60) -> bytes:
    """Return what a child says, empty where it says nothing in that time, and end it."""
    with os.fdopen(source, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], seconds)
        said = pipe.read(most) if ready else b""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said
