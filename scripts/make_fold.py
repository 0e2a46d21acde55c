"""Write `zhseq/text/fold.tsv`: OpenCC's simplified form of each traditional character, one character at a time.

    python scripts/make_fold.py

Releases of OpenCC differ in hundreds of characters, and a model reads text as it was folded in its training: so the
fold is data of zhseq, made once, and does not change with what is installed. Run this only together with new models.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from zhseq.text.normalize import HAN_RANGES

TARGET = Path(__file__).resolve().parent.parent / "zhseq" / "text" / "fold.tsv"


def pairs() -> list[tuple[str, str]]:
    """Return the characters that OpenCC changes, with their simplified form, by code point."""
    from opencc import OpenCC

    converter = OpenCC("t2s")
    characters = [chr(point) for first, end in HAN_RANGES for point in range(first, end)]
    # Each character stands on a line of its own, so that no phrase rule of OpenCC can apply.
    folded = converter.convert("\n".join(characters)).split("\n")
    return [(old, new) for old, new in zip(characters, folded, strict=True) if old != new and len(new) == 1]


def main() -> None:
    """Write the table."""
    head = f"# traditional\tsimplified\n# Made by scripts/make_fold.py with OpenCC {version('opencc')} (Apache-2.0).\n"
    TARGET.write_text(head + "".join(f"{old}\t{new}\n" for old, new in pairs()), encoding="utf-8")


if __name__ == "__main__":
    main()
