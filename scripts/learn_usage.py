"""Count what verse sets together, for `zhseq.poetry.coherence.Usage`.

    ZHSEQ_CORPORA=corpora python scripts/learn_usage.py --out checkpoints/poem

Counts the neighbours within the lines of all training poems, notes which three characters stand in a row at least
`TRIPLE` times, and finds vectors whose products say how much oftener two characters that are no neighbours meet in a
line of five or seven than by chance: the singular value decomposition of their pointwise mutual information (Levy and
Goldberg, 2014), common characters weighing more. `--out` gets `usage.safetensors`; a minute of one core.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zhseq import checkpoint
from zhseq.batching import Ints
from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.poetry.coherence import USAGE_FILE, Bytes, place_of_triples
from zhseq.poetry.forms import encode_poems
from zhseq.poetry.network import Floats, read_settings
from zhseq.text.vocab import LINE, Vocab

COMMON = 4096
"""Symbols, the commonest ones, of which it is counted which are neighbours: 98 % of all neighbours."""
HIGHEST = 7
"""Of the levels of `Usage`."""
TRIPLE = 3
"""Times that three characters must stand in a row."""
PLACES = 1 << 24
"""Bits for them; 1 in 18 of other triples falls on one that is set."""
TIES = 32
"""Numbers of a vector."""
RAREST = 0.02
"""Weight of the rarest characters, if that of the commonest is 1."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and write."""
    parser = argparse.ArgumentParser(description="Count what verse sets together.")
    parser.add_argument("--model", default=None, help="the model whose vocabulary is used (default: that of zhseq)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"gets {USAGE_FILE}")
    options = parser.parse_args(arguments)
    directory = checkpoint.shipped("poem") if options.model is None else checkpoint.resolve(options.model)
    _, vocab = read_settings(directory)
    found = count(vocab, select_split(load_poems(), "train")["lines"][:])
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint.write_tensors(options.out / USAGE_FILE, found)
    sizes = ", ".join(f"{name} {tensor.numel() * tensor.element_size():,}" for name, tensor in found.items())
    print(f"bytes: {sizes}", file=sys.stderr)
    return 0


def count(vocab: Vocab, poems: Sequence[Sequence[str]]) -> dict[str, Tensor]:
    """Return what `Usage` reads."""
    ids, _ = encode_poems(vocab, poems, max_symbols=1 << 40)
    inside = ~np.isin(ids, [vocab.id(LINE), vocab.eos_id, vocab.unk_id])
    counts = np.bincount(ids[inside], minlength=len(vocab))
    frequency = np.log(counts + 5.0)
    earlier, later = ties(meetings(ids, inside, common(vocab)), frequency)
    packed = {
        "levels": levels(ids, inside, common(vocab)),
        "triples": triples(ids, inside, len(vocab)),
    }
    result = {
        name: torch.from_numpy(np.frombuffer(zlib.compress(values.tobytes(), 9), np.uint8).copy())
        for name, values in packed.items()
    }
    result["frequency"] = torch.from_numpy(frequency).half()
    return {**result, **whole_steps("earlier", earlier), **whole_steps("later", later)}


def whole_steps(name: str, vectors: Floats) -> dict[str, Tensor]:
    """Return vectors as whole numbers of steps of their columns, as `zhseq.poetry.coherence.in_steps` reads them."""
    steps = np.maximum(np.abs(vectors).max(axis=0) / 127, 1e-9)
    whole = torch.from_numpy(np.round(vectors / steps).astype(np.int8))
    return {name: whole, f"{name} steps": torch.from_numpy(steps.astype(np.float32))}


def common(vocab: Vocab) -> int:
    """Return how many symbols are the commonest ones."""
    return min(COMMON, len(vocab) // 2 * 2)


def levels(ids: Ints, inside: np.ndarray, size: int) -> Bytes:
    """Return the level of each two of the commonest symbols, see `Usage`, (size, size / 2).

    Args:
        ids: The symbols of all poems.
        inside: Which of them are characters.
        size: How many symbols are the commonest.
    """
    known = inside & (ids < size)
    both = known[:-1] & known[1:]
    counts = np.bincount(ids[:-1][both] * size + ids[1:][both], minlength=size * size).reshape(size, size)
    # The number of binary digits; 0 has none.
    found = np.minimum(np.frexp(counts.astype(np.float32))[1], HIGHEST).astype(np.uint8)
    result: Bytes = found[:, 0::2] | found[:, 1::2] << 4
    return result


def triples(ids: Ints, inside: np.ndarray, vocab_size: int) -> Bytes:
    """Return a bit for each place of a triple, set where `TRIPLE` of one stand, (PLACES / 8,)."""
    whole = inside[:-2] & inside[1:-1] & inside[2:]
    rows = np.stack([ids[:-2][whole], ids[1:-1][whole], ids[2:][whole]], axis=1)
    keys = (rows[:, 0] * vocab_size + rows[:, 1]) * vocab_size + rows[:, 2]
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    bits = np.zeros(PLACES, dtype=bool)
    bits[place_of_triples(rows[first[counts >= TRIPLE]], vocab_size, PLACES)] = True
    return np.packbits(bits, bitorder="little")


def meetings(ids: Ints, inside: np.ndarray, size: int) -> Floats:
    """Return how often one of the commonest symbols stands before another in a line, two places or more, (size, size).

    At most six places apart, so that it is lines of five and seven that count.
    """
    breaks = np.cumsum(~inside)
    counts = np.zeros(size * size)
    for apart in range(2, 7):
        one, other = ids[:-apart], ids[apart:]
        same = inside[:-apart] & inside[apart:] & (breaks[:-apart] == breaks[apart:]) & (one < size) & (other < size)
        counts += np.bincount(one[same] * size + other[same], minlength=size * size)
    return counts.reshape(size, size).astype(np.float32)


def ties(counts: Floats, frequency: Floats) -> tuple[Floats, Floats]:
    """Return vectors whose products are the pointwise mutual information of what meets, (size, TIES) each."""
    expected = (counts.sum(axis=1, keepdims=True) + 1) * (counts.sum(axis=0) + 1) / max(counts.sum(), 1)
    nats = np.log((counts + 1) / (expected + 1))
    share = frequency[: len(counts)] - frequency[: len(counts)].max()
    weights = np.maximum(np.exp(share / 2), RAREST).astype(np.float32)
    torch.manual_seed(0)
    weighted = torch.from_numpy((nats * weights[:, None] * weights).astype(np.float32))
    left, strength, right = torch.svd_lowrank(weighted, q=min(TIES, len(counts)), niter=3)
    root = strength.sqrt()
    return (left * root).numpy() / weights[:, None], (right * root).numpy() / weights[:, None]


if __name__ == "__main__":
    run_main(main)
