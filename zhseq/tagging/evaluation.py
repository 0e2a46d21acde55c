"""Evaluate a tagger on gold texts: precision, recall and F1 of words, tags and entities, and confusions.

Source: SIGHAN 2005 bakeoff (words), CoNLL-2003 `conlleval` (entities): a span is correct if its start, its end and,
    where labels count, its label equal those of a gold span.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from zhseq.errors import InputError, Message
from zhseq.text.tags import Ints, Span

if TYPE_CHECKING:
    from zhseq.corpus.tagging import TaggedText
    from zhseq.tagging.formats import Document
    from zhseq.tagging.tagger import Tagger

NOTHING = "-"
"""In a confusion, the label of a span that is missing on one side."""


@dataclass(frozen=True)
class Score:
    """Numbers of correct, predicted and gold spans. Scores can be added."""

    correct: int = 0
    predicted: int = 0
    gold: int = 0

    @classmethod
    def of(cls, predicted: Ints, gold: Ints) -> Score:
        """Count the spans of two arrays with rows (start, end) or (start, end, label), each (spans, columns).

        Rows of one array are distinct; offsets are those of the concatenated texts.
        """
        both = np.concatenate([predicted, gold])
        return cls(len(both) - len(np.unique(both, axis=0)), len(predicted), len(gold))

    def __add__(self, other: Score) -> Score:
        return Score(self.correct + other.correct, self.predicted + other.predicted, self.gold + other.gold)

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are correct; 0 if there are none."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold spans that were predicted; 0 if there are none."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if nothing is correct."""
        both = self.predicted + self.gold
        return 2 * self.correct / both if both else 0.0


@dataclass
class SpanCounts:
    """Counts over any number of texts.

    Attributes:
        extents: Score of spans regardless of their labels (word F1).
        by_label: Score of labelled spans, by label.
        labels: Counts of (gold label, predicted label) of spans with the same start and end but different labels, and
            of spans that exist on one side only, with `NOTHING` for the other.
        cuts: Counts of (gold words, predicted words), each joined by blanks, for pieces of text that both sides segment
            differently. Meaningful for words only, which follow each other without gaps.
    """

    extents: Score = Score()
    by_label: dict[str, Score] = field(default_factory=dict)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    cuts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def labelled(self) -> Score:
        """Score over all labels: joint F1 of words and part-of-speech tags, or entity F1."""
        return sum(self.by_label.values(), Score())

    def add(self, text: str, gold: Sequence[Span], predicted: Sequence[Span]) -> None:
        """Add one text; its spans are in order and do not overlap."""
        gold_at = {(span.start, span.end): span.label for span in gold}
        predicted_at = {(span.start, span.end): span.label for span in predicted}
        both = gold_at.keys() & predicted_at.keys()
        self.extents += Score(len(both), len(predicted_at), len(gold_at))
        correct = Counter(gold_at[extent] for extent in both if gold_at[extent] == predicted_at[extent])
        found, wanted = Counter(predicted_at.values()), Counter(gold_at.values())
        for label in found.keys() | wanted.keys():
            score = Score(correct[label], found[label], wanted[label])
            self.by_label[label] = self.by_label.get(label, Score()) + score
        for extent in gold_at.keys() | predicted_at.keys():
            pair = gold_at.get(extent, NOTHING), predicted_at.get(extent, NOTHING)
            if pair[0] != pair[1]:
                self.labels[pair] += 1
        if len(both) < max(len(gold_at), len(predicted_at)):
            self.cuts.update(_differing_cuts(text, gold, predicted))


def _differing_cuts(text: str, gold: Sequence[Span], predicted: Sequence[Span]) -> Iterator[tuple[str, str]]:
    """Yield the smallest pieces between common borders that are segmented differently."""
    sides = [{span.start for span in spans} | {span.end for span in spans} for spans in (gold, predicted)]
    common = sorted(sides[0] & sides[1])
    index = [0, 0]
    for start, end in pairwise(common):
        pieces: list[list[str]] = [[], []]
        for side, spans in enumerate((gold, predicted)):
            while index[side] < len(spans) and spans[index[side]].end <= end:
                span = spans[index[side]]
                if span.start >= start:
                    pieces[side].append(text[span.start : span.end])
                index[side] += 1
        if pieces[0] != pieces[1] and all(pieces):
            yield " ".join(pieces[0]), " ".join(pieces[1])


