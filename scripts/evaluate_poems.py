"""Measure poems of fixed wishes with one setting and no selection: rules, variety, copying, sense, subject, speed.

    ZHSEQ_CORPORA=corpora python scripts/evaluate_poems.py --model checkpoints/poem --ngram 200

Written are 200 starts (20 of them rare) in each form, 50 acrostics, 100 subjects and 100 tunes, each with several
seeds. Two yardsticks are measured alike: poems by people that the model has not seen, and a 4-gram under the same
masks. The rules are judged by `zhseq.poetry.review`, which shares no code with the search that writes; with
`--rhyme-book FILE` (JSON: `level NAME` or `oblique NAME` -> characters) also by a book that the project does not hold.
`--only PART ...` measures some parts, so that a long run can be cut into several; their figures are the same.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from check_form import COMMON, RARE
from foreign_couplets import REFERENCES, exchanges, quatrains_of, told
from measure_sense import subjects
from poem_measures import Corpus, Themes, distinct, mixed_seasons, odd_doublings, repeats_bigram, top_mass
from tqdm import tqdm

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.errors import InputError
from zhseq.poetry.forms import FORMS
from zhseq.poetry.poet import Poem, Poet, Request
from zhseq.poetry.request import Ranking, Sampling
from zhseq.poetry.review import review
from zhseq.text.normalize import normalize

_ACROSTICS = (
    "春夏秋冬 风花雪月 梅兰竹菊 山高水长 天长地久 国泰民安 一帆风顺 琴棋书画 前程似锦 万事如意 花好月圆 海阔天空 "
    "诗情画意 鸟语花香 青山绿水 白日放歌 明月清风 高山流水 平安喜乐 心想事成 江山如画 岁月静好 春暖花开 秋高气爽 "
    "五福临门 龙飞凤舞 自强不息 厚德载物 上善若水 知行合一 大道至简 宁静致远 淡泊明志 清风徐来 水落石出 柳暗花明 "
    "云淡风轻 落叶归根 生日快乐 新年快乐 我爱中国 天下太平 学海无涯 书山有路 百年好合 白头偕老 金榜题名 马到成功 "
    "春江花月夜 生日快乐万事如意"
)
_SUBJECTS = (
    "明月 梅花 送别 登高 田家 边塞 落花 秋雨 春雪 洞庭 西湖 寒食 重阳 中秋 元日 除夕 牡丹 荷花 菊花 柳絮 杨柳 松树 "
    "竹林 芭蕉 桃花 杏花 海棠 梨花 兰花 芙蓉 白鹭 孤雁 燕子 杜鹃 黄莺 蝉声 蝴蝶 鸳鸯 渔父 樵夫 牧童 采莲 织女 "
    "老将 游子 佳人 隐士 道人 山僧 古寺 禅院 钓台 酒家 客舍 江楼 高台 长城 金陵 长安 洛阳 扬州 钱塘 庐山 "
    "泰山 终南山 黄河 长江 瀑布 溪水 泉声 潮水 暮雨 晚霞 清风 白云 大雪 新晴 早行 夜泊 归舟 怀古 咏史 "
    "思乡 忆弟 寄友 赠别 悼亡 闺怨 宫词 读书 弹琴 下棋 饮酒 煎茶 病中 春日 夏日 秋日 冬日 山居"
)
ACROSTICS, SUBJECTS = _ACROSTICS.split(), _SUBJECTS.split()
QUATRAIN = "七绝"
PARTS = ("written", "acrostics", "tunes", "subjects", "words", "couplets", "constraints", "people")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    poet = Poet.load(options.model)
    if poet.prosody is None:
        raise InputError(
            "no_prosody", "{model} has no prosody; learn it with `zhseq train prosody`", model=options.model
        )
    book = read_book(options.rhyme_book) if options.rhyme_book else None
    poems = load_poems()
    train, held_out = select_split(poems, "train"), select_split(poems, options.split)
    lines = train["lines"][:] if options.limit is None else train["lines"][: options.limit]
    titles = normalize("\n".join(title.replace("\n", " ") for title in train["title"][: len(lines)])).split("\n")
    corpus = Corpus(lines, poet.vocab)
    seeds = options.seeds
    report: dict[str, Any] = {"seeds": seeds}
    if "written" in options.only:
        written, report["speed"] = write_plain(poet, seeds, options.starts)
        report["written"] = {name: measure(poet, corpus, found, book) for name, found in written.items()}
    if "acrostics" in options.only:
        acrostics = [(poet.write(acrostic=text, seed=seed), text) for text in ACROSTICS for seed in range(seeds)]
        report["acrostics"] = honoured(acrostics, poet, book)
    if "tunes" in options.only:
        tunes = poet.tunes[:100]
        report["tunes"] = tune_rules(
            poet, [poet.write(tune=tune, seed=seed) for tune in tunes for seed in range(seeds)]
        )
    if "subjects" in options.only:
        themes = Themes(SUBJECTS, titles, ["".join(poem) for poem in lines], poet.vocab)
        report["subjects"] = theme_recall(poet, themes, seeds)
    if "words" in options.only:
        report["words of ten subjects"] = subjects(poet, poems, Ranking(), 50 * seeds)
    if "couplets" in options.only:
        found = exchanges(quatrains_of(held_out), poet.reviewing(), seed=0)[: options.couplets]
        report["foreign second couplets"] = told(poet, found, REFERENCES)
    if "constraints" in options.only:
        report["constraints"] = constraint_costs(poet, seeds)
    if "people" in options.only:
        report["people"] = {form: measure(poet, corpus, human(held_out, form, options.people), book) for form in FORMS}
    if options.ngram:
        report["4-gram"] = {QUATRAIN: measure(poet, corpus, ngram_poems(poet, train, options), book)}
    print(json.dumps(report, ensure_ascii=False, indent=1))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure written poems against poems by people.")
    parser.add_argument("--model", default=None, help="model directory (default: the one that comes with zhseq)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each wish (default: 3)")
    parser.add_argument("--starts", type=int, default=200, help="starts, spread evenly over the list (default: 200)")
    parser.add_argument("--people", type=int, default=600, help="held-out poems of each form (default: 600)")
    parser.add_argument("--split", default="dev", help="poems by people are of: dev or test (default: dev)")
    parser.add_argument(
        "--couplets", type=int, default=1000, metavar="N", help="quatrains whose couplets are exchanged"
    )
    parser.add_argument("--limit", type=int, help="look for copies in so many training poems only")
    parser.add_argument("--ngram", type=int, default=0, metavar="N", help="also N poems of a 4-gram under the masks")
    parser.add_argument(
        "--only", nargs="*", choices=PARTS, default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}"
    )
    parser.add_argument("--rhyme-book", type=Path, metavar="FILE", help="JSON of level rhymes to judge by as well")
    return parser.parse_args(arguments)


def write_plain(poet: Poet, seeds: int, limit: int) -> tuple[dict[str, list[Poem]], dict[str, float]]:
    """Write every start in every form, and quatrains without one; also return how long that takes."""
    every = [*dict.fromkeys(COMMON)][:180] + list(RARE)
    starts = [every[n] for n in np.linspace(0, len(every) - 1, min(limit, len(every))).astype(int)]
    plain: dict[str, list[Poem]] = defaultdict(list)
    began = time.process_time()
    for form in FORMS:
        for start in tqdm(starts, desc=form, disable=None):
            wish = Request(start=start, form=form)
            plain[form] += [poem for seed in range(seeds) for poem in list(poet.stream(seeded(wish, seed), 1))]
            assert all(poem.text.startswith(start) for poem in plain[form][-seeds:])
    one_by_one = time.process_time() - began
    count = sum(map(len, plain.values()))
    began = time.process_time()
    plain["七绝, no start"] = list(poet.stream(Request(form=QUATRAIN), 256))
    speed = {"one by one, processor seconds a poem": one_by_one / count}
    speed["side by side, processor seconds a quatrain"] = (time.process_time() - began) / 256
    return plain, speed


def theme_recall(poet: Poet, themes: Themes, seeds: int) -> dict[str, Any]:
    """Return how often a poem's own subject is found by its words, and how often one drawn at random is."""
    subjects = [n for n in range(len(SUBJECTS)) for _ in range(seeds)]
    lines = [poet.write(about=subject, seed=seed).lines for subject in SUBJECTS for seed in range(seeds)]
    shuffled = np.random.default_rng(0).permutation(subjects).tolist()
    return {"asked": recall(themes.ranks(lines, subjects)), "randomised": recall(themes.ranks(lines, shuffled))}


