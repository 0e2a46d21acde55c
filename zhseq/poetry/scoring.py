"""Ask the model about poems that stand: the bits they cost, given at most form and title, and what would fit better.

Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zhseq.batching import IGNORED, Array, Batch, Ints, gather_ragged, length_buckets, scatter_rows
from zhseq.poetry.faults import Review
from zhseq.poetry.forms import UNKNOWN_BITS, Controls, control_symbol, encode_poems, encode_prefix
from zhseq.poetry.network import Network
from zhseq.poetry.prosody import FREE, Prosody
from zhseq.poetry.reading import BLANK
from zhseq.text.normalize import codepoints, is_han
from zhseq.text.vocab import LINE, Vocab

_TOKENS_PER_BATCH = 8192
_SHORT_LIST = 48  # characters, the likeliest by what stands before them, that are tried in the whole poem


@dataclass(frozen=True)
class EncodedPoems:
    """Poems as flat arrays: symbols, titles and control ids, with the place where each begins."""

    symbols: Ints
    symbol_offsets: Ints
    titles: Ints
    title_offsets: Ints
    controls: Ints
    """Ids of the control symbols of form, dynasty and author, (poems, 3); 0 where there is none."""

    def __len__(self) -> int:
        return len(self.controls)


def make_batch(poems: EncodedPoems, rows: Ints, controls: Ints, title_lengths: Ints, bos_id: int) -> Batch[Array]:
    """Assemble `controls title <bos> symbols` for some poems; only the poem's own symbols are targets.

    Args:
        poems: All poems.
        rows: Numbers of those to assemble, (rows,).
        controls: Control ids of each of these, (rows, 3); 0 where there is none.
        title_lengths: Symbols of each one's title, all of them or 0, (rows,).
        bos_id: Symbol at which the poem begins.
    """
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
    return Batch(ids[:, :-1].copy(), mask, targets)


def encode_with_forms(vocab: Vocab, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> EncodedPoems:
    """Encode poems of which only the form is known; an empty or unknown form is no control."""
    symbols, offsets = encode_poems(vocab, poems, max_symbols=1 << 40)
    controls = np.zeros((len(poems), 3), dtype=np.int64)
    names = [control_symbol("form", form) for form in forms]
    controls[:, 0] = [vocab.id(name) if name in vocab else 0 for name in names]
    nothing = np.zeros(len(poems) + 1, dtype=np.int64)
    return EncodedPoems(symbols, offsets, np.zeros(0, dtype=np.int64), nothing, controls)


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


def score_poems(network: Network, vocab: Vocab, poems: Sequence[Sequence[str]], forms: Sequence[str]) -> list[Score]:
    """Score poems.

    Args:
        network: The language model.
        vocab: Its vocabulary.
        poems: The lines of each poem, normalised and without punctuation.
        forms: The form that each poem is said to have, or an empty string.
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


def surprise(network: Network, vocab: Vocab, lines: Sequence[str], form: str, title: str = "") -> list[list[float]]:
    """Return the bits that each character of a poem costs, given its form and title, as a list for each line."""
    prefix = encode_prefix(vocab, Controls(form, title=title))
    symbols = encode_with_forms(vocab, [lines], [""]).symbols
    ids = np.concatenate([np.array(prefix, dtype=np.int64), symbols])
    targets = ids[1:].copy()
    targets[: len(prefix) - 1] = IGNORED
    read = ids[None, :-1]
    losses = network.token_losses(Batch(read, np.ones_like(read, dtype=bool), targets[None]))[0]
    bits = (losses / math.log(2)).tolist()[len(prefix) - 1 :]
    result, begin = [], 0
    for line in lines:
        result.append(bits[begin : begin + len(line)])
        begin += len(line) + 1  # the symbol between two lines
    return result


@dataclass(frozen=True)
class Suggestion:
    """What could stand at a position."""

    line: int
    """Number of the line, from 1."""
    position: int
    """Position in the line, from 1."""
    character: str
    """What stands there; `?` at a marked place."""
    characters: tuple[str, ...]
    """What could stand there, the best first."""

    def fields(self) -> dict[str, Any]:
        """Return the suggestion as values of JSON."""
        return {"line": self.line, "place": self.position, "character": self.character, "characters": self.characters}