Report = dict[str, Any]
"""Scores as JSON: `texts`, `characters`; `words`, `joint`, `entities` and `untyped` as far as the gold allows, each
with `precision`, `recall`, `f1`, `gold`, `predicted` and, for `joint` and `entities`, the same `by_label`; the most
frequent confusions as `cuts`, `pos_confusions` and `entity_confusions`; and `unknown_labels`, the counts of gold labels
that the tagger does not have, by task."""

Unknown = dict[str, dict[str, int]]
"""Counts of gold labels that a tagger does not have, by task and label."""

SCORES = {
    "words": "words",
    "joint": "joint",
    "entities": "entities",
    "untyped": "entities, untyped",
}
"""Names of scores in a report and in tables: words, words with part-of-speech tags, entities with labels, and entities
regardless of their labels."""


@dataclass(frozen=True)
class LabelChoice:
    """Renaming and selection of labels, to compare gold and tagger with different label sets."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    """New names of labels (part-of-speech tags and entity labels), applied to both sides."""
    patterns: Sequence[str] = ()
    """Entity labels to evaluate, before `mapping`, with the wildcards `*` and `?`; empty: all. Also applied to the
    labels of the tagger, unless none of them matches; then all of its labels are evaluated."""

    def renamed(self, spans: Iterable[Span]) -> list[Span]:
        """Return the spans with renamed labels."""
        if not self.mapping:
            return list(spans)
        return [Span(span.start, span.end, self.mapping.get(span.label, span.label)) for span in spans]

    def matches(self, label: str) -> bool:
        """Return whether an entity label is evaluated."""
        return not self.patterns or any(fnmatchcase(label, pattern) for pattern in self.patterns)

    def chosen(self, spans: Iterable[Span], labels: Iterable[str]) -> list[Span]:
        """Select and rename the entities to evaluate.

        Args:
            spans: Entities of one side.
            labels: All entity labels of that side.
        """
        selective = any(self.matches(label) for label in labels)
        return self.renamed(span for span in spans if not selective or self.matches(span.label))

    def check(self, gold: Mapping[str, Counter[str]], known: Mapping[str, Sequence[str]]) -> None:
        """Check that the renamed and selected labels exist.

        Args:
            gold: Counts of the gold labels, by task.
            known: Labels of the tagger, by task.

        Raises:
            InputError: A renamed label exists on neither side, or no gold entity label matches a pattern.
        """
        ours, theirs = ({label for labels in side.values() for label in labels} for side in (gold, known))
        for label in self.mapping:
            if label not in ours | theirs:
                raise InputError(
                    "mapped_label_nowhere",
                    "<map={label}> names a label that neither the gold nor the model has; the gold has {gold}",
                    label=label,
                    gold=", ".join(sorted(ours)),
                )
        names = gold.get("ner", Counter())
        if names and self.patterns and not any(map(self.matches, names)):
            raise InputError(
                "no_such_labels",
                "<labels> should match entity labels of the gold, but {patterns} matches none of {gold}",
                patterns=", ".join(self.patterns),
                gold=", ".join(sorted(names)),
            )

    def unknown(
        self, gold: Mapping[str, Counter[str]], known: Mapping[str, Sequence[str]]
    ) -> dict[str, dict[str, int]]:
        """Return the counts of the evaluated gold labels that the tagger does not have, by task and new name."""
        found: Unknown = {}
        for task, labels in gold.items():
            ours = {self.mapping.get(label, label) for label in known[task]}
            for label, count in labels.most_common():
                name = self.mapping.get(label, label)
                if name and name not in ours and (task == "pos" or self.matches(label)):
                    found.setdefault(task, {}).setdefault(name, 0)
                    found[task][name] += count
        return found


def evaluate(
    tagger: Tagger,
    texts: Sequence[TaggedText],
    *,
    choice: LabelChoice | None = None,
    confusions: int = 10,
    progress: Callable[[Iterable[Document]], Iterable[Document]] = iter,
) -> Report:
    """Evaluate a tagger.

    Args:
        tagger: The tagger; it is applied to the raw texts.
        texts: Gold texts. Words and entities are each evaluated on the texts that are annotated with them.
        choice: Renaming and selection of labels; by default all labels unchanged.
        confusions: Number of most frequent confusions to report.
        progress: Wraps the iterable of documents, one per text, to show progress.

    Raises:
        InputError: The gold has no annotation for a task of the tagger, or `choice` matches no label.
    """
    choice = choice or LabelChoice()
    marked = {"pos": any(t.words is not None for t in texts), "ner": any(t.entities is not None for t in texts)}
    tasks = [task for task in tagger.tasks if marked[task]]
    if not tasks:
        raise InputError(
            "gold_of_another_task",
            "expected gold annotation for a task of the model ({wanted}), found annotation for {there}.",
            wanted=", ".join(tagger.tasks),
            there=", ".join(task for task in marked if marked[task]) or Message("nothing", "nothing"),
        )
    gold = _labels(texts, tasks)
    choice.check(gold, tagger.labels)
    words, entities = SpanCounts(), SpanCounts()
    documents = tagger.stream((text.text for text in texts), tasks=tasks)
    for text, document in zip(texts, progress(documents), strict=True):
        if "pos" in tasks and text.words is not None:
            cut = [Span(word.start, word.end, word.pos) for word in document.words]
            words.add(text.text, choice.renamed(text.words), choice.renamed(cut))
        if "ner" in tasks and text.entities is not None:
            found = [Span(entity.start, entity.end, entity.label) for entity in document.entities]
            wanted = choice.chosen(text.entities, gold["ner"])
            entities.add(text.text, wanted, choice.chosen(found, tagger.labels["ner"]))
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
        report["untyped"] = _row(entities.extents)
        report["entity_confusions"] = _most_frequent(entities.labels.most_common(confusions))
    if unknown := choice.unknown(gold, tagger.labels):
        report["unknown_labels"] = unknown
    return report


def unknown_labels(report: Report, tagger: Tagger) -> list[Message]:
    """Return a note for each task with gold labels that the tagger does not have."""
    return [
        Message(
            "labels_unknown_to_model",
            "the model does not have the gold labels {labels}; its labels are {known}. Such labels "
            "count as missed: rename them with <map={first}=...>, or use the scores without types",
            {
                "labels": ", ".join(f"{label} ({count:,})" for label, count in labels.items()),
                "known": ", ".join(tagger.labels[task]),
                "first": next(iter(labels)),
            },
        )
        for task, labels in report.get("unknown_labels", {}).items()
    ]


def spread(reports: Sequence[Report]) -> Report:
    """Return `mean` and `spread` (sample standard deviation) of each F1 over two or more models."""
    values = {name: [report[name]["f1"] for report in reports] for name in SCORES if name in reports[0]}
    return {
        "mean": {name: statistics.mean(scores) for name, scores in values.items()},
        "spread": {name: statistics.stdev(scores) for name, scores in values.items()},
    }


def as_text(reports: Sequence[Report]) -> str:
    """Format reports, each with the extra keys `model` and `gold`, as tables."""
    lines: list[str] = []
    for report in reports:
        lines += [
            f"{report['model']} on {report['gold']}: {report['texts']:,} texts, {report['characters']:,} characters"
        ]
        lines += ["", f"{'':20}{'precision':>10}{'recall':>10}{'F1':>10}{'gold':>10}{'predicted':>10}"]
        for name, title in SCORES.items():
            if name in report:
                lines.append(_line(title, report[name]))
                lines += [_line(f"  {label}", row) for label, row in report[name].get("by_label", {}).items()]
        for title, key in (
            ("word segmentation", "cuts"),
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
            f"{SCORES[name]:20}{100 * mean:10.2f} ± {100 * summary['spread'][name]:.2f}"
            for name, mean in summary["mean"].items()
        ]
    return "\n".join(lines).rstrip()


def _labels(texts: Sequence[TaggedText], tasks: Sequence[str]) -> dict[str, Counter[str]]:
    """Return the counts of the gold labels, by task."""
    gold: dict[str, Counter[str]] = {task: Counter() for task in tasks}
    for text in texts:
        for task, spans in (("pos", text.words), ("ner", text.entities)):
            if task in gold and spans is not None:
                gold[task].update(span.label for span in spans if span.label)
    return gold


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
