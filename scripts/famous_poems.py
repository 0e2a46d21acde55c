"""Does the checker leave famous poems alone, and does it find what is spoiled in them?

    python scripts/famous_poems.py --prosody checkpoints/poem

The poems are named by their authors and opening words and read from the poetry corpora with the punctuation that people
copy. Printed are the poems that have a fault or read as prose, those of them that are known to be irregular, and how
many of the characters are found that are exchanged for one of the wrong tone or rhyme, one at a time: in regulated
verse at the second and fourth places and at the ends of lines, in ci at the rhymes and at the even places where the
tune asks for a tone. How long the check of a poem takes is measured on the poems as they stand, warm.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zhseq.cli import run_main
from zhseq.corpus import load_poems
from zhseq.corpus.poetry import read_source
from zhseq.corpus.registry import corpora_root, corpus_folder
from zhseq.errors import InputError
from zhseq.poetry.faults import Review
from zhseq.poetry.prosody import CI, FREE, OPPOSITE, Prosody, Tone
from zhseq.poetry.reading import read_poem
from zhseq.poetry.regulated import PROSE
from zhseq.poetry.review import review
from zhseq.text.normalize import normalize

KEYS = Path(__file__).with_suffix(".txt")
"""Authors and opening words: regulated verse, a blank line, ci."""
ROUNDS = 3
"""How often a poem is judged once more to time it; the shortest counts."""
IRREGULAR = {
    "八月湖水平": "拗: 仄仄平仄平",
    "单车欲问边": "失粘",
    "积雨空林烟火迟": "失粘",
    "中岁颇好道": "in the old style but for its parallel lines",
    "人闲桂花落": "三平调 in lines 2",
    "绛帻鸡人送晓筹": "失粘",
    "故人西辞黄鹤楼": "拗 in line 1",
    "摇落深知宋玉悲": "失粘",
    "黄四娘家花满蹊": "拗 in line 2",
    "昔日龌龊不足夸": "拗 in lines 1 and 4",
    "寥落古行宫": "宗 is of 上平二冬, the others of 上平一东",
    "千锤万凿出深山": "this text has 粉身碎骨 where others have 粉骨碎身",
    "闲来无事不从容": "this text has 舆 for 与",
    "少小离家老大回": "衰 is of 上平四支, the others of 上平十灰",
    "纤云弄巧": "this text has 长久 for 久长",
    "东城渐觉风光好": "this text lacks a character in line 2",
    "冰肌玉骨": "this text lacks a character in line 6",
    "明月如霜": "this text lacks a character in line 7",
    "山抹微云": "this text lacks a character in line 17",
    "章台路": "this text lacks two characters in line 4",
    "芦叶满汀洲": "this text has 不在 for 在不, which rhymes",
    "香冷金猊": "this text has 明朝 for 休休, which rhymes",
    "四十年来家国": "an early form, before the tune was fixed",
    "洞庭青草": "mixes 第十七部 and 第十八部",
    "昨夜寒蛩不住鸣": "琴 is of 第十三部, the others of 第十一部",
    "绕床饥鼠": "南 is of 第十四部, the others of 第七部",
    "楚江空晚": "苒 is of 第十四部, the others of 第七部",
    "渐新痕悬柳": "mixes 第六部 and 第十一部",
    "明月多情应笑我": "line 1 begins 仄起 where the tune begins 平起",
    "世情薄": "turns to level rhymes in the middle of each stanza",
}
"""Opening words of poems that break a rule by the handbooks as well, or whose text is bad -> which and where."""


@dataclass(frozen=True)
class Famous:
    """A poem as people copy it."""

    author: str
    opening: str
    title: str
    tune: str
    text: str


def find(wanted: str, *, lyric: bool) -> list[Famous]:
    """Find the poems of a list in the corpora, in its order; say which are not there."""
    table = load_poems().with_format("arrow")[:]
    places: dict[str, list[int]] = {}
    authors, lines = table["author"].to_pylist(), table["lines"].to_pylist()
    for row, author in enumerate(authors):
        places.setdefault(author, []).append(row)
    forms, ids = table["form"].to_pylist(), table["id"].to_pylist()
    titles, tunes, sources = (table[name].to_pylist() for name in ("title", "tune", "source"))
    chosen: list[tuple[str, str, int]] = []
    rows_of_keys = [row.split() for row in wanted.splitlines() if not row.startswith("#")]
    for author, *openings in rows_of_keys:
        for opening in openings:
            rows = [
                row
                for row in places.get(normalize(author), [])
                if "".join(lines[row]).startswith(normalize(opening)) and (lyric or forms[row] != CI)
            ]
            rows.sort(key=lambda row: (forms[row] == CI) != lyric)
            if rows:
                chosen.append((author, opening, rows[0]))
            else:
                print(f"not in the corpora: {author} {opening}")
    texts = _texts({(sources[row], ids[row]) for _, _, row in chosen})
    return [
        Famous(author, opening, titles[row], tunes[row], texts[sources[row], ids[row]])
        for author, opening, row in chosen
    ]


def _texts(wanted: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the texts of some records as their sources have them, without editors' notes."""
    root = corpora_root()
    return {
        (source, record.id): record.text
        for source in sorted({source for source, _ in wanted})
        for record in read_source(source, corpus_folder(source, root))
        if (source, record.id) in wanted
    }


def judge(poem: Famous, prosody: Prosody) -> Review | InputError:
    """Judge a poem as it stands; nobody says what its tune is."""
    try:
        return review(read_poem(poem.text, prosody.tunes).verse, prosody)
    except InputError as error:
        return error


