"""What a tagger loses on traditional characters: score it on tagged text as it is, and turned into traditional script.

    python scripts/evaluate_traditional.py --model tagger-ud --gold ud_chinese_gsd:dev --task pos

Every character is turned for itself (OpenCC, s2t), so that the gold spans stay where they are.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from opencc import OpenCC

from zhseq.cli import run_main
from zhseq.corpus.tagging import TaggedText, read_tagged
from zhseq.tagging.evaluation import evaluate
from zhseq.tagging.tagger import Tagger


def to_traditional(texts: Sequence[TaggedText]) -> list[TaggedText]:
    """Return the texts in traditional characters, one for one."""
    converter = OpenCC("s2t")
    every = sorted({character for text in texts for character in text.text})
    turned = {character: converter.convert(character) for character in every}
    table = str.maketrans({old: new for old, new in turned.items() if len(new) == 1})
    return [dataclasses.replace(text, text=text.text.translate(table)) for text in texts]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print F1 on both scripts, and what is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="PATH_OR_HUB_NAME")
    parser.add_argument("--gold", required=True, metavar="FILE_OR_CORPUS")
    parser.add_argument("--task", choices=("pos", "ner"))
    options = parser.parse_args(arguments)
    texts = read_tagged(options.gold, task=options.task).texts
    tagger = Tagger.load(options.model, threads=1)
    simplified, traditional = evaluate(tagger, texts), evaluate(tagger, to_traditional(texts))
    print("| F1 | as it is | traditional | loss |\n|---|---|---|---|")
    for name in ("words", "joint", "entities"):
        if name in simplified:
            before, after = (100 * report[name]["f1"] for report in (simplified, traditional))
            print(f"| {name} | {before:.2f} | {after:.2f} | {before - after:.2f} |")
    return 0


if __name__ == "__main__":
    run_main(main)
