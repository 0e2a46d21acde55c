"""How does the checker read the poems of the corpora that it did not learn from?

    python scripts/judge_corpus.py --form 七律 --dynasty 明 清

Printed are, of the poems of a form: how many are read as regulated verse without a fault, with one at most and with
two at most, how many read as verse in the old style or as prose, which faults there are, and the characters that are
blamed most often, which are wrong readings if they are blamed in many poems.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.errors import InputError
from zhseq.poetry.faults import Review
from zhseq.poetry.prosody import Prosody
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.regulated import OLD_STYLE, PROSE
from zhseq.poetry.review import review

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


def report(found: Sequence[Review]) -> None:
    """Print how the poems are read."""
    regulated = [each for each in found if not each.pattern.startswith((OLD_STYLE, PROSE))]
    print(f"{len(found):,} poems")
    for most in range(MOST_FAULTS + 1):
        count = sum(len(each.faults) <= most for each in regulated)
        print(f"  regulated with at most {most} faults: {100 * count / len(found):.2f} %")
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
    options = parser.parse_args(arguments)
    poems = poems_of(options.form, options.dynasty, options.split)
    if not poems:
        parser.error(f"the part {options.split} has no {options.form} of {' '.join(options.dynasty)}")
    report(judge(poems, Prosody.load(options.prosody)))
    return 0


if __name__ == "__main__":
    run_main(main)
