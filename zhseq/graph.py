"""Write ONNX graphs without the package `onnx`, and run them with onnxruntime.

The format is Protocol Buffers: a sequence of numbered fields, defined in `onnx.proto` of the ONNX specification.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zhseq.device import import_runtime
from zhseq.errors import CheckpointError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

GRAPH_FILE = "model.onnx"
"""File name of the graph in a checkpoint."""
OPSET = 17
"""Version of the standard ONNX operator set of the graphs."""
CONTRIBUTED = "com.microsoft"
"""Domain of onnxruntime's additional operators, which include those with 8-bit weights."""
FLOAT, BOOL, INT64 = 1, 9, 7
"""ONNX data types, for `Cast`."""

_IR_VERSION = 8  # version of the ONNX file format with opset 17
_TYPES = {"float32": FLOAT, "int8": 3, "int32": 6, "int64": INT64, "bool": BOOL, "float16": 10}
_GATES = (0, 3, 1, 2)  # order of ONNX (input, output, forget, cell) from that of PyTorch (input, forget, cell, output)
# Maximum of an 8-bit weight: CPUs without VNNI add pairs of products in 16 bits, which overflows more often with 127.
_LARGEST = 100


class Graph:
    """An ONNX graph under construction; methods add a node and return the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._count = 0

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare an input; the dimensions that are known only at run time are given by name."""
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare the output of a node, or a constant, to be an output of the graph."""
        self._outputs.append(_value_info(name, dtype, shape))
        return name

    def constant(self, values: Array, name: str = "") -> str:
        """Add a constant array, and return its name."""
        name = name or self._name("constant")
        fields = [_number(1, size) for size in values.shape]
        fields += [_number(2, _TYPES[values.dtype.name]), _text(8, name), _bytes(9, np.ascontiguousarray(values).data)]
        self._constants.append(b"".join(fields))
        return name

    def ints(self, *values: int) -> str:
        """Add a constant array of integers, (values,), and return its name."""
        return self.constant(np.array(values, dtype=np.int64))

    def node(self, kind: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the name of the output."""
        name = name or self._name(kind)
        fields = [_text(1, source) for source in inputs]
        fields += [_text(2, name), _text(4, kind)]
        fields += [_bytes(5, _attribute(key, value)) for key, value in attributes.items()]
        self._nodes.append(b"".join([*fields, _text(7, domain)] if domain else fields))
        return name

    def dump(self, metadata: Mapping[str, str]) -> bytes:
        """Return the serialised model."""
        graph = [_bytes(1, node) for node in self._nodes]
        graph += [_text(2, "zhseq")]
        graph += [_bytes(5, constant) for constant in self._constants]
        graph += [_bytes(11, value) for value in self._inputs]
        graph += [_bytes(12, value) for value in self._outputs]
        domains = [_text(1, "") + _number(2, OPSET), _text(1, CONTRIBUTED) + _number(2, 1)]
        fields = [_number(1, _IR_VERSION), _text(2, "zhseq"), _bytes(7, b"".join(graph))]
        fields += [_bytes(8, domain) for domain in domains]
        fields += [_bytes(14, _text(1, key) + _text(2, value)) for key, value in metadata.items()]
        return b"".join(fields)

    def linear(self, source: str, weights: Floats, bias: Floats) -> str:
        """Add a linear layer with float32 weights, (outputs, inputs), and return the name of its output."""
        product = self.node("MatMul", source, self.constant(np.ascontiguousarray(weights.T)))
        return self.node("Add", product, self.constant(bias))

    def lstm(self, source: str, lengths: str, weights: Mapping[str, Floats], *, small: bool) -> str:
        """Add a bidirectional LSTM layer over padded texts, and return the name of its output.

        Args:
            source: Name of the input, (length, texts, inputs).
            lengths: Name of the lengths of the texts, (texts,) int32.
            weights: `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh` in PyTorch's layout, stacked over the two
                directions, (2, 4 * units, ...).
            small: Whether to quantise weights and inputs to 8 bits.

        Returns:
            The name of the output, (length, 2, texts, units), which is 0 at padding.
        """
        inputs, states, *biases = (_in_onnx_order(weights[name]) for name in _LSTM_WEIGHTS)
        bias = self.constant(np.concatenate(biases, axis=1))
        options = {"direction": "bidirectional", "hidden_size": states.shape[2]}
        if not small:
            return self.node("LSTM", source, self.constant(inputs), self.constant(states), bias, lengths, **options)
        tables, scales = [], []
        for values in (inputs, states):
            quantized, scale = _quantized(values)
            tables.append(self.constant(np.ascontiguousarray(quantized.transpose(0, 2, 1))))
            scales += [self.constant(scale), self.constant(np.zeros(scale.shape, dtype=np.int8))]
        names = (source, *tables, bias, lengths, "", "", "", *scales)
        return self.node("DynamicQuantizeLSTM", *names, domain=CONTRIBUTED, **options)

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


_LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _in_onnx_order(values: Floats) -> Floats:
    """Reorder the gates, in the second dimension, from PyTorch's order to that of ONNX."""
    gates = values.reshape(len(values), 4, -1, *values.shape[2:])
    return np.ascontiguousarray(gates[:, list(_GATES)].reshape(values.shape))


def _quantized(values: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Quantise weights to 8 bits; return them and the scale of each row."""
    scale = np.maximum(np.abs(values).max(axis=-1), np.float32(1e-12)) / _LARGEST
    return np.rint(values / scale[..., None]).astype(np.int8), scale.astype(np.float32)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | memoryview) -> bytes:
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    return b"".join([_varint(field << 3 | 2), _varint(size), value])


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _attribute(name: str, value: object) -> bytes:
    """Encode an attribute: an integer, a string, or a list of integers or strings."""
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, 3)
    assert isinstance(value, (list, tuple))
    if all(isinstance(item, int) for item in value):
        return b"".join([_text(1, name), *(_number(8, item) for item in value), _number(20, 7)])
    return b"".join([_text(1, name), *(_text(9, item) for item in value), _number(20, 8)])


def _value_info(name: str, dtype: str, shape: Sequence[int | str]) -> bytes:
    sizes = [_number(1, size) if isinstance(size, int) else _text(2, size) for size in shape]
    tensor = _number(1, _TYPES[dtype]) + _bytes(2, b"".join(_bytes(1, size) for size in sizes))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


class Session:
    """An onnxruntime session of a graph; may be used from several threads and in forked processes."""

    def __init__(self, graph: bytes, threads: int, *, source: str) -> None:
        """Load a graph.

        Args:
            graph: Serialised ONNX model.
            threads: CPU threads of a run.
            source: Path of the graph, for messages.

        Raises:
            CheckpointError: The graph is damaged, or this version of onnxruntime cannot run it.
        """
        self._graph, self._threads, self._source = graph, threads, source
        self._session: InferenceSession | None = self._start()

    def __getstate__(self) -> tuple[bytes, int, str]:
        """Return the state for pickling; the session is created again in the other process."""
        return self._graph, self._threads, self._source

    def __setstate__(self, state: tuple[bytes, int, str]) -> None:
        self._graph, self._threads, self._source = state
        self._session = self._start()

    def _start(self) -> InferenceSession:
        onnxruntime = import_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # would cache a plan for each shape
        options.log_severity_level = 4  # errors are raised anyway
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads sleep
        if self._threads > 1:
            _with_threads().add(self)
        try:
            return onnxruntime.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many types of errors
            raise CheckpointError(
                "graph_not_run",
                "{path} is not a graph that this onnxruntime can run ({reason}); make it again with zhseq export",
                path=self._source,
                reason=" ".join(str(error).split())[:200],
            ) from error

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Compute the named outputs for inputs by name."""
        if self._session is None:
            self._session = self._start()
        found: list[Array] = self._session.run(list(outputs), dict(inputs))
        return found

    def forget(self) -> None:
        """Make the next run create the onnxruntime session again; for forked processes, which lack its threads.

        The old session is never freed, because freeing it would wait for these threads forever.
        """
        if self._session is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
            self._session = None


@lru_cache(maxsize=1)
def _with_threads() -> weakref.WeakSet[Session]:
    """Return the sessions with more than one thread, which a forked process must create again."""
    sessions = weakref.WeakSet[Session]()

    def forget_all() -> None:
        for session in sessions:
            session.forget()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget_all)
    return sessions
