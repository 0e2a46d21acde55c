"""Score taggers on every dev set that a tagger of PKU words and MSRA names can be held to, raw text in.

    python scripts/evaluate_tagger.py --model tagger runs/tagger/best [--documents]

Words, words with parts of speech, and names with and without their types, in F1: text of today (`modern_text:dev`,
with `--documents` also by its sources), the newspapers (the parts of PFR and MSRA that trainings leave out), and names
by the rules of others (`uner_gsdsimp:dev`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from zhseq.cli import add_backend, run_main
from zhseq.corpus.tagging import TaggedText, drop_repeats, read_tagged, split_dev
from zhseq.recipes.tagged_texts import TaggerDataConfig
from zhseq.tagging.evaluation import SpanCounts
from zhseq.tagging.tagger import Tagger
from zhseq.text.tags import Span

COLUMNS = ("texts", "words", "joint", "names", "untyped")


def dev_sets() -> dict[str, Sequence[TaggedText]]:
    """Read the dev sets, by name."""
    share = TaggerDataConfig().dev_share
    return {
        "modern_text:dev": read_tagged("modern_text:dev").texts,
        "pfr199801, left out": split_dev(read_tagged("pfr199801", task="pos").texts, share, seed=1)[1],
        "msra_ner, left out": split_dev(read_tagged("msra_ner", task="ner").texts, share, seed=1)[1],
        "uner_gsdsimp:dev": drop_repeats(read_tagged("uner_gsdsimp:dev", task="ner").texts),
    }


def score(tagger: Tagger, texts: Sequence[TaggedText]) -> dict[str, float]:
    """Return F1 in points of what the texts mark, by column."""
    words, names = SpanCounts(), SpanCounts()
    for text, document in zip(texts, tagger.stream(text.text for text in texts), strict=True):
        if text.words is not None and "pos" in tagger.tasks:
            words.add(text.text, text.words, [Span(word.start, word.end, word.pos) for word in document.words])
        if text.entities is not None and "ner" in tagger.tasks:
            found = [Span(entity.start, entity.end, entity.label) for entity in document.entities]
            names.add(text.text, text.entities, found)
    scores = {"texts": float(len(texts))}
    if words.extents.gold:
        scores |= {"words": 100 * words.extents.f1, "joint": 100 * words.labelled.f1}
    if names.extents.gold:
        scores |= {"names": 100 * names.labelled.f1, "untyped": 100 * names.extents.f1}
    return scores


def row(name: str, scores: dict[str, float]) -> str:
    """Return a row of the Markdown table."""
    cells = ["" if column not in scores else f"{scores[column]:.2f}" for column in COLUMNS[1:]]
    return f"| {name} | {scores['texts']:.0f} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["tagger"], metavar="PATH_OR_NAME")
    add_backend(parser)
    parser.add_argument("--documents", action="store_true", help="modern text by its sources, too")
    options = parser.parse_args(arguments)
    sets = dev_sets()
    for name in options.model:
        tagger = Tagger.load(name, backend=options.backend)
        print(f"\n{name}\n\n| dev set | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
        for title, texts in sets.items():
            print(row(title, score(tagger, texts)), flush=True)
        if options.documents:
            modern = sets["modern_text:dev"]
            for document in sorted({text.document for text in modern}):
                print(row(document, score(tagger, [text for text in modern if text.document == document])))
    return 0


if __name__ == "__main__":
    run_main(main)
