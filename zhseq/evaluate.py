"""Command line `zhseq evaluate`: score a tagger on gold texts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from zhseq.cli import Parser, add_backend, add_device, add_threads, program, run_main
from zhseq.corpus.tagging import FORMATS, read_tagged
from zhseq.errors import InputError, command_line
from zhseq.tagging.evaluation import LabelChoice, as_text, evaluate, spread, unknown_labels
from zhseq.text.tags import TASKS

if TYPE_CHECKING:
    from zhseq.tagging.formats import Document
    from zhseq.tagging.tagger import Tagger


def main(arguments: Sequence[str] | None = None, load: Callable[..., Tagger] | None = None) -> int:
    """Tag the gold texts of a command line, print the scores, and return the exit status.

    Args:
        arguments: The command line; by default that of the process.
        load: Loads a model; by default `Tagger.load`.
    """
    options = _parser().parse_args(arguments)
    choice = LabelChoice(_mapping(options.map), [label for label in options.labels.split(",") if label])
    corpus = read_tagged(options.gold, format=options.format, task=options.task)
    print(corpus.report(), file=sys.stderr)
    if load is None:
        from zhseq.tagging.tagger import Tagger  # a slow import, after the options have been checked

        load = Tagger.load
    reports = []
    for name in options.model or [None]:
        tagger = load(name, backend=options.backend, device=options.device, threads=options.threads)
        progress = _progress_bar(len(corpus.texts))
        report = evaluate(tagger, corpus.texts, choice=choice, confusions=options.confusions, progress=progress)
        for note in unknown_labels(report, tagger):
            print(note.render(command_line), file=sys.stderr)
        reports.append({"model": name or "default", "gold": corpus.name, **report})
    summary = reports[0] if len(reports) == 1 else {"models": reports, **spread(reports)}
    print(json.dumps(summary, ensure_ascii=False) if options.json else as_text(reports))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=program("evaluate"), description="Precision, recall and F1 of a tagger on tagged text.")
    parser.add_argument(
        "--gold", required=True, metavar="FILE_OR_CORPUS", help="a file or a corpus, for example weibo_ner:dev"
    )
    parser.add_argument(
        "--model",
        nargs="+",
        metavar="PATH_OR_HUB_NAME",
        help="one model, or several seeds of one (default: the shipped tagger)",
    )
    parser.add_argument("--format", choices=FORMATS, default="auto", help="format of the gold file (default: detected)")
    parser.add_argument("--task", choices=TASKS, help="evaluate words or entities only (default: what the gold has)")
    parser.add_argument(
        "--map",
        default="",
        metavar="OLD=NEW,...",
        help="rename labels of gold and model before comparison (name=PER,company=ORG)",
    )
    parser.add_argument(
        "--labels",
        default="",
        metavar="PATTERN,...",
        help="entity labels of the gold that count ('*.NAM'; default: all)",
    )
    parser.add_argument(
        "--confusions", type=int, default=10, metavar="N", help="print the N most frequent confusions (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_backend(parser)
    add_device(parser)
    add_threads(parser)
    return parser


def _mapping(value: str) -> dict[str, str]:
    """Parse `old=new,old=new`."""
    pairs = [pair.partition("=") for pair in value.split(",") if pair]
    for old, _, new in pairs:
        if not old or not new:
            raise InputError(
                "bad_map", "<map> takes OLD=NEW, several separated by commas, but is '{value}'", value=value
            )
    return {old: new for old, _, new in pairs}


def _progress_bar(total: int) -> Callable[[Iterable[Document]], Iterable[Document]]:
    from tqdm import tqdm

    return lambda documents: tqdm(documents, total=total, unit="text", disable=None)


if __name__ == "__main__":
    run_main(main)
