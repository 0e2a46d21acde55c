"""Split texts into sentences, and long texts into pieces of limited length."""

from __future__ import annotations

import re

# A sentence ends after final punctuation and any closing quotation marks or brackets, and at a line break.
_SENTENCE = re.compile(r"[^。！？!?；;…\n]*(?:\n|[。！？!?；;…]+[”’」』）)】》\"']*\n?|$)")
_CLAUSE_END = re.compile(r"[,，、:：\s]")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Split at final punctuation and line breaks.

    Returns:
        Half-open, non-empty spans (start, end) in code points of `text`, in order, that cover the whole text.
    """
    return [match.span() for match in _SENTENCE.finditer(text) if match.end() > match.start()]


def cut_pieces(text: str, limit: int) -> list[tuple[int, int]]:
    """Split a text into pieces of at most `limit` characters: after sentences, else after commas or blanks.

    A run of half of `limit` without such punctuation is split after `limit` characters.

    Returns:
        Half-open, non-empty spans (start, end) in code points of `text`, in order, that cover the whole text.
    """
    if len(text) <= limit:
        return [(0, len(text))] if text else []
    pieces: list[tuple[int, int]] = []
    for start, end in split_sentences(text):
        if pieces and end - pieces[-1][0] <= limit:
            pieces[-1] = (pieces[-1][0], end)
            continue
        while end - start > limit:
            marks = [match.end() for match in _CLAUSE_END.finditer(text, start + limit // 2, start + limit)]
            stop = marks[-1] if marks else start + limit
            pieces.append((start, stop))
            start = stop
        pieces.append((start, end))
    return pieces


def with_context(text: str, pieces: list[tuple[int, int]], overlap: int) -> list[tuple[int, int]]:
    """Extend pieces by context on both sides of a cut that may be inside a word.

    Args:
        text: The text.
        pieces: Pieces as returned by `cut_pieces`.
        overlap: Characters of context on each side of such a cut.

    Returns:
        For each piece the half-open span to read, which contains the piece.
    """
    if not pieces:
        return []
    hard = [_is_hard(text[end - 1]) for _, end in pieces[:-1]]
    before = [False, *hard]
    after = [*hard, False]
    return [
        (max(0, start - overlap) if left else start, min(len(text), end + overlap) if right else end)
        for (start, end), left, right in zip(pieces, before, after, strict=True)
    ]


def _is_hard(last: str) -> bool:
    """Return whether a cut after this character may be inside a word."""
    return last.isalnum()
