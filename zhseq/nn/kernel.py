"""Call the compiled loops of `kernel.c`, where there are any: the one place that hands memory to them.

The library is compiled when zhseq is installed and a C compiler is there (`hatch_build.py`), and loaded only if it is
of the source that lies beside it. While it computes, other threads of Python run.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from zhseq.nn.viterbi import Arcs, Chain, Sequences

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_LANES = 16  # as in kernel.c
_FOLDER = Path(__file__).resolve().parent


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Load the compiled loops; None if there are none, or none for this machine or source."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    try:
        loaded = ctypes.CDLL(str(_FOLDER / "_kernel.so"))
        loaded.zhseq_source.restype = ctypes.c_char_p
        source = hashlib.sha256((_FOLDER / "kernel.c").read_bytes()).hexdigest()
        return loaded if loaded.zhseq_source() == source.encode() else None
    except (OSError, AttributeError):
        return None


class Packed:
    """The memory of a C structure, a 64-bit word for each pointer and number, and the arrays that it points to."""

    def __init__(self, *fields: npt.NDArray[Any] | int | None) -> None:
        self._arrays = fields
        values = [0 if field is None else field if isinstance(field, int) else address(field) for field in fields]
        self._words = np.array(values, dtype=np.uint64)
        self.address = address(self._words)


def address(array: npt.NDArray[Any]) -> int:
    """Return where an array lies, which must be in C order."""
    if not array.flags.c_contiguous:
        raise ValueError("expected an array in C order")
    found: int = array.__array_interface__["data"][0]
    return found


def _padded(values: npt.NDArray[Any], fill: float, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return values, (..., columns), with the last axis filled up to a multiple of the lanes."""
    columns = values.shape[-1]
    found = np.full((*values.shape[:-1], -(-columns // _LANES) * _LANES), fill, dtype=dtype)
    found[..., :columns] = values
    return found


def pack_chain(chain: Chain) -> Packed:
    """Lay a chain out as `chain_t`."""
    begin, inside, end, _ = chain.span_columns.T
    by_column = np.full((chain.tags + 1, chain.tags + 1), -np.inf, dtype=np.float32)  # the last for columns of -1
    by_column[:-1, :-1] = chain.transitions[chain.order][:, chain.order]
    pairs = ((begin, inside), (begin, end), (inside, inside), (inside, end))
    steps = np.ascontiguousarray([by_column[source, target] for source, target in pairs])
    return Packed(
        *(chain.tags, chain.width, chain.rows.start, len(chain.rows), len(chain.inner), chain.inner_begin),
        len(chain.spans),
        chain.order.astype(np.int32),
        _padded(chain.start_by_column, -np.inf, np.float32),
        _padded(chain.end_by_column, -np.inf, np.float32),
        _padded(chain.across, -np.inf, np.float32),
        _padded(chain.across.T, -np.inf, np.float32),
        _padded(chain.gap, -np.inf, np.float32),
        _padded(chain.inner_from, 0, np.int32),
        _padded(chain.inner, -np.inf, np.float32),
        np.ascontiguousarray(chain.span_columns, dtype=np.int32),
        steps,
    )


def _pack_sequences(chain: Chain, sequences: Sequences) -> Packed:
    emissions = np.ascontiguousarray(sequences.emissions, dtype=np.float32)
    batch, length, tags = emissions.shape
    if tags != chain.tags:
        raise ValueError(f"expected emissions of {chain.tags} tags, got {tags}")
    lengths = np.ascontiguousarray(sequences.lengths, dtype=np.int64)
    kinds = penalties = None
    if sequences.limits is not None:
        kinds = np.ascontiguousarray(sequences.limits.kinds, dtype=np.int32)
        penalties = np.ascontiguousarray(sequences.limits.penalties, dtype=np.float32)
        if penalties.shape[1:] != (tags,) or kinds.max(initial=-1) >= len(penalties):
            raise ValueError(f"expected penalties of {tags} tags for each kind, got {penalties.shape}")
    return Packed(emissions, lengths, batch, length, kinds, penalties)


def _pack_arcs(chain: Chain, sequences: Sequences, arcs: Arcs | None) -> Packed:
    if arcs is None or not len(arcs):
        return _NO_ARCS
    order = np.argsort(arcs.ends, kind="stable")
    starts, lasts, labels = arcs.starts[order], arcs.ends[order] - 1, arcs.labels[order]
    ends = np.cumsum(sequences.lengths)
    inside = (starts >= 0) & (starts <= lasts) & (lasts < ends[-1])
    if not (inside.all() and (np.searchsorted(ends, starts, "right") == np.searchsorted(ends, lasts, "right")).all()):
        raise ValueError("expected arcs of at least one character, each in one sequence")
    if labels.max() >= len(chain.spans) or arcs.bonus.shape != starts.shape or labels.shape != starts.shape:
        raise ValueError(f"expected a bonus and one of {len(chain.spans)} labels for each arc")
    bonus = np.ascontiguousarray(arcs.bonus[order], dtype=np.float32)
    columns = (np.ascontiguousarray(column, dtype=np.int64) for column in (starts, lasts, labels))
    starts, lasts, labels = columns
    return Packed(len(order), starts, lasts, bonus, labels)


_NO_ARCS = Packed(0, None, None, None, None)


def best_paths(
    loops: ctypes.CDLL, chain: Chain, sequences: Sequences, arcs: Arcs | None
) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Find the best path of each sequence; see `zhseq.nn.viterbi.best_paths`."""
    tags = np.empty(int(sequences.lengths.sum()), dtype=np.int64)
    scores = np.empty(len(sequences.lengths), dtype=np.float64)
    texts, ways = _pack_sequences(chain, sequences), _pack_arcs(chain, sequences, arcs)
    arguments = (chain.packed.address, texts.address, ways.address, address(tags), address(scores))
    if loops.zhseq_best_paths(*map(ctypes.c_void_p, arguments)):
        raise MemoryError("no memory for the search")
    return tags, scores


def tag_probabilities(loops: ctypes.CDLL, chain: Chain, sequences: Sequences) -> Floats:
    """Find the probability of each tag; see `zhseq.nn.viterbi.tag_probabilities`."""
    odds = np.empty((int(sequences.lengths.sum()), chain.tags), dtype=np.float32)
    texts = _pack_sequences(chain, sequences)
    arguments = (chain.packed.address, texts.address, address(odds))
    if loops.zhseq_tag_probabilities(*map(ctypes.c_void_p, arguments)):
        raise MemoryError("no memory for the sums")
    return odds
