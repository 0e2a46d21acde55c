"""Build the tagger's network as an ONNX graph from the weights of a checkpoint, and run it without PyTorch."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq import checkpoint
from zhseq.batching import WORD_SETS
from zhseq.device import wanted_threads
from zhseq.errors import CheckpointError
from zhseq.graph import FLOAT, GRAPH_FILE, INT64, OPSET, Graph, Session
from zhseq.tagging.decoding import Floats, Ints, chain_of
from zhseq.tagging.features import (
    KIND,
    MAX_WORD_LENGTH,
    SequenceTaggerConfig,
    TaggerFeatures,
    read_features,
    read_settings,
    weight_shapes,
)
from zhseq.tagging.lexicon import slots_per_set
from zhseq.text.normalize import CodePoints

PRECISIONS = ("int8", "float32")
"""Precision of the LSTM of a graph: 8-bit weights, or float32 as in PyTorch."""
_WORD_WEIGHT = 2  # assumed maximum of the sum of the weights of a word set; the four sets of a character sum to 4
_PARTS = ("transitions", "start_transitions", "end_transitions")


class OnnxNetwork:
    """Compute emission scores with onnxruntime, see `zhseq.tagging.decoding.Network`."""

    def __init__(self, session: Session, features: TaggerFeatures, heads: Mapping[str, tuple[str, ...]]) -> None:
        """Create from a session of a graph built by `network_graph`, its features, and the tags of its heads."""
        self.features, self.heads = features, heads
        self._session = session
        self.chains = {}
        for head, tags in heads.items():
            self.chains[head] = chain_of(
                tags, *session.run([f"{part}:{head}" for part in _PARTS], _smallest_inputs(features))
            )

    def __str__(self) -> str:
        return "onnx on cpu"

    @classmethod
    def load(cls, directory: Path, threads: int | None = None) -> OnnxNetwork:
        """Load a checkpoint directory: the graph stored in it, or else one built from its weights.

        Raises:
            CheckpointError: It is missing, damaged, or not that of a tagger, or the graph does not match the weights.
            ConfigError: `threads` is less than 1.
        """
        count = wanted_threads(threads)
        settings = read_settings(directory)
        features = read_features(directory, settings)
        path = directory / GRAPH_FILE
        stored = _stored_graph(directory)
        graph = network_graph(read_weights(directory, settings), settings) if stored is None else stored
        return cls(Session(graph, count, source=str(path)), features, settings.heads)

    def emissions(self, points: CodePoints, lengths: Ints, heads: Sequence[str]) -> dict[str, Floats]:
        """Compute the emission scores of texts, see `Network.emissions`."""
        inputs = _inputs(self.features, points, lengths)
        found = self._session.run([f"emissions:{head}" for head in heads], inputs)
        return dict(zip(heads, found, strict=True))


def _inputs(features: TaggerFeatures, points: CodePoints, lengths: Ints) -> dict[str, npt.NDArray[Any]]:
    batch = features.assemble(points, lengths)
    inputs = {
        "ids": batch.ids,
        "bigram_ids": batch.bigram_ids,
        "word_ids": batch.word_ids,
        "word_weights": batch.word_weights,
        "lengths": lengths.astype(np.int32),
    }
    return {name: values for name, values in inputs.items() if values is not None}


def _smallest_inputs(features: TaggerFeatures) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs for a text of one character, to compute outputs that do not depend on the text."""
    return _inputs(features, np.zeros(1, dtype=np.uint32), np.ones(1, dtype=np.int64))


def read_weights(directory: Path, settings: SequenceTaggerConfig) -> dict[str, Floats]:
    """Read the weights of a tagger.

    Raises:
        CheckpointError: They are missing, damaged, of the wrong shape, or not finite floating-point numbers.
    """
    path = directory / checkpoint.WEIGHTS_FILE
    arrays, shapes = checkpoint.read_arrays(path), weight_shapes(settings)
    odd = sorted(arrays.keys() ^ shapes.keys()) or [name for name in shapes if arrays[name].shape != shapes[name]]
    if odd:
        raise CheckpointError(
            "weights_do_not_fit",
            "{path} does not fit {config} in the same directory: {detail}",
            path=path,
            config=checkpoint.CONFIG_FILE,
            detail=", ".join(odd)[:200],
        )
    for name, values in arrays.items():
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise CheckpointError(
                "weights_not_finite",
                "{path}: {name} contains values that are not weights: integers, infinities or NaN; fetch or "
                "train the model again",
                path=path,
                name=name,
            )
    return arrays


