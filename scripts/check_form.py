"""Write 1,000 poems from 200 starts and check the form of each: `python scripts/check_form.py [--model DIR]`.

Every start is written in each of the four forms and once more with the form left open. What a form is, which
characters are Chinese and how a poem is laid out are stated here anew, not taken from the code that writes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tqdm import tqdm

from zhseq import Poet

SHAPES = {"五绝": (4, 5), "七绝": (4, 7), "五律": (8, 5), "七律": (8, 7)}  # lines, characters in each
COMMON = (
    "春夏秋冬风花雪月山水云雨江河湖海天地日夜人心酒诗梅兰竹菊松柏鸟鱼来去归行坐看听闻知思忆别离愁"
    "乐长短高低远近东西南北红绿青白黄金玉石门户楼台城池桥路舟车马牛羊鹤燕莺蝉龙虎书画琴棋剑刀弓旗"
    "一二三四五六七八九十百千万半不无有何谁可自今古年时朝暮晓晚寒暖清浊明暗新旧老少生死病醉醒梦眠起"
    "家国乡邻君臣父母兄弟儿女夫妻客僧仙佛神鬼王侯将相農學風雲馬鳥龍門開關見聞歸魚樓臺齋"
)
BLOCKS = {  # first and last character of the blocks that rare characters are taken from, one and two thirds into each
    "end of the basic block": (0x9F00, 0x9FA5),
    "extension A": (0x3400, 0x4DBF),
    "extension B": (0x20000, 0x2A6DF),
    "extension C": (0x2A700, 0x2B739),
    "extension D": (0x2B740, 0x2B81D),
    "extension E": (0x2B820, 0x2CEA1),
    "extension F": (0x2CEB0, 0x2EBE0),
    "extension G": (0x30000, 0x3134A),
    "extension H": (0x31350, 0x323AF),
    "compatibility": (0xF900, 0xFA6D),
}
RARE = "".join(chr(first + (last - first) * third // 3) for first, last in BLOCKS.values() for third in (1, 2))


@dataclass(frozen=True)
class Task:
    """One poem to write."""

    start: str
    kind: str
    form: str
    seed: int


def main() -> int:
    """Write, check, print a table and the faults; return 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="a model directory (default: the one that comes with zhseq)")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    poet = Poet.load(options.model, device=options.device)
    checked, faulty = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    kinds = Counter[str]()
    for task in tqdm(list(tasks()), unit="poem", disable=None):
        poem = poet.write(start=task.start, form=task.form, seed=task.seed)
        found = faults(poem.text, task, poem.form)
        checked[task.kind, task.form] += 1
        faulty[task.kind, task.form] += bool(found)
        kinds.update(found)
        if found:
            print(f"{task}: {', '.join(found)}\n{poem.text}", file=sys.stderr)
    print_table(checked, faulty)
    for kind, count in kinds.most_common():
        print(f"{count:6,} x {kind}")
    return 1 if kinds else 0


def tasks() -> Iterator[Task]:
    """Yield the poems to write: each start in each form and with the form left open, the seed being its number."""
    starts = [(character, "common") for character in COMMON] + [(character, "rare") for character in RARE]
    if len(set(starts)) != 200 or len(RARE) != 20:
        raise AssertionError(f"expected 200 different starts, 20 of them rare; there are {len(set(starts))}")
    for seed, (start, kind) in enumerate(starts):
        for form in (*SHAPES, "auto"):
            yield Task(start, kind, form, seed)


def faults(text: str, task: Task, form: str) -> list[str]:
    """Return what is wrong with a printed poem that is said to have this form."""
    found = []
    if task.form not in ("auto", form):
        found.append("another form than the one asked for")
    lines, length = SHAPES[form]
    rows = text.split("\n")
    if len(rows) != lines // 2:
        return [*found, "number of couplets"]
    marks = [row[length : length + 1] + row[2 * length + 1 :] for row in rows]
    if any(mark != "，。" for mark in marks):
        found.append("punctuation or length of a line")
    halves = [half for row in rows for half in (row[:length], row[length + 1 : 2 * length + 1])]
    if any(len(half) != length or not all(map(is_chinese, half)) for half in halves):
        found.append("a line with something else than Chinese characters")
    if len(set(halves)) != lines:
        found.append("a line twice")
    if not text.startswith(task.start):
        found.append("another start than the one given")
    if not text.endswith("。"):
        found.append("no end")
    return found


def is_chinese(character: str) -> bool:
    """Tell whether this is a Chinese character, by the blocks of Unicode 15."""
    point = ord(character)
    blocks = [(0x4E00, 0x9FFF), *list(BLOCKS.values())[1:], (0x2EBF0, 0x2EE5D), (0x2F800, 0x2FA1D)]
    return character == "〇" or any(first <= point <= last for first, last in blocks)


def print_table(checked: Counter[tuple[str, str]], faulty: Counter[tuple[str, str]]) -> None:
    """Print poems and faulty ones by start and form."""
    print(f"{'start':<8} {'form':<6} {'poems':>7} {'faulty':>7}")
    for (kind, form), count in checked.items():
        # A Chinese character is as wide as two letters on a terminal.
        print(f"{kind:<8} {form:<{6 if form == 'auto' else 4}} {count:>7,} {faulty[kind, form]:>7,}")
    total = sum(checked.values())
    print(f"{'all':<8} {'':<6} {total:>7,} {sum(faulty.values()):>7,}")
    print(f"{1 - sum(faulty.values()) / total:.2%} of the poems have their form, start and end")


if __name__ == "__main__":
    sys.exit(main())
