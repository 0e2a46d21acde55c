"""How surprising poems are to the language model: bits for everything it must produce, given at most the form."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from zhseq.batching import IGNORED, Batch, gather_ragged, length_buckets, scatter_rows
from zhseq.device import autocast
from zhseq.errors import InputError, Message
from zhseq.poetry.forms import UNKNOWN_BITS, control_symbol, encode_poems, form_of
from zhseq.poetry.model import LanguageModel
from zhseq.text.normalize import codepoints, is_han, normalize
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
) -> Batch:
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
) -> Iterator[tuple[npt.NDArray[np.int64], Batch]]:
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
_BETWEEN_LINES = re.compile(r"[|，。！？；：,.!?;:\s]+")


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


def read_poem(record: str, place: str) -> tuple[list[str], str]:
    """Read a poem from one line of a file: plain text with punctuation, or JSON with `content` and maybe `form`.

    Args:
        record: The line; lines of the poem are parted by `|` or punctuation.
        place: File and line, for messages.

    Returns:
        The normalised lines, and the form: the one given, else the regulated shape of the lines, else "".

    Raises:
        InputError: It is neither.
    """
    form, content = "", record
    if record.lstrip().startswith("{"):
        try:
            fields = json.loads(record)
            content, form = fields["content"], fields.get("form", "")
        except (ValueError, KeyError) as error:
            fault = (
                Message("no_content", "has no 'content'")
                if isinstance(error, KeyError)
                else Message("no_json", "is not valid JSON ({error})", {"error": error})
            )
            raise InputError(
                "broken_record",
                '{place}: the record {fault}; expected {{"content": "line|line|...", "form": "七绝"}}',
                place=place,
                fault=fault,
            ) from error
        if not isinstance(content, str) or not isinstance(form, str):
            raise InputError("fields_of_record", "{place}: 'content' and 'form' must be strings", place=place)
    # Marks are folded to half width by normalisation, so both kinds part lines.
    lines = [line for line in _BETWEEN_LINES.split(normalize(content)) if line]
    if not is_han(codepoints("".join(lines))).any():
        raise InputError("no_verse_at", "{place}: there is no Chinese character in this poem", place=place)
    return lines, normalize(form) or form_of(lines) or ""