def network_graph(weights: Mapping[str, Floats], settings: SequenceTaggerConfig, precision: str = "int8") -> bytes:
    """Return the network as a serialised ONNX model; docs/runtime.md describes its inputs and outputs.

    Args:
        weights: Weights by their names in a checkpoint, in any floating-point type.
        settings: Configuration of the tagger.
        precision: One of `PRECISIONS`.
    """
    graph, small = Graph(), precision == "int8"
    if small:
        weights = balanced(weights, settings)
    vectors = _vectors(graph, weights, settings)  # (length, texts, inputs); time first until the outputs
    parts = [_bilstm(graph, weights, settings, vectors, small=small)]
    if settings.channels:
        parts.append(_window_cnn(graph, weights, settings, vectors))
    encoded = graph.node("Concat", *parts, axis=2) if len(parts) > 1 else parts[0]
    for head, tags in settings.heads.items():
        scores = graph.linear(encoded, *(_single(weights, f"projections.{head}.{part}") for part in ("weight", "bias")))
        name = graph.node("Transpose", scores, perm=[1, 0, 2], name=f"emissions:{head}")
        graph.output(name, "float32", ["texts", "length", len(tags)])
        for part in _PARTS:
            values = _single(weights, f"crfs.{head}.{part}")
            graph.output(graph.constant(values, f"{part}:{head}"), "float32", values.shape)
    return graph.dump({"precision": precision})


def balanced(weights: Mapping[str, Floats], settings: SequenceTaggerConfig) -> dict[str, Floats]:
    """Rescale embeddings and the weights that multiply them, so that both lose less precision in 8 bits.

    Source: Xiao et al. (2023), "SmoothQuant". Differs: the range of the inputs is that of the embedding tables.
    """
    balanced = {name: values.astype(np.float32) for name, values in weights.items()}
    readers = [balanced[f"lstm.{direction}.0.weight_ih_l0"] for direction in ("forwards", "backwards")]
    filters = balanced.get("cnn.convolution.weight")
    largest = np.maximum(*(np.abs(reader).max(axis=0) for reader in readers))
    first = 0
    for name in ("characters", "bigrams", "words"):
        table = balanced.get(f"embedding.{name}.weight")
        if table is None:
            continue
        copies, width = WORD_SETS if name == "words" else 1, table.shape[1]
        size = np.abs(table).max(axis=0) * (_WORD_WEIGHT if name == "words" else 1)
        read = largest[first : first + copies * width].reshape(copies, width).min(axis=0)
        scale = np.sqrt(np.maximum(size, 1e-6) / np.maximum(read, 1e-6))
        table /= scale
        for start in range(first, first + copies * width, width):
            for reader in readers:
                reader[:, start : start + width] *= scale
            if filters is not None:
                filters[:, start : start + width] *= scale[:, None]
        first += copies * width
    return balanced


def _single(weights: Mapping[str, Floats], name: str) -> Floats:
    return np.ascontiguousarray(weights[name], dtype=np.float32)


def _vectors(graph: Graph, weights: Mapping[str, Floats], settings: SequenceTaggerConfig) -> str:
    """Add the inputs and the embedding look-up; return the name of its output, (length, texts, inputs)."""

    def looked_up(table: str, ids: str) -> str:
        name = f"embedding.{table}.weight"
        rows = graph.node("Cast", graph.constant(weights[name].astype(np.float16), name), to=FLOAT)
        return graph.node("Gather", rows, ids)

    def input(name: str, dtype: str, *slots: int) -> str:
        declared = graph.input(name, dtype, ["texts", "length", *slots])
        return graph.node("Transpose", declared, perm=[1, 0, 2][: 2 + len(slots)])

    parts = [looked_up("characters", input("ids", "int64"))]
    if settings.bigram_vocab_size:
        parts.append(looked_up("bigrams", input("bigram_ids", "int64")))
    if settings.word_vocab_size:
        each = slots_per_set(MAX_WORD_LENGTH)
        ids, shares = (input(name, kind, WORD_SETS * each) for name, kind in _WORD_INPUTS)
        words = looked_up("words", graph.node("Reshape", ids, graph.ints(0, 0, WORD_SETS, each)))
        shares = graph.node("Reshape", shares, graph.ints(0, 0, WORD_SETS, each, 1))
        sets = graph.node("ReduceSum", graph.node("Mul", words, shares), graph.ints(3), keepdims=0)
        parts.append(graph.node("Reshape", sets, graph.ints(0, 0, WORD_SETS * settings.word_dim)))
    graph.input("lengths", "int32", ["texts"])
    return graph.node("Concat", *parts, axis=2) if len(parts) > 1 else parts[0]


_WORD_INPUTS = (("word_ids", "int64"), ("word_weights", "float32"))


