"""Vocabularies: map characters and named symbols to ids and back, with one numpy table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zhseq.errors import CheckpointError
from zhseq.text.normalize import CodePoints, codepoints

Ids = npt.NDArray[np.int64]

PAD, UNK, BOS, EOS = "<pad>", "<unk>", "<bos>", "<eos>"
SPECIALS = (PAD, UNK, BOS, EOS)
LINE = "<line>"
"""Symbol between two lines of a poem, or of any text in which line breaks are meaningful."""
_BLOCK = 100_000  # texts that are counted with one numpy call


class Vocab:
    """An ordered set of symbols; the id of a symbol is its position.

    The first four symbols are always `<pad>`, `<unk>`, `<bos>` and `<eos>`. `encode` maps the characters of a text to
    symbols of one character; longer symbols (`<line>`, `<form:七绝>`) are accessible by name only.
    """

    pad_id, unk_id, bos_id, eos_id = range(len(SPECIALS))

    def __init__(self, symbols: Sequence[str]) -> None:
        """Create from all symbols in order, the specials first.

        Raises:
            ValueError: The specials are not at the front, or a symbol is empty or occurs twice.
        """
        if tuple(symbols[: len(SPECIALS)]) != SPECIALS:
            raise ValueError(f"a vocabulary must begin with {SPECIALS}, but begins with {tuple(symbols[:4])}")
        self._symbols = tuple(symbols)
        self._ids = {symbol: index for index, symbol in enumerate(self._symbols)}
        if len(self._ids) != len(self._symbols) or "" in self._ids:
            raise ValueError("a vocabulary holds each symbol once and no empty symbol")
        characters = [(ord(symbol), index) for symbol, index in self._ids.items() if len(symbol) == 1]
        # All characters above the highest known one share one entry after it.
        self._limit = max((point for point, _ in characters), default=0) + 1
        self._table = np.full(self._limit + 1, self.unk_id, dtype=np.int64)
        for point, index in characters:
            self._table[point] = index

    @classmethod
    def build(cls, texts: Iterable[str], max_size: int, *, symbols: Sequence[str] = ()) -> Vocab:
        """Build a vocabulary of the most frequent characters of `texts`.

        Args:
            texts: Normalised texts; may be an iterator over a large corpus.
            max_size: Maximum number of symbols, specials included.
            symbols: Named symbols, which follow the specials.
        """
        counts = np.zeros(0x110000, dtype=np.int64)
        remaining = iter(texts)
        while block := list(islice(remaining, _BLOCK)):
            counts += np.bincount(codepoints("".join(block)), minlength=len(counts))
        order = np.lexsort((np.arange(len(counts)), -counts))
        room = max_size - len(SPECIALS) - len(symbols)
        chosen = [chr(point) for point in order[: max(room, 0)].tolist() if counts[point]]
        return cls([*SPECIALS, *symbols, *chosen])

    def __len__(self) -> int:
        return len(self._symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocab) and self._symbols == other._symbols

    def __hash__(self) -> int:
        return hash(self._symbols)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols in the order of their ids."""
        return self._symbols

    def id(self, symbol: str) -> int:
        """Return the id of a symbol, or `unk_id`."""
        return self._ids.get(symbol, self.unk_id)

    def symbol(self, index: int) -> str:
        """Return the symbol with this id."""
        return self._symbols[index]

    def encode(self, text: str) -> Ids:
        """Return the id of each code point of `text`, shape (characters,), dtype int64; `unk_id` if unknown."""
        return self.encode_points(codepoints(text))

    def encode_points(self, points: CodePoints) -> Ids:
        """Return the id of each code point, (characters,), as `encode` does."""
        return self._table[np.minimum(points, self._limit)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the concatenated symbols of `ids`."""
        return "".join(self._symbols[index] for index in ids)

    def save(self, path: Path) -> None:
        """Write one symbol per line, with blanks, control characters and backslashes as Python escapes."""
        path.write_text("".join(escape(symbol) + "\n" for symbol in self._symbols), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocab:
        """Read the file written by `save`.

        Raises:
            CheckpointError: The file is missing or is not a vocabulary.
        """
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            return cls([unescape(line) for line in lines if line])
        except (OSError, ValueError) as error:
            raise CheckpointError(
                "no_vocabulary",
                "{path} is not a vocabulary file ({error}); fetch the checkpoint again",
                path=path,
                error=error,
            ) from error


def escape(symbol: str) -> str:
    """Escape a symbol for a file with one symbol per line."""
    if symbol.isprintable() and "\\" not in symbol and symbol != " ":
        return symbol
    return "".join(f"\\U{ord(character):08x}" for character in symbol)


def unescape(line: str) -> str:
    """Return the symbol of a line written with `escape`."""
    return line.encode("ascii").decode("unicode_escape") if line.startswith("\\") else line
