"""Length-preserving normalisation: each character is replaced by exactly one, so offsets remain valid.

The normalisation maps full-width forms to ASCII, blanks to U+0020, traditional to simplified characters (`fold.tsv`,
derived from OpenCC's table), variant characters to standard ones (`variants.tsv`), and corner brackets to the quotation
marks of simplified text. An offset in the normalised text is the same offset in the original text.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib import resources
from itertools import pairwise

import numpy as np
import numpy.typing as npt

CodePoints = npt.NDArray[np.uint32]

_UNICODE_SIZE = 0x110000
HAN_RANGES = ((0x3400, 0xA000), (0x20000, 0x32400))
"""Code points of Chinese characters, half-open, without 〇 and compatibility characters."""
_COMPATIBILITY_RANGES = ((0xF900, 0xFB00), (0x2F800, 0x2FA20))
_QUOTES = {"「": "“", "」": "”", "『": "‘", "』": "’", "﹁": "“", "﹂": "”", "﹃": "‘", "﹄": "’", "〝": "“", "〞": "”"}
_BLANKS = "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"


def codepoints(text: str) -> CodePoints:
    """Return the code points of `text`, shape (characters,), dtype uint32. Lone surrogates are kept as they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def from_codepoints(points: CodePoints) -> str:
    """Return the string of code points, (characters,); the inverse of `codepoints`."""
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def normalize(text: str) -> str:
    """Fold width, script and variants character by character. The result has the length of `text` and is idempotent."""
    return from_codepoints(folded(text))


def folded(text: str) -> CodePoints:
    """Return the code points of the normalised text, (characters,) uint32."""
    return _table()[codepoints(text)]


def printed(text: str) -> str:
    """Restore characters that normalisation merged but simplified editions distinguish, by word: 干坤 becomes 乾坤.

    Other words are unchanged (干戈). The table `spelling.tsv` is made by `scripts/learn_spelling.py`. The result has
    the length of `text`.
    """
    single, words, choices = _spelling()
    result = [single.get(character, character) for character in text]
    for start, pair in enumerate(map("".join, pairwise(text))):
        if pair in words:
            for side in (0, 1):
                if pair[side] in choices:
                    result[start + side] = words[pair][side]
    return "".join(result)


def is_han(points: CodePoints) -> npt.NDArray[np.bool_]:
    """Return which code points are Chinese characters (including 〇), shape as given, dtype bool."""
    basic = (points >= 0x3400) & (points < 0xA000)
    compatibility = (points >= 0xF900) & (points < 0xFB00)
    extended = (points >= 0x20000) & (points < 0x32400)
    return np.asarray(basic | compatibility | extended | (points == 0x3007))


def blanks(points: CodePoints) -> npt.NDArray[np.bool_]:
    """Return which code points are white space by `str.isspace`, shape as given, dtype bool."""
    return np.asarray(_is_blank()[np.minimum(points, _AFTER_BLANKS)])


_AFTER_BLANKS = 0x3001


@lru_cache(maxsize=1)
def _is_blank() -> npt.NDArray[np.bool_]:
    return np.array([chr(point).isspace() for point in range(_AFTER_BLANKS + 1)])


@lru_cache(maxsize=1)
def _table() -> CodePoints:
    """Build the lookup table, shape (0x110000,), dtype uint32: code point -> normalised code point."""
    table = np.arange(_UNICODE_SIZE, dtype=np.uint32)
    table[0xFF01:0xFF5F] = np.arange(0x21, 0x7F)
    for blank in _BLANKS:
        table[ord(blank)] = 0x20
    for mark, folded in _QUOTES.items():
        table[ord(mark)] = ord(folded)
    for first, end in _COMPATIBILITY_RANGES:
        for point in range(first, end):
            folded = unicodedata.normalize("NFKC", chr(point))
            if len(folded) == 1:
                table[point] = ord(folded)
    for traditional, simplified in _pairs("fold.tsv"):
        table[ord(traditional)] = ord(simplified)
    for variant, canonical in _pairs("variants.tsv"):
        table[ord(variant)] = table[ord(canonical)]
    # Follow chains (variant -> traditional -> simplified) to their end, so that normalisation is idempotent.
    for _ in range(3):
        table = table[table]
    table.flags.writeable = False
    return table


@lru_cache(maxsize=1)
def _spelling() -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """Return the replacements of single characters and of two-character words, and the ambiguous characters."""
    rows = _pairs("spelling.tsv")
    single = {old: new for old, new in rows if len(old) == 1}
    words = {old: new for old, new in rows if len(old) == 2}
    differing = {a for old, new in words.items() for a, b in zip(old, new, strict=True) if a != b}
    return single, words, frozenset(differing | single.keys())


def _pairs(name: str) -> list[tuple[str, str]]:
    """Read a two-column table of this package: text and replacement."""
    text = resources.files("zhseq.text").joinpath(name).read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return [(row[0], row[1]) for row in rows]
