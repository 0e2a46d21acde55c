"""Score existing poems with the language model, given at most form and title, and suggest characters.

Imports no torch.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.batching import IGNORED, Array, Batch, Ints, gather_ragged, length_buckets, scatter_rows
from zhseq.poetry.faults import Review
from zhseq.poetry.forms import (
    LINE_MARK,
    UNKNOWN_BITS,
    Controls,
    control_symbol,
    encode_poems,
    encode_prefix,
    encode_texts,
)
from zhseq.poetry.network import Floats, Network, State, log_total
from zhseq.poetry.prosody import FREE, Prosody
from zhseq.poetry.reading import BLANK
from zhseq.text.normalize import codepoints, is_han
from zhseq.text.vocab import Vocab

_TOKENS_PER_BATCH = 8192
_SHORT_LIST = 48  # characters, the most probable ones after the text before them, that are scored in the whole poem
_NEAR = 320  # symbols on each side of a position that are read; more than any form or tune has
_STEP = 32  # symbols of one text that are read in a step
_POSITIONS_PER_STEP = 256  # symbols of several texts together that are read in a step


@dataclass(frozen=True)
class EncodedPoems:
    """Poems as flat arrays: symbols, titles and control ids, with the offset of each poem."""

    symbols: Ints
    symbol_offsets: Ints
    titles: Ints
    title_offsets: Ints
    controls: Ints
    """Ids of the control symbols of form, dynasty and author, (poems, 3); 0 if there is none."""

    def __len__(self) -> int:
        return len(self.controls)


def make_batch(poems: EncodedPoems, rows: Ints, controls: Ints, title_lengths: Ints, bos_id: int) -> Batch[Array]:
    """Assemble `controls title <bos> symbols` for some poems; only the poem's own symbols are targets.

    Args:
        poems: All poems.
        rows: Indices of the poems to assemble, (rows,).
        controls: Control ids of each of them, (rows, 3); 0 if there is none.
        title_lengths: Length of the title of each of them, or 0 to leave it out, (rows,).
        bos_id: Id of the symbol before the poem.
    """
    present = controls > 0
    symbols, symbol_lengths = gather_ragged(poems.symbols, poems.symbol_offsets, rows)
    titles, all_title_lengths = gather_ragged(poems.titles, poems.title_offsets, rows)
    titles = titles[np.repeat(title_lengths > 0, all_title_lengths)]
    begins = present.sum(axis=1) + title_lengths  # index of <bos>, whose next symbol is the first target
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
    return Batch(ids[:, :-1].copy(), mask, targets)


def encode_with_forms(vocab: Vocab, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> EncodedPoems:
    """Encode poems with their forms as the only controls; an empty or unknown form is left out."""
    symbols, offsets = encode_poems(vocab, poems, max_symbols=1 << 40)
    controls = np.zeros((len(poems), 3), dtype=np.int64)
    names = [control_symbol("form", form) for form in forms]
    controls[:, 0] = [vocab.id(name) if name in vocab else 0 for name in names]
    nothing = np.zeros(len(poems) + 1, dtype=np.int64)
    return EncodedPoems(symbols, offsets, np.zeros(0, dtype=np.int64), nothing, controls)


@dataclass(frozen=True)
class Score:
    """Bits of a poem under the model."""

    bits: float
    """-log2 of the probability of all characters, line separators and the end, plus `UNKNOWN_BITS` for each character
    outside the vocabulary."""
    han: int
    """Number of Chinese characters."""

    @property
    def bits_per_han(self) -> float:
        """Bits per Chinese character."""
        return self.bits / self.han


def score_poems(network: Network, vocab: Vocab, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> list[Score]:
    """Score poems.

    Args:
        network: The language model.
        vocab: Its vocabulary.
        poems: The lines of each poem, normalised and without punctuation.
        forms: The form of each poem, or an empty string.
    """
    encoded = encode_with_forms(vocab, poems, forms)
    no_title = np.zeros(len(poems), dtype=np.int64)
    nats = np.zeros(len(poems))
    for rows in length_buckets(np.diff(encoded.symbol_offsets), _TOKENS_PER_BATCH, seed=(0,)):
        batch = make_batch(encoded, rows, encoded.controls[rows], no_title[rows], vocab.bos_id)
        nats[rows] = network.token_losses(batch).sum(axis=1, dtype=np.float64)
    unknown = np.add.reduceat(encoded.symbols == vocab.unk_id, encoded.symbol_offsets[:-1]) if len(poems) else nats
    bits = nats / math.log(2) + UNKNOWN_BITS * unknown
    return [
        Score(float(cost), int(is_han(codepoints("".join(lines))).sum()))
        for cost, lines in zip(bits, poems, strict=True)
    ]


def surprise(
    network: Network, vocab: Vocab, lines: Sequence[str], controls: Controls
) -> Iterator[list[list[float]] | None]:
    """Yield None after each step, then the bits of each character of a poem, one list per line."""
    prefix = encode_prefix(vocab, controls)
    symbols = encode_with_forms(vocab, [lines], [""]).symbols
    ids = np.concatenate([np.array(prefix, dtype=np.int64), symbols])[None]
    losses, state = [], None
    for begin in range(0, ids.shape[1] - 1, _STEP):
        read = ids[:, begin : min(begin + _STEP, ids.shape[1] - 1)]
        found, state = network.follow(read, ids[:, begin + 1 : begin + 1 + _STEP], state)
        losses.append(found[0])
        yield None
    bits = (np.concatenate(losses) / math.log(2)).tolist()[len(prefix) - 1 :]
    result, begin = [], 0
    for line in lines:
        result.append(bits[begin : begin + len(line)])
        begin += len(line) + 1  # the symbol between two lines
    yield result


_Reading = tuple[Floats, State]
"""The scores of the next symbol, (1, output_size), and the state."""


def _read(network: Network, vocab: Vocab, controls: Controls, text: str) -> Generator[None, None, _Reading]:
    """Read the beginning of a poem, its lines separated by `LINE_MARK`; yield None after each step."""
    symbols, _ = encode_texts(vocab, [text], max_symbols=1 << 40)
    ids = np.array([encode_prefix(vocab, controls) + symbols[:-1].tolist()], dtype=np.int64)
    logits, state = network.step(ids[:, :_STEP])
    for begin in range(_STEP, ids.shape[1], _STEP):
        yield None
        logits, state = network.step(ids[:, begin : begin + _STEP], state)
    yield None
    return logits, state


def _costs(
    network: Network, vocab: Vocab, before: _Reading, texts: Sequence[str]
) -> Generator[None, None, npt.NDArray[np.float64]]:
    """Return the nats of continuations of equal length including `<eos>`, (texts,); yield None after each step."""
    symbols, _ = encode_texts(vocab, texts, max_symbols=1 << 40)
    ids = symbols.reshape(len(texts), -1)
    logits, state = before
    nats: npt.NDArray[np.float64] = (log_total(logits) - logits[0, ids[:, 0]]).astype(np.float64)
    state = network.select(state, np.zeros(len(texts), dtype=np.int64))
    width = max(1, min(_STEP, _POSITIONS_PER_STEP // len(texts)))
    for begin in range(0, ids.shape[1] - 1, width):
        targets = ids[:, begin + 1 : begin + 1 + width]
        losses, state = network.follow(ids[:, begin : begin + targets.shape[1]], targets, state)
        nats += losses.sum(axis=1, dtype=np.float64)
        yield None
    return nats


def compare(
    network: Network, vocab: Vocab, controls: Controls, before: str, texts: Sequence[str], after: str
) -> Generator[None, None, npt.NDArray[np.float64]]:
    """Return the nats of a poem with each of several texts inserted, (texts,), without those of the part before.

    Args:
        network: The language model.
        vocab: Its vocabulary.
        controls: Conditions of the model.
        before: The part of the poem before the text, its lines separated by `LINE_MARK`.
        texts: The texts, all of the same length.
        after: The part of the poem after the text, its lines separated by `LINE_MARK`.

    Yields:
        None after each step.
    """
    reading = yield from _read(network, vocab, controls, before)
    return (yield from _costs(network, vocab, reading, [text + after for text in texts]))


@dataclass(frozen=True)
class Suggestion:
    """Characters proposed for a position."""

    line: int
    """Number of the line, from 1."""
    position: int
    """Position in the line, from 1."""
    character: str
    """The current character; `?` at a marked position."""
    characters: tuple[str, ...]
    """The proposed characters, the best first."""

    def fields(self) -> dict[str, Any]:
        """Return the suggestion as JSON values."""
        return {"line": self.line, "place": self.position, "character": self.character, "characters": self.characters}


def suggest(network: Network, vocab: Vocab, prosody: Prosody, found: Review, num: int) -> Iterator[Suggestion | None]:
    """Yield a suggestion for each position to correct, and None between the steps of the search.

    Args:
        network: The language model.
        vocab: Its vocabulary.
        prosody: Tones and rhymes.
        found: Review of the poem.
        num: Maximum number of characters per position.
    """
    alphabet = [symbol for symbol in vocab.symbols[: network.output_size] if prosody.groups(symbol)]
    found = reading_to_mend(found)
    controls = Controls(found.form, title=found.tune)
    lines = list(found.lines)
    positions = positions_to_mend(found)
    for line, position in positions:
        if lines[line][position] == BLANK:  # fill all marked positions first, so that each is scored in a whole poem
            used = set("".join(lines))
            unused = [character for character in alphabet if character not in used]
            options = candidates(found, line, position, unused, prosody)
            before, _ = _around(lines, line, position)
            logits, _ = yield from _read(network, vocab, controls, before)
            for best in _likeliest(vocab, logits, options)[:1]:
                lines[line] = lines[line][:position] + best + lines[line][position + 1 :]
    for line, position in positions:
        options = candidates(found, line, position, alphabet, prosody)
        before, after = _around(lines, line, position)
        reading = yield from _read(network, vocab, controls, before)
        tried = _likeliest(vocab, reading[0], options)
        if tried:
            nats = yield from _costs(network, vocab, reading, [character + after for character in tried])
            tried = [tried[index] for index in np.argsort(nats, kind="stable")[:num]]
        yield Suggestion(line + 1, position + 1, found.lines[line][position], tuple(tried))


def _around(lines: Sequence[str], line: int, position: int) -> tuple[str, str]:
    """Return the text before and after a position, up to about `_NEAR` symbols, its lines separated by `LINE_MARK`."""
    ends = list(accumulate((len(each) + 1 for each in lines), initial=0))
    first = bisect_left(ends, ends[line] - _NEAR)
    last = bisect_right(ends, ends[line + 1] + _NEAR) - 1
    before = LINE_MARK.join([*lines[first:line], lines[line][:position]])
    return before, LINE_MARK.join([lines[line][position + 1 :], *lines[line + 1 : last]])


def reading_to_mend(found: Review) -> Review:
    """Return the review to correct: `otherwise`, if there is one and the review itself has no faults or marks."""
    marked = any(BLANK in line for line in found.lines)
    return found if found.otherwise is None or found.faults or marked else found.otherwise


def positions_to_mend(found: Review) -> list[tuple[int, int]]:
    """Return line and position, from 0, of the marked positions, or of the faults if there are none."""
    marked = [(n, position) for n, line in enumerate(found.lines) for position, c in enumerate(line) if c == BLANK]
    found = reading_to_mend(found)
    return marked or sorted({(fault.line - 1, fault.position - 1) for fault in found.faults if fault.position})


def candidates(found: Review, line: int, position: int, alphabet: Iterable[str], prosody: Prosody) -> list[str]:
    """Return the characters that have the required tone and rhyme at a position and are not used in the poem.

    Args:
        found: Review of the poem.
        line: Index of the line.
        position: Index in the line.
        alphabet: Characters to choose from.
        prosody: Tones and rhymes.
    """
    prosody = found.rhymes_in(prosody)
    used = set("".join(found.lines))
    due = found.expected[line][position] if position < len(found.expected[line]) else FREE
    unused = [character for character in alphabet if character not in used]
    # Characters with two tones are not proposed where a tone is required, because their reading is ambiguous.
    fitting = [c for c in unused if due in (FREE, prosody.tone_class(c).value)]
    rhyme = found.rhyming[line]
    if not rhyme or position != len(found.lines[line]) - 1:
        return fitting
    groups = [group for n, group in enumerate(found.rhymes) if found.rhyming[n] == rhyme and n != line and group >= 0]
    if not groups:
        return fitting
    group = max(set(groups), key=groups.count)
    return [character for character in fitting if group in prosody.groups(character)]


def _likeliest(vocab: Vocab, logits: Floats, options: Sequence[str]) -> list[str]:
    """Return the most probable of some characters, by the logits of the next one, (1, output_size)."""
    scores = logits[0, np.array([vocab.id(option) for option in options], dtype=np.int64)]
    order = np.argsort(-scores, kind="stable")[:_SHORT_LIST].tolist()
    return [options[index] for index in order]
