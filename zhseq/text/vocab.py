"""Turn characters and named symbols into ids and back, by one numpy table."""

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
"""Symbol between two lines of a poem, or of any text whose lines tell something."""
_BLOCK = 100_000  # texts counted at a time: few enough to hold, many enough that the count is one numpy call


class Vocab:
    """An ordered set of symbols; a symbol's id is its position.

    The first four symbols are always `<pad>`, `<unk>`, `<bos>` and `<eos>`. A symbol of one character is found in text
    by `encode`; longer symbols (`<line>`, `<form:七绝>`) are never found in text, only by name.
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
        # One slot past the highest known character stands for every character above it.
        self._limit = max((point for point, _ in characters), default=0) + 1
        self._table = np.full(self._limit + 1, self.unk_id, dtype=np.int64)
        for point, index in characters:
            self._table[point] = index

    @classmethod
    def build(cls, texts: Iterable[str], max_size: int, *, symbols: Sequence[str] = ()) -> Vocab:
        """Make a vocabulary of the most frequent characters of `texts`.

        Args:
            texts: Normalised texts; counted in blocks, so an iterator over a large corpus will do.
            max_size: Most symbols in all, specials included.
            symbols: Named symbols that come right after the specials.
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
        """Return one id for each code point of `text`, shape (characters,), dtype int64; unknown ones get `unk_id`."""
        return self.encode_points(codepoints(text))

    def encode_points(self, points: CodePoints) -> Ids:
        """Return one id for each code point, as `encode` does."""
        return self._table[np.minimum(points, self._limit)]

    def decode(self, ids: Iterable[int]) -> str:
        """Join the symbols of `ids`."""
        return "".join(self._symbols[index] for index in ids)

    def save(self, path: Path) -> None:
        """Write one symbol a line; blanks, control characters and backslashes as Python escapes."""
        path.write_text("".join(escape(symbol) + "\n" for symbol in self._symbols), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocab:
        """Read what `save` wrote.

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
    """Return the symbol as it stands in a list with one symbol a line."""
    if symbol.isprintable() and "\\" not in symbol and symbol != " ":
        return symbol
    return "".join(f"\\U{ord(character):08x}" for character in symbol)


def unescape(line: str) -> str:
    """Return the symbol that a line of such a list stands for."""
    return line.encode("ascii").decode("unicode_escape") if line.startswith("\\") else line
