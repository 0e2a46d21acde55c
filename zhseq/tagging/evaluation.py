"""Score a tagger on gold texts: precision, recall and F1 of words, parts of speech and entities, and confusions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from zhseq.errors import InputError, Message
from zhseq.tagging.metrics import NOTHING, Score, SpanCounts
from zhseq.text.tags import Span

if TYPE_CHECKING:
    from zhseq.corpus.tagging import TaggedText
    from zhseq.tagging.document import Document
    from zhseq.tagging.tagger import Tagger

Report = dict[str, Any]
"""Scores as they stand in JSON: `texts`, `characters`, and what there is of `words`, `joint` and `entities`, each
with `precision`, `recall`, `f1`, `gold`, `predicted` and (except for words) the same `by_label`; the most frequent
confusions as `cuts`, `pos_confusions` and `entity_confusions`."""

SCORES = ("words", "joint", "entities")
"""Scores that a report may have: words alone, words with their parts of speech, entities with their labels."""


def evaluate(
    tagger: Tagger,
    texts: Sequence[TaggedText],
    *,
    confusions: int = 10,
    progress: Callable[[Iterable[Document]], Iterable[Document]] = iter,
) -> Report:
    """Score a tagger.

    Args:
        tagger: The tagger; it gets the raw texts.
        texts: Gold; words and entities are each scored on the texts that mark them, if the tagger finds them.
        confusions: How many of the most frequent confusions to give.
        progress: Is given the documents, one for each text, and passes them on while it shows how far they are.

    Raises:
        InputError: The gold marks nothing that the tagger finds.
    """
    marked = {"pos": any(t.words is not None for t in texts), "ner": any(t.entities is not None for t in texts)}
    tasks = [task for task in tagger.tasks if marked[task]]
    if not tasks:
        raise InputError(
            "gold_of_another_task",
            "expected gold for what the model does ({wanted}), found gold for {there}.",
            wanted=", ".join(tagger.tasks),
            there=", ".join(task for task in marked if marked[task]) or Message("nothing", "nothing"),
        )
    words, entities = SpanCounts(), SpanCounts()
    documents = tagger.stream((text.text for text in texts), tasks=tasks)
    for text, document in zip(texts, progress(documents), strict=True):
        if "pos" in tasks and text.words is not None:
            words.add(text.text, text.words, [Span(word.start, word.end, word.pos) for word in document.words])
        if "ner" in tasks and text.entities is not None:
            found = [Span(entity.start, entity.end, entity.label) for entity in document.entities]
            entities.add(text.text, text.entities, found)
    report: Report = {"texts": len(texts), "characters": sum(len(text.text) for text in texts)}
    if "pos" in tasks:
        report["words"] = _row(words.extents)
        report["cuts"] = _most_frequent(words.cuts.most_common(confusions))
        if any(span.label for text in texts for span in text.words or ()):
            report["joint"] = {**_row(words.labelled), "by_label": _by_label(words)}
            relabelled = [(pair, count) for pair, count in words.labels.most_common() if NOTHING not in pair]
            report["pos_confusions"] = _most_frequent(relabelled[:confusions])
    if "ner" in tasks:
        report["entities"] = {**_row(entities.labelled), "by_label": _by_label(entities)}
        report["entity_confusions"] = _most_frequent(entities.labels.most_common(confusions))
    return report


def spread(reports: Sequence[Report]) -> Report:
    """Return `mean` and `spread` (sample standard deviation) of each F1 over two models or more."""
    values = {name: [report[name]["f1"] for report in reports] for name in SCORES if name in reports[0]}
    return {
        "mean": {name: statistics.mean(scores) for name, scores in values.items()},
        "spread": {name: statistics.stdev(scores) for name, scores in values.items()},
    }


def as_text(reports: Sequence[Report]) -> str:
    """Return the reports, each with `model` and `gold`, as tables for people."""
    lines: list[str] = []
    for report in reports:
        lines += [
            f"{report['model']} on {report['gold']}: {report['texts']:,} texts, {report['characters']:,} characters"
        ]
        lines += ["", f"{'':20}{'precision':>10}{'recall':>10}{'F1':>10}{'gold':>10}{'predicted':>10}"]
        for name in SCORES:
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
        summary = spread(reports)
        lines += [f"mean F1 of {len(reports)} models, with standard deviation:"]
        lines += [
            f"{name:20}{100 * mean:10.2f} ± {100 * summary['spread'][name]:.2f}"
            for name, mean in summary["mean"].items()
        ]
    return "\n".join(lines).rstrip()


def _row(score: Score) -> Report:
    return {
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
        "gold": score.gold,
        "predicted": score.predicted,
    }


def _by_label(counts: SpanCounts) -> Report:
    ordered = sorted(counts.by_label.items(), key=lambda item: (-item[1].gold, item[0]))
    return {label: _row(score) for label, score in ordered}


def _most_frequent(pairs: Iterable[tuple[tuple[str, str], int]]) -> list[Report]:
    return [{"gold": gold, "predicted": predicted, "count": count} for (gold, predicted), count in pairs]


def _line(name: str, row: Report) -> str:
    scores = "".join(f"{100 * row[key]:10.2f}" for key in ("precision", "recall", "f1"))
    return f"{name:20}{scores}{row['gold']:10,}{row['predicted']:10,}"