def _seconds(poem: Famous, prosody: Prosody) -> float:
    """Return how long it takes to read and judge a poem."""
    start = time.process_time()
    judge(poem, prosody)
    return time.process_time() - start


def alarms(poems: Sequence[Famous], prosody: Prosody) -> list[tuple[Famous, Review]]:
    """Print the poems that have a fault, and return the others with their reviews."""
    clean: list[tuple[Famous, Review]] = []
    seconds: list[float] = []
    count = settled = 0
    for poem in poems:
        found = judge(poem, prosody)
        seconds.append(min(_seconds(poem, prosody) for _ in range(ROUNDS)))
        if isinstance(found, Review) and not found.faults and found.form != PROSE:
            clean.append((poem, found))
            continue
        reason = IRREGULAR.get(poem.opening, "")
        count, settled = count + 1, settled + bool(reason)
        name = f"{poem.author} {poem.tune or poem.title} {poem.opening}"
        what = str(found).replace("\n", "\n    ")
        print(f"  {name}{f'  [{reason}]' if reason else ''}\n    {getattr(found, 'pattern', '')} {what}")
    false = count - settled
    seconds.sort()
    print(f"{len(poems)} poems: {count} with a fault, {settled} of them irregular; false alarms {false} "
          f"({100 * false / len(poems):.1f} %); check of one poem: median {1000 * seconds[len(seconds) // 2]:.1f} ms, "
          f"longest {1000 * seconds[-1]:.1f} ms")  # fmt: skip
    print("read as", dict(Counter(found.pattern if not found.tune else CI for _, found in clean).most_common()))
    return clean


def spoiled(found: Review, prosody: Prosody, rng: random.Random) -> Iterator[tuple[str, int, int, str]]:
    """Yield the lines of a poem with one character exchanged: what was done, line and place from 0, the new text."""
    rhymes = found.rhymes_in(prosody)
    for number, line in enumerate(found.lines):
        even = range(1, len(line) - 2, 2) if not found.tune else range(1, len(line) - 1, 2)
        for place in [*even, len(line) - 1]:
            own, due = found.tones[number][place], found.expected[number][place]
            opening = not found.tune and number == 0 and place == len(line) - 1
            if FREE not in (own, due) and not opening:
                yield "tone", number, place, _exchanged(found, number, place, _drawn(OPPOSITE[due], prosody, rng))
        if found.rhyming[number] and found.rhymes[number] >= 0 and found.rhyming.count(found.rhyming[number]) > 2:
            word = _drawn(found.tones[number][-1], rhymes, rng, found.rhymes[number])
            yield "rhyme", number, len(line) - 1, _exchanged(found, number, len(line) - 1, word)


def _drawn(tone: str, prosody: Prosody, rng: random.Random, group: int | None = None) -> str:
    """Draw a well-known character of a tone, if a group is given one that does not rhyme with it."""
    groups = [each for each in prosody.rhyme_groups if each.tone is Tone(tone if tone != FREE else "平")]
    far = [each for each in groups if group is None or not _near(each.id, group, prosody)]
    return rng.choice([word for each in far for word in each.certain[:30]])


def _near(one: int, other: int, prosody: Prosody) -> bool:
    """Tell whether two groups are neighbours, which rhyme in the first line of a regulated poem."""
    words = [(group.certain or group.characters)[0] for group in (prosody.rhyme_groups[n] for n in (one, other))]
    return one == other or prosody.lyric().rhyme(*words)


def _exchanged(found: Review, number: int, place: int, word: str) -> str:
    lines = list(found.lines)
    lines[number] = lines[number][:place] + word + lines[number][place + 1 :]
    return "，".join(lines)


def measure_spoiling(clean: Sequence[tuple[Famous, Review]], prosody: Prosody, *, verbose: bool) -> None:
    """Print how many exchanged characters are found, in the line itself or the one that answers it."""
    tried, caught = Counter[str](), Counter[str]()
    rng = random.Random(0)
    for poem, found in clean:
        tune = prosody.tunes.get(found.tune) if found.tune else None
        for kind, number, place, text in spoiled(found, prosody, rng):
            after = review(text, prosody, tune)
            hit = any(fault.line in (number + 1, number + 2) for fault in after.faults)
            tried[kind] += 1
            caught[kind] += hit
            if verbose and not hit:
                print(f"  missed ({kind}): {poem.author} {poem.opening}, line {number + 1}, place {place + 1}: "
                      f"{found.lines[number]} -> {after.lines[number]} ({after.pattern})")  # fmt: skip
    every = sum(tried.values())
    shares = ", ".join(f"{kind} {caught[kind]} of {tried[kind]}" for kind in tried)
    print(f"exchanged characters found: {100 * sum(caught.values()) / max(every, 1):.2f} % of {every} ({shares})")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Judge famous poems, whole and spoiled.")
    parser.add_argument("--prosody", type=Path, default=Path("checkpoints/poem"), help="directory of prosody.json")
    parser.add_argument("--verbose", action="store_true", help="print each exchange that was not found")
    options = parser.parse_args(arguments)
    prosody = Prosody.load(options.prosody)
    regulated, ci = KEYS.read_text(encoding="utf-8").strip().split("\n\n")
    for title, wanted, lyric in (("regulated verse", regulated, False), ("ci", ci, True)):
        print(f"\n{title}")
        clean = alarms(find(wanted, lyric=lyric), prosody)
        measure_spoiling(clean, prosody, verbose=options.verbose)
    return 0


if __name__ == "__main__":
    run_main(main)
