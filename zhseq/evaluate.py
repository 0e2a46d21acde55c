"""Front door: `python -m zhseq.evaluate --model DIR --gold FILE`: scores of a tagger on tagged text."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zhseq.cli import program, run_main
from zhseq.corpus.tagging import FORMATS, TaggedText, read_tagged
from zhseq.errors import InputError
from zhseq.tagging.metrics import NOTHING, Score, SpanCounts
from zhseq.text.tags import Span, spans_to_tags

if TYPE_CHECKING:
    from zhseq.tagging.tagger import Tagger

_HEADLINES = ("words", "joint", "entities")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, tag the gold texts, print the scores, and return the exit status."""
    options = _parser().parse_args(arguments)
    corpus = read_tagged(options.gold, format=options.format, task=options.task)
    print(corpus.report(), file=sys.stderr)
    from zhseq.tagging.tagger import Tagger

    reports = []
    for name in options.model or [None]:
        tagger = Tagger.load(name, device=options.device, threads=options.threads)
        report = evaluate(tagger, corpus.texts, confusions=options.confusions)
        reports.append({"model": name or "default", "gold": corpus.name, **report})
    summary = reports[0] if len(reports) == 1 else {"models": reports, **_spread(reports)}
    print(json.dumps(summary, ensure_ascii=False) if options.json else _as_text(reports))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("evaluate"), description="Precision, recall and F1 of a tagger on tagged text."
    )
    parser.add_argument("--gold", required=True, metavar="FILE_OR_CORPUS", help="a file, or weibo_ner:dev for example")
    parser.add_argument(
        "--model",
        nargs="+",
        metavar="PATH_OR_HUB_NAME",
        help="one model, or several seeds of one (default: the shipped)",
    )
    parser.add_argument("--format", choices=FORMATS, default="auto", help="of the gold file (default: told from it)")
    parser.add_argument("--task", choices=("pos", "ner"), help="score words or entities only (default: what there is)")
    parser.add_argument(
        "--confusions", type=int, default=10, metavar="N", help="show the N most frequent (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (default: cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: 1)")
    return parser


@dataclass
class _Entities:
    """Gold and predicted entities, as tags for seqeval and as counts for the confusions."""

    gold: list[list[str]] = field(default_factory=list)
    predicted: list[list[str]] = field(default_factory=list)
    counts: SpanCounts = field(default_factory=SpanCounts)


def evaluate(tagger: Tagger, texts: Sequence[TaggedText], *, confusions: int = 10) -> dict[str, Any]:
    """Score a tagger.

    Args:
        tagger: The tagger; it gets the raw texts.
        texts: Gold; words and entities are each scored on the texts that mark them, if the tagger finds them.
        confusions: How many of the most frequent confusions to give.

    Returns:
        `texts`, `characters`, and as far as they apply `words`, `joint` (words with part of speech), `entities`: each
        a table with precision, recall, f1, gold, predicted, and for the last two `by_label`; and the confusions.

    Raises:
        InputError: The gold marks nothing that the tagger finds.
    """
    marked = {"pos": any(t.words is not None for t in texts), "ner": any(t.entities is not None for t in texts)}
    tasks = [task for task in tagger.tasks if marked[task]]
    if not tasks:
        there, wanted = (" and ".join(kinds) for kinds in ([t for t in marked if marked[t]], tagger.tasks))
        raise InputError(f"Expected gold for what the model does ({wanted}), found gold for {there}.")
    words, entities = SpanCounts(), _Entities()
    documents = tagger.stream((text.text for text in texts), tasks=tasks)
    for text, document in zip(texts, _with_progress(documents, len(texts)), strict=True):
        if "pos" in tasks and text.words is not None:
            words.add(text.text, text.words, [Span(word.start, word.end, word.pos) for word in document.words])
        if "ner" in tasks and text.entities is not None:
            found = [Span(entity.start, entity.end, entity.label) for entity in document.entities]
            entities.counts.add(text.text, text.entities, found)
            entities.gold.append(spans_to_tags(text.entities, len(text.text), "BIO"))
            entities.predicted.append(spans_to_tags(found, len(text.text), "BIO"))
    report: dict[str, Any] = {"texts": len(texts), "characters": sum(len(text.text) for text in texts)}
    if "pos" in tasks:
        report["words"] = _row(words.extents)
        report["cuts"] = _most_frequent(words.cuts.most_common(confusions))
        if any(span.label for text in texts for span in text.words or ()):
            report["joint"] = {**_row(words.labelled), "by_label": _by_label(words)}
            inside = [(pair, count) for pair, count in words.labels.most_common() if NOTHING not in pair]
            report["pos_confusions"] = _most_frequent(inside[:confusions])
    if "ner" in tasks:
        report["entities"] = _seqeval(entities)
        report["entity_confusions"] = _most_frequent(entities.counts.labels.most_common(confusions))
    return report


