"""Lay out pairs of poems of two settings to be read without knowing which is which, and count what a reader preferred.

    ZHSEQ_CORPORA=corpora python scripts/blind_pairs.py make --num 20 --out pairs --old best_of=4 typical=5.5
    python scripts/blind_pairs.py count --out pairs --answers "ABBA..."

Both poems of a pair have one form, one seed and, but for `--free`, one start, and stand in random order. With
`--against people` the other poem of a pair is a dev poem by a minor poet, and ours is written without a start. Among
them are control pairs: a poem by a person beside one whose lines come from different poems. `pairs.txt` is what is
read; `key.json` says what stands where and is opened only to count. An answer is A, B, or = for neither.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from zhseq.cli import run_main
from zhseq.config import override
from zhseq.corpus import load_poems, select_split
from zhseq.errors import InputError
from zhseq.poetry.forms import FORMS
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Ranking, Request, Sampling

_STARTS = "春 江 白 山 月 客 风 一 秋 故 水 人 云 夜 花 日 天 清 青 寒 雨 万 落 小 千 玉 竹 西 长 东"
STARTS = _STARTS.split()
MINOR = 50
"""Training poems at most of whom is called a minor poet."""
Lines = Sequence[str]


@dataclass(frozen=True)
class Pair:
    """Two poems and where they come from."""

    poems: tuple[Lines, Lines]
    sources: tuple[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make pairs, or count answers."""
    parser = argparse.ArgumentParser(description="Pairs of poems to be read blindly.")
    parser.add_argument("task", choices=("make", "count"))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds pairs.txt and key.json")
    parser.add_argument("--model", default=None, help="model directory (default: the one that comes with zhseq)")
    parser.add_argument("--old-model", default=None, help="that of the old setting (default: the same)")
    parser.add_argument("--form", default="七绝", help="of all poems (default: 七绝)")
    parser.add_argument("--against", choices=("old", "people"), default="old", help="another setting or dev poems")
    parser.add_argument("--num", type=int, default=20, help="pairs of the two settings (default: 20)")
    parser.add_argument("--controls", type=int, default=4, help="control pairs (default: 4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--old", nargs="*", default=[], metavar="FIELD=VALUE", help="fields of Ranking, one setting")
    parser.add_argument("--new", nargs="*", default=[], metavar="FIELD=VALUE", help="the other (default: defaults)")
    parser.add_argument("--drafts", type=int, metavar="N", default=1, help="drafts of each poem (default: 1)")
    parser.add_argument("--free", action="store_true", help="write without a start")
    parser.add_argument("--old-without-sense", action="store_true", help="the old setting knows no table of sense")
    parser.add_argument("--answers", default="", help="A, B or = for each pair, in order")
    options = parser.parse_args(arguments)
    if options.task == "count":
        print(json.dumps(count(options.out, options.answers), ensure_ascii=False, indent=1))
        return 0
    ours = against_people(options) if options.against == "people" else written(options)
    pairs = [*ours, *controls(options.form, options.controls, options.seed)]
    lay_out(pairs, options.form, options.seed, options.out)
    print(f"{len(pairs)} pairs in {options.out / 'pairs.txt'}; do not open {options.out / 'key.json'} before you count")
    return 0


def written(options: argparse.Namespace) -> list[Pair]:
    """Return pairs of which seed, form and start, if there is one, are the same."""
    poet = Poet.load(options.model)
    former = Poet.load(options.old_model) if options.old_model else poet
    plain = Poet(poet.network, poet.vocab, prosody=poet.prosody) if options.old_without_sense else former
    rankings = {"old": override(Ranking(), options.old), "new": override(Ranking(), options.new)}
    result = []
    for number in range(options.num):
        start = "" if options.free else STARTS[number % len(STARTS)]
        sampling = Sampling(seed=options.seed + number)
        poems = [
            next(writer.stream(_request(options, ranking, sampling, start), 1)).lines
            for writer, ranking in zip((plain, poet), rankings.values(), strict=True)
        ]
        result.append(Pair((poems[0], poems[1]), ("old", "new")))
    return result


def against_people(options: argparse.Namespace) -> list[Pair]:
    """Return poems of the new setting without a start, each beside a dev poem by a minor poet."""
    people, ranking = by_minor_poets(load_poems(), options.form), override(Ranking(), options.new)
    drawn = np.random.default_rng([options.seed, 2]).choice(len(people), options.num, replace=False).tolist()
    request = _request(options, ranking, Sampling(seed=options.seed))
    own = Poet.load(options.model).stream(request, options.num)
    return [Pair((people[row], poem.lines), ("minor poet", "new")) for row, poem in zip(drawn, own, strict=True)]


def _request(options: argparse.Namespace, ranking: Ranking, sampling: Sampling, start: str = "") -> Request:
    return Request(start=start, form=options.form, ranking=ranking, sampling=sampling, drafts=options.drafts)


def by_minor_poets(poems: Any, form: str) -> list[Lines]:
    """Return the dev poems of one form by poets of whom there are at most `MINOR` training poems."""
    known, dev = Counter(select_split(poems, "train")["author"]), select_split(poems, "dev")
    rows = zip(dev["lines"], dev["form"], dev["author"], strict=True)
    return [lines for lines, name, author in rows if name == form and known[author] <= MINOR]


def controls(form: str, num: int, seed: int) -> list[Pair]:
    """Return dev poems beside poems each line of which comes from another dev poem, from the same place in it."""
    dev = select_split(load_poems(), "dev")
    poems = [lines for lines, name in zip(dev["lines"], dev["form"], strict=True) if name == form]
    lines = len(FORMS[form].line_lengths)
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(poems), (num, 1 + lines), replace=False).tolist()
    return [
        Pair((poems[row[0]], [poems[other][place] for place, other in enumerate(row[1:])]), ("person", "mixed"))
        for row in rows
    ]


def lay_out(pairs: Sequence[Pair], form: str, seed: int, directory: Path) -> None:
    """Write the pairs in random order and with random sides, and the key."""
    rng = np.random.default_rng([seed + 1, *FORMS[form].line_lengths])
    rows, key = [], []
    for number, index in enumerate(rng.permutation(len(pairs)).tolist(), start=1):
        pair = pairs[index]
        order = (1, 0) if rng.random() < 0.5 else (0, 1)
        rows.append(f"{number}")
        for name, side in zip("AB", order, strict=True):
            rows += [f"{name}  {row}" for row in FORMS[form].layout(pair.poems[side])]
        key.append([pair.sources[side] for side in order])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pairs.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (directory / "key.json").write_text(json.dumps(key) + "\n", encoding="utf-8")


def count(directory: Path, answers: str) -> dict[str, int]:
    """Return how often each source was preferred, and how often neither of two.

    Raises:
        InputError: There are not as many answers as pairs, or one is not A, B or =.
    """
    key = json.loads((directory / "key.json").read_text(encoding="utf-8"))
    given = [answer for answer in answers if not answer.isspace()]
    if len(given) != len(key) or set(given) - set("AB="):
        message = f"expected one of A, B and = for each of {len(key)} pairs, but there are {len(given)}: {answers!r}"
        raise InputError("answers", message)
    found: Counter[str] = Counter(dict.fromkeys(sorted(set(chain.from_iterable(key))), 0))
    for answer, sources in zip(given, key, strict=True):
        found["/".join(sorted(sources)) + " equal" if answer == "=" else sources["AB".index(answer)]] += 1
    return dict(found)


if __name__ == "__main__":
    run_main(main)
