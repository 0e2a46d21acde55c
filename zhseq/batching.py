"""Padded batches: length buckets, batch sizes that are fast for an LSTM, shards for data-parallel training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
T = TypeVar("T")
IGNORED = -100
"""Target of a position that is not scored, as in `torch.nn.functional.cross_entropy`."""
WORD_SETS = 4
"""Number of SoftLexicon sets of a character: words that begin at it, contain it inside, end at it, or equal it."""
_ONE_BLOCK = 48  # maximum number of rows that oneDNN's LSTM always processes as one block


@dataclass(frozen=True)
class Batch(Generic[T]):
    """A padded batch of NumPy arrays, `Batch[Array]`, or of PyTorch tensors, `Batch[Tensor]`.

    Attributes:
        ids: Character ids, (batch, length) int64; `pad_id` at padding.
        mask: True for characters, which come first in each row, False at padding, (batch, length) bool.
        targets: Target ids, (batch, length) int64; `IGNORED` at positions without a target.
        bigram_ids: Ids of the bigrams that begin at each position, (batch, length) int64; 0 at padding.
        word_ids: Lexicon words by position and slot, (batch, length, slots) int64; 0 in empty slots.
        word_weights: Weights of these words, (batch, length, slots) float32; 0 in empty slots.
        head: Head that `targets` belong to, for models with several heads.
    """

    ids: T
    mask: T
    targets: T | None = None
    bigram_ids: T | None = None
    word_ids: T | None = None
    word_weights: T | None = None
    head: str = ""

    @property
    def lengths(self) -> T:
        """Number of characters in each row, (batch,) int64."""
        found: T = self.mask.sum(1)  # type: ignore[attr-defined]
        return found

    @property
    def weight(self) -> int:
        """Number of positions with a target, the weight of this batch in a mean over positions."""
        scored: Any = self.mask if self.targets is None else self.targets != IGNORED
        return int(scored.sum())

    def __len__(self) -> int:
        return len(self.ids)  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> Batch[Tensor]:
        """Return the batch as tensors on a device; on the CPU they share the memory of arrays."""
        import torch

        def moved(values: Any) -> Tensor:
            return torch.as_tensor(values).to(device, non_blocking=True)

        return self._map(moved)

    def shard(self, rank: int, world_size: int) -> Batch[T]:
        """Return every `world_size`-th row from `rank` on: the share of one process in a global batch."""
        return self._map(lambda values: values[rank::world_size])

    def _map(self, function: Callable[[Any], Any]) -> Batch[Any]:
        fields = {
            field.name: function(value)
            for field in dataclasses.fields(self)
            if field.name != "head" and (value := getattr(self, field.name)) is not None
        }
        return Batch(head=self.head, **fields)


def gather_ragged(flat: npt.NDArray[np.generic], offsets: Ints, rows: Ints) -> tuple[npt.NDArray[np.generic], Ints]:
    """Select rows of a ragged array.

    Args:
        flat: All values, (values, ...).
        offsets: Start of each row, and the end of the last, (rows + 1,).
        rows: Indices of the rows, (selected,).

    Returns:
        The concatenated values of these rows, and their lengths, (selected,).
    """
    lengths = offsets[rows + 1] - offsets[rows]
    total = int(lengths.sum())
    starts = np.repeat(offsets[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return flat[starts + np.arange(total)], lengths


def scatter_rows(padded: npt.NDArray[np.generic], values: npt.NDArray[np.generic], begins: Ints, lengths: Ints) -> None:
    """Write concatenated ragged `values` into `padded` in place, row i at columns begins[i]:begins[i] + lengths[i]."""
    total = int(lengths.sum())
    row_index = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    padded[row_index, np.repeat(begins, lengths) + within] = values


def round_rows_for_lstm(rows: int) -> int:
    """Round a number of sequences, at least 1, down to one for which an LSTM is fast on a CPU.

    The LSTM of oneDNN divides the rows of a batch into blocks of equal size, up to about 60. For 61 or 127 rows each
    block is a single row, which takes up to five times as long per row. Multiples of 16 divide well, and up to 48 rows
    are one block in any case.
    """
    return rows if rows <= _ONE_BLOCK else rows - rows % 16


def filling_rows_for_lstm(rows: int) -> int:
    """Return the number of rows to add for an LSTM to be fast on a CPU; their results are to be discarded."""
    return 0 if rows <= _ONE_BLOCK else -rows % 8


def length_buckets(lengths: Ints, tokens_per_batch: int, *, seed: Sequence[int], max_rows: int = 1024) -> list[Ints]:
    """Group sequences of similar length into batches of about equal size, in an order determined by `seed`.

    Args:
        lengths: Length of each sequence, (sequences,).
        tokens_per_batch: Maximum number of padded positions in a batch; a longer sequence is a batch of its own.
        seed: Seeds of the shuffle, for example (seed, epoch).
        max_rows: Maximum number of sequences in a batch.

    Returns:
        The indices of the sequences of each batch; every sequence is in exactly one batch.
    """
    rng = np.random.default_rng(list(seed))
    order = rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")[::-1]]
    sorted_lengths = lengths[order]
    batches, start = [], 0
    while start < len(order):
        fitting = max(1, min(max_rows, tokens_per_batch // max(1, int(sorted_lengths[start]))))
        rows = round_rows_for_lstm(min(fitting, len(order) - start))
        batches.append(order[start : start + rows])
        start += rows
    return [batches[index] for index in rng.permutation(len(batches))]