def _with_progress(documents: Iterable[Any], total: int) -> Iterable[Any]:
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(documents, total=total, unit="text", disable=None)
    return bar


def _row(score: Score) -> dict[str, Any]:
    return {
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
        "gold": score.gold,
        "predicted": score.predicted,
    }


def _by_label(counts: SpanCounts) -> dict[str, Any]:
    ordered = sorted(counts.by_label.items(), key=lambda item: (-item[1].gold, item[0]))
    return {label: _row(score) for label, score in ordered}


def _seqeval(entities: _Entities) -> dict[str, Any]:
    """Score entities with seqeval (as conlleval counts), with the numbers of spans beside."""
    report = {**_row(entities.counts.labelled), "by_label": _by_label(entities.counts)}
    if not entities.counts.by_label:
        return report  # no entity on either side, of which seqeval only warns
    from seqeval.metrics import classification_report

    scores = classification_report(entities.gold, entities.predicted, output_dict=True, zero_division=0)
    for row, name in [(report, "micro avg"), *((report["by_label"][label], label) for label in report["by_label"])]:
        found = scores[name]
        row.update(precision=float(found["precision"]), recall=float(found["recall"]), f1=float(found["f1-score"]))
    return report


def _most_frequent(pairs: Iterable[tuple[tuple[str, str], int]]) -> list[dict[str, Any]]:
    return [{"gold": gold, "predicted": predicted, "count": count} for (gold, predicted), count in pairs]


def _spread(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation of F1 over several models."""
    values = {name: [report[name]["f1"] for report in reports] for name in _HEADLINES if name in reports[0]}
    return {
        "mean": {name: statistics.mean(scores) for name, scores in values.items()},
        "spread": {name: statistics.stdev(scores) for name, scores in values.items()},
    }


def _as_text(reports: Sequence[dict[str, Any]]) -> str:
    lines: list[str] = []
    for report in reports:
        lines += [
            f"{report['model']} on {report['gold']}: {report['texts']:,} texts, {report['characters']:,} characters"
        ]
        lines += ["", f"{'':20}{'precision':>10}{'recall':>10}{'F1':>10}{'gold':>10}{'predicted':>10}"]
        for name in _HEADLINES:
            if name in report:
                lines.append(_line(name, report[name]))
                lines += [_line(f"  {label}", row) for label, row in report[name].get("by_label", {}).items()]
        for title, key in (
            ("words cut otherwise", "cuts"),
            ("parts of speech", "pos_confusions"),
            ("entities", "entity_confusions"),
        ):
            if report.get(key):
                lines += ["", f"most frequent confusions, {title} (gold > predicted):"]
                lines += [f"{row['count']:8}  {row['gold']} > {row['predicted']}" for row in report[key]]
        lines.append("")
    if len(reports) > 1:
        spread = _spread(reports)
        lines += [f"mean F1 of {len(reports)} models, with standard deviation:"]
        lines += [
            f"{name:20}{100 * mean:10.2f} ± {100 * spread['spread'][name]:.2f}" for name, mean in spread["mean"].items()
        ]
    return "\n".join(lines).rstrip()


def _line(name: str, row: dict[str, Any]) -> str:
    scores = "".join(f"{100 * row[key]:10.2f}" for key in ("precision", "recall", "f1"))
    return f"{name:20}{scores}{row['gold']:10,}{row['predicted']:10,}"


if __name__ == "__main__":
    run_main(main)