def _bilstm(
    graph: Graph, weights: Mapping[str, Floats], settings: SequenceTaggerConfig, vectors: str, *, small: bool
) -> str:
    """Add all layers of the BiLSTM; return the name of the output, (length, texts, 2 * units)."""
    for layer in range(settings.num_layers):
        stacked = {}
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            both = [_single(weights, f"lstm.{name}.{layer}.{part}_l0") for name in ("forwards", "backwards")]
            stacked[part] = np.stack(both)
        read = graph.lstm(vectors, "lengths", stacked, small=small)
        side_by_side = graph.node("Transpose", read, perm=[0, 2, 1, 3])
        vectors = graph.node("Reshape", side_by_side, graph.ints(0, 0, 2 * settings.hidden_size))
    return vectors


def _window_cnn(graph: Graph, weights: Mapping[str, Floats], settings: SequenceTaggerConfig, vectors: str) -> str:
    """Add the window CNN; return the name of its output, (length, texts, channels).

    The convolution is one matrix product, whose parts for each position of the window are shifted and summed.
    """
    length = graph.node("Squeeze", graph.node("Shape", "ids", start=1, end=2), graph.ints(0))
    zero, one = (graph.constant(np.array(value, dtype=np.int64)) for value in (0, 1))
    positions = graph.node("Unsqueeze", graph.node("Range", zero, length, one), graph.ints(1))
    real = graph.node("Less", positions, graph.node("Cast", "lengths", to=INT64))
    masked = graph.node("Mul", vectors, graph.node("Unsqueeze", graph.node("Cast", real, to=FLOAT), graph.ints(2)))
    side, channels = settings.width // 2, settings.channels
    filters = _single(weights, "cnn.convolution.weight").transpose(1, 2, 0)  # (inputs, width, channels)
    products = graph.node("MatMul", masked, graph.constant(filters.reshape(len(filters), -1)))
    padded = graph.node("Pad", products, graph.ints(side, 0, 0, side, 0, 0))
    total = graph.constant(_single(weights, "cnn.convolution.bias"))
    for shift in range(settings.width):  # contribution of each position of the window
        end = shift - 2 * side or int(np.iinfo(np.int64).max)
        bounds = ((shift, shift * channels), (end, (shift + 1) * channels), (0, 2))
        total = graph.node("Add", total, graph.node("Slice", padded, *(graph.ints(*bound) for bound in bounds)))
    return graph.node("Relu", total)


def export(source: Path, directory: Path, precision: str = "int8") -> None:
    """Write a checkpoint of a tagger with its ONNX graph.

    Args:
        source: Directory of the checkpoint.
        directory: Output directory; may be `source`.
        precision: One of `PRECISIONS`.

    Raises:
        CheckpointError: The source is not a tagger, or the directory cannot be written.
    """
    settings = read_settings(source)
    read_features(source, settings)
    graph = network_graph(read_weights(source, settings), settings, precision)
    config = checkpoint.read_config(source, KIND)
    config["graph"] = {"opset": OPSET, "precision": precision, **_checksums(source, graph)}
    with checkpoint.staged(directory) as stage:
        if source.resolve() != directory.resolve():
            for path in source.iterdir():
                if path.is_file() and path.name != GRAPH_FILE:
                    shutil.copyfile(path, stage / path.name)
        (stage / checkpoint.CONFIG_FILE).write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", "utf-8")
        (stage / GRAPH_FILE).write_bytes(graph)


def _checksums(directory: Path, graph: bytes) -> dict[str, str]:
    path = directory / checkpoint.WEIGHTS_FILE
    weights = path.read_bytes() if path.is_file() else b""
    return {"sha256": hashlib.sha256(graph).hexdigest(), "weights": hashlib.sha256(weights).hexdigest()}


def _stored_graph(directory: Path) -> bytes | None:
    """Return the graph stored in a checkpoint, or None.

    Raises:
        CheckpointError: It was built from other weights, or for another opset.
    """
    path = directory / GRAPH_FILE
    if not path.is_file():
        return None
    graph = path.read_bytes()
    record = checkpoint.read_config(directory, KIND).get("graph")
    record = record if isinstance(record, dict) else {}
    command = f"zhseq export {directory} --output {directory}"
    if any(record.get(name) != value for name, value in _checksums(directory, graph).items()):
        raise CheckpointError(
            "graph_of_other_weights",
            "{path} was not made from the weights in its directory, according to the checksums in "
            "{config}; make it again with: {again}",
            path=path,
            config=checkpoint.CONFIG_FILE,
            again=command,
        )
    if record.get("opset") != OPSET:
        raise CheckpointError(
            "graph_of_another_opset",
            "{path} is a graph of opset {found}, but this zhseq runs opset {expected}; make it again with: {again}",
            path=path,
            found=record.get("opset"),
            expected=OPSET,
            again=command,
        )
    return graph
