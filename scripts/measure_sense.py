"""Measure the sense of poems with one setting and no selection, poems by people beside them.

    ZHSEQ_CORPORA=corpora python scripts/measure_sense.py --poems 150 --set best_of=16 typical=4.5

For each form: bigrams that no training poem has, doublings that poets do not use, seasons that meet, how a last line
reads as one, variety. For ten common subjects: the share of poems with a word that tells of the subject. `--set`
changes fields of `zhseq.poetry.search.Ranking`, so that what each of them is worth can be measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np
from poem_measures import Corpus, distinct, mixed_seasons, odd_doublings, subject_words, with_words

from zhseq.cli import run_main
from zhseq.config import override
from zhseq.corpus import load_poems, select_split
from zhseq.poetry.forms import FORMS
from zhseq.poetry.poet import Poet, Request
from zhseq.poetry.request import Ranking, Sampling
from zhseq.recipes.poem import column
from zhseq.text.normalize import normalize

Lines = tuple[str, ...]
TEN_SUBJECTS = ("梅花", "中秋", "饮酒", "渔父", "春日", "秋夜", "落花", "怀古", "读书", "从军")
SUBJECT_FORM = "七绝"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, count and print one JSON object."""
    parser = argparse.ArgumentParser(description="Measure the sense of poems.")
    parser.add_argument("--model", default=None, help="model directory (default: the one that comes with zhseq)")
    parser.add_argument("--forms", nargs="*", default=list(FORMS), metavar="FORM", help="default: all four")
    parser.add_argument("--poems", type=int, default=150, metavar="N", help="poems of each form (default: 150)")
    parser.add_argument("--about", type=int, default=0, metavar="N", help="also N quatrains on each of ten subjects")
    parser.add_argument("--people", type=int, default=1000, metavar="N", help="dev poems of each form (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drafts", type=int, default=1, metavar="N", help="drafts of each poem (default: 1)")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="fields of Ranking")
    parser.add_argument("--without-sense", action="store_true", help="write without the table of sense")
    parser.add_argument("--print", action="store_true", help="print the poems as well")
    options = parser.parse_args(arguments)
    ranking = override(Ranking(), options.set)
    poet = Poet.load(options.model)
    if options.without_sense:
        poet = Poet(poet.network, poet.vocab, prosody=poet.prosody)
    poems = load_poems()
    corpus = Corpus(select_split(poems, "train")["lines"][:], poet.vocab)
    attested = corpus.doublings
    held_out = select_split(poems, "dev")
    report: dict[str, Any] = {"seed": options.seed, "ranking": asdict(ranking)}
    for form in options.forms:
        began = time.process_time()
        request = Request(form=form, drafts=options.drafts, ranking=ranking, sampling=Sampling(seed=options.seed))
        written = write(poet, request, options.poems)
        seconds = (time.process_time() - began) / options.poems
        own = {"processor seconds a poem": seconds, **sense_of(poet, corpus, attested, written, form)}
        people = sense_of(poet, corpus, attested, by_people(held_out, form, options.people), form)
        report[form] = {"written": own, "people": people}
        if options.print:
            report[form]["poems"] = ["|".join(lines) for lines in written]
    if options.about:
        report["subjects"] = subjects(poet, poems, ranking, options.about, options.seed)
    print(json.dumps(report, ensure_ascii=False, indent=1))
    return 0


def write(poet: Poet, request: Request, num: int) -> list[Lines]:
    return [poem.lines for poem in poet.stream(request, num)]


def by_people(poems: Any, form: str, limit: int) -> list[Lines]:
    rows = [row for row, name in enumerate(poems["form"]) if name == form][:limit]
    return [tuple(lines) for lines in poems.select(rows)["lines"]]


def sense_of(poet: Poet, corpus: Corpus, attested: set[str], poems: Sequence[Lines], form: str) -> dict[str, float]:
    """Return the figures of poems of one form."""
    bits = poet.score(poems, [form] * len(poems))
    order = np.random.default_rng(1).permutation(len(poems)).tolist()
    return {
        "poems": len(poems),
        "unseen bigrams": 1 - float(np.mean(list(chain.from_iterable(corpus.copied(poems, 2))))),
        "unattested doublings in 100 lines": odd_doublings(poems, attested),
        **mixed_seasons(poems),
        "distinct-2": distinct([poems[n] for n in order])[1],
        "4-grams found in training": float(np.mean(list(chain.from_iterable(corpus.copied(poems, 4))))),
        "bits per Han character": sum(score.bits for score in bits) / sum(score.han for score in bits),
    }


def subjects(poet: Poet, poems: Any, ranking: Ranking, num: int, seed: int = 0) -> dict[str, Any]:
    """Return how many poems on ten subjects, and how many by people under such titles, hold a word of the subject."""
    train = select_split(poems, "train")
    regulated = np.isin(np.array(column(train, "form")), list(FORMS))
    titles, texts = (
        [value for value, kept in zip(column(train, name, joined_by=joined), regulated, strict=True) if kept]
        for name, joined in (("title", None), ("lines", ""))
    )
    words = subject_words(TEN_SUBJECTS, titles, texts)
    result: dict[str, Any] = {"words": {subject: "".join(found) for subject, found in words.items()}}
    shares, people, free = {}, [], []
    held_out = [part for name in ("dev", "test") for part in quatrains(select_split(poems, name))]
    for subject in TEN_SUBJECTS:
        wish = Request(about=subject, form=SUBJECT_FORM, ranking=ranking, sampling=Sampling(seed=seed))
        shares[subject] = with_words(write(poet, wish, num), words[subject])
        people += [with_words([lines], words[subject]) for title, lines in held_out if subject in title]
        free.append(with_words([lines for title, lines in held_out if subject not in title], words[subject]))
    return {
        **result,
        "written": float(np.mean(list(shares.values()))),
        "by subject": shares,
        "people under such titles": float(np.mean(people)),
        "their poems": len(people),
        "people under other titles": float(np.mean(free)),
    }


def quatrains(poems: Any, forms: Sequence[str] = ("五绝", "七绝")) -> list[tuple[str, Lines]]:
    """Return title and lines of the quatrains among some poems."""
    rows = zip(poems["form"], poems["title"], poems["lines"], strict=True)
    return [(normalize(title), tuple(lines)) for form, title, lines in rows if form in forms]


if __name__ == "__main__":
    run_main(main)