def seeded(request: Request, seed: int) -> Request:
    return replace(request, sampling=Sampling(seed=seed))


def measure(poet: Poet, corpus: Corpus, poems: Sequence[Poem], book: dict[str, set[str]] | None) -> dict[str, Any]:
    """Return all figures of poems of one form."""
    lines = [tuple(normalize(line) for line in poem.lines) for poem in poems]
    form = poems[0].form
    bits = poet.score(lines, [form] * len(lines))
    runs = list(chain.from_iterable(corpus.copied(lines, 4)))
    whole = list(chain.from_iterable(corpus.copied(lines, FORMS[form].line_lengths[0], whole=True)))
    order = np.random.default_rng(1).permutation(len(lines)).tolist()
    mixed = [lines[n] for n in order]
    ones, twos = distinct(mixed)
    return {
        "poems": len(poems),
        **rules(poet, poems, book),
        "distinct-1": ones,
        "distinct-2": twos,
        "top-20 mass": top_mass(mixed),
        "poems that repeat a bigram": float(np.mean([repeats_bigram(poem) for poem in lines])),
        "unseen bigrams": 1 - float(np.mean(list(chain.from_iterable(corpus.copied(lines, 2))))),
        "unattested doublings in 100 lines": odd_doublings(lines, corpus.doublings),
        **mixed_seasons(lines),
        "4-grams in the corpus": float(np.mean(runs)),
        "lines in the corpus": float(np.mean(whole)),
        "longest common substring": float(np.mean(corpus.longest_common(lines))),
        "bits per Han character": sum(score.bits for score in bits) / sum(score.han for score in bits),
    }