def suggest(network: Network, vocab: Vocab, prosody: Prosody, found: Review, num: int) -> Iterator[Suggestion | None]:
    """Propose characters for the positions to mend, one after the other; yield None between two steps of the search.

    Args:
        network: The language model.
        vocab: Its vocabulary.
        prosody: Tones and rhymes.
        found: The reviewed poem.
        num: How many characters for each position.
    """
    alphabet = [symbol for symbol in vocab.symbols[: network.output_size] if prosody.groups(symbol)]
    found = reading_to_mend(found)
    lines = list(found.lines)
    positions = positions_to_mend(found)
    for line, position in positions:
        if lines[line][position] == BLANK:  # a first reading of all marked places, so that each stands in a whole poem
            used = set("".join(lines))
            unused = [character for character in alphabet if character not in used]
            options = candidates(found, line, position, unused, prosody)
            best = _likeliest(network, vocab, found, [*lines[:line], lines[line][:position]], options)[:1]
            lines[line] = _exchange(lines[line], position, best[0]) if best else lines[line]
            yield None
    for line, position in positions:
        options = candidates(found, line, position, alphabet, prosody)
        tried = _likeliest(network, vocab, found, [*lines[:line], lines[line][:position]], options)
        yield None
        poems = [[*lines[:line], _exchange(lines[line], position, c), *lines[line + 1 :]] for c in tried]
        bits = [score.bits for score in score_poems(network, vocab, poems, [found.form] * len(poems))]
        best = [tried[index] for index in np.argsort(bits, kind="stable")[:num]]
        yield Suggestion(line + 1, position + 1, found.lines[line][position], tuple(best))


def reading_to_mend(found: Review) -> Review:
    """Return the reading of a poem whose faults are to be mended: the regulated one, where it has two and no fault."""
    marked = any(BLANK in line for line in found.lines)
    return found if found.otherwise is None or found.faults or marked else found.otherwise


def positions_to_mend(found: Review) -> list[tuple[int, int]]:
    """Return line and position, from 0, of the marked places, or where there are none of the faults."""
    marked = [(n, position) for n, line in enumerate(found.lines) for position, c in enumerate(line) if c == BLANK]
    found = reading_to_mend(found)
    return marked or sorted({(fault.line - 1, fault.position - 1) for fault in found.faults if fault.position})


def candidates(found: Review, line: int, position: int, alphabet: Iterable[str], prosody: Prosody) -> list[str]:
    """Return the characters that keep tone and rhyme at a position and do not stand in the poem already.

    Args:
        found: The poem.
        line: Number of the line, from 0.
        position: Position in the line, from 0.
        alphabet: Characters to choose from.
        prosody: Tones and rhymes.
    """
    prosody = found.rhymes_in(prosody)
    used = set("".join(found.lines))
    due = found.expected[line][position] if position < len(found.expected[line]) else FREE
    unused = [character for character in alphabet if character not in used]
    # Only certain tones are proposed: a character of two readings leaves the reader to guess.
    fitting = [c for c in unused if due in (FREE, prosody.tone_class(c).value)]
    rhyme = found.rhyming[line]
    if not rhyme or position != len(found.lines[line]) - 1:
        return fitting
    groups = [group for n, group in enumerate(found.rhymes) if found.rhyming[n] == rhyme and n != line and group >= 0]
    if not groups:
        return fitting
    group = max(set(groups), key=groups.count)
    return [character for character in fitting if group in prosody.groups(character)]


def _likeliest(
    network: Network, vocab: Vocab, found: Review, before: Sequence[str], options: Sequence[str]
) -> list[str]:
    """Return the options that are likeliest after what stands before them: whole lines and the begun one."""
    ids = encode_prefix(vocab, Controls(found.form, title=found.tune))
    for number, text in enumerate(before):
        ids += [vocab.id(LINE)] * bool(number) + vocab.encode(text).tolist()
    logits, _ = network.step(np.array([ids], dtype=np.int64))
    scores = logits[0, np.array([vocab.id(option) for option in options], dtype=np.int64)]
    order = np.argsort(-scores, kind="stable")[:_SHORT_LIST].tolist()
    return [options[index] for index in order]


def _exchange(line: str, position: int, character: str) -> str:
    return line[:position] + character + line[position + 1 :]
