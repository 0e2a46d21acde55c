"""How well can poems be foretold without a network? A modified Kneser-Ney n-gram over the symbols of the poem model.

The n-gram is trained on the training poems and scored on the dev poems on which the training of the poem model reports
its bits per Han character, over the same vocabulary. A network above this figure has a defect.

The network is told the form of a poem, and so hardly pays for line separators and the end; the n-gram cannot be told.
The figure "form given" grants it the same and more: separators and end cost nothing where the form dictates them, and
everywhere else they are ruled out and the other symbols share their probability.

    python scripts/ngram_floor.py --order 4
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.errors import ConfigError
from zhseq.poetry.forms import UNKNOWN_BITS, encode_poems
from zhseq.recipes.poem import PoemDataConfig, build_vocab, select_dev
from zhseq.text.normalize import codepoints, is_han
from zhseq.text.vocab import LINE, Vocab

if TYPE_CHECKING:
    from datasets import Dataset

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NO_LIMIT = 1 << 30
USUAL_DISCOUNTS = (0.5, 1.0, 1.5)
"""For n-grams seen once, twice and more often, where the counts are too few to estimate them."""


def estimate_discounts(counts: Ids) -> Floats:
    """Estimate what to take off the counts of n-grams, shape (4,): off counts of 0, 1, 2, and 3 or more.

    Args:
        counts: How often each n-gram occurs, above 0.

    Source: Chen & Goodman 1998, section 3.
    """
    seen = np.array([np.count_nonzero(counts == count) for count in range(1, 5)], dtype=np.float64)
    sizes = np.arange(1, 4)
    if seen.all():
        discounts = sizes - (sizes + 1) * seen[0] / (seen[0] + 2 * seen[1]) * seen[1:] / seen[:3]
        if (discounts >= 0).all():
            return np.concatenate([[0.0], discounts])
    return np.array([0.0, *USUAL_DISCOUNTS])


class Level:
    """All n-grams of one length as sorted codes with running sums: a context is a range, its sums are differences."""

    def __init__(self, codes: Ids) -> None:
        """Count.

        Args:
            codes: One code for each event, in any order; sorted in place.
        """
        codes.sort()
        starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]])[: len(codes)])
        counts = np.diff(starts, append=len(codes))
        self.codes: Ids = codes[starts]
        self.discounts = estimate_discounts(counts)
        self.ends: Ids = np.append(starts, len(codes))
        self.ones, self.twos = (
            np.concatenate([[0], np.cumsum(counts == count, dtype=np.int32)], dtype=np.int32) for count in (1, 2)
        )

    def counts(self, places: Ids) -> Ids:
        """Return the counts of the n-grams at these places."""
        return self.ends[places + 1] - self.ends[places]

    def discounted(self, places: Ids) -> Floats:
        """Return what remains of the counts of the n-grams at these places."""
        counts = self.counts(places)
        return counts - self.discounts[np.minimum(counts, 3)]

    def sums(self, begins: Ids, ends: Ids) -> tuple[Ids, Floats]:
        """Return for ranges of n-grams the sum of their counts, and of what was taken off them."""
        ones, twos = (sums[ends].astype(np.int64) - sums[begins] for sums in (self.ones, self.twos))
        off = np.stack([ones, twos, ends - begins - ones - twos], axis=-1) @ self.discounts[1:]
        return self.ends[ends] - self.ends[begins], off


class KneserNey:
    """Interpolated modified Kneser-Ney n-gram over integer symbols.

    An n-gram is one integer, its last symbol in the lowest bits. A symbol of its own stands before the first symbol of
    a text, once: contexts at the beginning of a text are short, and their counts are those of texts, not of
    continuations, since nothing can precede them.

    Source: Chen & Goodman 1998, section 3. Differs: the unigrams are interpolated with the uniform distribution, so
    that every symbol has a probability.
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        """Create an untrained model.

        Raises:
            ConfigError: The order is not positive, or an n-gram does not fit into 62 bits.
        """
        self.order, self.vocab_size = order, vocab_size
        self.begin = vocab_size
        self.bits = vocab_size.bit_length()
        if order < 1 or order * self.bits > 62:
            raise ConfigError(
                "order", "the order must lie in 1 to {most}, but is {order}", most=62 // self.bits, order=order
            )
        self.levels: list[Level] = []

    def codes(self, ids: Ids, offsets: Ids) -> Ids:
        """Return for each symbol the code of itself and the `order` - 1 before it in its text, shape (symbols,)."""
        places = _places(offsets)
        codes = np.zeros(len(ids), dtype=np.int64)
        for distance in range(self.order):
            before = np.where(places < distance, self.begin, np.roll(ids, distance))
            codes |= before << (distance * self.bits)
        return codes

    def fit(self, ids: Ids, offsets: Ids) -> KneserNey:
        """Count the n-grams of texts, replacing what was counted before.

        Args:
            ids: Symbols of all texts one after the other, (symbols,), each in 0 to `vocab_size` - 1.
            offsets: Where each text begins, and the end, (texts + 1,).

        Returns:
            Itself.

        Raises:
            ValueError: There are no symbols, or one is out of range.
        """
        if not len(ids) or ids.min() < 0 or ids.max() >= self.vocab_size:
            raise ValueError(f"expected at least one symbol, all in 0 to {self.vocab_size - 1}")
        codes = self.codes(ids, offsets)
        places = _places(offsets)
        opening = [codes[places == place] for place in range(self.order - 2)]  # begin with the symbol of the beginning
        levels = [Level(codes[places >= self.order - 2])]
        del codes, places
        for length in range(self.order - 1, 0, -1):
            # A shorter n-gram counts once for each symbol seen before it; at the beginning of a text, for each text.
            events = self._last(levels[-1].codes, length)
            if length >= 2:
                events = np.concatenate([events, self._last(opening[length - 2], length)])
            levels.append(Level(events))
        self.levels = levels[::-1]
        return self

    def probabilities(self, codes: Ids) -> Floats:
        """Return the probability of the last symbol of each code after the ones before it, shape as given."""
        result = np.full(len(codes), 1 / self.vocab_size)
        for length, level in enumerate(self.levels, 1):
            if not len(level.codes):
                break  # all texts were shorter
            ngrams = self._last(codes, length)
            begins, ends = self._range(level, ngrams >> self.bits)
            totals, off = level.sums(begins, ends)
            places = np.minimum(np.searchsorted(level.codes, ngrams), len(level.codes) - 1)
            own = np.where(level.codes[places] == ngrams, level.discounted(places), 0.0)
            result = np.where(totals > 0, (own + off * result) / np.maximum(totals, 1), result)
        return result

    def log2_probabilities(self, ids: Ids, offsets: Ids) -> Floats:
        """Return the binary logarithm of the probability of every symbol of some texts, (symbols,); as in `fit`."""
        return np.log2(self.probabilities(self.codes(ids, offsets)))

    def distribution(self, context: Sequence[int]) -> Floats:
        """Return the probability of every symbol after `context`, the text so far (its end is enough), (vocab,)."""
        text = np.array([*context, 0], dtype=np.int64)
        code = self.codes(text, np.array([0, len(text)]))[-1:]
        result = np.full(self.vocab_size, 1 / self.vocab_size)
        for length, level in enumerate(self.levels, 1):
            begins, ends = self._range(level, self._last(code, length) >> self.bits)
            if begins[0] == ends[0]:
                break  # a longer context cannot have been seen either
            totals, off = level.sums(begins, ends)
            seen = np.arange(begins[0], ends[0])
            result *= off / totals
            result[self._last(level.codes[seen], 1)] += level.discounted(seen) / totals
        return result

    def replace_last(self, codes: Ids, symbol: int) -> Ids:
        """Return the codes with another last symbol."""
        return codes >> self.bits << self.bits | symbol

    def _last(self, codes: Ids, length: int) -> Ids:
        return codes & ((1 << (length * self.bits)) - 1)

    def _range(self, level: Level, contexts: Ids) -> tuple[Ids, Ids]:
        begins = np.searchsorted(level.codes, contexts << self.bits)
        return begins, np.searchsorted(level.codes, (contexts + 1) << self.bits)


