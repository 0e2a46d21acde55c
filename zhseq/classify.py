"""Command line `zhseq classify`: classify each line of text, by default by dynasty."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zhseq.cli import STANDARD_INPUT, Parser, add_device, add_threads, note, open_input, program, run_main
from zhseq.errors import InputError
from zhseq.text.encoding import decode_lines

if TYPE_CHECKING:
    from zhseq.classifier import Classification, Classifier

_AT_ONCE = 256  # lines that are classified together


def main(arguments: Sequence[str] | None = None) -> int:
    """Classify lines of text, or score a table of texts and labels, and return the exit status."""
    options = _parser().parse_args(arguments)
    if options.gold and options.inputs:
        raise InputError("gold_and_inputs", "<gold> evaluates the texts of its own table; give no other input with it")
    if options.picture and not options.gold:
        raise InputError("picture_of_scores", "<picture> plots the confusions of <gold>; give <gold> as well")
    from zhseq.classifier import Classifier  # a slow import (PyTorch), after the options are checked

    classifier = Classifier.load(options.model, device=options.device, threads=options.threads)
    if options.gold:
        return _score(classifier, options)
    for name in options.inputs or [STANDARD_INPUT]:
        with open_input(name) as stream:
            lines = (text for text, _ in decode_lines(stream, name, notify=note))
            for text, found in _classified(classifier, lines):
                print(_row(text, found, options))
    return 0


def _classified(classifier: Classifier, lines: Iterator[str]) -> Iterator[tuple[str, Classification | None]]:
    """Yield each line and its classification; None for an empty line."""
    block: list[str] = []

    def classified() -> Iterator[tuple[str, Classification | None]]:
        found = iter(classifier.classify([text for text in block if text.strip()]))
        yield from ((text, next(found) if text.strip() else None) for text in block)
        block.clear()

    for line in lines:
        block.append(line)
        if len(block) == _AT_ONCE:
            yield from classified()
    yield from classified()


def _row(text: str, found: Classification | None, options: argparse.Namespace) -> str:
    if options.json:
        label, shares = (found.label, found.probabilities) if found else (None, {})
        kept = dict(list(shares.items())[: options.top])
        return json.dumps({"text": text, "label": label, "probabilities": kept}, ensure_ascii=False)
    if found is None:
        return ""
    return "\t".join(f"{label} {share:.3f}" for label, share in list(found.probabilities.items())[: options.top])


def _score(classifier: Classifier, options: argparse.Namespace) -> int:
    from zhseq.recipes.classifier import as_text, read_labelled, score
    from zhseq.training.plot import plot_confusions

    report = score(classifier, read_labelled(options.gold))
    print(json.dumps(report, ensure_ascii=False) if options.json else as_text(report))
    if options.picture:
        print(plot_confusions(report["confusions"], report["labels"], options.picture), file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("classify"),
        description="Assign a label to each text; the shipped model predicts the period of a classical poem.",
    )
    add = parser.add_argument
    add("inputs", nargs="*", metavar="FILE", help="one text or poem per line; - for standard input (default)")
    add(
        "--model",
        metavar="PATH_OR_HUB_NAME",
        help="a classifier trained by zhseq train classifier (default: the shipped model)",
    )
    add("--top", type=_count, default=1, metavar="N", help="print the N most probable labels (default: 1)")
    add("--json", action="store_true", help="print one JSON object per line; with --gold, one object")
    add("--gold", type=Path, metavar="FILE", help="evaluate on a CSV or TSV of texts and labels")
    add("--picture", type=Path, metavar="FILE.png", help="with --gold: plot the confusion matrix")
    add_device(parser)
    add_threads(parser)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)


if __name__ == "__main__":
    run_main(main)
