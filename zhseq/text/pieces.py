"""Cutting long texts into pieces that a model reads at once."""

from __future__ import annotations

import re

from zhseq.text.sentences import split_sentences

_CLAUSE = re.compile(r"[,，、:：\s]")


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
            marks = [match.end() for match in _CLAUSE.finditer(text, start + limit // 2, start + limit)]
            stop = marks[-1] if marks else start + limit
            pieces.append((start, stop))
            start = stop
        pieces.append((start, end))
    return pieces