def _places(offsets: Ids) -> Ids:
    """Return the place of each symbol in its text."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


@dataclass(frozen=True)
class Floor:
    """Bits of an n-gram on poems; a character that the vocabulary lacks costs `<unk>` and `UNKNOWN_BITS`."""

    bits_per_han: float
    """Everything that must be produced: characters, separators, end; for each Han character."""
    form_given: float
    """The same where the form dictates separators and end: they are free, and ruled out elsewhere."""
    han_alone: float
    """Han characters only, the form unknown."""
    per_symbol: float
    """Everything, for each symbol."""
    han: int
    symbols: int
    unknown: int


def evaluate(model: KneserNey, vocab: Vocab, poems: Sequence[Sequence[str]]) -> Floor:
    """Score poems, given as normalised lines without punctuation."""
    ids, offsets = encode_poems(vocab, poems, NO_LIMIT)
    han = is_han(codepoints("".join("\n".join(lines) + "\n" for lines in poems)))
    codes = model.codes(ids, offsets)
    line, end = vocab.id(LINE), vocab.eos_id
    unknown = ids == vocab.unk_id
    bits = -np.log2(model.probabilities(codes)) + UNKNOWN_BITS * unknown
    inside = (ids != line) & (ids != end)
    others = 1 - sum(model.probabilities(model.replace_last(codes[inside], mark)) for mark in (line, end))
    total = han.sum()
    return Floor(
        bits_per_han=float(bits.sum() / total),
        form_given=float((bits[inside] + np.log2(others)).sum() / total),
        han_alone=float(bits[han].sum() / total),
        per_symbol=float(bits.mean()),
        han=int(total),
        symbols=len(ids),
        unknown=int(unknown.sum()),
    )


def train(poems: Dataset, order: int, limit: int | None) -> tuple[KneserNey, Vocab, int]:
    """Train on poems, or on `limit` of them spread evenly; return also the vocabulary of all and the symbols read."""
    vocab, size = build_vocab(poems, PoemDataConfig())
    if limit is not None and limit < len(poems):
        poems = poems.select(np.linspace(0, len(poems) - 1, limit).astype(np.int64))
    ids, offsets = encode_poems(vocab, poems["lines"], NO_LIMIT)
    return KneserNey(order, size).fit(ids, offsets), vocab, len(ids)


def commit() -> str:
    """Return the commit of this source tree, marked if files have changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--order", type=int, default=4, help="symbols in the longest n-gram")
    parser.add_argument("--dev-poems", type=int, default=PoemDataConfig.dev_poems, help="poems to score")
    parser.add_argument("--limit", type=int, help="train on so many poems only, spread evenly over the corpus")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    for name, value in (("--dev-poems", options.dev_poems), ("--limit", options.limit)):
        if value is not None and value < 1:
            raise ConfigError("too_small", "{name} must be at least 1, but is {value}", name=name, value=value)
    begin = time.perf_counter()
    poems = load_poems()
    model, vocab, symbols = train(select_split(poems, "train"), options.order, options.limit)
    dev = list(select_dev(select_split(poems, "dev"), options.dev_poems)["lines"])
    report = {
        **vars(evaluate(model, vocab, dev)),
        "poems": len(dev),
        "order": options.order,
        "vocab_size": model.vocab_size,
        "training_symbols": symbols,
        "ngrams": [len(level.codes) for level in model.levels],
        "discounts": [level.discounts[1:].round(3).tolist() for level in model.levels],
        "seconds": time.perf_counter() - begin,
        "processor_seconds": time.process_time(),
        "commit": commit(),
    }
    if options.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:<18}" + (f"{value:.3f}" if isinstance(value, float) else str(value)))
    return 0


if __name__ == "__main__":
    run_main(main)
