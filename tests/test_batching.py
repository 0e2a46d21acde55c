import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.batching import (
    IGNORED,
    Batch,
    filling_rows_for_lstm,
    gather_ragged,
    length_buckets,
    round_rows_for_lstm,
    scatter_rows,
)

RAGGED = st.lists(st.lists(st.integers(0, 99), max_size=6), max_size=12)


def flatten(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return np.array([value for row in rows for value in row], dtype=np.int64), offsets


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=80),
    st.integers(1, 200),
    st.integers(1, 20),
    st.integers(0, 5),
)
def test_length_buckets_hold_each_sequence_once_and_fit(
    lengths: list[int], tokens: int, max_rows: int, epoch: int
) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = length_buckets(array, tokens, seed=(1, epoch), max_rows=max_rows)
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= max_rows
        assert len(batch) == 1 or len(batch) * array[batch].max() <= tokens
    again = length_buckets(array, tokens, seed=(1, epoch), max_rows=max_rows)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_many_rows_are_a_multiple_that_lstms_are_quick_with_and_no_row_is_lost() -> None:
    assert [round_rows_for_lstm(rows) for rows in (1, 13, 48, 49, 61, 64, 127, 128)] == [
        1,
        13,
        48,
        48,
        48,
        64,
        112,
        128,
    ]
    assert [rows + filling_rows_for_lstm(rows) for rows in (1, 48, 49, 63, 64, 127)] == [1, 48, 56, 64, 64, 128]
    batches = length_buckets(np.full(1009, 30), 3839, seed=(1, 0))
    sizes = sorted(map(len, batches))
    assert sizes == [1, *[112] * 9]
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(1009))


def test_length_buckets_waste_little_and_change_with_the_seed() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, size=2000)
    batches = length_buckets(lengths, 1024, seed=(1, 0))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.05 * lengths.sum()
    other = length_buckets(lengths, 1024, seed=(1, 1))
    assert [batch.tolist() for batch in batches] != [batch.tolist() for batch in other]
    assert {frozenset(batch.tolist()) for batch in batches} != {frozenset(batch.tolist()) for batch in other}
    longest_first = sorted(batches, key=lambda batch: -int(lengths[batch].max()))
    assert [batch.tolist() for batch in batches] != [batch.tolist() for batch in longest_first]


@settings(deadline=None)
@given(RAGGED, st.data())
def test_gather_takes_the_rows_asked_for(rows: list[list[int]], data: st.DataObject) -> None:
    flat, offsets = flatten(rows)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    values, lengths = gather_ragged(flat, offsets, np.array(chosen, dtype=np.int64))
    assert lengths.tolist() == [len(rows[row]) for row in chosen]
    assert values.tolist() == [value for row in chosen for value in rows[row]]


@settings(deadline=None)
@given(RAGGED.filter(len), st.data())
def test_scatter_and_gather_are_inverse(rows: list[list[int]], data: st.DataObject) -> None:
    values, offsets = flatten(rows)
    begins = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))), dtype=np.int64)
    lengths = np.diff(offsets)
    padded = np.full((len(rows), 9), -1)
    scatter_rows(padded, values, begins, lengths)
    width = padded.shape[1]
    for row, begin, filled in zip(rows, begins.tolist(), padded.tolist(), strict=True):
        assert filled == [-1] * begin + row + [-1] * (width - begin - len(row))
    starts = np.arange(len(rows)) * width + begins
    windows = np.stack([starts, starts + lengths], axis=1).ravel()  # every second stretch is a row
    back, _ = gather_ragged(padded.ravel(), windows, np.arange(0, 2 * len(rows), 2))
    assert back.tolist() == values.tolist()


@pytest.fixture
def batch() -> Batch:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    ids = torch.arange(1, 16).view(5, 3) * mask
    return Batch(ids, mask, targets=ids.masked_fill(~mask, IGNORED), bigram_ids=ids + 100, head="ner")


def test_lengths_and_weight(batch: Batch) -> None:
    assert len(batch) == 5
    assert batch.lengths.tolist() == [3, 1, 2, 3, 1]
    assert batch.weight == 10
    assert Batch(batch.ids, batch.mask).weight == 10
    prefix = batch.targets.clone()
    prefix[:, 0] = IGNORED
    assert Batch(batch.ids, batch.mask, prefix).weight == 5


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_shards_part_the_rows_of_every_tensor(batch: Batch, processes: int) -> None:
    shards = [batch.shard(rank, processes) for rank in range(processes)]
    assert sum(len(shard) for shard in shards) == len(batch)
    assert sum(shard.weight for shard in shards) == batch.weight
    for rank, shard in enumerate(shards):
        rows = range(rank, len(batch), processes)
        for name in ("ids", "mask", "targets", "bigram_ids"):
            assert getattr(shard, name).tolist() == [getattr(batch, name)[row].tolist() for row in rows]
        assert shard.word_ids is None
        assert shard.head == "ner"


def test_to_moves_every_tensor_and_keeps_the_rest(batch: Batch) -> None:
    moved = batch.to("meta")
    assert {moved.ids.device.type, moved.mask.device.type, moved.targets.device.type, moved.bigram_ids.device.type} == {
        "meta"
    }
    assert (moved.word_ids, moved.word_weights, moved.head) == (None, None, "ner")


def test_arrays_become_tensors_that_share_their_memory() -> None:
    arrays = Batch(np.array([[3, 4], [5, 0]]), np.array([[True, True], [True, False]]), head="pos")
    assert (arrays.weight, arrays.lengths.tolist(), len(arrays)) == (3, [2, 1], 2)
    assert arrays.shard(1, 2).ids.tolist() == [[5, 0]]
    tensors = arrays.to("cpu")
    assert isinstance(tensors.ids, torch.Tensor)
    assert (tensors.mask.dtype, tensors.targets, tensors.head) == (torch.bool, None, "pos")
    arrays.ids[0, 0] = 7
    assert tensors.ids.tolist() == [[7, 4], [5, 0]]
