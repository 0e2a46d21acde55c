"""From ids back to text: given characters as the user wrote them, traditional script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor

from zhseq.text.vocab import Vocab


def to_text(vocab: Vocab, ids: Tensor, given: Sequence[Sequence[str]], *, traditional: bool) -> tuple[str, ...]:
    """Turn one poem into lines.

    Args:
        vocab: The model's vocabulary.
        ids: (lines, longest line) int64.
        given: Characters that stand as they are, see `Draft.given`.
        traditional: Write the others in traditional script.
    """
    # A given character that the vocabulary lacks is held by a placeholder until it is put back.
    lines = [
        "".join(symbol if len(symbol := vocab.symbol(index)) == 1 else "□" for index in line[: len(places)])
        for line, places in zip(ids.tolist(), given, strict=True)
    ]
    written = to_traditional(lines) if traditional else lines
    return tuple(
        "".join(kept or character for kept, character in zip(places, line, strict=True))
        for places, line in zip(given, written, strict=True)
    )


def to_traditional(lines: Sequence[str]) -> list[str]:
    """Return lines in traditional characters, by phrase where that keeps their length, else by character."""
    converter = _converter()
    converted = [(line, converter.convert(line)) for line in lines]
    return [
        new if len(new) == len(line) else "".join(converter.convert(character)[0] for character in line)
        for line, new in converted
    ]


@lru_cache(maxsize=1)
def _converter() -> Any:
    """Return what turns simplified phrases into traditional ones; its dictionaries are slow to load."""
    from opencc import OpenCC

    return OpenCC("s2t")