def rules(poet: Poet, poems: Sequence[Poem], book: dict[str, set[str]] | None) -> dict[str, float]:
    """Return the share of poems that keep each kind of rule, by the critic and by a book of rhymes."""
    kinds: dict[str, int] = defaultdict(int)
    for poem in poems:
        found = review(poem.text, poet.reviewing())
        broken = {fault.kind for fault in found.faults}
        for kind in ("form", "tone", "rhyme"):
            kinds[kind] += kind not in broken
        if book is not None:
            rhyme, tones = by_book(poem, book)
            kinds["rhyme by the book"] += rhyme
            kinds["tones by the book"] += tones
    return {f"{kind} kept": count / len(poems) for kind, count in kinds.items()}


def read_book(path: Path) -> dict[str, set[str]]:
    book = json.loads(path.read_text(encoding="utf-8"))
    return {rhyme: set(normalize("".join(characters))) for rhyme, characters in book.items()}


def by_book(poem: Poem, book: dict[str, set[str]]) -> tuple[bool, bool]:
    """Judge rhyme and tones by a book: keys are `level NAME` and `oblique NAME`; what has both tones is either."""
    level = set().union(*(members for name, members in book.items() if name.startswith("level")))
    oblique = set().union(*(members for name, members in book.items() if name.startswith("oblique")))
    lines = [normalize(line) for line in poem.lines]

    def tone(character: str) -> int:
        return (character in level and character not in oblique) - (character in oblique and character not in level)

    shared = [
        {name for name, members in book.items() if name.startswith("level") and line[-1] in members}
        for line in lines[1::2]
    ]
    rhyme = bool(set.intersection(*shared))
    best = min(
        sum(
            tone(line[place]) * sign * (-1) ** (place // 2) * (1 if number % 4 in (0, 3) else -1) < 0
            for number, line in enumerate(lines)
            for place in range(1, len(line) - 1, 2)
        )
        for sign in (1, -1)
    )
    ends = all(tone(line[-1]) <= 0 for line in lines[2::2]) and all(tone(line[-1]) >= 0 for line in lines[1::2])
    return rhyme, best == 0 and ends


def honoured(found: Sequence[tuple[Poem, str]], poet: Poet, book: dict[str, set[str]] | None) -> dict[str, float]:
    kept = [all(line.startswith(c) for line, c in zip(poem.lines, text, strict=False)) for poem, text in found]
    return {"poems": len(found), "honoured": float(np.mean(kept)), **rules(poet, [poem for poem, _ in found], book)}


def tune_rules(poet: Poet, poems: Sequence[Poem]) -> dict[str, float]:
    kinds: dict[str, int] = defaultdict(int)
    for poem in poems:
        found = poet.check(poem.text, tune=poem.tune)
        for kind in ("form", "tone", "rhyme"):
            kinds[f"{kind} kept"] += all(fault.kind != kind for fault in found.faults)
    return {"poems": len(poems), **{kind: count / len(poems) for kind, count in kinds.items()}}


def recall(ranks: Sequence[int]) -> dict[str, float]:
    return {f"among the first {top}": float(np.mean([rank <= top for rank in ranks])) for top in (1, 5, 10)}


def constraint_costs(poet: Poet, seeds: int, num: int = 128) -> dict[str, float]:
    """Return the bits per Han character of quatrains under more and more rules."""
    wishes = {
        "shape only": {"rhyme": "none"},
        "tones and rhyme, one candidate a line": {"ranking": Ranking(best_of=1, rarity=0.0)},
        "the same, common characters held back": {"ranking": Ranking(best_of=1)},
        f"tones and rhyme, best of {Ranking.best_of}": {},
    }
    result = {}
    for name, wish in wishes.items():
        poems = [p for n in range(seeds) for p in list(poet.stream(seeded(Request(form=QUATRAIN, **wish), n), num))]
        scores = poet.score([poem.lines for poem in poems], [QUATRAIN] * len(poems))
        result[name] = sum(score.bits for score in scores) / sum(score.han for score in scores)
    return result


def human(poems: Any, form: str, limit: int) -> list[Poem]:
    rows = [n for n, name in enumerate(poems["form"]) if name == form][:limit]
    return [Poem(tuple(lines), form) for lines in poems.select(rows)["lines"]]


def ngram_poems(poet: Poet, train: Any, options: argparse.Namespace) -> list[Poem]:
    """Return quatrains of a 4-gram that writes under the same masks and is ranked alike."""
    from masked_ngram import NgramNetwork

    writer = Poet(poet.network, poet.vocab, prosody=poet.prosody)
    writer._writer.network = NgramNetwork.train(train, poet.vocab, poet.network, options.limit)  # type: ignore[assignment]
    return list(writer.stream(Request(form=QUATRAIN), options.ngram))


if __name__ == "__main__":
    run_main(main)
