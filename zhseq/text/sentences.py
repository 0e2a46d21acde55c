"""Sentence splitting by punctuation, as half-open spans of the original text."""

from __future__ import annotations

import re

# A sentence ends after a run of final marks and any closing quotes or brackets behind it; a line break ends it too.
_SENTENCE = re.compile(r"[^。！？!?；;…\n]*(?:\n|[。！？!?；;…]+[”’」』）)】》\"']*\n?|$)")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Split at final punctuation and line breaks.

    Returns:
        Half-open spans (start, end) in code points of `text`, in order, none empty, that together cover all of it.
    """
    return [match.span() for match in _SENTENCE.finditer(text) if match.end() > match.start()]
