"""Cut texts into sentences, and long ones into pieces that a model reads at once."""

from __future__ import annotations

import re

# A sentence ends after a run of final marks and any closing quotes or brackets behind it; a line break ends it too.
_SENTENCE = re.compile(r"[^。！？!?；;…\n]*(?:\n|[。！？!?；;…]+[”’」』）)】》\"']*\n?|$)")
_CLAUSE_END = re.compile(r"[,，、:：\s]")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Split at final punctuation and line breaks.

    Returns:
        Half-open spans (start, end) in code points of `text`, in order, none empty, that together cover all of it.
    """
    return [match.span() for match in _SENTENCE.finditer(text) if match.end() > match.start()]


def cut_pieces(text: str, limit: int) -> list[tuple[int, int]]:
    """Cut a text into pieces of at most `limit` characters: after sentences, else commas or blanks, else anywhere.

    Returns:
        Half-open spans in code points of `text`, in order, none empty, that together cover all of it.
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
    """Widen pieces by `overlap` characters where they were cut within running text, so that a word there is seen whole.

    Args:
        text: The text.
        pieces: What `cut_pieces` returns.
        overlap: Characters to add on each side of such a cut.

    Returns:
        For each piece the half-open span to read, which contains it.
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
    """Tell whether a cut after this character may lie inside of a word."""
    return last.isalnum()
