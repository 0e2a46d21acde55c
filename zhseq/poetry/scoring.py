"""Score poems by the language model: bits for all symbols that it must produce, given at most form and title."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zhseq.batching import IGNORED, Batch, gather_ragged, length_buckets, scatter_rows
from zhseq.device import autocast
from zhseq.poetry.forms import UNKNOWN_BITS, Controls, control_symbol, encode_poems, encode_prefix
from zhseq.poetry.model import LanguageModel
from zhseq.text.normalize import codepoints, is_han
from zhseq.text.vocab import Vocab


@dataclass(frozen=True)
class EncodedPoems:
    """Poems as flat arrays: symbols, titles and control ids, with the place where each begins."""

    symbols: npt.NDArray[np.int64]
    symbol_offsets: npt.NDArray[np.int64]
    titles: npt.NDArray[np.int64]
    title_offsets: npt.NDArray[np.int64]
    controls: npt.NDArray[np.int64]
    """Ids of the control symbols of form, dynasty and author, (poems, 3); 0 where there is none."""

    def __len__(self) -> int:
        return len(self.controls)


def make_batch(
    poems: EncodedPoems,
    rows: npt.NDArray[np.int64],
    controls: npt.NDArray[np.int64],
    title_lengths: npt.NDArray[np.int64],
    bos_id: int,
) -> Batch[Tensor]:
    """Assemble `controls title <bos> symbols` for some poems; only the poem's own symbols are targets."""
    present = controls > 0
    symbols, symbol_lengths = gather_ragged(poems.symbols, poems.symbol_offsets, rows)
    titles, all_title_lengths = gather_ragged(poems.titles, poems.title_offsets, rows)
    titles = titles[np.repeat(title_lengths > 0, all_title_lengths)]
    begins = present.sum(axis=1) + title_lengths  # the place of <bos>, the first whose next symbol is a target
    ends = begins + symbol_lengths
    ids = np.zeros((len(rows), int(ends.max()) + 1), dtype=np.int64)
    for column in range(controls.shape[1]):
        chosen = present[:, column]
        ids[np.flatnonzero(chosen), present[chosen, :column].sum(axis=1)] = controls[chosen, column]
    scatter_rows(ids, titles, present.sum(axis=1), title_lengths)
    ids[np.arange(len(rows)), begins] = bos_id
    scatter_rows(ids, symbols, begins + 1, symbol_lengths)
    targets = np.full((len(rows), ids.shape[1] - 1), IGNORED, dtype=np.int64)
    scatter_rows(targets, symbols, begins, symbol_lengths)
    mask = np.arange(targets.shape[1]) < ends[:, None]
    return Batch(torch.from_numpy(ids[:, :-1].copy()), torch.from_numpy(mask), torch.from_numpy(targets))


def form_only_batches(
    poems: EncodedPoems, tokens_per_batch: int, bos_id: int
) -> Iterator[tuple[npt.NDArray[np.int64], Batch[Tensor]]]:
    """Yield batches in which each poem is given its form and nothing else, each with the numbers of its poems."""
    controls = poems.controls * np.array([1, 0, 0])
    no_title = np.zeros(len(poems), dtype=np.int64)
    for rows in length_buckets(np.diff(poems.symbol_offsets), tokens_per_batch, seed=(0,)):
        yield rows, make_batch(poems, rows, controls[rows], no_title[rows], bos_id)


def encode_with_forms(vocab: Vocab, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> EncodedPoems:
    """Encode poems of which only the form is known; an empty or unknown form is no control."""
    symbols, offsets = encode_poems(vocab, poems, max_symbols=1 << 40)
    controls = np.zeros((len(poems), 3), dtype=np.int64)
    names = [control_symbol("form", form) for form in forms]
    controls[:, 0] = [vocab.id(name) if name in vocab else 0 for name in names]
    nothing = np.zeros(len(poems) + 1, dtype=np.int64)
    return EncodedPoems(symbols, offsets, np.zeros(0, dtype=np.int64), nothing, controls)


_TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class Score:
    """What a poem costs."""

    bits: float
    """-log2 of the probability of all characters, line separators and the end; `UNKNOWN_BITS` more for each character
    that the vocabulary lacks."""
    han: int
    """Chinese characters in it."""

    @property
    def bits_per_han(self) -> float:
        """Bits for each Chinese character."""
        return self.bits / self.han


@torch.inference_mode()
def score_poems(
    model: LanguageModel, vocab: Vocab, poems: Sequence[Sequence[str]], forms: Sequence[str], precision: str = "float32"
) -> list[Score]:
    """Score poems.

    Args:
        model: In evaluation mode.
        vocab: Its vocabulary.
        poems: The lines of each poem, normalised and without punctuation.
        forms: The form that each poem is said to have, or an empty string.
        precision: As in `TrainingConfig`.
    """
    encoded = encode_with_forms(vocab, poems, forms)
    device = model.output_bias.device
    nats = np.zeros(len(poems))
    with autocast(device, precision):
        for rows, batch in form_only_batches(encoded, _TOKENS_PER_BATCH, vocab.bos_id):
            nats[rows] = model.token_losses(batch.to(device)).double().sum(dim=1).cpu().numpy()
    unknown = np.add.reduceat(encoded.symbols == vocab.unk_id, encoded.symbol_offsets[:-1]) if len(poems) else nats
    bits = nats / math.log(2) + UNKNOWN_BITS * unknown
    return [
        Score(float(cost), int(is_han(codepoints("".join(lines))).sum()))
        for cost, lines in zip(bits, poems, strict=True)
    ]


def surprise(model: LanguageModel, vocab: Vocab, lines: Sequence[str], form: str, title: str = "") -> list[list[float]]:
    """Return the bits that each character of a poem costs, given its form and title, as a list for each line."""
    prefix = encode_prefix(vocab, Controls(form, title=title))
    symbols = encode_with_forms(vocab, [lines], [""]).symbols
    ids = torch.tensor([*prefix, *symbols.tolist()], device=model.output_bias.device)
    targets = ids[1:].clone()
    targets[: len(prefix) - 1] = IGNORED
    read = ids[:-1].unsqueeze(0)
    losses = model.token_losses(Batch(read, torch.ones_like(read, dtype=torch.bool), targets.unsqueeze(0)))[0]
    bits = (losses / np.log(2)).tolist()[len(prefix) - 1 :]
    result, begin = [], 0
    for line in lines:
        result.append(bits[begin : begin + len(line)])
        begin += len(line) + 1  # the symbol between two lines
    return result
