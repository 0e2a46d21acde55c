"""Compute the tagger's network with C code (`zhseq/nn/encoder.c`) and 8-bit weights, without PyTorch or onnxruntime."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.device import LEVELS, Packed, address, instructions, library, packed_matrix, wanted_threads
from zhseq.nn.viterbi import Chain
from zhseq.tagging.decoding import Floats, Ints, chain_of
from zhseq.tagging.features import (
    MAX_WORD_LENGTH,
    SequenceTaggerConfig,
    TaggerFeatures,
    read_features,
    read_settings,
)
from zhseq.tagging.graph import balanced, read_weights
from zhseq.tagging.lexicon import slots_per_set
from zhseq.text.normalize import CodePoints

_BLOCK, _LANES = 64, 16  # as in products.h
_WORTH_A_THREAD = 16  # minimum number of texts per thread


class NativeNetwork:
    """Compute emission scores with C code, see `zhseq.tagging.decoding.Network`.

    The scores of a text do not depend on the other texts of a batch.
    """

    def __init__(
        self,
        weights: Mapping[str, Floats],
        features: TaggerFeatures,
        settings: SequenceTaggerConfig,
        threads: int = 1,
        level: int | None = None,
    ) -> None:
        """Quantise the weights of a checkpoint and arrange them for the C code.

        Args:
            weights: Weights by their names in a checkpoint, in any floating-point type.
            features: Vocabularies of the tagger.
            settings: Configuration of the tagger.
            threads: CPU threads.
            level: Index of the instruction set in `LEVELS`; by default the best of this CPU, see `instructions`.
        """
        loops = library()
        assert loops is not None, "the loops are not compiled"
        self.features, self.heads = features, settings.heads
        self._level = LEVELS.index(instructions()) if level is None else level
        self._threads = threads
        self._parts = weights, settings  # for `__reduce__`
        self._network = _laid_out(balanced(weights, settings), settings, self._level)
        self.chains: dict[str, Chain] = {}
        for head, tags in settings.heads.items():
            parts = (weights[f"crfs.{head}.{part}"] for part in ("transitions", "start_transitions", "end_transitions"))
            self.chains[head] = chain_of(tags, *(part.astype(np.float32) for part in parts))

    def __str__(self) -> str:
        return f"native ({LEVELS[self._level]}) on cpu"

    def __reduce__(self) -> tuple[type[NativeNetwork], tuple[object, ...]]:
        """Pickle the weights of the checkpoint; the network is created again in the other process."""
        weights, settings = self._parts
        return NativeNetwork, (weights, self.features, settings, self._threads)

    @classmethod
    def load(cls, directory: Path, threads: int | None = None) -> NativeNetwork:
        """Load a checkpoint directory.

        Raises:
            CheckpointError: It is missing, damaged, or not that of a tagger.
            ConfigError: `threads` is less than 1.
        """
        count = wanted_threads(threads)
        settings = read_settings(directory)
        features = read_features(directory, settings)
        return cls(read_weights(directory, settings), features, settings, count)

    def emissions(self, points: CodePoints, lengths: Ints, heads: Sequence[str]) -> dict[str, Floats]:
        """Compute the emission scores of texts, see `Network.emissions`."""
        rows = self.features.look_up(points, lengths)
        sizes = np.ascontiguousarray(lengths, dtype=np.int64)
        texts, longest = len(sizes), int(sizes.max())
        found = {head: np.empty((texts, longest, len(self.heads[head])), dtype=np.float32) for head in heads}
        targets = np.array([address(found[head]) if head in found else 0 for head in self.heads], dtype=np.uint64)
        tables = (rows.ids.astype(np.int32), rows.bigrams, rows.words, rows.weights)
        order = np.zeros(1, dtype=np.int64) if texts == 1 else np.argsort(-sizes, kind="stable")
        shares = min(self._threads, -(-texts // _WORTH_A_THREAD))
        parts = [np.ascontiguousarray(order[number::shares]) for number in range(shares)]
        jobs = [Packed(texts, longest, sizes, len(part), part, *tables, targets) for part in parts]
        self._run_all(jobs)
        return found

    def _run_all(self, jobs: Sequence[Packed]) -> None:
        """Run jobs in parallel; their threads end with them, so that the process may fork between calls."""
        missing: list[int] = []
        threads = [threading.Thread(target=lambda job=job: missing.append(self._run(job))) for job in jobs[1:]]
        for thread in threads:
            thread.start()
        missing.append(self._run(jobs[0]))
        for thread in threads:
            thread.join()
        if any(missing):
            raise MemoryError("no memory for the network")

    def _run(self, job: Packed) -> int:
        loops = library()
        assert loops is not None
        found: int = loops.zhseq_tag_scores(ctypes.c_void_p(self._network.address), ctypes.c_void_p(job.address))
        return found


def _filled(size: int, multiple: int = _BLOCK) -> int:
    """Return a size, rounded up to a multiple."""
    return -(-size // multiple) * multiple


def _laid_out(weights: Mapping[str, Floats], settings: SequenceTaggerConfig, level: int) -> Packed:
    """Convert a network to `network_t` of the C code."""
    hidden, read = settings.hidden_size, _filled(weights["lstm.forwards.0.weight_ih_l0"].shape[1])
    state, channels = _filled(hidden), _filled(settings.channels)
    layers = [
        field
        for number in range(settings.num_layers)
        for part in ("weight_ih", "weight_hh")
        for field in _layer(weights, number, part, hidden)
    ]
    tables: list[npt.NDArray[np.float32] | int | None] = []
    for name in ("characters", "bigrams", "words"):
        table = weights.get(f"embedding.{name}.weight")
        tables += [0, None] if table is None else [table.shape[1], np.ascontiguousarray(table, dtype=np.float32)]
    width = settings.width if channels else 0
    filters, window_bias = np.zeros((width, channels, read), dtype=np.float32), np.zeros(channels, dtype=np.float32)
    if channels:
        given = weights["cnn.convolution.weight"]  # (channels, inputs, width)
        filters[:, : given.shape[0], : given.shape[1]] = given.transpose(2, 0, 1)
        window_bias[: settings.channels] = weights["cnn.convolution.bias"]
    scores = np.concatenate([weights[f"projections.{head}.weight"] for head in settings.heads])
    bias = np.concatenate([weights[f"projections.{head}.bias"] for head in settings.heads])
    seen = np.zeros((len(scores), channels), dtype=np.float32)
    seen[:, : settings.channels] = scores[:, 2 * hidden :]
    return Packed(
        *(level, read, slots_per_set(MAX_WORD_LENGTH), _filled(hidden, _LANES), state),
        *(settings.num_layers, channels, width, len(settings.heads)),
        Packed(*layers),
        np.array([len(tags) for tags in settings.heads.values()], dtype=np.int64),
        *tables,
        *packed_matrix(filters.reshape(width * channels, read)),
        window_bias,
        *packed_matrix(_of_states(scores[:, : 2 * hidden], hidden), bias),
        *packed_matrix(seen),
    )


def _layer(weights: Mapping[str, Floats], number: int, part: str, hidden: int) -> Iterator[int | npt.NDArray[Any]]:
    """Yield the fields of the two matrices, one per direction, of a part (`weight_ih`, `weight_hh`) of a layer."""
    for direction in ("forwards", "backwards"):
        name = f"lstm.{direction}.{number}."
        values = weights[f"{name}{part}_l0"]
        if part == "weight_hh" or number:
            values = _of_states(values, hidden)
        bias = weights[f"{name}bias_ih_l0"] + weights[f"{name}bias_hh_l0"]
        units = _filled(hidden, _LANES)
        gates, biases = np.zeros((4, units, values.shape[1]), dtype=np.float32), np.zeros((4, units), dtype=np.float32)
        gates[:, :hidden], biases[:, :hidden] = values.reshape(4, hidden, -1), bias.reshape(4, hidden)
        yield from packed_matrix(_by_units(gates), _by_units(biases[:, :, None])[:, 0])


def _by_units(gates: Floats) -> Floats:
    """Reorder gates, (4, units, columns), to (4 * units, columns): all gates of `_LANES` units, then the next units."""
    return gates.reshape(4, -1, _LANES, gates.shape[2]).swapaxes(0, 1).reshape(-1, gates.shape[2])


def _of_states(values: Floats, hidden: int) -> Floats:
    """Pad weights for the states of each direction: (outputs, directions * hidden) to (outputs, directions * state)."""
    parts = values.reshape(len(values), -1, hidden)
    found = np.zeros((*parts.shape[:2], _filled(hidden)), dtype=np.float32)
    found[:, :, :hidden] = parts
    return found.reshape(len(values), -1)
