"""How does the checker read the poems of the corpora that it did not learn from?

    python scripts/judge_corpus.py --form 七律 --dynasty 明 清

Printed are, of the poems of a form: how many are read as regulated verse without a fault, with one at most and with
two at most, how many read as verse in the old style or as prose, which faults there are, and the characters that are
blamed most often, which are wrong readings if they are blamed in many poems.

With `--rhyme-book FILE`, the JSON file that `scripts/check_prosody.py` takes, the same checker reads them once more by
the tones and rhymes of a book, and says how far both are apart.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.errors import InputError
from zhseq.poetry.faults import Review
from zhseq.poetry.prosody import Prosody, Tone
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.prosody.prosody import RhymeGroup, ToneTable
from zhseq.poetry.regulated import OLD_STYLE, PROSE
from zhseq.poetry.review import review
from zhseq.text.normalize import normalize

MOST_FAULTS = 2
SHOWN = 25


def poems_of(form: str, dynasties: Sequence[str], split: str) -> list[str]:
    """Return the poems of a form, of all dynasties if none is named."""
    table = (
        select_split(load_poems(), split).select_columns(["form", "dynasty", "lines", "marks"]).with_format("arrow")[:]
    )
    columns = (table[name].to_pylist() for name in ("form", "dynasty", "lines", "marks"))
    return [
        "".join(line + mark for line, mark in zip(lines, marks, strict=True))
        for found, dynasty, lines, marks in zip(*columns, strict=True)
        if found == form and (not dynasties or dynasty in dynasties)
    ]


def judge(poems: Iterable[str], prosody: Prosody) -> list[Review]:
    """Judge poems; what is no poem to the checker is left out."""
    found = []
    for poem in poems:
        try:
            found.append(review(poem, prosody))
        except InputError as error:  # noqa: PERF203 - a poem at a time
            print(f"  {poem}: {error}")
    return found


def by_book(learned: Prosody, book: Mapping[str, str]) -> Prosody:
    """Return the tones and rhymes of a book for the characters that were learned; one that it lacks may stand anywhere.

    Args:
        learned: Whose characters, tunes and rhymes of ci are taken.
        book: `level NAME` and `oblique NAME` (or `rising`, `departing`, `entering`) -> characters.
    """
    groups = []
    for number, (name, members) in enumerate(book.items()):
        folded = "".join(dict.fromkeys(normalize(members)))
        tone = Tone.LEVEL if name.startswith("level ") else Tone.OBLIQUE
        groups.append(RhymeGroup(number, folded[0], tone, folded, folded))
    known = {tone: {one for group in groups if group.tone is tone for one in group.characters} for tone in Tone}
    characters = learned.table.characters
    level = np.array([0.5 + ((one in known[Tone.LEVEL]) - (one in known[Tone.OBLIQUE])) / 2 for one in characters])
    classes = "".join({1.0: "平", 0.5: "中", 0.0: "仄"}[share] for share in level.tolist())
    table = ToneTable(characters, level.astype(np.float32), classes, np.ones(len(characters), dtype=bool))
    return Prosody(table, groups, learned.tunes, lyric=learned.lyric())


def share_of(found: Sequence[Review], most: int) -> float:
    """Return the share of poems that are read as regulated verse with so many faults at most."""
    regulated = [each for each in found if not each.pattern.startswith((OLD_STYLE, PROSE))]
    return sum(len(each.faults) <= most for each in regulated) / len(found)


def report(found: Sequence[Review]) -> None:
    """Print how the poems are read."""
    regulated = [each for each in found if not each.pattern.startswith((OLD_STYLE, PROSE))]
    print(f"{len(found):,} poems")
    for most in range(MOST_FAULTS + 1):
        print(f"  regulated with at most {most} faults: {100 * share_of(found, most):.2f} %")
    for pattern in (OLD_STYLE, PROSE):
        count = sum(each.pattern.startswith(pattern) for each in found)
        print(f"  read as {pattern}: {100 * count / len(found):.2f} %")
    faults = [fault for each in regulated for fault in each.faults]
    print("faults", dict(Counter(fault.code for fault in faults).most_common()))
    for code in ("wrong_tone", "no_rhyme"):
        blamed = Counter(f"{fault.character}{fault.expected}" for fault in faults if fault.code == code)
        print(code, " ".join(f"{name} {count}" for name, count in blamed.most_common(SHOWN)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Judge held-out poems.")
    parser.add_argument("--prosody", type=Path, default=Path("checkpoints/poem"), help="directory of prosody.json")
    parser.add_argument("--form", default="七律", choices=FORM_SHAPES, help="default: 七律")
    parser.add_argument("--dynasty", nargs="*", default=[], help="default: all")
    parser.add_argument("--split", default="dev", choices=("train", "dev", "test"), help="default: dev")
    parser.add_argument("--rhyme-book", type=Path, metavar="FILE", help="JSON of rhymes to judge by as well")
    options = parser.parse_args(arguments)
    poems = poems_of(options.form, options.dynasty, options.split)
    if not poems:
        parser.error(f"the part {options.split} has no {options.form} of {' '.join(options.dynasty)}")
    prosody = Prosody.load(options.prosody)
    learned = judge(poems, prosody)
    report(learned)
    if options.rhyme_book is not None:
        print(f"by {options.rhyme_book.name}")
        book = judge(poems, by_book(prosody, json.loads(options.rhyme_book.read_text(encoding="utf-8"))))
        report(book)
        apart = 100 * (share_of(learned, 1) - share_of(book, 1))
        print(f"regulated with at most 1 fault as learned, above the book: {apart:.2f} points")
    return 0


if __name__ == "__main__":
    run_main(main)
