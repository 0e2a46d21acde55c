"""Write `zhseq/serve/page/names.js`: how the characters of tunes and authors sound, and how they are written otherwise.

    python scripts/make_names.py   # needs the extra prosody (pypinyin); again for a model that knows other names

The page finds a name by its sound (`huanxisha`, `hxs`) and in traditional characters with it, without asking anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from zhseq.poetry.poet import Poet
from zhseq.poetry.prosody.books import other_names as tune_names
from zhseq.poetry.wishes import other_names as author_names
from zhseq.text.normalize import _pairs, normalize

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "checkpoints" / "poem"
PAGE = ROOT / "zhseq" / "serve" / "page"
TARGET = PAGE / "names.js"
WIDTH = 116


def names(model: Path) -> list[str]:
    """Return the tunes and authors that a poem model knows, and other names for them."""
    poet = Poet.load(model)
    of_authors = author_names()
    known = [*poet.tunes, *poet.authors]
    return [*known, *(other for name in known for other in (*tune_names(name), *of_authors.get(name, ())))]


def sounds(found: Iterable[str]) -> dict[str, set[str]]:
    """Return the syllables of each character: as read by itself, and as read in these names."""
    from pypinyin import Style, lazy_pinyin, pinyin

    result: dict[str, set[str]] = defaultdict(set)
    for name in found:
        for character, syllable in zip(name, lazy_pinyin(name, v_to_u=False), strict=True):
            readings = pinyin(character, style=Style.NORMAL, heteronym=True)[0]
            result[character] |= {syllable, *(readings[:2])}
    return result


def packed(rows: Iterable[str]) -> list[str]:
    """Set short rows side by side, as string literals."""
    lines = [""]
    for row in rows:
        if len(lines[-1]) + len(row) + 1 > WIDTH - 8:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + row
    return [f'  "{line}",' for line in lines]


def main() -> None:
    """Write the tables."""
    found = names(MODEL)
    by_sound: dict[str, set[str]] = defaultdict(set)
    for character, syllables in sounds(found).items():
        for syllable in syllables:
            if syllable.isascii() and syllable.isalpha():
                by_sound[syllable].add(character)
    here = set("".join(found))
    folds = defaultdict(set)
    for table in ("fold.tsv", "variants.tsv"):
        for other, _ in _pairs(table):
            if normalize(other) in here and other not in here:
                folds[normalize(other)].add(other)
    text = [
        "// How the characters of tunes and authors sound, and how else they are written.",
        "// Made by scripts/make_names.py; do not edit.",
        "",
        "/** A syllable, and the characters that sound so. */",
        "export const SOUNDS = [",
        *packed(f"{sound}:{''.join(sorted(by_sound[sound]))}" for sound in sorted(by_sound)),
        '].join(" ");',
        "",
        "/** A character, and its traditional and variant forms. */",
        "export const FORMS = [",
        *packed(f"{character}:{''.join(sorted(folds[character]))}" for character in sorted(folds)),
        '].join(" ");',
        "",
    ]
    TARGET.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
